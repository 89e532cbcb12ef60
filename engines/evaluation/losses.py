"""Loss terms as tables: of one run by epoch, and of several runs at their released epoch."""

import hashlib
import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from deocclude.engines.evaluation.compare import Options
from deocclude.engines.evaluation.suites import suite_of
from deocclude.engines.report.history import (
    EPOCHS,
    EXPLANATION,
    LOSS,
    TOTAL,
    VALIDATION,
    epoch_table,
    read_history,
    released_row,
)
from deocclude.engines.report.report import Report, write_report
from deocclude.engines.report.tables import MISSING, Cell, Table, mark_best, table_of
from deocclude.engines.runs.finished import Trained
from deocclude.engines.runs.members import choose_with_losses

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LossOptions(Options):
    """Whose losses, and where the tables go."""

    epochs: tuple[int, ...] = EPOCHS


def compare_losses(options: LossOptions) -> list[Report]:
    """Validation losses of several runs at their released epochs, then each run's own table.

    Raises ValueError or FileNotFoundError that says which run or file is missing.
    """
    suite = suite_of(options)
    members = choose_with_losses(
        options if suite is None else replace(options, runs=list(suite.runs))
    )
    table, numbers = released_table(members)
    tables = [table]
    for member in members:
        tables.append(epoch_table(member.checkpoint.parent, member.name, options.epochs)[0])
    named = suite.folder if suite else _folder_name(members)
    folder = options.output or options.runs_folder / "evaluation" / "losses" / named
    how = {"headline": 1, "page": False}
    return [write_report(folder, "Losses", [EXPLANATION], tables, {"summary": numbers}, **how)]


def _folder_name(members: Sequence[Trained], longest: int = 80) -> str:
    """A name for the folder of a comparison: the runs, by a hash where they are many."""
    folders = [member.checkpoint.parent for member in members]
    runs = [re.sub(r"[^\w.-]+", "-", f"{each.parent.name}-{each.name}") for each in folders]
    name = "+".join(runs)
    if len(name) <= longest:
        return name
    return f"{runs[0]}+{len(runs) - 1}-more-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def released_table(members: Sequence[Trained]) -> tuple[Table, pd.DataFrame]:
    """A row a run: validation total and terms of the released weights, and the numbers behind it.

    The best value of a column is marked where all runs that have the term define it alike and
    were validated on the same pairs. ValueError when no run has validation losses.
    """
    lines, histories = [], [read_history(member.checkpoint.parent) for member in members]
    for member, history in zip(members, histories, strict=True):
        row = released_row(history, member.checkpoint.parent)
        values = {} if row is None else row.to_dict()
        terms = {k: v for k, v in values.items() if k.startswith(VALIDATION)}
        lines.append({"run": member.name, "epoch": values.get("epoch")} | terms)
    numbers = pd.DataFrame(lines)
    columns = [column for column in numbers if column.startswith(VALIDATION)]
    columns.sort(key=lambda column: column != VALIDATION + TOTAL)  # stable: the total first
    if not columns:
        raise ValueError(
            f"none of {', '.join(m.name for m in members)} has validation losses "
            f"(columns {VALIDATION}... of metrics.csv) at its released epoch"
        )
    terms = [column.removeprefix(VALIDATION) for column in columns]
    fair = [comparable(term, members) for term in terms]
    names, grid = list(numbers["run"]), [("epoch", [Cell(v, form=LOSS) for v in numbers["epoch"]])]
    for term, name, marked in zip(terms, columns, fair, strict=True):
        cells = [Cell(value, form=LOSS) for value in numbers[name]]
        grid.append((term, mark_best(cells, higher=False) if marked else cells))
    notes = _comparison_notes(terms, fair, numbers, members)
    title = "Validation losses of the released weights"
    return table_of(title, names, grid, notes), numbers[["run", "epoch", *columns]]


def _comparison_notes(
    terms: Sequence[str], fair: Sequence[bool], numbers: pd.DataFrame, members: Sequence[Trained]
) -> list[str]:
    notes = [f"{MISSING}: not a term of this run, or no released epoch is on record."]
    shared = [numbers[f"{VALIDATION}{term}"].count() > 1 for term in terms]
    unfair = [t for t, marked, both in zip(terms, fair, shared, strict=True) if both and not marked]
    if unfair:
        notes.append(
            f"Not to be compared between rows, or of no merit when low: {', '.join(unfair)}."
        )
    critics = any(_is_adversarial(name, m) for m in members for name in m.config["losses"])
    if critics and TOTAL in terms and TOTAL not in unfair:
        notes.append("The total holds an adversarial term, which each run's own critic decides.")
    return notes


def comparable(term: str, members: Sequence[Trained]) -> bool:
    """Whether a lower value of this column is better: several runs have the term and define it
    alike, on the same pairs; never so for a term that each run's own discriminator decides."""
    chosen = [m for m in members if term == TOTAL or term in m.config["losses"]]
    if len(chosen) < 2 or any(_is_adversarial(term, member) for member in chosen):
        return False
    return len({_definition(term, member) for member in chosen}) == 1


def _is_adversarial(term: str, member: Trained) -> bool:
    kind = member.config["losses"].get(term, {}).get("term", term)
    return kind in ("adversarial", "feature_matching")  # what the run's own discriminator decides


def _definition(term: str, member: Trained) -> str:
    """Everything that decides what a term measures in a run, as text."""
    config = member.config
    if term == TOTAL:
        losses = [config["losses"], config["training"].get("feature_terms", True)]
    else:
        losses = {k: v for k, v in config["losses"][term].items() if k != "weight"}
    network = config["training"].get("features_weights")
    return json.dumps([losses, config.get("loss_on"), network, _validation(member)], sort_keys=True)


def _validation(member: Trained) -> str | None:
    """The hash of a run's validation pairs, as it wrote it down."""
    path = member.checkpoint.parent / "validation_pairs.json"
    return json.loads(path.read_text(encoding="utf-8"))["hash"] if path.is_file() else None
