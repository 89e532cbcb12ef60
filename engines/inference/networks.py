"""The one forward path: batches through an inpainter and a segmenter, and how unsure they are.

Networks trained on mirrored faces too should give the same answer either way round. The mean of
both is a better prediction (flip test-time augmentation), their difference says where it is unsure.
For an ensemble its members' disagreement says it (Lakshminarayanan et al., Simple and scalable
predictive uncertainty estimation using deep ensembles, 2017, section 2.4).
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from deocclude.data.contract import hide
from deocclude.data.faces.alignment import template_points
from deocclude.engines.ensemble.opening import open_inpainter
from deocclude.engines.graphs.asking import open_network
from deocclude.engines.graphs.description import config_of, is_onnx
from deocclude.engines.inference.backends import TORCH, Say, graph_for, read_asked
from deocclude.engines.runs import weights
from deocclude.engines.runs.devices import resolve_device
from deocclude.engines.runs.weights import load_features

if TYPE_CHECKING:
    from deocclude.models.ensemble import Ensemble
    from deocclude.models.identity import IdentityNet

logger = logging.getLogger(__name__)

DISAGREEMENT, MIRRORED = "the members' disagreement", "the difference from the mirrored prediction"


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block; afterwards every module has its own mode back."""
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in training:  # one by one: a frozen BatchNorm must stay in evaluation mode
            module.training = True


class Networks:
    """An inpainter and a segmenter with the sizes they were trained at, ready to be asked.

    Validation, `evaluate.py` and photos all go through `restore_batch` (or `restore_with_doubt`)
    and `find_mask`.

    Parameters
    ----------
    inpainter : called `inpainter(occluded, mask) -> prediction`; moved to `device`.
    size : side in pixels of the square at which the inpainter works on photos.
    segmenter : called `segmenter(occluded) -> logits`, finds the mask when none is given.
    device : "cpu" (the default), "cuda", "cuda:1", "mps", or "auto": an accelerator if there is
        one.
    fill : grey level in [0, 1] that hides the hole, the one used in training.
    template : how the inpainter's training faces are aligned, one of
        data.faces.alignment.TEMPLATES.
    segmenter_size, segmenter_template : the same of the segmenter, by default the inpainter's.
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
        features: "IdentityNet | None" = None,
        hides: bool = True,
        flip: bool = False,
    ):
        for name, side in (("size", size), ("segmenter_size", segmenter_size or size)):
            if side < 1:
                raise ValueError(f"{name}: must be at least 1 pixel, found {side}")
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
        self.fill, self.hides, self.flip = fill, hides, flip

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
        segmenter = self.check_segmenter()
        inner, outer = (self.segmenter_size,) * 2, aligned.shape[-2:]
        seen = aligned.to(self.device)
        if outer != inner:
            seen = functional.interpolate(seen, inner, mode="bicubic", antialias=True).clamp(0, 1)
        with evaluating(segmenter):
            logits = segmenter(seen).float()
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

    def check_segmenter(self) -> nn.Module:
        """The segmenter; ValueError, with the sentence that helps, where there is none."""
        if self.segmenter is None:
            raise ValueError(
                "no segmenter: give a mask, or the one that ships, weights/segmenter.safetensors"
            )
        return self.segmenter


def load_networks(
    checkpoint: str | Path, device: str | torch.device = "auto", *, flip: bool = False
) -> Networks:
    """The inpainter of a run's `best.safetensors`, or of an ensemble's YAML or weights file, at the
    size, fill and template of its training, or its members'."""
    return Networks(**read_networks(checkpoint, device), flip=flip)


def read_networks(
    checkpoint: str | Path,
    device: str | torch.device,
    segmenter: str | Path | None = None,
    *,
    backend: str = TORCH,
    make: bool = False,
    say: Say = logger.info,
) -> dict[str, Any]:
    """Networks and what their files say of them, as `Networks` takes it.

    `checkpoint` as for `load_networks`; `segmenter`: the weights file of a segmentation run. Either
    may be an ONNX file, which is asked on the CPU. `backend`, `make` and `say`: whether graphs of
    the weights are asked in their place, see `engines.inference.backends.graph_for`.
    """
    device = torch.device("cpu") if is_onnx(checkpoint) else resolve_device(device)
    graph = graph_for(Path(checkpoint), device, backend, make, say)
    inpainter, metadata = read_asked(
        Path(checkpoint), graph, backend, say, lambda file: open_inpainter(file, device)
    )
    data = metadata["config"]["data"]
    found = {
        "inpainter": inpainter,
        "size": data["size"],
        "device": device,
        "fill": data["fill"],
        "template": data.get("template", "ffhq"),
        "hides": data.get("hidden_by", "masks") != "occluders",
    }
    if getattr(inpainter, "uses_features", False):
        found["features"] = load_features(Path(checkpoint))
    if segmenter is not None:
        found["segmenter"], trained = read_segmenter(segmenter, device, backend, make, say)
        found["segmenter_size"] = trained["size"]
        found["segmenter_template"] = trained.get("template", "ffhq")
    return found


def read_segmenter(
    file: str | Path,
    device: torch.device,
    backend: str = TORCH,
    make: bool = False,
    say: Say = logger.info,
) -> tuple[nn.Module, dict[str, Any]]:
    """The segmenter of a file, and what that says of its data; parameters as of `read_networks`."""

    def read(asked: Path) -> tuple[nn.Module, dict[str, Any]]:
        if is_onnx(asked):
            return open_network(asked, "segmentation"), config_of(asked)["data"]
        network, metadata = weights.load_segmenter(asked, device)
        return network, metadata["config"]["data"]

    graph = graph_for(Path(file), device, backend, make, say)
    return read_asked(Path(file), graph, backend, say, read)


def doubt_of(inpainter: nn.Module) -> str:
    """What `predict_with_doubt` takes for this inpainter's doubt: DISAGREEMENT or MIRRORED."""
    return DISAGREEMENT if hasattr(inpainter, "disagreement") else MIRRORED


def predict_batch(
    inpainter: nn.Module,
    features: "IdentityNet | None",
    occluded: Tensor,
    mask: Tensor,
    flip: bool,
) -> Tensor:
    """The prediction in evaluation mode, with `flip` the mean with the mirrored input's.

    Shape: occluded (N, 3, H, W), mask (N, 1, H, W) -> (N, 3, H, W), float32. `features` embeds what
    the inpainter is shown, mirrored for the mirrored one. With `flip` the batch is twice as large.
    ValueError for an answer of another shape.
    """
    if not flip:
        return _answer(inpainter, features, occluded, mask)
    plain, mirrored = _both_ways(_answer(inpainter, features, *_with_mirrored(occluded, mask)))
    return (plain + mirrored) / 2


def predict_with_doubt(
    inpainter: nn.Module,
    features: "IdentityNet | None",
    occluded: Tensor,
    mask: Tensor,
    flip: bool,
    doubt: str | None = None,
) -> tuple[Tensor, Tensor]:
    """As `predict_batch`, and how unsure each pixel is: (N, 1, H, W) float32, 0 or more.

    DISAGREEMENT: the standard deviation over an ensemble's members, with `flip` over all that they
    answer to either input. MIRRORED: the absolute difference from the mirrored prediction. Means
    over the channels, from the same pass as the prediction; `doubt` is `doubt_of` by default.
    """
    if (doubt or doubt_of(inpainter)) == DISAGREEMENT:
        return _disagreement(cast("Ensemble", inpainter), occluded, mask, flip)
    plain, mirrored = _both_ways(_answer(inpainter, features, *_with_mirrored(occluded, mask)))
    apart = (plain - mirrored).abs().mean(1, keepdim=True)
    return (plain + mirrored) / 2 if flip else plain, apart


def _answer(
    inpainter: nn.Module, features: "IdentityNet | None", occluded: Tensor, mask: Tensor
) -> Tensor:
    given: tuple[Tensor, ...] = ()
    if getattr(inpainter, "uses_features", False):
        assert features is not None, "an inpainter that takes features needs their network"
        with evaluating(features):
            given = (features.embed(occluded),)
    with evaluating(inpainter):
        return _checked(inpainter(occluded, mask, *given), occluded)


def _disagreement(
    ensemble: "Ensemble", occluded: Tensor, mask: Tensor, flip: bool
) -> tuple[Tensor, Tensor]:
    seen, holes = _with_mirrored(occluded, mask) if flip else (occluded, mask)
    with evaluating(ensemble):
        predictions = ensemble.predictions(seen, holes)
        prediction = _checked(ensemble.combine(predictions, seen, holes), seen)
    if flip:
        prediction = torch.stack(_both_ways(prediction)).mean(0)
        plain, mirrored = predictions.chunk(2, dim=1)
        predictions = torch.cat([plain, mirrored.flip(-1)])
    return prediction, ensemble.disagreement(predictions).float()


def _with_mirrored(*batches: Tensor) -> tuple[Tensor, ...]:
    return tuple(torch.cat([batch, batch.flip(-1)]) for batch in batches)


def _both_ways(answer: Tensor) -> tuple[Tensor, Tensor]:
    plain, mirrored = answer.chunk(2)
    return plain, mirrored.flip(-1)


def _checked(prediction: Tensor, occluded: Tensor) -> Tensor:
    if prediction.shape != occluded.shape:
        raise ValueError(
            f"the inpainter answered with shape {tuple(prediction.shape)} "
            f"for an input of {tuple(occluded.shape)}; both must be equal"
        )
    return prediction.float()
