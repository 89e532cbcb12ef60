"""Example pictures of a comparison: pairs chosen by one row's scores, restored once by each row."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from deocclude.data.contract import compose, hide
from deocclude.data.images import to_tensor, to_uint8
from deocclude.data.pairs.holes import FrozenPairs
from deocclude.engines.measures.rows import Row, RowResult
from deocclude.engines.report import tables
from deocclude.engines.report.charts import LEGIBLE, legible
from deocclude.engines.report.grids import picture_grid
from deocclude.engines.report.html_pictures import UNTOUCHED, Example

RANKS = ("worst", "median", "best")
CRITERION = "composed/psnr"
PICTURED = 16  # rows at most whose pictures are made: opening a row may take seconds


def choose_examples(frame: pd.DataFrame, column: str = CRITERION) -> list[tuple[str, str, int]]:
    """(bin, rank, index) of the worst, median and best image of each bin; fewer in a small bin.

    Images whose value is missing are never chosen.
    """
    frame = frame[frame[column].notna()]
    bins = tables.bin_names(frame)
    chosen = []
    for name in tables.sorted_bins(bins):
        order = frame[bins == name].sort_values(column, kind="stable")["index"].tolist()
        places = dict(zip(RANKS, (0, (len(order) - 1) // 2, len(order) - 1), strict=True))
        taken: set[int] = set()
        for rank, place in places.items():
            if place not in taken:
                chosen.append((name, rank, order[place]))
                taken.add(place)
    return chosen


def choose_pictured(
    frames: dict[str, pd.DataFrame], reference: str, most: int = PICTURED
) -> list[str]:
    """The rows whose pictures are shown, in the order of `frames`: all, or `most` of them.

    Of more rows these are the reference and those with the best mean of `CRITERION`. The row that
    leaves the input as it is does not count.
    """
    names = [name for name in frames if name != UNTOUCHED]
    means = {n: frames[n][CRITERION].replace(np.inf, np.nan).mean() for n in names}
    ranked = pd.Series(means).sort_values(ascending=False, kind="stable")  # no value: last
    return legible(names, reference, list(ranked.index), most)


def restore_examples(
    rows: Sequence[Row],
    results: Sequence[RowResult],
    pairs: FrozenPairs,
    reference: str,
    most: int = PICTURED,
) -> list[Example]:
    """The worst, median and best pair of each bin by `reference`, restored by at most `most` rows.

    Each pictured row is opened once, for all examples together. Empty when the reference has no
    value of `CRITERION`.
    """
    frames = {result.name: result.frame().set_index("index") for result in results}
    chosen = choose_examples(frames[reference].reset_index())
    if not chosen:
        return []
    indices = [index for _, _, index in chosen]
    images, masks = zip(*(pairs.load(index) for index in indices), strict=True)
    target, mask = to_tensor(np.stack(images)), to_tensor(np.stack(masks))
    occluded = to_uint8(hide(target, mask))
    pictured = set(choose_pictured(frames, reference, most))
    own = {  # what the table says of several seeds is their mean
        result.name: result.seeds[0].frame().set_index("index")
        for result in results
        if result.seeds
    }
    scores = {
        name: [_values(frame.loc[i]) for i in indices] for name, frame in (frames | own).items()
    }
    restored = {}
    for row in rows:
        if row.name in pictured:
            restorer = (row.seeds[0] if row.seeds else row).open()
            seen = hide(target, mask, restorer.fill)
            prediction = restorer.restore(seen, mask).cpu()
            restored[row.name] = to_uint8(compose(prediction, seen, mask))
    return [
        Example(
            name,
            rank,
            pairs.pairs[index].image,
            pairs.pairs[index].hole_ratio,
            occluded[i],
            masks[i],
            images[i],
            {row: pictures[i] for row, pictures in restored.items()},
            {row: values[i] for row, values in scores.items()},
        )
        for i, (name, rank, index) in enumerate(chosen)
    ]


def _values(line: pd.Series) -> dict[str, float]:
    return {column: float(value) for column, value in line.items() if "/" in column}


def _decibels(value: float) -> str | None:
    if value != value:
        return None
    return "∞ dB" if np.isinf(value) else f"{value:.1f} dB"


def example_figure(examples: Sequence[Example], reference: str, most: int = LEGIBLE):
    """Input, mask, restored pictures with their PSNR, and target, a line an example.

    Of more than `most` rows the reference and the first ones are drawn. ValueError without
    examples.
    """
    if not examples:
        raise ValueError("a figure of examples needs at least one")
    names = legible(list(examples[0].restored), reference, most=most)
    titles = ["input", "mask", *names, "target"]
    grid = [[e.occluded, e.mask, *(e.restored[name] for name in names), e.target] for e in examples]
    captions = [
        [None, None, *(_decibels(e.scores[name][CRITERION]) for name in names), None]
        for e in examples
    ]
    labels = [f"{tables.bin_label(e.bin)}\n{e.rank}" for e in examples]
    bins = [e.bin for e in examples]
    return picture_grid(grid, titles, labels, captions, group=bins.count(bins[0]))
