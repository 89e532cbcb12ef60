"""Where rows of a comparison err: sums of error by region of the face, at the hole's edge, and a
map of every pixel.

One CSV a row, one line a pair, kept as in `engines.measures.rows`; beside it the row's maps. What
is kept are sums over hole pixels, from which means over any set of pairs follow.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from deocclude.data.contract import hide
from deocclude.data.faces.regions import REGIONS, region_shares
from deocclude.data.files import replacing
from deocclude.data.pairs.holes import FrozenPairs
from deocclude.engines.measures.inpainting import Restorer
from deocclude.engines.measures.rows import Batch, Row, RowResult, Sheet, measured
from deocclude.metrics.image import NotFiniteError

# Raised whenever a number in the files would come out differently, as with other outlines of the
# regions.
PROTOCOL = 2
HOLE = "hole"  # all regions together
RIM = "edge"  # what of it lies within REACH of the side, a pixel at least, of a known pixel
REACH = 0.02
PLACES = (HOLE, RIM, *REGIONS)
SUMS = ("pixels", "l1", "mse")
MAPS = ".maps.npz"  # how the file beside a CSV ends
COLUMNS = tuple(f"{place}/{name}" for place in PLACES for name in SUMS)


@dataclass(frozen=True, eq=False)
class ErrorMaps:
    """Sums over pairs at each pixel: how often it was in the hole, its errors there, (H, W)."""

    count: np.ndarray
    l1: np.ndarray
    mse: np.ndarray

    def mean(self, name: str) -> np.ndarray:
        """The mean of `l1` or `mse` where there was a hole at all, elsewhere NaN."""
        total = getattr(self, name)
        return np.divide(total, self.count, out=np.full(total.shape, np.nan), where=self.count > 0)


def evaluate_errors(
    rows: Sequence[Row],
    pairs: FrozenPairs,
    template: str,
    folder: Path,
    *,
    batch: int = 64,
) -> list[RowResult]:
    """Measure each row on every pair, or take the values found in `folder`.

    Args:
        rows: what to compare, in the table's order.
        pairs: faces that are aligned as `template`, with masks.
        template: one of data.faces.alignment.TEMPLATES, which says where the regions lie.
        folder: where `rows/` with the files lies.
        batch: images at once; changes no value beyond rounding.
    """

    key = {"protocol": PROTOCOL, "table": "errors by place", "template": template}
    start = partial(_Errors, template=template, size=pairs.size)
    sheets = [Sheet(row, key, start, beside=MAPS, priced=False) for row in rows]
    return measured(sheets, pairs, folder, ask_hidden, batch)


def ask_hidden(restorer: Restorer, batch: Batch) -> Callable[[], Tensor]:
    """What restores the pictures, their holes cut."""
    hidden = hide(batch.seen, batch.mask, restorer.fill)
    hidden = hidden.contiguous()  # last digits depend on the order in memory
    return partial(restorer.restore, hidden, batch.mask)


class _Errors:
    """Sums of error over the hole, its edge and each region, and maps of it."""

    columns = COLUMNS

    def __init__(self, restorer: Restorer, template: str, size: int) -> None:
        shares = torch.from_numpy(region_shares(template, size).copy())
        self.shares = shares.flatten(1).double()
        self.maps = torch.zeros(len(SUMS), size, size, dtype=torch.float64)

    def add(self, batch: Batch, prediction: Tensor) -> list[list[float]]:
        """A pixel counts by its shares."""
        layers = _layers(prediction, batch.seen.contiguous(), batch.mask)
        self.maps += layers.sum(0)
        flat = layers.flatten(2)
        by_region = (flat @ self.shares.T).transpose(1, 2)
        edge = (layers * edge_of(batch.mask)).flatten(2)
        whole = [part.sum(-1)[:, None] for part in (flat, edge)]
        return torch.cat([*whole, by_region], dim=1).flatten(1).tolist()

    def finish(self, path: Path) -> dict[str, Any]:
        with replacing(path.with_suffix(MAPS)) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, **dict(zip(SUMS, self.maps.numpy(), strict=True)))
        return {}


def edge_of(mask: Tensor) -> Tensor:
    """The edge of holes, {0, 1}: (N, 1, H, W) to the same. Beyond the picture nothing is known."""
    reach = max(1, round(REACH * mask.shape[-1]))
    return mask * max_pool2d(1 - mask, 2 * reach + 1, stride=1, padding=reach)


def _layers(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Hole, absolute and squared error of each hole pixel, channels averaged: (N, 3, H, W)."""
    error = (prediction.double() - target.double()) * mask
    if not error.isfinite().all():
        raise NotFiniteError("its prediction holds values that are not finite")
    parts = (mask.double()[:, 0], error.abs().mean(1), error.square().mean(1))
    return torch.stack(parts, dim=1)


def read_maps(result: RowResult) -> ErrorMaps:
    """The maps of a measured row."""
    with np.load(result.path.with_suffix(MAPS), allow_pickle=False) as file:
        return ErrorMaps(*(file[name] for name in SUMS))


def sums_of(frame: pd.DataFrame, name: str) -> np.ndarray:
    """One of SUMS in every place: (lines, len(PLACES))."""
    return frame[[f"{place}/{name}" for place in PLACES]].to_numpy(np.float64)


def hole_values(frame: pd.DataFrame) -> pd.DataFrame:
    """L1 and PSNR over the hole and PSNR of the composed image, a line a pair.

    PSNR is infinite where the hole was restored exactly; all are NaN without a hole.
    """
    pixels, l1, squares = (frame[f"{HOLE}/{name}"].to_numpy(np.float64) for name in SUMS)
    with np.errstate(divide="ignore", invalid="ignore"):
        hole = -10 * np.log10(squares / pixels)
        whole = hole - 10 * np.log10(frame["hole_ratio"].to_numpy(np.float64))
        return pd.DataFrame({"l1_hole": l1 / pixels, "psnr_hole": hole, "psnr_composed": whole})
