"""Measured values on disk: one CSV a row of a table, one line an image, and a JSON beside it.

A CSV is written under a temporary name and renamed when it is whole; the JSON is written last and
marks the row as done. Both are named by a key of everything that decides the values, so that a row
is never computed twice and never mistaken for another.
"""

import csv
import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from deocclude.data.files import temporary_name, write_text

logger = logging.getLogger(__name__)


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


def read_result(path: Path) -> RowResult:
    """A row from its JSON file. FileNotFoundError when its CSV is gone."""
    info = json.loads(path.read_text(encoding="utf-8"))
    if not path.with_suffix(".csv").is_file() and info.get("by_image", True):
        raise FileNotFoundError(f"{path.with_suffix('.csv')}: the values of this row are missing")
    return RowResult(path.with_suffix(".csv"), info)


def row_file(folder: Path, name: str, key: Mapping[str, Any]) -> Path:
    """The CSV below `folder/rows/` in which the values that `key` decides are kept."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.").lower() or "row"
    return folder / "rows" / f"{slug}-{digest[:12]}.csv"


def find_row(path: Path, key: Mapping[str, Any]) -> RowResult | None:
    """The row of this key if it is done, under whatever name it was measured."""
    for note in path.parent.glob(f"*{path.stem[-13:]}.json"):
        info = json.loads(note.read_text(encoding="utf-8"))
        there = note.with_suffix(".csv").is_file() or not info.get("by_image", True)
        if there and info["key"] == key:
            return RowResult(note.with_suffix(".csv"), info)
    return None


def check_rows(rows: Sequence[Any], pairs: Sized) -> None:
    """ValueError without pairs, or when two rows have one name."""
    if not len(pairs):
        raise ValueError("there are no pairs to evaluate on")
    if len({row.name for row in rows}) < len(rows):
        raise ValueError(f"rows must have names of their own: {', '.join(r.name for r in rows)}")


def measured_rows(
    rows: Sequence[Any],
    pairs: Sized,
    folder: Path,
    key: Callable[[Any], dict[str, Any]],
    measure: Callable[[Any, Sized, Path, dict[str, Any]], RowResult],
    facts: Callable[[Any, Sized], dict[str, Any]],
    beside: Callable[[Path], Path] | None = None,
) -> list[RowResult]:
    """Each row's values: those found in `folder`, else measured now.

    Args:
        rows: with a `name` each, all different.
        key: what decides a row's values.
        measure: (row, pairs, path, key) to the values, written at `path`.
        facts: (row, pairs) to what is said about values that were measured before, as it holds now.
        beside: the file that belongs to a CSV, without which it has to be measured again.
    """
    check_rows(rows, pairs)
    results = []
    for row in rows:
        known = key(row)
        path = row_file(folder, row.name, known)
        result = find_row(path, known)
        if result is None or (beside is not None and not beside(result.path).is_file()):
            result = measure(row, pairs, path, known)
        else:
            logger.info("%s: already evaluated on these pairs, %s", row.name, result.path)
            result = RowResult(result.path, result.info | facts(row, pairs))
        results.append(result)
    return results


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
