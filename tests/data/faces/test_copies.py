"""Copies of pictures are found, whatever they were saved as; other pictures are none."""

import shutil

import numpy as np
import pytest
from PIL import Image, ImageOps

from deocclude.data.builtin.faces import render_face
from deocclude.data.faces.copies import ALIKE, _near_pictures, find_copies
from deocclude.data.faces.splits import Split, load_split, save_split, without_copies


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Eight drawn faces, as lossless files."""
    folder = tmp_path_factory.mktemp("faces")
    for i in range(8):
        Image.fromarray(render_face(i, 96)).save(folder / f"{i}.png")
    return sorted(folder.iterdir())


def save_as(picture, path, quality):
    if quality is None:
        picture.save(path)
    else:
        picture.convert("RGB").save(path, quality=quality)


@pytest.mark.parametrize(
    ("suffix", "quality", "change"),
    [
        (".jpg", 95, None),
        (".jpg", 30, None),
        (".webp", 60, None),
        (".bmp", None, None),
        (".png", None, lambda p: p.resize((48, 48), Image.Resampling.LANCZOS)),
        (".jpg", 75, lambda p: p.resize((48, 48), Image.Resampling.BILINEAR)),
        (".png", None, lambda p: p.resize((200, 200))),
        (".jpg", 80, ImageOps.mirror),
        (".png", None, lambda p: ImageOps.expand(p, (20, 0), "red")),  # the same centre square
    ],
)
def test_the_same_picture_is_a_copy_in_any_form(tmp_path, faces, suffix, quality, change):
    with Image.open(faces[3]) as image:
        picture = image.convert("RGB")
    copy = tmp_path / f"copy{suffix}"
    save_as(change(picture) if change else picture, copy, quality)
    others = [path for path in faces if path != faces[3]]
    assert find_copies(faces, [copy]) == {copy: faces[3]}
    assert find_copies(others, [copy]) == {}
    assert find_copies(faces, [copy], near=False) == {}


def test_a_turned_file_is_a_copy_as_it_is_shown(tmp_path, faces):
    with Image.open(faces[0]) as image:
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned by 90 degrees clockwise
        image.convert("RGB").rotate(90).save(tmp_path / "a.jpg", quality=90, exif=exif)
    assert find_copies(faces, [tmp_path / "a.jpg"]) == {tmp_path / "a.jpg": faces[0]}


def test_different_faces_are_no_copies(faces):
    assert find_copies(faces[:4], faces[4:]) == {}


def test_equal_files_are_copies_even_where_there_is_nothing_to_see(tmp_path):
    for name, grey in (("a", 90), ("b", 90), ("c", 91)):
        Image.new("L", (40, 40), grey).save(tmp_path / f"{name}.png")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "again.jpg").write_bytes(b"no picture")
    a, b, c, broken, again = (
        tmp_path / n for n in ("a.png", "b.png", "c.png", "broken.jpg", "again.jpg")
    )
    assert find_copies([a, broken], [b, c, again]) == {b: a, again: broken}
    assert find_copies([], [a]) == find_copies([a], []) == {}


def test_the_search_by_means_finds_what_comparing_all_finds(tmp_path):
    """Many pictures of many brightnesses, some of them close to each other."""
    rng = np.random.default_rng(0)
    base = rng.integers(40, 200, (30, 16, 16))
    held, others = [], []
    for i in range(30):
        for kind, paths in (("h", held), ("o", others)):
            shift = 0 if kind == "h" else rng.choice([0, 2, 5, 9])
            paths.append(tmp_path / f"{kind}{i:02d}.png")
            Image.fromarray((base[i] + shift).astype(np.uint8)).save(paths[-1])
    small = {p: np.asarray(Image.open(p), np.float32) for p in (*held, *others)}
    wanted = {
        o: h for o in others for h in held if np.sqrt(np.mean((small[o] - small[h]) ** 2)) <= ALIKE
    }
    assert 0 < len(wanted) < 30
    assert _near_pictures(held, others) == wanted


def split_of(folder, **parts):
    return Split({name: [folder / n for n in names] for name, names in parts.items()}, "given")


def test_copies_leave_train_and_are_said(tmp_path, faces, caplog):
    for path in faces[:6]:
        shutil.copy(path, tmp_path)
    shutil.copy(faces[4], tmp_path / "same.png")
    with Image.open(faces[5]) as image:
        image.convert("RGB").save(tmp_path / "jpeg.jpg", quality=70)
    split = split_of(
        tmp_path, train=["0.png", "same.png", "1.png", "jpeg.jpg"], val=["4.png"], test=["5.png"]
    )
    kept = without_copies(split, tmp_path)
    assert [path.name for path in kept.files["train"]] == ["0.png", "1.png"]
    assert kept.rule == "given; without 2 of 4 train pictures, copies of val or test"
    assert "same.png = 4.png, jpeg.jpg = 5.png" in caplog.text
    assert "data.copies=keep" in caplog.text
    assert kept.files["test"] == split.files["test"]
    save_split(kept, tmp_path, tmp_path / "split.json")  # frozen: never looked at again
    assert load_split(tmp_path / "split.json", tmp_path) == kept


def test_without_copies_a_split_stays_itself(tmp_path, faces):
    folder = faces[0].parent
    split = split_of(folder, train=["0.png", "1.png"], val=["2.png"], test=["3.png"])
    assert without_copies(split, folder) is split


def test_val_that_is_test_is_warned_of_and_train_that_is_test_an_error(faces, caplog):
    folder = faces[0].parent
    split = split_of(folder, train=["0.png"], val=["2.png"], test=["2.png"])
    assert without_copies(split, folder) is split
    assert "1 val pictures are in test too (2.png = 2.png)" in caplog.text
    same = split_of(folder, train=["0.png"], val=["0.png"], test=["1.png"])
    with pytest.raises(ValueError, match=r"all train pictures are copies.*data\.copies=keep"):
        without_copies(same, folder)


def test_real_faces_are_no_copies_of_each_other(real_data, tmp_path):
    """Photographs and generated faces that lie alike; those encoded anew and halved are found."""
    files = sorted((real_data / "faces256" / "val").glob("*.jpg"))
    if not files:
        pytest.skip("no faces256")
    assert find_copies(files[:75], files[75:]) == {}
    anew = {}
    for path in files[:150:30]:
        with Image.open(path) as image:
            anew[tmp_path / path.name] = path
            image.resize((128, 128)).save(tmp_path / path.name, quality=50)
    assert find_copies(files, [*anew]) == anew
