import pytest
import timm
import torch
from safetensors.torch import save_file

from deocclude.losses import create_loss
from deocclude.losses.inputs import LossInputs
from deocclude.models.features import VGGFeatures, check_layers, create_features
from deocclude.models.lite_features import LAYERS, NETWORK, LiteFeatures, LiteForVGG


@pytest.fixture(scope="module")
def random():
    return create_features("efficientnet_lite0", LAYERS, "random")


@torch.no_grad()
def network_with_statistics():
    """timm's network whose BatchNorms are not the identity."""
    torch.manual_seed(0)
    network = timm.create_model(NETWORK, pretrained=False).train()
    for _ in range(3):
        network(torch.randn(4, 3, 64, 64))
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.weight.uniform_(0.5, 1.5)
            layer.bias.uniform_(-0.5, 0.5)
    return network.eval()


def test_features_are_timms_with_its_normalisation_folded_in(tmp_path):
    network = network_with_statistics()
    save_file(network.state_dict(), tmp_path / "lite.safetensors")
    features = LiteFeatures(LAYERS, str(tmp_path / "lite.safetensors"))
    assert "lite.safetensors" in features.origin
    assert not [m for m in features.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    image = torch.rand(2, 3, 64, 96)
    x = (image - 0.5) / 0.5
    with torch.no_grad():
        found = features(image)
        for name, stage in zip(
            LAYERS, (lambda x: network.bn1(network.conv_stem(x)), *network.blocks), strict=True
        ):
            x = stage(x)
            torch.testing.assert_close(found[name], x, rtol=1e-4, atol=1e-4)


def test_random_weights_are_seeded_and_every_layer_has_one_scale(random):
    image = torch.nn.functional.interpolate(torch.rand(4, 3, 16, 16), 128, mode="bilinear")
    again, other = LiteFeatures(LAYERS, "random"), LiteFeatures(["stem"], "random", seed=1)
    found = random(image)
    for layer, value in again(image).items():
        assert torch.equal(value, found[layer])
    assert not torch.allclose(other(image)["stem"], found["stem"])
    assert "random" in random.origin
    scales = {layer: value.abs().mean().item() for layer, value in found.items()}
    assert all(0.1 < scale < 3 for scale in scales.values()), scales


def test_strides_and_depth():
    image = torch.rand(1, 3, 64, 64)
    deep = create_features("efficientnet_lite0", LAYERS, "random")(image)
    assert [64 // value.shape[-1] for value in deep.values()] == [2, 2, 4, 8, 16, 16, 32, 32]
    shallow = create_features("efficientnet_lite0", ["block2", "stem"], "random")
    assert list(shallow.stages) == ["stem", "block1", "block2"]
    assert list(shallow(image)) == ["stem", "block2"]
    assert not shallow.train().training


@pytest.mark.parametrize("term", ["perceptual", "style"])
def test_a_term_has_gradients_to_the_prediction_and_none_in_the_network(random, term):
    layers = ["stem", "block3"]
    settings = {"weight": 1.0, "network": "efficientnet_lite0", "layers": layers}
    loss = create_loss({term: settings})
    assert list(loss.layers()) == ["efficientnet_lite0"]
    target = torch.rand(1, 3, 64, 64)
    prediction = torch.rand(1, 3, 64, 64, requires_grad=True)
    inputs = LossInputs(
        prediction,
        target,
        torch.ones(1, 1, 64, 64),
        {},
        {"efficientnet_lite0": random(prediction)},
        {"efficientnet_lite0": random(target)},
    )
    total, _ = loss(inputs, 0)
    total.backward()
    assert prediction.grad.abs().sum() > 0
    assert all(p.grad is None and not p.requires_grad for p in random.parameters())


def test_wrong_names_list_the_valid_ones():
    with pytest.raises(ValueError, match="vgg16, vgg19, efficientnet_lite0"):
        create_features("vgg13", ["relu1_1"], "random")
    with pytest.raises(ValueError, match=r"stem, block1.*block7"):
        check_layers("efficientnet_lite0", ["relu1_1"])
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth"):
        create_features("efficientnet_lite0", ["stem"], "nowhere.pth")


def test_it_answers_for_a_vgg_whose_weights_cannot_be_had(tmp_path, monkeypatch):
    monkeypatch.setattr("deocclude.models.features.resolve_weights", lambda *_: (None, "random x"))
    state = network_with_statistics().state_dict()
    monkeypatch.setattr("deocclude.models.encoder_weights.package_weights", lambda _: state)
    monkeypatch.setattr("deocclude.models.encoder_weights._answers", lambda _: False)
    layers = ["relu1_1", "relu3_1", "relu3_4", "relu5_2"]
    found = create_features("vgg19", layers, fallback="efficientnet_lite0")
    assert isinstance(found, LiteForVGG)
    assert found.origin.endswith("in place of vgg19, random x")
    assert "package" in found.origin
    image = torch.rand(1, 3, 64, 64)
    answer = found(image)
    assert list(answer) == layers
    assert torch.equal(answer["relu3_1"], answer["relu3_4"])  # both of block 3
    stage = LiteFeatures(["block2"], "package")(image)["block2"]
    torch.testing.assert_close(answer["relu3_1"], stage / stage.norm(dim=1, keepdim=True))


@pytest.mark.parametrize(
    ("weights", "fallback"), [("random", "efficientnet_lite0"), ("auto", None)]
)
def test_a_vgg_of_random_weights_stays_where_it_is_asked_for(weights, fallback, monkeypatch):
    monkeypatch.setattr("deocclude.models.features.resolve_weights", lambda *_: (None, "random x"))
    assert isinstance(create_features("vgg19", ["relu1_1"], weights, fallback), VGGFeatures)


def test_a_vgg_of_random_weights_stays_where_nothing_better_is_there(monkeypatch):
    monkeypatch.setattr("deocclude.models.features.resolve_weights", lambda *_: (None, "random x"))
    monkeypatch.setattr(
        "deocclude.models.lite_features.load_encoder", lambda *_: "random initialisation"
    )
    found = create_features("vgg19", ["relu1_1"], fallback="efficientnet_lite0")
    assert isinstance(found, VGGFeatures)


def test_a_vgg_whose_weights_are_there_is_itself(tmp_path):
    state = VGGFeatures("vgg19", ["relu1_1"], "random").features.state_dict()
    save_file({f"features.{key}": value for key, value in state.items()}, tmp_path / "vgg")
    (tmp_path / "vgg").rename(tmp_path / "vgg.safetensors")
    file = str(tmp_path / "vgg.safetensors")
    found = create_features("vgg19", ["relu1_1"], file, "efficientnet_lite0")
    assert isinstance(found, VGGFeatures)
    assert found.origin == "file vgg.safetensors"


def test_another_fallback_is_refused():
    with pytest.raises(ValueError, match="fallback: 'vgg16' is not efficientnet_lite0"):
        create_features("vgg19", ["relu1_1"], fallback="vgg16")
