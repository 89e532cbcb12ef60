"""What is taken for a mask, which of its values mark the hole, and what is refused."""

import numpy as np
import pytest
from mask_stubs import blob, photograph
from PIL import Image, ImageFilter

from deocclude.data.images import ImageReadError
from deocclude.data.mask_files.reading import MaskError, load_mask, mask_of, open_mask
from deocclude.data.masks.shapes import generate_mask
from deocclude.data.masks.source import MaskFolder
from deocclude.data.seeding import keyed_rng


def saved(tmp_path, picture, name="mask.png", **options):
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(tmp_path / name, **options)
    return tmp_path / name


@pytest.mark.parametrize(("dark", "bright"), [(0, 1), (0, 100), (100, 200), (40, 90), (130, 255)])
def test_of_two_values_the_brighter_one_is_the_hole(tmp_path, dark, bright):
    hole = blob()
    path = saved(tmp_path, np.where(hole, bright, dark).astype(np.uint8))
    mask = open_mask(path)
    np.testing.assert_array_equal(mask.hole(), hole)
    assert mask.notices == (f"has two values, {dark} and {bright}: the brighter one is the hole",)
    inverted = open_mask(path, invert=True)
    np.testing.assert_array_equal(inverted.hole(), 1 - hole)
    assert "the darker one" in inverted.notices[0]


@pytest.mark.parametrize(("dark", "bright"), [(0, 255), (0, 100), (100, 200)])
@pytest.mark.parametrize("quality", [20, 60, 95])
def test_the_noise_of_jpeg_changes_nothing(tmp_path, dark, bright, quality):
    hole = blob()
    levels = np.where(hole, bright, dark).astype(np.uint8)
    mask = open_mask(saved(tmp_path, levels, "mask.jpg", quality=quality))
    assert (mask.hole() != hole).mean() < 0.01
    assert len(mask.notices) == ((dark, bright) != (0, 255))


@pytest.mark.parametrize("blur", [1, 6, 25])
@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_soft_edges_are_cut_in_the_middle(tmp_path, blur, ending):
    soft = Image.fromarray(blob() * np.uint8(255)).filter(ImageFilter.GaussianBlur(blur))
    mask = open_mask(saved(tmp_path, soft, f"mask.{ending}"))
    assert (mask.hole() != (np.asarray(soft) > 127)).mean() < 0.02
    assert not mask.notices
    assert (mask.grey > 0) == (blur > 1)


def test_colour_and_strokes_on_an_empty_layer(tmp_path):
    hole = blob()
    red = np.zeros((*hole.shape, 4), np.uint8)
    red[hole == 1] = (255, 0, 0, 255)
    np.testing.assert_array_equal(load_mask(saved(tmp_path, red)), hole)
    black = np.dstack([np.zeros((*hole.shape, 3), np.uint8), hole * np.uint8(255)])
    path = saved(tmp_path, black)
    np.testing.assert_array_equal(load_mask(path, invert=True), hole)
    assert load_mask(path).max() == 0


@pytest.mark.parametrize("kind", ["colour", "grey", "sepia", "dark", "painted over", "jpeg"])
def test_a_photograph_is_no_mask(tmp_path, kind):
    for index in range(3):
        photo = Image.fromarray(photograph(index=index))
        if kind == "grey":
            photo = photo.convert("L")
        elif kind == "sepia":
            grey = photo.convert("L")
            photo = Image.merge("RGB", [grey, grey.point(lambda v: v * 0.9), grey])
        elif kind == "dark":
            photo = photo.point(lambda v: v // 4)
        elif kind == "painted over":
            photo.paste("white", (60, 90, 190, 170))
        name = "photo.jpg" if kind == "jpeg" else "photo.png"
        with pytest.raises(MaskError, match=r"photo\..*is no mask.*white where to redraw$"):
            open_mask(saved(tmp_path, photo, name))


def test_a_photo_with_a_part_erased_is_told_the_way(tmp_path):
    erased = np.dstack([photograph(), 255 * (1 - blob())]).astype(np.uint8)
    with pytest.raises(MaskError, match=r"transparent.*deocclude\.py .*erased\.png --mask alpha"):
        open_mask(saved(tmp_path, erased, "erased.png"))


def test_values_that_say_nothing_are_named():
    labels = np.repeat(np.arange(4, dtype=np.uint8), 16).reshape(8, 8)
    with pytest.raises(MaskError, match="labels: its values are 0, 1, 2, 3: it is not clear"):
        mask_of(Image.fromarray(labels), "labels")
    assert mask_of(Image.new("L", (4, 4), 255), "white").hole().all()
    assert not mask_of(Image.new("L", (4, 4), 90), "grey").hole().any()


def test_faint_strokes_are_a_hole_and_the_limit_is_said(tmp_path):
    soft = Image.fromarray(blob() * np.uint8(110)).filter(ImageFilter.GaussianBlur(12))
    mask = open_mask(saved(tmp_path, soft))
    high = np.asarray(soft).max()
    assert mask.notices[0].startswith(f"its levels go from 0 to {high}: the brighter half")
    assert 0.02 < mask.hole().mean() < 0.5


def test_a_folder_of_masks_says_how_it_is_read_and_leaves_photographs_out(tmp_path):
    for index in range(30):
        hole = generate_mask((32, 32), index % 6, True, keyed_rng("folder", index))
        saved(tmp_path, hole, f"{index:02}.png")
    saved(tmp_path, np.repeat(blob(32) * np.uint8(255), 2, axis=1), "30.png")
    saved(tmp_path, photograph(), "photo.png")
    with pytest.warns(UserWarning, match="mask") as caught:
        masks = MaskFolder(tmp_path, 32)
    said = " | ".join(str(warning.message) for warning in caught)
    assert "30 masks, e.g. 00.png: has two values, 0 and 1: the brighter one is the hole" in said
    assert "1 of 31 masks are of other proportions than 32 x 32 and are stretched to it" in said
    assert "photo.png: is no mask" in said
    assert masks.corrupt == ["photo.png"]
    assert sum(map(len, masks.names.values())) == 31
    for index in range(5, 30):
        saved(tmp_path, photograph(64, index), f"{index:02}.png")
    with pytest.raises(ValueError, match=r"mask files cannot be read.*is no mask"):
        MaskFolder(tmp_path, 32)
    assert issubclass(MaskError, ImageReadError)
