"""Restoring the faces of one photo: find the mask, align, redraw, put back.

`engines.photos.deoccluder.Deoccluder.restore` takes these steps, one after the other.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch

from deocclude.data.contract import compose
from deocclude.data.images import to_tensor, to_uint8
from deocclude.engines.inference.hole_mask import (
    Box,
    Dilation,
    dilate,
    distance_to,
    hole_mask,
    move,
)
from deocclude.engines.inference.networks import Inpainter, Segmenter
from deocclude.engines.photos.blend import GAP, feather_weight, match_surroundings, paste
from deocclude.engines.photos.face import Face
from deocclude.engines.photos.grain import grain, lay
from deocclude.engines.photos.restoration import BARE, FaceResult, Restoration
from deocclude.engines.photos.wide_window import FOLLOWED, Found, follow, widened
from deocclude.engines.photos.windows import AUTO, AlignedWindow, alignment_matrix, landmarks_under

NOTHING_LEFT = 0.95  # share of a face's square above which nothing is left to restore it from
BORDER = 0.1  # of the mask's extent: what COLOURED sees around it
AMID = 0.1  # of a square's side: known pixels that far inside are those of the face
SOFT, COLOURED = ("matched", "feather"), ("matched", "poisson")  # of engines.photos.blend.BLENDS


class Settings(NamedTuple):
    """How a photo is restored; the meaning is that of `Deoccluder.restore`'s arguments."""

    dilate: Dilation = Dilation()
    blend: str = "feather"
    uncertainty: bool = False
    alignment: str = AUTO
    batch: int = 8
    grain: bool = False


@dataclass
class FaceWork:
    """A face on its way: its window, and over `window.box` the mask and the blending weight.

    `given`: the mask is the user's, and what no face takes is redrawn from the photo. `beyond`:
    a wider window of a face, for what covers it beyond its square; it is no face of its own.
    """

    face: Face
    window: AlignedWindow
    mask: np.ndarray
    weight: np.ndarray
    ratio: float
    notices: list[str] = field(default_factory=list)
    given: bool = False
    beyond: bool = False

    def __post_init__(self) -> None:
        if self.hopeless and self.given:
            self.notices.append(
                "too much of this face is covered to align it; redrawn from the photo"
            )
        elif self.hopeless:
            self.notices.append(
                f"the mask covers {self.ratio:.0%} of this face's square: nothing is left to "
                "restore it from"
            )

    @property
    def hopeless(self) -> bool:
        return self.ratio > NOTHING_LEFT

    @property
    def todo(self) -> bool:
        return self.ratio > 0 and not self.hopeless

    @property
    def part(self) -> tuple[slice, slice]:
        top, left, bottom, right = self.window.box
        return np.s_[top:bottom, left:right]


def find_masks(
    segmenter: Segmenter,
    image: np.ndarray,
    faces: list[Face],
    settings: Settings,
    result: Restoration,
) -> list[Found]:
    """Let the segmenter mark what covers each face."""
    with result.timing("align"):
        opened = [_open(segmenter, face, image, (), settings, result) for face in faces]
        faces = [face for face, window in zip(faces, opened, strict=True) if window]
        windows = [window for window in opened if window]
        crops = [window.crop(image)[0] for window in windows]
    with result.timing("segment"):
        probabilities = []
        for start in range(0, len(crops), settings.batch):
            seen = to_tensor(np.stack(crops[start : start + settings.batch]))
            probabilities += list(segmenter.probability(seen)[:, 0].cpu().numpy())
        found = [
            Found(face, hole_mask(probability, window), window.box)
            for face, window, probability in zip(faces, windows, probabilities, strict=True)
        ]
        return follow(segmenter, image, found, windows)


def _open(
    network: Inpainter | Segmenter,
    face: Face,
    image: np.ndarray,
    hidden: Collection[str],
    settings: Settings,
    result: Restoration,
) -> AlignedWindow | None:
    """The face's window for one of the networks; None, with a notice, when there is none."""
    size, template = network.size, network.template
    try:
        matrix = alignment_matrix(face.points, size, template, settings.alignment, hidden)
        return AlignedWindow(matrix, size, image.shape[:2])
    except ValueError as error:
        result.notices.append(f"a face was left out: {error}")
        result.left_out += 1
        return None


def settle_found(
    inpainter: Inpainter,
    image: np.ndarray,
    found: list[Found],
    settings: Settings,
    result: Restoration,
) -> list[FaceWork]:
    """Dilated masks and blending weights in the inpainter's windows, the largest face last; after
    all of them the wider windows of those whose mask runs out of the square."""
    works, wider = [], []
    for each in found:
        hidden = landmarks_under(each.mask, each.face.points, each.box[:2])
        window = _open(inpainter, each.face, image, hidden, settings, result)
        if window is None:
            continue
        radius = settings.dilate.radius(window.side)
        outer = widened(window, each.mask, each.box)
        work = _settle(each, window, radius, settings, goes_on=outer is not None)
        works.append(work)
        if not work.mask.any():
            work.notices.append(f"{BARE}: it stays as it is")
        elif work.todo and outer:
            outside = window.depth(each.box) <= 1  # with the square's last row
            rest = each._replace(mask=each.mask * outside)
            wider.append(_settle(rest, outer, radius, settings))
            wider[-1].beyond = True
            work.notices += [FOLLOWED, *each.notices]
    return sorted(works, key=lambda work: work.window.side) + wider


def _settle(
    found: Found, window: AlignedWindow, radius: float, settings: Settings, goes_on: bool = False
) -> FaceWork:
    """The part of a found mask inside a window, dilated by `radius` photo pixels. `goes_on`: a
    wider window takes over at the window's edge, so that the weight does not fall towards it."""
    depth = window.depth(window.box)
    inside = depth > 0
    core = move(found.mask, found.box, window.box) * inside
    distance = distance_to(core)
    wide = ((distance <= radius) & inside).astype(np.uint8)
    weight = wide.astype(np.float32)
    if settings.blend in SOFT:
        edge = np.full_like(depth, np.inf) if goes_on else depth
        weight *= feather_weight(distance, edge, radius)
    return FaceWork(found.face, window, wide, weight, _share(wide, inside))


def settle_given(
    inpainter: Inpainter,
    image: np.ndarray,
    faces: list[Face],
    mask: np.ndarray,
    core: np.ndarray,
    settings: Settings,
    result: Restoration,
) -> list[FaceWork]:
    """Each face's part of a given mask, the largest face last.

    Shape: mask, dilated, and core, as given: uint8 (H, W).
    """
    works, radius = [], settings.dilate.pixels
    for face in faces:
        hidden = landmarks_under(core, face.points)
        window = _open(inpainter, face, image, hidden, settings, result)
        if window is None:
            continue
        top, left, bottom, right = window.box
        part = np.s_[top:bottom, left:right]
        inside = window.depth(window.box) > 0
        own = mask[part] * inside
        weight = own.astype(np.float32)
        if settings.blend in SOFT and radius:
            distance = distance_to(core[part])
            weight *= feather_weight(distance, np.full_like(distance, np.inf), radius)
        work = FaceWork(face, window, own, weight, _share(own, inside), given=True)
        if not own.any():
            work.notices.append("the mask does not touch this face")
        works.append(work)
    return sorted(works, key=lambda work: work.window.side)


def _share(mask: np.ndarray, inside: np.ndarray) -> float:
    return float(mask.sum() / max(1, inside.sum()))


def redraw(
    inpainter: Inpainter,
    image: np.ndarray,
    works: list[FaceWork],
    settings: Settings,
    result: Restoration,
    hidden: np.ndarray | None = None,
) -> None:
    """Inpaint every face that has a mask and put it into `result`, one after the other.

    What lies beyond the faces' squares comes last, when the redrawn faces are known: one picture
    goes on from the other. `hidden`: uint8 (H, W), what no inpainter that hides holes may see, and
    what is never taken for known; by default all faces' masks together.
    """
    own = [work for work in works if not work.beyond]
    beyond = [work for work in works if work.beyond]
    hidden = _together(works, image) if hidden is None else hidden
    _redraw(inpainter, image, own, settings, result, hidden)
    if beyond:
        _redraw(inpainter, result.restored, beyond, settings, result, _together(beyond, image))


def _together(works: list[FaceWork], image: np.ndarray) -> np.ndarray:
    """The masks of all works that are to do: uint8 {0, 1} (H, W)."""
    hidden = np.zeros(image.shape[:2], np.uint8)
    for work in works:
        if work.todo:
            hidden[work.part] |= work.mask
    return hidden


def _redraw(
    inpainter: Inpainter,
    image: np.ndarray,
    works: list[FaceWork],
    settings: Settings,
    result: Restoration,
    hidden: np.ndarray,
) -> None:
    for start in range(0, len(works), settings.batch):
        chunk = works[start : start + settings.batch]
        with result.timing("align"):
            views = [work.window.crop(image)[0] for work in chunk]
            crops = [
                work.window.crop(image, hidden)
                if work.todo
                else (view, np.zeros_like(view[..., 0]))
                for work, view in zip(chunk, views, strict=True)
            ]
        with result.timing("inpaint"):
            nothing = [work.window.beyond() * work.todo for work in chunk]
            predictions, doubts = _predict(inpainter, crops, views, nothing, settings.uncertainty)
        with result.timing("paste"):
            for work, view, crop, prediction, doubt in zip(
                chunk, views, crops, predictions, doubts, strict=True
            ):
                known, hole = (to_tensor(array)[None] for array in crop)
                composed = compose(prediction[None], known, hole)[0]
                if work.todo:
                    drawn = prediction if settings.blend in COLOURED else composed
                    _put_back(work, drawn, doubt, image, hidden, settings, result)
                if work.beyond:
                    continue
                after = np.where(crop[1][..., None] > 0, to_uint8(composed), view)
                result.faces.append(
                    FaceResult(
                        work.face, view, crop[1], after, work.ratio, work.window.matrix,
                        work.notices, work.todo,
                    )
                )  # fmt: skip


def _predict(
    inpainter: Inpainter, crops: list, views: list, beyond: list, doubting: bool
) -> tuple[torch.Tensor, np.ndarray]:
    """Predictions (N, 3, S, S) of the crops with a hole, and with `doubting` how unsure they are.

    `views`: the same squares as they are, for an inpainter that is shown what covers a face.
    `beyond`: where they show nothing of the photo; for an inpainter that hides holes that is hole
    too. (The photo's border drawn out, as known, misled it: docs/results/photographs.md.)
    """
    known = to_tensor(np.stack([crop for crop, _ in crops]))
    holes = to_tensor(np.stack([hole for _, hole in crops]))
    todo = holes.flatten(1).any(1)
    if inpainter.hides:
        holes = torch.maximum(holes, to_tensor(np.stack(beyond)))
    predictions, doubts = known.clone(), torch.zeros_like(holes[:, 0])
    if todo.any():
        picture = known if inpainter.hides else to_tensor(np.stack(views))
        occluded, hole = inpainter.show(picture, holes)[todo], holes[todo]
        predictions[todo], found = predict(inpainter, occluded, hole, doubting)
        if found is not None:
            doubts[todo] = found
    return predictions, doubts.numpy()


def predict(
    inpainter: Inpainter, occluded: torch.Tensor, hole: torch.Tensor, doubting: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """On the CPU in [0, 1]: the prediction (N, 3, S, S), and how unsure it is, (N, S, S).

    None for that without `doubting`. ValueError when anything is not finite.
    """
    if doubting:
        prediction, doubt = inpainter.restore_with_doubt(occluded, hole)
    else:
        prediction, doubt = inpainter.restore(occluded, hole), None
    if not all(part.isfinite().all() for part in (prediction, doubt) if part is not None):
        raise ValueError("the inpainter's prediction holds values that are not finite")
    return prediction.cpu().clamp(0, 1), doubt if doubt is None else doubt[:, 0].cpu().clamp(0, 1)


def _put_back(
    work: FaceWork,
    drawn: torch.Tensor,
    doubt: np.ndarray,
    image: np.ndarray,
    hidden: np.ndarray,
    settings: Settings,
    result: Restoration,
) -> None:
    """Paste one face into the photo, working only on the rows and columns its mask spans."""
    inner, box = _around_mask(work, BORDER if settings.blend in COLOURED else 0)
    outer = np.s_[box[0] : box[2], box[1] : box[3]]
    mask = work.mask[inner]
    redrawn = work.window.spread(np.ascontiguousarray(drawn.movedim(0, -1).numpy()), box)
    if settings.blend in COLOURED:
        gap = GAP * work.window.side if settings.blend == "matched" else 0
        known = (1 - dilate(hidden[outer], gap)) * (work.window.depth(box) > 0)
        unknown = dilate(mask, gap) * (work.window.depth(box) > 0)
        matched = match_surroundings(
            image[outer], redrawn, unknown.astype(np.uint8), known.astype(np.uint8)
        )
        if matched is None:
            work.notices.append("no known pixels around the mask: pasted without blending")
        else:
            redrawn = matched
    if settings.grain:
        amid = work.window.depth(work.window.box) > AMID * work.window.side
        known = (1 - hidden[work.part]) * amid
        added = grain(image[work.part], known, redrawn, mask, 1 / work.window.scale)
        if added is not None:
            lay(added, redrawn)
    paste(result.restored[outer], redrawn, mask, work.weight[inner])
    result.mask[outer] |= mask
    if result.uncertainty is not None:
        hole = mask.astype(bool)
        result.uncertainty[outer][hole] = work.window.spread(doubt, box).clip(0, 1)[hole]


def _around_mask(work: FaceWork, border: float) -> tuple[tuple[slice, slice], Box]:
    """The mask's bounding box with a border, as slices of the window's box and in the photo."""
    rows, columns = around(work.mask, border)
    top, left = work.window.box[:2]
    box = top + rows.start, left + columns.start, top + rows.stop, left + columns.stop
    return (rows, columns), box


def around(mask: np.ndarray, border: float) -> tuple[slice, slice]:
    """Rows and columns of a mask's bounding box, with a border of that share of its extent, and 2
    pixels more, on each side; without one for 0."""
    slices = []
    for axis in (1, 0):
        marked = np.flatnonzero(mask.any(axis))
        extra = int(np.ceil(border * (marked[-1] + 1 - marked[0]))) + 2 * (border > 0)
        low, high = int(marked[0]) - extra, int(marked[-1]) + 1 + extra
        slices.append(slice(max(0, low), min(mask.shape[1 - axis], high)))
    return slices[0], slices[1]
