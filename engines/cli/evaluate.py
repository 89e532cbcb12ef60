"""Compare trained runs and baselines on the same frozen pairs: tables, figures, examples.

`python evaluate.py` alone takes the latest finished inpainting run of each name below runs/, the
baselines, and the frozen test pairs of the data the runs were trained on. It is short for
`python evaluate.py inpainting`, whose options it takes.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deocclude.data.files import check_writable, some_path, some_text
from deocclude.data.sources.root import data_root
from deocclude.engines.cli import analyses
from deocclude.engines.evaluation.suites import suite_of
from deocclude.engines.inference.baselines import NAMES, parse_baselines
from deocclude.engines.options import add_evaluation, at_least
from deocclude.engines.runs.console import say_progress
from deocclude.engines.runs.finished import AUTO, OFF, identity_file, without_dlib
from deocclude.engines.runs.members import (
    choose,
    choose_both,
    choose_inpainters,
    choose_with_losses,
)
from deocclude.engines.runs.tasks import IDENTITY, INPAINTING, SEGMENTATION, TASKS, Task
from deocclude.names import imported
from deocclude.stopping import AGAIN, say_stopped

if TYPE_CHECKING:
    from deocclude.engines.report.report import Report

DEFAULT = "inpainting"
HOW = ("output", "runs-folder", "batch", "device")
Command = argparse._SubParsersAction


def build_parser() -> argparse.ArgumentParser:
    """Every command with its options; `check` and `compare` of the result carry it out."""
    parser = argparse.ArgumentParser(
        prog="evaluate.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Each command has a --help of its own: python evaluate.py inpainting --help",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_inpainting(commands)
    _add_segmentation(commands)
    _add_end_to_end(commands)
    _add_identity(commands)
    for task in TASKS.values():
        if task.name not in commands.choices:
            _add_task(commands, task)
    _add_losses(commands)
    _add_analyse(commands)
    return parser


def _command(
    commands: Command,
    name: str,
    text: str,
    check: Callable[[argparse.Namespace], Any],
    compare: Callable[[argparse.Namespace], list["Report"]],
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=f"{text}.")
    parser.set_defaults(parser=parser, check=check, compare=compare)
    return parser


def _compare(comparison: str) -> Callable[[argparse.Namespace], list["Report"]]:
    """What carries out a comparison, named as "module:attribute"."""

    def carry_out(arguments: argparse.Namespace) -> list["Report"]:
        from deocclude.engines.evaluation.compare import compare

        return compare(imported(comparison), **_options(arguments))

    return carry_out


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    """What a command was given, without what carries it out."""
    given = vars(arguments)
    return {key: given[key] for key in given if key not in ("parser", "check", "compare")}


def _add_inpainting(commands: Command) -> None:
    def check(arguments: argparse.Namespace) -> None:
        parse_baselines(arguments.baselines or "all")
        for option, where in (("--images", arguments.images), ("--masks", arguments.masks)):
            if where is not None and not where.exists():
                raise FileNotFoundError(f"{option} {where}: no such file or folder")
        named = [("--inception-weights", arguments.inception_weights)]
        named += [("--lpips-weights", text.partition("=")[2]) for text in arguments.lpips_weights]
        for option, file in named:
            if file and not Path(file).is_file():
                raise FileNotFoundError(f"{option} {file}: no such file")
        choose_inpainters(arguments)
        identity, _ = without_dlib(arguments.identity)
        if identity not in (AUTO, OFF):
            identity_file(identity, arguments.runs_folder)

    text = "inpainters and baselines on holes; what is done without a command"
    compare = _compare(TASKS[INPAINTING].comparison)
    parser = _command(commands, DEFAULT, text, check, compare)
    what = parser.add_argument_group("what is compared")
    named = "names (Reconstruction, Reconstruction/002) or run folders; none: baselines only"
    add_evaluation(what, "runs", "all-runs", runs=named)
    what.add_argument(
        "--fold-seeds",
        action="store_true",
        help="every finished run of each name; those that differ in the seed alone are one row",
    )
    files = "weights files, ensembles' YAML files, or what ships: shipped (sharp) or faithful"
    add_evaluation(what, "suite", "checkpoint", checkpoint=files)
    what.add_argument("--baselines", help=f"all (default), none, or some of {','.join(NAMES)}")
    what.add_argument("--reference", help="the row that differences are taken to; else the first")
    on = parser.add_argument_group("on what")
    add_evaluation(on, "data")
    on.add_argument("--images", type=some_path, help="your own whole images, with --masks")
    on.add_argument("--masks", type=some_path, help="a folder of masks, or one mask for all images")
    on.add_argument(
        "--holes",
        choices=("masks", "occluders"),
        default="masks",
        help="of any shape, by area (masks, the default), or shaped as held-out occluders, by kind",
    )
    on.add_argument(
        "--pair-by-order", action="store_true", help="pair files by sorted order, not by name"
    )
    on.add_argument("--invert-mask", action="store_true", help="black means hole in the mask files")
    on.add_argument("--size", type=at_least(32), help="side in pixels; else that of each run")
    on.add_argument(
        "--per-bin", type=at_least(1), help="test pairs in each ratio bin, or of each kind"
    )
    add_evaluation(on, "limit", limit="at most this many pairs, of all bins")
    how = parser.add_argument_group("how")
    add_evaluation(how, *HOW)
    how.add_argument("--workers", type=at_least(0), help="processes for slow baselines (cores)")
    how.add_argument(
        "--flip", action="store_true", help="a second row of each model: mean with mirrored input"
    )
    _add_measures(parser)


def _add_measures(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("what is measured beside L1, PSNR and SSIM").add_argument
    add("--lpips", default="auto", help="alex (default), vgg, alex,vgg, or off")
    add(
        "--lpips-weights",
        action="append",
        default=[],
        metavar="NET=FILE",
        help="torchvision's AlexNet or VGG-16 weights in a file, alex=FILE or vgg=FILE",
    )
    add(
        "--identity",
        type=some_text,
        default="auto",
        help="the network of identity similarity: a run, a weights file, off, dlib (its face "
        "network), or both (auto,dlib); auto: the latest finished EfficientNetB0",
    )
    add("--fid", default="auto", choices=("auto", "off"), help="FID, where its weights can be had")
    add("--inception-weights", type=some_path, metavar="FILE", help="FID's Inception in a file")
    add("--legacy-metrics", action="store_true", help="also the metrics as they were published")


def _add_segmentation(commands: Command) -> None:
    text = "segmenters and trivial answers, on the same frozen occluded faces"
    compare = _compare(TASKS[SEGMENTATION].comparison)
    check = partial(choose, task=SEGMENTATION)
    parser = _command(commands, "segmentation", text, check, compare)
    _add_masks(parser, "the row that differences are taken to; else the first")


def _add_end_to_end(commands: Command) -> None:
    text = "every inpainter with the true mask, with each segmenter's, and blind"
    compare = _compare("deocclude.engines.evaluation.end_to_end:END_TO_END")

    def check(arguments: argparse.Namespace) -> None:
        parse_baselines(arguments.baselines)
        choose_both(arguments)

    parser = _command(commands, "end-to-end", text, check, compare)
    left = "names or run folders; of the kind not named, inpainter or segmenter, the latest ones"
    _add_masks(parser, "the inpainter in the figure; else the first", runs=left)
    side = "side of the pairs; else that of each segmenter, which always looks at its own"
    parser.add_argument("--size", type=at_least(32), metavar="PX", help=side)
    named = f"all, none, or some of {','.join(NAMES)} (telea,ppca)"
    parser.add_argument("--baselines", default="telea,ppca", help=named)
    grown = {"nargs": "+", "type": at_least(0), "default": [0, 3, 7, 15], "metavar": "PX"}
    parser.add_argument("--dilate", **grown, help="by how much masks are grown (0 3 7 15)")


def _add_masks(parser: argparse.ArgumentParser, reference: str, **words: str) -> None:
    """Options of both commands with segmenters."""
    add_evaluation(parser, "runs", "all-runs", "suite", "checkpoint", **words)
    parser.add_argument("--reference", help=reference)
    add_evaluation(parser, "data", data="data folder; else that of each segmenter")
    parser.add_argument("--per-kind", type=at_least(1), help="test pairs of each kind of occluder")
    add_evaluation(parser, "limit", *HOW, limit="at most this many pairs, of all kinds")


def _add_identity(commands: Command) -> None:
    text = "identity networks on held-out pictures of known people, bare and occluded"
    compare = _compare(TASKS[IDENTITY].comparison)
    parser = _command(commands, "identity", text, partial(choose, task=IDENTITY), compare)
    add_evaluation(parser, "runs", "all-runs", "checkpoint", "data", checkpoint="weights files")
    parser.add_argument(
        "--per-kind", type=at_least(1), help="test pictures under each kind of occluder"
    )
    limit, output = "at most this many pictures, of all kinds", "else runs/evaluation/<pictures>/"
    add_evaluation(parser, "limit", *HOW, limit=limit, output=output)
    parser.add_argument(
        "--export",
        type=some_path,
        metavar="NPZ",
        help="write every picture's embedding to this file",
    )


def _add_task(commands: Command, task: Task) -> None:
    """A task whose comparison has no options of its own."""
    text = f"networks of the task {task.name}"
    compare = _compare(task.comparison)
    parser = _command(commands, task.name, text, partial(choose, task=task.name), compare)
    add_evaluation(parser, "runs", "all-runs", "checkpoint", "data", "limit", *HOW)
    parser.add_argument("--reference", help="the row that differences are taken to; else the first")


def _add_losses(commands: Command) -> None:
    def compare(arguments: argparse.Namespace) -> list["Report"]:
        from deocclude.engines.evaluation.losses import LossOptions, compare_losses

        return compare_losses(LossOptions(**_options(arguments)))

    text = "validation losses of runs at their released epoch, and each run's by epoch"
    parser = _command(commands, "losses", text, choose_with_losses, compare)
    latest = "names or run folders; else the latest inpainters"
    add_evaluation(parser, "runs", "all-runs", "suite", runs=latest)
    shown = {"nargs": "+", "type": at_least(1), "default": [1, 5, 10], "metavar": "N"}
    parser.add_argument("--epochs", **shown, help="epochs shown beside the last one (1 5 10)")
    output = "else runs/evaluation/losses/<suite or runs>/"
    add_evaluation(parser, "output", "runs-folder", output=output)


def _add_analyse(commands: Command) -> None:
    """Every analysis, a command below `analyse`."""
    text = "look into networks: features, time, errors, doubt"
    parser = commands.add_parser(
        "analyse",
        help=text,
        description="What trained networks do, beyond the tables; each has a --help of its own.",
    )
    below = parser.add_subparsers(metavar="ANALYSIS", dest="analysis", required=True)
    for name, analysis in analyses.ANALYSES.items():
        one = below.add_parser(name, help=analysis.text, description=analysis.text)
        one.set_defaults(parser=one, check=analyses.check, compare=analyses.analyse)
        latest = "names or run folders; else the latest inpainters"
        add_evaluation(one, "runs", "all-runs", "checkpoint", "data", "limit", runs=latest)
        add_evaluation(one, *HOW, output="else runs/analysis/<analysis>/")
        analysis.add_options(one.add_argument)


def _check(arguments: argparse.Namespace) -> None:
    """What is wrong is said before PyTorch is imported."""
    if (suite := suite_of(arguments)) is not None:
        arguments = argparse.Namespace(**vars(arguments) | {"runs": list(suite.runs)})
    arguments.check(arguments)
    if getattr(arguments, "data", None) is not None:
        data_root(arguments.data)


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line; argparse ends the process on a wrong one."""
    parser = build_parser()
    if not argv or (argv[0].startswith("-") and argv[0] not in ("-h", "--help")):
        argv = [DEFAULT, *argv]
    arguments = parser.parse_args(argv)
    if getattr(arguments, "suite", None) is not None and arguments.runs is not None:
        arguments.parser.error("--suite lists the runs: give --suite or --runs, not both")
    if hasattr(arguments, "images") and (arguments.images is None) != (arguments.masks is None):
        arguments.parser.error("--images and --masks belong together: give both")
    if getattr(arguments, "holes", None) == "occluders" and arguments.images is not None:
        arguments.parser.error("--holes occluders makes holes itself: leave out --images, --masks")
    return arguments


def main(argv: list[str] | None = None) -> int:
    """Run the comparison; 0, or 1 after one line about an error that the user can mend."""
    arguments = parse(sys.argv[1:] if argv is None else argv)
    say_progress()
    try:
        _check(arguments)
        export = getattr(arguments, "export", None)
        written = arguments.output or arguments.runs_folder / "evaluation"
        check_writable([written, *([] if export is None else [export.parent])])
        reports = arguments.compare(arguments)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        return say_stopped(stop, f"rows that are measured are kept; {AGAIN}")
    for report in reports:
        print(f"\n{report.markdown}")
        for name, path in report.files.items():
            print(f"{name:<22} {path}")
    return 0
