"""Train what a suite lacks, one run after another, then make its tables.

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
from deocclude.engines.evaluation.suites import Suite, load_suite
from deocclude.engines.options import add_training, command_parser
from deocclude.engines.runs.config import check_config, choose_profile, possible_profiles
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
    add_training(parser, "profile", "set", "output", "device", set="for every run")
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
        help="train every run once with each seed; tables of inpainters make one row of them",
    )
    add("--dry-run", action="store_true", help="print what would be done, and stop")
    arguments = parser.parse_args(argv)
    if len(set(arguments.seeds)) < len(arguments.seeds) or min(arguments.seeds, default=0) < 0:
        listed = " ".join(map(str, arguments.seeds))
        parser.error(f"--seeds {listed}: must be different whole numbers of at least 0")
    keys = [text.partition("=")[0].strip() for text in arguments.set]
    if arguments.seeds and "training.seed" in keys:
        parser.error("--seeds and --set training.seed=...: give one of them")
    return arguments


def check(suite: Suite, arguments: argparse.Namespace) -> Path | None:
    """The data folder. FileNotFoundError or ConfigError for a folder that is not there, and for a
    profile or a `--set` that suits none of the runs."""
    root, identities = data_root(arguments.data), arguments.identities
    if identities is not None and not identities.is_dir():
        raise FileNotFoundError(f"--identities {str(identities)!r}: no such folder")
    profiles = possible_profiles(arguments.profile, root, arguments.device)
    check_request(
        (*suite.runs, *(member for each in suite.ensembles for member in each.members)),
        lambda run, task: check_config(run, profiles, arguments.set, task),
    )
    return root


def to_request(arguments: argparse.Namespace, root: Path | None) -> Request:
    """What the command line asks of every run."""
    profile = arguments.profile
    if profile == "auto":
        profile, reason = choose_profile(root, arguments.device)
        print(reason, flush=True)
    return Request(
        arguments.output,
        profile,
        tuple(arguments.set),
        root,
        arguments.data,
        arguments.max_minutes,
        arguments.device,
        arguments.fresh,
        arguments.identities,
        tuple(arguments.seeds),
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

    return run_suite(suite, to_request(arguments, root), arguments.dry_run)


if __name__ == "__main__":
    if code := stopping.run(main):  # no SystemExit on success: Spyder would show it as an error
        sys.exit(code)
