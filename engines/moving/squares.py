"""The faces of one frame, restored in their squares: one crop of a face for both networks, the mask
settled and the colours matched at the networks' size, whatever the size of the frame."""

from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from deocclude.data.faces.alignment import invert
from deocclude.data.images import to_tensor
from deocclude.engines.inference.hole_mask import (
    THRESHOLD,
    Box,
    dilate,
    distance_to,
    hole_mask,
)
from deocclude.engines.inference.networks import Inpainter, Segmenter
from deocclude.engines.moving.tracker import FaceTracker, Track
from deocclude.engines.photos.blend import GAP, feather_weight, match_surroundings, paste
from deocclude.engines.photos.restoration import BARE, FaceResult, Restoration
from deocclude.engines.photos.steps import (
    BORDER,
    COLOURED,
    SOFT,
    FaceWork,
    Settings,
    around,
    predict,
)
from deocclude.engines.photos.windows import (
    AUTO,
    AlignedWindow,
    alignment_matrix,
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
    """A face's square under one network: its window in the frame, and what it shows, uint8
    (S, S, 3)."""

    window: AlignedWindow
    view: np.ndarray


@dataclass
class SquareWork:
    """A face on its way, all of it at the size of its square: mask and weight in `work`, and how
    far pixels lie from what covers the face, of which those up to `radius` are the mask."""

    track: Track
    seen: Seen
    square: Square
    work: FaceWork
    distance: np.ndarray
    radius: float


def restore_faces(
    inpainter: Inpainter,
    segmenter: Segmenter,
    frame: np.ndarray,
    tracks: list[Track],
    tracker: FaceTracker,
    settings: Settings,
    result: Restoration,
) -> None:
    """Find what covers each face and redraw it in `result`, smoothed from frame to frame.

    Shape: frame uint8 (H, W, 3). As `engines.photos.steps` for photos, but that a mask's edge is as
    fine as the network's pixels and that what runs out of a face's square is cut there.
    """
    masks = _find_masks(inpainter, segmenter, frame, tracks, tracker, settings, result)
    with result.timing("segment"):
        works = [_settle(*mask, settings) for mask in masks]
        works.sort(key=lambda each: each.seen.window.side)
    for start in range(0, len(works), settings.batch):
        chunk = works[start : start + settings.batch]
        _redraw(inpainter, chunk, works, tracker, settings, result)


def _find_masks(
    inpainter: Inpainter,
    segmenter: Segmenter,
    frame: np.ndarray,
    tracks: list[Track],
    tracker: FaceTracker,
    settings: Settings,
    result: Restoration,
) -> list[tuple[Track, Seen, np.ndarray]]:
    """Each face's square for the inpainter, and how likely its pixels are covered, smoothed."""
    shown: list[tuple[Track, Seen, Seen]] = []
    with result.timing("align"):
        for track in tracks:
            try:
                seen = _see(inpainter, frame, track, settings)
                shown.append(
                    (
                        track,
                        seen,
                        _for_segmenter(segmenter, inpainter, frame, track, seen, settings),
                    )
                )
            except ValueError as error:
                result.notices.append(f"a face was left out: {error}")
                result.left_out += 1
    found = []
    with result.timing("segment"):
        probabilities: list[np.ndarray] = []
        for start in range(0, len(shown), settings.batch):
            views = np.stack([other.view for _, _, other in shown[start : start + settings.batch]])
            probabilities += list(segmenter.probability(to_tensor(views))[:, 0].cpu().numpy())
        for (track, seen, other), probability in zip(shown, probabilities, strict=True):
            probability = track.smooth_probability(probability, tracker.probability)
            if settings.alignment == AUTO and _aligns_anew(track, other, probability):
                with suppress(ValueError):  # the new one lies outside of the frame
                    seen = _see(inpainter, frame, track, settings)
            found.append((track, seen, _moved_to(seen.window, other.window, probability)))
    return found


def _see(inpainter: Inpainter, frame: np.ndarray, track: Track, settings: Settings) -> Seen:
    """The inpainter's square of a face. ValueError where it lies outside of the frame."""
    return _seen(frame, track, inpainter.size, inpainter.template, settings)


def _for_segmenter(
    segmenter: Segmenter,
    inpainter: Inpainter,
    frame: np.ndarray,
    track: Track,
    seen: Seen,
    settings: Settings,
) -> Seen:
    """The same square where the segmenter takes it, one of its own where it was trained otherwise.
    The inpainter's own square follows the landmarks that are seen, which suits segmenters too."""
    size, template = segmenter.size, segmenter.template
    if (size, template) == (inpainter.size, inpainter.template):
        return seen
    return _seen(frame, track, size, template, settings)


def _seen(frame: np.ndarray, track: Track, size: int, template: str, settings: Settings) -> Seen:
    points, hidden = track.face.points, track.hidden or ()
    matrix = alignment_matrix(points, size, template, settings.alignment, hidden)
    window = AlignedWindow(matrix, size, frame.shape[:2])
    return Seen(window, window.glance(frame))


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
    mask = ((distance <= radius) & (depth > 0)).astype(np.uint8)
    weight = mask.astype(np.float32)
    if settings.blend in SOFT:
        weight *= feather_weight(distance, depth, radius)
    ratio = float(mask.sum() / max(1, (depth > 0).sum()))
    work = FaceWork(track.face, seen.window, mask, weight, ratio)
    if not mask.any():
        work.notices.append(f"{BARE}: it stays as it is")
    return SquareWork(track, seen, square, work, np.minimum(distance, 2 * radius + 2), radius)


def _redraw(
    inpainter: Inpainter,
    chunk: list[SquareWork],
    works: list[SquareWork],
    tracker: FaceTracker,
    settings: Settings,
    result: Restoration,
) -> None:
    """Redraw the covered faces of a chunk of all works, and put them into `result`."""
    todo = [each for each in chunk if each.work.todo]
    holes = {id(each): _hidden(each, works) for each in todo}
    with result.timing("inpaint"):
        predictions, doubts = _predict(inpainter, todo, holes, settings.uncertainty)
    with result.timing("paste"):
        answers = iter(zip(predictions, doubts, strict=True))
        for each in chunk:
            work, view = each.work, each.seen.view
            after = view
            if work.todo:
                prediction, doubt = next(answers)
                drawn = _joined(each, prediction, holes[id(each)], tracker, settings)
                _put_back(each, drawn, doubt, result)
                levels = np.rint(drawn * 255).astype(np.uint8)
                after = np.where(work.mask[..., None] > 0, levels, view)
            result.faces.append(
                FaceResult(
                    work.face, view, work.mask, after, work.ratio, work.window.matrix,
                    work.notices, work.todo,
                )
            )  # fmt: skip


def _hidden(each: SquareWork, works: list[SquareWork]) -> np.ndarray:
    """What of a face's square no inpainter that hides holes may see: its own mask, and those of
    faces beside it. uint8 {0, 1} (S, S)."""
    hidden = each.work.mask.copy()
    for other in works:
        if other is not each and other.work.todo:
            mask = other.work.mask.astype(np.float32)
            hidden |= (_moved_to(each.seen.window, other.seen.window, mask) > 0).astype(np.uint8)
    return hidden


def _predict(
    inpainter: Inpainter, todo: list[SquareWork], holes: dict[int, np.ndarray], doubting: bool
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The redrawn squares, float32 (S, S, 3) in [0, 1], and with `doubting` how unsure they are."""
    if not todo:
        return [], []
    picture = to_tensor(np.stack([each.seen.view for each in todo]))
    hidden = [holes[id(each)] for each in todo]
    if inpainter.hides:  # what lies beyond the frame is unknown too
        hidden = [h | each.seen.window.beyond() for h, each in zip(hidden, todo, strict=True)]
    hole = to_tensor(np.stack(hidden))
    prediction, doubt = predict(inpainter, inpainter.show(picture, hole), hole, doubting)
    drawn = [np.ascontiguousarray(each.movedim(0, -1).numpy()) for each in prediction]
    size = inpainter.size
    return drawn, [np.zeros((size, size), np.float32)] * len(todo) if doubt is None else list(
        doubt.numpy()
    )


def _joined(
    each: SquareWork,
    prediction: np.ndarray,
    hidden: np.ndarray,
    tracker: FaceTracker,
    settings: Settings,
) -> np.ndarray:
    """The prediction smoothed over time, with the colours around it or the true pixels beside it:
    float32 (S, S, 3)."""
    view, mask = each.seen.view, each.work.mask
    drawn = each.track.smooth_drawn(prediction, view, 1 - hidden, tracker.drawn)
    if settings.blend in COLOURED:
        inside = (each.square.depth(each.square.box) > 0).astype(np.uint8)
        gap = GAP * each.square.side if settings.blend == "matched" else 0
        known, unknown = (1 - dilate(hidden, gap)) * inside, dilate(mask, gap) * inside
        matched = _matched(view, drawn, unknown, known)
        if matched is not None:
            return matched
        each.work.notices.append("no known pixels around the mask: pasted without blending")
    return np.where(mask[..., None] > 0, drawn, view.astype(np.float32) / 255)


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


def _put_back(each: SquareWork, drawn: np.ndarray, doubt: np.ndarray, result: Restoration) -> None:
    """Paste one face into the frame, working only on the rows and columns its mask spans."""
    window = each.seen.window
    box = _spanned(window, each.work.mask)
    outer = np.s_[box[0] : box[2], box[1] : box[3]]
    near = window.spread(each.distance, box) <= max(each.radius, 0.5)
    mask = (near & (window.depth(box) > 0)).astype(np.uint8)
    weight = window.spread(each.work.weight, box).clip(0, 1)
    paste(result.restored[outer], window.spread(drawn, box), mask, weight)
    result.mask[outer] |= mask
    if result.uncertainty is not None:
        hole = mask.astype(bool)
        result.uncertainty[outer][hole] = window.spread(doubt, box).clip(0, 1)[hole]


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
