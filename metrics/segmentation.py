"""How well a mask was found: accuracy, IoU, Dice, precision, recall, boundary F.

Every function takes masks as in `data.contract`, (N, 1, H, W) in {0, 1} with 1 = occluder, and
returns (N,). Where both masks are empty they agree: every value is 1. Where one of them is empty,
IoU, Dice, precision, recall and boundary F are 0.
"""

from collections.abc import Callable, Iterable
from math import hypot, log

import torch
import torch.nn.functional as F
from torch import Tensor

from deocclude.metrics.image import finite_mean

BOUNDARY_TOLERANCE = 0.0075  # of the picture's diagonal
HIGHER_IS_BETTER = {
    "accuracy": True,
    "iou": True,
    "dice": True,
    "boundary_f": True,
    "precision": True,
    "recall": True,
    "false_positive": False,
}
COLUMNS = tuple(HIGHER_IS_BETTER)
COUNTS = ("tp", "fp", "fn", "tn")


def confusion(prediction: Tensor, mask: Tensor) -> Tensor:
    """Pixels of each image that are true and false positive, false and true negative: (N, 4)."""
    _check(prediction, mask)
    found, true = prediction.flatten(1) > 0.5, mask.flatten(1) > 0.5
    parts = (found & true, found & ~true, ~found & true, ~found & ~true)
    return torch.stack([part.sum(dim=1) for part in parts], dim=1).double()


def pixel_accuracy(prediction: Tensor, mask: Tensor) -> Tensor:
    """Share of pixels with the right label, (N,)."""
    return _scores(confusion(prediction, mask))["accuracy"]


def iou(prediction: Tensor, mask: Tensor) -> Tensor:
    """Intersection over union of the occluder, (N,)."""
    return _scores(confusion(prediction, mask))["iou"]


def dice(prediction: Tensor, mask: Tensor) -> Tensor:
    """2 TP / (2 TP + FP + FN) of the occluder, (N,)."""
    return _scores(confusion(prediction, mask))["dice"]


def precision(prediction: Tensor, mask: Tensor) -> Tensor:
    """Share of the marked pixels that are occluder, (N,)."""
    return _scores(confusion(prediction, mask))["precision"]


def recall(prediction: Tensor, mask: Tensor) -> Tensor:
    """Share of the occluder's pixels that are marked, (N,)."""
    return _scores(confusion(prediction, mask))["recall"]


def boundary_tolerance(height: int, width: int) -> int:
    """How far apart two boundaries may lie and still agree, in pixels: 0.75 % of the diagonal."""
    return max(1, round(BOUNDARY_TOLERANCE * hypot(height, width)))


def boundary_f(prediction: Tensor, mask: Tensor) -> Tensor:
    """F-score of the two boundaries within `boundary_tolerance` (Csurka et al., BMVC 2013; Perazzi
    et al., CVPR 2016), (N,).

    Precision is the share of the predicted boundary that lies within the (Euclidean) tolerance of
    the true one, recall the reverse. A boundary is made of the mask's pixels with a neighbour
    outside of it, diagonals included; the picture's edge is none. A mask of the whole picture has
    no boundary and counts as the empty one does.
    """
    _check(prediction, mask)
    tolerance = boundary_tolerance(*mask.shape[-2:])
    found, true = _boundary(prediction), _boundary(mask)
    near_true, near_found = _grown(true, tolerance), _grown(found, tolerance)
    sizes = [edge.sum(dim=(1, 2, 3)) for edge in (found, true)]
    hits = [(found * near_true).sum(dim=(1, 2, 3)), (true * near_found).sum(dim=(1, 2, 3))]
    share, covered = (hit / size.clamp(min=1) for hit, size in zip(hits, sizes, strict=True))
    score = 2 * share * covered / (share + covered).clamp(min=1e-12)
    return torch.where(sizes[0] + sizes[1] == 0, torch.ones_like(score), score)


def _boundary(mask: Tensor) -> Tensor:
    inside = (mask > 0.5).float()
    return inside * F.max_pool2d(1 - inside, kernel_size=3, stride=1, padding=1)


def _grown(edge: Tensor, radius: int) -> Tensor:
    """Every pixel within `radius` of a pixel of `edge`."""
    steps = torch.arange(-radius, radius + 1, device=edge.device)
    disc = (steps[:, None] ** 2 + steps**2 <= radius**2).to(edge.dtype)
    return (F.conv2d(edge, disc[None, None], padding=radius) > 0.5).to(edge.dtype)


def _ratio(part: Tensor, whole: Tensor, empty: Tensor) -> Tensor:
    """part / whole; where there is nothing to divide by, 1 for `empty` and else 0."""
    return torch.where(whole > 0, part / whole.clamp(min=1), empty.to(part.dtype))


def _scores(counts: Tensor) -> dict[str, Tensor]:
    tp, fp, fn, tn = counts.unbind(dim=-1)
    empty = tp + fp + fn == 0
    return {
        "accuracy": (tp + tn) / (tp + fp + fn + tn),
        "iou": _ratio(tp, tp + fp + fn, empty),
        "dice": _ratio(2 * tp, 2 * tp + fp + fn, empty),
        "precision": _ratio(tp, tp + fp, empty),
        "recall": _ratio(tp, tp + fn, empty),
    }


def _check(prediction: Tensor, mask: Tensor) -> None:
    if mask.ndim != 4 or mask.shape[1] != 1:
        raise ValueError(f"mask: shape must be (N, 1, H, W), found {tuple(mask.shape)}")
    if prediction.shape != mask.shape:
        raise ValueError(
            f"prediction {tuple(prediction.shape)} must have the mask's shape {tuple(mask.shape)}"
        )


SEGMENTATION_METRICS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "accuracy": pixel_accuracy,
    "iou": iou,
    "dice": dice,
    "boundary_f": boundary_f,
    "precision": precision,
    "recall": recall,
}


class SegmentationMetrics:
    """Per-image values of every column and the counts behind pooled ones; no image is kept.

    An image whose true mask is empty has no occluder to find: it counts in `accuracy`, in the
    pooled values and in `false_positive`, the share of its pixels that were marked, and is NaN in
    every other column; all others are NaN in `false_positive`. Means leave NaN out.

    Args:
        threshold: probability above which a pixel is marked.
    """

    columns = COLUMNS

    def __init__(self, threshold: float = 0.5) -> None:
        if not 0 < threshold < 1:
            raise ValueError(f"threshold: {threshold} must lie between 0 and 1")
        self.threshold = threshold
        self.reset()

    def reset(self) -> None:
        """Forget every value."""
        self._ids: list = []
        self._kinds: list = []
        self._values: dict[str, list[float]] = {column: [] for column in COLUMNS}
        self._counts: list[list[float]] = []

    @torch.inference_mode()
    def update(
        self, prediction: Tensor, mask: Tensor, ids: Iterable, kinds: Iterable | None = None
    ) -> None:
        """Add a batch, (N, 1, H, W) each, with one id and, if known, one kind of occluder an image.

        `prediction` is logits, or a mask when every value is 0 or 1; not probabilities. ValueError
        for other shapes and for values that are not finite (the images are named).
        """
        ids = list(ids)
        kinds = [None] * len(ids) if kinds is None else list(kinds)
        _check(prediction, mask)
        for name, given in (("ids", ids), ("kinds", kinds)):
            if len(given) != len(mask):
                raise ValueError(f"{len(given)} {name} for {len(mask)} masks; one each is needed")
        finite = prediction.isfinite().flatten(1).all(dim=1).tolist()
        if not all(finite):
            named = [str(name) for name, good in zip(ids, finite, strict=True) if not good]
            raise ValueError(f"prediction is not finite for {', '.join(named)}")
        found = self._marked(prediction)
        counts = confusion(found, mask)
        tp, fp, fn, tn = counts.unbind(dim=1)
        measured = _scores(counts) | {"boundary_f": boundary_f(found, mask)}
        empty = tp + fn == 0
        missing = torch.full_like(fp, float("nan"))
        for column, value in measured.items():
            if column != "accuracy":
                value = torch.where(empty, missing, value.double())
            self._values[column] += value.tolist()
        self._values["false_positive"] += torch.where(empty, fp / (fp + tn), missing).tolist()
        self._counts += counts.tolist()
        self._ids += ids
        self._kinds += kinds

    def _marked(self, prediction: Tensor) -> Tensor:
        if prediction.dtype == torch.bool or ((prediction == 0) | (prediction == 1)).all():
            return prediction.float()
        return (prediction > log(self.threshold / (1 - self.threshold))).float()

    def compute(self) -> dict[str, float]:
        """The mean over images of each column, and pooled/iou, pooled/dice and pooled/accuracy.

        The pooled ones come from the sums over the pixels of all images. NaN without any value.
        """
        return self._summary(range(len(self._ids)))

    def by_kind(self) -> dict[str | None, dict[str, float]]:
        """`compute` for the images of each kind of occluder, and their number under `images`."""
        rows: dict[str | None, list[int]] = {}
        for row, kind in enumerate(self._kinds):
            rows.setdefault(kind, []).append(row)
        return {
            kind: self._summary(chosen) | {"images": len(chosen)} for kind, chosen in rows.items()
        }

    def values(self) -> dict[str, list]:
        """One list a column, in the order of the updates, with `id` and `kind`."""
        return {"id": list(self._ids), "kind": list(self._kinds)} | {
            name: list(kept) for name, kept in self._values.items()
        }

    def _summary(self, rows: Iterable[int]) -> dict[str, float]:
        rows = list(rows)
        means = {
            column: finite_mean(kept[row] for row in rows)[0]
            for column, kept in self._values.items()
        }
        sums = torch.tensor([self._counts[row] for row in rows], dtype=torch.float64)
        pooled = _scores(sums.reshape(-1, 4).sum(dim=0))
        return means | {
            f"pooled/{name}": pooled[name].item() if rows else float("nan")
            for name in ("iou", "dice", "accuracy")
        }
