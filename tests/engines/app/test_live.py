"""A camera's pictures: read from what browsers send, refused from what they do not."""

import base64
import io
from types import SimpleNamespace

import numpy as np
import pytest
from app_http import giant_png
from photo_stubs import Detector, draw_photo, face_at, is_green, stub_deoccluder
from PIL import Image

from deocclude.engines.app.live import FrameError, LivePicture, read_frame
from deocclude.engines.moving import webcam

FACE = face_at(20, 10, 120)
FRAME = draw_photo((150, 170), FACE)


def encoded(picture=FRAME, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, kind)
    return file.getvalue()


def url(content):
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_frames_come_inline_or_as_files(tmp_path, kind):
    path = tmp_path / "frame"
    path.write_bytes(encoded(kind=kind))
    for frame in (read_frame(url(encoded(kind=kind)), None), read_frame(None, path)):
        assert (frame.shape, frame.dtype) == (FRAME.shape, np.uint8)
        assert np.abs(frame.astype(int) - FRAME).mean() < 5
        assert frame.flags.writeable


def test_inline_comes_first_and_addresses_are_not_fetched(tmp_path):
    path = tmp_path / "frame.png"
    path.write_bytes(encoded(FRAME[:40]))
    assert read_frame(url(encoded()), path).shape == FRAME.shape
    assert read_frame("http://example.org/a.png", path).shape == (40, 170, 3)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (None, "no picture came"),
        ("", "no picture came"),
        ("http://example.org/a.png", "no picture came"),
        ("data:image/png;base64,", "cannot be read"),
        ("data:image/png;base64,AAA", "cannot be read"),
        ("data:", "cannot be read"),
        (url(encoded()[:300]), "cannot be read"),
        (url(encoded(kind="GIF")), "cannot be read"),
        (
            url(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"),
            "cannot be read",
        ),
        (url(giant_png(60000, 60000)), "60000 x 60000 pixels are more than a camera's picture"),
        (url(giant_png(4097, 2160)), "4097 x 2160 pixels are more"),
    ],
)
def test_what_is_no_cameras_picture_is_refused(address, said):
    with pytest.raises(FrameError, match=said) as caught:
        read_frame(address, None)
    assert "object at" not in str(caught.value)


def test_a_file_that_is_gone_or_none_is_said_without_its_folder(tmp_path):
    (tmp_path / "text.png").write_text("text")
    for name in ("gone.png", "text.png"):
        with pytest.raises(FrameError) as caught:
            read_frame(None, tmp_path / name)
        assert str(tmp_path) not in str(caught.value)


def test_pictures_are_restored_and_counted(monkeypatch):
    now = iter(np.arange(0, 10, 0.5))
    monkeypatch.setattr(webcam, "time", SimpleNamespace(perf_counter=lambda: next(now)))
    picture = LivePicture(stub_deoccluder(Detector([FACE])), "sharp")
    assert (picture.model, picture.rate) == ("sharp", 0)
    for count in range(4):
        frame = FRAME.copy()
        restored = picture.restore(frame)
        assert restored.shape == FRAME.shape
        assert not is_green(restored).any()
        assert (frame == FRAME).all()
        assert picture.rate == pytest.approx(2 if count else 0)


def test_a_frame_of_another_size_is_restored_too():
    picture = LivePicture(stub_deoccluder(Detector([FACE])), "sharp")
    for frame in (FRAME, FRAME[:140, :160], FRAME[::-1]):
        assert picture.restore(frame).shape == frame.shape
