"""Segmenters measured on frozen occluded pairs: one CSV a row, one line an image, and their masks.

A row is a trained segmenter or a trivial answer. Files are named and kept as
`engines.measures.rows` says; the masks a row found lie beside its CSV, a bit a pixel, so that
pictures and the end-to-end table need no second pass.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from deocclude.data.files import replacing
from deocclude.data.occluders.mixture import NONE
from deocclude.data.pairs.occluded import FrozenOccluded
from deocclude.data.pairs.tensors import load_occluded
from deocclude.engines.ensemble.opening import weights_identity
from deocclude.engines.inference import cost, networks
from deocclude.engines.measures.inpainting import Row
from deocclude.engines.measures.rows import RowResult, RowWriter, measured_rows
from deocclude.engines.runs.devices import device_name
from deocclude.metrics.segmentation import COLUMNS, COUNTS, SegmentationMetrics, confusion
from deocclude.progress import Bar

PROTOCOL = 2  # raised whenever a number in the CSVs would come out differently
PAIR_COLUMNS = ("index", "image", "kind", "number", "hole_ratio")
UNOCCLUDED = NONE  # the kind of a face with nothing on it


class MaskFinder(Protocol):
    """Something that marks the occluder's pixels."""

    device: torch.device

    def find(self, occluded: Tensor) -> Tensor: ...

    def cost(self, size: int) -> dict[str, Any]: ...


class ConstantFinder:
    """The same answer for every pixel: what a segmenter must beat."""

    device = torch.device("cpu")

    def __init__(self, value: float) -> None:
        self.value = value

    def find(self, occluded: Tensor) -> Tensor:
        """(N, 3, H, W) to a mask (N, 1, H, W)."""
        return torch.full_like(occluded[:, :1], self.value)

    def cost(self, size: int) -> dict[str, Any]:
        """Nothing worth measuring."""
        nothing = dict.fromkeys(("parameters", "median_ms", "p95_ms"), 0)
        return {**nothing, "macs": None, "device": device_name(self.device)}


CONSTANTS = {"Nothing marked": 0.0, "Everything marked": 1.0}


def constant_rows() -> list[Row]:
    """The rows of the trivial answers."""
    return [
        Row(name, "baseline", f"constant {value:g}", partial(ConstantFinder, value))
        for name, value in CONSTANTS.items()
    ]


def segmenter_row(
    name: str,
    checkpoint: Path,
    device: str | torch.device = "cpu",
    training: dict[str, Any] | None = None,
) -> Row:
    """The row of a segmentation run's `best.safetensors`, or of an ONNX file, read when the row is
    opened."""
    opener = partial(networks.read_segmenter, checkpoint, device)
    return Row(name, "model", weights_identity(checkpoint), opener, training)


def batches(
    pairs: FrozenOccluded, batch: int
) -> Iterator[tuple[list[int], Tensor | None, Tensor, Tensor]]:
    """Indices, targets (None where pairs lack them), occluded pictures and true masks, as tensors
    that keep the contract."""
    if batch < 1:
        raise ValueError(f"batch must be at least 1, found {batch}")
    for start in range(0, len(pairs), batch):
        indices = list(range(start, min(start + batch, len(pairs))))
        yield indices, *load_occluded(pairs, indices)


def evaluate_segmenters(
    rows: Sequence[Row], pairs: FrozenOccluded, folder: Path, *, batch: int = 64
) -> list[RowResult]:
    """Measure each row on every pair, or take the values found in `folder`.

    Args:
        rows: from `segmenter_row` and `constant_rows`, in the table's order.
        pairs: what to measure on.
        folder: where `rows/` with the CSVs lies.
        batch: images at once; changes no value beyond rounding.
    """

    def key(row: Row) -> dict[str, Any]:
        known = {"protocol": PROTOCOL, "table": "segmentation", "pairs": pairs.hash}
        return known | {"size": pairs.size, "row": row.identity}

    measure = partial(_measure, batch=batch)
    return measured_rows(rows, pairs, folder, key, measure, _facts, beside=_masks_file)


def _measure(row: Row, pairs: FrozenOccluded, path: Path, key: dict, batch: int) -> RowResult:
    start = time.perf_counter()
    finder: MaskFinder = row.open()
    metrics = SegmentationMetrics()
    found, spent = [], []
    with RowWriter(path, [*PAIR_COLUMNS, *COLUMNS, *COUNTS]) as writer:
        bar = Bar(total=len(pairs), desc=row.name, unit="image")
        for indices, _, occluded, mask in batches(pairs, batch):
            marked, seconds = _timed(finder.find, occluded, finder.device)
            marked = marked.cpu()
            spent.append((len(indices), seconds))
            found.append(pack(marked[:, 0].numpy()))
            writer.write(_lines(metrics, pairs, indices, marked, mask))
            bar.update(len(indices))
        bar.close()
        info = {
            **_facts(row, pairs),
            "key": key,
            "count": len(pairs),
            "cost": {**finder.cost(pairs.size), "images_per_second": cost.rate(spent)},
            "seconds": round(time.perf_counter() - start, 2),
        }
        with replacing(_masks_file(path)) as temporary:
            np.save(temporary, np.concatenate(found))
        return writer.finish(info)


def _facts(row: Row, pairs: FrozenOccluded) -> dict[str, Any]:
    return {
        "name": row.name,
        "kind": row.kind,
        "pairs": pairs.description,
        "held_out": pairs.held_out,
        "training": row.training,
    }


def _timed(find: Callable[[Tensor], Tensor], occluded: Tensor, device) -> tuple[Tensor, float]:
    cost.synchronise(device)
    start = time.perf_counter()
    marked = find(occluded)
    cost.synchronise(device)
    return marked, time.perf_counter() - start


def _lines(metrics: SegmentationMetrics, pairs, indices, marked, mask) -> Iterator[list]:
    known = [pairs.pairs[index] for index in indices]
    metrics.reset()
    metrics.update(marked, mask, [pair.image for pair in known], [pair.kind for pair in known])
    values = metrics.values()
    counts = confusion(marked, mask).long().tolist()
    for place, (index, pair) in enumerate(zip(indices, known, strict=True)):
        facts = [index, pair.image, pair.kind, pair.number, f"{pair.hole_ratio:.6f}"]
        yield [*facts, *(values[column][place] for column in COLUMNS), *counts[place]]


def _masks_file(path: Path) -> Path:
    return path.with_suffix(".masks.npy")


def pack(masks: np.ndarray) -> np.ndarray:
    """Masks (N, H, W) of {0, 1} at a bit a pixel, uint8 (N, ceil(H W / 8))."""
    return np.packbits(masks.reshape(len(masks), -1).astype(bool), axis=1)


def unpack(packed: np.ndarray, size: int) -> np.ndarray:
    """`pack` undone: uint8 (N, size, size)."""
    return np.unpackbits(packed, axis=1, count=size * size).reshape(-1, size, size)


def read_masks(result: RowResult) -> np.ndarray:
    """The packed masks that a row found; see `unpack`. ValueError when some are missing."""
    path = _masks_file(result.path)
    packed = np.load(path, allow_pickle=False)
    if len(packed) != result.info["count"]:
        raise ValueError(
            f"{path}: {len(packed)} masks, expected {result.info['count']}; "
            "delete it and evaluate again"
        )
    return packed
