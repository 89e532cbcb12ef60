"""Tables as the page's template takes them: what each cell is sorted by, where intervals are."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from deocclude.engines.report.tables import REFERENCE, Cell, Table


class Head(NamedTuple):
    """A heading: whether its column holds numbers, and which end of them a click shows first."""

    text: str
    numeric: bool
    descending: bool


class Shown(NamedTuple):
    """A cell: what is written, by what it is sorted (None: last), and its CSS classes."""

    text: str
    interval: str
    value: str | None
    classes: str


def row_names(tables: Sequence[Table], kinds: Mapping[str, str]) -> list[str]:
    """What is compared: the first cells of all tables, each once, those in `kinds` if given."""
    names = dict.fromkeys(row[0].text for table in tables for row in table.rows)
    return [name for name in names if not kinds or name in kinds]


def heads(table: Table) -> list[Head]:
    """The table's headings, the one of the rows' names first."""
    columns = list(zip(*table.rows, strict=True)) or [()] * len(table.columns)
    found = [Head(table.columns[0] or "Row", numeric=False, descending=False)]
    for text, cells in zip(table.columns[1:], columns[1:], strict=True):
        numeric = not any(math.isnan(_order(cell)) for cell in cells if not cell.missing)
        found.append(Head(text, numeric, numeric and _is_higher_better(table, text, cells)))
    return found


def _order(cell: Cell) -> float:
    """What a cell is sorted by; NaN for words."""
    return 0.0 if cell.value == REFERENCE.value else cell.number


def _is_higher_better(table: Table, heading: str, cells: Sequence[Cell]) -> bool:
    """An arrow in the heading says so, else the table, else the best cells, else it is so."""
    if "↓" in heading or "↑" in heading:
        return "↑" in heading
    best = [cell for cell in cells if cell.best]
    if table.higher is not None or len({cell.text for cell in best}) != 1:
        return table.higher is not False
    values = [_order(cell) for cell in cells if not cell.missing]
    return max(map(_order, best)) == max(values)


def shown(cell: Cell, head: Head) -> Shown:
    """A cell below a heading; a difference is `unclear` where its interval holds zero."""
    value = None if cell.missing else cell.text
    if head.numeric and value is not None:
        value = "Infinity" if math.isinf(_order(cell)) else f"{_order(cell):.10g}"
    low, high = (math.nan if end is None else end for end in (cell.low, cell.high))
    classes = {
        "number": head.numeric,
        "missing": cell.missing,
        "unclear": head.text.startswith("Δ") and low <= 0 <= high,
    }
    return Shown(*cell.parts, value, " ".join(name for name, has in classes.items() if has))
