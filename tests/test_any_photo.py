"""Any picture Pillow can open ends in a result equal outside the mask, or in one line naming it.

Of every format, mode, orientation and size, with and without a mask of one's own. The environment
variable DEOCCLUDE_CASES asks for more of them than the few hundred of each run.
"""

import io
import os
import tempfile
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from photo_stubs import GREEN, Detector, face_at, stub_deoccluder
from PIL import Image, ImageOps, features

from deocclude.data.images import to_rgb
from deocclude.engines.jobs.manifest import STATUSES
from deocclude.engines.jobs.plan import Choices, Job
from deocclude.engines.photos.files import restore_file

CASES = int(os.environ.get("DEOCCLUDE_CASES", "200"))
MODES = {  # what Pillow writes of each format
    "png": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I"),
    "jpg": ("L", "RGB", "CMYK", "YCbCr"),
    "tif": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"),
    "webp": ("RGB", "RGBA", "L"),
    "bmp": ("1", "L", "P", "RGB", "RGBA"),
    "gif": ("L", "P"),
    "ppm": ("1", "L", "RGB", "RGBA", "I", "F"),
    "jp2": ("L", "LA", "RGB", "RGBA", "I;16"),
    "tga": ("L", "LA", "P", "RGB", "RGBA"),
    "pcx": ("1", "L", "P", "RGB"),
    "qoi": ("RGB", "RGBA"),
    "dds": ("L", "LA", "RGB", "RGBA"),
    "sgi": ("L", "RGB", "RGBA"),
    "ico": ("RGBA",),
    **({"avif": ("RGB", "RGBA")} if features.check("avif") else {}),
}
TURNED = ("png", "jpg", "tif", "webp", "avif")  # formats with EXIF
PLAIN = ("1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "LAB")  # eight bits at most
MASKS = (None, "fits", "raw", "other", "empty", "full", "grey", "photo", "broken")
SIDE = st.one_of(st.integers(1, 12), st.integers(13, 160), st.sampled_from((1, 2, 900)))


class Case(NamedTuple):
    kind: str
    mode: str
    size: tuple[int, int]
    orientation: int
    mask: str | None
    output: str
    seed: int
    invert: bool


@st.composite
def cases(draw):
    kind = draw(st.sampled_from(sorted(MODES)))
    width, height = draw(SIDE), draw(SIDE)
    if kind == "ico":
        width, height = min(width, 250), min(height, 250)
    return Case(
        kind,
        draw(st.sampled_from(MODES[kind])),
        (width, height),
        draw(st.integers(1, 8)) if kind in TURNED else 1,
        draw(st.sampled_from(MASKS)),
        draw(st.sampled_from((".png", ".tif", ".webp", ".bmp", ".jpg"))),
        draw(st.integers(0, 5)),
        draw(st.booleans()),
    )


def picture_of(case):
    """Noise with a green bar across its middle, in the case's mode."""
    width, height = case.size
    rng = np.random.default_rng(case.seed)
    rgb = rng.integers(60, 200, (height, width, 3), dtype=np.uint8)
    rgb[height // 3 : height // 2 + 1, width // 4 : width // 2 + 1] = GREEN
    image = Image.fromarray(rgb)
    if case.mode in ("RGBA", "LA"):
        image = image.convert(case.mode)
        image.putalpha(Image.fromarray(rng.integers(0, 3, (height, width), np.uint8) * 127))
    elif case.mode in ("I;16", "I", "F"):
        deep = rng.integers(0, 65536, (height, width))
        types = {"I;16": np.uint16, "I": np.int32, "F": np.float32}
        image = Image.fromarray(deep.astype(types[case.mode]))
    elif case.mode == "P":
        image = image.quantize(16)
    elif case.mode != "RGB":
        image = image.convert("RGB" if case.mode == "LAB" else case.mode)
        if case.mode == "LAB":
            image = Image.merge("LAB", image.split())
    return image


def write_mask(case, path, photo):
    width, height = photo.size
    if case.mask in ("photo", "broken"):
        data = b"no mask"
        if case.mask == "photo":
            to_rgb(photo).save(path)
            return
        path.write_bytes(data)
        return
    if case.mask == "raw":
        width, height = case.size
    elif case.mask == "other":
        width, height = 2 * width + 3, height
    level = 130 if case.mask == "grey" else 255
    mask = np.full((height, width), level if case.mask == "full" else 0, np.uint8)
    if case.mask != "empty":
        mask[height // 3 : height // 2 + 1, width // 4 : width // 2 + 1] = level
    Image.fromarray(255 - mask if case.invert else mask).save(path)


def upright(path):
    with Image.open(path) as image:
        image.load()
        return ImageOps.exif_transpose(image)


def in_mode(image, mode):
    """An upright photo as a result of this mode shows it, or None where that is not exact."""
    if mode == image.mode:
        return np.asarray(image)
    if image.mode not in PLAIN:
        return None
    if mode in ("L", "LA") and image.mode in ("L", "1", "LA"):
        return np.asarray(image.convert(mode))
    if mode == "RGB":
        return np.asarray(to_rgb(image))
    return np.asarray(image.convert(mode)) if mode == "RGBA" else None


def faces_in(image):
    height, width = image.shape[:2]
    side = 0.9 * min(height, width)
    return [face_at(width / 2 - side / 2, height / 2 - side / 2, side)]


NETWORKS = stub_deoccluder(Detector(faces_in), 32)


def check_line(error, folder):
    assert folder in str(error), error
    assert "\n" not in str(error), error


@settings(
    max_examples=CASES,
    deadline=None,
    derandomize=CASES == 200,
    suppress_health_check=list(HealthCheck),
    database=None,
)
@given(cases())
def test_any_photo_ends_in_a_result_or_in_one_line(case):
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(name)
        path, exif = folder / f"photo.{case.kind}", Image.Exif()
        if case.orientation > 1:
            exif[0x0112] = case.orientation
        options = {"lossless": True} if case.kind == "webp" else {}
        if case.kind == "ico":
            options["sizes"] = [case.size]
        if case.orientation > 1:
            options["exif"] = exif
        try:
            picture_of(case).save(path, **options)
        except (OSError, ValueError, KeyError):
            return  # no such file can be made
        photo = upright(path)
        mask = None if case.mask is None else folder / "mask.png"
        if mask is not None:
            write_mask(case, mask, photo)
        output = folder / f"out{case.output}"
        job = Job(path, mask, output, {"mask": folder / "redrawn.png"})
        before = path.read_bytes()
        try:
            row = restore_file(NETWORKS, job, Choices(invert_mask=case.invert))
        except (OSError, ValueError) as error:
            check_line(error, name)
            event(f"refused, mask {case.mask}")
            assert not output.exists()
            return
        finally:
            assert path.read_bytes() == before
            assert not [p for p in folder.iterdir() if p.name.startswith(".")]
        assert row.status in STATUSES
        assert output.exists() == (row.status == "restored")
        if not output.exists():
            return
        with Image.open(output) as result:
            result.load()
        assert result.size == photo.size
        redrawn = np.asarray(Image.open(folder / "redrawn.png")) > 0
        expected = None if case.output == ".jpg" else in_mode(photo, result.mode)
        event(f"{row.status}, {'compared' if expected is not None else 'not compared'}")
        if expected is not None:
            np.testing.assert_array_equal(np.asarray(result)[~redrawn], expected[~redrawn])


@pytest.mark.parametrize("damage", ["cut", "flipped"])
@settings(
    max_examples=CASES // 4,
    deadline=None,
    derandomize=CASES == 200,
    suppress_health_check=list(HealthCheck),
    database=None,
)
@given(case=cases(), place=st.floats(0, 1), value=st.integers(1, 255))
def test_a_damaged_file_ends_in_a_result_or_in_one_line(damage, case, place, value):
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path, buffer = Path(name, f"photo.{case.kind}"), io.BytesIO()
        try:
            picture_of(case).save(buffer, Image.registered_extensions()[path.suffix])
        except (OSError, ValueError, KeyError):
            return
        data = bytearray(buffer.getvalue())
        index = int(place * (len(data) - 1))
        if damage == "cut":
            del data[index:]
        else:
            data[index] ^= value
        path.write_bytes(data)
        job = Job(path, None, Path(name, "out.png"))
        try:
            row = restore_file(NETWORKS, job, Choices(max_pixels=10**7))
        except (OSError, ValueError) as error:
            check_line(error, name)
        else:
            assert row.status in STATUSES
