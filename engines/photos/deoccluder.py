"""A photo in, the restored photo out: face by face, or without one from the whole photo."""

import logging
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deocclude.engines.inference.backends import TORCH, Say
from deocclude.engines.inference.hole_mask import Dilation, slices_of
from deocclude.engines.inference.hole_mask import dilate as dilate_mask
from deocclude.engines.inference.networks import (
    Inpainter,
    Segmenter,
    read_inpainter,
    read_segmenter,
)
from deocclude.engines.photos.blend import check_blend
from deocclude.engines.photos.detection import FaceDetector
from deocclude.engines.photos.face import Face
from deocclude.engines.photos.restoration import NO_FACE, Restoration, Timing
from deocclude.engines.photos.steps import (
    FaceWork,
    Settings,
    Settled,
    find_masks,
    redraw_faces,
    redraw_photo,
    settle_found,
    settle_given,
    together,
)
from deocclude.engines.photos.windows import AUTO, check_image, check_photo

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Deoccluder:
    """Networks that restore photos. `dataclasses.replace` gives one that does it otherwise.

    Parameters
    ----------
    inpainter : redraws what covers a face.
    segmenter : finds the mask when none is given.
    detector : finds the faces; by default as `FaceDetector()` does.
    alignment : the landmarks that place a face, one of engines.photos.windows.ALIGNMENTS, or
        "auto": what suits the landmarks that are covered.
    dilate : by how many photo pixels a found mask is dilated, or by how much of the face's square,
        "5%"; None: engines.inference.hole_mask.DILATION of it.
    batch : how many faces of a photo the networks see at once.
    """

    inpainter: Inpainter
    segmenter: Segmenter | None = None
    detector: FaceDetector = field(default_factory=FaceDetector)
    alignment: str = AUTO
    dilate: float | str | None = None
    batch: int = 8

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ValueError(f"batch: must be at least 1 face, found {self.batch}")

    def restore(
        self,
        image: np.ndarray,
        mask: np.ndarray | None = None,
        faces: list[Face] | None = None,
        *,
        dilate: float | str | None = None,
        blend: str = "feather",
        uncertainty: bool = False,
        grain: bool = False,
    ) -> Restoration:
        """Find the faces of a photo, find what covers them, and redraw it.

        Shape: image uint8 (H, W, 3), mask uint8 (H, W) of {0, 1} or None.

        Without `mask` the segmenter finds one in each face's square; it is dilated by `dilate`
        photo pixels, or by a percentage of that square, "5%". A given mask is redrawn as it is,
        dilated only if `dilate` is given, in pixels: each face takes the part in its square, what
        no face takes is redrawn by `restore_photo` (without `blend`), and a notice says so. Where
        no face is found nothing is redrawn but a given mask, from the photo. Where squares overlap
        the larger face counts. `faces` skips detection. `blend`: "feather" ramps over the outer
        half of the dilation, inside the mask; "poisson" takes the colours around the mask;
        "matched" does both, with the colours a little away from it; "none".
        `grain`: where the photo is finer than the networks' size, what is redrawn gets the grain of
        the skin around (engines.photos.grain); in frames that follow each other it would flicker.

        Raises ValueError for a wrong shape, type or option, a given mask without a hole or
        without known pixels, a missing segmenter, and networks whose answer is not finite.
        """
        check_image(image)
        if mask is not None:
            check_photo(image, mask)
            grown = Dilation.of_given(dilate)
        else:
            self.check_segmenter()
            grown = self._grown(dilate)
        check_blend(blend)
        settings = Settings(grown, blend, uncertainty, self.alignment, self.batch, grain)
        result = Restoration.begun(image, uncertainty)
        timing = result.timing
        with timing("detect"):
            faces, result.notices = self._faces(image, faces, mask is not None)
        if mask is None:
            works, left_out, wider = self._find(image, faces, settings, timing)
            hidden = together(works + wider, image.shape)
        else:
            with timing("align"):
                hidden = dilate_mask(mask, grown.pixels or 0)
                check_photo(image, hidden)
                works, left_out, wider = settle_given(
                    self.inpainter, image, faces, hidden, mask, settings
                )
        result.leave_out(left_out)
        for face, patch in redraw_faces(self.inpainter, image, works, hidden, settings, timing):
            result.put(face, patch)
        # What lies beyond the faces' squares comes when these are known: one goes on from the other
        beyond = together(wider, image.shape)
        whole = result.restored
        for _, patch in redraw_faces(self.inpainter, whole, wider, beyond, settings, timing):
            result.put(None, patch)
        if mask is not None and (rest := hidden & (1 - result.mask)).any():
            if faces:
                result.notices += _outside(rest, works, hidden)
            with timing("inpaint"):
                result.restored, doubt = redraw_photo(
                    self.inpainter, result.restored, rest, uncertainty
                )
                result.mask |= rest
                if result.uncertainty is not None and doubt is not None:
                    result.uncertainty += doubt
        return result.concluded()

    def find_mask(
        self,
        image: np.ndarray,
        faces: list[Face] | None = None,
        *,
        dilate: float | str | None = None,
    ) -> np.ndarray:
        """What `restore` would redraw: uint8 (H, W) of {0, 1}; parameters and errors are its."""
        check_image(image)
        settings = Settings(self._grown(dilate), alignment=self.alignment, batch=self.batch)
        faces, _ = self._faces(image, faces, given_mask=False)
        works, _, wider = self._find(image, faces, settings, lambda stage: nullcontext())
        return together(works + wider, image.shape)

    def check_segmenter(self) -> Segmenter:
        """The segmenter; ValueError, with the sentence that helps, where there is none."""
        if self.segmenter is None:
            raise ValueError(
                "no segmenter: give a mask, or the one that ships, weights/segmenter.safetensors"
            )
        return self.segmenter

    def _grown(self, dilate: float | str | None) -> Dilation:
        return Dilation.of(self.dilate if dilate is None else dilate)

    def _faces(
        self, image: np.ndarray, faces: list[Face] | None, given_mask: bool
    ) -> tuple[list[Face], list[str]]:
        """The faces that are to be restored, and what to tell the user."""
        told: list[str] = []
        if faces is None:
            faces, notices = self.detector.detect(image)
            told += [n for n in notices if not (given_mask and n.startswith(NO_FACE))]
        if given_mask:  # restore_photo knows better what to show the inpainter
            faces = [face for face in faces if face.source != "whole"]
            if not faces:
                told.append(f"{NO_FACE}: the mask is redrawn from the photo, not aligned")
        faces, left_out = self.detector.choice.pick(faces)
        return faces, told + left_out

    def _find(
        self, image: np.ndarray, faces: list[Face], settings: Settings, timing: Timing
    ) -> Settled:
        """The masks of faces, found and settled."""
        found, left_out = find_masks(self.check_segmenter(), image, faces, settings, timing)
        with timing("segment"):
            settled = settle_found(self.inpainter, image, found, settings)
        return settled._replace(left_out=left_out + settled.left_out)

    def restore_photo(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Redraw the hole of a photo of any size and aspect, without looking for a face.

        Shape: image uint8 (H, W, 3), mask uint8 (H, W) of {0, 1}, 1 = hole -> uint8 (H, W, 3).
        Outside the mask the result equals `image` bit for bit.

        The inpainters are trained on centre-cropped, aligned faces, so scale and position matter
        more than seeing every pixel. The part shown to the inpainter is the centred square,
        moved along the photo's long side as little as keeps the hole and a little context inside
        it; true pixels at the trained scale. Only a hole longer than the short side asks for the
        whole photo, padded to a square by reflection (squashing it would change the face's
        proportions). What the hole covers reaches no inpainter unless it wants it (`hides`); see
        `shrink`. The answer is brought back to full resolution by bicubic interpolation of the
        composed picture, so that the redrawn part runs into the true pixels around it.

        Raises ValueError for a wrong shape or type, a mask without a hole or without known pixels,
        and for a prediction that is not finite.
        """
        check_photo(image, mask)
        return redraw_photo(self.inpainter, image, mask)[0]


def _outside(rest: np.ndarray, works: list[FaceWork], mask: np.ndarray) -> list[str]:
    """Whether and how much of a given mask no face's square holds."""
    outside = rest.copy()
    for work in works:
        if work.hopeless:
            outside[slices_of(work.window.box)] &= 1 - work.mask
    if not outside.any():
        return []
    return [
        f"{outside.sum() / mask.sum():.0%} of the mask lies outside of the faces' squares: "
        "it is redrawn from the photo as it is, not aligned"
    ]


def load_deoccluder(
    checkpoint: str | Path,
    device: str | torch.device = "auto",
    segmenter: str | Path | None = None,
    *,
    flip: bool = False,
    backend: str = TORCH,
    make: bool = False,
    say: Say = logger.info,
    **options: Any,
) -> Deoccluder:
    """A Deoccluder with the inpainter of `checkpoint`; parameters as of
    `engines.inference.networks.read_inpainter`.

    `segmenter`: the weights file of a segmentation run, or an ONNX file. `options` go to
    `Deoccluder`: detector, alignment, dilate, batch.
    """
    how: dict[str, Any] = {"backend": backend, "make": make, "say": say}
    inpainter = read_inpainter(checkpoint, device, flip=flip, **how)
    found = None if segmenter is None else read_segmenter(segmenter, inpainter.device, **how)
    return Deoccluder(inpainter, found, **options)
