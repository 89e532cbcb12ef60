"""LPIPS, Inception and identity networks: where their weights come from, and self-tests."""

import urllib.error

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torchvision.models.inception import Inception3

from deocclude.engines.measures import hub_weights, inception, lpips
from deocclude.engines.measures.choice import choose_measures
from deocclude.engines.measures.identity_similarity import identity_similarity
from deocclude.models.pretrained import WeightsError

BARE = {"lpips": "off", "identity": "off", "fid_wanted": "off"}


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """An empty cache of torch hub and no network."""

    def refuse(*_, **__):
        raise urllib.error.URLError("no network in this test")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture(scope="module")
def alexnet(tmp_path_factory):
    """torchvision's AlexNet with random weights, in a file."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    torch.save(torchvision.models.alexnet(weights=None).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def inception_state():
    torch.manual_seed(0)
    network = Inception3(inception.CLASSES, aux_logits=False, init_weights=False).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.data.normal_(std=0.1)
            module.running_var.data.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.5, 1.5)
    return network.state_dict()


def pictures(count=3, size=64, seed=0):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def test_lpips_from_a_file_is_torchmetrics_lpips_with_that_backbone(alexnet, offline):
    choice = lpips.build_lpips("alex", file=alexnet)
    assert choice.reason is None
    prediction, target = pictures(), pictures(seed=1)
    expected = choice.network.network(prediction, target, normalize=True).reshape(-1)
    torch.testing.assert_close(choice.network(prediction, target), expected)
    own = torch.load(alexnet, weights_only=True)["features.0.weight"]
    assert torch.equal(choice.network.network.net.slice1[0].weight, own)


def test_lpips_is_zero_for_equal_pictures_and_batches_change_nothing(alexnet):
    network = lpips.build_lpips("alex", file=alexnet).network
    prediction, target = pictures(), pictures(seed=1)
    torch.testing.assert_close(network(target, target), torch.zeros(3))
    whole = network(prediction, target)
    single = [network(p[None], t[None]) for p, t in zip(prediction, target, strict=True)]
    torch.testing.assert_close(torch.cat(single), whole)
    assert (network(0.7 * target + 0.3 * prediction, target) < whole).all()


def test_lpips_of_large_pictures_is_taken_in_parts(alexnet, monkeypatch):
    network = lpips.build_lpips("alex", file=alexnet).network
    prediction, target = pictures(5), pictures(5, seed=1)
    whole, seen = network(prediction, target), []
    features = network._features
    monkeypatch.setattr(network, "_features", lambda x: seen.append(len(x)) or features(x))
    monkeypatch.setattr(lpips, "TOGETHER", 2 * 64 * 64)
    torch.testing.assert_close(network(prediction, target), whole)
    assert seen == [2, 2, 2, 2, 1, 1]


def test_weights_are_found_in_the_cache(alexnet, offline):
    offline.mkdir(parents=True)
    (offline / "alexnet-owt-7be5be79.pth").write_bytes(alexnet.read_bytes())
    assert lpips.build_lpips("alex").file == offline / "alexnet-owt-7be5be79.pth"
    (offline / inception.OTHER_NAMES[0]).write_bytes(b"")
    assert hub_weights.fetch_weights(inception.URL, inception.OTHER_NAMES).stat().st_size == 0


def test_without_weights_the_reason_says_where_to_put_them(offline):
    absent = [lpips.build_lpips("vgg"), inception.build_inception()]
    for choice, option in zip(
        absent, ("--lpips-weights vgg=FILE", "--inception-weights"), strict=True
    ):
        assert choice.network is None
        for words in ("no network in this test", f"put the file into {offline}", option):
            assert words in choice.reason


def test_the_reason_names_no_users_home(offline, monkeypatch, tmp_path):
    monkeypatch.setattr(hub_weights.Path, "home", lambda: tmp_path)
    reason = inception.build_inception().reason
    assert "put the file into ~/hub/checkpoints" in reason
    assert str(tmp_path) not in reason


@pytest.mark.parametrize("wrong", ["no such file", "not weights", "another network"])
def test_a_file_that_is_no_such_network_is_refused(tmp_path, alexnet, wrong):
    path = tmp_path / "weights.pth"
    if wrong == "not weights":
        path.write_bytes(b"not weights")
    if wrong == "another network":
        path = alexnet
    error = FileNotFoundError if wrong == "no such file" else WeightsError
    with pytest.raises(error, match=path.name):
        lpips.build_lpips("vgg", file=path)
    with pytest.raises(error, match=path.name):
        inception.build_inception(file=path)


def test_torchvisions_inception_is_not_taken_for_that_of_fid(tmp_path, inception_state):
    path = tmp_path / "inception_v3_google-0cc3c7bd.pth"
    torch.save(inception_state | {"fc.weight": torch.zeros(1000, 2048)}, path)
    with pytest.raises(WeightsError, match="has 1008 classes, this file has 1000"):
        inception.build_inception(file=path)


def test_inception_of_a_file_is_the_network_with_its_normalisation_inside(
    tmp_path, inception_state
):
    path = tmp_path / "inception.safetensors"
    save_file(inception_state, path)
    plain = inception.InceptionFeatures()
    own = {key: inception_state[key] for key in plain.network.state_dict()}
    plain.network.load_state_dict(own)
    images = pictures(2, 40)
    found = inception.build_inception(file=path).network(images)
    assert found.shape == (2, inception.FEATURES)
    assert found.std() > 0
    torch.testing.assert_close(found, plain(images), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(plain(images[:1]), plain(images)[:1], rtol=1e-3, atol=1e-4)
    nudged = (images + 0.3 / 255).clamp(0, 1)  # the same 8-bit pixels, mostly
    assert (plain(nudged) - plain(images)).abs().mean() < (
        plain(1 - images) - plain(images)
    ).abs().mean()


def test_inception_agrees_with_torch_fidelity(tmp_path, inception_state):
    extractor = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    path = tmp_path / "inception.pth"
    torch.save({k: v for k, v in inception_state.items() if "num_batches" not in k}, path)
    theirs = extractor.FeatureExtractorInceptionV3(
        "test", ["2048"], feature_extractor_weights_path=str(path)
    )
    pixels = (pictures(2, 40) * 255).round()
    (expected,) = theirs(pixels.to(torch.uint8))
    found = inception.build_inception(file=path).network(pixels / 255)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_resizing_is_that_of_tensorflow_1():
    """Pixel i of 299 looks at i * side / 299, without an offset of half a pixel."""
    ramp = torch.arange(64.0)
    found = inception._resizing(64, ramp) @ ramp
    expected = (torch.arange(299) * (64 / 299)).clamp(max=63)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lpips": "alex,resnet"}, "unknown LPIPS network 'resnet'; valid: auto, alex, vgg, off"),
        ({"lpips": "off,alex"}, "unknown LPIPS network 'off'"),
        ({"lpips_weights": ["vgg"]}, "'vgg': must be alex=FILE or vgg=FILE"),
        ({"lpips": "alex", "lpips_weights": ["vgg=x"]}, "--lpips alex does not ask for it"),
        ({"fid_wanted": "on"}, "unknown --fid 'on'; valid: auto, off"),
        ({"inception_weights": "x"}, "--fid off leaves out"),
        ({"identity": "nobody"}, "nobody: no finished run"),
    ],
)
def test_options_that_cannot_be_are_named(tmp_path, options, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        choose_measures(**{**BARE, **options, "runs": tmp_path})


def test_options_choose_measures(tmp_path, alexnet, offline):
    assert choose_measures(**BARE) == []
    (legacy,) = choose_measures(**BARE, legacy=True)
    assert legacy.name == "as_published"
    given = {"lpips": "alex,vgg", "lpips_weights": [f"alex={alexnet}"], "fid_wanted": "auto"}
    found = choose_measures(**{**BARE, **given, "identity": "auto"}, runs=tmp_path)
    assert [measure.name for measure in found] == ["lpips", "lpips_vgg", "identity", "fid"]
    assert [measure.reason is None for measure in found] == [True, False, False, False]
    assert alexnet.name in found[0].note
    assert "no finished run of EfficientNetB0" in found[2].reason
    assert "python train_identity.py EfficientNetB0" in found[2].reason


def test_a_network_for_something_else_embeds_no_faces(tmp_path):
    path = tmp_path / "best.safetensors"
    config = (
        '{"task": "segmentation", "name": "UNet", "model": {"name": "unet"}, "data": {"size": 32}}'
    )
    save_file({"x": torch.zeros(1)}, path, {"config": config})
    with pytest.raises(ValueError, match="was trained for segmentation, an identity network"):
        identity_similarity(str(path), tmp_path)
