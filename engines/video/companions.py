"""What goes with the picture of a video: sound, subtitles, chapters, title and the like."""

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from deocclude.engines.video.reading import Clock, is_cover

COPIED = ("aac", "mp3", "ac3", "eac3", "opus", "flac", "alac")  # sound that .mp4 holds
TEXT = ("mov_text", "subrip", "ass", "ssa", "webvtt", "text")  # subtitles that are text
AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
LAYOUTS = {  # that AAC knows, by their number of channels
    1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1(back)", 8: "7.1",
}  # fmt: skip
AAC_BITS = 96000  # a second and channel
# Written anew, or about the file that was and not about the video.
OWN_KEYS = (
    "major_brand", "minor_version", "compatible_brands", "encoder", "handler_name", "vendor_id",
    "duration", "language", "creation_time", "software",
)  # fmt: skip


class Companions:
    """Everything of a video file beside its picture, for an .mp4 `container` that is being written.

    Sound that .mp4 holds is copied as it is, other sound becomes AAC, subtitles of text become
    mov_text; chapters and metadata are copied. `origin`: seconds of the file that become 0.
    """

    def __init__(self, source: Path, container: Any, origin: Fraction) -> None:
        self._source: Any = av.open(str(source), metadata_errors="replace")
        self._container, self._origin = container, origin
        self._tracks: dict[int, Track] = {}
        self._failures: Counter[str] = Counter()
        self.notices: list[str] = []
        self._waiting: Any = None  # a packet that is not due yet
        for stream in self._source.streams:
            self._add(stream)
        self._tell_left_out()
        container.metadata.update(self._source.metadata)
        if chapters := self._source.chapters():
            container.set_chapters([self._moved(chapter) for chapter in chapters])
        self._packets = self._read()

    def _add(self, stream: Any) -> None:
        known = stream.codec_context is not None
        kind = stream.codec_context.codec.canonical_name if known else ""
        try:
            if stream.type == "audio":
                copied = kind in COPIED
                self._tracks[stream.index] = (Copied if copied else Sound)(self._container, stream)
                if not copied:
                    self.notices.append(f"its sound ({kind}) is written as AAC, which .mp4 holds")
            elif stream.type == "subtitle" and kind in TEXT:
                self._tracks[stream.index] = Text(self._container, stream)
                if kind in ("ass", "ssa"):
                    self.notices.append("its subtitles are kept as plain text, without their style")
        except (av.FFmpegError, ValueError, TypeError) as error:
            self.notices.append(f"warning: its {stream.type} ({kind}) cannot be kept: {error}")

    def _tell_left_out(self) -> None:
        """Streams with no place in an .mp4 file."""
        chapters = "mp4" in self._source.format.name and len(self._source.chapters()) > 0
        left = Counter(
            "cover picture" if s.type == "video" else
            "subtitles that are pictures" if s.type == "subtitle" else s.type
            for s in self._source.streams
            if (s.type == "video" and is_cover(s))
            or (s.type not in ("video", "audio") and s.index not in self._tracks)
        )  # fmt: skip
        left["data"] -= chapters  # MP4 keeps the names of chapters in such a stream
        if left := +left:
            parts = ", ".join(f"{name} ({count})" for name, count in left.items())
            self.notices.append(f"left out, for .mp4 does not hold it: {parts}")

    def _moved(self, chapter: Any) -> Any:
        shift = round(self._origin / chapter["time_base"])
        return chapter | {"start": chapter["start"] - shift, "end": chapter["end"] - shift}

    def write_until(self, end: Fraction | None) -> None:
        """Write what begins before `end` seconds of the file, None: all there is."""
        for packet in self._packets:
            time = packet.dts if packet.dts is not None else packet.pts
            if end is not None and time is not None and time * packet.time_base >= end:
                self._waiting = packet
                return
            track = self._tracks[packet.stream_index]
            try:
                for made in track.convert(packet, self._origin):
                    self._container.mux(made)
            except (av.FFmpegError, ValueError) as error:
                if isinstance(error, OSError):  # a full disk, not a broken packet
                    raise
                self._failures[track.what] += 1

    def _read(self) -> Iterator[Any]:
        """The packets of all tracks, one that had to wait once more."""
        streams = [s for s in self._source.streams if s.index in self._tracks]
        try:
            for packet in self._source.demux(streams) if streams else ():
                if not packet.size and packet.pts is None:
                    continue
                yield packet
                while self._waiting is not None:
                    packet, self._waiting = self._waiting, None
                    yield packet
        except av.FFmpegError:
            return  # the picture's reader tells

    def finish(self) -> list[str]:
        """Write the rest; what to tell the user."""
        self.write_until(None)
        for track in self._tracks.values():
            for made in track.flush():
                self._container.mux(made)
        for what, count in self._failures.items():
            self.notices.append(f"warning: {count} damaged parts of its {what} are left out")
        return self.notices

    def close(self) -> None:
        self._source.close()


class Track(ABC):
    """One stream on its way; `convert` gives the packets to write for one that was read."""

    what = "sound"

    @abstractmethod
    def convert(self, packet: Any, origin: Fraction) -> list[Any]: ...

    def flush(self) -> list[Any]:
        return []


class Copied(Track):
    """Sound as it is, packet by packet."""

    def __init__(self, container: Any, stream: Any) -> None:
        self.stream = container.add_stream_from_template(stream)
        _describe(self.stream, stream)
        self._clock = Clock(stream.time_base)

    def convert(self, packet: Any, origin: Fraction) -> list[Any]:
        base = packet.time_base
        given = packet.dts if packet.dts is not None else packet.pts
        time = None if given is None else given * base - origin
        step = (packet.duration or 1) * base
        packet.pts = packet.dts = round(self._clock.next(time, step) / base)
        packet.stream = self.stream
        return [packet]


class Sound(Track):
    """Sound decoded and written as AAC."""

    def __init__(self, container: Any, stream: Any) -> None:
        context = stream.codec_context
        rate = min(AAC_RATES, key=lambda rate: (rate < min(context.sample_rate, 48000), rate))
        count = context.channels
        named = context.layout.name in LAYOUTS.values()
        self._layout = context.layout.name if named else LAYOUTS.get(count, "stereo")
        self._guessed = count if not named and count in LAYOUTS else 0
        self.stream = container.add_stream("aac", rate=rate, layout=self._layout)
        self.stream.bit_rate = AAC_BITS * len(self.stream.layout.channels)
        _describe(self.stream, stream)
        self._clock = Clock(Fraction(1, context.sample_rate))

    def convert(self, packet: Any, origin: Fraction) -> list[Any]:
        made = []
        for frame in packet.decode():
            tick = Fraction(1, frame.sample_rate)
            given = None if frame.pts is None else frame.pts * frame.time_base - origin
            frame.pts = round(self._clock.next(given, frame.samples * tick) / tick)
            frame.time_base = tick
            if self._guessed:  # else the resampler does not know which is left
                frame = _laid_out(frame, self._layout)
            made += self.stream.encode(frame)
        return made

    def flush(self) -> list[Any]:
        return self.stream.encode(None)


class Text(Track):
    """Subtitles as mov_text: two bytes of length, then UTF-8."""

    what = "subtitles"

    def __init__(self, container: Any, stream: Any) -> None:
        self._decoder = stream.codec_context
        self._decoder.open(strict=False)
        self.stream = container.add_stream("mov_text")
        self.stream.codec_context.subtitle_header = self._decoder.subtitle_header
        self.stream.time_base = Fraction(1, 1000)
        _describe(self.stream, stream)

    def convert(self, packet: Any, origin: Fraction) -> list[Any]:
        if packet.pts is None:
            return []
        lines = [
            re.sub(r"\{[^}]*\}", "", part.dialogue.decode("utf-8", "replace")).replace("\\N", "\n")
            for part in self._decoder.decode2(packet) or ()
        ]
        text = "\n".join(filter(None, lines)).encode()[:65535]
        made = av.Packet(len(text).to_bytes(2, "big") + text)
        made.time_base = Fraction(1, 1000)
        made.pts = made.dts = round((packet.pts * packet.time_base - origin) * 1000)
        made.duration = round((packet.duration or 0) * packet.time_base * 1000)
        made.stream = self.stream
        return [made]


def _laid_out(frame: Any, layout: str) -> Any:
    """A frame of sound whose channels had no places, in this layout."""
    named = av.AudioFrame.from_ndarray(frame.to_ndarray(), frame.format.name, layout)
    named.sample_rate, named.pts, named.time_base = frame.sample_rate, frame.pts, frame.time_base
    return named


def _describe(stream: Any, source: Any) -> None:
    """Language, title and role of a track."""
    kept = {k: v for k, v in source.metadata.items() if k.lower() in ("language", "title")}
    stream.metadata.update(kept)
    stream.disposition = source.disposition


def lost_metadata(source: Path, result: Path) -> list[str]:
    """The names of what a video says about itself that its result does not."""
    with av.open(str(source), metadata_errors="replace") as old, av.open(str(result)) as new:
        kept = {key.lower() for key in new.metadata}
        return [key for key in old.metadata if key.lower() not in {*kept, *OWN_KEYS}]
