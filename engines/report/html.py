"""A comparison as one HTML file that needs nothing else: tables, figures, a browser of examples.

`report_page/` holds the page's templates, style and scripts; they are written into the file.
"""

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template

from deocclude.data.files import write_text
from deocclude.engines.report.html_pictures import (
    UNTOUCHED,
    Example,
    encode_figure,
    encode_pictures,
)
from deocclude.engines.report.html_tables import prose, row_names, split_title, table_html
from deocclude.engines.report.tables import DECIMALS, HEADINGS, METRICS, Table, bin_label
from deocclude.metrics.image import HIGHER_IS_BETTER

PAGE = Path(__file__).with_name("page")
PICTURE_BYTES = 9_000_000  # of all example pictures together, as text
DENSITY = 2  # pixels of a figure's file for one of the page


def save_html(
    path: Path,
    title: str,
    lines: Sequence[str],
    tables: Sequence[Table],
    *,
    facts: Mapping[str, str] | None = None,
    kinds: Mapping[str, str] | None = None,
    reference: str | None = None,
    figures: Mapping[str, Path] | None = None,
    examples: Sequence[Example] = (),
    headline: int = 2,
) -> Path:
    """Write the page, whole or not at all. Everything that comes from outside is escaped.

    Args:
        path: the HTML file.
        title: its heading.
        lines: what a reader needs to know about the numbers; `...` in them is set as code.
        tables: as `engines.report.writers` takes them; the first `headline` stand above the
            figures.
        facts: short facts by name, below the heading.
        kinds: "model" or "baseline" by row name; rows of other names are never filtered.
        reference: the row that is marked as such, and shown first in the browser of examples.
        figures: PNG files by what they are called.
        examples: from `engines.evaluation.examples.restore_examples`; none: no browser.
    """
    kinds = dict(kinds or {})
    template = _asset("table.html")
    named = {f"table-{i}": table for i, table in enumerate(tables)}
    sections = [table_html(t, name, template, kinds, reference) for name, t in named.items()]
    contents = [(name, split_title(table.title)[0]) for name, table in named.items()]
    parts, entries = sections[:headline], contents[:headline]
    if figures:
        parts.append(_figures(figures))
        entries.append(("figures", "Figures"))
    if examples:
        parts.append(_examples(examples, kinds, reference))
        entries.append(("examples", "Example pictures"))
    page = _asset("page.html").substitute(
        title=escape(title),
        style=_text("style.css"),
        theme_script=_text("theme.js"),
        scripts="\n".join(_text(name) for name in ("tables.js", "examples.js")),
        facts="".join(f"<div>{_fact(*fact)}</div>" for fact in (facts or {}).items()),
        notes="".join(f"<li>{prose(line)}</li>" for line in lines),
        contents=_contents([*entries, *contents[headline:]]),
        rows=_row_boxes(row_names(tables, kinds), kinds),
        sections="\n".join([*parts, *sections[headline:]]),
    )
    write_text(path, page)
    return path


def _figures(figures: Mapping[str, Path]) -> str:
    parts = []
    for name, path in figures.items():
        source, (width, height) = encode_figure(path)
        parts.append(
            f'<figure><img src="{source}" alt="{escape(name)}" width="{width // DENSITY}" '
            f'height="{height // DENSITY}">'
            f"<figcaption>{escape(name)}</figcaption></figure>"
        )
    return _asset("figures.html").substitute(figures="\n".join(parts))


def _examples(examples: Sequence[Example], kinds: Mapping[str, str], reference: str | None) -> str:
    names = list(examples[0].restored)
    pictures = [
        picture
        for e in examples
        for picture in (e.occluded, e.target, e.mask, *(e.restored[name] for name in names))
    ]
    sources, kept = encode_pictures(pictures, PICTURE_BYTES)
    given = [("Input", "given"), ("Target", "given"), ("Mask", "given")]
    columns = [{"name": name, "kind": kind} for name, kind in given]
    columns += [{"name": name, "kind": kinds.get(name, "model")} for name in names]
    across = len(columns)
    content = {
        "columns": columns,
        "size": examples[0].target.shape[0],
        "reference": len(given) + names.index(reference) if reference in names else None,
        "metrics": _metrics(examples),
        "examples": [
            {
                "bin": bin_label(e.bin),
                "rank": e.rank,
                "image": Path(e.image).name,
                "hole": f"{100 * e.hole_ratio:.1f} %",
                "pictures": sources[across * i : across * (i + 1)],
                "scores": [_finite(e.scores.get(UNTOUCHED)), None, None]
                + [_finite(e.scores[name]) for name in names],
            }
            for i, e in enumerate(examples)
        ],
    }
    left_out = sum(name != UNTOUCHED for name in examples[0].scores) - len(names)
    size = f"{examples[0].target.shape[1]} × {examples[0].target.shape[0]} pixels"
    note = f"Pictures of {size}, {kept}; the numbers are of the pictures before any compression."
    if left_out:
        note += (
            f" Pictures are kept of {len(names)} of {len(names) + left_out} rows: the reference "
            "and the best by mean PSNR."
        )
    return _asset("examples.html").substitute(
        note=escape(note), chosen=escape(reference or names[0]), content=_json(content)
    )


def _metrics(examples: Sequence[Example]) -> list[dict]:
    """What is said about a picture: column, heading, decimals, which way is better."""
    measured = {c for e in examples for scores in e.scores.values() for c in scores}
    return [
        {
            "column": f"{view}/{metric}",
            "name": HEADINGS[metric].split(" (mean")[0] + words,
            "decimals": DECIMALS[metric],
            "higher": HIGHER_IS_BETTER[metric],
        }
        for view, words in (("composed", ""), ("composed_hole", ", hole only"))
        for metric in METRICS
        if f"{view}/{metric}" in measured
    ]


def _finite(scores: Mapping[str, float] | None) -> dict[str, float | str] | None:
    """Scores as JSON can hold them: infinite ones as "∞", missing ones left out."""
    if scores is None:
        return None
    return {
        column: "∞" if math.isinf(value) else float(f"{value:.6g}")
        for column, value in scores.items()
        if value == value
    }


def _row_boxes(names: Sequence[str], kinds: Mapping[str, str]) -> str:
    return "".join(
        f'<label><input type="checkbox" checked value="{escape(name)}" '
        f'data-kind="{escape(kinds.get(name, ""))}"> {escape(name)}</label>'
        for name in names
    )


def _contents(entries: Sequence[tuple[str, str]]) -> str:
    return "".join(f'<li><a href="#{key}">{escape(name)}</a></li>' for key, name in entries)


def _fact(name: str, value: str) -> str:
    return f'<dt>{escape(name)}</dt><dd title="{escape(value)}">{escape(value)}</dd>'


def _json(content: dict) -> str:
    """JSON that no tag can end: `<` appears only escaped."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")


def _text(name: str) -> str:
    return (PAGE / name).read_text(encoding="utf-8").strip()


def _asset(name: str) -> Template:
    return Template(_text(name))
