"""Identity networks compared on frozen pictures: values, tables, figure."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from deocclude.data.occluders.groups import DRAWN, REAL, group_of
from deocclude.data.occluders.mixture import NONE
from deocclude.data.pairs.occluded import FrozenOccluded
from deocclude.engines.evaluation.summaries import cost_table, pair_facts
from deocclude.engines.measures.identity import evaluate_identities
from deocclude.engines.measures.rows import Row, RowResult
from deocclude.engines.report import figures
from deocclude.engines.report.html import save_html
from deocclude.engines.report.report import Report
from deocclude.engines.report.tables import MISSING, Cell, Table, mark_best, named_rows
from deocclude.engines.report.writers import save_tables, to_markdown
from deocclude.metrics.statistics import wilson_interval

TITLE = "Identity"
CLEAN, OCCLUDED = "clean", "occluded"
GROUPS = {CLEAN: "clean", OCCLUDED: "occluded", REAL: "real cut-outs", DRAWN: "drawn occluders"}
PUBLISHED = ("As published: ten people of its own, not these pictures", 99.11)


def identity_report(
    rows: Sequence[Row],
    pairs: FrozenOccluded,
    identities: Sequence[str],
    folder: Path,
    *,
    template: str = "ffhq",
    batch: int = 64,
    values_folder: Path | None = None,
    title: str = TITLE,
    remarks: Sequence[str] = (),
) -> Report:
    """Measure `rows` on `pairs` and write everything that compares them into `folder`.

    Files: `rows/*.csv` (a line a picture), `pairs.json`, `table.md`, `table.tex`, `summary.csv`,
    `figures/kinds.png` (accuracy by kind), `report.html` (all of it). `values_folder` holds
    `rows/` instead of `folder`; `remarks` stand below the caption.
    """
    values_folder = values_folder or folder
    folder.mkdir(parents=True, exist_ok=True)
    results = evaluate_identities(
        rows, pairs, identities, values_folder, template=template, batch=batch
    )
    summary = summarise_identities(results)
    swapped = [table] if (table := swap_table(results)) else []
    tables = [accuracy_table(summary), *swapped, kind_table(summary), cost_table(results)]
    lines = [*caption(results), *remarks]
    files = save_tables(tables, lines, summary, folder, title)
    files["pairs.json"] = folder / "pairs.json"
    pairs.save(files["pairs.json"])
    models = [result.name for result in results if result.info["kind"] == "model"]
    drawn = figures.write(lambda: kind_figure(summary, models), folder / "figures" / "kinds.png")
    files |= drawn
    files["report.html"] = save_html(
        folder / "report.html", title, lines, tables, facts=pair_facts(results),
        kinds={result.name: result.info["kind"] for result in results},
        figures={"Accuracy by kind of occluder": files["kinds.png"]} if drawn else {},
    )  # fmt: skip
    files["values of each image"] = values_folder / "rows"
    return Report(*(to_markdown(part, title, lines) for part in (tables, tables[:2])), files)


def summarise_identities(results: Sequence[RowResult]) -> pd.DataFrame:
    """Accuracy of each row on each part of the pictures, a line each.

    Columns: row, part (clean, occluded, real, drawn, or "kind/<kind>"), count (pictures), images
    (different ones), mean, low, high (Wilson's 95 %, each different picture a trial).
    """
    lines = []
    for result in results:
        frame = result.frame()
        kinds = frame["kind"].to_numpy(str)
        groups = np.array([group_of(kind) for kind in kinds])
        parts = {CLEAN: kinds == NONE, OCCLUDED: kinds != NONE}
        parts |= {group: groups == group for group in (REAL, DRAWN)}
        parts |= {f"kind/{kind}": kinds == kind for kind in dict.fromkeys(kinds) if kind != NONE}
        for part, chosen in parts.items():
            if not chosen.any():
                continue
            right, images = frame.loc[chosen, "right"], frame.loc[chosen, "image"].nunique()
            interval = wilson_interval(float(right.mean()), images)
            facts = {"row": result.name, "part": part, "count": int(chosen.sum()), "images": images}
            lines.append(
                facts | {"mean": interval.mean, "low": interval.low, "high": interval.high}
            )
    return pd.DataFrame(lines)


def accuracy_table(summary: pd.DataFrame) -> Table:
    """Rows by part of the pictures, in per cent, the published number as a row of its own."""
    parts = [part for part in GROUPS if summary["part"].eq(part).any()]
    names = list(dict.fromkeys(summary["row"]))
    cells = [_column(summary, names, part) for part in parts]
    counts = [int(summary.loc[summary["part"].eq(part), "count"].max()) for part in parts]
    rows = named_rows(names, cells)
    name, share = PUBLISHED
    rows.append([Cell(name), *(Cell(f"{share}" if p == OCCLUDED else MISSING) for p in parts)])
    columns = [f"{GROUPS[part]} (N = {n})" for part, n in zip(parts, counts, strict=True)]
    return Table("Pictures whose person is named (%) [95 %]", ["", *columns], rows)


def swap_table(results: Sequence[RowResult]) -> Table | None:
    """Whom each row names when face and surroundings are of different people; None without."""
    count = results[0].info["swapped"]["count"]
    if not count:
        return None
    rows = []
    for result in results:
        shares = [result.info["swapped"][name] for name in ("face", "surroundings")]
        texts = [_percent(*wilson_interval(share, count)[:3]) for share in shares]
        rows.append([Cell(result.name), *map(Cell, texts)])
    title = f"Bare faces in another person's picture: who is named (%) [95 %], N = {count}"
    note = "A row that names the surroundings' person has not learned the face."
    return Table(title, ["", "the face's person", "the surroundings' person"], rows, [note])


def _percent(mean: float, low: float, high: float) -> str:
    return f"{100 * mean:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def kind_table(summary: pd.DataFrame) -> Table:
    """Accuracy of every kind of occluder in per cent, a column a row of the other table."""
    part = summary[summary["part"].str.startswith("kind/")]
    names = list(dict.fromkeys(summary["row"]))
    rows = []
    for label in dict.fromkeys(part["part"]):
        kind = label.removeprefix("kind/")
        count = int(part.loc[part["part"].eq(label), "count"].max())
        group = group_of(kind)
        rows.append([Cell(f"{kind} ({group})"), Cell(str(count)), *_column(part, names, label)])
    return Table("By kind of occluder (%) [95 %]", ["", "N", *names], rows)


def _column(summary: pd.DataFrame, names: Sequence[str], part: str) -> list[Cell]:
    chosen = summary[summary["part"].eq(part)].set_index("row")
    texts = [_percent(*chosen.loc[name, ["mean", "low", "high"]]) for name in names]
    return mark_best(texts, [float(chosen.loc[name, "mean"]) for name in names], True)


def caption(results: Sequence[RowResult]) -> list[str]:
    """What a reader needs to know about the numbers, one line each."""
    key, info = results[0].info["key"], results[0].info
    images = results[0].frame()["image"].nunique()
    people = info["people"]
    return [
        f"N = {info['count']} pictures made of {images} different ones of {people} people at "
        f"{key['size']} px ({info['pairs']}); SHA-256 of the pictures: {key['pairs']}.",
        "Held-out pictures of people who were trained on: how well unknown people are told apart "
        f"it does not say. Chance is {100 / people:.1f} %.",
        "Intervals are Wilson's (1927), each different picture a trial, under however many kinds "
        "of occluder it is shown. Bold: best of the column, by kind of the line.",
        "Nearest training picture: by the squared difference of pixels at 32 px. Edge only: of "
        "the outer 4 px alone, which show hardly any face; what it reaches, the backgrounds give "
        "away.",
        "The published 99.11 % is on occluded pictures of ten people, which are not public.",
    ]


def kind_figure(summary: pd.DataFrame, rows: Sequence[str]) -> Figure:
    """Accuracy by kind as bars, a colour a row, from the first row's best kind to its worst."""
    part = summary[summary["part"].str.startswith("kind/") | summary["part"].eq(CLEAN)]
    if not rows or not part["row"].eq(rows[0]).any():
        raise figures.NothingToDraw("no accuracy of any kind of occluder")
    first = part[part["row"].eq(rows[0])].sort_values("mean", ascending=False)
    labels = first["part"].tolist()
    figure = Figure(figsize=(10, 3.2), dpi=figures.DPI)
    axis = figure.subplots()
    width = 0.8 / len(rows)
    for i, row in enumerate(rows):
        line = part[part["row"].eq(row)].set_index("part").loc[labels]
        mean = line["mean"].to_numpy()
        errors = np.stack([mean - line["low"], line["high"] - mean]).clip(min=0)
        places = np.arange(len(labels)) + (i - (len(rows) - 1) / 2) * width
        axis.bar(
            places, mean, 0.92 * width, yerr=errors, label=row,
            color=figures.COLOURS[i % len(figures.COLOURS)],
            error_kw={"elinewidth": 0.6, "ecolor": "#555555"},
        )  # fmt: skip
    names = [label.removeprefix("kind/").replace("_", " ") for label in labels]
    axis.set_xticks(range(len(labels)), names, fontsize=8, rotation=35, ha="right")
    axis.set_ylim(0, 1)
    figures.tidy(axis)
    axis.set_title("Accuracy by kind of occluder ↑", fontsize=10, color=figures.INK, loc="left")
    if len(rows) > 1:
        axis.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    return figure
