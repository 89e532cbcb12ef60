"""The tables of `benchmarks/systems.py`, from records of cells alone."""

if __name__ == "__main__":
    raise SystemExit("a part of `python benchmarks/systems.py`, which is the program")


from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.training import mib
from deocclude.engines.report.tables import MISSING, Cell, Table

FULL = "no"  # full precision, in the configuration's words
SAVED = 0.45  # Occlufix: mixed precision cuts memory by more than this share
REAL_TIME, REAL_TIME_SIZE = 25.0, 256  # images/s, one at a time; Occlufix: at 256 x 256 pixels

Record = dict[str, Any]


def training_table(cells: Sequence[Record]) -> Table:
    """Images a second and peak memory of a training step, each beside full precision."""
    columns = ["px", "run", "precision", "batch", "images/s", "(range)", "to full"]
    columns += ["peak MiB", "before MiB", "cores used"]
    rows = []
    for cell in cells:
        row = [*_place(cell), str(cell["batch"]), _number(cell, "images_per_second", 2)]
        low, high = _number(cell, "lowest", 2), _number(cell, "highest", 2)
        row.append(MISSING if low == MISSING else f"{low}–{high}")
        times = relation(cells, cell, lambda c: c["images_per_second"])
        row.append(MISSING if times is None else f"{times:.2f} x")
        row += [mib(cell.get("peak_mib")), mib(cell.get("before_mib"))]
        row.append(_number(cell, "cores_used", 2))
        rows.append([Cell(text) for text in row])
    note = (
        "Median and range over repetitions, data left out. Peak: allocated on a GPU, else what the "
        "process held; before: the same before the first step, with networks, and on a CPU with "
        "Python and its libraries. Cores used: CPU seconds over seconds of the clock; on a CPU, "
        "fewer than the threads means that other programs had the rest."
    )
    return Table("Training step", columns, rows, [note])


def memory_table(cells: Sequence[Record]) -> Table:
    """Memory of a training step relative to full precision, and the claim on it."""
    columns = ["px", "run", "precision", "peak MiB", "in full", "peak saved", "step's own saved"]
    rows, judged = [], []
    for cell in cells:
        if cell["precision"] == FULL:
            continue
        full = _full(cells, cell)
        peak = relation(cells, cell, lambda c: c["peak_mib"])
        own = relation(cells, cell, lambda c: c["peak_mib"] - c["before_mib"])
        row = [*_place(cell), mib(cell.get("peak_mib")), mib(full.get("peak_mib"))]
        row += [MISSING if value is None else f"{1 - value:.0%}" for value in (peak, own)]
        rows.append([Cell(text) for text in row])
        if peak is not None:
            name = f"{cell['run']} at {cell['size']} px in {cell['precision']}"
            judged.append((f"{name} ({1 - peak:.1%})", 1 - peak > SAVED))
    notes = ["Step's own: peak without what was held before the first step."]
    notes += _verdict(f"Claimed for Occlufix: peak memory cut by more than {SAVED:.0%}", judged)
    if any(cell.get("device_type") == "cpu" for cell in cells):
        notes.append("The claim is about a GPU; a CPU's peak also holds Python and its libraries.")
    return Table("Memory of mixed precision against full", columns, rows, notes)


def inference_table(cells: Sequence[Record]) -> Table:
    """Size, latency and images a second of restoring, and the claim of real time."""
    columns = ["px", "run", "precision", "parameters (M)", "of features (M)", "MACs (G)"]
    columns += ["latency, batch 1 (ms)", "p95 (ms)", "images/s, batch 1", "images/s, in a batch"]
    columns.append("cores used")
    rows, judged = [], []
    for cell in cells:
        row = [*_place(cell), _number(cell, "parameters", 2, 1e6)]
        row += [_number(cell, "features_parameters", 2, 1e6), _number(cell, "macs", 2, 1e9)]
        row += [_number(cell, "median_ms", 1), _number(cell, "p95_ms", 1)]
        row += [_number(cell, "alone_per_second", 2), _number(cell, "batch_per_second", 2)]
        row.append(_number(cell, "restoring_cores_used", 2))
        rows.append([Cell(text) for text in row])
        if cell["size"] == REAL_TIME_SIZE and "alone_per_second" in cell:
            speed = cell["alone_per_second"]
            name = f"{cell['run']} in {cell['precision']} ({speed:.1f})"
            judged.append((name, speed >= REAL_TIME))
    note = (
        "`Inpainter.restore` with the features' network where there is one, under autocast "
        "of the precision; batches as in training."
    )
    claim = (
        f"Claimed for Occlufix: real time at {REAL_TIME_SIZE} x {REAL_TIME_SIZE} pixels, here "
        f"{REAL_TIME:.0f} images/s or more one at a time"
    )
    return Table("Restoring", columns, rows, [note, *_verdict(claim, judged)])


def relation(
    cells: Sequence[Record], cell: Record, value: Callable[[Record], float]
) -> float | None:
    """A cell's value over that of full precision; None where either is missing or nothing."""
    try:
        ratio = value(cell) / value(_full(cells, cell))
    except (KeyError, ZeroDivisionError):
        return None
    return ratio if ratio == ratio else None  # NaN where the system tells no peak


def _full(cells: Sequence[Record], cell: Record) -> Record:
    """The record of the same run and size in full precision; empty when there is none."""
    place = {"run": cell["run"], "size": cell["size"], "precision": FULL}
    return next((c for c in cells if place.items() <= c.items()), {})


def _verdict(claim: str, judged: Sequence[tuple[str, bool]]) -> list[str]:
    """One sentence: who reaches the claim and who does not."""
    if not judged:
        return [f"{claim}: not measured."]
    parts = []
    for words, wanted in (("reached by", True), ("not reached by", False)):
        names = [name for name, reached in judged if reached is wanted]
        if names:
            parts.append(f"{words} {', '.join(names)}")
    return [f"{claim}: {'; '.join(parts)}."]


def _place(cell: Record) -> list[str]:
    return [str(cell["size"]), cell["run"], cell["precision"]]


def _number(cell: Record, name: str, decimals: int, unit: float = 1.0) -> str:
    return f"{cell[name] / unit:.{decimals}f}" if name in cell else MISSING
