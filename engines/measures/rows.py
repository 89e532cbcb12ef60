"""Rows of a table, measured on frozen pairs and kept: one CSV a row, one line an image, a JSON
beside it.

A CSV is written batch by batch under a temporary name and renamed when it is whole; the JSON is
written last and marks it as done. Both are named by a key of everything that decides the values
(the pairs' hash, the row's identity, a protocol that is raised whenever a number would come out
differently), so that a row is never computed twice and never mistaken for another.
"""

import csv
import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from deocclude.data.contract import check_pair
from deocclude.data.files import temporary_name, write_text
from deocclude.data.images import to_tensor
from deocclude.data.pairs.holes import FrozenPairs, Pair
from deocclude.data.pairs.occluded import FrozenOccluded
from deocclude.data.pairs.tensors import batches, load_occluded
from deocclude.engines.inference import cost
from deocclude.metrics.image import NotFiniteError
from deocclude.progress import Bar

logger = logging.getLogger(__name__)

HOLE_COLUMNS = ("index", "image", "mask", "bin", "border", "hole_ratio")  # of FrozenPairs
OCCLUDED_COLUMNS = ("index", "image", "kind", "number", "hole_ratio")  # of FrozenOccluded
Pairs = FrozenPairs | FrozenOccluded


@dataclass(frozen=True)
class Row:
    """One line of a table. `identity` changes whenever its numbers would; `open` makes it ready."""

    name: str
    kind: str  # "model" or "baseline"
    identity: str
    open: Callable[[], Any]
    training: dict[str, Any] | None = None  # what it was trained for, for the cost table
    seeds: tuple["Row", ...] = ()  # the rows of which this one is the mean
    members: tuple[str, ...] = ()  # an ensemble's: their identities


@dataclass(frozen=True, eq=False)
class Batch:
    """Some of the pairs, in the contract's form. `seen` is the picture: with the occluder on it, or
    the target, on which the hole is still to be cut."""

    indices: Sequence[int]
    names: list[str]  # of the pictures
    kinds: list[str]  # of the occluders; none of holes
    target: Tensor | None  # None where a set on disk lacks one
    seen: Tensor
    mask: Tensor

    def to(self, device: torch.device) -> "Batch":
        target = None if self.target is None else self.target.to(device)
        return replace(self, target=target, seen=self.seen.to(device), mask=self.mask.to(device))


Ask = Callable[[Any, Batch], Callable[[], Tensor]]


class Recorder(Protocol):
    """Values of one row under way. `columns`: those of each pair."""

    columns: Sequence[str]

    def add(self, batch: Batch, answer: Any) -> Iterable[Sequence]:
        """A line of values for each pair of a batch; none without columns."""

    def finish(self, path: Path) -> dict[str, Any]:
        """What holds for the whole set; what belongs to the CSV at `path` is written beside it."""


@dataclass(frozen=True, eq=False)
class Sheet:
    """Values of a row that lie in one CSV; sheets of one row share a pass over the pairs.

    Attributes:
        key: what decides the values, beside the row and the pairs.
        start: the opened row to what records its answers.
        name: of the file, the row's by default.
        facts: what else is said of the values, as it holds now.
        beside: how the file ends that lies beside the CSV, without which it is measured again.
        describes: whether the CSV tells of each pair what it is, not just its place.
        priced: whether the row's cost is measured too.
    """

    row: Row
    key: Mapping[str, Any]
    start: Callable[[Any], Recorder]
    name: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    beside: str = ".json"
    describes: bool = True
    priced: bool = True


@dataclass(frozen=True)
class RowResult:
    """A measured row: where its values are and what is known about them.

    `parts` hold further columns of the same images. `seeds`: the rows of several training seeds
    of which this is the mean; `path` is then that of the first.
    """

    path: Path
    info: dict[str, Any]
    parts: tuple["RowResult", ...] = ()
    seeds: tuple["RowResult", ...] = ()

    @property
    def name(self) -> str:
        return self.info["name"]

    def frame(self) -> pd.DataFrame:
        """The per-image values, a line an image. ValueError when a file is not whole."""
        if self.seeds:
            return _mean_frame([result.frame() for result in self.seeds])
        frame = pd.read_csv(self.path)
        if len(frame) != self.info["count"]:
            raise ValueError(
                f"{self.path}: {len(frame)} lines, expected {self.info['count']}; "
                "delete it and evaluate again"
            )
        for part in self.parts:
            frame = frame.join(part.frame().set_index("index"), on="index")
        return frame


def _mean_frame(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The mean of every value over frames of the same images; NaN where one of them is."""
    values = [name for name in frames[0] if "/" in name]
    summed = sum(frame[values] for frame in frames)
    return frames[0].assign(**{name: summed[name] / len(frames) for name in values})


def row_file(folder: Path, name: str, key: Mapping[str, Any]) -> Path:
    """The CSV below `folder/rows/` in which the values that `key` decides are kept."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.").lower() or "row"
    return folder / "rows" / f"{slug}-{digest[:12]}.csv"


def find_row(path: Path, key: Mapping[str, Any], beside: str = ".json") -> RowResult | None:
    """The row of this key if it is done, under whatever name it was measured. `beside`: how the
    file ends that has to lie beside the CSV."""
    for note in path.parent.glob(f"*{path.stem[-13:]}.json"):
        info = json.loads(note.read_text(encoding="utf-8"))
        there = note.with_suffix(".csv").is_file() or not info.get("by_image", True)
        if there and note.with_suffix(beside).is_file() and info["key"] == key:
            return RowResult(note.with_suffix(".csv"), info)
    return None


def check_names(names: Sequence[str], pairs: Sized) -> None:
    """ValueError without pairs, or when two rows have one name."""
    if not len(pairs):
        raise ValueError("there are no pairs to evaluate on")
    if len(set(names)) < len(names):
        raise ValueError(f"rows must have names of their own: {', '.join(names)}")


def facts_of(row: Row, pairs: Pairs) -> dict[str, Any]:
    """What may change while the values stay, such as the name a row goes by in this table."""
    facts = {"name": row.name, "kind": row.kind, "pairs": pairs.description}
    facts |= {"training": row.training, "identity": row.identity, "members": list(row.members)}
    return facts | ({"held_out": pairs.held_out} if isinstance(pairs, FrozenOccluded) else {})


def measured(
    sheets: Sequence[Sheet],
    pairs: Pairs,
    folder: Path,
    ask: Ask | None,
    batch: int,
    device: str | torch.device = "cpu",
) -> list[RowResult]:
    """The values of each sheet: those found below `folder`, else measured now.

    Args:
        ask: (opened row, batch) to the call that is timed, whose answer all its sheets record; None
            where each sheet asks for itself.
        batch: pairs at once; changes no value beyond rounding.
        device: where answers and batches are recorded.
    """
    check_names([sheet.name or sheet.row.name for sheet in sheets], pairs)
    if batch < 1:
        raise ValueError(f"batch must be at least 1, found {batch}")
    kept = [_Kept(sheet, pairs, folder) for sheet in sheets]
    for identity in dict.fromkeys(each.sheet.row.identity for each in kept):
        own = [each for each in kept if each.sheet.row.identity == identity]
        lacking = {json.dumps(each.key): each for each in own if each.find() is None}
        if lacking:
            _measure(list(lacking.values()), pairs, ask, batch, torch.device(device))
        else:
            name = own[0].sheet.row.name
            logger.info("%s: already evaluated on these pairs, %s", name, own[0].path)
    return [each.result() for each in kept]


class _Kept:
    """Where the values of a sheet are kept, and what is known of them now."""

    def __init__(self, sheet: Sheet, pairs: Pairs, folder: Path) -> None:
        self.sheet = sheet
        on = {"pairs": pairs.hash, "size": pairs.size, "row": sheet.row.identity}
        self.key = {**on, **sheet.key}
        self.path = row_file(folder, sheet.name or sheet.row.name, self.key)
        self.facts = {**facts_of(sheet.row, pairs), **sheet.facts}

    def find(self) -> RowResult | None:
        return find_row(self.path, self.key, self.sheet.beside)

    def result(self) -> RowResult:
        """The values are those of then; what is said about them is what holds now."""
        found = self.find()
        assert found is not None  # measured, if need be
        return RowResult(found.path, found.info | self.facts)


def _measure(
    files: Sequence[_Kept], pairs: Pairs, ask: Ask | None, batch: int, device: torch.device
) -> None:
    """Write the values of one row, all from one pass over the pairs."""
    start, row = time.perf_counter(), files[0].sheet.row
    opened = row.open()
    recorders = [each.sheet.start(opened) for each in files]
    spent: list[tuple[int, float]] = []
    with ExitStack() as stack:
        writers = [
            stack.enter_context(RowWriter(each.path, _columns(each.sheet, recorder, pairs)))
            for each, recorder in zip(files, recorders, strict=True)
        ]
        times = len(files) if ask is None else 1
        name = row.name if times == 1 else f"{row.name} × {times}"
        bar = stack.enter_context(Bar(total=times * len(pairs), desc=name, unit="image"))
        for part in _batches(pairs, batch):
            answer, count = None, len(part.indices)
            if ask is not None:
                answer, seconds = _timed(ask(opened, part), opened.device)
                spent.append((count, seconds))
                answer, part = answer.to(device), part.to(device)
                bar.update(count)
            for each, recorder, writer in zip(files, recorders, writers, strict=True):
                try:
                    lines = recorder.add(part, answer)
                    if recorder.columns:
                        writer.write(_lines(pairs, part.indices, lines, each.sheet.describes))
                except NotFiniteError as error:
                    raise NotFiniteError(f"{row.name}: {error}") from error
                if ask is None:
                    bar.update(count)
        for each, recorder, writer in zip(files, recorders, writers, strict=True):
            info = {**each.facts, "key": each.key, "count": len(pairs)}
            info |= recorder.finish(each.path)
            if spent and each.sheet.priced:
                rate = {"images_per_second": cost.rate(spent)}
                info["cost"] = {**opened.cost(pairs.size), **rate}
            writer.finish({**info, "seconds": round(time.perf_counter() - start, 2)})


def _batches(pairs: Pairs, batch: int) -> Iterator[Batch]:
    for indices in batches(pairs, batch):
        names, kinds = [pairs.pairs[index].image for index in indices], []
        if isinstance(pairs, FrozenOccluded):
            kinds = [pairs.pairs[index].kind for index in indices]
            target, seen, mask = load_occluded(pairs, indices)
        else:
            parts = zip(*(pairs.load(index) for index in indices), strict=True)
            seen, mask = (to_tensor(np.stack(part)) for part in parts)
            check_pair(seen, mask)
            target = seen
        yield Batch(indices, names, kinds, target, seen, mask)


def _timed(call: Callable[[], Tensor], device: torch.device) -> tuple[Tensor, float]:
    cost.synchronise(device)
    start = time.perf_counter()
    answer = call()
    cost.synchronise(device)
    return answer, time.perf_counter() - start


def _columns(sheet: Sheet, recorder: Recorder, pairs: Pairs) -> list[str]:
    if not recorder.columns:
        return []
    described = OCCLUDED_COLUMNS if isinstance(pairs, FrozenOccluded) else HOLE_COLUMNS
    return [*(described if sheet.describes else described[:1]), *recorder.columns]


def _lines(pairs: Pairs, indices: Sequence[int], lines: Iterable, describes: bool) -> Iterator:
    for index, values in zip(indices, lines, strict=True):
        pair = pairs.pairs[index]
        known: list[Any] = [index]
        if describes and isinstance(pair, Pair):
            known += [pair.image, pair.mask, pair.bin, int(pair.border), f"{pair.hole_ratio:.6f}"]
        elif describes:
            known += [pair.image, pair.kind, pair.number, f"{pair.hole_ratio:.6f}"]
        yield [*known, *values]


class RowWriter:
    """A row on its way to `path`; leaving the `with` block before `finish` leaves no file behind.

    Args:
        path: from `row_file`.
        columns: the CSV's first line; without any there is only what `finish` is given.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path = path
        self._columns = columns
        self._unfinished = temporary_name(path)

    def __enter__(self) -> "RowWriter":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self._unfinished, "w", newline="", encoding="utf-8")
        self._lines = csv.writer(self._file)
        self._lines.writerow(self._columns)
        return self

    def write(self, lines: Iterable[Sequence]) -> None:
        """Add lines; floats are kept to seven digits."""
        for line in lines:
            self._lines.writerow(
                [f"{value:.7g}" if isinstance(value, float) else value for value in line]
            )

    def finish(self, info: Mapping[str, Any]) -> RowResult:
        """Close the CSV, give it its name, then write `info` beside it."""
        self._file.close()
        if self._columns:
            os.replace(self._unfinished, self.path)
        info = {**info, "by_image": bool(self._columns)}
        write_text(self.path.with_suffix(".json"), json.dumps(info, indent=1))
        return RowResult(self.path, info)

    def __exit__(self, *error) -> None:
        self._file.close()
        self._unfinished.unlink(missing_ok=True)
