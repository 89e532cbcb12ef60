import json

import numpy as np
import pytest
from PIL import Image

from deocclude.data.faces.layout import SPLITS, find_faces
from deocclude.data.faces.splits import load_split, save_split, split_faces


def write_images(folder, count, size=(40, 50), start=0):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(start, start + count):
        rng = np.random.default_rng(i)
        small = rng.integers(0, 256, (5, 4, 3), dtype=np.uint8)
        Image.fromarray(small).resize(size).save(folder / f"{i:04d}.png")
    return folder


def test_given_folders_are_the_split(tmp_path):
    for split, count in (("train", 6), ("val", 2), ("test", 3)):
        write_images(tmp_path / split, count)
    split = split_faces(tmp_path, seed=1)
    assert {name: len(files) for name, files in split.files.items()} == {
        "train": 6, "val": 2, "test": 3
    }  # fmt: skip
    assert split.rule == "given sub-folders"


def test_a_missing_test_folder_is_half_of_val(tmp_path):
    write_images(tmp_path / "train", 4)
    write_images(tmp_path / "val", 6)
    files = split_faces(tmp_path, seed=1).files
    assert (len(files["val"]), len(files["test"])) == (3, 3)
    assert not set(files["val"]) & set(files["test"])


def test_seeded_split_is_complete_disjoint_and_repeatable(tmp_path):
    write_images(tmp_path, 40)
    split = split_faces(tmp_path, seed=1)
    files = [set(split.files[name]) for name in SPLITS]
    assert [len(f) for f in files] == [36, 2, 2]
    assert len(set.union(*files)) == 40
    assert split_faces(tmp_path, seed=1) == split
    assert split_faces(tmp_path, seed=2).files != split.files


def test_no_identity_is_in_two_splits(tmp_path):
    for person in range(12):
        write_images(tmp_path / f"person{person}", 5, start=5 * person)
    split = split_faces(tmp_path, seed=3)
    people = [{path.parent.name for path in split.files[name]} for name in SPLITS]
    assert sum(map(len, people)) == len(set.union(*people)) == 12
    assert sum(len(files) for files in split.files.values()) == 60
    assert "identity" in split.rule
    # also where train/ holds identity folders and val/ and test/ have to be cut from it
    nested = tmp_path / "nested"
    for person in range(8):
        write_images(nested / "train" / f"person{person}", 3, start=3 * person)
    split = split_faces(nested, seed=3)
    people = [{path.parent.name for path in split.files[name]} for name in SPLITS]
    assert sum(map(len, people)) == 8


def test_masks_and_hidden_files_of_a_data_folder_are_no_faces(tmp_path):
    write_images(tmp_path, 20)
    write_images(tmp_path / "masks", 20)
    write_images(tmp_path / ".thumbnails", 5)
    split = split_faces(find_faces(tmp_path, "auto", 64), seed=1)
    assert sum(len(files) for files in split.files.values()) == 20
    assert "by image" in split.rule


def test_a_saved_split_stays_when_images_come_and_is_an_error_when_they_go(tmp_path):
    folder = write_images(tmp_path / "faces", 40)
    split = split_faces(folder, seed=1)
    save_split(split, folder, tmp_path / "split.json")
    write_images(folder, 60, start=40)
    assert split_faces(folder, seed=1) != split
    assert load_split(tmp_path / "split.json", folder) == split
    split.files["val"][0].unlink()
    with pytest.raises(FileNotFoundError, match="1 of its images"):
        load_split(tmp_path / "split.json", folder)


def test_split_is_saved_with_relative_paths(tmp_path):
    write_images(tmp_path / "faces", 20)
    split = split_faces(tmp_path / "faces", seed=1)
    save_split(split, tmp_path / "faces", tmp_path / "split.json")
    saved = json.loads((tmp_path / "split.json").read_text())
    assert sorted(saved["train"] + saved["val"] + saved["test"]) == [
        f"{i:04d}.png" for i in range(20)
    ]
    assert saved["rule"] == split.rule


@pytest.mark.parametrize("make", ["missing", "empty", "too few"])
def test_folders_without_enough_images_are_errors(tmp_path, make):
    folder = tmp_path / "faces"
    if make != "missing":
        write_images(folder, 2 if make == "too few" else 0)
    with pytest.raises(FileNotFoundError, match=r"faces|too few"):
        split_faces(folder, seed=1)


def test_auto_finds_the_folder_nearest_in_size_from_above(tmp_path):
    write_images(tmp_path / "celeba_small" / "train", 1, size=(70, 90))
    write_images(tmp_path / "faces_large", 1, size=(256, 256))
    write_images(tmp_path / "occluders", 1, size=(100, 100))
    assert find_faces(tmp_path, "auto", 64).name == "celeba_small"
    assert find_faces(tmp_path, "auto", 128).name == "faces_large"
    assert find_faces(tmp_path, "auto", 512).name == "faces_large"
    assert find_faces(tmp_path, "faces_large", 64).name == "faces_large"
    assert find_faces(tmp_path / "celeba_small", "auto", 64).name == "celeba_small"
    assert find_faces(None, "auto", 64) is None
    assert find_faces(tmp_path, "builtin", 64) is None
    with pytest.raises(FileNotFoundError, match="faces_tiny"):
        find_faces(tmp_path, "faces_tiny", 64)
    write_images(tmp_path / "official" / "CelebA-HQ", 1)
    assert find_faces(tmp_path / "official", "auto", 64).name == "CelebA-HQ"
    write_images(tmp_path / "people" / "ann", 1)
    assert find_faces(tmp_path / "people", "auto", 64).name == "people"
    with pytest.raises(FileNotFoundError, match="celeba"):
        find_faces(write_images(tmp_path / "empty", 0), "auto", 64)
