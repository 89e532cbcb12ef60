"""From the colours of a decoded frame to what a screen of today shows: 8-bit RGB, BT.709.

High dynamic range is brought down by Rec. ITU-R BT.2390's curve, with white at the 203 cd/m² of
BT.2408, so that what is darker than that white keeps nearly the value it has in a picture without.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from av import VideoFrame
from av.filter import Graph

Timed = tuple[np.ndarray, Fraction, Fraction]  # a picture, its start and its duration
WHITE = 203.0  # cd/m² of the white of a picture in HDR (BT.2408)
HDR_PEAK = 1000.0  # cd/m² of the brightest, where a file does not say
PQ_PEAK = 10000.0
SIZE = 4096  # entries of tables
# Numbers are those of Rec. ITU-T H.273, which FFmpeg uses too.
PQ, HLG, LINEAR = 16, 18, 8
UNTOLD = (0, 2, 3)  # reserved, unspecified
MATRICES = {
    1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 9: "bt2020", 10: "bt2020",
}  # fmt: skip
# Red, green, blue (x, y), white D65, of primaries far enough from BT.709's to need conversion.
BT709 = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
WIDE = {9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)), 11: P3, 12: P3}
NAMES = {9: "BT.2020", 11: "DCI-P3", 12: "Display P3"}
TRANSFERS = {PQ: "PQ", HLG: "HLG", LINEAR: "linear light"}
WHITE_POINT = (0.3127, 0.3290)
FLAGS = "bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"


def pq_to_nits(signal: np.ndarray) -> np.ndarray:
    """cd/m² of a PQ signal in [0, 1] (SMPTE ST 2084, BT.2100 table 4)."""
    power = np.power(np.clip(signal, 0, 1), 1 / 78.84375)
    low = np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)
    return PQ_PEAK * np.power(low, 1 / 0.1593017578125)


def nits_to_pq(nits: np.ndarray) -> np.ndarray:
    """The inverse of `pq_to_nits`."""
    power = np.power(np.clip(nits, 0, PQ_PEAK) / PQ_PEAK, 0.1593017578125)
    return np.power((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power), 78.84375)


def hlg_to_scene(signal: np.ndarray) -> np.ndarray:
    """Scene light in [0, 1] of an HLG signal (BT.2100 table 5)."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)


def srgb_to_linear(signal: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1."""
    return np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(light: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def tone_curve(nits: np.ndarray, peak: float) -> np.ndarray:
    """cd/m² up to `peak` brought below WHITE (BT.2390, section 5.4.1; black stays black)."""
    top = float(nits_to_pq(np.array(peak)))
    signal, highest = nits_to_pq(nits) / top, float(nits_to_pq(np.array(WHITE))) / top
    knee = 1.5 * highest - 0.5
    t = (np.clip(signal, knee, 1) - knee) / (1 - knee)
    bent = (
        (2 * t**3 - 3 * t**2 + 1) * knee
        + (t**3 - 2 * t**2 + t) * (1 - knee)
        + (3 * t**2 - 2 * t**3) * highest
    )
    return pq_to_nits(np.where(signal < knee, signal, bent) * top)


def to_bt709(primaries: tuple) -> np.ndarray:
    """The matrix (3, 3) from linear RGB of these primaries to that of BT.709."""
    return np.linalg.solve(_to_xyz(BT709), _to_xyz(primaries))


def _to_xyz(primaries: tuple) -> np.ndarray:
    def xyz(x: float, y: float) -> list[float]:
        return [x / y, 1, (1 - x - y) / y]

    columns = np.array([xyz(*point) for point in primaries]).T
    return columns * np.linalg.solve(columns, xyz(*WHITE_POINT))


class Toner:
    """RGB of 16 bits in a wide gamut or high dynamic range to 8 bits of BT.709 with sRGB's curve.

    `transfer` and `primaries` by their numbers in H.273, `peak` in cd/m².
    """

    def __init__(self, transfer: int, primaries: int, peak: float) -> None:
        signal = np.linspace(0, 1, SIZE)
        self.transfer, self.hdr = transfer, transfer in (PQ, HLG)
        light = {
            PQ: lambda: pq_to_nits(signal) / WHITE,
            HLG: lambda: hlg_to_scene(signal),
            LINEAR: lambda: signal,
        }.get(transfer, lambda: srgb_to_linear(signal))()
        self.light = light.astype(np.float32)
        self.matrix = to_bt709(WIDE.get(primaries, BT709)).astype(np.float32)
        self.top = max(peak, WHITE + 1) / WHITE if self.hdr else 1.0
        bright = np.linspace(0, 1, SIZE) ** 2 * self.top  # finer where it is dark
        gain = np.ones(SIZE)
        if self.hdr:
            gain[1:] = tone_curve(bright[1:] * WHITE, self.top * WHITE) / WHITE / bright[1:]
        self.gain = gain.astype(np.float32)
        levels = 255 * linear_to_srgb(np.linspace(0, 1, SIZE) ** 2)
        self.levels = np.rint(levels).astype(np.uint8)

    def __call__(self, wide: np.ndarray) -> np.ndarray:
        """uint16 (H, W, 3) to uint8 of the same shape."""
        light = self.light[wide >> 4]
        if self.transfer == HLG:  # BT.2100: the system gamma 1.2 of a display of 1000 cd/m²
            luma = light @ np.array([0.2627, 0.6780, 0.0593], np.float32)
            light *= (HDR_PEAK / WHITE * np.power(luma, np.float32(0.2)))[..., None]
        light = np.maximum(cv2.transform(light, self.matrix), 0)
        if self.hdr:
            bright = np.minimum(light.max(axis=2) / self.top, 1)
            light *= self.gain[_index(bright)][..., None]
        return self.levels[_index(np.minimum(light, 1))]


def _index(values: np.ndarray) -> np.ndarray:
    """Places in a table over [0, 1] that is finer towards 0."""
    return (cv2.sqrt(values) * np.float32(SIZE - 1) + np.float32(0.5)).astype(np.uint16)


class Shown:
    """Decoded frames as they are shown, in order; a notice for each conversion that is one.

    Interlaced frames come one later, when their fields have been made whole.
    """

    def __init__(self) -> None:
        self.notices: dict[str, None] = {}  # each once, in order
        self._times: deque[tuple[Fraction, Fraction]] = deque()
        self._key: tuple | None = None
        self._graph: Any = None
        self._toner: Toner | None = None
        self._size: tuple[int, int] | None = None
        self._woven = False

    def push(self, frame: VideoFrame, start: Fraction, duration: Fraction) -> Iterator[Timed]:
        """The next frame goes in; what is ready comes out, with its times: uint8 (H, W, 3), or
        (H, W, 4) where the file has transparency."""
        self._woven |= frame.interlaced_frame
        key = (
            frame.format.name, frame.width, frame.height, frame.colorspace, frame.color_range,
            frame.color_primaries, frame.color_trc, self._woven,
        )  # fmt: skip
        if key != self._key:
            yield from self.flush()
            self._build(frame)
            self._key = key
        self._times.append((start, duration))
        self._graph.push(frame)
        yield from self._pull()

    @staticmethod
    def converts(frame: VideoFrame) -> bool:
        """Whether the colours come out as BT.709's, not as those the file has."""
        return frame.color_trc in TRANSFERS or frame.color_primaries in WIDE

    def flush(self) -> Iterator[Timed]:
        """What has not come out yet."""
        if self._graph is not None:
            self._graph.push(None)
            yield from self._pull()
            self._graph = self._key = None

    def _pull(self) -> Iterator[Timed]:
        with suppress(BlockingIOError, EOFError):
            while True:
                picture = self._graph.pull().to_ndarray()
                picture = self._toner(picture) if self._toner else picture
                yield picture, *self._times.popleft()

    def _build(self, frame: VideoFrame) -> None:
        self._size = self._size or (frame.width, frame.height)
        alpha = any(part.is_alpha for part in frame.format.components)
        transfer, primaries = frame.color_trc, frame.color_primaries
        wide = self.converts(frame)
        self._toner = Toner(transfer, primaries, peak_of(frame)) if wide else None
        self._tell(frame, wide)
        scale = f"scale={self._size[0]}:{self._size[1]}:flags={FLAGS}:out_range=pc{_source(frame)}"
        target = "rgb48le" if wide else "rgba" if alpha else "rgb24"
        whole = ["bwdif=mode=send_frame:deint=interlaced"] * self._woven
        base = frame.time_base or Fraction(1, 1000)
        shape, steps = (frame.height, frame.width), [*whole, scale, f"format={target}"]
        self._graph = filter_graph(shape, frame.format.name, base, steps)

    def _tell(self, frame: VideoFrame, wide: bool) -> None:
        say, transfer, primaries = [], frame.color_trc, frame.color_primaries
        bits = max((part.bits for part in frame.format.components), default=8)
        gamut = NAMES.get(primaries, "BT.709")
        if transfer in (PQ, HLG):
            say.append(
                f"warning: high dynamic range ({TRANSFERS[transfer]}, {gamut}, {bits} bits) is "
                "brought to what every screen shows (BT.709, 8 bits) by BT.2390's curve"
            )
        elif wide:
            name = TRANSFERS.get(transfer, gamut)
            say.append(
                f"warning: its colours ({name}, {bits} bits) are converted to BT.709, 8 bits"
            )
        elif bits > 8:
            say.append(f"warning: its {bits} bits a colour are rounded to 8")
        if not frame.format.is_rgb and frame.colorspace not in MATRICES:
            taken = {"bt709": "BT.709", "smpte170m": "BT.601"}[guessed_matrix(frame)]
            if frame.colorspace in UNTOLD:
                if frame.format.name[:4] not in ("gray", "pal8", "mono"):
                    say.append(f"its colour matrix is not given: taken as {taken}, for its size")
            else:
                say.append(
                    f"warning: its colour matrix (number {frame.colorspace} of H.273) is not known "
                    f"here: taken as {taken}"
                )
        if self._woven:
            say.append("interlaced: the two fields of each frame are made one whole picture")
        if self._size != (frame.width, frame.height):
            size = "{} x {}".format(*self._size or ())
            say.append(f"warning: the picture size changes: scaled to {size} from there on")
        self.notices |= dict.fromkeys(say)


def filter_graph(
    shape: tuple[int, int], pixels: str, time_base: Fraction, steps: Sequence[str]
) -> Graph:
    """FFmpeg's filters, each as "name=options", one after the other; frames of this (height, width)
    and format of `pixels` are pushed in and pulled out."""
    graph: Any = Graph()
    source = graph.add_buffer(width=shape[1], height=shape[0], format=pixels, time_base=time_base)
    between = [graph.add(*step.split("=", 1)) for step in steps]
    graph.link_nodes(source, *between, graph.add("buffersink")).configure()
    return graph


def guessed_matrix(frame: VideoFrame) -> str:
    """The matrix players take where a file does not say: that of its size."""
    return "bt709" if frame.width >= 1280 or frame.height > 576 else "smpte170m"


def _source(frame: VideoFrame) -> str:
    """What the scale filter must know of a frame."""
    name = frame.format.name
    if frame.format.is_rgb or name.startswith(("gray", "pal", "mono", "ya")):
        return ":in_range=tv" if frame.color_range == 1 else ""
    matrix = MATRICES.get(frame.colorspace) or guessed_matrix(frame)
    full = frame.color_range == 2 or name.startswith("yuvj")
    return f":in_color_matrix={matrix}:in_range={'pc' if full else 'tv'}"


def peak_of(frame: VideoFrame) -> float:
    """cd/m² of the brightest pixel: the file's MaxCLL, else HDR_PEAK."""
    light = side_data(frame).get("CONTENT_LIGHT_LEVEL")
    if frame.color_trc == PQ and light is not None:
        most = int(np.frombuffer(bytes(light), np.uint32)[0])
        if WHITE < most <= PQ_PEAK:
            return float(most)
    return HDR_PEAK


def side_data(frame: VideoFrame) -> dict[str, Any]:
    """What a frame carries beside its pixels, by FFmpeg's names."""
    parts: Any = frame.side_data
    return {part.type.name: part for part in parts}
