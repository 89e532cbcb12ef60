"""Video files: how long they are, when their frames are shown, and in which colours."""

import shutil
import subprocess

import cv2
import numpy as np
import pytest
from photo_stubs import (
    Detector,
    draw_photo,
    face_at,
    read_video,
    stub_deoccluder,
    write_video,
)

from deocclude.engines.photos import video
from deocclude.engines.photos.jobs import Choices, Job
from deocclude.engines.photos.video import restore_video
from deocclude.engines.photos.video_files import FrameReader, open_writer

SHAPE = (120, 160)
FACE = face_at(30, 10, 100)
FFMPEG = shutil.which("ffmpeg")
needs_ffmpeg = pytest.mark.skipif(FFMPEG is None, reason="no ffmpeg here")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder on a machine without ffmpeg."""
    monkeypatch.setattr(video, "find_ffmpeg", lambda: None)
    return tmp_path


def covered(count):
    return [draw_photo(SHAPE, FACE)] * count


def brightness_steps(count):
    """Frames that tell their number: a bar at the bottom that gets brighter."""
    frames = [frame.copy() for frame in covered(count)]
    for number, frame in enumerate(frames):
        frame[-8:] = 20 * number
    return frames


def test_a_header_that_only_estimates_is_no_early_end(folder):
    write_video(folder / "in.mp4", covered(10))
    reader = FrameReader(folder / "in.mp4")
    frames = list(reader)
    assert (len(frames), reader.missing, reader.ends_early) == (10, 0, False)
    reader.expected = 11
    assert (reader.missing, reader.ends_early) == (1, False)
    reader.expected = 20
    assert reader.ends_early
    reader._end = 2.0  # unevenly spaced frames that last as long as the header says
    assert not reader.ends_early


@needs_ffmpeg
def test_colours_of_an_hd_video_are_what_players_take_them_for(folder):
    """Players read HD as BT.709 unless the file says otherwise."""
    colours = [(200, 40, 40), (40, 60, 200), (230, 180, 30)]
    frame = np.concatenate([np.full((720, 400, 3), colour, np.uint8) for colour in colours], 1)
    writer = open_writer(folder / "hd.mp4", 10, frame.shape[:2], FFMPEG)
    writer.write(frame)
    writer.close()
    decode = ["-vf", "scale=in_color_matrix=bt709", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    command = [FFMPEG, "-loglevel", "error", "-i", str(folder / "hd.mp4"), *decode]
    shown = np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.uint8)
    shown = shown.reshape(frame.shape)
    np.testing.assert_allclose(shown[360, 200::400].astype(int), colours, atol=4)
    told = subprocess.run([FFMPEG, "-i", str(folder / "hd.mp4")], capture_output=True, text=True)
    assert "bt709" in told.stderr


def times_of(monkeypatch, milliseconds):
    """Let videos that are opened from now on say that their frames begin then."""
    real = cv2.VideoCapture

    class Timed:
        def __init__(self, name):
            self.capture, self.times = real(name), iter(milliseconds)

        def __getattr__(self, name):
            return getattr(self.capture, name)

        def get(self, what):
            return next(self.times) if what == cv2.CAP_PROP_POS_MSEC else self.capture.get(what)

    monkeypatch.setattr(cv2, "VideoCapture", Timed)


def test_unevenly_spaced_frames_keep_their_pace(folder, monkeypatch):
    """Six frames at the file's rate, a second's pause, four at four times the rate."""
    write_video(folder / "in.mp4", brightness_steps(10), rate=10)
    times = [0, 100, 200, 300, 400, 500, 1500, 1525, 1550, 1575]
    with monkeypatch.context() as patch:
        times_of(patch, times)
        row = restore_video(
            stub_deoccluder(Detector([FACE])),
            Job(folder / "in.mp4", None, folder / "out.mp4"),
            Choices(),
        )
    frames, rate = read_video(folder / "out.mp4")
    steps = [round(frame[-6:-2].mean() / 20) for frame in frames]
    assert (steps[:6], set(steps[6:15]), steps[15]) == ([0, 1, 2, 3, 4, 5], {5}, 6)
    assert (rate, len(frames)) == (10, pytest.approx(17, abs=1))
    assert "unevenly spaced: 9 are written again" in str(row.warnings)


@pytest.mark.parametrize("times", [[0] * 10, [*range(0, 1000, 100)], [0, *range(200, 1100, 100)],
                                   [*range(0, 800, 100), 1e9, 1e9 + 1],
                                   [0, 200, 100, 400, 300, 600, 500, 800, 700, 900]])  # fmt: skip
def test_times_that_are_even_or_not_to_be_believed_change_nothing(folder, monkeypatch, times):
    write_video(folder / "in.mp4", covered(10))
    times_of(monkeypatch, times)
    reader = FrameReader(folder / "in.mp4")
    assert len([reader.behind for _ in reader if reader.behind == 0]) == 10
    assert reader.notices == []
