"""One batch through an inpainter: its prediction, averaged with the mirrored one, and its doubt.

Networks trained on mirrored faces too should give the same answer either way round. The mean of
both is a better prediction (flip test-time augmentation), their difference says where it is unsure.
For an ensemble its members' disagreement says it (Lakshminarayanan et al., Simple and scalable
predictive uncertainty estimation using deep ensembles, 2017, section 2.4).
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

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


def doubt_of(inpainter: nn.Module) -> str:
    """What `predict_with_doubt` takes for this inpainter's doubt: DISAGREEMENT or MIRRORED."""
    return DISAGREEMENT if hasattr(inpainter, "disagreement") else MIRRORED


def predict_batch(
    inpainter: nn.Module, features: nn.Module | None, occluded: Tensor, mask: Tensor, flip: bool
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
    features: nn.Module | None,
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
        return _disagreement(inpainter, occluded, mask, flip)
    plain, mirrored = _both_ways(_answer(inpainter, features, *_with_mirrored(occluded, mask)))
    apart = (plain - mirrored).abs().mean(1, keepdim=True)
    return (plain + mirrored) / 2 if flip else plain, apart


def _answer(inpainter, features, occluded: Tensor, mask: Tensor) -> Tensor:
    given = ()
    if getattr(inpainter, "uses_features", False):
        with evaluating(features):
            given = (features.embed(occluded),)
    with evaluating(inpainter):
        return _checked(inpainter(occluded, mask, *given), occluded)


def _disagreement(ensemble, occluded: Tensor, mask: Tensor, flip: bool) -> tuple[Tensor, Tensor]:
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
