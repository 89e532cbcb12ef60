"""How well an inpainter's doubt predicts its error: from measured values to numbers and tables."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from deocclude.engines.analysis.uncertainty_values import DEPTH, UNCERTAINTY, Measured
from deocclude.engines.report.tables import MISSING, Cell, Table, mark_best, named_rows
from deocclude.metrics.correlation import Correlations, correlate, ranks_within
from deocclude.metrics.statistics import Interval, bootstrap_interval
from deocclude.metrics.uncertainty import Sparsification, calibration, sparsify

ENDINGS = {UNCERTAINTY: "", DEPTH: ": depth in the hole"}  # of a row's name


@dataclass(frozen=True)
class Finding:
    """How well one quantity predicts one inpainter's error."""

    pixels: Correlations
    within: Interval
    between: Correlations
    equal_holes: Interval
    sparsification: Sparsification


@dataclass(frozen=True)
class Result:
    """What is kept of one network's measured values, without the sampled pixels.

    `findings`: by quantity, UNCERTAINTY and DEPTH; without DEPTH where the same errors were held
    against it in another row. `curve`: from `metrics.uncertainty.calibration`. `predicted`, `came`:
    root mean squares of uncertainty and error.
    """

    name: str
    doubt: str
    images: pd.DataFrame
    findings: dict[str, Finding]
    curve: pd.DataFrame
    predicted: float
    came: float
    sampled: int
    total: int


def conclude(measured: Measured, seed: int = 0) -> Result:
    """Correlations, calibration and sparsification of one network's values."""
    pixels = measured.pixels
    sources = (UNCERTAINTY,) if measured.again else (UNCERTAINTY, DEPTH)
    return Result(
        measured.name,
        measured.doubt,
        measured.images,
        {source: find(measured, source, seed) for source in sources},
        calibration(pixels[UNCERTAINTY], pixels["squared"], pixels["image"], seed=seed),
        float(np.sqrt(np.square(pixels[UNCERTAINTY].to_numpy(np.float64)).mean())),
        float(np.sqrt(pixels["squared"].to_numpy(np.float64).mean())),
        len(pixels),
        measured.total,
    )


def find(measured: Measured, source: str, seed: int = 0) -> Finding:
    """How well `source`, UNCERTAINTY or DEPTH, predicts the error."""
    pixels, images = measured.pixels, measured.images
    known = images.dropna(subset=["l1"])  # pairs without a hole have no error
    by_image = known["image"].to_numpy()
    ranked = [ranks_within(known[column], known["bin"]) for column in (source, "l1")]
    return Finding(
        correlate(pixels[source], pixels["error"], pixels["image"], seed=seed),
        bootstrap_interval(known[f"{source}_rho"].to_numpy(), images=by_image, seed=seed),
        correlate(known[source], known["l1"], by_image, seed=seed),
        correlate(*ranked, by_image, seed=seed).pearson,
        sparsify(pixels[source], pixels["error"], seed=seed),
    )


def correlation_table(results: Sequence[Result]) -> Table:
    """A row each network and quantity; the best of each column marked."""
    named = [(f"{r.name}{ENDINGS[key]}", f) for r in results for key, f in r.findings.items()]
    columns = {
        "pixels, ρ": [f.pixels.spearman for _, f in named],
        "pixels, r": [f.pixels.pearson for _, f in named],
        "pixels of one hole, ρ": [f.within for _, f in named],
        "holes, ρ": [f.between.spearman for _, f in named],
        "holes, r": [f.between.pearson for _, f in named],
        "holes of one bin, ρ": [f.equal_holes for _, f in named],
    }
    cells = [
        mark_best([_interval(value) for value in values], [v.mean for v in values], True)
        for values in columns.values()
    ]
    rows = named_rows([name for name, _ in named], cells)
    notes = [
        "ρ: Spearman's, r: Pearson's coefficient of uncertainty and absolute error, with 95 % "
        "bootstrap intervals over images, each with all its masks. Pixels: all that were sampled, "
        "together. Pixels of one hole: in each hole by itself, then the mean over holes. Holes: "
        "mean uncertainty and mean error of each; of one bin: by their ranks within their bin of "
        "hole area, so that larger holes being worse does not count.",
        "Depth in the hole, the distance to the nearest known pixel, needs no network.",
    ]
    for result in results:
        flat = int(result.images[f"{UNCERTAINTY}_rho"].isna().sum())
        if flat:
            notes.append(
                f"{result.name}: in {flat} of {len(result.images)} holes uncertainty or error is "
                "the same everywhere; they are no part of the mean over holes."
            )
    return Table("Correlation with the error", ["", *columns], rows, notes)


def calibration_table(results: Sequence[Result]) -> Table:
    """What is predicted and what comes in the surest and the least sure bin; sparsification."""
    rows = []
    for result in results:
        own = result.findings[UNCERTAINTY].sparsification
        depth = result.findings.get(DEPTH)
        ends = [result.curve[c].iloc[i] for i in (0, -1) for c in ("uncertainty", "rmse")]
        areas = [own.ause, depth.sparsification.ause if depth else np.nan, own.worst]
        factor = result.came / result.predicted if result.predicted > 0 else np.nan
        texts = [
            *_digits([result.predicted, result.came], ".4f"),
            *_digits([factor], ".2f"),
            *_digits([*ends, *areas], ".4f"),
            f"{100 * own.gain:.1f} %" if np.isfinite(own.gain) else MISSING,
        ]
        rows.append([Cell(result.name), *map(Cell, texts)])
    columns = ["", "uncertainty (RMS)", "RMSE", "RMSE ÷ uncertainty"]
    ends = ("surest", "least sure")
    columns += [f"{end}: {what}" for end in ends for what in ("uncertainty", "RMSE")]
    columns += ["AUSE", "AUSE of depth", "AUSE at random", "share of the oracle's gain"]
    bins = max(len(result.curve) for result in results)
    notes = [
        "An uncertainty that is a standard deviation of the error has RMSE ÷ uncertainty = 1; "
        f"above, it is too sure. Surest and least sure: the first and the last of {bins} bins of "
        "pixels of equal count, by uncertainty; root mean squares (Levi et al. 2019).",
        "AUSE: area between the error that is left when the most uncertain pixels are left out "
        "and the oracle's, both as shares of the mean absolute error (Ilg et al. 2018); lower is "
        "better.",
    ]
    return Table("Calibration and sparsification", columns, rows, notes)


def _digits(values: Sequence[float], form: str) -> list[str]:
    return [format(value, form) if np.isfinite(value) else MISSING for value in values]


def _interval(value: Interval) -> str:
    if not np.isfinite(value.mean):
        return MISSING
    if not np.isfinite(value.low):
        return f"{value.mean:.3f} [{MISSING}]"
    return f"{value.mean:.3f} [{value.low:.3f}, {value.high:.3f}]"


def all_values(results: Sequence[Result]) -> dict[str, pd.DataFrame]:
    """Everything behind tables and figures, by file."""
    lines, sparse = [], []
    for result in results:
        for source, f in result.findings.items():
            known = {"row": result.name, "source": source}
            parts = {
                "pixels_spearman": f.pixels.spearman,
                "pixels_pearson": f.pixels.pearson,
                "one_hole_spearman": f.within,
                "holes_spearman": f.between.spearman,
                "holes_pearson": f.between.pearson,
                "one_bin_spearman": f.equal_holes,
            }
            lines += [known | {"quantity": key} | v._asdict() for key, v in parts.items()]
            areas = {"ause": f.sparsification.ause, "ause_random": f.sparsification.worst}
            lines += [known | {"quantity": key, "mean": value} for key, value in areas.items()]
            curve = {"removed": f.sparsification.removed, "left": f.sparsification.curve}
            sparse.append(pd.DataFrame(known | curve | {"oracle": f.sparsification.oracle}))
    return {
        "correlations": pd.DataFrame(lines),
        "calibration": pd.concat([r.curve.assign(row=r.name) for r in results]),
        "sparsification": pd.concat(sparse),
        "images": pd.concat([r.images.assign(row=r.name) for r in results]),
    }
