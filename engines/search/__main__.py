"""Search a run's loss weights: Optuna's TPE over short trainings, the bad ones ended early.

`python -m engines.search ablations/reconstruction.yaml` can be stopped at any time and started
again, and started several times at once: the processes share one study. Everything is kept in
runs/search/<name>/: table.md, summary.csv, figures/, the runs of the trials, and best.yaml, which
train_inpainting.py takes.
"""

import argparse
import sys
from importlib.util import find_spec

from deocclude import stopping

if __name__ == "__main__":  # Ctrl-C while the rest is imported
    stopping.watch()

from deocclude.data.files import check_writable, some_text
from deocclude.data.sources.root import data_root
from deocclude.engines.options import add_training, at_least, command_parser
from deocclude.engines.runs.config import check_config, possible_profiles
from deocclude.engines.runs.console import say_progress
from deocclude.engines.runs.finished import check_named


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line; argparse ends the process on a wrong one."""
    parser = command_parser("python -m engines.search", __doc__)
    what = parser.add_argument_group("what is searched")
    what.add_argument("run", type=some_text, help="a run's name (any case) or a YAML path")
    what.add_argument(
        "--objective", default="composed/psnr", help="a validation metric (composed/psnr)"
    )
    what.add_argument("--terms", nargs="+", metavar="TERM", help="loss terms; else all constant")
    what.add_argument("--low", type=float, default=1.0, help="smallest weight (1.0)")
    what.add_argument("--high", type=float, default=10.0, help="largest weight (10.0)")
    what.add_argument("--step", type=float, default=0.1, help="between two weights (0.1)")
    a_trial = parser.add_argument_group(
        "a trial", "default: as the profile says; in profile full 5400, 1500 and 10, as published"
    )
    add = a_trial.add_argument
    add("--train-images", type=at_least(1), metavar="N", help="an epoch goes over all of them")
    add("--validation-pairs", type=at_least(1), metavar="N", help="that the objective is taken on")
    add("--epochs", type=at_least(1), metavar="N")
    add_training(a_trial, "profile", "set", "data", "device", set="e.g. data.size=64")
    how = parser.add_argument_group("the search")
    add = how.add_argument
    add("--trials", type=at_least(0), default=20, metavar="N", help="of the whole study (20)")
    again = "stop after M minutes; started again, go on"
    add_training(how, "max-minutes", max_minutes=again)
    add("--name", type=some_text, help="of the study and its folder (default: the run's)")
    add_training(how, "output")
    add(
        "--storage",
        type=some_text,
        metavar="URL",
        help="default: sqlite:///runs/search/<name>/study.db",
    )
    add("--seed", type=at_least(0), default=42, help="of the sampler (42)")
    add(
        "--startup-trials",
        type=at_least(1),
        default=5,
        metavar="N",
        help="at random, before TPE draws and before any trial is pruned (5)",
    )
    add(
        "--warmup-epochs",
        type=at_least(0),
        default=1,
        metavar="N",
        help="in which no trial is pruned (1)",
    )
    add("--keep-weights", action="store_true", help="of every trial, not of the best alone")
    add(
        "--release",
        type=at_least(0),
        nargs="+",
        default=[],
        metavar="TRIAL",
        help="try again what a process of another machine that is gone was at",
    )
    return parser.parse_args(argv)


def check(arguments: argparse.Namespace) -> None:
    """Raise, before anything is imported or opened for it, what would be wrong with a start."""
    root = data_root(arguments.data)
    profiles = possible_profiles(arguments.profile, root, arguments.device)
    config = check_config(arguments.run, profiles, arguments.set, "inpainting")
    check_named(config, arguments.output)
    check_writable([arguments.output / "search"])
    if find_spec("optuna") is None:
        raise ValueError('the search needs Optuna: `pip install "optuna>=5"` brings it')


@stopping.answering()
def main(argv: list[str] | None = None) -> int:
    """The exit code: 0 when the trials are done or the time is over, 1 with one line if not."""
    arguments = parse(argv)
    say_progress()
    check(arguments)  # what is wrong is said before PyTorch is imported
    from deocclude.engines.search.runner import search

    return search(arguments)


if __name__ == "__main__":
    if code := stopping.run(main):  # no SystemExit on success: Spyder would show it as an error
        sys.exit(code)
