import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import mobilenet_v3_large
from torchvision.models.segmentation import deeplabv3_mobilenet_v3_large, deeplabv3_resnet50

from deocclude.models import create_segmenter
from deocclude.models.blocks import count_parameters
from deocclude.models.soclnet import SOCLNET

SMALL = {"backbone": "mobilenet_v3_large", "pretrained": False}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return create_segmenter("soclnet", **SMALL, auxiliary=True).eval()


@pytest.mark.parametrize(
    ("backbone", "millions"),
    [("resnet50", 39.63), ("resnet101", 58.63), ("mobilenet_v3_large", 11.02)],
)
def test_without_attention_it_is_torchvisions_deeplab(backbone, millions):
    with torch.device("meta"):
        model = SOCLNET(backbone, attention=False, pretrained=False)
    assert round(count_parameters(model) / 1e6, 2) == millions


@pytest.mark.parametrize("auxiliary", [False, True])
def test_parameters_are_torchvisions_and_the_attentions(auxiliary):
    with torch.device("meta"):
        ours = SOCLNET(pretrained=False, auxiliary=auxiliary)
        theirs = deeplabv3_resnet50(
            weights=None, weights_backbone=None, num_classes=1, aux_loss=auxiliary
        )
    added = 2048 * 2048 + 2048 + 2 * (2048 * 256 + 256) + 1
    assert count_parameters(ours) == count_parameters(theirs) + added


def test_the_ablation_computes_what_torchvision_does():
    torch.manual_seed(0)
    theirs = deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=1).eval()
    ours = SOCLNET(attention=False, **SMALL).eval()
    renamed = {
        name.replace("classifier.", "head.", 1) if name.startswith("classifier.") else name: value
        for name, value in theirs.state_dict().items()
    }
    ours.load_state_dict(renamed)
    image = torch.rand(1, 3, 48, 64)
    with torch.no_grad():
        expected = theirs(ours.normalise(image))["out"]
        torch.testing.assert_close(ours(image), expected)


def test_normalisation_is_imagenets(model):
    grey = model.normalise(torch.full((1, 3, 1, 1), 0.5)).flatten().tolist()
    assert grey == pytest.approx([0.0655, 0.1964, 0.4178], abs=1e-4)


@pytest.mark.parametrize("size", [(16, 16), (33, 47), (64, 40)])
def test_logits_have_the_input_size_at_batch_1(model, size):
    with torch.no_grad():
        logits = model(torch.rand(1, 3, *size))
    assert logits.shape == (1, 1, *size)
    assert logits.dtype == torch.float32


def test_auxiliary_logits_come_in_training_only(model):
    image = torch.rand(2, 3, 33, 47)
    model.train()
    logits, auxiliary = model(image)
    model.eval()
    assert logits.shape == auxiliary.shape == (2, 1, 33, 47)
    assert isinstance(model(image), torch.Tensor)


def test_attention_starts_as_identity_then_sees_the_whole_picture():
    torch.manual_seed(0)
    model = create_segmenter("soclnet", **SMALL).eval()
    assert model.attention.gamma.item() == 0
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        start = model(image)
        attention, model.attention = model.attention, torch.nn.Identity()
        torch.testing.assert_close(model(image), start)
        model.attention = attention
        attention.gamma.fill_(1.0)
        assert not torch.allclose(model(image), start, atol=1e-4)


def test_every_parameter_gets_a_gradient():
    model = create_segmenter("soclnet", **SMALL, auxiliary=True)
    torch.nn.init.ones_(model.attention.gamma)
    sum(part.mean() for part in model(torch.rand(2, 3, 32, 32))).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_output_stride_and_rates_reach_the_network():
    """A 64 px picture has 8 x 8 features at torchvision's stride."""
    for stride, side in ((None, 8), (16, 4), (32, 2)):
        with torch.device("meta"):
            model = SOCLNET(pretrained=False, output_stride=stride, atrous_rates=(2, 4))
            deep = model.backbone(torch.rand(1, 3, 64, 64))["deep"]
        assert deep.shape == (1, 2048, side, side)
        assert [conv[0].dilation[0] for conv in model.head[0].convs[1:-1]] == [2, 4]


def test_weights_of_a_file_are_used_and_named(tmp_path):
    torch.manual_seed(3)
    classifier = mobilenet_v3_large(weights=None)
    save_file(classifier.state_dict(), tmp_path / "weights.safetensors")
    model = SOCLNET("mobilenet_v3_large", pretrained=tmp_path / "weights.safetensors")
    assert "weights.safetensors" in model.origin
    torch.testing.assert_close(model.backbone["0"][0].weight, classifier.features[0][0].weight)


def test_a_training_batch_of_one_is_a_clear_error(model):
    model.train()
    with pytest.raises(ValueError, match="batch of 1"):
        model(torch.rand(1, 3, 32, 32))
    model.eval()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"backbone": "resnet18"}, "resnet101"),
        ({"atrous_rates": ()}, "atrous_rates"),
        ({"output_stride": 8}, "16, 32"),
        ({"pretrained": "nowhere.pth"}, "nowhere.pth"),
        ({"gamma": 1}, "attention"),
    ],
)
def test_wrong_options_name_the_value(options, words):
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        create_segmenter("soclnet", **(SMALL | options))


def test_too_small_input_says_so(model):
    with pytest.raises(ValueError, match="15 x 64"):
        model(torch.rand(1, 3, 15, 64))


def test_unknown_names_list_the_valid_ones():
    with pytest.raises(ValueError, match="soclnet, unet"):
        create_segmenter("deeplab")
