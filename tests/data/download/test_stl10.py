"""STL-10 from files in torchvision's own format, tiny ones, to a folder of pictures."""

import hashlib

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import STL10

from deocclude.data.download import sets, stl10
from deocclude.data.faces.layout import find_faces
from deocclude.data.faces.splits import split_faces
from deocclude.engines.runs.config import load_config
from deocclude.engines.runs.tasks import open_any_sources

TRAIN, TEST = 12, 8


@pytest.fixture
def binaries(tmp_path, monkeypatch):
    """Files as the archive holds them, with their digests told to torchvision; the pictures."""
    folder = tmp_path / stl10.BINARY / "stl10_binary"
    folder.mkdir(parents=True)
    pictures = np.random.default_rng(0).integers(0, 256, (TRAIN + TEST, 96, 96, 3), np.uint8)
    columns_first = pictures.transpose(0, 3, 2, 1)  # the archive's order: channel, column, row
    content = {
        "train_X.bin": columns_first[:TRAIN].tobytes(),
        "train_y.bin": bytes(range(1, TRAIN + 1)),
        "unlabeled_X.bin": b"",
        "test_X.bin": columns_first[TRAIN:].tobytes(),
        "test_y.bin": bytes(range(1, TEST + 1)),
    }
    for name, written in content.items():
        (folder / name).write_bytes(written)
    lists = [[name, hashlib.md5(written).hexdigest()] for name, written in content.items()]
    monkeypatch.setattr(STL10, "train_list", lists[:3])
    monkeypatch.setattr(STL10, "test_list", lists[3:])
    monkeypatch.setattr(stl10, "TRAIN", 10)
    monkeypatch.setattr(stl10, "VAL", 4)
    return pictures


def shown(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_labelled_pictures_are_dealt_out_and_become_a_run_s_data(binaries, tmp_path, capsys):
    sets.main(["stl10", "--yes", "--output", str(tmp_path)])
    assert "research only" in capsys.readouterr().out
    folder = tmp_path / "stl10"
    found = {split: sorted((folder / split).iterdir()) for split in ("train", "val", "test")}
    assert {split: len(files) for split, files in found.items()} == {
        "train": 10, "val": 4, "test": 6
    }  # fmt: skip
    numbers = [int(path.stem) for files in found.values() for path in files]
    assert sorted(numbers) == list(range(TRAIN + TEST))
    assert numbers[:10] != list(range(10))
    for path in (*found["train"], *found["test"]):
        np.testing.assert_array_equal(shown(path), binaries[int(path.stem)])
    assert sorted(split_faces(folder, 42).files["val"]) == found["val"]
    sources = open_any_sources(load_config("general", "small"), tmp_path)
    assert sources.folder == folder
    assert len(sources.faces("train")) == 10


def test_a_set_that_is_there_is_not_made_again(binaries, tmp_path):
    folder = stl10.fetch_stl10(tmp_path)
    kept = next((folder / "val").iterdir())
    kept.unlink()
    stl10.fetch_stl10(tmp_path)
    assert not kept.exists()


def test_what_was_interrupted_is_made_anew(binaries, tmp_path):
    left = tmp_path / f"{stl10.BINARY}-partial" / "train" / "99999.png"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"")
    folder = stl10.fetch_stl10(tmp_path)
    assert len(list(folder.rglob("*.png"))) == TRAIN + TEST
    assert not left.exists()


def test_a_damaged_archive_is_named(binaries, tmp_path, monkeypatch, capsys):
    (tmp_path / stl10.BINARY / "stl10_binary" / "train_X.bin").write_bytes(b"broken")

    def comes_down_damaged(*_, **__):
        raise RuntimeError("File not found or corrupted.")

    monkeypatch.setattr(
        "torchvision.datasets.stl10.download_and_extract_archive", comes_down_damaged
    )
    with pytest.raises(SystemExit):
        sets.main(["stl10", "--yes", "--output", str(tmp_path)])
    assert "corrupted.; delete it and run this again" in capsys.readouterr().out
    assert not (tmp_path / "stl10").exists()


def test_the_published_numbers():
    parts = stl10.deal_out(13_000)
    assert {name: len(part) for name, part in parts.items()} == {
        "train": 7000, "val": 1000, "test": 5000
    }  # fmt: skip
    assert parts == stl10.deal_out(13_000)
    with pytest.raises(ValueError, match="found 8000"):
        stl10.deal_out(8000)


def test_a_missing_set_names_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"python -m data.download stl10"):
        find_faces(tmp_path, "stl10", 96)
    with pytest.raises(FileNotFoundError) as error:
        find_faces(tmp_path, "portraits", 96)
    assert "data.download" not in str(error.value)
