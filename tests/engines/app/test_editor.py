"""What the browser painted comes into the full-resolution mask, and nothing else changes there."""

import base64
import io

import numpy as np
import pytest
from app_http import giant_png
from photo_stubs import face_at
from PIL import Image

from deocclude.engines.app import editor
from deocclude.engines.app.editor import (
    EditorError,
    mask_url,
    merge,
    picture_url,
    read_mask,
    reduce,
    resize_mask,
)

SHAPE = (1500, 2300)  # reduced to (668, 1024): by no whole number


@pytest.fixture
def mask():
    """Blobs, lines of a pixel and single pixels, as no reduced mask can hold them."""
    found = np.random.default_rng(0).random(SHAPE) < 0.01
    found[300:700, 500:900] = True
    found[1000] = True
    return found


def small_shape(shape):
    return reduce(np.zeros((*shape, 3), np.uint8)).shape[:2]


def test_pictures_are_reduced_to_the_longer_side_and_never_enlarged():
    for shape, small in (
        (SHAPE, (668, 1024)), ((2300, 1500), (1024, 668)), ((1024, 700), (1024, 700)),
        ((5, 7), (5, 7)), ((1, 20000), (1, 1024)),
    ):  # fmt: skip
        assert small_shape(shape) == small
    picture = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    assert reduce(picture) is picture


def test_an_unpainted_mask_is_kept_bit_for_bit(mask):
    shown = resize_mask(mask, small_shape(SHAPE))
    assert (merge(mask, shown, shown.copy()) == mask).all()


def test_what_is_far_from_strokes_is_kept_bit_for_bit(mask):
    shown = resize_mask(mask, small_shape(SHAPE))
    edited = shown.copy()
    edited[100:150, 200:300] = True
    edited[200:250, 300:350] = False  # within the blob
    merged = merge(mask, shown, edited)
    scale, margin = SHAPE[0] / shown.shape[0], 4
    changed = np.zeros(SHAPE, bool)
    for top, left, bottom, right in ((100, 200, 150, 300), (200, 300, 250, 350)):
        top, left = int(top * scale) - margin, int(left * scale) - margin
        bottom, right = int(bottom * scale) + margin, int(right * scale) + margin
        changed[top:bottom, left:right] = True
    assert (merged == mask)[~changed].all()
    assert merged[240:320, 460:660].all()  # the middle of what was painted
    assert not merged[460:550, 690:770].any()  # and of what was erased


def test_painting_all_and_erasing_all(mask):
    shown = resize_mask(mask, small_shape(SHAPE))
    assert merge(mask, shown, np.ones_like(shown))[~mask].mean() > 0.99
    assert not merge(mask, shown, np.zeros_like(shown)).any()  # nor what is too fine to be shown


def test_of_a_photo_that_is_shown_whole_the_strokes_are_exact():
    mask = np.random.default_rng(0).random((60, 80)) < 0.5
    edited = mask.copy()
    edited[10:20, 30:50] = True
    edited[40] = False
    assert (merge(mask, resize_mask(mask, mask.shape), edited) == edited).all()


def test_a_reduced_mask_is_where_half_of_a_pixel_is_marked():
    mask = np.zeros((8, 8), bool)
    mask[:2, :1] = True  # half of the first pixel
    mask[4, 4] = True  # a quarter
    assert np.argwhere(resize_mask(mask, (4, 4))).tolist() == [[0, 0]]
    assert resize_mask(np.ones((4, 4), bool), (9, 7)).all()


def test_what_is_sent_is_what_comes_back(mask):
    shown = resize_mask(mask, small_shape(SHAPE))
    assert (read_mask({"mask": mask_url(shown)}, shown.shape) == shown).all()


def test_other_modes_of_png_are_read_by_their_opacity():
    half = Image.new("LA", (3, 2))
    half.putpixel((1, 0), (0, 128))
    half.putpixel((2, 0), (255, 127))
    assert np.argwhere(read_mask({"mask": url(encoded(half))}, (2, 3))).tolist() == [[0, 1]]


def encoded(picture, kind="PNG"):
    file = io.BytesIO()
    picture.save(file, kind)
    return file.getvalue()


def url(content):
    return editor.START + base64.b64encode(content).decode()


FINE = encoded(Image.new("RGBA", (30, 20), "red"))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "must be a PNG in a data URL"),
        (5, "must be a PNG"),
        ([], "must be a PNG"),
        ({}, "must be a PNG"),
        ({"mask": None}, "must be a PNG"),
        ({"mask": "http://example.org/a.png"}, "must be a PNG"),
        ({"mask": "data:image/svg+xml;base64,PHN2Zy8+"}, "must be a PNG"),
        ({"mask": url(FINE)[:-7]}, "no PNG that can be read"),
        ({"mask": url(FINE[:-30])}, "no PNG that can be read"),
        ({"mask": url(FINE) + "!"}, "no PNG that can be read"),
        ({"mask": url(encoded(Image.new("RGB", (30, 20)), "JPEG"))}, "no PNG that can be read"),
        ({"mask": url(encoded(Image.new("RGB", (30, 20)), "GIF"))}, "no PNG that can be read"),
        ({"mask": url(b"")}, "no PNG that can be read"),
        ({"mask": editor.START + "é"}, "no PNG that can be read"),
        ({"mask": url(encoded(Image.new("RGBA", (20, 30))))},
         "the mask is 20 x 30, the picture shown 30 x 20"),
        ({"mask": url(giant_png(60000, 60000))},
         "the mask is 60000 x 60000, the picture shown 30 x 20"),
        ({"mask": editor.START + "A" * editor.MOST_BYTES}, "at most 8000000 are taken"),
    ],
)  # fmt: skip
def test_what_is_no_mask_of_the_picture_is_refused(value, said):
    with pytest.raises(EditorError, match=said) as caught:
        read_mask(value, (20, 30))
    assert "object at" not in str(caught.value)


def test_a_mask_of_another_size_is_refused_before_its_pixels_are_read(monkeypatch):
    def load(self):
        raise AssertionError("pixels were read")

    monkeypatch.setattr(Image.Image, "load", load)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    with pytest.raises(EditorError, match="30 x 20"):
        read_mask({"mask": url(FINE)}, (20, 31))
    with pytest.raises(AssertionError, match="pixels"):
        read_mask({"mask": url(FINE)}, (20, 30))


def test_faces_are_framed_where_they_are():
    picture = np.full((300, 400, 3), 90, np.uint8)
    faces = [face_at(40, 40, 200), face_at(500, 300, 200)]
    address = picture_url(picture, faces, [2], 0.5)
    assert address.startswith("data:image/jpeg;base64,")
    drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))
    assert drawn.shape == picture.shape
    touched = (np.abs(drawn.astype(int) - 90) > 60).any(-1)
    for face in faces:
        left, top, width, height = (round(v / 2) for v in face.box)
        assert touched[top - 3 : top + height + 3, left - 3 : left + width + 3].any()
        touched[top - 6 : top + height + 6, left - 6 : left + width + 6] = False
    assert not touched.any()
