"""Tables as cells, and what all of them share; `engines.report.writers` writes them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from deocclude.engines.measures.rows import RowResult

METRICS = ("psnr", "ssim", "l1", "lpips", "lpips_vgg", "identity")
HEADINGS = {"psnr": "PSNR (dB)", "ssim": "SSIM", "l1": "L1 (mean absolute error)", "mse": "MSE"}
HEADINGS |= {"lpips": "LPIPS (AlexNet)", "lpips_vgg": "LPIPS (VGG-16)", "fid": "FID"}
HEADINGS |= {"identity": "Identity similarity"}
DECIMALS = {"psnr": 2, "ssim": 4, "l1": 4, "mse": 5, "lpips": 4, "lpips_vgg": 4, "identity": 4}
DECIMALS |= {"fid": 2}
MEAN, OUTSIDE, ALL = "mean", "outside", "all"
BIN_LABELS = {str(i): f"{max(1, 10 * i)}–{10 * i + 10} %" for i in range(6)}
BIN_LABELS |= {OUTSIDE: "other", MEAN: "mean of bins", ALL: "whole set"}
MISSING = "–"
SEEDS = (
    "A row of several seeds is, image by image, the mean over trainings that differ in their seed "
    "alone. Δ with seeds: the same difference, its interval from resampling images and the seeds "
    "of both rows, so that it speaks of the recipe and not of one training; what seeds deviate by "
    "is scaled up for their small number (Rao and Wu 1988). Where they vary more than images do it "
    "is still too short: of 2, 3 and 5 seeds it covers 61, 82 and 87 %, not 95. Where a row has "
    "one seed, its own luck is not in the interval. Example pictures are of the first seed."
)


@dataclass(frozen=True)
class Cell:
    """What a cell says, and whether it is the best of its column."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class Table:
    """A titled grid of cells; the first cell of a row is its name."""

    title: str
    columns: list[str]
    rows: list[list[Cell]]
    notes: list[str] = field(default_factory=list)


def check_same_pairs(results: Sequence[RowResult]) -> str:
    """The hash of the pairs that all rows were measured on. ValueError when they differ."""
    if not results:
        raise ValueError("a table needs at least one row")
    hashes: dict[str, list[str]] = {}
    for result in results:
        hashes.setdefault(result.info["key"]["pairs"], []).append(result.name)
    if len(hashes) > 1:
        found = "; ".join(f"{key[:12]}: {', '.join(names)}" for key, names in hashes.items())
        raise ValueError(f"rows measured on different pairs cannot share a table ({found})")
    return next(iter(hashes))


def choose_reference(results: Sequence[RowResult], wanted: str | None = None) -> str:
    """The row that differences are taken to: `wanted` (any case), else the first one.

    ValueError lists the rows when `wanted` is none of them.
    """
    names = [result.name for result in results]
    if wanted is None:
        return names[0]
    for name in names:
        if name.lower() == wanted.lower():
            return name
    raise ValueError(f"reference {wanted!r} is not a row; rows: {', '.join(names)}")


def bin_names(frame: pd.DataFrame) -> np.ndarray:
    """Each image's bin as "0" to "5", or "outside" of (0.01, 0.6]."""
    return np.array([OUTSIDE if number < 0 else str(number) for number in frame["bin"]])


def named_rows(names: Sequence[str], columns: Sequence[Sequence[Cell]]) -> list[list[Cell]]:
    """A table's rows from its columns, each with its name in front."""
    return [[Cell(name), *(column[i] for column in columns)] for i, name in enumerate(names)]


def mark_best(texts: list[str], values: Sequence[float], higher: bool) -> list[Cell]:
    """One column's cells; every cell that prints the same as the best one is marked."""
    finite = [v for v in values if v == v]
    if not finite:
        return [Cell(text) for text in texts]
    best = max(finite) if higher else min(finite)
    shown = texts[list(values).index(best)]
    return [Cell(text, text == shown) for text in texts]


def number(value: float, metric: str) -> str:
    """A metric's value with its decimals; a dash for none."""
    if value != value:
        return MISSING
    return "∞" if np.isinf(value) else f"{value:.{DECIMALS[metric]}f}"


def cost_table(results: Sequence[RowResult]) -> Table:
    """Parameters, multiply-accumulates and time an image, as recorded when the rows were run."""
    columns = ["", "parameters (M)", "MACs (G)", "latency, batch 1 (ms)", "p95 (ms)", "images/s"]
    columns += ["device", "trained on"]
    rows = []
    for result in results:
        cost = result.info["cost"]
        size = f"{cost['parameters'] / 1e6:.2f}" if cost["parameters"] else MISSING
        macs = f"{cost['macs'] / 1e9:.2f}" if cost["macs"] else MISSING
        times = [f"{cost[key]:.1f}" for key in ("median_ms", "p95_ms", "images_per_second")]
        texts = [result.name, size, macs, *times, cost["device"], _training(result.info)]
        rows.append([Cell(text) for text in texts])
    note = "images/s: models in batches, baselines on up to all cores, when first measured."
    return Table("Cost", columns, rows, [note])


def _training(info: dict) -> str:
    facts = info.get("training")
    if not facts:
        return MISSING
    times = f"{facts['seeds']} × " if "seeds" in facts else ""
    parts = [f"{times}{facts['images']:,} images" if "images" in facts else None]
    each = " each" if "seeds" in facts else ""
    parts += [f"{facts['minutes']:.0f} min{each}" if "minutes" in facts else None]
    parts.append(facts.get("device"))
    parts += [f"ended by {facts['reason']}" if facts.get("reason", "epochs") != "epochs" else None]
    return ", ".join(part for part in parts if part) or MISSING


def caption(results: Sequence[RowResult], reference: str) -> list[str]:
    """What a reader needs to know about the numbers, one line each."""
    key, info = results[0].info["key"], results[0].info
    images = results[0].frame()["image"].nunique()
    several = any(result.seeds for result in results)
    return [
        f"N = {info['count']} pairs of {images} images at {key['size']} px ({info['pairs']}); "
        f"SHA-256 of the pairs: {key['pairs']}.",
        "Composed: the prediction inside the hole, the known pixels outside. Columns are hole "
        "area; the mean of bins counts every bin the same.",
        f"Δ: difference of the mean of bins to {reference} on the same pairs, with its 95 % "
        "bootstrap interval over images, each with all its masks (Efron and Tibshirani 1993). "
        "Bold: best of the column.",
        *([SEEDS] if several else []),
        "OpenCV radius 3. Baselines work on 8-bit pixels, models on float; rounding to 8 bits "
        "alone limits the PSNR of a hole to about 59 dB.",
    ]
