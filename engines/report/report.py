"""What a command that compares leaves behind: tables, values, figures and a page of all of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import pandas as pd
from matplotlib.figure import Figure

from deocclude.data.files import write_text
from deocclude.engines.report import figures
from deocclude.engines.report.html import save_html
from deocclude.engines.report.html_pictures import Example
from deocclude.engines.report.tables import Table
from deocclude.engines.report.writers import to_latex, to_markdown


@dataclass(frozen=True)
class Report:
    """What a comparison left behind; `headline` is `markdown` as far as its first tables."""

    markdown: str
    headline: str
    files: dict[str, Path]


class Drawing(NamedTuple):
    """A figure, or what makes it, and what the page calls it; without words it is not there."""

    figure: Figure | Callable[[], Figure]
    words: str = ""


class Frozen(Protocol):
    """Pairs that were measured on."""

    def save(self, path: Path) -> None: ...


def write_report(
    folder: Path,
    title: str,
    lines: Sequence[str],
    tables: Sequence[Table],
    values: Mapping[str, pd.DataFrame],
    *,
    drawings: Mapping[str, Drawing] | None = None,
    headline: int = 2,
    above: int | None = None,
    latex: bool = True,
    page: bool = True,
    pairs: Frozen | None = None,
    measured: Path | None = None,
    facts: Mapping[str, str] | None = None,
    kinds: Mapping[str, str] | None = None,
    reference: str | None = None,
    examples: Sequence[Example] = (),
) -> Report:
    """Write everything into `folder`, each file whole or not at all.

    Files: `table.md`; `table.tex` with `latex`; `<name>.csv`; `pairs.json`; `figures/<name>.png`;
    with `page`, `report.html`, which needs no other file.

    Args:
        folder: made if need be.
        title: of the tables and the page.
        lines: what stands above the tables: N, hash, how the numbers came about.
        tables: in the document's order.
        values: the numbers behind tables and figures, by the stem of their CSV file.
        drawings: by the stem of their PNG file. One with NothingToDraw is left out.
        headline: how many tables the report's `headline` holds.
        above: how many stand above the page's figures, by default as many.
        pairs: what was measured on.
        measured: the folder with the values of each image.
        facts, kinds, reference, examples: of the page, as in `engines.report.html.save_html`.
    """
    texts = {"table.md": to_markdown(tables, title, lines)}
    if latex:
        texts["table.tex"] = to_latex(tables, lines)
    for name, frame in values.items():
        texts[f"{name}.csv"] = frame.to_csv(index=False, float_format="%.7g")
    files = {name: folder / name for name in texts}
    for name, text in texts.items():
        write_text(files[name], text)
    if pairs is not None:
        files["pairs.json"] = folder / "pairs.json"
        pairs.save(files["pairs.json"])
    shown = {}
    for name, drawing in (drawings or {}).items():
        drawn = figures.write(drawing.figure, folder / "figures" / f"{name}.png")
        files |= drawn
        if drawn and drawing.words:
            shown[drawing.words] = drawn[f"{name}.png"]
    if page:
        files["report.html"] = save_html(
            folder / "report.html", title, lines, tables, facts=facts, kinds=kinds,
            reference=reference, figures=shown, examples=examples,
            headline=headline if above is None else above,
        )  # fmt: skip
    if measured is not None:
        files["values of each image"] = measured
    return Report(texts["table.md"], to_markdown(tables[:headline], title, lines), files)


def pairs_line(
    count: int, of: str, size: int, description: str, digest: str, what: str = "pairs"
) -> str:
    """What was measured on, as every report says it first: N, `of` what, their hash."""
    return f"N = {count} {what} {of} at {size} px ({description}); SHA-256 of the {what}: {digest}."
