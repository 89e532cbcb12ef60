import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import VGG19_Weights, vgg19

from deocclude.models.features import VGGFeatures, layer_names
from deocclude.models.pretrained import WeightsError, resolve_weights


@pytest.fixture(scope="module")
def extractor():
    return VGGFeatures("vgg19", ["relu1_1", "relu2_2", "relu3_4"], "random")


def test_layer_names_are_those_of_the_paper():
    names = layer_names(vgg19(weights=None, init_weights=False).features)
    # the indices that the VGG-19 generator's document gives for relu1_1 ... relu5_1
    assert [names[f"relu{i}_1"] for i in range(1, 6)] == [1, 6, 11, 20, 29]


def test_random_weights_are_seeded_and_every_layer_has_one_scale(extractor):
    image = torch.rand(2, 3, 32, 32)
    again = VGGFeatures("vgg19", ["relu1_1", "relu2_2", "relu3_4"], "random")
    other = VGGFeatures("vgg19", ["relu1_1"], "random", seed=1)
    found = extractor(image)
    for layer, value in again(image).items():
        torch.testing.assert_close(value, found[layer])
    assert not torch.allclose(other(image)["relu1_1"], found["relu1_1"])
    means = [value.mean().item() for value in found.values()]
    assert all(0.1 < mean < 2 for mean in means), means
    assert "random" in extractor.origin


def test_nothing_deeper_than_wanted_is_kept(extractor):
    shallow = VGGFeatures("vgg19", ["relu1_1"], "random")
    assert len(shallow.features) == 2
    assert list(extractor(torch.rand(1, 3, 32, 32))) == ["relu1_1", "relu2_2", "relu3_4"]


def test_the_target_is_seen_as_the_prediction_is(extractor):
    """Without a gradient pools go another way: the same bits, odd sides and ties at 0 included."""
    image = torch.rand(2, 3, 35, 46)
    with torch.no_grad():
        seen = extractor(image)
    for layer, value in extractor(image.requires_grad_()).items():
        assert torch.equal(seen[layer], value), layer


def test_a_wanted_convolution_is_not_overwritten_by_its_relu():
    both = VGGFeatures("vgg19", ["conv1_1", "relu1_1"], "random")
    found = both(torch.rand(1, 3, 32, 32))
    assert found["conv1_1"].min() < 0
    torch.testing.assert_close(found["conv1_1"].relu(), found["relu1_1"])


def test_gradients_reach_the_image_and_not_the_weights(extractor):
    image = torch.rand(1, 3, 32, 32, requires_grad=True)
    extractor(image)["relu2_2"].mean().backward()
    assert image.grad.abs().sum() > 0
    assert all(p.grad is None for p in extractor.parameters())


def test_weights_from_a_file(tmp_path):
    network = vgg19(weights=None)
    path = tmp_path / "vgg.safetensors"
    save_file(network.state_dict(), path)
    loaded = VGGFeatures("vgg19", ["relu1_2"], str(path))
    torch.testing.assert_close(loaded.features[2].weight, network.features[2].weight)
    assert "vgg.safetensors" in loaded.origin


def test_unreachable_weights_are_said_not_hidden(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no route")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    state, origin = resolve_weights("auto", VGG19_Weights.IMAGENET1K_V1)
    assert state is None
    assert "random" in origin
    assert "no route" in origin
    with pytest.raises(WeightsError, match="asked for"):
        resolve_weights("imagenet", VGG19_Weights.IMAGENET1K_V1)


@pytest.mark.parametrize("content", ["garbage", "another network", "another format"])
def test_a_file_that_does_not_fit_is_named(tmp_path, content):
    path = tmp_path / "weights.safetensors"
    save_file({"conv.weight": torch.ones(2)}, path)
    if content == "garbage":
        path.write_bytes(b"no weights")
    elif content == "another format":
        path = path.rename(tmp_path / "weights.pth")
    with pytest.raises(WeightsError, match="weights"):
        VGGFeatures("vgg19", ["relu1_1"], str(path))


def test_wrong_names_list_the_valid_ones():
    with pytest.raises(ValueError, match="relu1_1"):
        VGGFeatures("vgg16", ["relu9_1"], "random")
    with pytest.raises(ValueError, match="vgg16, vgg19"):
        VGGFeatures("vgg13", ["relu1_1"], "random")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth"):
        VGGFeatures("vgg16", ["relu1_1"], "nowhere.pth")
