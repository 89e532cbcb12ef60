"""Where rows of a comparison err: sums of error by region of the face and a map of every pixel.

One CSV a row, one line a pair, kept as in `engines.measures.rows`; beside it the row's maps. What
is kept are sums over hole pixels, from which means over any set of pairs follow.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from deocclude.data.faces.regions import REGIONS, region_shares
from deocclude.data.files import replacing
from deocclude.data.pairs.holes import FrozenPairs
from deocclude.data.pairs.tensors import load_pairs
from deocclude.engines.measures.inpainting import PAIR_COLUMNS, Row
from deocclude.engines.measures.rows import RowResult, RowWriter, measured_rows
from deocclude.progress import Bar

# Raised whenever a number in the files would come out differently, as with other outlines of the
# regions.
PROTOCOL = 1
HOLE = "hole"  # all regions together
PLACES = (HOLE, *REGIONS)
SUMS = ("pixels", "l1", "mse")
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

    def key(row: Row) -> dict[str, Any]:
        known = {"protocol": PROTOCOL, "table": "errors by place", "pairs": pairs.hash}
        return known | {"size": pairs.size, "template": template, "row": row.identity}

    measure = partial(_measure, batch=batch)
    return measured_rows(rows, pairs, folder, key, measure, _facts, beside=_maps_file)


def _measure(row: Row, pairs: FrozenPairs, path: Path, key: dict, batch: int) -> RowResult:
    start = time.perf_counter()
    restorer = row.open()
    shares = torch.from_numpy(region_shares(key["template"], pairs.size).copy()).flatten(1).double()
    maps = torch.zeros(3, pairs.size, pairs.size, dtype=torch.float64)
    with RowWriter(path, [*PAIR_COLUMNS, *COLUMNS]) as writer:
        bar = Bar(total=len(pairs), desc=row.name, unit="image")
        for first in range(0, len(pairs), batch):
            indices = list(range(first, min(first + batch, len(pairs))))
            target, mask, occluded = load_pairs(pairs, indices, restorer.fill)
            prediction = restorer.restore(occluded, mask).cpu()
            layers = _layers(prediction, target, mask, row.name)
            maps += layers.sum(0)
            writer.write(_lines(pairs, indices, layers, shares))
            bar.update(len(indices))
        bar.close()
        with replacing(_maps_file(path)) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, **dict(zip(SUMS, maps.numpy(), strict=True)))
        seconds = round(time.perf_counter() - start, 2)
        info = {"key": key, "count": len(pairs), "seconds": seconds}
        return writer.finish(_facts(row, pairs) | info)


def _facts(row: Row, pairs: FrozenPairs) -> dict:
    return {"name": row.name, "kind": row.kind, "pairs": pairs.description}


def _layers(prediction: Tensor, target: Tensor, mask: Tensor, name: str) -> Tensor:
    """Hole, absolute and squared error of each hole pixel, channels averaged: (N, 3, H, W)."""
    if prediction.shape != target.shape:
        raise ValueError(
            f"{name}: answered with shape {tuple(prediction.shape)} for {tuple(target.shape)}"
        )
    error = (prediction.double() - target.double()) * mask
    if not error.isfinite().all():
        raise ValueError(f"{name}: its prediction holds values that are not finite")
    parts = (mask.double()[:, 0], error.abs().mean(1), error.square().mean(1))
    return torch.stack(parts, dim=1)


def _lines(pairs: FrozenPairs, indices: list[int], layers: Tensor, shares: Tensor) -> Iterator:
    """Sums over the hole and over each region, a pixel counting by its shares."""
    flat = layers.flatten(2)
    sums = torch.cat([flat.sum(-1)[:, None], (flat @ shares.T).transpose(1, 2)], dim=1)
    for index, values in zip(indices, sums.flatten(1).tolist(), strict=True):
        pair = pairs.pairs[index]
        known = [pair.image, pair.mask, pair.bin, int(pair.border), f"{pair.hole_ratio:.6f}"]
        yield [index, *known, *values]


def _maps_file(path: Path) -> Path:
    return path.with_suffix(".maps.npz")


def read_maps(result: RowResult) -> ErrorMaps:
    """The maps of a measured row."""
    with np.load(_maps_file(result.path), allow_pickle=False) as file:
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
