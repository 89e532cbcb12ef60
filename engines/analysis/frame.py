"""The frame of the analyses: the pairs they share, the rows, what is said of them, what is written.

An analysis is a module with `analyse(arguments) -> Report`; `engines.cli.analyses` lists them.
"""

import argparse
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from deocclude.data.pairs.holes import FrozenPairs
from deocclude.engines.inference.baselines import BaselinePool, parse_baselines
from deocclude.engines.measures.inpainting import baseline_row, fitted_to, model_row
from deocclude.engines.measures.rows import Row
from deocclude.engines.report.report import Drawing, Report, pairs_line, write_report
from deocclude.engines.report.tables import Table
from deocclude.engines.runs import pairs as runs_pairs
from deocclude.engines.runs.devices import resolve_device
from deocclude.engines.runs.finished import Trained
from deocclude.engines.runs.metadata import WEIGHTS
from deocclude.engines.runs.pairs import Group

logger = logging.getLogger(__name__)


def shared_group(
    arguments: argparse.Namespace,
    members: Sequence[Trained],
    one_an_image: bool = False,
    size: int | None = None,
    per_bin: int | None = None,
) -> Group:
    """The frozen test pairs of `members`, at most `--limit`, evenly from all bins.

    With `one_an_image`, each image is met under one mask only, so that samples are independent.
    `size` in px and `per_bin` replace the members' own.
    ValueError when they have different test pairs, naming who has which, or when there is none.
    """
    groups = runs_pairs.group_by_pairs(list(members), arguments.data, size, per_bin)
    if len(groups) > 1:
        found = "; ".join(
            f"{group.pairs.hash[:12]} at {group.pairs.size} px: "
            + ", ".join(member.name for member in group.members)
            for group in groups
        )
        raise ValueError(f"the runs have different test pairs, --runs chooses some ({found})")
    if not groups or not len(groups[0].pairs):
        raise ValueError("there are no pairs to analyse")
    pairs = groups[0].pairs
    if one_an_image:
        pairs = pairs.one_an_image()
    return Group(pairs.limited(arguments.limit), groups[0].members)


@contextmanager
def opened_rows(
    arguments: argparse.Namespace, members: Sequence[Trained], pairs: FrozenPairs
) -> Iterator[tuple[list[Row], list[str]]]:
    """The rows of the members and baselines, and lines about these; inside the block the baselines
    have processes."""
    device, cache = resolve_device(arguments.device), arguments.runs_folder / ".cache"
    names, faces, said = fitted_to(parse_baselines(arguments.baselines), pairs, cache)
    with BaselinePool(None if names else 0, faces) as pool:
        rows = [model_row(m.name, m.checkpoint, device, m.training) for m in members]
        yield rows + [baseline_row(name, pool) for name in names], said


def describe_pairs(pairs: FrozenPairs) -> str:
    """What a reader needs to know about the pairs, one line."""
    images = len({pair.image_sha256 for pair in pairs.pairs})
    return pairs_line(len(pairs), f"of {images} images", pairs.size, pairs.description, pairs.hash)


def describe_members(members: Sequence[Trained]) -> str:
    """Which run each name stands for, one line."""
    found = [
        f"{member.name} = {member.checkpoint.parent.parent.name}/{member.checkpoint.parent.name}"
        if member.checkpoint.name == WEIGHTS
        else f"{member.name} = {member.checkpoint.name}"
        for member in members
    ]
    return f"Networks: {', '.join(found)}."


def output_folder(arguments: argparse.Namespace) -> Path:
    """Where an analysis writes: --output, else analysis/<name> below the folder of runs."""
    return arguments.output or arguments.runs_folder / "analysis" / arguments.analysis


def save_analysis(
    folder: Path,
    title: str,
    lines: Sequence[str],
    tables: Sequence[Table],
    values: Mapping[str, pd.DataFrame],
    drawn: Mapping[str, Figure],
    headline: int = 1,
) -> Report:
    """`table.md`, `<name>.csv`, `figures/<name>.png`, `report.html`: see `write_report`.

    On the page a figure has its file's name, and the first table alone stands above the figures.
    """
    drawings = {n: Drawing(f, n.replace("_", " ").capitalize()) for n, f in drawn.items()}
    return write_report(
        folder, title, lines, tables, values,
        drawings=drawings, headline=headline, above=1, latex=False,
    )  # fmt: skip
