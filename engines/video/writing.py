"""Video files that browsers play: H.264 in .mp4, each frame at its own time."""

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from deocclude.engines.video.colours import filter_graph
from deocclude.engines.video.companions import Companions, lost_metadata
from deocclude.engines.video.frames import Frame, FrameReader, VideoError

QUALITY = "17"  # x264's constant rate factor: hardly to be told from the original
SCALE = (
    "scale=flags=bicubic+accurate_rnd+full_chroma_int:in_range=pc:out_range=tv:"
    "out_color_matrix=bt709"
)
TAGGED = {1, 4, 5, 6, 7, 11, 12, 13, 14, 15}  # transfers that 8 bits show as they are


class VideoWriter:
    """H.264, 4:2:0, BT.709, with the index at the front of the file (`frames.FrameWriter`), of
    pictures of this (height, width). When frames come and what their pixels are the `reader` says;
    sound and all else come from the video `source`. An odd width or height is extended by repeating
    the last column or row."""

    def __init__(
        self, path: Path, shape: tuple[int, int], reader: FrameReader, source: Path | None
    ) -> None:
        self.path, self.source = path, source
        self._origin, self._tick = reader.origin, reader.tick
        height, width = shape
        self._padding = (height % 2, width % 2)
        primaries, transfer = reader.tags
        self._tags = (primaries, transfer if transfer in TAGGED else 1)
        self.notices: list[str] = []
        if any(self._padding):
            self.notices.append(
                f"warning: {width} x {height} is not even: the last row or column is there twice"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        self._companions: Companions | None = None
        self._graph: Any = None
        self._durations: dict[int, int] = {}
        with self._told("no video can be written here"):
            self._container: Any = av.open(
                str(path), "w", format="mp4", container_options={"movflags": "+faststart"}
            )
            self._stream = self._open(width, height, reader)
            if source is not None:
                self._companions = Companions(source, self._container, reader.origin)

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """An error of the block as a VideoError that says `what` could not be done."""
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            raise VideoError(f"{self.path.parent}: {what} ({error})") from None

    def _open(self, width: int, height: int, reader: FrameReader) -> Any:
        stream = self._container.add_stream(
            "libx264", rate=reader.rate.limit_denominator(100000), options={"crf": QUALITY}
        )
        pixel = reader.pixel.limit_denominator(10000)
        stream.width, stream.height = width + self._padding[1], height + self._padding[0]
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base = stream.time_base = self._tick
        context.sample_aspect_ratio = stream.sample_aspect_ratio = pixel
        context.colorspace = context.color_range = 1  # BT.709, limited
        context.color_primaries, context.color_trc = self._tags
        return stream

    def write(self, picture: np.ndarray, frame: Frame, mask: np.ndarray | None = None) -> None:
        if frame.hidden:
            return
        if frame.alpha is not None and (frame.alpha < 255).any():
            text = "warning: .mp4 has no transparency: laid over white"
            self.notices += [text] if text not in self.notices else []
        rows, columns = self._padding
        if rows or columns:
            picture = np.pad(picture, ((0, rows), (0, columns), (0, 0)), mode="edge")
        ticks = round((frame.start - self._origin) / self._tick)
        self._durations[ticks] = max(1, round(frame.duration / self._tick))
        with self._told("cannot be written further"):
            if self._companions is not None:
                self._companions.write_until(frame.start)
            self._mux(self._stream.encode(self._converted(picture, ticks)))

    def _converted(self, picture: np.ndarray, ticks: int) -> Any:
        if self._graph is None:
            shape, base = picture.shape[:2], Fraction(1, 1000)
            self._graph = filter_graph(shape, "rgb24", base, (SCALE, "format=yuv420p"))
        self._graph.push(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24"))
        frame = self._graph.pull()
        frame.pts, frame.time_base = ticks, self._tick
        frame.colorspace = frame.color_range = 1
        frame.color_primaries, frame.color_trc = self._tags
        frame.pict_type = 0  # the encoder chooses
        return frame

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            packet.duration = self._durations.pop(packet.pts, 1)
            self._container.mux(packet)

    def close(self) -> list[str]:
        try:
            with self._told("cannot be written to its end"):
                self._mux(self._stream.encode(None))
                if self._companions is not None:
                    self.notices += self._companions.finish()
                self._container.close()
        finally:
            if self._companions is not None:
                self._companions.close()
        if self.source is not None and (lost := lost_metadata(self.source, self.path)):
            self.notices.append(f"metadata that .mp4 does not hold: {', '.join(lost)}")
        return self.notices

    def abort(self) -> None:
        if self._companions is not None:
            self._companions.close()
        with contextlib.suppress(av.FFmpegError, OSError, ValueError):
            self._container.close()
