"""Segmenters measured on frozen occluded pairs, and the masks they find.

A row is a trained segmenter or a trivial answer. The masks lie beside its CSV, a bit a pixel, so
that pictures and the end-to-end table need no second pass (`engines.measures.rows`).
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deocclude.data.files import replacing
from deocclude.data.pairs.occluded import FrozenOccluded
from deocclude.engines.ensemble.opening import weights_identity
from deocclude.engines.inference import cost, networks
from deocclude.engines.measures.rows import Batch, Row, RowResult, Sheet, measured
from deocclude.metrics.segmentation import COLUMNS, COUNTS, SegmentationMetrics, confusion

PROTOCOL = 2  # raised whenever a number in the CSVs would come out differently
MASKS = ".masks.npy"  # how the file beside a CSV ends


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
        return cost.nothing(self.device)


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
    key = {"protocol": PROTOCOL, "table": "segmentation"}
    sheets = [Sheet(row, key, _Masks, beside=MASKS) for row in rows]
    return measured(sheets, pairs, folder, lambda row, part: partial(_marks, row, part.seen), batch)


def _marks(finder: networks.Segmenter | ConstantFinder, seen: Tensor) -> Tensor:
    """A mask of {0, 1}, (N, 1, H, W). A segmenter of another size is asked at its own."""
    if isinstance(finder, networks.Segmenter) and seen.shape[-1] != finder.size:
        return (finder.probability(seen) > 0.5).float()
    return finder.find(seen)


class _Masks:
    """How well masks fit, and the masks."""

    columns = (*COLUMNS, *COUNTS)

    def __init__(self, finder: networks.Segmenter | ConstantFinder) -> None:
        self.metrics, self.packed = SegmentationMetrics(), []

    def add(self, batch: Batch, marked: Tensor) -> Iterator[list[float]]:
        self.packed.append(pack(marked[:, 0].numpy()))
        self.metrics.reset()
        self.metrics.update(marked, batch.mask, batch.names, batch.kinds)
        values = self.metrics.values()
        for place, counts in enumerate(confusion(marked, batch.mask).long().tolist()):
            yield [*(values[column][place] for column in COLUMNS), *counts]

    def finish(self, path: Path) -> dict[str, Any]:
        with replacing(path.with_suffix(MASKS)) as temporary:
            np.save(temporary, np.concatenate(self.packed))
        return {}


def pack(masks: np.ndarray) -> np.ndarray:
    """Masks (N, H, W) of {0, 1} at a bit a pixel, uint8 (N, ceil(H W / 8))."""
    return np.packbits(masks.reshape(len(masks), -1).astype(bool), axis=1)


def unpack(packed: np.ndarray, size: int) -> np.ndarray:
    """`pack` undone: uint8 (N, size, size)."""
    return np.unpackbits(packed, axis=1, count=size * size).reshape(-1, size, size)


def read_masks(result: RowResult) -> np.ndarray:
    """The packed masks that a row found; see `unpack`. ValueError when some are missing."""
    path = result.path.with_suffix(MASKS)
    packed = np.load(path, allow_pickle=False)
    if len(packed) != result.info["count"]:
        raise ValueError(
            f"{path}: {len(packed)} masks, expected {result.info['count']}; "
            "delete it and evaluate again"
        )
    return packed
