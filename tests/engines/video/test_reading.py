"""When frames are shown, which way up, and when a video is really cut off."""

import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from video_stubs import boxes_of, times_of, write_clip

from deocclude.engines.video.files import open_reader, open_writer
from deocclude.engines.video.frames import VideoError
from deocclude.engines.video.reading import Clock, VideoReader
from deocclude.engines.video.sizes import missing_bytes

UNEVEN = [0, 40, 80, 280, 300, 310, 1310, 1350]  # a variable frame rate


def pictures(count, shape=(48, 64)):
    """Grey, redder at the top left; a bar at the bottom that tells the frame's number."""
    made = []
    for number in range(count):
        picture = np.full((*shape, 3), 128, np.uint8)
        picture[: shape[0] // 2, : shape[1] // 2] = (200, 30, 30)
        picture[-8:] = 4 * number
        made.append(picture)
    return made


def read(path):
    reader = VideoReader(path)
    frames = list(reader)
    reader.close()
    return reader, frames


def rewrite(path, target):
    """Every frame as it is into an .mp4; what was said."""
    reader, writer = open_reader(path, animated=False), None
    for frame in reader:
        writer = writer or open_writer(target, reader, frame.rgb.shape[:2])
        writer.write(frame.rgb, frame)
    notices = writer.close()
    reader.close()
    return reader, notices


@pytest.mark.parametrize("name", ["in.mp4", "in.mkv", "in.flv", "in.ts"])
def test_frames_keep_the_times_they_have(tmp_path, name):
    write_clip(tmp_path / name, pictures(8), UNEVEN)
    reader, frames = read(tmp_path / name)
    rewrite(tmp_path / name, tmp_path / "out.mp4")
    begin = frames[0].start
    assert [frame.start - begin for frame in frames] == [Fraction(t, 1000) for t in UNEVEN]
    assert times_of(tmp_path / "out.mp4") == [frame.start - reader.origin for frame in frames]
    assert reader.damage == ""
    assert boxes_of(tmp_path / "out.mp4").index("moov") < boxes_of(tmp_path / "out.mp4").index(
        "mdat"
    )


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_an_avi_that_reorders_frames_shows_them_evenly(tmp_path, codec):
    """AVI knows no times, only an order in which frames are decoded."""
    write_clip(tmp_path / "in.avi", pictures(30), codec=codec, options={"bf": "2"})
    reader, frames = read(tmp_path / "in.avi")
    assert [frame.start for frame in frames] == [Fraction(n, 25) for n in range(30)]
    assert "times" not in str(reader.notices)


def test_a_video_without_times_gets_its_rate(tmp_path):
    write_clip(tmp_path / "in.h264", pictures(5))
    reader, frames = read(tmp_path / "in.h264")
    assert [frame.start for frame in frames] == [Fraction(n, 25) for n in range(5)]
    assert "no times: taken as 25 a second" in str(reader.notices)


def test_a_clock_goes_on_where_times_fall_back():
    tick, step = Fraction(1, 1000), Fraction(1, 10)
    clock = Clock(tick)
    given = [5, Fraction(51, 10), Fraction(505, 100), 0, Fraction(1, 10), None]
    times = [clock.next(time, step) for time in given]
    joined = Fraction(51, 10) + tick + step  # the second recording follows the first
    assert times == [5, given[1], given[1] + tick, joined, joined + step, joined + 2 * step]
    assert clock.mended == 2


@pytest.mark.parametrize(
    ("turned", "corner"),
    [((90,), "bottom left"), ((-90,), "top right"), ((180,), "bottom right"),
     ((0, True), "top right"), ((0, False, True), "bottom left"), ((90, True), "bottom right")],
)  # fmt: skip
def test_a_turned_video_is_upright_and_its_pixels_with_it(tmp_path, turned, corner):
    write_clip(tmp_path / "in.mp4", pictures(2), turned=turned, pixel=Fraction(4, 3))
    reader, (frame, _) = read(tmp_path / "in.mp4")
    upright = turned[0] % 180 == 0
    assert frame.rgb.shape == ((48, 64, 3) if upright else (64, 48, 3))
    assert reader.pixel == (Fraction(4, 3) if upright else Fraction(3, 4))
    rows, columns = frame.rgb.shape[:2]
    seen = {
        f"{v} {h}": int(frame.rgb[y, x, 0]) - int(frame.rgb[y, x, 1])
        for v, y in (("top", rows // 4), ("bottom", 3 * rows // 4))
        for h, x in (("left", columns // 4), ("right", 3 * columns // 4))
    }
    assert max(seen, key=seen.__getitem__) == corner


def test_the_shape_of_pixels_and_an_odd_size_are_kept_or_said(tmp_path):
    pixel = Fraction(16, 11)
    write_clip(tmp_path / "in.mp4", pictures(3, (47, 55)), codec="mpeg4", pixel=pixel)
    _, notices = rewrite(tmp_path / "in.mp4", tmp_path / "out.mp4")
    reader, frames = read(tmp_path / "out.mp4")
    assert reader.pixel == pixel
    assert frames[0].rgb.shape == (48, 56, 3)
    assert "55 x 47 is not even" in str(notices)
    assert np.abs(frames[0].rgb[4:20, 4:24].astype(int) - (200, 30, 30)).max() < 9


def test_interlaced_frames_are_made_whole_and_none_is_lost(tmp_path):
    write_clip(tmp_path / "in.mkv", pictures(6), options={"x264-params": "tff=1"})
    reader, frames = read(tmp_path / "in.mkv")
    assert [frame.start for frame in frames] == [Fraction(n, 25) for n in range(6)]
    assert "interlaced" in str(reader.notices)


def test_a_change_of_size_is_scaled_and_said(tmp_path):
    for name, shape in (("a.h264", (48, 64)), ("b.h264", (96, 128))):
        write_clip(tmp_path / name, pictures(3, shape))
    parts = [(tmp_path / name).read_bytes() for name in ("a.h264", "b.h264")]
    (tmp_path / "in.h264").write_bytes(b"".join(parts))
    reader, frames = read(tmp_path / "in.h264")
    assert {frame.rgb.shape for frame in frames} == {(48, 64, 3)}
    assert (len(frames), "scaled to 64 x 48" in str(reader.notices)) == (6, True)


@pytest.mark.parametrize("name", ["in.mkv", "in.ts", "in.avi", "in.flv", "in.mp4"])
def test_sound_that_outlasts_the_picture_is_no_early_end(tmp_path, name):
    codec, sound = ("mpeg4", "mp2") if name == "in.avi" else ("libx264", "aac")
    write_clip(tmp_path / name, pictures(60), codec=codec, sounds=[(sound, 3)])
    reader, frames = read(tmp_path / name)
    assert (len(frames), reader.damage) == (60, "")


@pytest.mark.parametrize("name", ["in.mp4", "in.mkv", "in.avi", "in.flv"])
def test_a_cut_is_noticed(tmp_path, name):
    noise = np.random.default_rng(0).integers(0, 255, (30, 48, 64, 3), np.uint8)
    write_clip(tmp_path / name, list(noise))
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(0.7 * len(whole))])
    reader, frames = read(tmp_path / name)
    assert 10 < len(frames) < 30
    if name == "in.flv":  # which does not say how long it is: the last frame is broken
        assert "cannot be decoded" in reader.damage
    else:
        assert missing_bytes(tmp_path / name) == len(whole) - int(0.7 * len(whole))
        assert "cut off" in reader.damage


def test_recordings_joined_go_on_and_that_is_said(tmp_path):
    write_clip(tmp_path / "in.ts", pictures(30), sounds=[("aac", 1.2)])
    (tmp_path / "in.ts").write_bytes((tmp_path / "in.ts").read_bytes() * 2)
    reader, frames = read(tmp_path / "in.ts")
    starts = [frame.start for frame in frames]
    assert (len(frames), reader.damage) == (60, "")
    assert starts[-1] - starts[0] == Fraction(59, 25)
    assert "joined: 1" in str(reader.notices)


def test_what_holds_no_video_is_named(tmp_path):
    write_clip(tmp_path / "in.mkv", pictures(2), sounds=[("aac", 1)])
    (tmp_path / "text.mp4").write_text("hello")
    for name, reason in (("text.mp4", "cannot be read"), ("none.mp4", "no such file")):
        with pytest.raises(VideoError, match=rf"{name}: .*{reason}"):
            VideoReader(tmp_path / name)


def test_the_library_is_imported_when_a_video_is_met():
    code = "import sys, deocclude.engines.video.files; sys.exit('av' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
