"""Tables as cells, and what all of them share; `engines.report.writers` writes them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

METRICS = ("psnr", "ssim", "l1", "lpips", "lpips_vgg", "identity", "identity_dlib")
HEADINGS = {"psnr": "PSNR (dB)", "ssim": "SSIM", "l1": "L1 (mean absolute error)", "mse": "MSE"}
HEADINGS |= {"lpips": "LPIPS (AlexNet)", "lpips_vgg": "LPIPS (VGG-16)", "fid": "FID"}
HEADINGS |= {"identity": "Identity similarity", "identity_dlib": "Identity similarity (dlib)"}
DECIMALS = {"psnr": 2, "ssim": 4, "l1": 4, "mse": 5, "lpips": 4, "lpips_vgg": 4, "identity": 4}
DECIMALS |= {"identity_dlib": 4, "fid": 2}
MEAN, OUTSIDE, ALL = "mean", "outside", "all"
BIN_LABELS = {str(i): f"{max(1, 10 * i)}–{10 * i + 10} %" for i in range(6)}
BIN_LABELS |= {OUTSIDE: "other", MEAN: "mean of bins", ALL: "whole set"}
MISSING = "–"


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
