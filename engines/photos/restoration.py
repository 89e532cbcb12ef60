"""What restoring a photo gives back."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from deocclude.engines.inference.hole_mask import Box, slices_of
from deocclude.engines.photos.blend import paste
from deocclude.engines.photos.face import Face

STAGES = ("detect", "align", "segment", "inpaint", "paste")
NO_FACE = "no face found"  # how the notices begin that say so
UNCHANGED = "nothing was redrawn"
BARE = "nothing covers this face"
Timing = Callable[[str], AbstractContextManager[None]]  # adds a `with` block's time to a stage


@contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Add the time of a `with` block to a stage's seconds."""
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds[stage] += time.perf_counter() - start


@dataclass
class FaceResult:
    """One face: its square as the inpainter's template has it, before and after.

    Shapes, S = the inpainter's size: aligned and aligned_restored uint8 (S, S, 3), aligned_mask
    uint8 (S, S) {0, 1}. `matrix` (2, 3) takes photo coordinates, edge to edge, to the square.
    `hole_ratio` is the mask's share of the square's part inside the photo. Where nothing was
    redrawn, `restored` is False, aligned_restored equals aligned, and a notice says why.
    """

    face: Face
    aligned: np.ndarray
    aligned_mask: np.ndarray
    aligned_restored: np.ndarray
    hole_ratio: float
    matrix: np.ndarray
    notices: list[str] = field(default_factory=list)
    restored: bool = False


class Patch(NamedTuple):
    """What is to be put into a photo over `box`: redrawn pixels, float32 (h, w, 3) in [0, 1], where
    the mask is 1, uint8 (h, w), by their weight in [0, 1], float32 (h, w). `doubt`: how unsure the
    inpainter is, float32 (h, w), None where that was not asked."""

    box: Box
    pixels: np.ndarray
    mask: np.ndarray
    weight: np.ndarray
    doubt: np.ndarray | None = None
    notices: Iterable[str] = ()


@dataclass
class Restoration:
    """A photo after restoring.

    Shapes: restored uint8 (H, W, 3); mask uint8 (H, W) {0, 1}, what was redrawn, dilation
    included: outside of it `restored` equals the photo bit for bit; uncertainty float32 (H, W) in
    [0, 1], how unsure the inpainter is (engines.inference.networks), 0 outside the mask. `seconds`
    by stage. When nothing was redrawn `changed` is False and a notice says why. `left_out`: how
    many faces could not be placed.
    """

    restored: np.ndarray
    mask: np.ndarray
    faces: list[FaceResult] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    uncertainty: np.ndarray | None = None
    left_out: int = 0

    @classmethod
    def begun(cls, image: np.ndarray, doubting: bool = False) -> "Restoration":
        """The photo as it is, nothing redrawn yet."""
        shape = image.shape[:2]
        uncertainty = np.zeros(shape, np.float32) if doubting else None
        return cls(image.copy(), np.zeros(shape, np.uint8), uncertainty=uncertainty)

    def put(self, face: FaceResult | None, patch: Patch | None) -> None:
        """Take in what became of a face, None for more of one that is there already, and paste what
        was redrawn of it."""
        if face is not None:
            self.faces.append(face)
        if patch is None:
            return
        with self.timing("paste"):
            part, hole = slices_of(patch.box), patch.mask.astype(bool)
            paste(self.restored[part], patch.pixels, patch.mask, patch.weight)
            self.mask[part] |= patch.mask
            if self.uncertainty is not None and patch.doubt is not None:
                self.uncertainty[part][hole] = patch.doubt.clip(0, 1)[hole]

    def leave_out(self, notices: list[str]) -> None:
        """Say of so many faces that they could not be placed."""
        self.notices += notices
        self.left_out += len(notices)

    @property
    def gave_up(self) -> bool:
        """Whether nothing was redrawn though a face is covered, or though none could be placed."""
        covered = any(face.hole_ratio > 0 for face in self.faces)
        return not self.changed and (covered or (self.left_out > 0 and not self.faces))

    @property
    def faceless(self) -> bool:
        """Whether nothing was redrawn because there is no face."""
        return not (self.changed or self.faces or self.left_out)

    @property
    def changed(self) -> bool:
        """Whether anything was redrawn."""
        return bool(self.mask.any())

    @property
    def hole_ratio(self) -> float:
        """Share of the photo that was redrawn."""
        return float(self.mask.mean())

    def concluded(self) -> "Restoration":
        """Itself, with a notice where nothing was redrawn."""
        if not self.changed:
            why = (
                f"{NO_FACE}: {UNCHANGED}"
                if self.faceless
                else f"{UNCHANGED}: the photo is unchanged"
            )
            self.notices = [*(text for text in self.notices if text != NO_FACE), why]
        return self

    def timing(self, stage: str) -> AbstractContextManager[None]:
        """Add the time of a `with` block to the stage."""
        return timed(self.seconds, stage)
