"""A photo in, the restored photo out: face by face, or without one from the whole photo."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deocclude.data.contract import compose
from deocclude.data.images import to_tensor
from deocclude.engines.inference.backends import TORCH, Say
from deocclude.engines.inference.hole_mask import Dilation
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
from deocclude.engines.photos.restoration import NO_FACE, Restoration
from deocclude.engines.photos.steps import (
    Settings,
    find_masks,
    predict,
    redraw,
    settle_found,
    settle_given,
)
from deocclude.engines.photos.windows import (
    AUTO,
    check_image,
    check_photo,
    choose_window,
    paste_enlarged,
    put_enlarged,
    shrink_to_square,
)

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
            grown = Dilation.of(self.dilate if dilate is None else dilate)
        settings = Settings(
            grown, check_blend(blend), uncertainty, self.alignment, self.batch, grain
        )
        result = Restoration(image.copy(), np.zeros(image.shape[:2], np.uint8))
        if uncertainty:
            result.uncertainty = np.zeros(image.shape[:2], np.float32)
        with result.timing("detect"):
            faces = self._faces(image, faces, mask is not None, result)
            faces, left_out = self.detector.choice.pick(faces)
            result.notices += left_out
        if mask is not None:
            self._restore_given(image, mask, faces, settings, result)
        else:
            found = find_masks(self.check_segmenter(), image, faces, settings, result)
            with result.timing("segment"):
                works = settle_found(self.inpainter, image, found, settings, result)
            redraw(self.inpainter, image, works, settings, result)
        return result.concluded()

    def check_segmenter(self) -> Segmenter:
        """The segmenter; ValueError, with the sentence that helps, where there is none."""
        if self.segmenter is None:
            raise ValueError(
                "no segmenter: give a mask, or the one that ships, weights/segmenter.safetensors"
            )
        return self.segmenter

    def _faces(
        self, image: np.ndarray, faces: list[Face] | None, given_mask: bool, result: Restoration
    ) -> list[Face]:
        if faces is None:
            faces, notices = self.detector.detect(image)
            result.notices += [n for n in notices if not (given_mask and n.startswith(NO_FACE))]
        if given_mask:  # restore_photo knows better what to show the inpainter
            faces = [face for face in faces if face.source != "whole"]
            if not faces:
                result.notices.append(f"{NO_FACE}: the mask is redrawn from the photo, not aligned")
        return faces

    def _restore_given(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        faces: list[Face],
        settings: Settings,
        result: Restoration,
    ) -> None:
        """Redraw a mask of the user's: face by face, and the rest from the whole photo."""
        with result.timing("align"):
            wide = dilate_mask(mask, settings.dilate.pixels or 0)
            check_photo(image, wide)
            works = settle_given(self.inpainter, image, faces, wide, mask, settings, result)
        redraw(self.inpainter, image, works, settings, result, hidden=wide)
        rest = wide & (1 - result.mask)
        if not rest.any():
            return
        outside = rest.copy()
        for work in filter(lambda work: work.hopeless, works):
            outside[work.part] &= 1 - work.mask
        if faces and outside.any():
            result.notices.append(
                f"{outside.sum() / wide.sum():.0%} of the mask lies outside of the faces' squares: "
                "it is redrawn from the photo as it is, not aligned"
            )
        with result.timing("inpaint"):
            result.restored = self.restore_photo(result.restored, rest, result.uncertainty)
            result.mask |= rest

    def restore_photo(
        self, image: np.ndarray, mask: np.ndarray, uncertainty: np.ndarray | None = None
    ) -> np.ndarray:
        """Redraw the hole of a photo of any size and aspect, without looking for a face.

        Shape: image uint8 (H, W, 3), mask uint8 (H, W) of {0, 1}, 1 = hole -> uint8 (H, W, 3).
        Outside the mask the result equals `image` bit for bit. Into `uncertainty`, float32 (H, W),
        how unsure the inpainter is of the hole is written in place.

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
        top, left, height, width = choose_window(mask)
        window = np.s_[top : top + height, left : left + width]
        small, marked, inner = shrink_to_square(image[window], mask[window], self.inpainter.size)
        view = (
            small
            if self.inpainter.hides
            else shrink_to_square(image[window], None, self.inpainter.size)[0]
        )
        known, hole, seen = (to_tensor(array)[None] for array in (small, marked, view))
        shown = self.inpainter.show(seen, hole)
        prediction, doubt = predict(self.inpainter, shown, hole, doubting=uncertainty is not None)
        composed = compose(prediction, known, hole)[0, :, inner[0], inner[1]].numpy()
        restored = image.copy()
        paste_enlarged(restored[window], composed, mask[window])
        if uncertainty is not None and doubt is not None:
            put_enlarged(uncertainty[window], doubt[0, inner[0], inner[1]].numpy(), mask[window])
        return restored


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
