"""The grain of a photo on what is redrawn: measured on skin, drawn as noise, or left out."""

import cv2
import numpy as np
import pytest
from restore_stubs import GREEN, Flat, face_at, make, mask_of, photo_with

from deocclude.engines.photos.grain import LARGEST, grain, lay

SIDE, HOLE = 360, 200  # a face of two photo pixels per pixel of the network; its hole begins there


def skin(deviation=0.0, blur=0.0, mixing=None):
    """Shaded skin, uint8 (SIDE, SIDE, 3), with noise of that deviation, blurred, colours mixed."""
    noise = np.random.default_rng(1).standard_normal((SIDE, SIDE, 3)).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), blur) if blur else noise
    noise = noise @ np.float32(np.eye(3) if mixing is None else mixing)
    noise *= deviation / max(noise.std(), 1e-6)
    shade = np.linspace(120, 170, SIDE, dtype=np.float32)[:, None, None]
    return np.rint(shade * np.float32((1.1, 0.9, 0.8)) + noise).clip(0, 255).astype(np.uint8)


def grain_of(photo, coarseness=2.0, known=None):
    if known is None:
        known = np.zeros((SIDE, SIDE), np.uint8)
        known[:HOLE] = 1
    redrawn = skin()[HOLE:].astype(np.float32) / 255
    return grain(photo, known, redrawn, np.ones(redrawn.shape[:2], np.uint8), coarseness)


def above(picture, sigma=0.7):
    """What a blur takes away, flat: (N, 3)."""
    picture = np.float32(picture)
    return (picture - cv2.GaussianBlur(picture, (0, 0), sigma)).reshape(-1, 3)


@pytest.mark.parametrize("blur", [0, 0.8])
@pytest.mark.parametrize("deviation", [2, 6])
def test_strength_and_fineness_are_those_of_the_skin(deviation, blur):
    photo = skin(deviation, blur)
    added = grain_of(photo) * 255
    assert abs(added.mean()) < 0.1
    wanted = above(photo[:HOLE], 2).std()
    assert above(added, 2).std() == pytest.approx(wanted, rel=0.15)
    share = above(photo[:HOLE], 0.7).std() / wanted
    assert above(added, 0.7).std() / wanted == pytest.approx(share, rel=0.4)  # bands overlap
    assert (share > 0.6) == (blur == 0)


def test_its_colours_are_those_of_the_skins():
    photo = skin(5, mixing=np.full((3, 3), 1.0))
    assert np.corrcoef(above(grain_of(photo)).T)[0, 1] > 0.9
    assert abs(np.corrcoef(above(grain_of(skin(5))).T)[0, 1]) < 0.1


def test_nothing_is_added_to_a_smooth_photo_a_small_face_or_without_skin_to_measure():
    assert grain_of(skin()) is None
    photo = skin(4)
    assert grain_of(photo, coarseness=1.0) is None
    assert grain_of(photo, known=np.zeros((SIDE, SIDE), np.uint8)) is None
    assert grain_of(photo // 3) is None  # nothing known looks like what is redrawn
    assert grain_of(photo, 1.25).std() == pytest.approx(grain_of(photo, 2).std() / 2, rel=0.15)


def test_hair_and_edges_are_no_grain():
    photo = skin(3)
    alone = grain_of(photo).std()
    photo[:100, ::6] = photo[:100, ::6] // 2
    photo[150:152] = 30
    assert grain_of(photo).std() == pytest.approx(alone, rel=0.1)


def test_a_photo_gets_the_same_grain_twice_and_another_one_gets_other():
    photo = skin(3)
    np.testing.assert_array_equal(grain_of(photo), grain_of(photo.copy()))
    other = photo.copy()
    other[0, 0] ^= 1
    assert (
        np.abs(np.corrcoef(above(grain_of(photo))[:, 0], above(grain_of(other))[:, 0])[0, 1]) < 0.1
    )


def test_restored_photos_have_it_only_inside_of_the_hole():
    noise = np.random.default_rng(0).normal(128, 4, (400, 500, 3)).round().astype(np.uint8)
    photo = noise.copy()
    photo[190:250, 200:300] = GREEN
    faces = [face_at(240, (250, 200))]
    plain = make(Flat(0.5)).restore(photo, faces=faces)
    grained = make(Flat(0.5)).restore(photo, faces=faces, grain=True)
    again = make(Flat(0.5)).restore(photo, faces=faces, grain=True)
    np.testing.assert_array_equal(grained.restored, again.restored)
    np.testing.assert_array_equal(grained.mask, plain.mask)
    np.testing.assert_array_equal(grained.restored[plain.mask == 0], photo[plain.mask == 0])
    assert plain.restored[mask_of(photo) == 1].std() < 0.5
    assert grained.restored[mask_of(photo) == 1].std() == pytest.approx(4, rel=0.2)
    for one, other in zip(plain.faces, grained.faces, strict=True):  # the network's own answer
        np.testing.assert_array_equal(one.aligned_restored, other.aligned_restored)


def test_a_colourless_photo_gets_colourless_grain():
    photo = skin(4)
    photo[:] = photo[..., :1]
    redrawn = photo_with(shape=(160, SIDE), level=150).astype(np.float32) / 255
    known = np.zeros((SIDE, SIDE), np.uint8)
    known[:HOLE] = 1
    added = grain(photo, known, redrawn, np.ones((160, SIDE), np.uint8), 2.0)
    assert np.ptp(added, axis=-1).max() < 1e-4


def test_with_grain_the_uncertainty_is_as_without():
    photo = skin(4)
    photo[200:260, 100:200] = GREEN
    faces = [face_at(240, (180, 200))]
    plain, grained = (
        make(Flat(0.5)).restore(photo, faces=faces, uncertainty=True, grain=on)
        for on in (False, True)
    )
    np.testing.assert_array_equal(plain.uncertainty, grained.uncertainty)


def test_a_hole_of_any_size_is_covered():
    added = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    redrawn = np.ones((5, 3, 3), np.float32)
    lay(added, redrawn)
    np.testing.assert_array_equal(redrawn[2:4, :2], added + 1)
    np.testing.assert_array_equal(redrawn[4, 2], added[0, 0] + 1)


def test_grain_for_a_large_hole_is_drawn_once_and_repeated():
    known = np.zeros((SIDE, SIDE), np.uint8)
    known[:HOLE] = 1
    large = np.tile(skin()[HOLE:].astype(np.float32) / 255, (1, 4, 1))
    added = grain(skin(4), known, large, np.ones(large.shape[:2], np.uint8), 2.0)
    assert large.shape[1] > LARGEST
    assert added.shape == (SIDE - HOLE, LARGEST, 3)
