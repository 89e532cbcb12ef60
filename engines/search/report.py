"""What a search leaves: a table of its trials, figures, and the best weights as a run's YAML."""

import copy
import math
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import yaml
from optuna.trial import FrozenTrial, TrialState

from deocclude.data.files import write_text
from deocclude.engines.report import figures
from deocclude.engines.report.report import write_report as write_tables
from deocclude.engines.report.tables import MISSING, Cell, Table, mark_best
from deocclude.engines.runs.config import nested
from deocclude.engines.runs.tasks import ABLATIONS
from deocclude.engines.search.figures import study_figures
from deocclude.engines.search.study import SharedStudy

STATES = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
    TrialState.FAIL: "failed",
}
SHOWN = 40  # rows of the table; summary.csv has every trial
BESIDE = ("composed/psnr", "composed/ssim", "composed/l1")  # columns beside the objective
COLUMNS = ["number", "state", "own", "value", "best_epoch", "epochs", "minutes", "remark"]


def trials_frame(shared: SharedStudy) -> pd.DataFrame:
    """A line a trial: COLUMNS, a weight for each term, and val/... scores of its best epoch.

    `value` of a trial that was pruned is that of its last epoch.
    """
    again = shared.successors()
    terms, lines = shared.search.space.terms, []
    for trial in shared.trials():
        attributes = trial.user_attrs
        line = {
            "number": trial.number,
            "state": STATES[trial.state],
            "own": bool(attributes.get("own")),
            "value": trial.value if trial.values else math.nan,
            "best_epoch": attributes.get("best_epoch"),
            "epochs": max(trial.intermediate_values, default=0),
            "minutes": attributes.get("minutes"),
            "remark": _remark(trial, again),
        }
        line |= {term: trial.params.get(term) for term in terms}
        scores = attributes.get("scores", {})
        lines.append(line | {f"val/{name}": value for name, value in scores.items()})
    return pd.DataFrame(lines, columns=None if lines else [*COLUMNS, *terms])


def _remark(trial: FrozenTrial, again: dict[int, int]) -> str:
    reason = trial.user_attrs.get("reason") or ""
    if trial.number in again:
        return f"{reason or 'its process ended'}; again as trial {again[trial.number]}"
    if trial.state == TrialState.FAIL:
        return f"{reason or 'its process ended'}; given up"
    return reason


def trials_table(
    shared: SharedStudy, frame: pd.DataFrame, importances: Mapping[str, float]
) -> Table:
    """The trials that have an objective, the best first, then what became of the others."""
    search, terms = shared.search, shared.search.space.terms
    order = frame.assign(
        rank=frame["state"].map({"complete": 0, "pruned": 1}).fillna(2),
        sign=frame["value"] * (-1 if search.higher else 1),
    ).sort_values(["rank", "sign", "number"])
    shown = order.head(SHOWN)
    beside = [name for name in BESIDE if name != search.objective and f"val/{name}" in frame]
    values = [Cell(value, form=".5g") for value in shown["value"]]
    complete = int(shown["state"].eq("complete").sum())  # they stand first
    objective = [*mark_best(values[:complete], search.higher), *values[complete:]]
    rows = []
    for cell, (_, line) in zip(objective, shown.iterrows(), strict=True):
        weights = [Cell(line[term], form=".4g") for term in terms]
        scores = [Cell(line[f"val/{name}"], form=".4g") for name in beside]
        name = Cell(f"{line['number']}{' (own weights)' if line['own'] else ''}")
        minutes = Cell(line["minutes"], form=".3g")
        end = [Cell(line["epochs"], form="g"), minutes, Cell(_end(line))]
        rows.append([name, *weights, cell, *scores, *end])
    columns = ["trial", *terms, search.objective, *beside, "epochs", "minutes", "end"]
    return Table("Trials", columns, rows, _notes(shared, frame, importances))


def _end(line: pd.Series) -> str:
    return f"{line['state']}: {line['remark']}" if line["remark"] else line["state"]


def _notes(shared: SharedStudy, frame: pd.DataFrame, importances: Mapping[str, float]) -> list[str]:
    search = shared.search
    notes = [
        f"The value of a complete trial is its best epoch's; of a pruned one, its last epoch's. "
        f"{MISSING}: no value.",
        "One training seed a trial, and the best trial is chosen on the pairs it is scored on, "
        "which flatters it: train `best.yaml` and the run itself, and compare them on test pairs.",
    ]
    if search.config.training.generator.name.startswith("adam"):
        notes.append(
            "Adam all but cancels a factor common to all weights: what is searched is mostly their "
            "ratios."
        )
    notes += _origins(shared)
    if len(frame) > SHOWN:
        notes.append(f"{SHOWN} of {len(frame)} trials; summary.csv has all.")
    if importances:
        words = ", ".join(f"{term} {share:.2f}" for term, share in importances.items())
        notes.append(f"Importance of the weights (PED-ANOVA, complete trials): {words}.")
    return notes


def _origins(shared: SharedStudy) -> list[str]:
    """Where the weights came from that a trial starts with; trials that differ are named."""
    found: dict[str, list[str]] = {}
    for trial in shared.done():
        for network, origin in trial.user_attrs.get("weights", {}).items():
            found.setdefault(f"{network}: {origin}", []).append(str(trial.number))
    trials = max(map(len, found.values()), default=0)
    few = {text: numbers for text, numbers in found.items() if len(numbers) < trials}
    notes = [f"Starting weights: {'; '.join(found)}."] if found else []
    if few:
        words = "; ".join(f"{text} in trial {', '.join(n)} only" for text, n in few.items())
        notes.append(
            f"Not all trials started from the same weights, so they cannot be compared: {words}."
        )
    return notes


def caption(shared: SharedStudy) -> list[str]:
    """What was searched, over what, and what came of it."""
    search, config = shared.search, shared.search.config
    settings = shared.study.user_attrs["settings"]
    done = shared.done()
    complete = sum(trial.state == TrialState.COMPLETE for trial in done)
    pruned = sum(trial.state == TrialState.PRUNED for trial in done)
    space = search.space
    images = settings["training_images"]
    an_epoch = config.training.epoch_images or images
    lines = [
        f"{config.name} ({config.profile}, {config.data.size} px): weights of "
        f"{', '.join(space.terms)} from {space.low:g} to {space.high:g} in steps of "
        f"{space.step:g}, by {search.objective}",
        f"{len(done)} trials: {complete} complete, {pruned} pruned, "
        f"{len(done) - complete - pruned} given up; each {config.training.epochs} epochs of "
        f"{an_epoch} images ({images} different ones), "
        f"{config.data.validation_pairs} validation pairs (hash "
        f"{settings['validation_pairs'][:12]}), training seed {config.training.seed}",
    ]
    if (best := shared.best()) is None:
        return [*lines, "No trial is complete yet."]
    weights = ", ".join(f"{term} {best.params[term]:g}" for term in space.terms)
    lines.append(f"Best: trial {best.number}, {search.objective} {best.value:.5g} with {weights}")
    if (own := shared.own()) is not None and own.number != best.number:
        gain = best.value - own.value
        lines.append(f"The run's own weights: {own.value:.5g}, so the search gained {gain:+.3g}")
    elif own is not None:
        lines.append("The run's own weights are the best so far.")
    return lines


def best_run(shared: SharedStudy, best: FrozenTrial) -> str:
    """The searched run with the best weights, as a YAML that the training script takes."""
    search = shared.search
    inside = search.run.parent == ABLATIONS.resolve()
    parent = search.run.stem if inside else str(search.run)
    changed = nested(search.overrides)
    weights = {term: {"weight": round(best.params[term], 9)} for term in search.space.terms}
    losses = {term: {**changed.get("losses", {}).get(term, {}), **w} for term, w in weights.items()}
    changed["losses"] = {**changed.get("losses", {}), **losses}
    content = {
        "extends": parent,
        "name": f"{search.folder.name}_searched",
        "description": f"{search.config.name} with the weights of trial {best.number}, "
        f"{search.objective} {best.value:.5g}",
        **changed,
    }
    if search.overrides:  # a profile comes after its run, and a run's own part of it after both
        content["profiles"] = {search.config.profile: copy.deepcopy(changed)}
    return yaml.safe_dump(content, sort_keys=False)


def write_report(shared: SharedStudy) -> tuple[list[str], dict[str, Path]]:
    """Write all there is to write; the caption's lines, and the files by name."""
    search, folder = shared.search, shared.search.folder
    with shared.turn:
        frame, lines = trials_frame(shared), caption(shared)
        importances = shared.importances()
        table = trials_table(shared, frame, importances)
        title = f"Search {folder.name}"
        files = write_tables(folder, title, lines, [table], {"summary": frame}, page=False).files
        best = shared.best()
        if best is None:
            return lines, files
        files["best.yaml"] = folder / "best.yaml"
        write_text(files["best.yaml"], best_run(shared, best))
        drawn = study_figures(
            shared.study,
            search.objective,
            search.space.terms,
            (search.space.low, search.space.high),
            None if (own := shared.own()) is None else own.value,
            shared.evaluator(),
        )
        for name, figure in drawn.items():
            path = folder / "figures" / f"{name}.png"
            files[path.name] = figures.save(figure, path)
    return lines, files
