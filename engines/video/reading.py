"""Video files frame by frame: what is shown when, and what is missing."""

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av import VideoFrame
from av.packet import Packet
from av.stream import Disposition

from deocclude.engines.video.colours import Shown, side_data
from deocclude.engines.video.frames import Frame, FrameReader, VideoError
from deocclude.engines.video.sizes import missing_bytes

FALLBACK_RATE = Fraction(25)
RATES = (Fraction(1, 3600), Fraction(1000))  # frames a second that are believed
LEAP = Fraction(1)  # seconds back that are a new beginning (joined files), not a slip
# What a frame may carry that a new one does not, and its name for people.
CARRIED = {
    "A53_CC": "closed captions", "SPHERICAL": "the mark of a 360° video",
    "STEREO3D": "the mark of a 3D video", "DOVI_METADATA": "what Dolby Vision adds",
    "DOVI_RPU_BUFFER": "what Dolby Vision adds", "DYNAMIC_HDR_PLUS": "what HDR10+ adds",
    "S12M_TIMECODE": "timecode", "GOP_TIMECODE": "timecode",
}  # fmt: skip
# Rows of a display matrix -> what brings a picture upright: quarter turns, then a mirror.
TURNS = {
    (1, 0, 0, 1): (0, False), (0, 1, -1, 0): (3, False), (-1, 0, 0, -1): (2, False),
    (0, -1, 1, 0): (1, False), (-1, 0, 0, 1): (0, True), (1, 0, 0, -1): (2, True),
    (0, 1, 1, 0): (3, True), (0, -1, -1, 0): (1, True),
}  # fmt: skip


class Clock:
    """Times that only grow, from those a file gives.

    A step back of LEAP or more is a new beginning, which follows without a gap; a lesser one, or
    none, comes right after the time before. `mended` counts them.
    """

    def __init__(self, tick: Fraction) -> None:
        self.tick, self.mended = tick, 0
        self._offset = Fraction(0)
        self._last: Fraction | None = None

    def next(self, time: Fraction | None, step: Fraction) -> Fraction:
        """The time of what comes next; `step` after the one before where there is none."""
        if time is not None:
            time += self._offset
        if self._last is not None:
            if time is None:
                time = self._last + step
            elif time <= self._last:
                self.mended += 1
                leaps = time <= self._last - LEAP
                follows = self._last + (step if leaps else self.tick)
                if leaps:
                    self._offset += follows - time
                time = follows
        self._last = Fraction(0) if time is None else time
        return self._last


class VideoReader(FrameReader):
    """The frames of a video file, at the very times the file gives them. Raises VideoError for what
    is no video."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            self._container: Any = av.open(str(path), metadata_errors="replace")
        except (av.FFmpegError, OSError) as error:
            if not path.exists():
                raise VideoError(f"{path}: no such file") from None
            why = f"damaged, cut off or no video: {_reason(error)}"
            raise VideoError(f"{path}: cannot be read as a video ({why})") from None
        covers = [s for s in self._container.streams.video if is_cover(s)]
        videos = [s for s in self._container.streams.video if s not in covers]
        if not videos:
            self._container.close()
            raise VideoError(f"{path}: holds no video")
        best = self._container.streams.best("video")
        self.stream = best if best in videos else videos[0]
        self.stream.thread_type = "AUTO"
        if len(videos) > 1:
            self.notices.append(f"warning: only one of its {len(videos)} pictures is restored")
        self.tick = self.stream.time_base or Fraction(1, 90000)
        rate = self.stream.average_rate or self.stream.guessed_rate
        self.rate = rate if rate and RATES[0] <= rate <= RATES[1] else FALLBACK_RATE
        self.expected = self._expect()
        self.pixel = self.stream.sample_aspect_ratio or Fraction(1)
        self.origin = self._first_time()
        self._clock, self._shown = Clock(self.tick), Shown()
        self._turn, self._mirror = 0, False
        self._bad = 0  # packets that could not be decoded, frames that were decoded with errors
        self._gaps = 0  # in a transport stream: parts that do not follow those before
        self._timeless = False
        self._ordered: deque[int | None] = deque()  # AVI: when frames begin, whichever they are
        self._left_out: dict[str, None] = {}

    def _expect(self) -> int | None:
        """About how many frames there are: headers only estimate that, and none is believed."""
        if self.stream.frames:
            return self.stream.frames
        seconds = Fraction(self._container.duration or 0, 10**6)
        return round(seconds * self.rate) or None

    def _first_time(self) -> Fraction:
        """Seconds at which the first of picture and sound begins; 0 if that is before 0."""
        streams = (self.stream, *self._container.streams.audio)
        starts = [s.start_time * s.time_base for s in streams if s.start_time is not None]
        return max(Fraction(0), min(starts, default=Fraction(0)))

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._decoded():
            if self.read == 0:
                self._note_first(frame)
            self._left_out |= dict.fromkeys(
                CARRIED[name] for name in side_data(frame) if name in CARRIED
            )
            step = frame.duration * self.tick if frame.duration else 1 / self.rate
            ticks = frame.pts
            if self._ordered:  # the earliest that has not been taken
                ticks = self._ordered.popleft()
            self._timeless |= ticks is None
            given = None if ticks is None else ticks * self.tick
            start = self._clock.next(given, step)
            self.read += 1
            for shown in self._shown.push(frame, start, step):
                yield self._upright(*shown)
        for shown in self._shown.flush():
            yield self._upright(*shown)
        if self.read == 0:
            raise VideoError(f"{self.path}: holds no frame that can be read")
        self._conclude()

    def _decoded(self) -> Iterator[VideoFrame]:
        decoder = self._decoder()
        packets = self._container.demux(self.stream)
        while True:
            try:
                packet: Packet = next(packets)
            except StopIteration:
                return
            except av.FFmpegError as error:
                self.damage = f"it cannot be read further ({_reason(error)})"
                yield from self._safely(decoder, None)
                return
            if packet.is_corrupt and self.read > 0:
                joint = self._container.format.name == "mpegts"  # most are recordings put together
                self._gaps, self._bad = self._gaps + joint, self._bad + (not joint)
            if self._container.format.name == "avi" and packet.size:
                self._ordered.append(packet.dts)
            yield from self._safely(decoder, packet if packet.size else None)

    def _safely(self, decoder: Any, packet: Packet | None) -> Iterator[VideoFrame]:
        """What a packet holds. What cannot be decoded counts once a frame has come: a recording
        may begin in the middle of a stream."""
        try:
            frames = decoder.decode(packet)
        except av.FFmpegError:
            self._bad += self.read > 0
            return
        except EOFError:
            return
        for frame in frames:
            self._bad += frame.is_corrupt and self.read > 0
            yield frame

    def _decoder(self) -> Any:
        """FFmpeg's own decoder of VP8 and VP9 knows no transparency, the one of libvpx does."""
        kind = self.stream.codec_context.codec.canonical_name
        if self.stream.metadata.get("alpha_mode") == "1" and kind in ("vp8", "vp9"):
            name = "libvpx" if kind == "vp8" else "libvpx-vp9"
            if name in av.codecs_available:
                return av.CodecContext.create(name, "r")
        return self.stream.codec_context

    def _note_first(self, frame: VideoFrame) -> None:
        if matrix := side_data(frame).get("DISPLAYMATRIX"):
            a, b, _, c, d, *_ = np.frombuffer(bytes(matrix), np.int32) / 65536
            turn = TURNS.get((round(a), round(b), round(c), round(d)))
            if turn is None or max(abs(v - round(v)) for v in (a, b, c, d)) > 0.01:
                self.notices.append("warning: it is to be shown at a slant: shown straight")
            self._turn, self._mirror = turn or (0, False)
            self.orientation = 1 if self._mirror else {1: 8, 3: 6}.get(self._turn, 1)
        if self._turn % 2:
            self.pixel = 1 / self.pixel
        if not (self._shown.converts(frame) or frame.color_primaries in (0, 2)):
            self.tags = (frame.color_primaries, frame.color_trc)

    def _upright(self, picture: np.ndarray, start: Fraction, step: Fraction) -> Frame:
        if self._turn:
            picture = np.rot90(picture, self._turn)
        if self._mirror:
            picture = picture[:, ::-1]
        return Frame.of(picture, start, step)

    def _conclude(self) -> None:
        self.notices += self._shown.notices
        if self._left_out:
            self.notices.append(f"left out: {', '.join(self._left_out)}")
        if self._clock.mended:
            self.notices.append(
                "warning: the times of its frames do not always grow; made to follow right after "
                f"the one before: {self._clock.mended}"
            )
        if self._gaps:
            self.notices.append(f"warning: gaps in its stream, or recordings joined: {self._gaps}")
        if self._timeless:
            self.notices.append(
                f"warning: its frames have no times: taken as {float(self.rate):.6g} a second"
            )
        if missing := missing_bytes(self.path):
            self.damage = f"the file is cut off: {missing:,} bytes are missing at its end"
        elif self._bad and not self.damage:
            self.damage = f"parts that cannot be decoded rightly: {self._bad}"

    def close(self) -> None:
        self._container.close()


def is_cover(stream: Any) -> bool:
    """Whether a stream is one picture that players show instead of the video."""
    return bool(stream.disposition & Disposition.attached_pic)


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
