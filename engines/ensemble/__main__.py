"""Combine trained inpainters: `python -m engines.ensemble fit | pack | show`.

`fit` writes a YAML that points to the members, `pack` makes one weights file of it. Both are
inpainters like any other: evaluate.py and deocclude.py take them as --checkpoint.
"""

import argparse
import sys
from pathlib import Path

from deocclude import stopping

if __name__ == "__main__":  # Ctrl-C while the rest is imported
    stopping.watch()

from deocclude.data.files import check_writable, some_path, some_text
from deocclude.engines.options import add_evaluation, at_least, command_parser
from deocclude.engines.runs.console import say_progress
from deocclude.engines.runs.finished import member_files
from deocclude.engines.runs.metadata import no_such_file
from deocclude.engines.runs.recipes import FIXED, KEEP, is_recipe


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = command_parser("python -m engines.ensemble", __doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser("fit", help="combine members, weighed on validation pairs")
    option = add.add_argument
    option(
        "--members", nargs="+", type=some_text, required=True, metavar="RUN", help="runs or files"
    )
    option("--combination", choices=FIXED, default="weights", help="(weights)")
    option("--pairs", type=at_least(1), default=1200, help="validation pairs (1200)")
    option("--name", help="else the combination's")
    option("--output", type=some_path, help="else <runs folder>/ensembles/<name>.yaml")
    option("--overwrite", action="store_true", help="replace that file if it exists")
    option("--keep", choices=KEEP, default="memory", help="disk: one member at a time in memory")
    faces = "data folder; else the one the first member was trained on"
    add_evaluation(add, "data", "runs-folder", "batch", "device", data=faces)
    add.set_defaults(batch=32)
    add = commands.add_parser("pack", help="one weights file with all members inside")
    add.add_argument(
        "ensemble", type=some_path, help="an ensemble's YAML, or a gate's weights file"
    )
    add.add_argument("-o", "--output", type=some_path, required=True, metavar="FILE.safetensors")
    add.add_argument("--overwrite", action="store_true", help="replace that file if it exists")
    add = commands.add_parser("show", help="members, weights and sizes of an ensemble")
    add.add_argument("ensemble", type=some_path, help="an ensemble's YAML or weights file")
    return parser.parse_args(argv)


def check(arguments: argparse.Namespace) -> None:
    """Raise, before anything is imported or opened for it, what would be wrong; where nothing is,
    `name` and `output` of what is fitted are told."""
    if arguments.command != "fit":
        if not arguments.ensemble.is_file():
            missing = f"{arguments.ensemble}: no such ensemble file"
            recipe = is_recipe(arguments.ensemble)
            raise FileNotFoundError(missing if recipe else no_such_file(arguments.ensemble))
    else:
        arguments.name = arguments.name or f"ensemble_{arguments.combination}"
        file = f"{arguments.name}.yaml"
        arguments.output = arguments.output or arguments.runs_folder / "ensembles" / file
        if not is_recipe(arguments.output):
            raise ValueError(
                f"{arguments.output}: an ensemble that points to its members is a .yaml file"
            )
    if arguments.command != "show":
        check_free(arguments.output, arguments.overwrite)
        check_writable([arguments.output.parent])
    if arguments.command == "fit":
        member_files(arguments.members, arguments.runs_folder)


def check_free(output: Path, overwrite: bool) -> None:
    """ValueError for a file that is there and may not be replaced."""
    if output.exists() and not overwrite:
        raise ValueError(f"{output}: exists already; --overwrite replaces it")


@stopping.answering("nothing was written")
def main(argv: list[str] | None = None) -> None:
    """Run one command."""
    arguments = parse(argv)
    say_progress()
    check(arguments)  # what is wrong is said before PyTorch is imported
    from deocclude.engines.ensemble import commands

    run = {"fit": commands.run_fit, "pack": commands.run_pack, "show": commands.run_show}
    run[arguments.command](arguments)


if __name__ == "__main__":
    sys.exit(stopping.run(main))
