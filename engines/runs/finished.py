"""What is compared: finished runs, weights files, and the frozen pairs they share."""

import json
import logging
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError, safe_open

from deocclude.engines.runs.config import (
    SCRIPTS,
    AnyRun,
    Data,
    FaceData,
    IdentityData,
    SegmentationData,
    available_runs,
    is_run_file,
    name_in_file,
)
from deocclude.engines.runs.folder import recorded_data
from deocclude.engines.runs.metadata import SHIPPED, WEIGHTS, no_such_file
from deocclude.engines.runs.recipes import home_of, is_recipe, recipe_config
from deocclude.engines.runs.released import is_shipped
from deocclude.names import did_you_mean

logger = logging.getLogger(__name__)

MAKE_ONE = "`python train_inpainting.py Reconstruction` makes one"
INPAINTING, SEGMENTATION, IDENTITY = "inpainting", "segmentation", "identity"
DATA: dict[str, type[FaceData]] = {
    INPAINTING: Data,
    SEGMENTATION: SegmentationData,
    IDENTITY: IdentityData,
}
MEASURES = {
    INPAINTING: "`python evaluate.py` measures inpainters",
    SEGMENTATION: "`python evaluate.py segmentation` measures segmenters",
    IDENTITY: "`python evaluate.py identity` measures identity networks",
}

LEAST_STEPS = 100  # of a run that its budget stopped inside its first epoch

RANDOM, AUTO = "random", "auto"
DEFAULT = "EfficientNetB0"  # the run that `auto` means


@dataclass(frozen=True)
class Trained:
    """A weights file, its configuration, and where its run read faces, masks or occluders from."""

    name: str
    checkpoint: Path
    config: dict[str, Any]
    training: dict[str, Any] | None
    data: Data | SegmentationData | IdentityData

    @property
    def task(self) -> str:
        return task_of(self.config)

    @property
    def split(self) -> Path:
        """Where its run wrote its split down, for an ensemble that of its first member's, which all
        share; there may be none."""
        return home_of(self.checkpoint) / "split.json"


def finished_runs(root: Path, every: bool = False, task: str | None = None) -> list[Path]:
    """Folders of finished runs below `root`: the latest of each name, or every one; not those that
    were `hardly_begun`.

    With a `task`, those that trained for it, and those whose weights file cannot be read, so that
    whoever reads it next says so.
    """
    found: dict[str, list[Path]] = {}
    for mark in sorted(root.glob("*/*/finished.json")):
        if not _has_weights(mark) or hardly_begun(mark.parent):
            continue
        if _trained_for(mark.parent, task):
            found.setdefault(mark.parent.parent.name, []).append(mark.parent)
    return [folder for runs in found.values() for folder in (runs if every else runs[-1:])]


def resolve_runs(wanted: list[str], root: Path, every: bool = False) -> list[Path]:
    """Run folders for names (`Reconstruction`, any case), numbers (`Reconstruction/002`), paths, or
    the YAML files of runs.

    A name stands for its latest finished run; a later one that was hardly begun is passed over,
    with a warning. A path stands for what lies there. FileNotFoundError names all that are not
    there, what makes them, and the finished runs there are.
    """
    finished = finished_runs(root, every=True)
    found = {text: _find_runs(text, finished, every) for text in wanted}
    begun = {text: _passed_over(text, found[text], root) for text in wanted}
    for line in [line for text in wanted if found[text] for line in begun[text]]:
        _warn_once(line)
    if missing := [text for text, runs in found.items() if not runs]:
        one = len(missing) == 1
        raise FileNotFoundError(
            f"{', '.join(missing)}: no finished run{'' if one else 's'} of "
            f"{'that name' if one else 'these names'} below {root}, and no run folder; "
            f"finished: {finished_words(root)}; "
            + "; ".join(_what_makes(text, finished) for text in missing)
            + "".join(f"; {line}" for text in missing for line in begun[text])
        )
    return list(dict.fromkeys(run for runs in found.values() for run in runs))


@lru_cache
def _warn_once(line: str) -> None:
    """A command looks for its runs before it imports PyTorch, and again when it opens them."""
    logger.warning("%s", line)


def unfinished(wanted: Iterable[str], root: Path) -> list[str]:
    """Those of `wanted` for which `resolve_runs` finds nothing."""
    finished = finished_runs(root, every=True)
    return [text for text in wanted if not _find_runs(text, finished, False)]


def finished_words(root: Path) -> str:
    """Every finished run below `root`, for an error."""
    runs = finished_runs(root, every=True)
    return ", ".join(f"{run.parent.name}/{run.name}" for run in runs) or "none"


def _find_runs(text: str, finished: list[Path], every: bool) -> list[Path]:
    if is_run_file(text):
        text = name_in_file(Path(text))
    named = [run for run in finished if run.parent.name.lower() == text.lower()]
    exact = [run for run in finished if f"{run.parent.name}/{run.name}".lower() == text.lower()]
    if exact or named:
        return exact or (named if every else named[-1:])
    path = Path(text)
    if (path / WEIGHTS).is_file():
        return [path]
    below = _runs_below(path) if path.is_dir() else []
    return below if every else below[-1:]


def _passed_over(text: str, found: list[Path], root: Path) -> list[str]:
    """A line on each run that a name or a number stands for but that was hardly begun, if it is
    later than those that were found."""
    text = name_in_file(Path(text)) if is_run_file(text) else text
    name, _, number = text.lower().partition("/")
    latest = found[-1].name if found else ""
    lines = []
    for mark in sorted(root.glob("*/*/finished.json")):
        run = mark.parent
        if run.parent.name.lower() != name or number not in ("", run.name) or run.name <= latest:
            continue
        if _has_weights(mark) and (why := hardly_begun(run)):
            lines.append(f"{run} is passed over: {why}; name its folder to use it all the same")
    return lines


def _what_makes(text: str, finished: Iterable[Path]) -> str:
    """The one command that trains a run of this name, of whatever task; else what was meant."""
    name = text.partition("/")[0]
    for task, script in SCRIPTS.items():
        if name.lower() in available_runs(task):
            return f"`python {script} {name}` makes one"
    known = [run for task in SCRIPTS for run in available_runs(task)]
    hint = did_you_mean(name, [*known, *(run.parent.name for run in finished)])
    return f"{text} is no run of ablations/{hint}"


def _trained_for(folder: Path, task: str | None) -> bool:
    if task is None:
        return True
    try:
        return task_of(read_metadata(folder / WEIGHTS)[0]) == task
    except ValueError:
        return True


def task_of(config: dict[str, Any]) -> str:
    return config.get("task", INPAINTING)


def check_task(members: list[Trained], task: str) -> list[Trained]:
    """`members`, or ValueError with the right command when one was trained for something else."""
    for member in members:
        if member.task != task:
            raise ValueError(
                f"{member.checkpoint}: was trained for {member.task}; {MEASURES[member.task]}"
            )
    return members


def under_occluders(members: list[Trained], hint: str) -> list[str]:
    """A remark on each inpainter that was trained on faces under occluders, ending with `hint`."""
    return [
        f"{member.name} was trained on faces under occluders ({member.data.preset}), not on holes; "
        f"{hint}."
        for member in members
        if isinstance(member.data, Data) and member.data.hidden_by == "occluders"
    ]


def _runs_below(folder: Path) -> list[Path]:
    return sorted(mark.parent for mark in folder.glob("*/finished.json") if _has_weights(mark))


def _has_weights(mark: Path) -> bool:
    return (mark.parent / WEIGHTS).is_file()


def read_trained(checkpoint: Path) -> Trained:
    """What a weights file says of itself, and its run folder of its data. Reads no weights."""
    if not checkpoint.is_file():
        raise FileNotFoundError(no_such_file(checkpoint))
    config, training = read_metadata(checkpoint)
    if task_of(config) not in DATA:
        raise ValueError(
            f"{checkpoint}: task {task_of(config)!r} is unknown; valid: {', '.join(DATA)}"
        )
    finished = checkpoint.parent / "finished.json"
    if finished.is_file() and not is_recipe(checkpoint):
        training = json.loads(finished.read_text(encoding="utf-8"))
    data = recorded_data(home_of(checkpoint), DATA[task_of(config)](**config["data"]))
    name = SHIPPED if is_shipped(checkpoint) else config["name"]
    return Trained(name, checkpoint, config, training, data)


def read_metadata(checkpoint: Path) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Configuration and training facts in a weights file, or of an ensemble's YAML. ValueError
    when it has none."""
    if is_recipe(checkpoint):
        return recipe_config(checkpoint), None
    try:
        with safe_open(checkpoint, framework="np") as file:
            metadata = file.metadata() or {}
        return json.loads(metadata["config"]), json.loads(metadata.get("training", "null"))
    except (OSError, SafetensorError, json.JSONDecodeError, KeyError) as error:
        raise ValueError(
            f"{checkpoint}: is truncated or holds no run's weights and configuration ({error!r})"
        ) from error


def name_apart(members: list[Trained]) -> list[Trained]:
    """The same, with the run's number added to names that occur twice, then the folder and file in
    the name's place, then the whole path."""
    for naming in (
        lambda t: f"{t.name}/{_number_or_file(t.checkpoint)}",
        lambda t: f"{t.checkpoint.parent.name}/{t.checkpoint.name}",
        lambda t: str(t.checkpoint),
    ):
        names = [member.name for member in members]
        if len(set(names)) == len(names):
            break
        members = [
            Trained(naming(m), m.checkpoint, m.config, m.training, m.data)
            if names.count(m.name) > 1
            else m
            for m in members
        ]
    return members


def _number_or_file(checkpoint: Path) -> str:
    """A run's number, or the name of a file that is not a run's weights."""
    return checkpoint.parent.name if checkpoint.name == WEIGHTS else checkpoint.name


def newest_checkpoint(runs: str | Path, task: str = "inpainting") -> Path | None:
    """`best.safetensors` of the run under `runs/<name>/<NNN>/` that finished last, or None.

    `task` is inpainting, segmentation or identity, as the run's config.yaml says (inpainting if it
    says nothing). A run whose config.yaml is damaged is passed over, with a warning, and so is one
    that was `hardly_begun`.
    """
    ends = [
        (end.stat().st_mtime, end.with_name("best.safetensors"))
        for end in Path(runs).glob("*/*/finished.json")
    ]
    fits = [end for end in ends if end[1].is_file() and _task(end[1].parent) == task]
    for _, weights in sorted(fits, reverse=True):
        if not (why := hardly_begun(weights.parent)):
            return weights
        warnings.warn(f"{weights.parent}: passed over, {why}", stacklevel=2)
    return None


def hardly_begun(run: Path) -> str:
    """Why the weights of a run that has ended are no result; empty for a finished run.

    It counts once a whole epoch was validated, or when its budget of minutes ended it after
    LEAST_STEPS steps. A finished.json that does not tell, or cannot be read, counts.
    """
    try:
        facts = json.loads((run / "finished.json").read_text(encoding="utf-8"))
        steps, best, reason = facts["steps"], facts["best"]["step"], facts["reason"]
    except (OSError, ValueError, LookupError, TypeError):
        return ""
    if best > 0 or (reason == "max_minutes" and steps >= LEAST_STEPS):
        return ""
    planned = facts.get("planned_steps", "?")
    return f"it was stopped ({reason}) after {steps} of {planned} steps, inside its first epoch"


def _task(run: Path) -> str | None:
    """What the run trained; None, with a warning, if its config.yaml is damaged."""
    config = run / "config.yaml"
    try:
        values = yaml.safe_load(config.read_text(encoding="utf-8")) if config.exists() else None
        return dict(values or {}).get("task", "inpainting")
    except (OSError, TypeError, ValueError, yaml.YAMLError) as error:
        warnings.warn(f"{config}: damaged, the run is passed over ({error})", stacklevel=3)
        return None


def newest_identity(runs: Path) -> Path | None:
    """The latest finished run of `DEFAULT` below `runs`, which `auto` takes; None without one."""
    found = [run for run in finished_runs(runs, task="identity") if run.parent.name == DEFAULT]
    return found[-1] if found else None


def identity_file(named: str, runs: Path) -> Path | None:
    """The weights file that `auto`, a run or a file means; None for `auto` without a finished run
    of `DEFAULT`. Errors as of `weights_file`."""
    if named != AUTO:
        return weights_file(named, runs)
    newest = newest_identity(runs)
    return None if newest is None else newest / WEIGHTS


def weights_file(named: str, runs: Path) -> Path:
    """The weights file of a run's name or folder, or the file itself. FileNotFoundError when there
    is none, ValueError for an ensemble's YAML."""
    if is_recipe(named):
        raise ValueError(f"{named}: is an ensemble's YAML; a run or a weights file is needed here")
    if named.endswith(".safetensors"):
        if not Path(named).is_file():
            raise FileNotFoundError(no_such_file(named))
        return Path(named)
    return resolve_runs([named], runs)[0] / WEIGHTS


def check_named(config: AnyRun, runs: Path) -> None:
    """FileNotFoundError or ValueError when a run or a file is not there that a configuration starts
    from, learns from, takes features from or combines."""
    start, teacher = getattr(config, "init_from", None), getattr(config, "teacher", None)
    features, members = getattr(config, "features", None), getattr(config, "members", None)
    named = [] if start is None else [start]
    if features is not None and features.weights not in (AUTO, RANDOM):
        named.append(features.weights)
    for one in named:
        weights_file(one, runs)
    named = [] if teacher is None else [teacher.weights]
    labels = config.model.options.get("members")
    if isinstance(labels, list) and not members:  # else they are written down already
        named += [one for one in labels if isinstance(one, str)]
    for one in named:
        if not is_recipe(one):
            weights_file(one, runs)
        elif not Path(one).is_file():
            raise FileNotFoundError(f"{one}: no such ensemble file")


def member_files(named: Sequence[str], runs: Path) -> list[Path]:
    """The files of runs' names or folders, or the files themselves; an ensemble's YAML too, for
    `members_of` to refuse. FileNotFoundError for a run that is not there."""
    return [Path(one) if is_recipe(one) else weights_file(one, runs) for one in named]
