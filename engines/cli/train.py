"""The command line that the training scripts share.

What can be told at once is told before PyTorch is imported: --help, --list, and what is wrong.
"""

import argparse
import json
import shlex
import signal
import sys
from pathlib import Path
from typing import Any

from deocclude.data.files import check_writable, some_text
from deocclude.data.sources.root import data_root
from deocclude.engines.options import add_training
from deocclude.engines.runs.config import (
    available_runs,
    check_config,
    choose_profile,
    load_config,
    possible_profiles,
    read_yaml,
)
from deocclude.engines.runs.console import say, say_progress
from deocclude.engines.runs.finished import check_named
from deocclude.engines.runs.folder import RunFolder, can_continue
from deocclude.engines.runs.settings import AnyRun
from deocclude.engines.runs.tasks import TASKS, Task
from deocclude.stopping import Stopped, say_stopped

FOLDER = {"type": some_text, "metavar": "DIR"}
RUN = {"type": some_text, "metavar": "RUN"}

# Options of some tasks' scripts: what each sets, and how it is read.
OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "masks": (
        "data.masks",
        FOLDER | {"help": "a folder of masks, white = hole (see docs/data.md)"},
    ),
    "members": (
        "model.members",
        RUN | {"nargs": "+", "help": "of an ensemble: runs or weights files"},
    ),
    "teacher": (
        "teacher",
        RUN | {"help": "of a student: a run, weights file or ensemble YAML"},
    ),
    "occluders": (
        "data.occluders",
        FOLDER | {"help": "a folder of cut-outs, or drawn (see docs/data.md)"},
    ),
    "pairs": (
        "data.pairs",
        FOLDER | {"help": "train on a paired set made before, not on faces"},
    ),
    "invert-mask": (
        "data.invert_mask",
        {"action": "store_true", "help": "black means hole in the mask files"},
    ),
}


def parse_arguments(task: Task, text: str, argv: list[str] | None):
    """The options of a training script; argparse ends the process on a wrong one."""
    parser = argparse.ArgumentParser(description=text)
    add = parser.add_argument
    add(
        "run",
        nargs="?",
        type=some_text,
        help=f"a run's name (any case) or a YAML path; default {task.default}",
    )
    add("--model", type=some_text, metavar="RUN", help="the same, as an option")
    add("--list", action="store_true", help="print every run and what it changes, and stop")
    add("--dry-run", action="store_true", help="print config, parameters and data, and stop")
    add_training(parser, "profile", "set", "data")
    for name in task.options:
        add(f"--{name}", **OPTIONS[name][1])
    add_training(parser, "output")
    add(
        "--resume",
        nargs="?",
        type=some_text,
        const="latest",
        metavar="RUN",
        help="continue latest, a number, a path",
    )
    add_training(parser, "max-minutes", "device")
    arguments = parser.parse_args(argv)
    if arguments.run and arguments.model and arguments.run.lower() != arguments.model.lower():
        parser.error(f"two runs named: {arguments.run!r} and --model {arguments.model!r}")
    if arguments.resume is not None and (overrides(arguments) or arguments.profile != "auto"):
        parser.error(
            "--resume continues a run as its config.yaml says: leave out --set, --profile "
            "and the options that name data, members or a teacher, or start a new run"
        )
    arguments.run = arguments.run or arguments.model or task.default
    return arguments


def overrides(arguments: argparse.Namespace) -> list[str]:
    """`--set` assignments, with the options that stand for one."""
    given = [
        f"{key}={json.dumps(value)}"
        for name, (key, _) in OPTIONS.items()
        if (value := getattr(arguments, name.replace("-", "_"), None))
    ]
    return given + arguments.set


def list_runs(task: Task) -> str:
    """Every run of a task in ablations/ with its one line."""
    runs = available_runs(task.name)
    width = max(map(len, runs))
    return "\n".join(
        f"{name:{width}} {read_yaml(path).get('description', '')}" for name, path in runs.items()
    )


def run(task: Task, arguments: argparse.Namespace) -> None:
    """Do what the arguments ask for. Stopped when the training was interrupted."""
    root = data_root(arguments.data) if arguments.data or arguments.resume is None else None
    check(task, arguments, root)
    from deocclude.engines.training.run import dry_run, train  # with it comes PyTorch

    config, reason = resolve(task, arguments, root)
    if reason:
        say(reason)
    if arguments.dry_run:
        say(dry_run(config, root, arguments.output, arguments.resume))
        return
    outcome = train(
        config, root, arguments.output, arguments.resume, arguments.max_minutes, arguments.device
    )
    if outcome.interrupted:
        stop = Stopped(outcome.signal or signal.SIGINT)
        stop.folder = outcome.folder.path
        raise stop
    if outcome.is_main:
        from deocclude.engines.cli.summary import summarise_run  # needed at the end only

        say(summarise_run(outcome, arguments.output, arguments.device))


def check(task: Task, arguments: argparse.Namespace, root: Path | None) -> None:
    """Raise, before anything is imported or opened for it, what would be wrong with a start."""
    given = overrides(arguments)
    if arguments.resume is not None:  # the run's own record says where its data lie
        config = check_config(arguments.run, [None], given, task.name)
        run = RunFolder.open(arguments.output, config.name, arguments.resume)
        run.config()  # as it was recorded; a damaged one is told now
        folder = run.path
    else:
        profiles = possible_profiles(arguments.profile, root, arguments.device)
        config = check_config(arguments.run, profiles, given, task.name)
        check_named(config, arguments.output)
        folder = arguments.output / config.name
    if not arguments.dry_run:
        check_writable([folder])


def resolve(task: Task, arguments: argparse.Namespace, root: Path | None) -> tuple[AnyRun, str]:
    """The run's configuration, and why it has this profile where nobody named one."""
    profile, reason = (None if arguments.resume is not None else arguments.profile), ""
    if profile == "auto":
        profile, reason = choose_profile(root, arguments.device)
    return load_config(arguments.run, profile, overrides(arguments), task.name), reason


def resume_command(task: Task, folder: Path | None, arguments: argparse.Namespace) -> str:
    """What goes on with an interrupted run: its script with --resume where there is a checkpoint,
    else the same again."""
    if folder is None or not can_continue(folder):
        return "nothing was saved yet: the same command begins again"
    script = sys.argv[0] if Path(sys.argv[0]).name == task.script else task.script
    line = ["python", script, "--resume", str(folder)]
    for option in ("data", "output", "max_minutes", "device"):
        value = getattr(arguments, option)
        if value not in (None, Path("runs"), "auto"):
            line += [f"--{option.replace('_', '-')}", str(value)]
    return f"continue with: {shlex.join(line)}"


def train_command(name: str, text: str, argv: list[str] | None = None) -> int:
    """Run the training script of the task of this name; `text` is what --help begins with.

    0 when the run went through, 1 with one line that says why not, 128 and the signal's number,
    with one line that says how to go on, when it was interrupted.
    """
    task = TASKS[name]
    arguments = parse_arguments(task, text, argv)
    say_progress()
    try:
        if arguments.list:
            print(list_runs(task))
        else:
            run(task, arguments)
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        return say_stopped(stop, resume_command(task, getattr(stop, "folder", None), arguments))
    return 0
