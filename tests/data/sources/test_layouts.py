"""What a training or an evaluation says of the data it was given, and what it leaves out."""

import logging
import shutil

import numpy as np
import pytest
from PIL import Image

from deocclude.data.builtin.faces import render_face
from deocclude.data.faces.layout import SPLITS
from deocclude.data.faces.splits import save_split
from deocclude.data.settings import FaceData
from deocclude.data.sources.faces import open_faces
from deocclude.engines.runs.config import ConfigError, load_config
from deocclude.engines.runs.tasks import open_any_sources


@pytest.fixture
def root(tmp_path, caplog):
    """A data folder of 20 drawn faces of 48 px, with what people leave lying about."""
    caplog.set_level(logging.INFO)
    (tmp_path / "faces").mkdir()
    for i in range(20):
        Image.fromarray(render_face(i, 48)).save(tmp_path / "faces" / f"{i:02d}.png")
    Image.new("RGB", (90, 60)).save(tmp_path / "Screenshot.png")
    (tmp_path / "faces" / "._00.png").write_bytes(b"a Mac's")
    return tmp_path


def test_rule_counts_and_what_is_left_out_are_said(root, caplog):
    _, folder, split = open_faces(FaceData(), root, None)
    assert folder == root / "faces"
    assert split.counts() == "18/1/1"
    said = caplog.text
    assert f"faces     {folder}: 20 images, seed 42, 90/5/5 by image: train/val/test 18/1/1" in said
    assert "chosen because it is faces/ of the data folder" in said
    assert "1 file or folder hidden" in said
    assert f"left out: 1 image in {root} itself" in said


def test_built_in_faces_in_place_of_a_data_folder_are_said(root, caplog):
    """--profile quick has built-in faces, whatever --data is."""
    assert open_faces(FaceData(faces="builtin"), root, None)[1] is None
    assert f"data.faces is builtin: those of {root} are not used" in caplog.text


def test_copies_are_kept_out_of_train_unless_asked_and_never_of_a_recorded_split(root, tmp_path):
    split = open_faces(FaceData(), root, None)[2]
    with Image.open(split.files["test"][0]) as image:
        image.convert("RGB").save(root / "faces" / "again.jpg", quality=60)
    for name, paths in split.files.items():
        (root / name).mkdir()
        for path in paths:
            shutil.move(path, root / name)
    shutil.move(root / "faces" / "again.jpg", root / "train")
    (root / "Screenshot.png").unlink()
    shutil.rmtree(root / "faces")
    assert open_faces(FaceData(), root, None)[2].counts() == "18/1/1"
    kept = open_faces(FaceData(copies="keep"), root, None)[2]
    assert kept.counts() == "19/1/1"
    save_split(kept, root, root / "split.json")
    assert open_faces(FaceData(), root, root / "split.json")[2] == kept


def test_a_second_folder_brings_no_copies_of_what_is_tested(root, tiny_config, caplog):
    test = open_faces(FaceData(), root, None)[2].files["test"][0]
    for i in range(30, 36):
        (root / "more" / "train").mkdir(parents=True, exist_ok=True)
        Image.fromarray(render_face(i, 48)).save(root / "more" / "train" / f"{i}.png")
    (root / "more" / "val").mkdir()
    for i in (40, 41):
        Image.fromarray(render_face(i, 48)).save(root / "more" / "val" / f"{i}.png")
    with Image.open(test) as image:
        image.resize((64, 64)).save(root / "more" / "train" / "copy.png")
    also = "data.also={faces: more, template: utkface}"
    config = tiny_config("ablationv1", "data.faces=auto", also)
    sources = open_any_sources(config, root)
    record = sources.describe()
    assert record["images"]["train, also"] == 6
    assert "left out 1 of 7 pictures" in caplog.text


def test_enlarged_pictures_are_counted_once(root, tiny_config, caplog):
    config = tiny_config("ablationv1", "data.faces=auto", "data.size=64")
    open_any_sources(config, root).training_faces(root / "cache")
    assert "18 of 18 images are smaller than data.size 64 and are enlarged" in caplog.text
    assert "the smallest has 48 px" in caplog.text
    caplog.clear()
    config = tiny_config("ablationv1", "data.faces=auto", "data.size=48")
    open_any_sources(config, root).training_faces(root / "cache")
    assert "are enlarged" not in caplog.text


@pytest.mark.parametrize("wrong", ["data.split=folders", "data.copies=remove"])
def test_other_words_are_refused(wrong):
    with pytest.raises(ConfigError, match=wrong.split("=")[0]):
        load_config("ablationv1", "quick", [wrong])


def test_known_people_are_not_split_by_folder():
    with pytest.raises(ConfigError, match="split: folder is for faces"):
        load_config("efficientnetb0", "quick", ["data.split=folder"], "identity")


def test_equal_pictures_of_a_person_are_kept_out_of_train(tmp_path, tiny_config, caplog):
    caplog.set_level(logging.INFO)
    for person in range(2):
        place = tmp_path / "identities" / f"p{person}"
        place.mkdir(parents=True)
        for i in range(10):
            picture = np.random.default_rng((person, i)).integers(0, 256, (32, 32, 3))
            Image.fromarray(picture.astype(np.uint8)).save(place / f"{i}.png")
    (tmp_path / "identities" / "loose.png").write_bytes(b"")
    config = load_config("efficientnetb0", "quick", ["data.faces=auto"], "identity")
    before = open_any_sources(config, tmp_path).split
    assert "left out of" in caplog.text
    assert "1 image in identities/ itself" in caplog.text
    trained, tested = (next(p for p in before.files[n] if "p0" in p.parts) for n in SPLITS[::2])
    shutil.copy(tested, trained)
    after = open_any_sources(config, tmp_path).split
    assert set(before.files["train"]) - set(after.files["train"]) == {trained}
    assert after.files["test"] == before.files["test"]
