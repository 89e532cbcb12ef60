"""Every network of the registries as an ONNX file, asked by ONNX Runtime."""

import io
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch
from release_stubs import write_weights
from torch import nn

from deocclude import models
from deocclude.data.contract import hide
from deocclude.engines.export import __main__ as command
from deocclude.engines.export.opening import Identity, WholeInpainter, open_exportable
from deocclude.engines.export.writing import (
    Exportable,
    ParityError,
    check_parity,
    examples,
    trace,
    write_graph,
)
from deocclude.engines.graphs.asking import OnnxInpainter, OnnxSegmenter
from deocclude.engines.graphs.description import (
    Answer,
    Description,
    Mask,
    Picture,
    read_description,
)
from deocclude.engines.graphs.packages import OnnxError
from deocclude.models.ensemble import Ensemble, Member

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

ROOT = Path(__file__).resolve().parents[3]
VIT = {"encoder": "vit", "layers": 4, "heads": 2, "hidden": 32, "width": 4}
SMALL_GAN = {"width": 4, "grid": 4}
TWO_HALVES = {"coarse_widths": [8, 8], "coarse_residual": [], "widths": [8, 8], "fold": 2}
slow = pytest.mark.slow
INPAINTERS = [
    pytest.param("ifacenet", {"pretrained": False}, marks=slow),
    ("ifacenet", {"branches": ["light"], "attention": False}),
    ("occlufix", {"width": 4, "depth": 2}),
    pytest.param("occlufix", VIT, marks=slow),
    ("vgg19_generator", {"width": 4, "residual_blocks": 1}),
    ("attention_gan", {**SMALL_GAN, "use_features": False}),
    ("attention_gan", {**SMALL_GAN, "same_embedding": True}),
    pytest.param("attention_gan", SMALL_GAN, marks=slow),
    ("facial_deocclusion", {"width": 4}),
    ("student", {"width": 4, "depth": 2}),
    pytest.param("coarse_to_fine", {**TWO_HALVES, "mirrored": True}, marks=slow),
    ("ensemble", {"members": ["a", "b"], "combination": "gate", "width": 4}),
]
SEGMENTERS = [
    pytest.param("soclnet", {"pretrained": False}, marks=slow),
    ("unet", {"width": 4}),
    pytest.param("smp", {"pretrained": False}, marks=slow),
]


def values(table: list) -> list:
    return [each.values if hasattr(each, "values") else each for each in table]


def inpainting(**told) -> Description:
    inputs = {"occluded": [Picture(kind="picture")], "mask": [Mask(kind="mask")]}
    return Description(inputs=inputs, output=Answer(name="prediction"), size=64, **told)


def as_inpainter(network: nn.Module, features: nn.Module | None = None, **told) -> Exportable:
    module = WholeInpainter(network, features).eval()
    return Exportable(module, ("occluded", "mask"), ("prediction",), inpainting(**told))


def as_segmenter(network: nn.Module, **told) -> Exportable:
    inputs = {"image": [Picture(kind="picture")]}
    told = Description(task="segmentation", inputs=inputs, size=64, **told)
    return Exportable(network.eval(), ("image",), ("logits",), told)


def with_members(ensemble: Ensemble) -> Ensemble:
    """With two untrained members of different answers."""
    return ensemble.attach(
        [Member(models.create_inpainter("student", width=4, depth=2)) for _ in ensemble.members]
    )


def create(name: str, options: dict) -> nn.Module:
    torch.manual_seed(0)
    network = models.create_inpainter(name, **options)
    for part in filter(None, (getattr(network, each, None) for each in ("coarse", "fine"))):
        nn.init.normal_(part.network.head.weight, std=0.1)  # else the halves add nothing
    if isinstance(network, Ensemble):
        with_members(network)
        if network.combination == "gate":
            nn.init.normal_(network.gate.head.weight, std=0.5)
    return network


class Features(nn.Module):
    """In the place of an identity network, which has a test of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Linear(3, 256)

    def embed(self, image):
        return self.level(image.mean((2, 3)))


def test_every_name_has_a_variant():
    assert {name for name, _ in values(INPAINTERS)} == set(models.INPAINTERS)
    assert {name for name, _ in values(SEGMENTERS)} == set(models.SEGMENTERS)
    assert set(models.IDENTITY_NETWORKS) == {"efficientnet_b0"}


@pytest.mark.parametrize(("name", "options"), INPAINTERS)
def test_every_inpainter_answers_the_same(name, options, tmp_path):
    network, features = create(name, options), None
    if network.uses_features:
        features = Features()
    exported = as_inpainter(network, features)
    written = write_graph(exported, tmp_path / "x.onnx", any_size=False)
    assert written.difference <= 1e-4
    asked = OnnxInpainter(tmp_path / "x.onnx")
    for count in (1, 2, 5):
        occluded, mask = examples(exported.inputs, count, (64, 64))
        occluded = hide(occluded, mask)
        with torch.no_grad():
            expected = exported.module(occluded, mask)
        assert expected.std() > 1e-3
        torch.testing.assert_close(asked(occluded, mask), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("name", "options"), SEGMENTERS)
def test_every_segmenter_answers_the_same(name, options, tmp_path):
    exported = as_segmenter(models.create_segmenter(name, **options))
    write_graph(exported, tmp_path / "x.onnx", any_size=False)
    (image,) = examples(exported.inputs, 4, (64, 64))
    with torch.no_grad():
        expected = exported.module(image)
    limit = 1e-4 * max(1.0, float(expected.abs().max()))
    found = OnnxSegmenter(tmp_path / "x.onnx")(image)
    torch.testing.assert_close(found, expected, atol=limit, rtol=0)


@slow
def test_an_identity_network_gives_embedding_and_logits(tmp_path):
    network = models.create_identity_network("efficientnet_b0", classes=3, pretrained=False)
    told = Description(task="identity", inputs={"image": [Picture(kind="picture")]}, size=64)
    module = Identity(network).eval()
    exported = Exportable(module, ("image",), ("embedding", "logits"), told)
    write_graph(exported, tmp_path / "x.onnx", any_size=False)
    outputs = onnx.load(tmp_path / "x.onnx").graph.output
    sides = [[d.dim_param or d.dim_value for d in o.type.tensor_type.shape.dim] for o in outputs]
    assert [each.name for each in outputs] == ["embedding", "logits"]
    assert sides == [["batch", 256], ["batch", 3]]


@pytest.mark.parametrize("combination", ["median", "bins"])
def test_every_way_to_combine_an_ensemble(combination, tmp_path):
    ensemble = create("ensemble", {"members": ["a", "b"], "combination": combination})
    if combination == "bins":
        ensemble.set_weights([[0.9, 0.1], [0.7, 0.3], [0.5, 0.5], [0.2, 0.8], [0.0, 1.0], [1, 0]])
    exported = as_inpainter(ensemble)
    write_graph(exported, tmp_path / "x.onnx", any_size=False)
    asked = OnnxInpainter(tmp_path / "x.onnx")
    occluded, mask = torch.rand(6, 3, 64, 64), torch.zeros(6, 1, 64, 64)
    for row in range(6):  # a hole ratio in each bin
        mask[row, :, : 5 + 9 * row] = 1
    with torch.no_grad():
        expected = exported.module(occluded, mask)
    torch.testing.assert_close(asked(occluded, mask), expected, atol=1e-4, rtol=0)


def test_any_size_where_the_network_allows_it(tmp_path):
    exported = as_inpainter(create("student", {"width": 4, "depth": 2}))
    written = write_graph(exported, tmp_path / "x.onnx")
    assert written.told.any_size is True
    assert written.why_fixed == ""
    asked = OnnxInpainter(tmp_path / "x.onnx")
    assert asked.sides == (None, None)
    occluded, mask = examples(exported.inputs, 2, (80, 112))
    with torch.no_grad():
        expected = exported.module(occluded, mask)
    torch.testing.assert_close(asked(occluded, mask), expected, atol=1e-4, rtol=0)


class SizedByItself(nn.Module):
    """What `coarse_to_fine` does: a share of the picture's own side decides an operator."""

    def forward(self, occluded, mask):
        return nn.functional.interpolate(occluded * mask, scale_factor=occluded.shape[2] // 64)


def test_a_size_that_cannot_be_free_is_fixed_and_said(tmp_path):
    written = write_graph(as_inpainter(SizedByItself()), tmp_path / "x.onnx")
    assert written.told.any_size is False
    assert "upsample_nearest2d" in written.why_fixed
    assert OnnxInpainter(tmp_path / "x.onnx").sides == (64, 64)


class NoOperator(nn.Module):
    def forward(self, occluded, mask):
        return torch.linalg.lstsq(occluded, mask.expand_as(occluded)).solution


class NoWriting(nn.Module):
    def forward(self, occluded, mask):
        return occluded * torch.special.bessel_j0(mask)


class Branching(nn.Module):
    def forward(self, occluded, mask):
        return occluded if occluded.sum() > 0 else 2 * occluded


@pytest.mark.parametrize(
    ("network", "named"),
    [
        (NoOperator(), "aten.linalg_lstsq"),
        (NoWriting(), "bessel_j0"),
        (Branching(), "control flow depends on values: return occluded if occluded.sum()"),
    ],
)
def test_what_cannot_be_exported_names_the_operator(network, named, tmp_path):
    with pytest.raises(OnnxError, match="cannot be exported") as error:
        write_graph(as_inpainter(network), tmp_path / "x.onnx", any_size=False)
    assert named in str(error.value)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


class Brighter(nn.Module):
    def forward(self, occluded, mask):
        return (occluded + 0.25 * mask).clamp(0, 1)


def test_a_graph_that_answers_otherwise_is_refused_by_how_much(tmp_path):
    exported = as_inpainter(Brighter())
    file = tmp_path / "x.onnx"
    file.write_bytes(trace(exported, 64, any_size=False).SerializeToString())
    assert check_parity(exported, file, 64, any_size=False) < 1e-6
    other = as_inpainter(nn.Identity())
    other.module.forward = lambda occluded, mask: occluded
    with pytest.raises(ParityError, match=r"prediction differs from PyTorch's by 0\.25"):
        check_parity(other, file, 64, any_size=False, name="x.onnx")


@pytest.fixture(scope="module")
def exported_weights(tmp_path_factory) -> tuple[Path, str]:
    """A weights file written by the command, as a user would; the file and what was said."""
    folder = tmp_path_factory.mktemp("export")
    weights = write_weights(folder / "w.safetensors", "inpainting", fill=0.25, template="utkface")
    with redirect_stdout(io.StringIO()) as said:
        code = command.main([str(weights), "-o", str(folder / "x.onnx"), "--size", "64"])
    assert code == 0
    return folder / "x.onnx", said.getvalue()


def test_the_command_writes_and_says_what(exported_weights):
    _, said = exported_weights
    assert "occluded, mask -> prediction; any batch, 64 x 64" in said
    assert "as PyTorch to" in said


def test_the_file_says_how_it_is_asked_and_no_path(exported_weights):
    file, _ = exported_weights
    told = read_description(file)
    assert (told.task, told.size, told.fill, told.template) == ("inpainting", 64, 0.25, "utkface")
    assert told.release == {"version": 1}
    assert told.versions["torch"] == torch.__version__
    (text,) = [each.value for each in onnx.load(file).metadata_props]
    assert json.loads(text)["inputs"]["mask"] == [{"kind": "mask", "known": 0.0, "hole": 1.0}]
    assert str(file.parent) not in file.read_bytes().decode("latin-1")
    assert str(ROOT) not in file.read_bytes().decode("latin-1")


def test_a_file_that_is_there_is_kept(exported_weights, capsys):
    file, _ = exported_weights
    before = file.read_bytes()
    weights = file.with_name("w.safetensors")
    assert command.main([str(weights), "-o", str(file)]) == 1
    assert "--overwrite replaces it" in capsys.readouterr().err
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sharp", "-o", "x.onx"], "ends with .onnx"),
        (["x.onnx", "-o", "y.onnx"], "is an ONNX file already"),
        (["nothing-of-that-name", "-o", "y.onnx"], "nothing-of-that-name"),
    ],
)
def test_wrong_words_are_one_line(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command.main(words) == 1
    text = capsys.readouterr().err
    assert text.startswith("error: ")
    assert said in text
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_says_what_installs_it(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    weights = write_weights(tmp_path / "w.safetensors", "segmentation")
    assert command.main([str(weights), "-o", str(tmp_path / "x.onnx")]) == 1
    assert 'pip install -e ".[onnx]"' in capsys.readouterr().err


def test_a_weights_file_of_a_segmenter_opens_as_one(tmp_path):
    opened = open_exportable(write_weights(tmp_path / "w.safetensors", "segmentation"))
    assert (opened.inputs, opened.outputs) == (("image",), ("logits",))
    assert opened.told.task == "segmentation"
