"""Inpainters measured with the masks they would really get: true, found by a segmenter, or none.

A case is an inpainter with a mask and its dilation. The inpainter sees the occluded picture hidden
by that mask, or as it is if it was trained on such; its answer is composed into the occluded
picture, so that whatever of the occluder the mask misses stays and costs. Blind, the picture goes
in as it is with an empty mask, and the whole prediction is what is measured. One CSV a case, one
line an image, kept as in `engines.measures.rows`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deocclude.data.contract import compose
from deocclude.data.images import to_tensor
from deocclude.data.pairs.occluded import FrozenOccluded
from deocclude.engines.inference.hole_mask import dilate
from deocclude.engines.measures.inpainting import Restorer
from deocclude.engines.measures.rows import Batch, Row, RowResult, Sheet, measured
from deocclude.engines.measures.segmentation import read_masks, unpack
from deocclude.metrics.image import ImageMetrics
from deocclude.metrics.table import OF_PIXELS

PROTOCOL = 2  # raised whenever a number in the CSVs would come out differently
FIRST = ("psnr", "ssim", "l1")  # whose rows are kept under a key that names no metric
VIEWS = {"raw": "image", "raw_hole": "hole"}  # of ImageMetrics, and how they are called here
COLUMNS = tuple(f"{view}/{metric}" for view in VIEWS.values() for metric in OF_PIXELS)
TRUE, BLIND = "true mask", "blind"

DILATIONS = (0, 3, 7, 15)


@dataclass(frozen=True, eq=False)
class MaskSource:
    """Where masks come from. `packed`: those a segmenter found, as `engines.measures.segmentation`
    packs them.

    `identity` changes whenever the masks would.
    """

    name: str
    identity: str
    packed: np.ndarray | None = None


TRUE_MASK, NO_MASK = MaskSource(TRUE, TRUE), MaskSource(BLIND, BLIND)


def found_masks(result: RowResult) -> MaskSource:
    """The masks of a measured segmenter."""
    return MaskSource(result.name, result.info["key"]["row"], read_masks(result))


@dataclass(frozen=True, eq=False)
class Case:
    """An inpainter with a mask, dilated by so many pixels."""

    inpainter: Row
    source: MaskSource
    dilation: int = 0

    @property
    def name(self) -> str:
        grown = f", {self.dilation} px" if self.dilation else ""
        return f"{self.inpainter.name}, {self.source.name}{grown}"


def plan_cases(
    inpainters: Sequence[Row],
    baselines: Sequence[Row],
    segmenters: Sequence[MaskSource],
    dilations: Sequence[int],
    best: MaskSource,
) -> list[Case]:
    """Which cases make the tables, in their order.

    Every row meets the true mask and every segmenter's mask. Inpainters meet none too (blind), and
    the true mask and the `best` segmenter's dilated.
    """
    cases = []
    for row in (*inpainters, *baselines):
        for source in (TRUE_MASK, *segmenters):
            grown = dilations if source in (TRUE_MASK, best) and row in inpainters else ()
            cases += [Case(row, source, radius) for radius in sorted({0, *grown})]
        if row in inpainters:
            cases.append(Case(row, NO_MASK))
    return cases


def evaluate_cases(
    cases: Sequence[Case],
    pairs: FrozenOccluded,
    folder: Path,
    *,
    batch: int = 64,
    device: str | torch.device = "cpu",
) -> list[RowResult]:
    """Measure each case on every pair, or take the values found in `folder`.

    The cases of one inpainter share one pass over the pairs. Other arguments as in
    `engines.measures.inpainting.evaluate_rows`.
    """
    sheets = [_sheet(case, torch.device(device)) for case in cases]
    return measured(sheets, pairs, folder, None, batch)


def _sheet(case: Case, device: torch.device) -> Sheet:
    facts = {"inpainter": case.inpainter.name, "mask": case.source.name, "dilation": case.dilation}
    further = [metric for metric in OF_PIXELS if metric not in FIRST]
    return Sheet(
        case.inpainter,
        {"protocol": PROTOCOL, "table": "end to end", "mask": case.source.identity}
        | {"dilation": case.dilation}
        | ({"metrics": further} if further else {}),
        lambda restorer: _Restored(restorer, case, device),
        case.name,
        {"name": case.name, **facts},
    )


class _Restored:
    """What comes out, and how much of the picture was marked."""

    columns = ("marked", *COLUMNS)

    def __init__(self, restorer: Restorer, case: Case, device: torch.device) -> None:
        self.restorer, self.case, self.device = restorer, case, device
        self.metrics = ImageMetrics(OF_PIXELS, views=VIEWS)

    def add(self, batch: Batch, answer: None) -> Iterable[Sequence[float]]:
        used = used_masks(self.case, batch.indices, batch.mask)
        restored = restore(self.restorer, self.case, batch.seen, used).to(self.device)
        there = batch.to(self.device)
        self.metrics.reset()
        self.metrics.update(restored, there.target, there.mask, batch.names)
        values = self.metrics.values()
        columns = [values[f"{view}/{metric}"] for view in VIEWS for metric in OF_PIXELS]
        return zip(used.mean(dim=(1, 2, 3)).tolist(), *columns, strict=True)

    def finish(self, path: Path) -> dict[str, Any]:
        return {}


def used_masks(case: Case, indices: Sequence[int], true: Tensor) -> Tensor:
    """The masks an inpainter is given: (N, 1, H, W) of {0, 1}, empty when blind."""
    if case.source.name == BLIND:
        return torch.zeros_like(true)
    if case.source.packed is None:
        masks = true[:, 0].numpy().astype(np.uint8)
    else:
        masks = unpack(case.source.packed[list(indices)], true.shape[-1])
    return to_tensor(np.stack([dilate(mask, case.dilation) for mask in masks]))


def restore(restorer: Restorer, case: Case, occluded: Tensor, mask: Tensor) -> Tensor:
    """The picture that is measured, (N, 3, H, W) in [0, 1]."""
    prediction = restorer.restore(restorer.show(occluded, mask), mask).cpu()
    return prediction if case.source.name == BLIND else compose(prediction, occluded, mask)
