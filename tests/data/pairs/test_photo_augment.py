"""What photographs do to a face: keyed, alike for picture and mask, each kind switchable."""

from dataclasses import fields

import numpy as np
import pytest

from deocclude.data.pairs.photo_augment import RANGES, SPREADS, PhotographAugmentation

SHARES = [f.name for f in fields(PhotographAugmentation) if f.name not in (*RANGES, *SPREADS)]
OFF = dict.fromkeys([*SPREADS, *SHARES], 0)
MOVES = {"rotation": 12, "scale": 0.15, "shift": 0.06, "tight": 0.2, "wide": 0.2}


def rng(*key):
    return np.random.default_rng(key)


@pytest.fixture
def picture():
    """Smooth colours with some grain, and a mask: uint8 (96, 96, 3) and (96, 96)."""
    y, x = np.mgrid[:96, :96]
    image = np.stack([60 + x, 40 + y, 160 - x], 2) + rng(1).integers(0, 30, (96, 96, 3))
    return image.astype(np.uint8), ((x - 50) ** 2 + (y - 60) ** 2 < 400).astype(np.uint8)


def test_the_same_keys_give_the_same_arrays_and_the_given_ones_stay(picture):
    augment, before = PhotographAugmentation(), [a.copy() for a in picture]
    different = set()
    for key in range(80):
        first, again = (augment(*picture, rng(key)) for _ in range(2))
        for made, same, given in zip(first, again, before, strict=True):
            np.testing.assert_array_equal(made, same)
            assert (made.shape, made.dtype) == (given.shape, np.uint8)
        assert set(np.unique(first[1])) <= {0, 1}
        different.add(first[0].tobytes())
    assert len(different) == 80
    for given, kept in zip(picture, before, strict=True):
        np.testing.assert_array_equal(given, kept)


@pytest.mark.parametrize("size", [64, 97, 256])
def test_picture_and_mask_move_together(size):
    mask = np.zeros((size, size), np.uint8)
    mask[size // 4 : 3 * size // 5, size // 3 : 3 * size // 4] = 1
    image, moved = np.repeat(255 * mask[..., None], 3, 2), 0
    augment = PhotographAugmentation(**{**OFF, **MOVES})
    for key in range(60):
        shown, covered = augment(image, mask, rng(key))
        white = shown[..., 0] > 127
        assert (white & (covered > 0)).sum() / (white | (covered > 0)).sum() > 0.93
        moved += not np.array_equal(covered, mask)
    assert moved == 60


@pytest.mark.parametrize("outside", [{}, {"reflect": 1}, {"frame": 1}])
def test_nothing_outside_of_the_picture_is_masked(outside):
    zoom = {"wide": 1, "wide_zoom": (0.5, 0.5)}
    augment = PhotographAugmentation(**{**OFF, **zoom, **outside})
    image, mask = np.full((96, 96, 3), 150, np.uint8), np.ones((96, 96), np.uint8)
    framed = np.zeros((96, 96), np.uint8)
    framed[24:72, 24:72] = 1
    colours = set()
    for key in range(40):
        shown, covered = augment(image, mask, rng(key))
        np.testing.assert_array_equal(covered, framed)
        colours.add(tuple(shown[2, 2]))
    assert {(0, 0, 0), (255, 255, 255)} < colours if "frame" in outside else colours == {(150,) * 3}


def test_switched_off_parts_do_nothing(picture):
    for key in range(20):
        for made, given in zip(
            PhotographAugmentation(**OFF)(*picture, rng(key)), picture, strict=True
        ):
            np.testing.assert_array_equal(made, given)


@pytest.mark.parametrize("kind", [k for k in OFF if k not in ("reflect", "frame", "tint")])
def test_each_kind_changes_the_picture_by_itself_and_only_places_move_the_mask(picture, kind):
    strength = 1 if kind in SHARES else getattr(PhotographAugmentation(), kind)
    augment = PhotographAugmentation(**{**OFF, kind: strength})
    changed = 0
    for key in range(8):
        image, mask = augment(*picture, rng(key))
        changed += not np.array_equal(image, picture[0])
        if kind not in MOVES:
            np.testing.assert_array_equal(mask, picture[1])
    assert changed >= 6  # a draw near 0 may change nothing


def test_grey_pictures_are_grey_and_jpeg_keeps_the_order_of_colours(picture):
    grey, _ = PhotographAugmentation(**{**OFF, "grey": 1})(*picture, rng(0))
    assert np.ptp(grey, axis=2).max() == 0
    jpeg = PhotographAugmentation(**{**OFF, "jpeg": 1, "jpeg_quality": (90, 90)})
    difference = jpeg(*picture, rng(0))[0].astype(int) - picture[0]
    assert np.abs(difference.mean(axis=(0, 1))).max() < 1.5


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"rotation": -1}, "rotation: -1 must be at least 0"),
        ({"jpeg": 1.5}, "jpeg: 1.5 must be a share from 0 to 1"),
        ({"blur": "much"}, "blur: 'much' is not a number"),
        ({"scale": float("nan")}, "scale: nan is not a number"),
        ({"grey": True}, "grey: true is not a number"),
        ({"jpeg_quality": (80, 20)}, r"jpeg_quality: \[80, 20\] must rise and lie within 1 to 100"),
        ({"blur_sigma": 3}, "blur_sigma: 3 must be two numbers"),
        ({"tight": 0.6, "wide": 0.5}, r"tight \+ wide: at most 1 together, found 1\.1"),
        ({"jpg": 0}, "jpg: unknown key; valid are rotation, .*jpeg"),
    ],
)
def test_what_cannot_be_drawn_is_said_with_its_key(option, says):
    with pytest.raises(ValueError, match=says):
        PhotographAugmentation.from_options(option)
