"""Inpainters measured with the masks they would really get: true, found by a segmenter, or none.

A case is an inpainter with a mask and its dilation. The inpainter sees the occluded picture hidden
by that mask, or as it is if it was trained on such; its answer is composed into the occluded
picture, so that whatever of the occluder the mask misses stays and costs. Blind, the picture goes
in as it is with an empty mask, and the whole prediction is what is measured. One CSV a case, one
line an image, kept as in `engines.measures.rows`.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
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
from deocclude.engines.measures.inpainting import BatchRestorer, Row
from deocclude.engines.measures.rows import RowResult, RowWriter, find_row, row_file
from deocclude.engines.measures.segmentation import batches, read_masks, unpack
from deocclude.metrics.image import ImageMetrics
from deocclude.progress import Bar

logger = logging.getLogger(__name__)

PROTOCOL = 2  # raised whenever a number in the CSVs would come out differently
PAIR_COLUMNS = ("index", "image", "kind", "number", "hole_ratio", "marked")
METRICS = ("psnr", "ssim", "l1")
VIEWS = {"raw": "image", "raw_hole": "hole"}  # of ImageMetrics, and how they are called here
COLUMNS = tuple(f"{view}/{metric}" for view in VIEWS.values() for metric in METRICS)
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
    if not len(pairs):
        raise ValueError("there are no pairs to evaluate on")
    if len({case.name for case in cases}) < len(cases):
        raise ValueError("cases must have names of their own: an inpainter, a mask, a dilation")
    results: dict[str, RowResult] = {}
    missing: dict[str, list[tuple[Case, Path, dict]]] = {}
    for case in cases:
        key = _key(case, pairs)
        path = row_file(folder, case.name, key)
        result = find_row(path, key)
        if result is None:
            missing.setdefault(case.inpainter.identity, []).append((case, path, key))
        else:
            results[case.name] = RowResult(result.path, result.info | _facts(case, pairs))
    if results:
        logger.info("%d of %d cases were measured before", len(results), len(cases))
    for jobs in missing.values():
        for case, result in _measure(jobs, pairs, batch, device):
            results[case.name] = result
    return [results[case.name] for case in cases]


def _key(case: Case, pairs: FrozenOccluded) -> dict[str, Any]:
    return {
        "protocol": PROTOCOL,
        "table": "end to end",
        "pairs": pairs.hash,
        "size": pairs.size,
        "row": case.inpainter.identity,
        "mask": case.source.identity,
        "dilation": case.dilation,
    }


def _facts(case: Case, pairs: FrozenOccluded) -> dict[str, Any]:
    return {
        "name": case.name,
        "inpainter": case.inpainter.name,
        "kind": case.inpainter.kind,
        "mask": case.source.name,
        "dilation": case.dilation,
        "pairs": pairs.description,
        "held_out": pairs.held_out,
    }


def _measure(jobs: Sequence[tuple[Case, Path, dict]], pairs, batch: int, device) -> list[tuple]:
    start = time.perf_counter()
    row = jobs[0][0].inpainter
    restorer: BatchRestorer = row.open()
    metrics = ImageMetrics(METRICS, views=VIEWS)
    with ExitStack() as stack:
        writers = [
            stack.enter_context(RowWriter(path, [*PAIR_COLUMNS, *COLUMNS])) for _, path, _ in jobs
        ]
        words = f"{row.name}, {len(jobs)} masks"
        bar = Bar(total=len(pairs) * len(jobs), desc=words, unit="image")
        for indices, target, occluded, true in batches(pairs, batch):
            for (case, _, _), writer in zip(jobs, writers, strict=True):
                used = used_masks(case, indices, true)
                restored = restore(restorer, case, occluded, used).to(device)
                measured = (restored, target.to(device), true.to(device))
                writer.write(_lines(metrics, pairs, indices, *measured, used))
                bar.update(len(indices))
        bar.close()
        seconds = round(time.perf_counter() - start, 2)
        return [
            (case, writer.finish(_facts(case, pairs) | facts))
            for (case, _, key), writer in zip(jobs, writers, strict=True)
            for facts in [{"key": key, "count": len(pairs), "seconds_of_inpainter": seconds}]
        ]


def used_masks(case: Case, indices: Sequence[int], true: Tensor) -> Tensor:
    """The masks an inpainter is given: (N, 1, H, W) of {0, 1}, empty when blind."""
    if case.source.name == BLIND:
        return torch.zeros_like(true)
    if case.source.packed is None:
        masks = true[:, 0].numpy().astype(np.uint8)
    else:
        masks = unpack(case.source.packed[list(indices)], true.shape[-1])
    return to_tensor(np.stack([dilate(mask, case.dilation) for mask in masks]))


def restore(restorer: BatchRestorer, case: Case, occluded: Tensor, mask: Tensor) -> Tensor:
    """The picture that is measured, (N, 3, H, W) in [0, 1]."""
    prediction = restorer.restore(restorer.show(occluded, mask), mask).cpu()
    return prediction if case.source.name == BLIND else compose(prediction, occluded, mask)


def _lines(metrics: ImageMetrics, pairs, indices, restored, target, true, used) -> Iterator[list]:
    known = [pairs.pairs[index] for index in indices]
    metrics.reset()
    metrics.update(restored, target, true, [pair.image for pair in known])
    values = metrics.values()
    columns = [values[f"{view}/{metric}"] for view in VIEWS for metric in METRICS]
    marked = used.mean(dim=(1, 2, 3)).tolist()
    for place, (index, pair) in enumerate(zip(indices, known, strict=True)):
        facts = [index, pair.image, pair.kind, pair.number, f"{pair.hole_ratio:.6f}"]
        yield [*facts, marked[place], *(column[place] for column in columns)]
