"""Masks are paired with photos by name, and photos are never taken for masks."""

from pathlib import Path

import numpy as np
import pytest
from mask_stubs import blob, photograph
from PIL import Image

from deocclude.data.mask_files.pairing import masks_beside, pair_masks, photo_stem
from deocclude.data.pairs.folders import pair_folders


@pytest.fixture
def folder(tmp_path):
    """Photos, and masks of some: beside them, in a folder of their own."""
    photo, mask = photograph(64), blob(64) * np.uint8(255)
    for name in ("a.jpg", "b.jpg", "c.jpg", "c_mask.jpg"):  # c_mask: a photo of one with a mask on
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.fromarray(photo).save(tmp_path / "photos" / name)
    for name in ("photos/a-mask.png", "photos/b_MASK.jpg", "masks/a.png", "masks/b.mask.png"):
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(tmp_path / name)
    return tmp_path


@pytest.mark.parametrize(
    ("stem", "owner"),
    [("a-mask", "a"), ("a_Mask", "a"), ("a.MASK", "a"), ("a", "a"), ("unmask", "unmask")],
)
def test_the_photo_of_a_mask_by_name(stem, owner):
    assert photo_stem(stem) == owner


def photos(folder, *names):
    return [(folder / "photos" / name, Path(Path(name).stem)) for name in names]


def test_masks_beside_photos_and_apart(folder):
    beside = masks_beside(sorted((folder / "photos").iterdir()))
    assert [path.name for path in beside] == ["a-mask.png", "b_MASK.jpg"]
    for place, names in (
        ("photos", ["a-mask.png", "b_MASK.jpg"]),
        ("masks", ["a.png", "b.mask.png"]),
    ):
        pairs = pair_masks(photos(folder, "a.jpg", "b.jpg"), folder / place)
        assert [path.name for path in pairs.masks.values()] == names
        assert not pairs.missing
    Image.fromarray(photograph(64)).save(folder / "masks" / "b.png")  # a result beside its mask
    pairs = pair_masks(photos(folder, "a.jpg", "b.jpg"), folder / "masks")
    assert [path.name for path in pairs.masks.values()] == ["a.png", "b.mask.png"]


def test_a_folder_that_holds_no_masks_is_refused(folder):
    (folder / "photos/a-mask.png").unlink()
    (folder / "photos/b_MASK.jpg").unlink()
    every = photos(folder, "a.jpg", "b.jpg", "c.jpg", "c_mask.jpg")
    with pytest.raises(ValueError, match="photos: holds the photos themselves and no masks"):
        pair_masks(every, folder / "photos")
    (folder / "copies").mkdir()
    for path, _ in every:
        (folder / "copies" / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match=r"copies: holds no masks; .*a\.jpg: is no mask"):
        pair_masks(every, folder / "copies")
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty: no images.*NAME-mask\.png"):
        pair_masks(every, folder / "empty")


def test_your_own_pairs_go_by_the_same_names(folder, caplog):
    for place, names in (
        ("masks", ["a.png", "b.mask.png"]),
        ("photos", ["a-mask.png", "b_MASK.jpg"]),
    ):
        for name in ("c.jpg", "c_mask.jpg"):
            (folder / "photos" / name).unlink(missing_ok=True)
        pairs = pair_folders(folder / "photos", folder / place, 32)
        assert [(pair.image, pair.mask) for pair in pairs.pairs] == list(
            zip(("a.jpg", "b.jpg"), names, strict=True)
        )
    assert "2 masks beside the images, e.g." in caplog.text


def test_own_pairs_turn_crop_and_refuse_by_proportions(tmp_path, caplog):
    exif = Image.Exif()
    exif[0x0112] = 6
    shown = np.zeros((36, 64), np.uint8)
    shown[10:20, 20:30] = 255
    photo = Image.fromarray(np.dstack([shown] * 3))
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    for name in "abcd":
        photo.transpose(Image.Transpose.ROTATE_90).save(tmp_path / f"images/{name}.png", exif=exif)
    mask = Image.fromarray(shown)
    mask.save(tmp_path / "masks/a.png")
    mask.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "masks/b.png")
    mask.crop((14, 0, 50, 36)).save(tmp_path / "masks/c.png")
    mask.resize((64, 48)).save(tmp_path / "masks/d.png")
    with pytest.raises(ValueError, match=r"d\.png: is 64 x 48, its picture 64 x 36"):
        pair_folders(tmp_path / "images", tmp_path / "masks", 36)
    (tmp_path / "images/d.png").unlink()
    pairs = pair_folders(tmp_path / "images", tmp_path / "masks", 36)
    for index in range(3):
        image, hole = pairs.load(index)
        np.testing.assert_array_equal(image[..., 0] > 127, hole == 1)
    assert "b.png: is 36 x 64, as its picture is stored: turned" in caplog.text
    assert "c.png: square, its picture is not" in caplog.text
