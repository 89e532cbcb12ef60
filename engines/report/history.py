"""A run's losses by epoch: read, as a table, as curves of terms and their weights."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deocclude.data.files import write_text
from deocclude.engines.report import figures
from deocclude.engines.report.charts import COLOURS, legend_beside, tidy
from deocclude.engines.report.grids import DPI
from deocclude.engines.report.tables import MISSING, Cell, Table
from deocclude.engines.report.writers import to_markdown
from deocclude.metrics.table import HIGHER_IS_BETTER, OF_PIXELS, SHORT

WEIGHT = "weight/"
LOSS = ".4g"  # how a loss is written
EPOCHS = (1, 5, 10)  # shown besides the last one
TRAIN, VALIDATION, TOTAL = "train/", "val/loss/", "total"
DISCRIMINATOR = "discriminator"  # train/discriminator and train/discriminator.<name> are no terms
EXPLANATION = (
    "Terms are unweighted, the total is weighted. Training: mean over the epoch. Validation: the "
    "averaged (EMA) weights on the run's frozen validation pairs."
)


def weights_change(frame: pd.DataFrame) -> bool:
    """Whether any weight in a run's history (metrics.csv) differs between two epochs."""
    weights = [column for column in frame.columns if column.startswith(WEIGHT)]
    return any(frame[column].nunique() > 1 for column in weights)


def weights_figure(metrics_csv: Path) -> Figure:
    """Two panels over epochs: the weight of each term as a share of its largest, which the legend
    names, and weight times term (log scale).

    A weighted term is the epoch's mean term at the weight of the epoch's end. ValueError when the
    file has no weights.
    """
    frame = pd.read_csv(metrics_csv)
    names = [column.removeprefix(WEIGHT) for column in frame.columns if column.startswith(WEIGHT)]
    if not names or frame.empty:
        raise ValueError(f"{metrics_csv}: has no column {WEIGHT}..., nothing to draw")
    figure = Figure(figsize=(8.4, 2.8), dpi=DPI)
    first, second = figure.subplots(1, 2, width_ratios=(3.0, 4.2))
    for i, name in enumerate(names):
        look = _look(i, frame)
        weight = frame[f"{WEIGHT}{name}"]
        largest = weight.max()
        first.plot(frame["epoch"], weight / largest if largest > 0 else weight, **look)
        if f"{TRAIN}{name}" in frame:
            weighted = weight * frame[f"{TRAIN}{name}"]
            drawn = weighted.where(weighted > 0)  # a weight of 0 has no place on a log scale
            second.plot(frame["epoch"], drawn, label=f"{name} (≤ {largest:g})", **look)
    tidy(first, "weight ÷ its largest", "epoch")
    tidy(second, "weight × training term", "epoch")
    second.set_yscale("log")
    legend_beside(second, handlelength=1.4)
    figure.tight_layout(w_pad=1.5)
    return figure


def loss_curves(metrics_csv: Path, x: str = "epoch") -> Figure:
    """Training curves from a run's `metrics.csv`: losses on a log scale, and each score it has.

    Losses are the columns `train/...`, `val/loss/...` of the same term dotted; scores are the
    `val/...` columns that end in a metric of pixels of the composed picture, or the raw one where
    that is all there is. ValueError without rows.
    """
    frame = pd.read_csv(metrics_csv)
    numbers = frame.select_dtypes("number")
    if frame.empty or x not in numbers:
        raise ValueError(f"{metrics_csv}: no rows with a number in column {x!r}")
    known = [column for column in numbers.columns if numbers[column].notna().any()]
    losses = [c for c in known if c.startswith(TRAIN) and (numbers[c] > 0).any()]
    scores = [c for c in known if c.startswith("val/") and not c.startswith(VALIDATION)]
    scores = [column for column in scores if "composed/" in column] or scores
    scores = [c for c in scores if c.rsplit("/", 1)[-1] in OF_PIXELS]
    if not losses and not scores:
        raise ValueError(f"{metrics_csv}: has no train/... or val/... column to draw")
    widths = [4.6] * bool(losses) + [3.3] * len(scores)  # with room for the legend
    figure = Figure(figsize=(sum(widths) + 0.2, 2.8), dpi=DPI)
    axes = list(figure.subplots(1, len(widths), squeeze=False, width_ratios=widths)[0])
    if losses:
        _draw_losses(axes.pop(0), frame, losses, x)
    for axis, score in zip(axes, scores, strict=True):
        axis.plot(frame[x], frame[score], **_look(0, frame))
        metric = score.rsplit("/", 1)[-1]
        tidy(axis, f"validation {SHORT[metric]} {'↑' if HIGHER_IS_BETTER[metric] else '↓'}", x)
    figure.tight_layout(w_pad=1.5)
    return figure


def _draw_losses(axis: Axes, frame: pd.DataFrame, losses: Sequence[str], x: str) -> None:
    """Terms of training, and dotted in the same colour those of validation."""
    for i, column in enumerate(losses):
        name, look = column.removeprefix(TRAIN), _look(i, frame)
        axis.plot(frame[x], frame[column], label=name, **look)
        if f"{VALIDATION}{name}" in frame:
            dotted = look | {"linewidth": 1.2, "linestyle": ":"}
            axis.plot(frame[x], frame[f"{VALIDATION}{name}"], **dotted)
    validated = any(column.startswith(VALIDATION) for column in frame.columns)
    tidy(axis, "losses: training, validation dotted" if validated else "training losses", x)
    axis.set_yscale("log")
    legend_beside(axis, handlelength=1.4)


def _look(i: int, frame: pd.DataFrame) -> dict[str, Any]:
    """The line of term `i`; marked where few epochs make no line."""
    look = {"color": COLOURS[i % len(COLOURS)], "linestyle": "-" if i < len(COLOURS) else "--"}
    return look | {"linewidth": 1.5, "marker": "o" if len(frame) < 3 else None}


def read_history(run: Path) -> pd.DataFrame:
    """A run's metrics.csv, a line an epoch. ValueError or FileNotFoundError names the file."""
    path = run / "metrics.csv"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; a run has it once an epoch is over")
    try:
        frame = pd.read_csv(path)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ValueError(f"{path}: cannot be read as CSV ({error})") from error
    missing = [column for column in ("step", "epoch") if column not in frame]
    if missing or frame.empty:
        raise ValueError(f"{path}: has no {' and no '.join(missing) or 'row'}")
    return frame


def term_names(frame: pd.DataFrame) -> list[str]:
    """The loss terms of a history, trained or validated, the total last."""
    found = [
        column.removeprefix(prefix)
        for prefix in (TRAIN, VALIDATION)
        for column in frame.columns
        if column.startswith(prefix)
    ]
    terms = [name for name in dict.fromkeys(found) if not name.startswith(DISCRIMINATOR)]
    return [*(name for name in terms if name != TOTAL), *([TOTAL] if TOTAL in terms else [])]


def shown_rows(frame: pd.DataFrame, epochs: Sequence[int] = EPOCHS) -> pd.DataFrame:
    """The lines of these epochs, where they exist, and the last one."""
    chosen = frame["epoch"].isin(epochs) | (frame.index == frame.index[-1])
    return frame[chosen]


def epoch_table(run: Path, name: str, epochs: Sequence[int] = EPOCHS) -> tuple[Table, pd.DataFrame]:
    """A row a term: its training and its validation value at some epochs.

    Returns the table and the numbers behind it, a line an epoch: epoch, train/..., val/loss/...
    """
    history = read_history(run)
    terms = term_names(history)
    kinds = {"train": TRAIN, "validation": VALIDATION}
    columns = [f"{prefix}{term}" for prefix in kinds.values() for term in terms]
    columns = [column for column in columns if column in history]
    if not columns:
        raise ValueError(f"{run / 'metrics.csv'}: has no column {TRAIN}... or {VALIDATION}...")
    kinds = {k: p for k, p in kinds.items() if any(c.startswith(p) for c in columns)}
    numbers = shown_rows(history, epochs)[["epoch", *columns]]
    lines = [line for _, line in numbers.iterrows()]
    labels = [f"{kind}, epoch {line['epoch']:g}" for line in lines for kind in kinds]
    cells = [
        [
            Cell(term),
            *(Cell(line.get(f"{p}{term}"), form=LOSS) for line in lines for p in kinds.values()),
        ]
        for term in terms
    ]
    released = released_row(history, run)
    notes = [] if released is None else [f"Released: epoch {released['epoch']:g}."]
    if any(cell.missing for row in cells for cell in row):
        notes.append(f"{MISSING}: not measured.")
    return Table(f"Losses of {name}", ["", *labels], cells, notes), numbers


def write_epoch_table(run: Path, name: str, epochs: Sequence[int] = EPOCHS) -> list[Path]:
    """losses.md and losses.csv (every digit) in a run's folder."""
    table, numbers = epoch_table(run, name, epochs)
    paths = [run / "losses.md", run / "losses.csv"]
    write_text(paths[0], to_markdown([table], name, [EXPLANATION]))
    write_text(paths[1], numbers.to_csv(index=False))
    return paths


def record_losses(run: Path, name: str) -> None:
    """What a run that ends leaves of its losses: curves, table, and its weights where they change.

    figures/losses.png, losses.md, losses.csv, figures/weights.png. Errors as in `read_history`.
    """
    metrics = run / "metrics.csv"
    figures.save(loss_curves(metrics), run / "figures" / "losses.png")
    write_epoch_table(run, name)
    if weights_change(read_history(run)):
        figures.save(weights_figure(metrics), run / "figures" / "weights.png")


def released_row(history: pd.DataFrame, run: Path) -> pd.Series | None:
    """The line of the epoch whose weights are released; None when none of them is."""
    mark = run / "finished.json"
    if not mark.is_file():
        return None
    try:
        step = json.loads(mark.read_text(encoding="utf-8"))["best"]["step"]
    except (ValueError, LookupError, TypeError):  # damaged, or of before
        return None
    found = history[history["step"].eq(step)]
    return None if found.empty else found.iloc[-1]
