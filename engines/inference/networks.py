"""The one forward path: an inpainter, a segmenter and an embedder, each with what it was trained
with. Training's validation, `evaluate.py` and photos all ask them.

Networks trained on mirrored faces too should give the same answer either way round. The mean of
both is a better prediction (flip test-time augmentation), their difference says where it is unsure.
For an ensemble its members' disagreement says it (Lakshminarayanan et al., Simple and scalable
predictive uncertainty estimation using deep ensembles, 2017, section 2.4).
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from deocclude.data.contract import hide
from deocclude.data.faces.alignment import template_points
from deocclude.engines.ensemble.opening import open_inpainter
from deocclude.engines.graphs.asking import OnnxNetwork, open_network
from deocclude.engines.graphs.description import config_of, is_onnx
from deocclude.engines.inference import cost
from deocclude.engines.inference.backends import TORCH, Say, read_asked
from deocclude.engines.runs import weights
from deocclude.engines.runs.devices import resolve_device
from deocclude.engines.runs.weights import load_features

if TYPE_CHECKING:
    from deocclude.models.ensemble import Ensemble
    from deocclude.models.identity import IdentityNet

logger = logging.getLogger(__name__)

CPU = torch.device("cpu")
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


@dataclass(frozen=True, eq=False)
class _Asked:
    """A network, moved to `device`, and the side in pixels of the pictures it was trained on.

    It is asked in evaluation mode and without gradients; afterwards every module has the mode that
    it had. `dataclasses.replace` gives the same network asked otherwise.
    """

    network: nn.Module
    size: int
    _: KW_ONLY
    device: torch.device = CPU

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size: must be at least 1 pixel, found {self.size}")
        self.network.to(self.device)


@dataclass(frozen=True, eq=False)
class Inpainter(_Asked):
    """Redraws holes.

    Parameters
    ----------
    network : called `network(occluded, mask) -> prediction`.
    size : side in pixels of the square at which it works on photos.
    fill : grey level in [0, 1] that hides the hole, the one used in training.
    template : how its training faces are aligned, one of data.faces.alignment.TEMPLATES.
    features : `features.embed(occluded) -> (N, D)`, for a network that takes them.
    hides : whether the hole is hidden by `fill`; False for a network that was trained on faces
        under occluders: it is shown the picture as it is.
    flip : whether a prediction is the mean with the mirrored input's, mirrored back.
    """

    fill: float = 1.0
    template: str = "ffhq"
    features: "IdentityNet | None" = None
    hides: bool = True
    flip: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        template_points(self.template, 1)  # an unknown name is an error now, not at the first photo
        if not 0 <= self.fill <= 1:
            raise ValueError(f"fill: must lie in [0, 1], found {self.fill}")
        if self.features is not None:
            self.features.to(self.device)
        elif getattr(self.network, "uses_features", False):
            name = type(self.network).__name__
            raise ValueError(f"{name} takes features, their network is missing")

    @property
    def doubt(self) -> str:
        """What tells how unsure it is: DISAGREEMENT of an ensemble's members, or MIRRORED."""
        return DISAGREEMENT if hasattr(self.network, "disagreement") else MIRRORED

    def show(self, picture: Tensor, mask: Tensor) -> Tensor:
        """What the network is shown of a picture. Shapes as in `restore`."""
        return hide(picture, mask, self.fill) if self.hides else picture

    @torch.inference_mode()
    def restore(self, occluded: Tensor, mask: Tensor) -> Tensor:
        """What the network predicts; `features` embeds what it is shown, mirrored or not.

        Shape: occluded (N, 3, H, W), mask (N, 1, H, W) -> (N, 3, H, W), float32 on `device`. The
        prediction is a whole image; `data.contract.compose` keeps the known pixels. With `flip` the
        batch is twice as large. ValueError for an answer of another shape.
        """
        occluded, mask = occluded.to(self.device), mask.to(self.device)
        if not self.flip:
            return self._answer(occluded, mask)
        plain, mirrored = _both_ways(self._answer(*_with_mirrored(occluded, mask)))
        return (plain + mirrored) / 2

    @torch.inference_mode()
    def restore_with_doubt(
        self, occluded: Tensor, mask: Tensor, doubt: str | None = None
    ) -> tuple[Tensor, Tensor]:
        """As `restore`, and how unsure each pixel is: (N, 1, H, W) float32, 0 or more.

        DISAGREEMENT: the standard deviation over an ensemble's members, with `flip` over all that
        they answer to either input. MIRRORED: the absolute difference from the mirrored prediction.
        Means over the channels, from the same pass as the prediction. `doubt` is the inpainter's
        own by default.
        """
        occluded, mask = occluded.to(self.device), mask.to(self.device)
        if (doubt or self.doubt) == DISAGREEMENT:
            return self._disagreement(occluded, mask)
        plain, mirrored = _both_ways(self._answer(*_with_mirrored(occluded, mask)))
        apart = (plain - mirrored).abs().mean(1, keepdim=True)
        return (plain + mirrored) / 2 if self.flip else plain, apart

    def cost(self, size: int) -> dict[str, Any]:
        """Parameters, multiply-accumulates and latency; see `engines.inference.cost`."""
        return cost.model_cost(self.network, self.restore, size, self.device)

    def _answer(self, occluded: Tensor, mask: Tensor) -> Tensor:
        given: tuple[Tensor, ...] = ()
        if getattr(self.network, "uses_features", False):
            assert self.features is not None  # checked above
            with evaluating(self.features):
                given = (self.features.embed(occluded),)
        with evaluating(self.network):
            return _checked(self.network(occluded, mask, *given), occluded)

    def _disagreement(self, occluded: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        ensemble = cast("Ensemble", self.network)
        seen, holes = _with_mirrored(occluded, mask) if self.flip else (occluded, mask)
        with evaluating(ensemble):
            predictions = ensemble.predictions(seen, holes)
            prediction = _checked(ensemble.combine(predictions, seen, holes), seen)
        if self.flip:
            prediction = torch.stack(_both_ways(prediction)).mean(0)
            plain, mirrored = predictions.chunk(2, dim=1)
            predictions = torch.cat([plain, mirrored.flip(-1)])
        return prediction, ensemble.disagreement(predictions).float()


@dataclass(frozen=True, eq=False)
class Segmenter(_Asked):
    """Marks what covers a face: `network(occluded) -> logits`. `template` as of `Inpainter`."""

    template: str = "ffhq"

    def __post_init__(self) -> None:
        super().__post_init__()
        template_points(self.template, 1)

    @torch.inference_mode()
    def logits(self, occluded: Tensor) -> Tensor:
        """(N, 3, H, W), asked at that size, to (N, 1, H, W), float32 on `device`.

        ValueError for an answer of another shape or that is not finite.
        """
        with evaluating(self.network):
            logits = self.network(occluded.to(self.device)).float()
        if logits.shape != (len(occluded), 1, *occluded.shape[2:]):
            raise ValueError(
                f"the segmenter answered with shape {tuple(logits.shape)} "
                f"for an input of {tuple(occluded.shape)}; one logit a pixel is needed"
            )
        return _finite(logits, "segmenter")

    def find(self, occluded: Tensor) -> Tensor:
        """As `logits`, to a mask of {0, 1}: the pixels whose probability is above one half."""
        return (self.logits(occluded) > 0).float()

    @torch.inference_mode()
    def probability(self, aligned: Tensor) -> Tensor:
        """How likely each pixel covers the face: as `logits`, but in [0, 1] and asked at the
        network's own size, to which pictures of another one are resized, and the answer back."""
        inner, outer = (self.size,) * 2, aligned.shape[-2:]
        seen = aligned.to(self.device)
        if outer == inner:
            return self.logits(seen).sigmoid()
        seen = functional.interpolate(seen, inner, mode="bicubic", antialias=True).clamp(0, 1)
        probability = self.logits(seen).sigmoid()
        return functional.interpolate(probability, outer, mode="bilinear", antialias=True)

    def cost(self, size: int) -> dict[str, Any]:
        """Parameters, multiply-accumulates and latency; see `engines.inference.cost`."""
        return cost.model_cost(self.network, lambda seen, _: self.find(seen), size, self.device)


@dataclass(frozen=True, eq=False)
class Embedder(_Asked):
    """Tells people apart: `network(image) -> logits`, `network.embed(image) -> (N, D)`."""

    @torch.inference_mode()
    def embed(self, images: Tensor) -> Tensor:
        """Pictures (N, 3, H, W) in [0, 1] to embeddings (N, D), float32 on `device`, at the
        network's own size, to which pictures of another one are resized."""
        images, inner = images.to(self.device), (self.size,) * 2
        if images.shape[-2:] != inner:
            images = functional.interpolate(images, inner, mode="bicubic", antialias=True)
        with evaluating(self.network):
            return cast("IdentityNet", self.network).embed(images.clamp(0, 1)).float()

    @torch.inference_mode()
    def name(self, images: Tensor) -> Tensor:
        """(N, 3, H, W), asked at that size, to the places of people, (N,): the largest logits.
        ValueError for logits that are not finite."""
        with evaluating(self.network):
            return _finite(self.network(images.to(self.device)), "identity network").argmax(1)

    def cost(self, size: int) -> dict[str, Any]:
        """Parameters, multiply-accumulates and latency; see `engines.inference.cost`."""
        return cost.model_cost(self.network, lambda image, _: self.name(image), size, self.device)


def read_inpainter(
    checkpoint: str | Path,
    device: str | torch.device = "auto",
    *,
    flip: bool = False,
    backend: str = TORCH,
    make: bool = False,
    say: Say = logger.info,
) -> Inpainter:
    """The inpainter of a run's `best.safetensors`, of an ensemble's YAML or weights file, or of an
    ONNX file, which is asked on the CPU, with what it, or its members, were trained with.

    `device`: "cpu", "cuda", "cuda:1", "mps", or "auto": an accelerator if there is one. `backend`,
    `make` and `say`: whether a graph of the weights is asked in their place, see
    `engines.inference.backends.graph_for`.
    """
    file = Path(checkpoint)
    device = CPU if is_onnx(file) else resolve_device(device)
    network, metadata = read_asked(
        file, device, backend, make, say, lambda asked: open_inpainter(asked, device)
    )
    data = metadata["config"]["data"]
    return Inpainter(
        network,
        data["size"],
        device=device,
        fill=data["fill"],
        template=data.get("template", "ffhq"),
        features=load_features(file) if getattr(network, "uses_features", False) else None,
        hides=data.get("hidden_by", "masks") != "occluders",
        flip=flip,
    )


def read_segmenter(
    checkpoint: str | Path,
    device: str | torch.device = "auto",
    *,
    backend: str = TORCH,
    make: bool = False,
    say: Say = logger.info,
) -> Segmenter:
    """The segmenter of a run's `best.safetensors` or of an ONNX file; as `read_inpainter`."""
    device = resolve_device(device)

    def read(file: Path) -> tuple[nn.Module, dict[str, Any]]:
        if is_onnx(file):
            return open_network(file, "segmentation"), config_of(file)["data"]
        network, metadata = weights.load_segmenter(file, device)
        return network, metadata["config"]["data"]

    network, data = read_asked(Path(checkpoint), device, backend, make, say, read)
    return Segmenter(network, data["size"], device=device, template=data.get("template", "ffhq"))


def read_embedder(checkpoint: str | Path, device: str | torch.device = "auto") -> Embedder:
    """The identity network of a run's `best.safetensors`; `device` as of `read_inpainter`."""
    device = resolve_device(device)
    network, metadata = weights.load_identity_network(checkpoint, device)
    return Embedder(network, metadata["config"]["data"]["size"], device=device)


def leave_cores(*networks: Inpainter | Segmenter | None) -> None:
    """Where ONNX Runtime computes all these networks, let PyTorch have one thread in this process:
    the little that it still does, it does as fast, and threads of its that wait for more take the
    cores from ONNX Runtime's. For commands, not for libraries: it holds for all of PyTorch."""
    if all(isinstance(each.network, OnnxNetwork) for each in networks if each is not None):
        torch.set_num_threads(1)


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


def _finite(logits: Tensor, whose: str) -> Tensor:
    if not logits.isfinite().all():
        raise ValueError(f"the {whose}'s logits hold values that are not finite")
    return logits
