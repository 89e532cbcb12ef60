"""`evaluate.py analyse sharpness`: how much detail is drawn in holes, and how much of it is right.

Neither PSNR nor SSIM tells a blur from sharp detail in the wrong place. Here restored and true
picture are split into bands of detail, differences of Gaussians (Burt and Adelson, IEEE
Transactions on Communications, 1983), and compared in each as SSIM compares windows (Wang et al.,
IEEE Transactions on Image Processing, 2004): by contrast and by correlation.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from deocclude.data.contract import compose
from deocclude.data.pairs.holes import FrozenPairs
from deocclude.engines.analysis.error_rows import REACH, ask_hidden, edge_of
from deocclude.engines.analysis.error_tables import paired_columns
from deocclude.engines.analysis.frame import (
    describe_members,
    describe_pairs,
    opened_rows,
    output_folder,
    save_analysis,
    shared_group,
)
from deocclude.engines.evaluation.summaries import check_same_pairs, choose_reference
from deocclude.engines.measures.rows import Batch, Row, RowResult, Sheet, measured
from deocclude.engines.report.report import Report
from deocclude.engines.report.tables import Table, pivot
from deocclude.engines.runs import finished
from deocclude.engines.runs.members import choose
from deocclude.engines.runs.pairs import default_folder
from deocclude.engines.runs.tasks import INPAINTING
from deocclude.metrics.image import NotFiniteError
from deocclude.metrics.ratios import RatioSamples, sample_ratios

TITLE = "Sharpness: how much detail, and how much of it right"
PROTOCOL = 1  # raised whenever a number in the files would come out differently
SIDE = 128  # of a picture that is blurred by SIGMAS, in px; others by as much of their side
SIGMAS = (1, 2, 4, 8)
# By the wavelength that a band lets through best; the first holds all that is finer.
BANDS = ("finest", "5 % of the side", "10 %", "20 %")
SUMS = ("restored", "true", "both")  # of squares, and of products
COLUMNS = tuple(f"{band}/{name}" for band in BANDS for name in SUMS)
METRICS = {"contrast": "Contrast of detail, of the true one's", "correlation": "Correlation"}


def analyse(arguments: argparse.Namespace) -> Report:
    """Measure the runs and baselines on the frozen test pairs.

    Files: `table.md`, `sharpness.csv`. ValueError or FileNotFoundError says what is missing.
    """
    members = choose(arguments, INPAINTING)
    group = shared_group(arguments, members)
    folder = arguments.output or default_folder(group.pairs, arguments.runs_folder)
    with opened_rows(arguments, group.members, group.pairs) as (rows, said):
        reference = choose_reference(rows, arguments.reference)
        results = evaluate_sharpness(rows, group.pairs, folder, batch=arguments.batch)
    frame = sharpness_frame(results, reference)
    lines = [
        describe_pairs(group.pairs),
        describe_members(group.members),
        f"Bands: differences of Gaussians of {', '.join(map(str, SIGMAS))} px in pictures of "
        f"{SIDE} px, in others of as much of their side; named by the wavelength they let through "
        f"best. Pixels of holes count, but for those within {REACH:.0%} of the side of a known "
        "one.",
        "Contrast: standard deviation of what is restored over that of the truth. Below 1 is blur, "
        "above 1 more than there was. Correlation: of both; 1 is right, 0 owes nothing to the "
        "truth. The least squared error has a contrast equal to its correlation: PSNR asks those "
        "who do not know to blur.",
        "95 % intervals, bootstrap over images, each with all its masks (Efron and Tibshirani "
        f"1993); differences to {reference} are paired.",
        *said,
        *finished.under_occluders(group.members, "it is shown the same holes as the others here"),
    ]
    tables = sharpness_tables(frame, reference)
    return save_analysis(
        output_folder(arguments), TITLE, lines, tables, {"sharpness": frame}, {}, headline=2
    )


def evaluate_sharpness(
    rows: Sequence[Row], pairs: FrozenPairs, folder: Path, *, batch: int = 64
) -> list[RowResult]:
    """Measure each row on every pair, or take the values found in `folder`.

    A line of a CSV has SUMS of a pair in each band, over the hole's inner pixels and all channels.
    """
    key = {"protocol": PROTOCOL, "table": "sharpness"}
    sheets = [Sheet(row, key, lambda _: _Sharpness(), priced=False) for row in rows]
    return measured(sheets, pairs, folder, ask_hidden, batch)


class _Sharpness:
    columns = COLUMNS

    def add(self, batch: Batch, prediction: Tensor) -> list[list[float]]:
        if not prediction.isfinite().all():
            raise NotFiniteError("its prediction holds values that are not finite")
        restored = bands(compose(prediction.float(), batch.seen, batch.mask))
        true = bands(batch.seen)
        inner = (batch.mask - edge_of(batch.mask))[:, None]  # of every band
        parts = (restored.square(), true.square(), restored * true)
        sums = [(part * inner).double().sum((2, 3, 4)) for part in parts]
        return torch.stack(sums, dim=-1).flatten(1).tolist()

    def finish(self, path: Path) -> dict[str, Any]:
        del path
        return {}


def bands(pictures: Tensor) -> Tensor:
    """Detail of pictures (N, C, H, W) by scale: (N, len(BANDS), C, H, W)."""
    found, finer = [], pictures
    for sigma in SIGMAS:
        sigma = sigma * pictures.shape[-1] / SIDE
        width = 2 * round(3 * sigma) + 1  # both ways at once would be as many times dearer
        coarser = gaussian_blur(gaussian_blur(pictures, [width, 1], sigma), [1, width], sigma)
        found.append(finer - coarser)
        finer = coarser
    return torch.stack(found, dim=1)


def sharpness_frame(results: Sequence[RowResult], reference: str) -> pd.DataFrame:
    """Contrast and correlation, a line for each row, band and metric; every pixel counts once.

    Columns: row, band, metric, images, mean, low, high, difference, difference_low,
    difference_high (to `reference`, on the same draws of images, 95 %).
    """
    check_same_pairs(results)
    sampled = {result.name: _sampled(result.frame()) for result in results}
    parts = []
    for name, found in sampled.items():
        for metric, own in found.items():
            columns = {"row": name, "band": BANDS, "metric": metric, "images": own.images}
            columns |= paired_columns(own, sampled[reference][metric])
            parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def _sampled(frame: pd.DataFrame) -> dict[str, RatioSamples]:
    images = frame["image"].to_numpy()
    restored, true, both = (
        frame[[f"{band}/{name}" for band in BANDS]].to_numpy(np.float64) for name in SUMS
    )
    power, slope = (sample_ratios(part, true, images) for part in (restored, both))
    contrast = RatioSamples(np.sqrt(power.value), np.sqrt(power.samples), power.images)
    with np.errstate(divide="ignore", invalid="ignore"):
        right = RatioSamples(
            slope.value / contrast.value, slope.samples / contrast.samples, power.images
        )
    return {"contrast": contrast, "correlation": right}


def sharpness_tables(frame: pd.DataFrame, reference: str) -> list[Table]:
    """Contrast and correlation by band, and of several rows the differences to `reference`."""
    tables, others = [], frame[frame["row"] != reference]
    for metric, title in METRICS.items():
        part = frame[frame["metric"] == metric]
        higher = True if metric == "correlation" else None
        tables.append(
            pivot(
                part, "row", "band", form=".3f", interval=True, higher=higher,
                title=f"{title} by band [95 %]",
            )
        )  # fmt: skip
    for metric, title in METRICS.items() if len(others) else ():
        tables.append(
            pivot(
                others[others["metric"] == metric], "row", "band", form="+.3f", of="difference",
                interval=True, title=f"{title} minus that of {reference} [95 %]",
            )
        )  # fmt: skip
    return tables
