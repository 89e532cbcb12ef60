"""A mask for its photo: turned, resized or refused by sizes; soft and erased ones."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from deocclude.data.mask_files.fitting import same_proportions, upright
from deocclude.data.mask_files.given import erased_part, fit_given, read_given
from deocclude.data.mask_files.reading import Mask, MaskError

SHOWN = (36, 64)


def marked(shape=SHOWN):
    """Levels (H, W) with a hole that lies in no middle."""
    levels = np.zeros(shape, np.uint8)
    levels[: shape[0] // 3, : shape[1] // 4] = 255
    return levels


def stored(levels, orientation):
    """The pixels that a file with this EXIF orientation holds, so that `levels` are shown."""
    back = {6: 8, 8: 6}.get(orientation, orientation)
    image = Image.fromarray(levels)
    image.getexif()[0x0112] = back
    return np.asarray(ImageOps.exif_transpose(image))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("scale", [1, 2])
def test_a_mask_of_the_stored_pixels_is_turned_like_its_photo(orientation, scale):
    levels = marked((SHOWN[0] * scale, SHOWN[1] * scale))
    kept = upright(Mask(levels, 127, "m.png"), SHOWN, orientation)
    np.testing.assert_array_equal(kept.levels, levels)
    assert not kept.notices
    raw = stored(levels, orientation)
    if raw.shape == levels.shape:
        return  # mirrored: taken as drawn on what people see
    turned = upright(Mask(raw, 127, "m.png"), SHOWN, orientation)
    np.testing.assert_array_equal(turned.levels, levels)
    assert f"orientation {orientation}" in turned.notices[0]
    with pytest.raises(MaskError, match=rf"is {raw.shape[1]} x {raw.shape[0]}, its picture 64 x"):
        upright(Mask(raw, 127, "m.png", oriented=True), SHOWN, orientation)
    with pytest.raises(MaskError, match="other proportions"):
        upright(Mask(raw, 127, "m.png"), SHOWN, 1)


def test_a_square_photo_is_taken_as_people_see_it():
    levels = marked((40, 40))
    for orientation in range(1, 9):
        np.testing.assert_array_equal(
            upright(Mask(levels, 127, "m"), (40, 40), orientation).levels, levels
        )
    near = stored(marked((40, 41)), 6)  # 41 x 40, stored: exact sizes decide
    assert upright(Mask(near, 127, "m"), (40, 41), 6).shape == (40, 41)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ((1080, 1920), (360, 640), True),
        ((341, 512), (1333, 2000), True),  # a pixel of rounding
        ((1333, 2000), (341, 512), True),
        ((3024, 4032), (3020, 4032), False),
        ((1080, 1920), (1088, 1920), False),
        ((360, 640), (640, 360), False),
        ((256, 256), (218, 178), False),
    ],
)
def test_proportions_within_a_pixel(one, other, same):
    assert same_proportions(one, other) == same


def test_a_mask_file_of_its_own_orientation_is_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(stored(marked(), 6)).save(tmp_path / "m.png", exif=exif)
    given = read_given(tmp_path / "m.png", SHOWN, orientation=6)
    np.testing.assert_array_equal(given.hole, marked() > 0)
    assert given.notices == []


def test_soft_levels_weigh_and_black_stays():
    levels = np.tile(np.array([0, 2, 3, 128, 255], np.uint8), (4, 1))
    given = fit_given(Mask(levels, 127, "m"), (4, 5), soft=True)
    assert given.hole[0].tolist() == [0, 0, 1, 1, 1]
    photo, restored = np.full((4, 5, 3), 100, np.uint8), np.full((4, 5, 3), 200, np.uint8)
    restored[given.hole == 0] = 100
    given.weigh(restored, photo)
    assert restored[0, :, 0].tolist() == [100, 100, 101, 150, 200]
    hard = fit_given(Mask(levels, 127, "m"), (4, 5))
    assert hard.hole[0].tolist() == [0, 0, 0, 1, 1]
    with pytest.raises(MaskError, match=r"m: .*0 to 1; a soft mask has levels from 3 on"):
        fit_given(Mask(np.eye(5, dtype=np.uint8), 0, "m"), (5, 5), soft=True)


def test_what_was_erased_is_the_hole():
    alpha = np.tile(np.array([255, 200, 0], np.uint8), (2, 1))
    given = erased_part(alpha, "a.png")
    assert given.hole[0].tolist() == [0, 1, 1]
    assert given.weight[0].tolist() == [0, 55, 255]
    assert erased_part(alpha, "a.png", hard=True).weight is None
    for none in (None, np.full((2, 2), 255, np.uint8)):
        with pytest.raises(MaskError, match=r"a\.png: has no transparent part"):
            erased_part(none, "a.png")
    with pytest.raises(MaskError, match=r"a\.png: is transparent everywhere"):
        erased_part(np.full((2, 2), 254, np.uint8), "a.png")
