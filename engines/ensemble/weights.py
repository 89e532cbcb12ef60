"""Weights of an ensemble's members from their frozen validation pairs, by least squares.

Stacked regression (Breiman, Machine Learning 1996): with residuals r_m = prediction_m - target over
the hole's pixels and weights that sum to 1, the combination's squared error is w' G w, where
G_mk = sum r_m r_k. So one pass over the pairs gives a Gram matrix an image, and every weighted
mean's error without a second pass.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deocclude.data.contract import compose
from deocclude.data.files import replacing
from deocclude.data.masks.source import RATIO_BINS
from deocclude.data.pairs.holes import FrozenPairs
from deocclude.data.pairs.occluded import FrozenOccluded
from deocclude.data.pairs.tensors import load_pairs
from deocclude.data.sources.holes import open_sources
from deocclude.engines.ensemble.opening import attach_members, weights_identity
from deocclude.engines.runs.finished import read_trained
from deocclude.engines.runs.pairs import settle_data
from deocclude.engines.runs.recipes import MemberFile, check_splits
from deocclude.metrics.image import psnr
from deocclude.models.ensemble import EDGES, Ensemble, bin_index
from deocclude.progress import Bar

Pairs = FrozenPairs | FrozenOccluded  # as the members were validated on
PROTOCOL = 1  # raised whenever a member's errors would come out differently
RIDGE = 1e-9  # of the mean squared error: equal members share their weight
NEGLIGIBLE = 1e-4  # weights below are set to 0


@dataclass(frozen=True)
class PairErrors:
    """Sums over the hole of each pair, N pairs and M members.

    grams: (N, M, M) float64. bins: (N,), the rows of "bins". pixels: numbers in a whole picture.
    median_psnr: (N,), composed, in dB.
    """

    grams: np.ndarray
    bins: np.ndarray
    pixels: int
    median_psnr: np.ndarray

    def psnr(self, weights: np.ndarray) -> float:
        """Mean over pairs of the composed PSNR in dB of a combination; (M,) or (6, M)."""
        rows = (
            weights[self.bins]
            if weights.ndim == 2
            else np.broadcast_to(weights, self.grams.shape[:2])
        )
        squared = np.einsum("nm,nmk,nk->n", rows, self.grams, rows)
        with np.errstate(divide="ignore"):
            return float(np.mean(-10 * np.log10(np.maximum(squared, 0) / self.pixels)))


@dataclass(frozen=True)
class Fitted:
    """Weights (M,) or (6, M), None for mean and median, and composed validation PSNR in dB."""

    weights: np.ndarray | None
    pairs: Pairs
    alone: tuple[float, ...]
    mean: float
    result: float

    def record(self, members: Sequence[MemberFile]) -> dict[str, Any]:
        """What an ensemble's YAML says of where its weights came from."""
        alone = {m.label: round(value, 4) for m, value in zip(members, self.alone, strict=True)}
        found = {"mean": round(self.mean, 4), "result": round(self.result, 4)}
        return {
            "pairs": self.pairs.description,
            "hash": self.pairs.hash,
            "composed_psnr": alone | found,
        }


def fit(
    members: Sequence[MemberFile],
    combination: str,
    pairs: Pairs,
    batch: int = 32,
    device: str | torch.device = "cpu",
    keep: str = "memory",
    cache: Path | None = None,
) -> Fitted:
    """The weights that a combination needs, and how it does on the pairs it was fitted to.

    `cache`: a folder that keeps the members' errors, so that a second combination of them asks no
    network. ValueError names a member whose answer is not finite, and a range of hole ratios
    without pairs.
    """
    measured = _kept(members, pairs, cache, lambda: measure(members, pairs, batch, device, keep))
    count = len(members)
    weights = None
    if combination == "weights":
        weights = solve(measured.grams.sum(axis=0))
    elif combination == "bins":
        weights = np.stack([solve(gram) for gram in _bin_grams(measured)])
    alone = tuple(measured.psnr(row) for row in np.eye(count))
    mean = measured.psnr(np.full(count, 1 / count))
    if combination == "median":
        result = float(measured.median_psnr.mean())
    else:
        result = mean if weights is None else measured.psnr(weights)
    return Fitted(weights, pairs, alone, mean, result)


def _kept(
    members: Sequence[MemberFile],
    pairs: Pairs,
    cache: Path | None,
    ask: Callable[[], PairErrors],
) -> PairErrors:
    """What `ask` answers, or answered before of the same weights in this order and these pairs."""
    if cache is None:
        return ask()
    files = [weights_identity(member.path) for member in members]
    key = json.dumps([PROTOCOL, pairs.hash, pairs.size, files])
    path = cache / f"members-{hashlib.sha256(key.encode()).hexdigest()[:24]}.npz"
    if not path.is_file():
        measured = ask()
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **vars(measured))
        return measured
    with np.load(path, allow_pickle=False) as file:
        found = {name: file[name] for name in file.files}
    return PairErrors(**found | {"pixels": int(found["pixels"])})


def _bin_grams(measured: PairErrors) -> list[np.ndarray]:
    counts = np.bincount(measured.bins, minlength=len(EDGES) + 1)
    if missing := [RATIO_BINS[i] for i in np.flatnonzero(counts == 0)]:
        words = ", ".join(f"({low:g}, {high:g}]" for low, high in missing)
        raise ValueError(
            f"no validation pair has a hole ratio in {words}: weights by bins need some in each; "
            "ask for more --pairs, or combine by weights"
        )
    return [measured.grams[measured.bins == row].sum(axis=0) for row in range(len(EDGES) + 1)]


@torch.inference_mode()
def measure(
    members: Sequence[MemberFile],
    pairs: Pairs,
    batch: int = 32,
    device: str | torch.device = "cpu",
    keep: str = "memory",
) -> PairErrors:
    """Run every member over the pairs. Memory holds one batch, and M x M numbers a pair."""
    ensemble = Ensemble([member.label for member in members], "median")
    attach_members(ensemble, members, device, keep)
    ensemble.eval()
    grams, bins, medians = [], [], []
    for start in Bar(range(0, len(pairs), batch), desc="validation", unit="batch"):
        indices = range(start, min(start + batch, len(pairs)))
        target, mask, occluded = (
            part.to(device) for part in load_pairs(pairs, indices, members[0].fill)
        )
        predictions = ensemble.predictions(occluded, mask)
        _check_finite(predictions, ensemble.members)
        grams.append(_grams(predictions, target, mask))
        bins.append(bin_index(mask).cpu().numpy())
        median = ensemble.combine(predictions, occluded, mask)
        medians.append(psnr(compose(median, target, mask), target).cpu().numpy())
    pixels = 3 * pairs.size**2
    return PairErrors(np.concatenate(grams), np.concatenate(bins), pixels, np.concatenate(medians))


def _grams(predictions: Tensor, target: Tensor, mask: Tensor) -> np.ndarray:
    """(M, N, 3, H, W), (N, 3, H, W), (N, 1, H, W) -> (N, M, M), float64."""
    residuals = ((predictions - target) * mask).transpose(0, 1).flatten(2)
    if residuals.device.type == "mps":  # it has no float64
        residuals = residuals.cpu()
    residuals = residuals.double()
    return (residuals @ residuals.transpose(1, 2)).cpu().numpy()


def _check_finite(predictions: Tensor, names: Sequence[str]) -> None:
    for name, prediction in zip(names, predictions, strict=True):
        if not prediction.isfinite().all():
            raise ValueError(f"{name}: its answers hold values that are not finite; leave it out")


def solve(gram: np.ndarray) -> np.ndarray:
    """The w >= 0 with sum 1 for which w' G w is least. Shape: (M, M) -> (M,), float64."""
    from scipy.optimize import minimize

    count = len(gram)
    scale = np.trace(gram) / count
    if not scale > 0:  # every member is perfect
        return np.full(count, 1 / count)
    scaled = gram / scale + RIDGE * np.eye(count)
    found = minimize(
        lambda w: w @ scaled @ w,
        np.full(count, 1 / count),
        jac=lambda w: 2 * scaled @ w,
        bounds=[(0, 1)] * count,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    if not found.success:
        raise ValueError(f"the least squares of the weights did not settle: {found.message}")
    weights = np.where(found.x < NEGLIGIBLE, 0, found.x)
    return weights / weights.sum()


def validation_pairs(
    members: Sequence[MemberFile], count: int, data_folder: Path | None = None
) -> Pairs:
    """Frozen validation pairs of the members' faces, about `count`, evenly over the hole ratios.

    ValueError when members were trained on different splits of the faces.
    """
    check_splits([member.path for member in members])
    first = read_trained(members[0].path)
    data, root, split = settle_data(first, data_folder, {"validation_pairs": count})
    return open_sources(data, root, split).frozen("val")
