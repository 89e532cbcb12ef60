"""Photo files: what a file or a format cannot hold is said."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier, BrokenBarrierError

import cv2
import numpy as np
import pytest
from photo_stubs import Detector, draw_photo, face_at, is_green, stub_deoccluder
from PIL import Image

from deocclude.engines.jobs.plan import Choices, Job
from deocclude.engines.photos import files
from deocclude.engines.photos.files import is_colourless, remove_colour, restore_file

FACE = face_at(20, 10, 120)
SHAPE = (150, 170)


@pytest.fixture
def restore(tmp_path, monkeypatch):
    """Restore a file of an empty folder; what is said of it. mask.png marks the occluder."""
    monkeypatch.chdir(tmp_path)
    mask = is_green(draw_photo(SHAPE, FACE)).astype(np.uint8) * 255
    Image.fromarray(mask).save("mask.png")

    def run(source, output="out.png"):
        job = Job(tmp_path / source, tmp_path / "mask.png", tmp_path / output)
        row = restore_file(stub_deoccluder(Detector([FACE])), job, Choices(overwrite=True))
        assert row.status == "restored"
        return " | ".join(row.warnings)

    return run


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_per_colour_are_cut_and_that_is_said(restore, suffix):
    photo = draw_photo(SHAPE, FACE)
    assert cv2.imwrite(f"deep{suffix}", photo[..., ::-1].astype(np.uint16) * 257)
    assert "16-bit colour is cut to 8 bits" in restore(f"deep{suffix}")
    Image.fromarray(photo).save(f"flat{suffix}")
    assert "16-bit" not in restore(f"flat{suffix}")
    grey = np.asarray(Image.fromarray(photo).convert("L")).astype(np.uint16) * 257
    Image.fromarray(grey).save(f"grey{suffix}")
    assert "16-bit" not in restore(f"grey{suffix}")  # these are kept


def test_a_float_tiff_is_said_to_be_scaled(restore):
    grey = np.asarray(Image.fromarray(draw_photo(SHAPE, FACE)).convert("L")) / np.float32(255)
    Image.fromarray(grey.astype(np.float32)).save("float.tif")
    assert "0 is taken as black, 1 as white" in restore("float.tif")
    with Image.open("out.png") as restored:
        assert np.asarray(restored).max() > 100


@pytest.mark.parametrize("suffix", [".bmp", ".tif"])
def test_metadata_that_a_format_cannot_hold_is_said(restore, suffix):
    exif = Image.Exif()
    exif[0x010F] = "maker"
    Image.fromarray(draw_photo(SHAPE, FACE)).save("photo.png", exif=exif)
    assert f"not kept in a {suffix} file: EXIF" in restore("photo.png", f"out{suffix}")
    assert "EXIF" not in restore("photo.png")


def test_a_partly_transparent_hole_is_said(restore):
    photo = Image.fromarray(draw_photo(SHAPE, FACE))
    photo.putalpha(200)
    photo.save("clear.png")
    assert "100% of the hole is partly transparent and stays so" in restore("clear.png")
    photo.putalpha(255)
    photo.save("opaque.png")
    assert "transparent" not in restore("opaque.png")


def test_colour_goes_from_the_hole_only_and_one_coloured_pixel_is_colour():
    rng = np.random.default_rng(0)
    image, mask = rng.integers(0, 256, (40, 50, 3), np.uint8), np.zeros((40, 50), np.uint8)
    mask[10:20, 5:30] = 1
    image[12, 8] = (90, 92, 93)  # as good as grey
    before = image.copy()
    luma = np.asarray(Image.fromarray(before).convert("L"))
    remove_colour(image, mask)
    np.testing.assert_array_equal(image[mask == 0], before[mask == 0])
    assert image[12, 8].tolist() == [90, 92, 93]
    assert is_colourless(image[10:20, 5:30])
    assert image[15, 15].tolist() == [luma[15, 15]] * 3
    grey = np.repeat(luma[..., None], 3, axis=2)
    assert is_colourless(grey)
    grey[33, 49, 0] ^= 64
    assert not is_colourless(grey)


def test_warnings_of_one_photo_are_no_other_threads(tmp_path, monkeypatch):
    names, gate, opened = ("a.png", "b.png"), Barrier(2), files.open_image
    for name in names:
        Image.new("RGB", (8, 8)).save(tmp_path / name)

    def warned(path, most):
        with suppress(BrokenBarrierError):
            gate.wait(0.3)  # where two are in here, both go on
        warnings.warn(path.name, stacklevel=1)
        return opened(path, most)

    monkeypatch.setattr(files, "open_image", warned)
    with ThreadPoolExecutor(2) as threads:
        photos = list(threads.map(files.read_photo, [tmp_path / name for name in names]))
    assert [photo.notices for photo in photos] == [["a.png"], ["b.png"]]
