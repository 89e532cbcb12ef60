"""Restoring the faces of one photo: find the mask, align, redraw.

Each step takes values and returns values; `engines.photos.deoccluder.Deoccluder.restore` takes one
after the other and puts their answers together.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

import numpy as np
import torch

from deocclude.data.contract import compose
from deocclude.data.images import to_tensor, to_uint8
from deocclude.engines.inference.hole_mask import (
    Dilation,
    dilate,
    distance_to,
    hole_mask,
    move,
    slices_of,
)
from deocclude.engines.inference.networks import Inpainter, Segmenter
from deocclude.engines.photos.blend import GAP, feather_weight, match_surroundings
from deocclude.engines.photos.face import Face
from deocclude.engines.photos.grain import grain, lay
from deocclude.engines.photos.restoration import BARE, FaceResult, Patch, Timing
from deocclude.engines.photos.wide_window import FOLLOWED, Found, follow, widened
from deocclude.engines.photos.windows import (
    AUTO,
    AlignedWindow,
    alignment_matrix,
    choose_window,
    landmarks_under,
    paste_enlarged,
    put_enlarged,
    shrink_to_square,
)

NOTHING_LEFT = 0.95  # share of a face's square above which nothing is left to restore it from
BORDER = 0.1  # of the mask's extent: what COLOURED sees around it
AMID = 0.1  # of a square's side: known pixels that far inside are those of the face
SOFT, COLOURED = ("matched", "feather"), ("matched", "poisson")  # of engines.photos.blend.BLENDS
UNMATCHED = "no known pixels around the mask: pasted without blending"
TOO_MUCH = "too much of this face is covered to align it; redrawn from the photo"
Item = TypeVar("Item")
Made = TypeVar("Made")
Work = TypeVar("Work", bound="FaceWork")


class Settings(NamedTuple):
    """How a photo is restored; the meaning is that of `Deoccluder.restore`'s arguments."""

    dilate: Dilation = Dilation()
    blend: str = "feather"
    uncertainty: bool = False
    alignment: str = AUTO
    batch: int = 8
    grain: bool = False

    @property
    def gap(self) -> float:
        """Known pixels count for the colours that far from the hole, in sides of the square."""
        return GAP if self.blend == "matched" else 0


@dataclass(frozen=True)
class FaceWork:
    """A face on its way: its window, and over `window.box` the mask and the blending weight.
    `ratio`: the mask's share of the square's part inside the photo."""

    face: Face
    window: AlignedWindow
    mask: np.ndarray
    weight: np.ndarray
    ratio: float
    notices: tuple[str, ...] = ()

    @property
    def hopeless(self) -> bool:
        return self.ratio > NOTHING_LEFT

    @property
    def todo(self) -> bool:
        return self.ratio > 0 and not self.hopeless


class Shown(NamedTuple):
    """What an inpainter is shown of a face: its square as it is, uint8 (S, S, 3), as it is known
    beside the hole, uint8 (S, S), and which part of the hole is told of, `mask`."""

    view: np.ndarray
    known: np.ndarray
    hole: np.ndarray
    mask: np.ndarray


class Settled(NamedTuple):
    """The faces that could be placed, the largest last, and what to say of the others. `wider`:
    windows of faces of which what covers them runs out of the square; no faces of their own."""

    works: list[FaceWork]
    left_out: list[str]
    wider: list[FaceWork]


class LeftOut(ValueError):
    """A face that cannot be placed; the message is for the user."""


def place(
    network: Inpainter | Segmenter,
    face: Face,
    image: np.ndarray,
    alignment: str,
    hidden: Collection[str] = (),
) -> AlignedWindow:
    """A face's window for one of the networks; `hidden` names the landmarks that are covered.
    Raises LeftOut."""
    try:
        matrix = alignment_matrix(face.points, network.size, network.template, alignment, hidden)
        return AlignedWindow(matrix, network.size, image.shape[:2])
    except ValueError as error:
        raise LeftOut(f"a face was left out: {error}") from error


def placed(make: Callable[[Item], Made], items: Iterable[Item]) -> tuple[list[Made], list[str]]:
    """What `make` gives of each that it does not leave out, and what to say of the others."""
    made, left_out = [], []
    for item in items:
        try:
            made.append(make(item))
        except LeftOut as error:
            left_out.append(str(error))
    return made, left_out


def find_masks(
    segmenter: Segmenter,
    image: np.ndarray,
    faces: list[Face],
    settings: Settings,
    timing: Timing,
) -> tuple[list[Found], list[str]]:
    """What covers each face, by the segmenter, and what to say of those that it cannot be shown."""

    def see(face: Face) -> tuple[Face, AlignedWindow, np.ndarray]:
        window = place(segmenter, face, image, settings.alignment)
        return face, window, window.crop(image)[0]

    with timing("align"):
        seen, left_out = placed(see, faces)
    with timing("segment"):
        probabilities = probable(segmenter, [view for *_, view in seen], settings.batch)
        found = [
            Found(face, hole_mask(probability, window), window.box)
            for (face, window, _), probability in zip(seen, probabilities, strict=True)
        ]
        return follow(segmenter, image, found, [window for _, window, _ in seen]), left_out


def probable(segmenter: Segmenter, views: list[np.ndarray], batch: int) -> list[np.ndarray]:
    """How likely each pixel covers the face: uint8 (S, S, 3) each to float32 (S, S)."""
    found: list[np.ndarray] = []
    for start in range(0, len(views), batch):
        pictures = to_tensor(np.stack(views[start : start + batch]))
        found += list(segmenter.probability(pictures)[:, 0].cpu().numpy())
    return found


def settle_found(
    inpainter: Inpainter, image: np.ndarray, found: list[Found], settings: Settings
) -> Settled:
    """Dilated masks and blending weights in the inpainter's windows."""
    wider = []

    def settle(each: Found) -> FaceWork:
        hidden = landmarks_under(each.mask, each.face.points, each.box[:2])
        window = place(inpainter, each.face, image, settings.alignment, hidden)
        radius = settings.dilate.radius(window.side)
        outer = widened(window, each.mask, each.box)
        work = _settle(each, window, radius, settings, goes_on=outer is not None)
        if not work.todo or outer is None:
            return replace(work, notices=untouched(work.ratio))
        outside = window.depth(each.box) <= 1  # with the square's last row
        rest = each._replace(mask=each.mask * outside)
        wider.append(_settle(rest, outer, radius, settings))
        return replace(work, notices=(FOLLOWED, *each.notices))

    works, left_out = placed(settle, found)
    return Settled(_by_size(works), left_out, wider)


def untouched(ratio: float) -> tuple[str, ...]:
    """Why a face stays as it is whose square is covered to that share; empty where it does not."""
    if ratio == 0:
        return (f"{BARE}: it stays as it is",)
    if ratio > NOTHING_LEFT:
        return (
            f"the mask covers {ratio:.0%} of this face's square: nothing is left to restore it "
            "from",
        )
    return ()


def _settle(
    found: Found, window: AlignedWindow, radius: float, settings: Settings, goes_on: bool = False
) -> FaceWork:
    """The part of a found mask inside a window, dilated by `radius` photo pixels. `goes_on`: a
    wider window takes over at the window's edge, so that the weight does not fall towards it."""
    depth = window.depth(window.box)
    core = move(found.mask, found.box, window.box) * (depth > 0)
    edge = np.full_like(depth, np.inf) if goes_on else depth
    return FaceWork(found.face, window, *weighed(distance_to(core), depth, edge, radius, settings))


def weighed(
    distance: np.ndarray, depth: np.ndarray, edge: np.ndarray, radius: float, settings: Settings
) -> tuple[np.ndarray, np.ndarray, float]:
    """The mask of what lies within `radius` inside the square, its blending weight, which falls
    towards `edge`, and its share of the square. Shape: `distance` from what covers the face and
    `depth` inside the square, float32 (h, w), in pixels."""
    inside = depth > 0
    mask = ((distance <= radius) & inside).astype(np.uint8)
    weight = mask.astype(np.float32)
    if settings.blend in SOFT:
        weight *= feather_weight(distance, edge, radius)
    return mask, weight, float(mask.sum() / max(1, inside.sum()))


def settle_given(
    inpainter: Inpainter,
    image: np.ndarray,
    faces: list[Face],
    mask: np.ndarray,
    core: np.ndarray,
    settings: Settings,
) -> Settled:
    """Each face's part of a given mask. Shape: mask, dilated, and core, as given: uint8 (H, W)."""
    radius = settings.dilate.pixels

    def settle(face: Face) -> FaceWork:
        hidden = landmarks_under(core, face.points)
        window = place(inpainter, face, image, settings.alignment, hidden)
        part, inside = slices_of(window.box), window.depth(window.box) > 0
        own = mask[part] * inside
        weight = own.astype(np.float32)
        if settings.blend in SOFT and radius:
            distance = distance_to(core[part])
            weight *= feather_weight(distance, np.full_like(distance, np.inf), radius)
        ratio = float(own.sum() / max(1, inside.sum()))
        work = FaceWork(face, window, own, weight, ratio)
        if ratio == 0:
            return replace(work, notices=("the mask does not touch this face",))
        return replace(work, notices=(TOO_MUCH,)) if work.hopeless else work

    works, left_out = placed(settle, faces)
    return Settled(_by_size(works), left_out, [])


def _by_size(works: list[FaceWork]) -> list[FaceWork]:
    return sorted(works, key=lambda work: work.window.side)


def together(works: list[FaceWork], shape: tuple[int, ...]) -> np.ndarray:
    """The masks of all works that are to do: uint8 {0, 1} (H, W)."""
    hidden = np.zeros(shape[:2], np.uint8)
    for work in works:
        if work.todo:
            hidden[slices_of(work.window.box)] |= work.mask
    return hidden


def redraw_faces(
    inpainter: Inpainter,
    image: np.ndarray,
    works: list[FaceWork],
    hidden: np.ndarray,
    settings: Settings,
    timing: Timing,
) -> Iterator[tuple[FaceResult, Patch | None]]:
    """As `redraw`. `hidden`: uint8 (H, W), what no inpainter that hides holes may see, and what is
    never taken for known."""

    def show(work: FaceWork) -> Shown:
        view, bare = work.window.crop(image)
        known, hole = work.window.crop(image, hidden) if work.todo else (view, bare)
        return Shown(view, known, hole, hole)

    def draw(
        work: FaceWork, shown: Shown, prediction: torch.Tensor, doubt: np.ndarray | None
    ) -> tuple[np.ndarray, Patch]:
        whole = _composed(prediction, shown)
        answer = prediction if settings.blend in COLOURED else whole
        patch = _patch(work, answer, doubt, image, hidden, settings)
        return np.where(shown.hole[..., None] > 0, to_uint8(whole), shown.view), patch

    return redraw(inpainter, works, settings, timing, show, draw)


def redraw(
    inpainter: Inpainter,
    works: list[Work],
    settings: Settings,
    timing: Timing,
    show: Callable[[Work], Shown],
    draw: Callable[[Work, Shown, torch.Tensor, np.ndarray | None], tuple[np.ndarray, Patch]],
) -> Iterator[tuple[FaceResult, Patch | None]]:
    """What becomes of each face, and of one that is to do the patch that is to be put into the
    photo before the next one is asked for.

    `show`: of each face what an inpainter is shown. `draw`: of its prediction, and of how unsure
    that is, the square afterwards, uint8 (S, S, 3), and the patch.
    """
    for start in range(0, len(works), settings.batch):
        chunk = works[start : start + settings.batch]
        with timing("align"):
            both = [(work, show(work)) for work in chunk]
        with timing("inpaint"):
            todo = [(shown, work.window.beyond()) for work, shown in both if work.todo]
            answers = iter(predict(inpainter, todo, settings.uncertainty))
        for work, shown in both:
            after, patch, notices = shown.view, None, list(work.notices)
            if work.todo:
                with timing("paste"):
                    after, patch = draw(work, shown, *next(answers))
                    notices += patch.notices
            yield FaceResult(
                work.face, shown.view, shown.mask, after, work.ratio, work.window.matrix, notices,
                work.todo,
            ), patch  # fmt: skip


def predict(
    inpainter: Inpainter, todo: list[tuple[Shown, np.ndarray]], doubting: bool
) -> list[tuple[torch.Tensor, np.ndarray | None]]:
    """Predictions (3, S, S) on the CPU in [0, 1], and with `doubting` how unsure they are, (S, S).

    `todo`: what is shown, and where it shows nothing of the photo, uint8 (S, S); for an inpainter
    that hides holes that is hole too. (The photo's border drawn out, as known, misled it:
    docs/results/photographs.md.) ValueError when anything is not finite.
    """
    if not todo:
        return []
    pictures = [shown.known if inpainter.hides else shown.view for shown, _ in todo]
    hole = to_tensor(np.stack([shown.hole for shown, _ in todo]))
    if inpainter.hides:
        hole = torch.maximum(hole, to_tensor(np.stack([beyond for _, beyond in todo])))
    occluded = inpainter.show(to_tensor(np.stack(pictures)), hole)
    answers: tuple[torch.Tensor, ...] = (
        inpainter.restore_with_doubt(occluded, hole)
        if doubting
        else (inpainter.restore(occluded, hole),)
    )
    if not all(part.isfinite().all() for part in answers):
        raise ValueError("the inpainter's prediction holds values that are not finite")
    prediction, *doubt = (part.cpu().clamp(0, 1) for part in answers)
    unsure = list(doubt[0][:, 0].numpy()) if doubt else [None] * len(todo)
    return list(zip(prediction, unsure, strict=True))


def _patch(
    work: FaceWork,
    drawn: torch.Tensor,
    doubt: np.ndarray | None,
    image: np.ndarray,
    hidden: np.ndarray,
    settings: Settings,
) -> Patch:
    """One face in the photo's pixels, only the rows and columns that its mask spans."""
    window, coloured = work.window, settings.blend in COLOURED
    inner = rows, columns = around(work.mask, BORDER if coloured else 0)
    top, left = window.box[:2]
    box = top + rows.start, left + columns.start, top + rows.stop, left + columns.stop
    mask, outer, notices = work.mask[inner], slices_of(box), []
    pixels = window.spread(channels_last(drawn), box)
    if coloured:
        inside, gap = window.depth(box) > 0, settings.gap * window.side
        known, unknown = (1 - dilate(hidden[outer], gap)) * inside, dilate(mask, gap) * inside
        matched = match_surroundings(image[outer], pixels, unknown, known)
        notices = [UNMATCHED] if matched is None else []
        pixels = pixels if matched is None else matched
    if settings.grain:
        amid = window.depth(window.box) > AMID * window.side
        known = (1 - hidden[slices_of(window.box)]) * amid
        added = grain(image[slices_of(window.box)], known, pixels, mask, 1 / window.scale)
        if added is not None:
            lay(added, pixels)
    doubt = None if doubt is None else window.spread(doubt, box)
    return Patch(box, pixels, mask, work.weight[inner], doubt, notices)


def redraw_photo(
    inpainter: Inpainter, image: np.ndarray, mask: np.ndarray, doubting: bool = False
) -> tuple[np.ndarray, np.ndarray | None]:
    """The photo with its hole redrawn as `Deoccluder.restore_photo` says, and with `doubting` how
    unsure the inpainter is, float32 (H, W), 0 outside of the hole."""
    top, left, height, width = choose_window(mask)
    window = np.s_[top : top + height, left : left + width]
    known, hole, (rows, columns) = shrink_to_square(image[window], mask[window], inpainter.size)
    view = known
    if not inpainter.hides:
        view, _, _ = shrink_to_square(image[window], None, inpainter.size)
    shown = Shown(view, known, hole, hole)
    ((prediction, doubt),) = predict(inpainter, [(shown, np.zeros_like(hole))], doubting)
    whole = _composed(prediction, shown)[:, rows, columns].numpy()
    restored = image.copy()
    paste_enlarged(restored[window], whole, mask[window])
    if doubt is None:
        return restored, None
    uncertainty = np.zeros(mask.shape, np.float32)
    put_enlarged(uncertainty[window], doubt[rows, columns], mask[window])
    return restored, uncertainty


def _composed(prediction: torch.Tensor, shown: Shown) -> torch.Tensor:
    """The prediction in the hole of what is known: (3, S, S)."""
    known, hole = (to_tensor(each)[None] for each in (shown.known, shown.hole))
    return compose(prediction[None], known, hole)[0]


def channels_last(picture: torch.Tensor) -> np.ndarray:
    """(3, S, S) to (S, S, 3)."""
    return np.ascontiguousarray(picture.movedim(0, -1).numpy())


def around(mask: np.ndarray, border: float) -> tuple[slice, slice]:
    """Rows and columns of a mask's bounding box, with a border of that share of its extent, and 2
    pixels more, on each side; without one for 0."""
    found = []
    for axis in (1, 0):
        marked = np.flatnonzero(mask.any(axis))
        extra = int(np.ceil(border * (marked[-1] + 1 - marked[0]))) + 2 * (border > 0)
        low, high = int(marked[0]) - extra, int(marked[-1]) + 1 + extra
        found.append(slice(max(0, low), min(mask.shape[1 - axis], high)))
    return found[0], found[1]
