"""A picture and its mask in, the restored picture out: the one forward path of the project.

Validation, `evaluate.py` and `deocclude.py` all go through `Deoccluder.restore_batch` (or
`restore_with_doubt`) and `Deoccluder.find_mask`; photos go through `Deoccluder.restore`, which
wraps both, or, without a face in them, through `Deoccluder.restore_photo`.
"""

from pathlib import Path

import numpy as np
import torch
from deocclude.data.contract import compose, hide
from deocclude.data.faces.alignment import template_points
from deocclude.data.images import to_tensor
from deocclude.engines.inference.hole_mask import dilate as dilate_mask
from deocclude.engines.inference.networks import evaluating, predict_batch, predict_with_doubt
from deocclude.engines.photos.blend import check_blend
from deocclude.engines.photos.detection import FaceDetector
from deocclude.engines.photos.face import Face
from deocclude.engines.photos.photo_window import (
    check_image,
    check_photo,
    choose_window,
    paste_enlarged,
    put_enlarged,
    shrink_to_square,
)
from deocclude.engines.photos.restoration import NO_FACE, UNCHANGED, Restoration
from deocclude.engines.photos.steps import (
    Settings,
    find_masks,
    predict,
    redraw,
    settle_found,
    settle_given,
)
from deocclude.engines.photos.tracker import FaceTracker
from deocclude.engines.photos.windows import AUTO
from deocclude.engines.runs.runtime import resolve_device
from torch import Tensor, nn
from torch.nn import functional


class Deoccluder:
    """An inpainter and a segmenter with the sizes they were trained at, for batches and photos.

    Parameters
    ----------
    inpainter : called `inpainter(occluded, mask) -> prediction`; moved to `device`.
    size : side in pixels of the square at which the inpainter works on photos.
    segmenter : called `segmenter(occluded) -> logits`, finds the mask when none is given.
    device : "cpu" (the default), "cuda", "cuda:1", "mps", or "auto": an accelerator if there is
        one.
    fill : grey level in [0, 1] that hides the hole, the one used in training.
    template : how the inpainter's training faces are aligned, one of data.faces.alignment.TEMPLATES.
    segmenter_size, segmenter_template : the same of the segmenter, by default the inpainter's.
    dilate : by how many photo pixels a found mask is dilated; None: engines.inference.hole_mask.DILATION of
        the face's square.
    detector : finds the faces; by default one is made when first needed.
    alignment : the landmarks that place a face, one of engines.photos.windows.ALIGNMENTS, or
        "auto": what suits the landmarks that are covered.
    batch : how many faces of a photo the networks see at once.
    features : `features.embed(occluded) -> (N, D)`, for an inpainter that takes them.
    hides : whether the hole is hidden by `fill`; False for an inpainter that was trained on faces
        under occluders: it is shown the picture as it is.
    flip : whether a prediction is the mean with the mirrored input's, mirrored back.
    """

    def __init__(
        self,
        inpainter: nn.Module,
        size: int,
        segmenter: nn.Module | None = None,
        device: str | torch.device = "cpu",
        fill: float = 1.0,
        template: str = "ffhq",
        segmenter_size: int | None = None,
        segmenter_template: str | None = None,
        dilate: float | None = None,
        detector: FaceDetector | None = None,
        alignment: str = AUTO,
        batch: int = 8,
        features: nn.Module | None = None,
        hides: bool = True,
        flip: bool = False,
    ):
        for name, side in (("size", size), ("segmenter_size", segmenter_size or size)):
            if side < 1:
                raise ValueError(f"{name}: must be at least 1 pixel, found {side}")
        if batch < 1:
            raise ValueError(f"batch: must be at least 1 face, found {batch}")
        if not 0 <= fill <= 1:
            raise ValueError(f"fill: must lie in [0, 1], found {fill}")
        if getattr(inpainter, "uses_features", False) and features is None:
            raise ValueError(f"{type(inpainter).__name__} takes features, their network is missing")
        self.device = resolve_device(device)
        self.features = None if features is None else features.to(self.device)
        self.inpainter = inpainter.to(self.device)
        self.segmenter = None if segmenter is None else segmenter.to(self.device)
        self.size, self.segmenter_size = size, segmenter_size or size
        self.template, self.segmenter_template = template, segmenter_template or template
        for name in (self.template, self.segmenter_template):
            template_points(name, 1)  # an unknown name is an error now, not at the first photo
        self.fill, self.hides, self.dilate = fill, hides, dilate
        self.detector, self.alignment, self.batch = detector, alignment, batch
        self.flip = flip

    @torch.inference_mode()
    def restore_batch(self, occluded: Tensor, mask: Tensor) -> Tensor:
        """What the inpainter predicts, in evaluation mode and without gradients.

        Shape: occluded (N, 3, S, S), mask (N, 1, S, S) -> (N, 3, S, S), float32 on `device`. The
        prediction is a whole image; `data.contract.compose` keeps the known pixels. Every module's
        training or evaluation mode is the same after the call as before it.
        """
        occluded, mask = occluded.to(self.device), mask.to(self.device)
        return predict_batch(self.inpainter, self.features, occluded, mask, self.flip)

    @torch.inference_mode()
    def restore_with_doubt(
        self, occluded: Tensor, mask: Tensor, doubt: str | None = None
    ) -> tuple[Tensor, Tensor]:
        """As `restore_batch`, and how unsure each pixel is: (N, 1, S, S) float32, 0 or more.

        The disagreement of an ensemble's members; of another inpainter, or of any with `doubt` =
        MIRRORED, the difference from the mirrored prediction. One pass gives both; see
        `engines.inference.networks.predict_with_doubt`.
        """
        occluded, mask = occluded.to(self.device), mask.to(self.device)
        networks = self.inpainter, self.features
        return predict_with_doubt(*networks, occluded, mask, self.flip, doubt)

    def show(self, picture: Tensor, mask: Tensor) -> Tensor:
        """What the inpainter is shown of a picture. Shapes as in `restore_batch`."""
        return hide(picture, mask, self.fill) if self.hides else picture

    @torch.inference_mode()
    def find_mask(self, aligned: Tensor) -> Tensor:
        """How likely each pixel covers the face, in evaluation mode and without gradients.

        Shape: aligned (N, 3, S, S) -> (N, 1, S, S), float32 in [0, 1] on `device`. Resized to the
        segmenter's size and back where S differs. Raises ValueError without a segmenter and for
        logits of another shape or that are not finite.
        """
        if self.segmenter is None:
            raise ValueError(
                "no segmenter: give a mask, or the one that ships, weights/segmenter.safetensors"
            )
        inner, outer = (self.segmenter_size,) * 2, aligned.shape[-2:]
        seen = aligned.to(self.device)
        if outer != inner:
            seen = functional.interpolate(seen, inner, mode="bicubic", antialias=True).clamp(0, 1)
        with evaluating(self.segmenter):
            logits = self.segmenter(seen).float()
        if logits.shape != (len(aligned), 1, *inner):
            raise ValueError(
                f"the segmenter answered with shape {tuple(logits.shape)}, not "
                f"{(len(aligned), 1, *inner)}"
            )
        if not logits.isfinite().all():
            raise ValueError("the segmenter's logits hold values that are not finite")
        probability = logits.sigmoid()
        if outer != inner:
            probability = functional.interpolate(
                probability, outer, mode="bilinear", antialias=True
            )
        return probability

    def restore(
        self,
        image: np.ndarray,
        mask: np.ndarray | None = None,
        faces: list[Face] | None = None,
        *,
        dilate: float | None = None,
        blend: str = "feather",
        uncertainty: bool = False,
        previous: FaceTracker | None = None,
    ) -> Restoration:
        """Find the faces of a photo, find what covers them, and redraw it.

        Shape: image uint8 (H, W, 3), mask uint8 (H, W) of {0, 1} or None.

        Without `mask` the segmenter finds one in each face's square; it is dilated by `dilate`
        photo pixels. A given mask is redrawn as it is, dilated only if `dilate` is given: each
        face takes the part in its square, what no face takes is redrawn by `restore_photo`
        (without `blend`), and a notice says so. Where no face is found nothing is redrawn but a
        given mask, from the photo. Where squares overlap the larger face counts. `faces` skips
        detection; `previous` smooths landmarks and masks from frame to frame. `blend`: "feather"
        ramps over the outer half of the dilation, inside the mask; "poisson" takes the colours
        around the mask; "matched" does both, with the colours a little away from it; "none".

        Raises ValueError for a wrong shape, type or option, a given mask without a hole or
        without known pixels, a missing segmenter, and networks whose answer is not finite.
        """
        check_image(image)
        if mask is not None:
            check_photo(image, mask)
        elif self.segmenter is None:
            self.find_mask(torch.zeros(1, 3, 1, 1))  # raises, with the sentence that helps
        if dilate is not None and not 0 <= dilate < np.inf:
            raise ValueError(f"dilate: must be 0 or more pixels, found {dilate}")
        if dilate is None and mask is None:
            dilate = self.dilate
        settings = Settings(dilate, check_blend(blend), uncertainty)
        result = Restoration(image.copy(), np.zeros(image.shape[:2], np.uint8))
        if uncertainty:
            result.uncertainty = np.zeros(image.shape[:2], np.float32)
        with result.timing("detect"):
            faces = self._faces(image, faces, mask is not None, result)
            if previous is not None:
                faces = previous.smooth_faces(faces)
        if mask is not None:
            self._restore_given(image, mask, faces, settings, result)
        else:
            found = find_masks(self, image, faces, result, previous)
            with result.timing("segment"):
                works = settle_found(self, image, found, settings, result)
            redraw(self, image, works, settings, result)
        if not result.changed:
            faceless = f"{NO_FACE}: {UNCHANGED}"
            result.notices = [text for text in result.notices if text != NO_FACE]
            result.notices.append(
                faceless if result.faceless else f"{UNCHANGED}: the photo is unchanged"
            )
        return result

    def _faces(
        self, image: np.ndarray, faces: list[Face] | None, given_mask: bool, result: Restoration
    ) -> list[Face]:
        if faces is None:
            if self.detector is None:
                self.detector = FaceDetector(template=self.template)
            faces, notices = self.detector.detect(image)
            result.notices += [n for n in notices if not (given_mask and n.startswith(NO_FACE))]
        if given_mask:  # restore_photo knows better what to show the inpainter
            faces = [face for face in faces if face.source != "whole"]
            if not faces:
                result.notices.append(f"{NO_FACE}: the mask is redrawn from the photo, not aligned")
        return faces

    def _restore_given(
        self, image: np.ndarray, mask: np.ndarray, faces: list, settings: Settings, result
    ) -> None:
        """Redraw a mask of the user's: face by face, and the rest from the whole photo."""
        with result.timing("align"):
            wide = dilate_mask(mask, settings.dilate or 0)
            check_photo(image, wide)
            works = settle_given(self, image, faces, wide, mask, settings, result)
        redraw(self, image, works, settings, result, hidden=wide)
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
        small, hole, inner = shrink_to_square(image[window], mask[window], self.size)
        seen = small if self.hides else shrink_to_square(image[window], None, self.size)[0]
        known, hole, seen = (to_tensor(array)[None] for array in (small, hole, seen))
        doubting = uncertainty is not None
        prediction, doubt = predict(self, self.show(seen, hole), hole, doubting)
        composed = compose(prediction, known, hole)[0, :, inner[0], inner[1]].numpy()
        restored = image.copy()
        paste_enlarged(restored[window], composed, mask[window])
        if doubting:
            put_enlarged(uncertainty[window], doubt[0, inner[0], inner[1]].numpy(), mask[window])
        return restored


def load_deoccluder(
    checkpoint: str | Path,
    device: str | torch.device = "auto",
    segmenter: str | Path | None = None,
    **options,
) -> Deoccluder:
    """A Deoccluder from a run's `best.safetensors` or the YAML or weights file of an ensemble, at
    the size, fill and template of its training, or its members'.

    `segmenter`: the weights file of a segmentation run. `options` go to `Deoccluder`: dilate,
    detector, alignment, batch, flip.
    """
    from deocclude.engines.ensemble.opening import open_inpainter
    from deocclude.engines.runs.features import load_features

    device = resolve_device(device)
    inpainter, metadata = open_inpainter(checkpoint, device)
    if getattr(inpainter, "uses_features", False):
        options["features"] = load_features(Path(checkpoint))
    data = metadata["config"]["data"]
    if segmenter is not None:
        from deocclude.engines.runs.weights import load_segmenter

        options["segmenter"], metadata = load_segmenter(Path(segmenter), device)
        trained = metadata["config"]["data"]
        options["segmenter_size"] = trained["size"]
        options["segmenter_template"] = trained.get("template", "ffhq")
    return Deoccluder(
        inpainter,
        size=data["size"],
        device=device,
        fill=data["fill"],
        template=data.get("template", "ffhq"),
        hides=data.get("hidden_by", "masks") != "occluders",
        **options,
    )
