"""Rows of a comparison measured on frozen pairs: one CSV a row, one line an image, streamed.

A row is a trained model or a baseline. Its CSV is written batch by batch (`engines.row_files`) and
named by a key of the pairs' hash, the row's identity (SHA-256 of its weights, or a baseline's
settings) and PROTOCOL, so that a row is never computed twice and never mistaken for another.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from data.contract import check_pair, hide
from data.pairs import FrozenPairs
from data.transforms import to_tensor
from data.whole_files import sha256
from engines import baselines, cost
from engines.lpips import LpipsChoice
from engines.row_files import RowResult, RowWriter, find_row, row_file
from engines.runtime import device_name
from metrics.as_published import AsPublishedMetrics
from metrics.image import ImageMetrics

logger = logging.getLogger(__name__)

PROTOCOL = 1  # raised whenever a number in the CSVs would come out differently
PUBLISHED_BATCH = 8  # images a batch in the public code, which its PSNR depends on
PAIR_COLUMNS = ("index", "image", "mask", "bin", "border", "hole_ratio")


class Restorer(Protocol):
    """Something that restores a batch; `fill` is the grey level it wants to see in the hole, `show`
    what it wants to see of a picture of which a mask says what covers the face."""

    fill: float
    device: torch.device

    def show(self, picture: Tensor, mask: Tensor) -> Tensor: ...

    def restore(self, occluded: Tensor, mask: Tensor) -> Tensor: ...

    def cost(self, size: int) -> dict[str, Any]: ...


class ModelRestorer:
    """A trained model behind `engines.inference.Deoccluder`, the project's one forward path."""

    def __init__(self, deoccluder):
        self.deoccluder = deoccluder
        self.fill = deoccluder.fill
        self.device = deoccluder.device
        self.show = deoccluder.show

    def restore(self, occluded: Tensor, mask: Tensor) -> Tensor:
        """(N, 3, H, W) and (N, 1, H, W) to (N, 3, H, W) on the model's device."""
        return self.deoccluder.restore_batch(occluded, mask)

    def cost(self, size: int) -> dict[str, Any]:
        """Parameters, multiply-accumulates and latency; see `engines.cost`."""
        return cost.model_cost(
            self.deoccluder.inpainter, self.deoccluder.restore_batch, size, self.device
        )


class BaselineRestorer:
    """A baseline on uint8 pixels, in the processes of `pool`."""

    fill = 1.0
    device = torch.device("cpu")

    def __init__(self, name: str, pool: baselines.BaselinePool):
        self.name, self.pool, self.seconds = name, pool, []

    def show(self, picture: Tensor, mask: Tensor) -> Tensor:
        """The picture with a hole."""
        return hide(picture, mask, self.fill)

    def restore(self, occluded: Tensor, mask: Tensor) -> Tensor:
        """(N, 3, H, W) and (N, 1, H, W) to (N, 3, H, W)."""
        images = occluded.mul(255).round().to(torch.uint8).movedim(1, -1).numpy()
        masks = mask[:, 0].to(torch.uint8).numpy()
        restored, seconds = self.pool.restore(self.name, images, masks)
        self.seconds += seconds
        return torch.from_numpy(restored).movedim(-1, 1).contiguous()

    def cost(self, size: int) -> dict[str, Any]:
        """Latency of the images restored so far, each on one core."""
        timing = cost.latency(self.seconds)
        return {"parameters": 0, "macs": None, **timing, "device": device_name(self.device)}


@dataclass(frozen=True)
class Row:
    """One line of a table. `identity` changes whenever its numbers would; `open` makes it ready."""

    name: str
    kind: str  # "model" or "baseline"
    identity: str
    open: Callable[[], Restorer]
    training: dict[str, Any] | None = None  # what it was trained for, for the cost table


def baseline_row(name: str, pool: baselines.BaselinePool) -> Row:
    """The row of a baseline. ValueError lists the valid names."""
    baselines.create_baseline(name)
    return Row(
        baselines.LABELS[name],
        "baseline",
        baselines.identity(name),
        partial(BaselineRestorer, name, pool),
    )


def model_row(
    name: str,
    checkpoint: Path,
    device: str | torch.device = "auto",
    training: dict[str, Any] | None = None,
) -> Row:
    """The row of a `best.safetensors`. The file is hashed now and read when the row is opened."""
    opener = partial(_open_model, checkpoint, device)
    return Row(name, "model", sha256(checkpoint), opener, training)


def _open_model(checkpoint: Path, device: str | torch.device) -> ModelRestorer:
    from engines.inference import load_deoccluder

    return ModelRestorer(load_deoccluder(checkpoint, device))


def evaluate_rows(
    rows: Sequence[Row],
    pairs: FrozenPairs,
    folder: Path,
    *,
    batch: int = 64,
    device: str | torch.device = "cpu",
    lpips: LpipsChoice | None = None,
    as_published: bool = False,
) -> list[RowResult]:
    """Measure each row on every pair, or take the values found in `folder`.

    Args:
        rows: what to compare, in the table's order.
        pairs: what to measure on.
        folder: where `rows/` with the CSVs lies.
        batch: images restored and measured at once; changes no value beyond rounding.
        device: where the metrics are computed.
        lpips: from `engines.lpips.build_lpips`; None leaves LPIPS out.
        as_published: also compute the published definitions, in batches of 8.
    """
    if not len(pairs):
        raise ValueError("there are no pairs to evaluate on")
    if batch < 1:
        raise ValueError(f"batch must be at least 1, found {batch}")
    if len({row.name for row in rows}) < len(rows):
        raise ValueError(f"rows must have names of their own: {', '.join(r.name for r in rows)}")
    lpips = lpips or LpipsChoice("off", None, "LPIPS was not asked for")
    results = []
    for row in rows:
        key = _key(row, pairs, lpips, as_published)
        target = row_file(folder, row.name, key)
        result = find_row(target, key)
        if result is None:
            result = _measure_row(row, pairs, target, key, batch, device, lpips, as_published)
        else:
            logger.info("%s: already evaluated on these pairs, %s", row.name, result.path)
            # The values are those of then; what is said about them is what holds now.
            result = RowResult(result.path, result.info | _facts(row, pairs, lpips))
        results.append(result)
    return results


def _key(row: Row, pairs: FrozenPairs, lpips: LpipsChoice, as_published: bool) -> dict[str, Any]:
    return {
        "protocol": PROTOCOL,
        "pairs": pairs.hash,
        "size": pairs.size,
        "row": row.identity,
        "lpips": lpips.name if lpips.network is not None else None,
        "as_published": as_published,
    }


def _measure_row(
    row: Row, pairs, path: Path, key: dict, batch: int, device, lpips: LpipsChoice, published: bool
) -> RowResult:
    start = time.perf_counter()
    restorer = row.open()
    metrics = ImageMetrics(lpips=lpips.network)
    legacy = AsPublishedMetrics() if published else None
    if published:
        batch = -(-batch // PUBLISHED_BATCH) * PUBLISHED_BATCH  # their batches stay whole
    spent = []
    with RowWriter(path, [*PAIR_COLUMNS, *metrics.columns]) as writer:
        bar = tqdm(total=len(pairs), desc=row.name, unit="image", disable=None)
        for indices, target, mask in _batches(pairs, batch):
            prediction, seconds = _restore(restorer, target, mask)
            spent.append((len(indices), seconds))
            target, mask = target.to(device), mask.to(device)
            prediction = prediction.to(device)
            writer.write(_lines(metrics, pairs, indices, prediction, target, mask))
            if legacy is not None:
                _update_legacy(legacy, prediction, target)
            bar.update(len(indices))
        bar.close()
        info = {
            **_facts(row, pairs, lpips),
            "key": key,
            "count": len(pairs),
            "cost": {**restorer.cost(pairs.size), "images_per_second": cost.rate(spent)},
            "as_published": legacy.compute() if legacy is not None else None,
            "seconds": round(time.perf_counter() - start, 2),
        }
        return writer.finish(info)


def _facts(row: Row, pairs: FrozenPairs, lpips: LpipsChoice) -> dict[str, Any]:
    """What may change while the values stay, such as the name a row goes by in this table."""
    return {
        "name": row.name,
        "kind": row.kind,
        "pairs": pairs.description,
        "lpips": {"network": lpips.name, "reason": lpips.reason},
        "training": row.training,
    }


def _batches(pairs: FrozenPairs, batch: int) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    for start in range(0, len(pairs), batch):
        indices = list(range(start, min(start + batch, len(pairs))))
        images, masks = zip(*(pairs.load(index) for index in indices), strict=True)
        target, mask = to_tensor(np.stack(images)), to_tensor(np.stack(masks))
        check_pair(target, mask)
        yield indices, target, mask


def _restore(restorer: Restorer, target: Tensor, mask: Tensor) -> tuple[Tensor, float]:
    occluded = hide(target, mask, restorer.fill)
    cost.synchronise(restorer.device)
    start = time.perf_counter()
    prediction = restorer.restore(occluded, mask)
    cost.synchronise(restorer.device)
    return prediction, time.perf_counter() - start


def _lines(metrics: ImageMetrics, pairs, indices, prediction, target, mask) -> Iterator[list]:
    metrics.reset()
    metrics.update(prediction, target, mask, [pairs.pairs[index].image for index in indices])
    columns = list(metrics.values().values())[1:]
    for index, *values in zip(indices, *columns, strict=True):
        pair = pairs.pairs[index]
        known = [pair.image, pair.mask, pair.bin, int(pair.border), f"{pair.hole_ratio:.6f}"]
        yield [index, *known, *values]


def _update_legacy(legacy: AsPublishedMetrics, prediction: Tensor, target: Tensor) -> None:
    for start in range(0, len(target), PUBLISHED_BATCH):
        part = slice(start, start + PUBLISHED_BATCH)
        legacy.update(prediction[part], target[part])
