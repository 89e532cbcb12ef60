"""What moves is told by its content: containers with and without their suffix, animations."""

import av
import numpy as np
import pytest
from PIL import Image

from deocclude.engines.jobs.kinds import is_animated, is_moving, is_video, result_suffix

CONTAINERS = {  # suffix -> (codec, PyAV's name of the container)
    ".mp4": ("libx264", "mp4"), ".3gp": ("libx264", "3gp"), ".mov": ("mjpeg", "mov"),
    ".mkv": ("libx264", "matroska"), ".webm": ("libvpx-vp9", "webm"), ".avi": ("mjpeg", "avi"),
    ".ts": ("mpeg2video", "mpegts"), ".m2ts": ("mpeg2video", "mpegts"), ".flv": ("flv1", "flv"),
    ".mpg": ("mpeg1video", "mpeg"), ".wmv": ("wmv2", "asf"), ".mxf": ("mpeg2video", "mxf"),
    ".h264": ("libx264", "h264"),
}  # fmt: skip


def write_container(path, codec, kind):
    with av.open(str(path), "w", format=kind) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = 64, 48
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for level in range(3):
            frame = np.full((48, 64, 3), 60 * level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode(None))


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_a_video_is_one_whatever_its_name(tmp_path, suffix):
    write_container(tmp_path / f"clip{suffix}", *CONTAINERS[suffix])
    for name in ("clip", "clip.bin", "clip.jpg"):
        (tmp_path / name).write_bytes((tmp_path / f"clip{suffix}").read_bytes())
        assert is_video(tmp_path / name)
        assert result_suffix(tmp_path / name) == ".mp4"


def test_what_is_no_video(tmp_path):
    heads = {
        "photo.heic": b"\x00\x00\x00\x18ftypheic", "photo": b"\x00\x00\x00\x1cftypavif",
        "raw": b"\x00\x00\x00\x18ftypcrx ", "song": b"\x00\x00\x00\x20ftypM4A ",
        "song.ogg": b"OggS" + b"\x01vorbis" * 9, "wave": b"RIFF\x00\x00\x00\x00WAVEfmt ",
        "module.ts": b"export const answer = 42;\n" * 99, "empty": b"", "empty.ts": b"",
        "photo.jpg": b"\xff\xd8\xff\xe0\x00\x10JFIF",
    }  # fmt: skip
    for name, head in heads.items():
        (tmp_path / name).write_bytes(head)
        assert not is_video(tmp_path / name), name
    assert not is_video(tmp_path)
    assert is_video(tmp_path / "missing.MP4")
    (tmp_path / "empty.3gp").touch()
    (tmp_path / "theora").write_bytes(b"OggS" + bytes(24) + b"\x80theora")
    assert is_video(tmp_path / "empty.3gp")  # so that its failure is reported
    assert is_video(tmp_path / "theora")


@pytest.mark.parametrize(
    ("name", "result"),
    [("a.gif", ".gif"), ("a.webp", ".webp"), ("a.png", ".png"), ("a.apng", ".apng"),
     ("a.avif", ".png")],
)  # fmt: skip
def test_animated_pictures_and_what_becomes_of_them(tmp_path, name, result):
    frames = [Image.new("RGB", (32, 24), (90 * n, 0, 0)) for n in range(3)]
    frames[0].save(tmp_path / f"one-{name}")
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], duration=80)
    assert is_animated(tmp_path / name)
    assert is_moving(tmp_path / name)
    assert not is_video(tmp_path / name)
    assert not is_moving(tmp_path / f"one-{name}")
    assert result_suffix(tmp_path / name) == result
    assert result_suffix(tmp_path / f"one-{name}") == ".png"
    (tmp_path / "nameless").write_bytes((tmp_path / name).read_bytes())
    assert is_animated(tmp_path / "nameless")


def test_pages_are_no_animation(tmp_path):
    pages = [Image.new("RGB", (32, 24), (90 * n, 0, 0)) for n in range(3)]
    pages[0].save(tmp_path / "scan.tif", save_all=True, append_images=pages[1:])
    pages[0].save(tmp_path / "views.mpo", save_all=True, append_images=pages[1:])
    assert not is_moving(tmp_path / "scan.tif")
    assert not is_moving(tmp_path / "views.mpo")
