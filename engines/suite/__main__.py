"""Train what a suite lacks, one run after another or several at once, then make its tables.

`python -m engines.suite ablations/suites/systems.yaml --max-minutes 10` can be stopped at any time
and started again: finished runs are kept, an unfinished one is continued, a failed one is tried
again. A run that fails leaves the others. Everything it says is kept in runs/suites/<name>/.
"""

import argparse
import sys
from pathlib import Path

from deocclude import stopping

if __name__ == "__main__":  # Ctrl-C while the rest is imported
    stopping.watch()

from deocclude.data.files import check_writable, some_path
from deocclude.data.sources.root import data_root
from deocclude.engines.evaluation.suites import Suite, load_suite, sets_seed
from deocclude.engines.options import add_training, at_least, command_parser
from deocclude.engines.runs.config import (
    ConfigError,
    check_config,
    choose_profile,
    possible_profiles,
)
from deocclude.engines.runs.console import say_progress
from deocclude.engines.suite.request import Request, check_request


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line; argparse ends the process on a wrong one."""
    parser = command_parser("python -m engines.suite", __doc__)
    add = parser.add_argument
    add(
        "suite",
        type=some_path,
        help="a YAML that lists runs, or the name of one in ablations/suites/",
    )
    add_training(parser, "max-minutes", max_minutes="train each run for at most M minutes")
    add_training(parser, "data")
    add(
        "--identities",
        type=some_path,
        metavar="DIR",
        help="data folder of identity runs, a sub-folder a person (default: that of all runs)",
    )
    profile = "auto or a profile, e.g. small (default: the suite's, else auto)"
    words = {"profile": profile, "set": "for every run, after those that the suite sets"}
    add_training(parser, "profile", "set", "output", "device", **words)
    parser.set_defaults(profile=None)
    add(
        "--fresh",
        action="store_true",
        help="train anew, in a new folder, what was trained otherwise than asked now",
    )
    add(
        "--seeds",
        type=int,
        nargs="+",
        default=[],
        metavar="N",
        help="train every run once with each seed, whatever the suite says; tables of inpainters "
        "make one row of them",
    )
    add(
        "--jobs",
        type=at_least(1),
        default=1,
        metavar="N",
        help="train up to N runs at the same time, each on its share of the cores (%(default)s)",
    )
    add("--dry-run", action="store_true", help="print what would be done, and stop")
    arguments = parser.parse_args(argv)
    if len(set(arguments.seeds)) < len(arguments.seeds) or min(arguments.seeds, default=0) < 0:
        listed = " ".join(map(str, arguments.seeds))
        parser.error(f"--seeds {listed}: must be different whole numbers of at least 0")
    if arguments.seeds and sets_seed(arguments.set):
        parser.error("--seeds and --set training.seed=...: give one of them")
    return arguments


def check(suite: Suite, arguments: argparse.Namespace) -> Path | None:
    """The data folder. FileNotFoundError or ConfigError for a folder that is not there, for a
    profile or a `--set` that suits none of the runs, and for one of the seed beside seeds."""
    root, identities = data_root(arguments.data), arguments.identities
    if identities is not None and not identities.is_dir():
        raise FileNotFoundError(f"--identities {str(identities)!r}: no such folder")
    if suite.has_seeds and not arguments.seeds and sets_seed(arguments.set):
        raise ConfigError(
            f"--set training.seed=...: suite {suite.name} states seeds; --seeds N gives others"
        )
    profiles = possible_profiles(profile_of(suite, arguments), root, arguments.device)
    overrides = (*suite.overrides, *arguments.set)
    check_request(
        (*suite.runs, *(member for each in suite.ensembles for member in each.members)),
        lambda run, task: check_config(run, profiles, overrides, task),
    )
    return root


def profile_of(suite: Suite, arguments: argparse.Namespace) -> str:
    """That of the command line, else the suite's."""
    return arguments.profile or suite.profile or "auto"


def to_request(suite: Suite, arguments: argparse.Namespace, root: Path | None) -> Request:
    """What the command line and the suite ask of every run."""
    profile = profile_of(suite, arguments)
    if profile == "auto":
        profile, reason = choose_profile(root, arguments.device)
        print(reason, flush=True)
    return Request(
        arguments.output,
        profile,
        (*suite.overrides, *arguments.set),
        root,
        arguments.data,
        arguments.max_minutes,
        arguments.device,
        arguments.fresh,
        arguments.identities,
        tuple(arguments.seeds),
        arguments.jobs,
    )


@stopping.answering()  # while the tables are made; trainings stop by themselves
def main(argv: list[str] | None = None) -> int:
    """The exit code: 0 when every run is finished and every table is made."""
    arguments = parse(argv)
    say_progress()
    suite = load_suite(arguments.suite)
    if not arguments.dry_run:
        check_writable([suite.own_folder(arguments.output)])
    root = check(suite, arguments)  # what is wrong is said before PyTorch is imported
    from deocclude.engines.suite.runner import run_suite

    return run_suite(suite, to_request(suite, arguments, root), arguments.dry_run)


if __name__ == "__main__":
    if code := stopping.run(main):  # no SystemExit on success: Spyder would show it as an error
        sys.exit(code)
