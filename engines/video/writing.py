"""Video files that browsers play: H.264 in .mp4, each frame at its own time."""

import contextlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from deocclude.engines.video.companions import Companions, lost_metadata
from deocclude.engines.video.frames import Frame, VideoError

QUALITY = "17"  # x264's constant rate factor: hardly to be told from the original
TAGGED = {1, 4, 5, 6, 7, 11, 12, 13, 14, 15}  # transfers that 8 bits show as they are


class VideoWriter:
    """H.264, 4:2:0, BT.709, with the index at the front of the file (`frames.FrameWriter`).

    `tick`: seconds of which the frames' times are multiples; `rate`: frames a second, the mean;
    `pixel`: width by height of a pixel; `tags`: primaries and transfer by H.273; `origin`: seconds
    of the frames' times that become 0. Sound and all else come from the video `source`. An odd
    width or height is extended by repeating the last column or row.
    """

    def __init__(
        self,
        path: Path,
        shape: tuple[int, int],
        rate: Fraction,
        tick: Fraction,
        pixel: Fraction = Fraction(1),
        tags: tuple[int, int] = (1, 1),
        origin: Fraction = Fraction(0),
        source: Path | None = None,
    ) -> None:
        import av

        self.path, self.source, self._origin, self._tick = path, source, origin, tick
        self._broken: type[Exception] = av.FFmpegError
        height, width = shape
        self._padding = (height % 2, width % 2)
        self._tags = (tags[0], tags[1] if tags[1] in TAGGED else 1)
        self.notices: list[str] = []
        if any(self._padding):
            self.notices.append(
                f"warning: {width} x {height} is not even: the last row or column is there twice"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        self._companions: Companions | None = None
        self._graph: Any = None
        self._durations: dict[int, int] = {}
        try:
            self._container: Any = av.open(
                str(path), "w", format="mp4", container_options={"movflags": "+faststart"}
            )
            self._stream = self._open(width, height, rate, pixel)
            if source is not None:
                self._companions = Companions(source, self._container, origin)
        except self._broken as error:
            raise VideoError(f"{path.parent}: no video can be written here ({error})") from None

    def _open(self, width: int, height: int, rate: Fraction, pixel: Fraction) -> Any:
        stream = self._container.add_stream(
            "libx264", rate=rate.limit_denominator(100000), options={"crf": QUALITY}
        )
        stream.width, stream.height = width + self._padding[1], height + self._padding[0]
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base = stream.time_base = self._tick
        context.sample_aspect_ratio = stream.sample_aspect_ratio = pixel.limit_denominator(10000)
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
        try:
            if self._companions is not None:
                self._companions.write_until(frame.start)
            self._mux(self._stream.encode(self._converted(picture, ticks)))
        except (self._broken, OSError) as error:
            raise VideoError(f"{self.path.parent}: cannot be written further ({error})") from None

    def _converted(self, picture: np.ndarray, ticks: int) -> Any:
        import av
        from av.filter import Graph

        if self._graph is None:
            self._graph = Graph()
            height, width = picture.shape[:2]
            scale = "flags=bicubic+accurate_rnd+full_chroma_int:in_range=pc:out_range=tv:"
            nodes = [
                self._graph.add_buffer(
                    width=width, height=height, format="rgb24", time_base=Fraction(1, 1000)
                ),
                self._graph.add("scale", scale + "out_color_matrix=bt709"),
                self._graph.add("format", "yuv420p"),
                self._graph.add("buffersink"),
            ]
            self._graph.link_nodes(*nodes).configure()
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
            self._mux(self._stream.encode(None))
            if self._companions is not None:
                self.notices += self._companions.finish()
            self._container.close()
        except (self._broken, OSError) as error:
            raise VideoError(
                f"{self.path.parent}: cannot be written to its end ({error})"
            ) from None
        finally:
            if self._companions is not None:
                self._companions.close()
        if self.source is not None and (lost := lost_metadata(self.source, self.path)):
            self.notices.append(f"metadata that .mp4 does not hold: {', '.join(lost)}")
        return self.notices

    def abort(self) -> None:
        if self._companions is not None:
            self._companions.close()
        with contextlib.suppress(self._broken, OSError, ValueError):
            self._container.close()
