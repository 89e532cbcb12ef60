"""Inpainters and baselines measured on frozen pairs of a picture and a hole.

A row is a trained model (SHA-256 of its weights) or a baseline (its settings). Each further measure
(`engines.measures.columns`) has a file of its own beside the row's (`engines.measures.rows`).
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deocclude.data.contract import hide
from deocclude.data.pairs.holes import FrozenPairs
from deocclude.data.pairs.occluded import FrozenOccluded
from deocclude.engines.ensemble.opening import weights_identity
from deocclude.engines.inference import baselines, cost, networks
from deocclude.engines.inference.ppca import FittedFaces
from deocclude.engines.measures.columns import (
    PIXELS,
    PUBLISHED,
    PUBLISHED_BATCH,
    Measure,
    further_pixels,
    pixels,
)
from deocclude.engines.measures.rows import (
    Batch,
    Row,
    RowResult,
    Sheet,
    check_names,
    facts_of,
    measured,
)
from deocclude.engines.runs.devices import device_name
from deocclude.engines.runs.recipes import member_digests

logger = logging.getLogger(__name__)

PROTOCOL = 1  # raised whenever a number in the CSVs would come out differently


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


Restorer = networks.Inpainter | BaselineRestorer  # what a row opens


def baseline_row(name: str, pool: baselines.BaselinePool) -> Row:
    """The row of a baseline. ValueError lists the valid names, or says that `pool` has no faces for
    the one that is fitted to some."""
    if name != baselines.PPCA:
        baselines.create_baseline(name)
    return Row(
        baselines.LABELS[name],
        "baseline",
        baselines.identity(name, pool.faces),
        partial(BaselineRestorer, name, pool),
    )


def fitted_to(
    names: Sequence[str], pairs: FrozenPairs | FrozenOccluded, cache: Path
) -> tuple[list[str], FittedFaces | None, list[str]]:
    """The baselines of `names` that can be had on these pairs, what `ppca` is fitted to (the faces
    that are trained on beside them; kept in `cache`), and a line for the table. Where there are no
    such faces it is left out, which the line says."""
    if baselines.PPCA not in names:
        return list(names), None, []
    try:
        if pairs.training is None:
            raise ValueError("no training faces are known that go with these pictures")
        faces = FittedFaces(pairs.training(), cache)
    except ValueError as error:
        line = f"{baselines.LABELS[baselines.PPCA]} is left out: {error}."
        logger.warning(line)
        return [name for name in names if name != baselines.PPCA], None, [line]
    return list(names), faces, [faces.words]


def model_row(
    name: str,
    checkpoint: Path,
    device: str | torch.device = "auto",
    training: dict[str, Any] | None = None,
    flip: bool = False,
) -> Row:
    """The row of a `best.safetensors` or an ensemble's file, which is hashed now, with its members,
    and read when the row is opened.

    With `flip` it is the row "<name> + flip": its predictions are means with the mirrored input's.
    """
    opener = partial(networks.read_inpainter, checkpoint, device, flip=flip)
    identity = weights_identity(checkpoint)
    members = member_digests(checkpoint)
    if flip:
        name, identity = f"{name} + flip", f"{identity} + flip"
        members = tuple(f"{member} + flip" for member in members)
    return Row(name, "model", identity, opener, training, members=members)


def ask(restorer: Restorer, batch: Batch) -> Callable[[], Tensor]:
    """What predicts the pictures, (N, 3, H, W), once their holes are cut."""
    return partial(restorer.restore, hide(batch.seen, batch.mask, restorer.fill), batch.mask)


def evaluate_rows(
    rows: Sequence[Row],
    pairs: FrozenPairs,
    folder: Path,
    *,
    batch: int = 64,
    device: str | torch.device = "cpu",
    measures: Sequence[Measure] = (),
) -> list[RowResult]:
    """Measure each row on every pair, or take the values found in `folder`.

    Args:
        rows: what to compare, in the table's order.
        pairs: what to measure on.
        folder: where `rows/` with the CSVs lies.
        batch: images restored and measured at once; changes no value beyond rounding.
        device: where the metrics are computed.
        measures: what is measured beside the metrics of pixels, from `engines.measures.columns`;
            those that cannot be had leave their reason.
    """
    check_names([row.name for row in rows], pairs)
    device = torch.device(device)
    measures = [*further_pixels(), *measures]
    measures = [pixels(), *(each.settle(pairs) if each.settle else each for each in measures)]
    had = [measure for measure in measures if measure.reason is None]
    if any(measure.name == PUBLISHED for measure in had):
        batch = -(-batch // PUBLISHED_BATCH) * PUBLISHED_BATCH  # their batches stay whole
    sheets = [
        _sheet(single, measure, pairs, device)
        for row in rows
        for single in row.seeds or (row,)
        for measure in had
    ]
    found = iter(measured(sheets, pairs, folder, ask, batch, device))
    results = []
    for row in rows:
        singles = [_joined(measures, islice(found, len(had))) for _ in row.seeds or (row,)]
        results.append(_folded(row, pairs, singles) if row.seeds else singles[0])
    return results


def _sheet(row: Row, measure: Measure, pairs: FrozenPairs, device: torch.device) -> Sheet:
    start = measure.start
    assert start is not None  # it can be had
    key: dict[str, Any] = {"protocol": PROTOCOL}
    if own := measure.name == PIXELS:  # two entries from when one file held everything: stay valid
        key |= {"lpips": None, "as_published": False}
    else:
        key["measure"] = {"name": measure.name, **measure.key}
    name = row.name if own else f"{row.name} {measure.name}"
    return Sheet(row, key, lambda _: start(pairs, device), name, describes=own, priced=own)


def _joined(measures: Sequence[Measure], found: Iterable[RowResult]) -> RowResult:
    """The pixels' values with those of all other measures, and what is known of these: the note or
    reason, the values of the set."""
    base, *others = found
    values = {result.info["key"]["measure"]["name"]: result.info["set"] for result in others}
    told = {
        measure.name: {"note": measure.note, "reason": measure.reason}
        | values.get(measure.name, {})
        for measure in measures[1:]
    }
    parts = [result for result in others if result.info["by_image"]]
    return RowResult(base.path, base.info | {"measures": told}, tuple(parts))


def _folded(row: Row, pairs: FrozenPairs, seeds: list[RowResult]) -> RowResult:
    """The row of several seeds: the mean of their values, of each image and of the set."""
    infos = [result.info for result in seeds]
    measures = {name: dict(told) for name, told in infos[0]["measures"].items()}
    for name, told in measures.items():
        for key, value in told.items():
            if isinstance(value, float):
                told[key] = sum(info["measures"][name][key] for info in infos) / len(infos)
    info = infos[0] | facts_of(row, pairs) | {"measures": measures}
    return RowResult(seeds[0].path, info, seeds=tuple(seeds))
