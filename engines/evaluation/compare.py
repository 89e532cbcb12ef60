"""The one driver of comparisons: options in, a report for each set of frozen pairs out.

A comparison is one record: how its rows are chosen and put together, and what is found about them
on the same pairs. Which folders, which values are shared and what is written is the same for all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from deocclude.engines.evaluation.suites import Suite, suite_of
from deocclude.engines.evaluation.summaries import pair_facts
from deocclude.engines.measures.rows import Pairs, RowResult
from deocclude.engines.report.html_pictures import Example
from deocclude.engines.report.report import Drawing, Report, write_report
from deocclude.engines.report.tables import Table
from deocclude.engines.runs.devices import resolve_device
from deocclude.engines.runs.pairs import default_folder

if TYPE_CHECKING:  # since Python 3.11
    from typing import Self

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """What to compare, on what, and how: options that all commands of `evaluate.py` share.

    With `share_values` the values of each image lie where a comparison without `output` keeps them,
    whatever `output` is, so that neither computes what the other has. `remarks` are said above the
    tables.
    """

    runs: list[str] | None = None
    all_runs: bool = False
    suite: Path | None = None
    checkpoint: list[Path] = field(default_factory=list)
    reference: str | None = None
    data: Path | None = None
    limit: int | None = None
    output: Path | None = None
    runs_folder: Path = Path("runs")
    batch: int = 64
    device: str = "auto"
    share_values: bool = False
    remarks: tuple[str, ...] = ()

    @classmethod
    def known(cls, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Those of `asked` that this comparison has."""
        return {each.name: asked[each.name] for each in fields(cls) if each.name in asked}

    def of_tables(self, suite: Suite) -> list[Self]:
        """The options of each table of a suite, with its runs by their names. Those of several
        tables share the values of each image."""
        found = []
        for table in suite.parts():
            reference = self.reference or table.reference
            if table.seeds and not hasattr(self, "fold_seeds"):
                reference = with_number(reference, table.runs)
            one = replace(self, suite=None, runs=list(table.runs), reference=reference)
            if suite.tables:
                folder = self.output or self.runs_folder / "evaluation" / suite.folder
                one = replace(one, output=folder / table.name, share_values=True)
            found.append(one)
        return found


def with_number(reference: str | None, folders: Sequence[str]) -> str | None:
    """A reference as its row is called: by its number where several of these run folders have its
    name, each a row, by that of the first."""
    runs = [Path(folder) for folder in folders]
    named = [run for run in runs if run.parent.name.lower() == (reference or "").lower()]
    return f"{named[0].parent.name}/{named[0].name}" if len(named) > 1 else reference


@dataclass(frozen=True)
class Asked:
    """Rows to be compared on the same pairs; `more` is for `Comparison.find`."""

    rows: Any
    pairs: Pairs
    reference: str | None = None
    title: str | None = None
    remarks: Sequence[str] = ()
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Findings:
    """What is to be said of rows on the same pairs; `lines` stand above the tables. `kinds`: of
    rows whose lines the page can hide."""

    results: Sequence[RowResult]
    summary: pd.DataFrame
    lines: Sequence[str]
    tables: Sequence[Table]
    drawings: dict[str, Drawing]
    kinds: dict[str, str] = field(default_factory=dict)
    reference: str | None = None
    examples: Sequence[Example] = ()
    files: dict[str, Path] = field(default_factory=dict)  # beside the report's


@dataclass(frozen=True)
class Comparison:
    """One kind of comparison.

    groups: (options, device) to the rows of each set of pairs; ValueError or FileNotFoundError says
    what is missing and which command makes it. find: (rows, pairs, folder of values, reference=,
    batch=, device=, ...) to what is found. part: its sub-folder, where another one has the pairs'.
    """

    title: str
    options: type[Options]
    groups: Callable[[Any, torch.device], Sequence[Asked]]
    find: Callable[..., Findings]
    part: str = ""


def compare(comparison: Comparison, **asked: Any) -> list[Report]:
    """A report for each group of rows that shares its pairs; `asked` are fields of
    `comparison.options`. A suite of several tables gives the reports of each.

    Raises ValueError or FileNotFoundError that says what is missing and which command makes it.
    """
    options = comparison.options(**asked)
    suite = suite_of(options)
    tables = [options] if suite is None else options.of_tables(suite)
    return [each for table in tables for each in _reports(comparison, table)]


def _reports(comparison: Comparison, options: Options) -> list[Report]:
    device = resolve_device(options.device)
    groups = comparison.groups(options, device)
    if len(groups) > 1:
        logger.info("the runs have %d different sets of test pairs: a table each", len(groups))
    reports = []
    for group in groups:
        kept = default_folder(group.pairs, options.runs_folder)
        folder = options.output or kept / comparison.part
        if options.output is not None and len(groups) > 1:
            folder = options.output / group.pairs.hash[:12]
        reports.append(
            report(
                comparison,
                group.rows,
                group.pairs,
                folder,
                values=kept if options.output is None or options.share_values else None,
                title=group.title,
                remarks=[*options.remarks, *group.remarks],
                reference=group.reference,
                batch=options.batch,
                device=device,
                **group.more,
            )
        )
    return reports


def report(
    comparison: Comparison,
    rows: Any,
    pairs: Pairs,
    folder: Path,
    *,
    values: Path | None = None,
    title: str | None = None,
    remarks: Sequence[str] = (),
    **asked: Any,
) -> Report:
    """Measure `rows` on `pairs` and write everything that compares them into `folder`.

    Files: `rows/*.csv` (a line an image), `pairs.json`, `table.md`, `table.tex`, `summary.csv`,
    figures, and `report.html`, which needs no other file. `values` holds `rows/` instead of
    `folder`, so that several reports share the values; `remarks` stand below the caption; `asked`
    is for `comparison.find`.
    """
    values = values or folder
    found = comparison.find(rows, pairs, values, **asked)
    written = write_report(
        folder, title or comparison.title, [*found.lines, *remarks], found.tables,
        {"summary": found.summary}, drawings=found.drawings, pairs=pairs, measured=values / "rows",
        facts=pair_facts(found.results, found.reference), kinds=found.kinds,
        reference=found.reference, examples=found.examples,
    )  # fmt: skip
    written.files.update(found.files)
    return written
