"""Video files frame by frame: reading, writing with OpenCV or ffmpeg, and the sound."""

import contextlib
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

FALLBACK_RATE = 25.0
RATES = (1.0, 1000.0)  # frames a second that are believed
# Left alone ffmpeg converts by BT.601 without saying so, and players take HD for BT.709. It is said
# twice: some versions of ffmpeg heed the options only, others what the frames say only.
COLOURS = (
    "-vf",
    "scale=out_color_matrix=bt709:out_range=tv,"
    "setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709",
    *("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"),
    *("-color_range", "tv"),
)
SLIP = 1.5  # frames that picture and sound may be apart: one comes from how some files count
LONGEST_HOLD = 60.0  # seconds between two frames that are believed
TOLERANCE = 0.01  # share of the frames by which a header may be wrong: some only estimate


class VideoError(ValueError):
    """A video that cannot be read or written; the message names the file and the reason."""


class FrameReader:
    """The frames of a video file in order, uint8 RGB (H, W, 3), upright.

    `rate`: frames a second. `expected`: how many frames the file's header promises, None if it
    does not say. `read`: how many have come so far. Unevenly spaced frames are brought to that
    rate: some are left out, and `behind` says how often the one before is to be written again
    before the one that has just come. Raises VideoError for a file without any.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.read, self.notices = path, 0, []
        self._capture = cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            raise VideoError(f"{path}: cannot be read as a video (damaged, cut off or no video)")
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if RATES[0] <= rate <= RATES[1] else FALLBACK_RATE
        if self.rate != rate:
            self.notices.append(f"warning: no frame rate in the file, taken as {self.rate:g}")
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.expected = int(count) if 0 < count < 2**40 else None
        self._end = 0.0  # seconds at which the last frame that was read ends
        self._start = self._begin = float("nan")  # and at which the first and the last one begin
        self._steady = True  # the times of the frames only grow
        self.behind = self._repeated = self._dropped = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        shape = None
        while True:
            done, frame = self._capture.read()
            if not done:
                break
            if shape is not None and frame.shape != shape:
                self.notices.append(f"warning: the picture size changes after {self.read} frames")
                break
            shape = frame.shape
            self.read += 1
            if not self._keeps_pace():
                continue
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        if self.read == 0:
            raise VideoError(f"{self.path}: holds no frame that can be read")
        if self._repeated or self._dropped:
            self.notices.append(
                f"its frames are unevenly spaced: {self._repeated} are written again and "
                f"{self._dropped} left out, so that pace and sound fit at an even {self.rate:g} a "
                "second"
            )

    def _keeps_pace(self) -> bool:
        """Note when the frame just read begins: False if it comes too soon to be written, and
        `behind` says how many are missing before it. Times that do not grow, or leap, are not
        believed, nor any that follow."""
        begin = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        last, self._begin, self._end = self._begin, begin, begin + 1 / self.rate
        self.behind = 0
        if self.read == 1:
            self._start = begin
            return True
        self._steady &= last < begin < last + LONGEST_HOLD
        written = self.read - 1 + self._repeated - self._dropped
        lag = (begin - self._start) * self.rate - written
        if not self._steady or abs(lag) <= SLIP:
            return True
        self.behind = max(0, round(lag))
        self._repeated += self.behind
        self._dropped += lag < 0
        return lag > 0

    @property
    def missing(self) -> int:
        """How many of the promised frames did not come."""
        return max(0, (self.expected or 0) - self.read)

    @property
    def ends_early(self) -> bool:
        """Whether more is missing than a header that only estimates would explain: more than one
        frame and one percent, and time too, since frames need not be evenly spaced."""
        if self.expected is None or self.missing <= max(1, TOLERANCE * self.read):
            return False
        return self._end < (1 - TOLERANCE) * self.expected / self.rate

    def close(self) -> None:
        self._capture.release()


class FrameWriter(Protocol):
    """Takes uint8 RGB frames of one size; `close` finishes the file or raises VideoError."""

    def write(self, frame: np.ndarray) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...


class OpenCVWriter:
    """MPEG-4 (mp4v) by OpenCV. It needs even sides: an odd one is extended by repeating its last
    row or column."""

    def __init__(self, path: Path, rate: float, shape: tuple[int, int]) -> None:
        self.path, self._count = path, 0
        height, width = shape
        self._padding = (height % 2, width % 2)
        size = (width + width % 2, height + height % 2)
        self._writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, size)
        if not self._writer.isOpened():
            raise VideoError(f"{path.parent}: OpenCV cannot write an MPEG-4 video of {size} here")

    def write(self, frame: np.ndarray) -> None:
        rows, columns = self._padding
        if rows or columns:
            frame = np.pad(frame, ((0, rows), (0, columns), (0, 0)), mode="edge")
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        self._count += 1

    def close(self) -> None:
        self._writer.release()
        check = cv2.VideoCapture(str(self.path))  # OpenCV does not tell when the disk is full
        written = int(check.get(cv2.CAP_PROP_FRAME_COUNT)) if check.isOpened() else 0
        check.release()
        if written != self._count:
            raise VideoError(
                f"{self.path.parent}: {written} of {self._count} frames could be written; "
                "is the disk full?"
            )

    def abort(self) -> None:
        self._writer.release()


class FfmpegWriter:
    """H.264 by ffmpeg (MPEG-4 where ffmpeg was built without x264), frames through a pipe."""

    def __init__(self, ffmpeg: str, path: Path, rate: float, shape: tuple[int, int]) -> None:
        height, width = shape
        odd = height % 2 or width % 2  # colour at half the resolution needs even sides
        if has_x264(ffmpeg):
            codec = ["libx264", "-crf", "17", "-pix_fmt", "yuv444p" if odd else "yuv420p"]
        else:
            codec = ["mpeg4", "-q:v", "2"]
        self.path = path
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the process)
        source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{rate}"]
        self._process = subprocess.Popen(
            [*_quiet(ffmpeg), *source, "-i", "pipe:0", "-an", "-c:v", *codec, *COLOURS, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
        )
        assert self._process.stdin is not None  # as PIPE is asked for
        self._pipe = self._process.stdin

    def write(self, frame: np.ndarray) -> None:
        try:
            self._pipe.write(np.ascontiguousarray(frame).data)
        except OSError:
            raise VideoError(self._complaint()) from None

    def close(self) -> None:
        with contextlib.suppress(OSError):  # the exit status says more
            self._pipe.close()
        if self._process.wait() != 0:
            raise VideoError(self._complaint())
        self._errors.close()

    def abort(self) -> None:
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):
            self._pipe.close()

    def _complaint(self) -> str:
        self._process.wait()
        self._errors.seek(0)
        text = " ".join(self._errors.read().decode(errors="replace").split())
        return f"{self.path.parent}: ffmpeg stopped: {text[-300:] or 'no reason given'}"


def open_writer(path: Path, rate: float, shape: tuple[int, int], ffmpeg: str | None) -> FrameWriter:
    """A writer of an .mp4 file: by ffmpeg where there is one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if ffmpeg is not None:
        return FfmpegWriter(ffmpeg, path, rate, shape)
    return OpenCVWriter(path, rate, shape)


def find_ffmpeg() -> str | None:
    return shutil.which("ffmpeg")


def has_x264(ffmpeg: str) -> bool:
    done = subprocess.run(
        [ffmpeg, "-hide_banner", "-encoders"], capture_output=True, text=True, check=False
    )
    return " libx264 " in done.stdout


def _quiet(ffmpeg: str) -> list[str]:
    return [ffmpeg, "-hide_banner", "-loglevel", "error", "-y"]


def add_sound(ffmpeg: str, video: Path, source: Path) -> str | None:
    """Put the sound of `source`, if it has any, into `video`, copied as it is; re-encoded as AAC
    where .mp4 cannot hold it. Returns what to tell the user when neither works."""
    mixed = video.with_name(f".{secrets.token_hex(4)}{video.suffix}")
    streams = ["-map", "0:v:0", "-map", "1:a?", "-c:v", "copy", "-movflags", "+faststart"]
    try:
        for codec in ("copy", "aac"):
            inputs = ["-nostdin", "-i", str(video), "-i", str(source)]
            done = subprocess.run(
                [*_quiet(ffmpeg), *inputs, *streams, "-c:a", codec, str(mixed)],
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
            if done.returncode == 0:
                mixed.replace(video)
                return None
        return f"warning: the sound could not be kept: {' '.join(done.stderr.split())[-200:]}"
    finally:
        mixed.unlink(missing_ok=True)
