"""Image files of every kind to arrays and back."""

import shutil
import sys

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from deocclude.data.images import (
    BYTES_PER_PIXEL,
    ImageReadError,
    load_image,
    load_square,
    open_image,
    save_image,
    save_images,
    to_rgb,
    to_tensor,
    to_uint8,
)
from deocclude.data.mask_files.reading import load_mask

COLOUR = (200, 100, 50)
GREY = 124  # the luma of COLOUR


def flat(mode):
    return Image.new("RGB", (12, 8), COLOUR).convert("L" if mode == "LA" else mode).convert(mode)


@pytest.mark.parametrize(
    ("mode", "suffix", "expected"),
    [
        ("RGB", ".png", COLOUR),
        ("RGB", ".bmp", COLOUR),
        ("RGBA", ".png", COLOUR),
        ("RGBA", ".webp", COLOUR),
        ("L", ".png", (GREY,) * 3),
        ("LA", ".png", (GREY,) * 3),
        ("L", ".jpg", (GREY,) * 3),
        ("CMYK", ".jpg", COLOUR),
    ],
)
def test_every_mode_becomes_rgb(tmp_path, mode, suffix, expected):
    options = {"lossless": True} if suffix == ".webp" else {}
    flat(mode).save(tmp_path / f"photo{suffix}", **options)
    image = load_image(tmp_path / f"photo{suffix}")
    assert image.shape == (8, 12, 3)
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - expected).max() <= 3


def test_bilevel_and_16_bit_grey(tmp_path):
    pattern = np.arange(96).reshape(8, 12) % 3 == 0
    Image.fromarray(pattern).save(tmp_path / "1.png")
    np.testing.assert_array_equal(load_image(tmp_path / "1.png")[..., 1], pattern * 255)
    wide = np.array([[0, 257, 25700, 65400, 65535]], np.uint16)
    Image.fromarray(wide).save(tmp_path / "16.png")
    assert load_image(tmp_path / "16.png")[0, :, 0].tolist() == [0, 1, 100, 254, 255]


@pytest.mark.parametrize("kind", ["RGBA", "LA", "P", "L"])
def test_transparency_is_laid_over_white(tmp_path, kind):
    if kind in ("P", "L"):
        image = Image.new(kind, (12, 8), 0)
        if kind == "P":
            image.putpalette([9, 9, 9, 40, 40, 40])
        image.paste(1, (0, 0, 6, 8))
        image.save(tmp_path / "photo.png", transparency=1)
    else:
        image = Image.new(kind, (12, 8), (9, 9, 9, 255)[-len(kind) :])
        image.paste((40, 40, 40, 0)[-len(kind) :], (0, 0, 6, 8))
        image.save(tmp_path / "photo.png")
    loaded = load_image(tmp_path / "photo.png")
    assert (loaded[:, :6] == 255).all()
    assert (loaded[:, 6:] < 10).all()


UPRIGHT = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
STORED = {  # what a camera stores for each EXIF orientation
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.T,
    6: np.rot90(UPRIGHT),
    7: np.rot90(UPRIGHT, 2).T,
    8: np.rot90(UPRIGHT, -1),
}


@pytest.mark.parametrize("orientation", STORED)
def test_exif_rotation_is_applied(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation]))
    stored.save(tmp_path / "photo.png", exif=exif)
    np.testing.assert_array_equal(load_image(tmp_path / "photo.png")[..., 0], UPRIGHT)
    assert open_image(tmp_path / "photo.png").getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("position", [0, 2, 14, 16])
@pytest.mark.filterwarnings("ignore:.*EXIF", "ignore:.*Tag data", "ignore:.*Truncated")
def test_damaged_exif_does_not_cost_the_picture(tmp_path, suffix, position):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "camera"
    content = bytearray(exif.tobytes())
    start = content.index(b"II") if b"II" in content else content.index(b"MM")
    content[start + position] ^= 0xE5
    photo = Image.new("RGB", (12, 8), COLOUR)
    photo.save(tmp_path / f"photo{suffix}", exif=bytes(content))
    image = open_image(tmp_path / f"photo{suffix}")
    assert sorted(image.size) == [8, 12]
    image.getexif().tobytes()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
@pytest.mark.parametrize("kept", [0, 10, 0.5])
def test_truncated_file_is_named(tmp_path, suffix, kept):
    path = tmp_path / f"cut{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if kept < 1 else kept])
    with pytest.raises(ImageReadError, match=rf"cut\{suffix}"):
        load_image(path)


def test_other_unreadable_files(tmp_path):
    (tmp_path / "page.png").write_text("<html>quota exceeded</html>")
    with pytest.raises(ImageReadError, match=r"page\.png"):
        load_image(tmp_path / "page.png")
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        load_image(tmp_path / "none.png")
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(ImageReadError, match=r"empty\.jpg.*the file is empty"):
        load_image(tmp_path / "empty.jpg")


def test_the_limit_of_pixels_is_the_free_memory_or_what_was_asked_for(tmp_path, monkeypatch):
    flat("RGB").save(tmp_path / "large.png")  # 96 pixels
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)  # Pillow's own does not count
    assert open_image(tmp_path / "large.png").size == (12, 8)
    assert Image.MAX_IMAGE_PIXELS == 20  # and stays what the host program made it
    with pytest.raises(ImageReadError, match=r"large\.png: 12 x 8 are .*--max-pixels"):
        open_image(tmp_path / "large.png", max_pixels=95)
    memory = psutil.virtual_memory()._replace(available=96 * BYTES_PER_PIXEL - 1)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    with pytest.raises(ImageReadError, match=r"large\.png.*free memory.*--max-pixels N"):
        load_image(tmp_path / "large.png")
    assert open_image(tmp_path / "large.png", max_pixels=96).size == (12, 8)


def test_the_thumbnail_of_raw_data_is_no_photo(tmp_path):
    flat("RGB").save(tmp_path / "x.tif")
    (tmp_path / "x.tif").rename(tmp_path / "DSC_1.NEF")  # what Pillow would open of one
    with pytest.raises(ImageReadError, match=r"DSC_1\.NEF: a camera's raw file"):
        load_image(tmp_path / "DSC_1.NEF")


def test_heic_is_read_by_its_library_or_names_it(tmp_path, monkeypatch):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    try:
        flat("RGB").save(tmp_path / "x.heic", quality=95)
    except Exception:  # a build that only reads
        pytest.skip("this pillow-heif writes no HEIC")
    shutil.copy(tmp_path / "x.heic", tmp_path / "x.jpg")  # as phones and messengers name them
    for name in ("x.heic", "x.jpg"):
        image = open_image(tmp_path / name)
        assert image.size == (12, 8)
        assert np.abs(np.asarray(to_rgb(image))[4, 4].astype(int) - COLOUR).max() < 8
    Image.init()
    monkeypatch.setattr(Image, "OPEN", {k: v for k, v in Image.OPEN.items() if k != "HEIF"})
    monkeypatch.setattr(Image, "ID", [name for name in Image.ID if name != "HEIF"])
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageReadError, match=r"x\.heic.*pip install pillow-heif"):
        load_image(tmp_path / "x.heic")


@pytest.mark.parametrize(("width", "height"), [(89, 109), (109, 89), (64, 64), (20, 33)])
def test_load_square_crops_the_centre(tmp_path, width, height):
    rows, columns = np.mgrid[0:height, 0:width]
    side = min(width, height)
    across, down = abs(columns - (width - 1) / 2), abs(rows - (height - 1) / 2)
    inside = (across <= side / 2) & (down <= side / 2)
    photo = np.where(inside[..., None], np.uint8(80), np.uint8(255)).repeat(3, -1)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    square = load_square(tmp_path / "photo.png", 64)
    assert square.shape == (64, 64, 3)
    assert (square == 80).all()


def test_load_square_is_antialiased(tmp_path):
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    assert np.abs(load_square(tmp_path / "stripes.png", 64).astype(int) - 127).max() < 20


def test_soft_mask_becomes_hard(tmp_path):
    ramp = np.tile(np.arange(256, dtype=np.uint8), (4, 1))
    Image.fromarray(ramp).save(tmp_path / "mask.png")
    for size in (None, (9, 64)):
        mask = load_mask(tmp_path / "mask.png", size)
        assert set(np.unique(mask)) == {0, 1}
        assert mask.mean() == 0.5
        assert load_mask(tmp_path / "mask.png", size, invert=True).mean() == 0.5
    assert load_mask(tmp_path / "mask.png", (9, 64)).shape == (9, 64)


@pytest.mark.parametrize("kind", ["1", "L", "RGB", "P", "RGBA", "LA", "I;16", "strokes"])
def test_mask_files_of_every_mode_agree(tmp_path, kind):
    expected = np.zeros((8, 12), np.uint8)
    expected[2:5, 3:9] = 1
    image = Image.fromarray(expected * 255)
    if kind == "I;16":  # 30 000 of 65 535 is below the middle: known
        image = Image.fromarray(np.where(expected, 65535, 30000).astype(np.uint16))
    elif kind == "strokes":  # white paint on an empty layer
        image = Image.merge("RGBA", [Image.new("L", image.size, 255)] * 3 + [image])
    else:
        image = image.convert(kind)
    image.save(tmp_path / "mask.png")
    np.testing.assert_array_equal(load_mask(tmp_path / "mask.png"), expected)


def test_tensors_and_pixels_convert_back_and_forth():
    pixels = np.arange(256 * 3, dtype=np.int64).astype(np.uint8).reshape(16, 16, 3)
    tensor = to_tensor(pixels)
    assert tensor.shape == (3, 16, 16)
    assert tensor.dtype == torch.float32
    assert tensor.max() == 1
    np.testing.assert_array_equal(to_uint8(tensor), pixels)
    assert to_tensor(np.stack([pixels, pixels])).shape == (2, 3, 16, 16)
    mask = np.eye(5, dtype=np.uint8)
    assert to_tensor(mask).shape == (1, 5, 5)
    assert to_tensor(mask).sum() == 5
    assert to_uint8(torch.tensor([-1.0, 0.5, 2.0]).view(3, 1, 1)).ravel().tolist() == [0, 128, 255]


@pytest.mark.filterwarnings("error")
def test_read_only_arrays_are_fine():
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels.setflags(write=False)
    to_tensor(pixels).add_(1)
    assert pixels.max() == 0


def test_failed_save_leaves_the_old_file_and_nothing_else(tmp_path):
    save_image(tmp_path / "new" / "a.png", np.zeros((2, 2, 3), np.uint8))
    target = tmp_path / "new" / "a.png"
    before = target.read_bytes()
    with pytest.raises(OSError, match="cannot write mode CMYK"):
        save_image(target, Image.new("CMYK", (2, 2)))
    assert target.read_bytes() == before
    assert list(target.parent.iterdir()) == [target]


def test_several_pictures_are_saved_all_or_none_and_the_culprit_is_named(tmp_path):
    good, bad = tmp_path / "new" / "a.png", tmp_path / "new" / "b.webp"
    wide = np.zeros((1, 17_000, 3), np.uint8)
    with pytest.raises((OSError, ValueError), match=r"b\.webp: cannot be written"):
        save_images({good: (wide, {}), bad: (wide, {})})
    assert list((tmp_path / "new").iterdir()) == []
    save_images({good: (wide, {}), bad: (wide[:, :9], {"lossless": True})})
    assert sorted((tmp_path / "new").iterdir()) == [good, bad]


@pytest.mark.parametrize(("values", "levels"), [([0, 0.5, 1], [0, 128, 255]),
                                                ([0, 50, 200], [0, 50, 200]),
                                                ([0, 32768, 65535], [0, 128, 255]),
                                                ([0, np.nan, 1], [0, 0, 255])])  # fmt: skip
def test_floats_up_to_1_are_no_black_picture(tmp_path, values, levels):
    Image.fromarray(np.array([values], np.float32)).save(tmp_path / "f.tif")
    assert load_image(tmp_path / "f.tif")[0, :, 0].tolist() == levels
