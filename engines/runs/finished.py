"""What is compared: finished runs, weights files, and the frozen pairs they share."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deocclude.data.settings import Data, IdentityData, SegmentationData
from deocclude.engines.graphs.description import config_of, is_onnx
from deocclude.engines.runs.config import (
    available_runs,
    is_run_file,
    name_in_file,
    read_yaml,
    validate_part,
)
from deocclude.engines.runs.folder import (
    END,
    RunFolderError,
    has_ended,
    no_result,
    read_end,
    recorded_data,
    stopped_early,
)
from deocclude.engines.runs.metadata import (
    WEIGHTS,
    check_config,
    no_such_file,
    release_metadata,
)
from deocclude.engines.runs.places import looked_in, places, say_place, warn_once
from deocclude.engines.runs.recipes import home_of, is_recipe, recipe_config, starts
from deocclude.engines.runs.released import shipped_name
from deocclude.engines.runs.settings import AnyRun
from deocclude.engines.runs.tasks import IDENTITY, INPAINTING, TASKS, task_of
from deocclude.names import did_you_mean

logger = logging.getLogger(__name__)

RANDOM, AUTO, OFF = "random", "auto", "off"
DLIB = "dlib"  # its face network, no run
DEFAULT = TASKS[IDENTITY].default  # the run that `auto` means
MAKE_IDENTITY = f"`python {TASKS[IDENTITY].script} {DEFAULT}` trains one"


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
    """Folders of finished runs below `root`: the latest of each name, or every one; not those whose
    weights are `no_result`. Where there is none, those in the next of its `places`, said in a line.

    With a `task`, those that trained for it, and those whose weights file cannot be read, so that
    whoever reads it next says so.
    """
    for place in places(root):
        found: dict[str, list[Path]] = {}
        for run in _ended(place):
            if not no_result(run) and _trained_for(run, task):
                found.setdefault(run.parent.name, []).append(run)
        runs = [run for each in found.values() for run in (each if every else each[-1:])]
        if runs:
            break
    if runs and place != root:
        warn_once(f"no finished run in {root}/ here: those in {place} are looked at")
    return runs


def _ended(place: Path, name: str = "*") -> list[Path]:
    """Folders of the runs that have ended, in order; with weights, finished or hardly begun."""
    marks = place.glob(f"{name}/*/{END}")
    return sorted(
        (mark.parent for mark in marks if has_ended(mark.parent)),
        key=lambda run: (run.parent.name, len(run.name), run.name),  # 1000 is after 999
    )


def resolve_runs(wanted: list[str], root: Path, every: bool = False) -> list[Path]:
    """Run folders for names (`Reconstruction`, any case), numbers (`Reconstruction/002`), paths, or
    the YAML files of runs.

    A name stands for its latest finished run, in the first of the `places` of `root` that has one;
    a later one whose weights are `no_result` is passed over, with a warning. A path stands for what
    lies there. FileNotFoundError names all that are not there, what makes them, and the finished
    runs there are.
    """
    finished = [_finished(place) for place in places(root)]
    found = {text: _find_runs(text, finished, every) for text in wanted}
    begun = {text: _passed_over(text, found[text], root) for text in wanted}
    for line in [line for text in wanted if found[text] for line in begun[text]]:
        warn_once(line)
    for run in [run for runs in found.values() for run in runs]:
        say_place(run, root)
        if stopped := stopped_early(run):
            warn_once(f"{run} {stopped}; its best weights so far are taken")
    if missing := [text for text, runs in found.items() if not runs]:
        one = len(missing) == 1
        raise FileNotFoundError(
            f"{', '.join(missing)}: no finished run{'' if one else 's'} of "
            f"{'that name' if one else 'these names'} below {looked_in(root)}, and no run folder; "
            f"finished: {finished_words(root)}; "
            + "; ".join(_what_makes(text, finished[0]) for text in missing)
            + "".join(f"; {line}" for text in missing for line in begun[text])
        )
    return list(dict.fromkeys(run for runs in found.values() for run in runs))


def run_of_seed(named: str, seed: int, root: Path) -> Path | None:
    """The latest finished run of a name, or of a run's YAML file, that was trained with this seed,
    in the first of the `places` of `root` that has one."""
    for place in places(root):
        for run in reversed(_find_runs(named, [_finished(place)], every=True)):
            if read_metadata(run / WEIGHTS)[0].get("training", {}).get("seed") == seed:
                return run
    return None


def unfinished(wanted: Iterable[str], root: Path) -> list[str]:
    """Those of `wanted` for which `resolve_runs` finds nothing."""
    finished = [_finished(place) for place in places(root)]
    return [text for text in wanted if not _find_runs(text, finished, False)]


def _finished(place: Path) -> list[Path]:
    """Every finished run in this very place."""
    return [run for run in _ended(place) if not no_result(run)]


def finished_words(root: Path) -> str:
    """Every finished run below `root`, for an error."""
    runs = [run for place in places(root) for run in _finished(place)]
    return ", ".join(f"{run.parent.name}/{run.name}" for run in runs) or "none"


def _find_runs(text: str, finished: list[list[Path]], every: bool) -> list[Path]:
    """The runs of a name in the first place that has some, `finished` being those of each, or those
    that a path stands for."""
    if is_run_file(text):
        text = name_in_file(Path(text))
    for there in finished:
        named = [run for run in there if run.parent.name.lower() == text.lower()]
        exact = [run for run in there if f"{run.parent.name}/{run.name}".lower() == text.lower()]
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
    for run in _ended(found[-1].parent.parent if found else root):
        if run.parent.name.lower() != name or number not in ("", run.name) or run.name <= latest:
            continue
        if why := no_result(run):
            lines.append(f"{run} is passed over: {why}; name its folder to use it all the same")
    return lines


def _what_makes(text: str, finished: Iterable[Path]) -> str:
    """The one command that trains a run of this name, of whatever task; else what was meant."""
    name = text.partition("/")[0]
    for task in TASKS.values():
        if name.lower() in available_runs(task.name):
            return f"`python {task.script} {name}` makes one"
    known = [run for task in TASKS for run in available_runs(task)]
    hint = did_you_mean(name, [*known, *(run.parent.name for run in finished)])
    return f"{text} is no run of ablations/{hint}"


def _trained_for(folder: Path, task: str | None) -> bool:
    if task is None:
        return True
    try:
        return task_of(read_metadata(folder / WEIGHTS)[0]) == task
    except ValueError:
        return True


def check_task(members: list[Trained], task: str) -> list[Trained]:
    """`members`, or ValueError with the right command when one was trained for something else."""
    for member in members:
        if member.task != task:
            right = TASKS[member.task]
            raise ValueError(
                f"{member.checkpoint}: was trained for {member.task}; "
                f"`{right.evaluates}` measures {right.trains}s"
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
    """The finished runs of a folder that holds a name's."""
    return [run for run in _ended(folder.parent, folder.name) if not no_result(run)]


def read_trained(checkpoint: Path) -> Trained:
    """What a weights file says of itself, and its run folder of its data. Reads no weights."""
    if not checkpoint.is_file():
        raise FileNotFoundError(no_such_file(checkpoint))
    config, training = read_metadata(checkpoint)
    if (checkpoint.parent / END).is_file() and not is_recipe(checkpoint):
        try:
            training = read_end(checkpoint.parent)
        except RunFolderError as error:
            warn_once(f"{error}; how long it trained is told by its weights file alone")
    data = recorded_data(home_of(checkpoint), data_of(config, checkpoint))
    name = shipped_name(checkpoint) or config["name"]
    return Trained(name, checkpoint, config, training, data)


def read_metadata(checkpoint: Path) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Configuration and training facts in a weights file, or of an ensemble's YAML or an ONNX file.
    ValueError when it has none that a network can be made of."""
    if is_onnx(checkpoint):
        return config_of(checkpoint), None
    if is_recipe(checkpoint):
        return recipe_config(checkpoint), None
    metadata = release_metadata(checkpoint)
    training = metadata.get("training")
    return check_config(metadata, checkpoint), training if isinstance(training, dict) else None


def data_of(config: dict[str, Any], source: Path) -> Any:
    """The data fields of a weights file's configuration. ConfigError, naming `source`, for those
    that are none."""
    return validate_part(TASKS[task_of(config)].data, config["data"], f"{source}: config.data")


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


def newest_checkpoint(runs: str | Path, task: str = INPAINTING) -> Path | None:
    """`best.safetensors` of the run under `runs/<name>/<NNN>/` that finished last, or None.

    `task` is what the run's config.yaml says (inpainting if it says nothing). A run whose
    config.yaml is damaged is passed over, with a warning, and so is one whose weights are
    `no_result`. Where there is none, that of the next of the `places` of `runs`.
    """
    for place in places(Path(runs)):
        ended = sorted(_ended(place), key=lambda run: (run / END).stat().st_mtime, reverse=True)
        for run in ended:
            if _task(run) != task:
                continue
            if not (why := no_result(run)):
                say_place(run, Path(runs))
                if stopped := stopped_early(run):
                    warn_once(f"{run} {stopped}; its best weights so far are taken")
                return run / WEIGHTS
            warn_once(f"{run}: passed over, {why}")
    return None


def _task(run: Path) -> str | None:
    """What the run trained; None, with a warning, if its config.yaml is damaged."""
    config = run / "config.yaml"
    try:
        return task_of(read_yaml(config)) if config.exists() else INPAINTING
    except (OSError, ValueError) as error:
        warn_once(f"{error}; the run is passed over")
        return None


def newest_identity(runs: Path) -> Path | None:
    """The latest finished run of `DEFAULT` below `runs`, which `auto` takes; None without one."""
    found = [run for run in finished_runs(runs, task=IDENTITY) if run.parent.name == DEFAULT]
    return found[-1] if found else None


def without_dlib(named: str) -> tuple[str, bool]:
    """What `--identity` names beside dlib's network, and whether it names that: `RUN,dlib` is both,
    `dlib` leaves the other one off."""
    other, _, last = named.rpartition(",")
    return (other or OFF, True) if last == DLIB else (named, False)


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
    if named.endswith((".safetensors", ".onnx")) and not Path(named).exists():
        raise FileNotFoundError(no_such_file(named))
    if Path(named).is_file():
        read_metadata(Path(named))  # what is no run's weights is told here
        return Path(named)
    return resolve_runs([named], runs)[0] / WEIGHTS


def check_named(config: AnyRun, runs: Path) -> None:
    """FileNotFoundError or ValueError when a run or a file is not there that a configuration starts
    from, learns from, takes features from or combines."""
    start, teacher = getattr(config, "init_from", None), getattr(config, "teacher", None)
    features, members = getattr(config, "features", None), getattr(config, "members", None)
    named = starts(start)
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
