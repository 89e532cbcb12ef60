"""Graphs kept beside weights files: found again, never for other weights, written whole."""

import os
from pathlib import Path

import pytest
from process_stubs import CONTEXT, start
from release_stubs import write_weights

from deocclude.engines.export import kept

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, Path]:
    """A weights file and its graph."""
    folder = tmp_path_factory.mktemp("weights")
    weights = write_weights(folder / "net.safetensors", "segmentation")
    assert kept.kept_graph(weights) is None
    return weights, kept.make_graph(weights)


def copied(made, folder: Path) -> tuple[Path, Path]:
    weights, graph = made
    (folder / kept.FOLDER).mkdir()
    for file in (weights, graph):
        target = folder / file.relative_to(weights.parent)
        target.write_bytes(file.read_bytes())
    return folder / weights.name, folder / kept.FOLDER / graph.name


def test_it_lies_beside_the_weights_and_is_found(made):
    weights, graph = made
    assert graph.parent == weights.resolve().parent / ".onnx"
    assert kept.kept_graph(weights) == graph


@pytest.mark.parametrize("change", ["weights", "exporter", "torch"])
def test_a_stale_one_is_never_taken(change, made, tmp_path, monkeypatch):
    weights, graph = copied(made, tmp_path)
    assert kept.kept_graph(weights) == graph
    if change == "weights":
        weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    elif change == "exporter":
        monkeypatch.setattr(kept, "EXPORTER", 0)
    else:
        monkeypatch.setattr(kept.torch, "__version__", "3.0.0")
    assert kept.kept_graph(weights) is None


def stub_writing(monkeypatch, text: bytes = b"graph"):
    """Writing without PyTorch's exporter: what is written where is what counts."""

    def write(network, path, any_size):
        with kept_replacing(path) as temporary:
            temporary.write_bytes(text)

    from deocclude.data.files import replacing as kept_replacing

    monkeypatch.setattr(kept, "write_graph", write)
    monkeypatch.setattr(kept, "open_exportable", lambda weights: None)


def test_a_new_one_takes_the_place_of_the_old_one_of_the_same_weights_alone(
    made, tmp_path, monkeypatch
):
    weights, graph = copied(made, tmp_path)
    others = [graph.with_name(n) for n in (f"net-b-{'0' * 16}.onnx", "net-mine.onnx", "a.txt")]
    for other in others:
        other.write_text("of somebody else")
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    stub_writing(monkeypatch)
    fresh = kept.make_graph(weights)
    assert sorted(graph.parent.iterdir()) == sorted([fresh, *others])
    assert not graph.exists()


@pytest.mark.skipif(os.name == "nt", reason="folders are made read-only in another way there")
def test_where_the_folder_is_not_writable_the_users_cache_is(made, tmp_path, monkeypatch):
    weights = tmp_path / "read only" / "net.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(made[0].read_bytes())
    (weights.parent / kept.FOLDER).write_text("a file, in which nothing can be made")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(kept.sys, "platform", "linux")
    stub_writing(monkeypatch)
    graph = kept.make_graph(weights)
    assert graph.is_relative_to(tmp_path / "cache" / "deocclude" / "onnx")
    assert kept.kept_graph(weights) == graph


def write_at_once(weights: Path, barrier) -> None:
    barrier.wait(60)
    kept.make_graph(weights)


@pytest.mark.slow
def test_two_commands_at_once_leave_one_whole_graph(made, tmp_path):
    weights = tmp_path / "net.safetensors"
    weights.write_bytes(made[0].read_bytes())
    barrier = CONTEXT.Barrier(2)
    both = [start(write_at_once, weights, barrier) for _ in range(2)]
    for process in both:
        process.join(180)
    assert [process.exitcode for process in both] == [0, 0]
    (graph,) = (tmp_path / kept.FOLDER).iterdir()
    from deocclude.engines.graphs.asking import open_network

    assert open_network(graph, "segmentation").sides == (64, 64)
