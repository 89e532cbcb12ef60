"""Which pictures are trained on, chosen by and tested on, and which folder they come from."""

import json

import pytest
from face_stubs import write_images
from PIL import Image

from deocclude.data.faces import splits
from deocclude.data.faces.layout import (
    SPLITS,
    beside,
    find_faces,
    left_out,
    locate_faces,
    loose_images,
)
from deocclude.data.faces.splits import load_split, save_split, split_faces
from deocclude.data.image_files import list_images


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
    assert "by identity folder (12 sub-folders of 5 images on average)" in split.rule
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


def put(folder, *names):
    """Image files of one colour with these names."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(folder / name)
    return folder


def names_of(split, part, folder):
    return [path.relative_to(folder).as_posix() for path in split.files[part]]


def counts(folder, **options):
    return split_faces(folder, 42, **options).counts()


def test_the_splits_of_0_1_0_stay(tmp_path):
    """What they were before the usual names, people and copies were looked at."""
    flat = put(tmp_path / "flat", *[f"{i:03d}.png" for i in range(60)])
    split = split_faces(flat, 42)
    assert names_of(split, "val", flat) == ["014.png", "038.png", "043.png"]
    assert names_of(split, "test", flat) == ["029.png", "042.png", "047.png"]
    people = put(tmp_path / "p", *[f"p{i:02d}/{j}.png" for i in range(30) for j in range(2)])
    held = [names_of(split_faces(people, 42), part, people)[::2] for part in ("val", "test")]
    assert held == [["p10/0.png", "p11/0.png"], ["p15/0.png", "p29/0.png"]]
    half = put(tmp_path / "half", "train/0.png", *[f"val/{i}.png" for i in range(9)])
    assert names_of(split_faces(half, 42), "test", half) == [f"val/{i}.png" for i in (1, 3, 5, 6)]
    nest = put(
        tmp_path / "n", "train/a.png", *[f"test/q{i}/{j}.png" for i in range(4) for j in "ab"]
    )
    val = names_of(split_faces(nest, 42), "val", nest)
    assert val == ["test/q1/a.png", "test/q1/b.png", "test/q2/a.png", "test/q2/b.png"]


@pytest.mark.parametrize(
    "names",
    [("train", "validation", "testing"), ("Training", "VALID", "Eval"), ("TRAIN", "dev", "Test")],
)
def test_splits_go_by_the_usual_names(tmp_path, names):
    for count, name in zip((5, 2, 3), names, strict=True):
        put(tmp_path, *[f"{name}/{i}.JPG" for i in range(count)])
    assert counts(tmp_path) == "5/2/3"


def test_of_two_names_for_a_split_the_first_with_images_counts(tmp_path):
    put(tmp_path, "train/0.png", "val/0.png", "valid/0.png", "valid/1.png", "testing/0.png")
    (tmp_path / "test").mkdir()
    assert counts(tmp_path) == "1/1/1"
    used = [path for part in split_faces(tmp_path, 42).files.values() for path in part]
    assert left_out(tmp_path, used) == "2 images in valid/"


def test_a_test_folder_without_train_is_said(tmp_path):
    put(tmp_path, "testing/0.png", *[f"{i}.png" for i in range(9)])
    with pytest.raises(FileNotFoundError, match="has testing/, but no images in train/"):
        split_faces(tmp_path, 42)


@pytest.mark.parametrize(
    ("folders", "each", "people"),
    [
        (2, 60, False),
        (8, 40, False),
        (70, 1000, False),
        (3, 2, True),
        (50, 30, True),
        (105, 167, True),
    ],
)
def test_many_folders_with_few_pictures_are_people(folders, each, people):
    assert splits._are_people([each] * folders) == people


def test_a_few_large_folders_are_split_by_image_unless_asked(tmp_path):
    """male/ and female/ were two people too few."""
    put(tmp_path, *[f"{who}/{i}.png" for who in ("male", "female") for i in range(20)])
    split = split_faces(tmp_path, 42)
    assert split.counts() == "36/2/2"
    assert "by image (2 sub-folders of 20 images on average, not taken for people)" in split.rule
    with pytest.raises(FileNotFoundError, match=r"2 sub-folders are too few.*data\.split=image"):
        split_faces(tmp_path, 42, "folder")
    put(tmp_path, *[f"child/{i}.png" for i in range(20)])
    assert counts(tmp_path, by="folder") == "20/20/20"
    folder = put(tmp_path / "p", *[f"p{i}/{j}.png" for i in range(20) for j in range(2)])
    assert counts(folder) == counts(folder, by="image") == "36/2/2"
    assert "data.split is image" in split_faces(folder, 42, "image").rule
    with pytest.raises(FileNotFoundError, match="has no sub-folders"):
        split_faces(tmp_path / "male", 42, "folder")


@pytest.mark.parametrize("name", ["faces", "Faces"])
def test_the_folder_faces_comes_before_stray_pictures(tmp_path, name):
    """They made `faces` one person, and validation and test one screenshot each."""
    put(tmp_path, "a.png", "b.png", *[f"{name}/{i}.png" for i in range(20)])
    folder, reason = locate_faces(tmp_path, "auto", 64)
    assert (folder.name, reason) == (name, f"it is {name}/ of the data folder")
    assert counts(folder) == "18/1/1"
    assert loose_images(tmp_path) == 2


def test_a_folder_named_as_faces_are_comes_before_fewer_stray_pictures(tmp_path):
    put(tmp_path, "a.png", "b.png", "ffhq/0.png", "ffhq/1.png", "ffhq/2.png")
    assert find_faces(tmp_path, "auto", 64) == tmp_path / "ffhq"
    put(tmp_path, "c.png")
    assert locate_faces(tmp_path, "auto", 64) == (tmp_path, "3 images lie in it itself")
    put(tmp_path, "train/0.png")
    assert locate_faces(tmp_path, "auto", 64) == (tmp_path, "it holds its splits")


def test_of_several_sets_the_choice_and_the_others_are_told(tmp_path):
    write_images(tmp_path / "faces256" / "train", 1, size=(256, 256))
    write_images(tmp_path / "celeba", 1, size=(89, 109))
    (tmp_path / "celeba" / "0.jpg").write_bytes(b"broken")
    put(tmp_path, "utkface/0.png", "occluders/hat.png", "identities/a/0.png")
    folder, reason = locate_faces(tmp_path, "auto", 64)
    assert folder.name == "celeba"
    assert reason == "of celeba (89 px), faces256 (256 px) it is the nearest to data.size 64"
    assert beside(tmp_path, folder) == ["faces256", "utkface"]


def test_what_is_left_out_is_counted_by_place(tmp_path):
    put(tmp_path, "train/0.PNG", "train/._0.png", "extra/0.png", "1.png", ".thumbs/0.png")
    (tmp_path / "labels.csv").write_text("a,b")
    (tmp_path / "empty").mkdir()
    words = left_out(tmp_path, [tmp_path / "train" / "0.PNG"])
    assert "1 image in extra/" in words
    assert f"1 image in {tmp_path.name}/ itself" in words
    assert "1 .csv that is no image" in words
    assert "2 files or folders hidden" in words
    assert left_out(tmp_path / "extra", list_images(tmp_path / "extra")) == ""


def test_linked_folders_are_read_and_loops_end(tmp_path):
    put(tmp_path / "far", *[f"{i}.png" for i in range(20)])
    (tmp_path / "root").mkdir()
    try:
        (tmp_path / "root" / "faces").symlink_to(tmp_path / "far")
        (tmp_path / "far" / "loop").symlink_to(tmp_path / "root")
    except OSError:
        pytest.skip("links are not allowed here")
    folder = find_faces(tmp_path / "root", "auto", 64)
    assert counts(folder) == "18/1/1"


def test_people_and_loose_pictures_stay_as_they_were(tmp_path):
    put(tmp_path, "a.png", "b.png", *[f"p{i}/{j}.png" for i in range(12) for j in range(3)])
    split = split_faces(tmp_path, 42)
    assert "by identity folder (12 sub-folders of 3 images" in split.rule
    assert names_of(split, "val", tmp_path) == [f"p6/{j}.png" for j in range(3)]
