"""A comparison as one HTML file that needs nothing else: tables, figures, a browser of examples.

`page/` holds the page's templates, style and scripts; they are written into the file.
"""

import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from deocclude.data.files import write_text
from deocclude.engines.report.html_pictures import (
    UNTOUCHED,
    Example,
    encode_figure,
    encode_pictures,
)
from deocclude.engines.report.html_tables import heads, row_names, shown
from deocclude.engines.report.tables import Table, bin_label
from deocclude.metrics.table import BY_IMAGE, DECIMALS, HIGHER_IS_BETTER, SHORT

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
    sections: list[dict[str, Any]] = [
        {"template": "table.html", "id": f"table-{i}", "title": table.title, "table": table}
        for i, table in enumerate(tables)
    ]
    if examples:
        sections.insert(headline, _examples(examples, kinds, reference))
    if figures:
        sections.insert(headline, _figures(figures))
    page = _templates().get_template("page.html")
    text = page.render(
        title=title,
        style=_text("style.css"),
        theme_script=_text("theme.js"),
        scripts="\n".join(_text(name) for name in ("tables.js", "examples.js")),
        facts=facts or {},
        lines=lines,
        kinds=kinds,
        reference=reference,
        rows=row_names(tables, kinds),
        sections=sections,
    )
    write_text(path, text)
    return path


def _templates() -> Environment:
    """The page's templates, which escape all that they do not call safe."""
    found = Environment(
        loader=FileSystemLoader(PAGE), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    found.filters |= {"prose": prose, "heads": heads, "shown": shown}
    found.globals["zip"] = zip
    found.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "allow_nan": False}
    return found


def prose(text: str) -> str:
    """HTML of a text with `...` set as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _text(name: str) -> str:
    return (PAGE / name).read_text(encoding="utf-8").strip()


def _figures(figures: Mapping[str, Path]) -> dict[str, Any]:
    """The section of figures, each at half its file's pixels."""
    found = []
    for name, path in figures.items():
        source, (width, height) = encode_figure(path)
        size = {"width": width // DENSITY, "height": height // DENSITY}
        found.append({"name": name, "source": source} | size)
    return {"template": "figures.html", "id": "figures", "title": "Figures", "figures": found}


def _examples(
    examples: Sequence[Example], kinds: Mapping[str, str], reference: str | None
) -> dict[str, Any]:
    """The section with the browser of examples, and what its script reads."""
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
    section = {"template": "examples.html", "id": "examples", "title": "Example pictures"}
    return section | {"note": note, "chosen": reference or names[0], "content": content}


def _metrics(examples: Sequence[Example]) -> list[dict]:
    """What is said about a picture: column, heading, decimals, which way is better."""
    measured = {c for e in examples for scores in e.scores.values() for c in scores}
    return [
        {
            "column": f"{view}/{metric}",
            "name": SHORT[metric] + words,
            "decimals": DECIMALS[metric],
            "higher": HIGHER_IS_BETTER[metric],
        }
        for view, words in (("composed", ""), ("composed_hole", ", hole only"))
        for metric in BY_IMAGE
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
