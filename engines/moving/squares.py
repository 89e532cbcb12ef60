"""The faces of one frame, restored in their squares: one crop of a face for both networks, the mask
settled and the colours matched at the networks' size, whatever the size of the frame."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from torch import Tensor

from deocclude.data.faces.alignment import invert
from deocclude.engines.inference.hole_mask import (
    THRESHOLD,
    Box,
    dilate,
    distance_to,
    hole_mask,
)
from deocclude.engines.inference.networks import Inpainter, Segmenter
from deocclude.engines.moving.tracker import Track
from deocclude.engines.photos.blend import match_surroundings
from deocclude.engines.photos.restoration import FaceResult, Patch, Timing
from deocclude.engines.photos.steps import (
    BORDER,
    COLOURED,
    UNMATCHED,
    FaceWork,
    LeftOut,
    Settings,
    Shown,
    around,
    channels_last,
    place,
    placed,
    probable,
    redraw,
    untouched,
    weighed,
)
from deocclude.engines.photos.windows import (
    AUTO,
    AlignedWindow,
    choose_alignment,
    landmarks_under,
)

STEADY = 10  # frames: landmarks that are covered for fewer do not change a face's square


class Square:
    """A face's square as a window of its own (`engines.inference.hole_mask.Window`): its photo is
    the aligned picture, and what lies beyond the frame lies outside of it."""

    def __init__(self, window: AlignedWindow) -> None:
        self.side = float(window.size)
        self.box = (0, 0, window.size, window.size)
        ramp = np.arange(window.size, dtype=np.float32) + 0.5
        near = np.minimum(ramp, window.size - ramp)
        self._depth = np.minimum(near[:, None], near[None])
        self._depth[window.beyond() > 0] = -1

    def depth(self, box: Box) -> np.ndarray:
        """As of AlignedWindow, of the whole square."""
        assert box == self.box
        return self._depth

    def spread(self, square: np.ndarray, box: Box) -> np.ndarray:
        """The square itself."""
        assert box == self.box
        return square


class Seen(NamedTuple):
    """A face's square under one network: its window, and what it shows, uint8 (S, S, 3)."""

    window: AlignedWindow
    view: np.ndarray


@dataclass(frozen=True, kw_only=True)
class SquareWork(FaceWork):
    """A face on its way, mask and weight at the size of its square, as `view` shows it. `distance`:
    how far pixels lie from what covers the face, of which those up to `radius` are the mask."""

    track: Track
    view: np.ndarray
    square: Square
    distance: np.ndarray
    radius: float


def find_works(
    inpainter: Inpainter,
    segmenter: Segmenter,
    frame: np.ndarray,
    tracks: list[Track],
    share: float,
    settings: Settings,
    timing: Timing,
) -> tuple[list[SquareWork], list[str]]:
    """What covers each face, smoothed from frame to frame, the largest face last, and what to say
    of the faces that cannot be placed. `share`: the past's weight in the probability.

    Shape: frame uint8 (H, W, 3). As `engines.photos.steps` for photos, but that a mask's edge is as
    fine as the network's pixels and that what runs out of a face's square is cut there.
    """

    def see(track: Track, network: Inpainter | Segmenter = inpainter) -> Seen:
        # The inpainter's square follows the landmarks that are seen, which suits segmenters too.
        window = place(network, track.face, frame, settings.alignment, track.hidden or ())
        return Seen(window, window.glance(frame))

    def see_both(track: Track) -> tuple[Track, Seen, Seen]:
        seen = see(track)
        return track, seen, seen if alike else see(track, segmenter)

    alike = (segmenter.size, segmenter.template) == (inpainter.size, inpainter.template)
    with timing("align"):
        shown, left_out = placed(see_both, tracks)
    works = []
    with timing("segment"):
        views = [other.view for _, _, other in shown]
        probabilities = probable(segmenter, views, settings.batch)
        for (track, seen, other), probability in zip(shown, probabilities, strict=True):
            probability = track.smooth_probability(probability, share)
            if settings.alignment == AUTO and _aligns_anew(track, other, probability):
                with suppress(LeftOut):  # the new one lies outside of the frame
                    seen = see(track)
            own = _moved_to(seen.window, other.window, probability)
            works.append(_settle(track, seen, own, settings))
    return sorted(works, key=lambda work: work.window.side), left_out


def _aligns_anew(track: Track, seen: Seen, probability: np.ndarray) -> bool:
    """Whether another alignment suits the landmarks that are covered, in a face's first frame or
    for STEADY frames now; its track then begins anew."""
    matrix = seen.window.matrix
    points = {
        name: tuple(matrix[:, :2] @ point + matrix[:, 2])
        for name, point in track.face.points.items()
    }
    hidden = landmarks_under((probability >= THRESHOLD).astype(np.uint8), points)
    first, before = track.hidden is None, choose_alignment(track.hidden or ())
    track.otherwise = track.otherwise + 1 if choose_alignment(hidden) != before else 0
    if not first and track.otherwise < STEADY:
        return False
    anew, track.hidden = track.otherwise > 0, hidden
    if anew:
        track.otherwise, track.probability, track.drawn = 0, None, None  # of the square before
    return anew


def _moved_to(window: AlignedWindow, other: AlignedWindow, values: np.ndarray) -> np.ndarray:
    """Values of the `other` square, float32 (S, S), in the window's own; 0 where that has none."""
    if window is other:
        return values
    full = np.vstack([window.matrix, [0, 0, 1]]) @ np.vstack([invert(other.matrix), [0, 0, 1]])
    matrix = full[:2]
    matrix[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5  # between pixel centres, as OpenCV counts
    return cv2.warpAffine(values, matrix, (window.size, window.size), flags=cv2.INTER_LINEAR)


def _settle(track: Track, seen: Seen, probability: np.ndarray, settings: Settings) -> SquareWork:
    """Mask and blending weight in the square."""
    square = Square(seen.window)
    radius = settings.dilate.radius(square.side, seen.window.scale)
    depth = square.depth(square.box)
    distance = distance_to(hole_mask(probability, square))
    mask, weight, ratio = weighed(distance, depth, depth, radius, settings)
    return SquareWork(
        track.face, seen.window, mask, weight, ratio, untouched(ratio), track=track, view=seen.view,
        square=square, distance=np.minimum(distance, 2 * radius + 2), radius=radius,
    )  # fmt: skip


def redraw_squares(
    inpainter: Inpainter,
    works: list[SquareWork],
    share: float,
    settings: Settings,
    timing: Timing,
) -> Iterator[tuple[FaceResult, Patch | None]]:
    """As `engines.photos.steps.redraw`. `share`: the past's weight in what is drawn."""

    def show(work: SquareWork) -> Shown:
        hole = _hidden(work, works) if work.todo else work.mask
        return Shown(work.view, work.view, hole, work.mask)

    def draw(
        work: SquareWork, shown: Shown, prediction: Tensor, doubt: np.ndarray | None
    ) -> tuple[np.ndarray, Patch]:
        drawn, known = channels_last(prediction), 1 - shown.hole
        drawn = work.track.smooth_drawn(drawn, work.view, known, share)
        drawn, notices = _joined(work, drawn, shown.hole, settings)
        levels = np.rint(drawn * 255).astype(np.uint8)
        after = np.where(work.mask[..., None] > 0, levels, work.view)
        return after, _patch(work, drawn, doubt, notices)

    return redraw(inpainter, works, settings, timing, show, draw)


def _hidden(work: SquareWork, works: list[SquareWork]) -> np.ndarray:
    """What of a face's square no inpainter that hides holes may see: its own mask, and those of
    faces beside it. uint8 {0, 1} (S, S)."""
    hidden = work.mask.copy()
    for other in works:
        if other is not work and other.todo:
            mask = other.mask.astype(np.float32)
            hidden |= (_moved_to(work.window, other.window, mask) > 0).astype(np.uint8)
    return hidden


def _joined(
    work: SquareWork, drawn: np.ndarray, hidden: np.ndarray, settings: Settings
) -> tuple[np.ndarray, list[str]]:
    """What is drawn with the colours around it or the true pixels beside it, float32 (S, S, 3), and
    what to say of it."""
    notices = []
    if settings.blend in COLOURED:
        inside, gap = work.square.depth(work.square.box) > 0, settings.gap * work.square.side
        known, unknown = (1 - dilate(hidden, gap)) * inside, dilate(work.mask, gap) * inside
        matched = _matched(work.view, drawn, unknown, known)
        if matched is not None:
            return matched, []
        notices = [UNMATCHED]
    return np.where(work.mask[..., None] > 0, drawn, work.view.astype(np.float32) / 255), notices


def _matched(
    view: np.ndarray, drawn: np.ndarray, unknown: np.ndarray, known: np.ndarray
) -> np.ndarray | None:
    """As `match_surroundings`, whose correction is smooth, at half the size around what is unknown:
    a tenth of the time."""
    part = around(unknown, BORDER)
    size = drawn[part].shape[1::-1]
    half = (max(1, size[0] // 2), max(1, size[1] // 2))

    def reduced(values: np.ndarray) -> np.ndarray:
        return cv2.resize(values[part], half, interpolation=cv2.INTER_AREA)

    small, whole = reduced(drawn), reduced(known.astype(np.float32)) > 0.999
    hole = (reduced(unknown.astype(np.float32)) > 0).astype(np.uint8)
    matched = match_surroundings(reduced(view), small, hole, whole.astype(np.uint8))
    if matched is None:
        return None
    correction = cv2.resize(matched - small, size, interpolation=cv2.INTER_LINEAR)
    joined = drawn.copy()
    joined[part] = (joined[part] + correction).clip(0, 1)
    return joined


def _patch(
    work: SquareWork, drawn: np.ndarray, doubt: np.ndarray | None, notices: list[str]
) -> Patch:
    """One face in the frame's pixels, only the rows and columns that its mask spans."""
    window = work.window
    box = _spanned(window, work.mask)
    near = window.spread(work.distance, box) <= max(work.radius, 0.5)
    mask = (near & (window.depth(box) > 0)).astype(np.uint8)
    weight = window.spread(work.weight, box).clip(0, 1)
    doubt = None if doubt is None else window.spread(doubt, box)
    return Patch(box, window.spread(drawn, box), mask, weight, doubt, notices)


def _spanned(window: AlignedWindow, mask: np.ndarray) -> Box:
    """The part of the frame, inside the window's box, that a mask of the square lies in."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    low, high = (columns[0] - 1, rows[0] - 1), (columns[-1] + 2, rows[-1] + 2)
    corners = np.array([low, (high[0], low[1]), high, (low[0], high[1])], np.float64)
    back = invert(window.matrix)
    corners = corners @ back[:, :2].T + back[:, 2]
    (left, top), (right, bottom) = np.floor(corners.min(0)), np.ceil(corners.max(0))
    return (
        max(window.box[0], int(top)), max(window.box[1], int(left)),
        min(window.box[2], int(bottom)), min(window.box[3], int(right)),
    )  # fmt: skip
