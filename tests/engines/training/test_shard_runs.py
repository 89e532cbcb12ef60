"""Runs on tar shards: two processes and a killed one end with the weights of one undisturbed."""

import sys
import tarfile
import time

import pytest
import torch
from PIL import Image
from process_stubs import start, start_group

pytest.importorskip("webdataset", reason="shards need webdataset")

from deocclude.data.builtin.faces import render_face
from deocclude.data.sources.holes import open_sources
from deocclude.engines.runs.finished import read_trained
from deocclude.engines.runs.pairs import group_by_pairs
from deocclude.engines.runs.weights import load_checkpoint
from deocclude.engines.training.run import train

# Rounds of 36 faces in four shards: nine steps of ten, then one of the next round.
SETTINGS = (
    "data.faces=shards/*.tar", "training.epochs=2", "training.epoch_images=20",
    "training.feature_terms=false",
)  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A data folder with 40 faces in four shards."""
    place = tmp_path_factory.mktemp("data")
    (place / "shards").mkdir()
    for number in range(40):
        face = place / f"{number}.png"
        Image.fromarray(render_face(number, 40)).save(face)
        with tarfile.open(place / "shards" / f"{number % 4}.tar", "a") as tar:
            tar.add(face, face.name)
        face.unlink()
    return place


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tiny_config, root):
    """An undisturbed run of one process: ten steps."""
    return train(tiny_config("ablationv1", *SETTINGS), root, tmp_path_factory.mktemp("whole"))


@pytest.mark.skipif(sys.platform == "win32", reason="PyTorch needs a libuv build on Windows")
def test_two_processes_end_with_the_weights_of_one(whole, root, tmp_path, tiny_config):
    """Sums in another order differ in the last bits, which Adam makes larger with every step."""
    config = tiny_config("ablationv1", *SETTINGS)
    group = start_group(2, train, config, root, tmp_path / "runs")
    for process in group:
        process.join(300)
    assert [process.exitcode for process in group] == [0, 0]
    (folder,) = (tmp_path / "runs" / "ablationv1").iterdir()  # one run, not two
    mine, theirs = load_checkpoint(folder / "last")[0], load_checkpoint(whole.folder.last)[0]
    assert mine.keys() == theirs.keys() == {"generator", "discriminator", "ema"}
    for network, tensors in mine.items():
        for name, value in tensors.items():
            wanted = theirs[network][name].float()
            assert (value - wanted).norm() <= 1e-4 * wanted.norm() + 1e-5, f"{network} {name}"


def test_a_run_killed_inside_a_round_ends_with_the_same_weights(whole, root, tmp_path, tiny_config):
    often = tiny_config(
        "ablationv1", *SETTINGS, "training.checkpoint_minutes=0.0001", "data.workers=2"
    )
    process = start(train, often, root, tmp_path / "runs")
    run = tmp_path / "runs" / "ablationv1" / "001"
    deadline = time.monotonic() + 120
    while not (run / "last").exists() and time.monotonic() < deadline and process.is_alive():
        time.sleep(0.02)
    process.kill()
    process.join()
    assert load_checkpoint(run / "last")[1]["step"] < 9
    later = root / "shards" / "4.tar"
    later.write_bytes(b"came since")
    continued = train(tiny_config("ablationv1"), None, tmp_path / "runs", resume="latest")
    later.unlink()
    assert continued.reason == "epochs"
    mine, theirs = load_checkpoint(continued.folder.last)[0], load_checkpoint(whole.folder.last)[0]
    for network, tensors in mine.items():
        for name, value in tensors.items():
            assert torch.equal(value, theirs[network][name]), f"{network} {name}"


def test_an_evaluation_finds_the_faces_that_were_kept_apart(whole, root, tiny_config):
    config = tiny_config("ablationv1", *SETTINGS)
    members = [read_trained(whole.folder.best)]
    (group,), (again,) = group_by_pairs(members), group_by_pairs(members, root)
    sources = open_sources(config.data, root)
    assert group.pairs.hash == again.pairs.hash == sources.frozen("test").hash
    parts = [set(sources.faces(name).names) for name in ("train", "val", "test")]
    assert [len(part) for part in parts] == [36, 2, 2]
    assert len(set.union(*parts)) == 40
