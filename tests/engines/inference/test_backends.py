"""ONNX Runtime in PyTorch's place: when, and that nobody sees it in the pictures."""

import sys
from argparse import Namespace

import numpy as np
import pytest
import torch
from PIL import Image
from release_stubs import write_weights

from deocclude import models
from deocclude.data.builtin.faces import render_face
from deocclude.data.images import to_tensor
from deocclude.engines.cli import photos
from deocclude.engines.export import kept
from deocclude.engines.graphs import packages
from deocclude.engines.graphs.asking import OnnxInpainter, OnnxSegmenter
from deocclude.engines.inference import backends
from deocclude.engines.inference.networks import read_inpainter, read_segmenter
from deocclude.engines.jobs.plan import Job, Plan
from deocclude.engines.photos.deoccluder import load_deoccluder
from deocclude.engines.photos.detection import FaceDetector
from deocclude.engines.runs.recipes import members_of, write_recipe
from deocclude.engines.runs.weights import load_segmenter, save_release

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

CPU = torch.device("cpu")


def find_something(file) -> None:
    """Give an untrained segmenter's file logits that mark a part of a face, clearly."""
    network, metadata = load_segmenter(file)
    with torch.no_grad():
        logits = network(to_tensor(render_face(3, 64))[None])
        network.head.weight *= 200
        network.head.bias += 200 * (network.head.bias - logits.quantile(0.8)) - network.head.bias
    save_release(file, network, metadata)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> dict:
    """Small networks of both kinds, whose graphs are made."""
    folder = tmp_path_factory.mktemp("weights")
    files = {
        task: write_weights(folder / f"{task}.safetensors", task)
        for task in ("inpainting", "segmentation")
    }
    find_something(files["segmentation"])
    said: list[str] = []
    for file in files.values():
        assert backends.graph_for(file, CPU, "onnx", say=said.append) is not None
    assert [line.split(":")[0] for line in said] == [backends.PREPARING] * 2
    return files


@pytest.fixture
def unprepared(tmp_path):
    return write_weights(tmp_path / "w.safetensors", "inpainting")


def opened(weights: dict, backend: str, flip: bool = False):
    loaded = load_deoccluder(
        weights["inpainting"], "cpu", weights["segmentation"], backend=backend, flip=flip,
        detector=FaceDetector(kinds=("whole",)),
    )  # fmt: skip
    return loaded


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("given", [False, True])
def test_restored_pictures_are_equal_to_one_level(weights, flip, given):
    photo = render_face(3, 160)
    mask = np.zeros((160, 160), np.uint8)
    mask[60:120, 40:110] = 1
    results = {}
    for backend in ("torch", "onnx"):
        deoccluder = opened(weights, backend, flip)
        results[backend] = deoccluder.restore(photo, mask if given else None, uncertainty=True)
    one, other = results["torch"], results["onnx"]
    assert one.changed
    assert (one.restored != photo).any()
    apart = one.restored.astype(int) - other.restored
    assert np.abs(apart).max() <= 1
    assert np.abs(one.uncertainty - other.uncertainty).max() < 1e-3
    assert (one.mask == other.mask).all()


def test_auto_takes_graphs_that_are_there_and_makes_none(weights, unprepared, monkeypatch):
    monkeypatch.setattr(backends, "make_graph", lambda weights: pytest.fail("made a graph"))
    found = opened(weights, "auto")
    assert isinstance(found.inpainter.network, OnnxInpainter)
    assert isinstance(found.segmenter.network, OnnxSegmenter)
    assert backends.graph_for(unprepared, CPU) is None
    monkeypatch.setattr(backends, "has_runtime", lambda: False)
    assert backends.graph_for(weights["inpainting"], CPU) is None


def test_a_graph_that_cannot_be_run_is_said_and_pytorch_used(weights, tmp_path):
    file = tmp_path / "w.safetensors"
    file.write_bytes(weights["inpainting"].read_bytes())
    name = kept.kept_graph(weights["inpainting"]).name.replace("inpainting-", "w-")
    graph = tmp_path / kept.FOLDER / name
    graph.parent.mkdir()
    damaged = kept.kept_graph(weights["inpainting"]).read_bytes()[:2000]
    graph.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"ONNX.*it was removed"):
        read_inpainter(file, "cpu", backend="onnx")
    assert not graph.exists()
    graph.write_bytes(damaged)
    said: list[str] = []
    found = read_inpainter(file, "cpu", backend="auto", say=said.append)
    assert not isinstance(found.network, OnnxInpainter)
    assert "it was removed, PyTorch is used" in said[0]
    assert not graph.exists()


def test_no_network_of_pytorch_is_built_where_a_graph_is(weights, monkeypatch):
    monkeypatch.setattr(models, "create_network", lambda *_: pytest.fail("built a network"))
    with pytest.raises(pytest.fail.Exception, match="built a network"):
        read_inpainter(weights["inpainting"], "cpu")
    inpainter = read_inpainter(weights["inpainting"], "cpu", backend="auto")
    segmenter = read_segmenter(weights["segmentation"], "cpu", backend="auto")
    assert inpainter.fill == 1.0
    assert (inpainter.size, segmenter.size) == (64, 64)


def test_accelerators_and_evaluation_stay_with_pytorch(weights):
    assert backends.graph_for(weights["inpainting"], torch.device("cuda")) is None
    with pytest.raises(ValueError, match="runs on the CPU, not on cuda"):
        backends.graph_for(weights["inpainting"], torch.device("cuda"), "onnx")
    plain = read_inpainter(weights["inpainting"], "cpu")
    assert not isinstance(plain.network, OnnxInpainter)


def test_an_ensemble_keeps_its_members_and_says_so_only_when_asked(weights, tmp_path):
    members = [
        write_weights(tmp_path / f"{fill}.safetensors", "inpainting", fill=fill) for fill in (0, 1)
    ]
    recipe = tmp_path / "both.yaml"
    write_recipe(recipe, members_of(members), "both", "mean")
    said: list[str] = []
    assert backends.graph_for(recipe, CPU, "auto", make=True, say=said.append) is None
    assert said == []
    assert backends.graph_for(recipe, CPU, "onnx", say=said.append) is None
    assert "PyTorch is used" in said[0]


def test_asking_for_what_is_not_installed_says_what_installs_it(unprepared, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ValueError, match=r'pip install -e "\.\[onnx\]"'):
        backends.graph_for(unprepared, CPU, "onnx")


def test_a_runtime_that_cannot_be_imported_is_said_and_pytorch_used(unprepared, monkeypatch):
    def broken(name):
        raise ImportError("DLL load failed")

    monkeypatch.setattr(packages, "import_module", broken)
    said: list[str] = []
    assert backends.graph_for(unprepared, CPU, make=True, say=said.append) is None
    assert "cannot be imported (DLL load failed); PyTorch is used" in said[0]
    with pytest.raises(ValueError, match="DLL load failed"):
        backends.graph_for(unprepared, CPU, "onnx")


def test_what_cannot_be_exported_is_said_and_pytorch_used(unprepared, monkeypatch):
    def fail(weights):
        raise backends.OnnxError("cannot be exported: ONNX has no operator for aten.x")

    monkeypatch.setattr(backends, "make_graph", fail)
    said: list[str] = []
    assert backends.graph_for(unprepared, CPU, make=True, say=said.append) is None
    assert "PyTorch is used" in said[-1]
    assert "aten.x" in said[-1]
    with pytest.raises(backends.OnnxError):
        backends.graph_for(unprepared, CPU, "onnx", say=said.append)


def test_an_unknown_backend_names_the_valid_ones(unprepared):
    with pytest.raises(ValueError, match="'tflite' is not one of auto, torch, onnx"):
        load_deoccluder(unprepared, backend="tflite")


@pytest.mark.parametrize(
    ("photographs", "frames", "lasting"),
    [(1, 0, False), (3, 0, False), (4, 0, True), (1, 2, False), (1, 3, True), (0, None, False)],
)
def test_many_pictures_are_worth_preparing(photographs, frames, lasting, tmp_path, monkeypatch):
    """Photos and frames of an animation count alike; what cannot be read does not."""
    monkeypatch.setattr(photos, "MANY", 4)
    names = ["a.png"] * photographs
    if frames is None:
        (tmp_path / "broken.mp4").write_bytes(b"no video")
        names += ["broken.mp4"]
    elif frames:
        drawn = [Image.new("L", (32, 32), 60 * n) for n in range(frames)]
        drawn[0].save(tmp_path / "a.gif", save_all=True, append_images=drawn[1:])
        names += ["a.gif"]
    jobs = [Job(tmp_path / name, None, tmp_path / "out.png") for name in names]
    plan = Plan("out", jobs=jobs)
    options = Namespace(method="network", backend="auto")
    assert photos.is_lasting(options, plan) is lasting
    assert not photos.is_lasting(Namespace(method="network", backend="torch"), plan)
