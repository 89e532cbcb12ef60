"""Tables of cells that keep their numbers, and what all tables share.

Text is made when a table is written: `engines.report.writers`, `engines.report.html`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from deocclude.metrics.table import DECIMALS

MEAN, OUTSIDE, ALL = "mean", "outside", "all"
BIN_LABELS = {str(i): f"{max(1, 10 * i)}–{10 * i + 10} %" for i in range(6)}
BIN_LABELS |= {OUTSIDE: "other", MEAN: "mean of bins", ALL: "whole set"}
MISSING = "–"
PERCENT = "{value:.1f} %"  # of a value that is in per cent


class _Number(float):
    """A number that is written as a dash where there is none, and as ∞ where it is infinite."""

    def __format__(self, spec: str) -> str:
        if math.isnan(self):
            return MISSING
        return "∞" if math.isinf(self) else float.__format__(self, spec)


@dataclass(frozen=True)
class Cell:
    """What a cell says: words, or a number and how it is written.

    Attributes:
        value: words, a number, or None (as NaN) where there is none, which is a dash.
        low, high: the ends of the number's interval; None: it has none, NaN: it cannot be had.
        form: a format specification such as "+.2f", for the ends too; or, with braces, all that is
            written, such as "{value:.1f} ({high:.1f})".
        best: whether the value is the best of its column or line.
    """

    value: float | str | None
    low: float | None = None
    high: float | None = None
    form: str = ""
    best: bool = False

    @property
    def number(self) -> float:
        """The value as a number; NaN for words."""
        return math.nan if self.value is None or isinstance(self.value, str) else float(self.value)

    @property
    def missing(self) -> bool:
        return self.value is None or self.value != self.value

    @property
    def parts(self) -> tuple[str, str]:
        """What is written, and the interval in brackets behind it, if there is one."""
        if isinstance(self.value, str) or self.missing:
            return (MISSING if self.missing else str(self.value)), ""
        template = self.form
        if "{" not in template:
            template = f"{{value:{self.form}}}"
            if self.low is not None and self.high is not None:
                known = math.isfinite(self.low) and math.isfinite(self.high)
                ends = f"{{low:{self.form}}}, {{high:{self.form}}}" if known else MISSING
                template += f" [{ends}]"
        given = {"value": self.value, "low": self.low, "high": self.high}
        numbers = {name: _Number(math.nan if n is None else n) for name, n in given.items()}
        written, bracket, interval = template.partition(" [")
        return written.format(**numbers), (bracket[1:] + interval).format(**numbers)

    @property
    def text(self) -> str:
        """All that is written."""
        return " ".join(part for part in self.parts if part)


REFERENCE = Cell("reference")  # in place of a row's difference to itself


@dataclass(frozen=True)
class Table:
    """A titled grid of cells; the first cell of a row is its name.

    `higher`: which way is better, said behind the title; None says nothing.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()
    higher: bool | None = None

    @property
    def direction(self) -> str:
        return {None: "", True: "higher is better", False: "lower is better"}[self.higher]

    @property
    def heading(self) -> str:
        """The title and which way is better."""
        return f"{self.title} ({self.direction})" if self.direction else self.title


def table_of(
    title: str,
    names: Sequence[str],
    columns: Iterable[tuple[str, Sequence[Cell]]],
    notes: Sequence[str] = (),
    higher: bool | None = None,
) -> Table:
    """A table from its columns, (heading, cells) each; `names` stand in front of the rows."""
    columns = list(columns)
    rows = [[Cell(name), *(cells[i] for _, cells in columns)] for i, name in enumerate(names)]
    return Table(title, ["", *(heading for heading, _ in columns)], rows, notes, higher)


def column(
    lines: pd.DataFrame,
    names: Sequence[str],
    form: str,
    *,
    by: str = "row",
    of: str = "mean",
    interval: bool = False,
    higher: bool | None = None,
    times: float = 1,
) -> list[Cell]:
    """A cell for each of `names`, which stand in the column `by` of `lines`, each at most once.

    Args:
        form: as in Cell.
        of: the column of the numbers; their ends are in `low` and `high` for the mean, else in
            `<of>_low` and `<of>_high`.
        interval: with the ends; where one is missing a plain `form` leaves both out.
        higher: mark the best, which is the highest or the lowest; None marks nothing.
        times: by what all numbers are multiplied, 100 for per cent.
    """
    ends = [f"{of}_low".removeprefix("mean_"), f"{of}_high".removeprefix("mean_")]
    found = lines.set_index(by).reindex(index=names, columns=[of, *ends]).astype(float) * times
    cells = []
    for value, *known in found.itertuples(index=False):
        whole = interval and ("{" in form or all(map(math.isfinite, known)))
        low, high = known if whole else (None, None)
        cells.append(Cell(value, low, high, form))
    return cells if higher is None else mark_best(cells, higher)


def pivot(
    frame: pd.DataFrame,
    rows: str,
    columns: str,
    *,
    form: str,
    title: str,
    heads: Mapping[str, str] | None = None,
    higher: bool | None = None,
    say: bool = True,
    notes: Sequence[str] = (),
    **how: Any,
) -> Table:
    """A line for each value of the column `rows`, a column for each of `columns`.

    Args:
        frame: a line for each cell.
        heads: values of `columns` that are shown and their headings; all of them by default.
        higher: mark the best of each column, and unless `say` is false name the better way behind
            the title.
        form, how: as in `column`.
    """
    names = list(dict.fromkeys(frame[rows]))
    shown = {key: str(key) for key in dict.fromkeys(frame[columns])} if heads is None else heads
    cells = [
        (head, column(frame[frame[columns].eq(key)], names, form, by=rows, higher=higher, **how))
        for key, head in shown.items()
    ]
    return table_of(title, names, cells, notes, higher if say else None)


def mark_best(cells: Sequence[Cell], higher: bool) -> list[Cell]:
    """The cells of one column or line; each that is written as the best one is marked."""
    known = [cell for cell in cells if cell.number == cell.number]
    if not known:
        return list(cells)
    best = (max if higher else min)(known, key=lambda cell: cell.number).text
    return [replace(cell, best=cell.text == best) for cell in cells]


def decimals(metric: str, sign: str = "") -> str:
    """How a metric's values are written, or with the sign "+" their differences."""
    return f"{sign}.{DECIMALS[metric]}f"


def finite(value: float) -> float:
    """The number, NaN where it is infinite."""
    return value if math.isfinite(value) else math.nan


def bin_names(frame: pd.DataFrame) -> np.ndarray:
    """Each image's bin: "0" to "5", "outside" of (0.01, 0.6], or the kind of occluder whose shape
    its hole has."""
    return np.array([OUTSIDE if name == "-1" else name for name in frame["bin"].astype(str)])


def are_kinds(bins: Iterable[str]) -> bool:
    """Whether these bins are kinds of occluders."""
    return not set(bins) <= set(BIN_LABELS)


def sorted_bins(bins: Iterable[str]) -> list[str]:
    """Each bin once, in a table's order."""
    places = {name: place for place, name in enumerate(BIN_LABELS)}
    return sorted(set(bins), key=lambda name: (places.get(name, -1), name))


def bin_label(name: str) -> str:
    """A bin as a table's column is called."""
    return BIN_LABELS.get(name, name.replace("_", " "))
