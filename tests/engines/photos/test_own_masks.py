"""`deocclude.py --mask` and `restore(mask=...)` with the masks that people have."""

import numpy as np
import pytest
from mask_stubs import blob, photograph
from photo_stubs import call
from PIL import Image, ImageFilter

from deocclude.data.contract import mask_warning
from deocclude.engines.api import restore
from deocclude.engines.cli.restore import main

WIDE = (60, 100)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """`deocclude.py WORDS --method telea` in an empty folder: exit code and what it says."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: call(main, capsys, *words, "--method", "telea")


def picture():
    return photograph(100)[: WIDE[0]]


def hole():
    mask = np.zeros(WIDE, np.uint8)
    mask[10:25, 60:90] = 1
    return mask


def pixels(name):
    with Image.open(name) as image:
        return np.asarray(image)


@pytest.mark.parametrize("orientation", [5, 6, 8])
def test_a_mask_drawn_on_the_stored_pixels_marks_what_it_marks(run, orientation):
    back = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    turn = back.get(orientation, Image.Transpose.TRANSPOSE)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture()).transpose(turn).save("photo.png", exif=exif)
    Image.fromarray(hole() * np.uint8(255)).transpose(turn).save("mask.png")
    code, text = run("photo.png", "--mask", "mask.png", "-o", "out.png", "--save", "mask")
    assert (code, "turned like it to 100 x 60" in text) == (0, True), text
    np.testing.assert_array_equal(pixels("out-mask.png") > 0, hole() == 1)
    np.testing.assert_array_equal(pixels("out.png")[hole() == 0], picture()[hole() == 0])
    restored = restore("photo.png", "mask.png", method="telea")
    np.testing.assert_array_equal(np.asarray(restored.mask) > 0, hole() == 1)
    Image.new("L", (60, 60)).save("square.png")
    Image.fromarray(blob(60) * np.uint8(255)).save("square.png")
    code, text = run("photo.png", "--mask", "square.png", "-o", "no.png")
    assert (code, "square.png: is 60 x 60, its picture 100 x 60" in text) == (1, True), text


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_the_erased_part_is_redrawn_and_opaque(run, mode):
    alpha = np.asarray(Image.fromarray((1 - hole()) * np.uint8(255)).filter(ImageFilter.BoxBlur(2)))
    photo = Image.fromarray(picture()).convert(mode[:-1] if mode == "LA" else "RGB")
    whole = np.asarray(photo)
    photo.putalpha(Image.fromarray(alpha))
    photo.save("photo.png")
    code, text = run("photo.png", "--mask", "alpha", "-o", "out.png", "--save", "mask")
    assert code == 0, text
    result = Image.open("out.png")
    assert result.mode == ("L" if mode == "LA" else "RGB")
    np.testing.assert_array_equal(pixels("out.png")[alpha == 255], whole[alpha == 255])
    np.testing.assert_array_equal(pixels("out-mask.png") > 0, alpha < 255)
    faint = alpha >= 240  # nearly nothing was erased: nearly nothing changes
    assert np.abs(pixels("out.png")[faint].astype(int) - whole[faint]).max() <= 15
    restored = restore("photo.png", "alpha", method="telea")
    np.testing.assert_array_equal(np.asarray(restored.image), pixels("out.png"))
    assert run("photo.png", "--mask", "alpha", "--invert-mask", "-o", "x.png")[0] == 2
    Image.fromarray(picture()).save("plain.png")
    code, text = run("plain.png", "--mask", "alpha", "-o", "x.png")
    assert (code, "plain.png: has no transparent part" in text) == (1, True)


def test_soft_masks_weigh_and_leave_black_alone(run):
    Image.fromarray(picture()).save("photo.png")
    soft = Image.fromarray(hole() * np.uint8(255)).filter(ImageFilter.GaussianBlur(4))
    soft.save("soft.png")
    levels = np.asarray(soft)
    assert run("photo.png", "--mask", "soft.png", "--soft-mask", "-o", "soft-out.png")[0] == 0
    result = pixels("soft-out.png").astype(int)
    np.testing.assert_array_equal(result[levels == 0], picture()[levels == 0])
    hard = np.asarray(restore(picture(), levels > 2, method="telea").image).astype(int)
    share = levels[..., None] / 255
    expected = np.where(levels[..., None] > 2, share * hard + (1 - share) * picture(), picture())
    assert np.abs(result - expected).max() <= 1
    by_api = restore(picture(), levels, method="telea", soft_mask=True)
    np.testing.assert_array_equal(np.asarray(by_api.image), result)
    code, text = run("photo.png", "--mask", "soft.png", "-o", "hard-out.png")
    assert "of it is grey: above 127 of 255 counts as white; --soft-mask" in text
    words = ("photo.png", "--mask", "soft.png", "--soft-mask", "--dilate", "3", "-o", "x.png")
    assert run(*words)[0] == 2
    with pytest.raises(ValueError, match="leave out dilate"):
        restore(picture(), levels, method="telea", soft_mask=True, dilate=2)
    assert code == 0


def test_advice_never_leads_in_a_circle(run):
    Image.fromarray(picture()).save("photo.png")
    for dark, bright in ((0, 1), (0, 100)):
        Image.fromarray(np.where(hole(), bright, dark).astype(np.uint8)).save("m.png")
        words = ("photo.png", "--mask", "m.png", "-o", "out.png", "--save", "mask", "--overwrite")
        code, text = run(*words)
        assert (code, f"two values, {dark} and {bright}: the brighter" in text) == (0, True)
        np.testing.assert_array_equal(pixels("out-mask.png") > 0, hole() == 1)
    Image.new("L", WIDE[::-1], 70).save("m.png")
    code, text = run(*words)
    assert (code, "m.png: has one value only, 70" in text) == (1, True)
    assert "leave out --invert-mask" in mask_warning(0.9, inverted=True)
    assert "use --invert-mask" in mask_warning(0.9)


def test_masks_beside_photos_are_no_photos_and_a_photo_no_mask(run, tmp_path):
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(picture()).save(tmp_path / "photos" / name)
        Image.fromarray(hole() * np.uint8(255)).save(tmp_path / f"photos/{name[0]}_MASK.png")
    code, text = run("photos", "--mask", "photos", "-o", "out", "--save", "mask")
    assert (code, "2 of 2 photos restored" in text) == (0, True), text
    assert "left out, a mask: 2 .png; e.g. photos/a_MASK.png" in text
    code, text = run("photos/a.png", "--mask", "photos", "-o", "one.png")
    assert (code, "1 of 1 photos restored" in text) == (0, True), text
    for words in (("photos/a.png", "--mask", "photos/a.png"), ("photos/a.png", "--mask", "out")):
        code, text = run(*words, "-o", "two.png")
        assert (code, "is no mask" in text) == ((1, True) if "out" not in words else (0, False))
    np.testing.assert_array_equal(pixels("two.png"), pixels("one.png"))  # out/ has a-mask.png
