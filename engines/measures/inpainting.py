"""Rows of a comparison measured on frozen pairs: one CSV a row, one line an image, streamed.

A row is a trained model or a baseline. Its CSV is written batch by batch (`engines.measures.rows`)
and named by a key of the pairs' hash, the row's identity (SHA-256 of its weights, or a baseline's
settings) and PROTOCOL, so that a row is never computed twice and never mistaken for another. Each
further measure (`engines.measures.columns`) has a file of its own beside it.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from deocclude.data.contract import hide
from deocclude.data.pairs.holes import FrozenPairs
from deocclude.engines.ensemble.opening import weights_identity
from deocclude.engines.inference import baselines, cost, networks
from deocclude.engines.measures.columns import (
    PIXELS,
    PUBLISHED,
    PUBLISHED_BATCH,
    Measure,
    batches,
    pixels,
)
from deocclude.engines.measures.rows import RowResult, RowWriter, check_rows, find_row, row_file
from deocclude.engines.runs.devices import device_name
from deocclude.engines.runs.recipes import member_digests
from deocclude.metrics.image import NotFiniteError
from deocclude.progress import Bar

logger = logging.getLogger(__name__)

PROTOCOL = 1  # raised whenever a number in the CSVs would come out differently
PAIR_COLUMNS = ("index", "image", "mask", "bin", "border", "hole_ratio")


class BatchRestorer(Protocol):
    """Something that restores a batch; `fill` is the grey level it wants to see in the hole, `show`
    what it wants to see of a picture of which a mask says what covers the face."""

    fill: float
    device: torch.device

    def show(self, picture: Tensor, mask: Tensor) -> Tensor: ...

    def restore(self, occluded: Tensor, mask: Tensor) -> Tensor: ...

    def cost(self, size: int) -> dict[str, Any]: ...


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
    open: Callable[[], BatchRestorer]
    training: dict[str, Any] | None = None  # what it was trained for, for the cost table
    seeds: tuple["Row", ...] = ()  # the rows of which this one is the mean
    members: tuple[str, ...] = ()  # an ensemble's: their identities


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
        measures: what is measured beside L1, MSE, PSNR and SSIM, from `engines.measures.columns`;
            those that cannot be had leave their reason.
    """
    check_rows(rows, pairs)
    if batch < 1:
        raise ValueError(f"batch must be at least 1, found {batch}")
    measures = [pixels(), *(each.settle(pairs) if each.settle else each for each in measures)]
    device = torch.device(device)
    return [_evaluate_row(row, pairs, folder, batch, device, measures) for row in rows]


def _evaluate_row(
    row: Row, pairs: FrozenPairs, folder: Path, batch: int, device: torch.device, measures: list
) -> RowResult:
    if row.seeds:
        seeds = [_evaluate_row(s, pairs, folder, batch, device, measures) for s in row.seeds]
        return _folded(row, pairs, seeds)
    had = [measure for measure in measures if measure.reason is None]
    keys = {measure.name: _key(row, pairs, measure) for measure in had}
    files = {name: row_file(folder, _file_name(row, name), key) for name, key in keys.items()}
    found = {name: find_row(files[name], key) for name, key in keys.items()}
    if lacking := [measure for measure in had if found[measure.name] is None]:
        found |= _measure_row(row, pairs, files, keys, lacking, batch, device)
    else:
        logger.info("%s: already evaluated on these pairs, %s", row.name, found[PIXELS].path)
    base = found.pop(PIXELS)
    values = {name: result.info["set"] for name, result in found.items()}
    # The values are those of then; what is said about them is what holds now.
    info = base.info | _facts(row, pairs) | {"measures": _told(measures, values)}
    parts = [result for result in found.values() if result.info["by_image"]]
    return RowResult(base.path, info, tuple(parts))


def _told(measures: Sequence[Measure], values: dict[str, dict]) -> dict[str, dict[str, Any]]:
    """What is known of each measure but the first: its note or reason, its values of the set."""
    return {
        measure.name: {"note": measure.note, "reason": measure.reason}
        | values.get(measure.name, {})
        for measure in measures[1:]
    }


def _folded(row: Row, pairs: FrozenPairs, seeds: list[RowResult]) -> RowResult:
    """The row of several seeds: the mean of their values, of each image and of the set."""
    infos = [result.info for result in seeds]
    measures = {name: dict(told) for name, told in infos[0]["measures"].items()}
    for name, told in measures.items():
        for key, value in told.items():
            if isinstance(value, float):
                told[key] = sum(info["measures"][name][key] for info in infos) / len(infos)
    info = infos[0] | _facts(row, pairs) | {"measures": measures}
    return RowResult(seeds[0].path, info, seeds=tuple(seeds))


def _file_name(row: Row, measure: str) -> str:
    return row.name if measure == PIXELS else f"{row.name} {measure}"


def _key(row: Row, pairs: FrozenPairs, measure: Measure) -> dict[str, Any]:
    key = {"protocol": PROTOCOL, "pairs": pairs.hash, "size": pairs.size, "row": row.identity}
    if measure.name == PIXELS:  # two entries from when one file held everything: it stays valid
        return key | {"lpips": None, "as_published": False}
    return key | {"measure": {"name": measure.name, **measure.key}}


def _measure_row(
    row: Row, pairs, files: dict, keys: dict, measures: list[Measure], batch: int, device
) -> dict[str, RowResult]:
    """The results of `measures`, all from one pass over the pairs."""
    start = time.perf_counter()
    recorders = {measure.name: measure.start(pairs, device) for measure in measures}
    restorer = row.open()
    if PUBLISHED in recorders:
        batch = -(-batch // PUBLISHED_BATCH) * PUBLISHED_BATCH  # their batches stay whole
    spent = []
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(RowWriter(files[name], _columns(name, recorder.columns)))
            for name, recorder in recorders.items()
        }
        bar = stack.enter_context(Bar(total=len(pairs), desc=row.name, unit="image"))
        for indices, target, mask in batches(pairs, batch):
            prediction, seconds = _restore(restorer, target, mask)
            spent.append((len(indices), seconds))
            prediction, target, mask = (p.to(device) for p in (prediction, target, mask))
            names = [pairs.pairs[index].image for index in indices]
            for name, recorder in recorders.items():
                try:
                    values = recorder.add(prediction, target, mask, names)
                except NotFiniteError as error:
                    raise NotFiniteError(f"{row.name}: {error}") from error
                if values:
                    writers[name].write(_lines(pairs, indices, values, name == PIXELS))
            bar.update(len(indices))
        common = {**_facts(row, pairs), "count": len(pairs)}
        common["seconds"] = round(time.perf_counter() - start, 2)
        results = {}
        for name, recorder in recorders.items():
            info = {**common, "key": keys[name], "set": recorder.finish()}
            if name == PIXELS:
                rate = {"images_per_second": cost.rate(spent)}
                info["cost"] = {**restorer.cost(pairs.size), **rate}
            results[name] = writers[name].finish(info)
        return results


def _columns(measure: str, columns: Sequence[str]) -> list[str]:
    return [*(PAIR_COLUMNS if measure == PIXELS else ["index"]), *columns] if columns else []


def _facts(row: Row, pairs: FrozenPairs) -> dict[str, Any]:
    """What may change while the values stay, such as the name a row goes by in this table."""
    facts = {"name": row.name, "kind": row.kind, "pairs": pairs.description}
    behind = {"identity": row.identity, "members": list(row.members)}
    return facts | {"training": row.training} | behind


def _restore(restorer: BatchRestorer, target: Tensor, mask: Tensor) -> tuple[Tensor, float]:
    occluded = hide(target, mask, restorer.fill)
    cost.synchronise(restorer.device)
    start = time.perf_counter()
    prediction = restorer.restore(occluded, mask)
    cost.synchronise(restorer.device)
    return prediction, time.perf_counter() - start


def _lines(
    pairs: FrozenPairs, indices: list[int], columns: list[list[float]], described: bool
) -> Iterator[list]:
    for index, *values in zip(indices, *columns, strict=True):
        pair = pairs.pairs[index]
        known = [pair.image, pair.mask, pair.bin, int(pair.border), f"{pair.hole_ratio:.6f}"]
        yield [index, *(known if described else []), *values]
