"""Tables of a report as HTML: what each cell is sorted by, where the best values are."""

import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from string import Template

from deocclude.engines.report.tables import MISSING, Cell, Table

REFERENCE = "reference"
NUMBER = re.compile(r"([+\-−]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[+-]?\d+)?)(?=$|[\s%,;(\[])")
INTERVAL = re.compile(r"(.*\S)\s+(\[[^\[\]]*\])")
LOWER = "lower is better"
DIRECTION = re.compile(r"(.+?) \(((?:higher|lower) is better)\)")


def row_names(tables: Sequence[Table], kinds: Mapping[str, str] | None = None) -> list[str]:
    """What is compared: the first cells of all tables, each once, those in `kinds` if given."""
    names = dict.fromkeys(row[0].text for table in tables for row in table.rows)
    return [name for name in names if not kinds or name in kinds]


def sort_value(text: str) -> float | None:
    """The number that a cell begins with; None for other text. "reference" is no difference: 0.

    An interval, unit or other words after the number do not count; "∞" is infinite.
    """
    if text in ("∞", "+∞", "inf"):
        return math.inf
    if text == REFERENCE:
        return 0.0
    found = NUMBER.match(text.strip())
    return float(found[1].replace(",", "").replace("−", "-")) if found else None


def split_title(title: str) -> tuple[str, str]:
    """A table's title without the direction at its end, and the direction."""
    found = DIRECTION.fullmatch(title)
    return (found[1], found[2]) if found else (title, "")


def holds_zero(interval: str) -> bool:
    """Whether "[low, high]" with signed ends holds zero; "-0.00" is a rounded number below it."""
    low, _, high = interval.strip("[]").partition(", ")
    ends = [sort_value(low), sort_value(high)]
    return None not in ends and (low[0] + high[0] == "-+" or ends == [0, 0])


def _column_type(cells: Sequence[Cell], column: str, title: str) -> tuple[bool, bool]:
    """Whether a column holds numbers, and whether its larger ones are the better ones.

    An arrow in its heading says so, else its best cells, else the table's title.
    """
    texts = [cell.text for cell in cells if cell.text != MISSING]
    values = [value for value in map(sort_value, texts) if value is not None]
    if len(values) < len(texts):
        return False, False
    if "↓" in column or "↑" in column:
        return True, "↑" in column
    best = [sort_value(cell.text) for cell in cells if cell.best]
    if len(set(best)) == 1 and min(values) < max(values):
        return True, best[0] == max(values)
    return True, LOWER not in title


def table_html(
    table: Table,
    name: str,
    template: Template,
    kinds: Mapping[str, str] | None = None,
    reference: str | None = None,
) -> str:
    """A section called `name`. `kinds`, `reference` as in `engines.report.html.save_html`."""
    kinds = kinds or {}
    columns = list(zip(*table.rows, strict=True)) or [()] * len(table.columns)
    types = [(False, False)]
    types += [
        _column_type(cells, column, table.title)
        for cells, column in zip(columns[1:], table.columns[1:], strict=True)
    ]
    heads = "".join(
        f'<th scope="col" data-type="{"number" if numeric else "text"}" '
        f'data-first="{"descending" if larger else "ascending"}">'
        f'<button type="button">{prose(column or "Row")}</button></th>'
        for column, (numeric, larger) in zip(table.columns, types, strict=True)
    )
    body = []
    for i, row in enumerate(table.rows):
        row_name = row[0].text
        marks = f"{kinds.get(row_name, '')} {REFERENCE if row_name == reference else ''}"
        tag = ' <span class="badge" title="reference">ref</span>' if row_name == reference else ""
        cells = "".join(
            _cell(cell, column, numeric)
            for cell, column, (numeric, _) in zip(
                row[1:], table.columns[1:], types[1:], strict=True
            )
        )
        body.append(
            f'<tr data-row="{escape(row_name)}" data-place="{i}" class="{marks.strip()}">'
            f'<th scope="row"{_best(row[0])}>{escape(row_name)}{tag}</th>{cells}</tr>'
        )
    title, direction = split_title(table.title)
    return template.substitute(
        id=name,
        title=escape(title),
        direction=escape(direction),
        head=heads,
        body="\n".join(body),
        notes="".join(f'<p class="note">{prose(note)}</p>' for note in table.notes),
    )


def _cell(cell: Cell, column: str, numeric: bool) -> str:
    value = sort_value(cell.text) if numeric and cell.text != MISSING else None
    classes = ["number"] if numeric else []
    if cell.text == MISSING:
        classes.append("missing")
    interval = INTERVAL.fullmatch(cell.text)
    text = escape(cell.text)
    if interval:
        if column.startswith("Δ") and holds_zero(interval[2]):
            classes.append("unclear")
        text = f'{escape(interval[1])} <span class="interval">{escape(interval[2])}</span>'
    sort = ""
    if value is not None:
        sort = f' data-value="{"Infinity" if math.isinf(value) else f"{value:.10g}"}"'
    if not numeric and cell.text != MISSING:
        sort = f' data-value="{escape(cell.text)}"'
    names = f' class="{" ".join(classes)}"' if classes else ""
    return f"<td{names}{sort}{_best(cell)}>{text}</td>"


def _best(cell: Cell) -> str:
    return ' data-best=""' if cell.best else ""


def prose(text: str) -> str:
    """Escaped text with `...` set as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
