import json
import subprocess
import sys

import pytest
import torch

from deocclude.engines.runs.config import load_config
from deocclude.engines.runs.weights import load_segmenter, save_release
from deocclude.models import create_segmenter, encoder_weights
from deocclude.models.blocks import ImageNetNormalise

ARCHITECTURES = (
    "Unet", "UnetPlusPlus", "MAnet", "Linknet", "FPN", "PSPNet", "DeepLabV3", "DeepLabV3Plus",
    "PAN", "UPerNet", "Segformer",
)  # fmt: skip
SMALL = {"encoder": "tu-mobilenetv3_small_050", "pretrained": False}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return create_segmenter("smp", **SMALL).eval()


def test_every_architecture_of_the_package_is_tried_here():
    import segmentation_models_pytorch as smp

    classes = {each.__name__ for each in smp.MODEL_ARCHITECTURES_MAPPING.values()}
    assert classes == {*ARCHITECTURES, "DPT"}


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, "DPT"])
def test_every_architecture_trains_at_64_px_and_takes_any_size(architecture):
    encoder = {"encoder": "tu-vit_tiny_patch16_224"} if architecture == "DPT" else {}
    model = create_segmenter("smp", architecture=architecture, **(SMALL | encoder))
    model.to(memory_format=torch.channels_last)
    image = torch.rand(2, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    logits = model(image)
    assert logits.shape == (2, 1, 64, 64)
    logits.mean().backward()
    assert model.normalise.mean.grad is None
    assert any(p.grad.abs().sum() > 0 for p in model.parameters() if p.grad is not None)
    with torch.no_grad():
        assert model.eval()(torch.rand(1, 3, 33, 47)).shape == (1, 1, 33, 47)


def test_the_input_is_normalised_inside_then_padded(model):
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        expected = model.network(ImageNetNormalise()(image))
        torch.testing.assert_close(model(image), expected)
        wider = torch.cat([image, image[..., -1:].expand(-1, -1, -1, 32)], dim=-1)
        torch.testing.assert_close(model(wider[..., :100]), model(wider)[..., :100])


def test_a_released_file_gives_the_same_logits_and_asks_for_no_weights(tmp_path, monkeypatch):
    torch.manual_seed(1)
    options = {**SMALL, "decoder_channels": [16, 16, 8, 8, 8], "options": {"encoder_depth": 5}}
    model = create_segmenter("smp", **options)
    with torch.no_grad():
        model(torch.rand(2, 3, 32, 32))  # running statistics that are not the initial ones
    config = {"name": "small", "task": "segmentation", "data": {"size": 32}}
    config |= {"model": {"name": "smp", **options, "pretrained": "auto"}}
    config = json.loads(json.dumps(config))
    save_release(tmp_path / "best.safetensors", model, {"config": config})
    monkeypatch.setattr(encoder_weights, "_answers", lambda address: pytest.fail("asked"))
    monkeypatch.setattr(encoder_weights, "package_weights", lambda name: pytest.fail("asked"))
    again, _ = load_segmenter(tmp_path / "best.safetensors")
    image = torch.rand(1, 3, 40, 40)
    with torch.no_grad():
        assert torch.equal(again(image), model.eval()(image))


def test_decoder_channels_and_options_reach_the_network():
    unet = create_segmenter("smp", **SMALL)
    assert [b.conv2[0].out_channels for b in unet.network.decoder.blocks] == [128, 64, 32, 24, 16]
    shallow = create_segmenter("smp", **SMALL, options={"encoder_depth": 3})
    assert [b.conv2[0].out_channels for b in shallow.network.decoder.blocks] == [128, 64, 32]
    assert shallow.multiple == 8
    with torch.no_grad():
        assert shallow.eval()(torch.rand(1, 3, 20, 20)).shape == (1, 1, 20, 20)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"architecture": "Unett"}, "'Unett'.*Unet, UnetPlusPlus.*DPT"),
        ({"encoder": "resnet19"}, "'resnet19'.*did you mean resnet18"),
        ({"encoder": "tu-tf_efficientnet_lite9"}, "did you mean tu-tf_efficientnet_lite"),
        ({"options": {"depth": 4}}, r"\['depth'\].*encoder_depth"),
        ({"options": {"classes": 2}}, "classes"),
        ({"architecture": "FPN", "decoder_channels": [8]}, "FPN does not take"),
        ({"width": 8}, "decoder_channels"),
    ],
)
def test_wrong_options_name_the_value(options, words):
    with pytest.raises(ValueError, match=words):
        create_segmenter("smp", **(SMALL | options))


def test_too_small_input_says_so(model):
    with pytest.raises(ValueError, match="15 x 64"):
        model(torch.rand(1, 3, 15, 64))


def test_the_run_keeps_nothing_of_soclnets_network():
    config = load_config("smp_unet", task="segmentation")
    assert config.name == "UNet-EfficientNet-Lite0"
    assert set(config.model_options()) == {"architecture", "encoder", "pretrained"}


def test_importing_the_registry_does_not_import_the_libraries():
    code = (
        "import sys; from deocclude import models; "
        "print({'timm', 'segmentation_models_pytorch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
