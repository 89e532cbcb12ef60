"""Whether an uncertainty predicts the error: calibration and sparsification.

Calibration: Levi et al., Evaluating and calibrating uncertainty prediction in regression tasks,
2019 (arXiv:1905.11659). Sparsification and its area: Ilg et al., Uncertainty estimates and
multi-hypotheses networks for optical flow, ECCV 2018, section 5.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from deocclude.metrics.statistics import bootstrap_strata

BINS, STEPS = 20, 50


class Sparsification(NamedTuple):
    """The share of the mean error that is left, by the share of pixels removed; all (K,).

    `curve` removes the most uncertain first, `oracle` the most wrong. At random 1 is left.
    `ause` is the area between both, `worst` that between random and oracle: a useless uncertainty
    has ause = worst, a perfect one 0.
    """

    removed: np.ndarray
    curve: np.ndarray
    oracle: np.ndarray
    ause: float
    worst: float

    @property
    def gain(self) -> float:
        """Of what the oracle gains over chance, the share that is had: 1 perfect, 0 useless."""
        return 1 - self.ause / self.worst if self.worst > 0 else np.nan


def calibration(
    uncertainty: np.ndarray,
    squared_error: np.ndarray,
    images: np.ndarray | None = None,
    bins: int = BINS,
    seed: int = 0,
) -> pd.DataFrame:
    """Values sorted by uncertainty into bins of equal count: what was predicted, what came.

    Shape: all (N,); images as in `metrics.statistics.bootstrap_strata`. Columns: bin, count,
    lowest, highest, uncertainty (its root mean square), rmse, low, high (95 % over images). Fewer
    bins where there are fewer values. ValueError without any.
    """
    order = _order(uncertainty, seed)
    bins = min(bins, len(order))
    if not bins:
        raise ValueError("calibration: there are no values")
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order)) * bins // len(order)
    intervals = bootstrap_strata(squared_error, places, images, seed=seed)
    given = pd.Series(np.asarray(uncertainty, np.float64))
    frame = given.groupby(places).agg(count="count", lowest="min", highest="max")
    frame["uncertainty"] = np.sqrt(given.pow(2).groupby(places).mean())
    for column, name in (("rmse", "mean"), ("low", "low"), ("high", "high")):
        frame[column] = [np.sqrt(getattr(intervals[i], name)[0]) for i in range(bins)]
    return frame.rename_axis("bin").reset_index()


def sparsify(
    uncertainty: np.ndarray, error: np.ndarray, steps: int = STEPS, seed: int = 0
) -> Sparsification:
    """What error is left when the most uncertain values are left out. Shape: (N,) and (N,).

    ValueError without values; NaN throughout where there is no error at all.
    """
    error = np.asarray(error, np.float64)
    if not len(error):
        raise ValueError("sparsification: there are no values")
    removed = np.arange(steps) / steps
    kept = np.maximum(1, np.ceil((1 - removed) * len(error)).astype(np.int64))
    curve, oracle = (
        np.cumsum(error[order])[kept - 1] / kept / (error.mean() or np.nan)
        for order in (_order(uncertainty, seed), np.argsort(error, kind="stable"))
    )
    return Sparsification(
        removed, curve, oracle, *(_area(above - oracle, removed) for above in (curve, 1))
    )


def _area(height: np.ndarray, place: np.ndarray) -> float:
    return float(((height[1:] + height[:-1]) / 2 * np.diff(place)).sum())


def _order(uncertainty: np.ndarray, seed: int) -> np.ndarray:
    """From the surest on; equal ones in random order, so that none is preferred by its place."""
    shuffled = np.random.default_rng(seed).permutation(len(uncertainty))
    return shuffled[np.argsort(np.asarray(uncertainty)[shuffled], kind="stable")]
