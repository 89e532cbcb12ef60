"""Compare trained runs and baselines on the same frozen pairs: tables, figures, examples.

`python evaluate.py` alone takes the latest finished inpainting run of each name below runs/, the
baselines, and the frozen test pairs of the data the runs were trained on.

`python evaluate.py segmentation` compares the segmenters, `python evaluate.py end-to-end` every
inpainter with the true mask, with each segmenter's, and blind, `python evaluate.py identity` the
identity networks, `python evaluate.py losses` the loss terms of runs; `python evaluate.py analyse`
looks into networks: features, time, errors, doubt. Each has a --help of its own.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

from deocclude.engines.options import at_least


def parse_rows(parser: argparse.ArgumentParser, argv: list[str] | None) -> argparse.Namespace:
    """The arguments of a parser whose rows are named by --runs or by --suite."""
    arguments = parser.parse_args(argv)
    if arguments.suite is not None and arguments.runs is not None:
        parser.error("--suite lists the runs: give --suite or --runs, not both")
    return arguments


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line of the inpainting tables."""
    from deocclude.engines.inference.baselines import BASELINES

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_argument_group("what is compared")
    what.add_argument(
        "--runs",
        nargs="+",
        metavar="RUN",
        help="names (Reconstruction, Reconstruction/002) or run folders; none: baselines only",
    )
    what.add_argument("--all-runs", action="store_true", help="every finished run, not the latest")
    what.add_argument(
        "--fold-seeds",
        action="store_true",
        help="every finished run of each name; those that differ in the seed alone are one row",
    )
    what.add_argument("--suite", type=Path, help="a name in ablations/suites/, or a YAML, of rows")
    what.add_argument(
        "--checkpoint",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        help="weights files, ensembles' YAML files, or shipped: the weights that ship",
    )
    what.add_argument("--baselines", help=f"all (default), none, or some of {','.join(BASELINES)}")
    what.add_argument("--reference", help="the row that differences are taken to; else the first")
    on = parser.add_argument_group("on what")
    on.add_argument("--data", type=Path, help="data folder; else the one each run was trained on")
    on.add_argument("--images", type=Path, help="your own whole images, with --masks")
    on.add_argument("--masks", type=Path, help="a folder of masks, or one mask for all images")
    on.add_argument(
        "--pair-by-order", action="store_true", help="pair files by sorted order, not by stem"
    )
    on.add_argument("--invert-mask", action="store_true", help="black means hole in the mask files")
    on.add_argument("--size", type=at_least(32), help="side in pixels; else that of each run")
    on.add_argument("--per-bin", type=at_least(1), help="test pairs in each ratio bin")
    on.add_argument("--limit", type=at_least(1), help="at most this many pairs, of all bins")
    how = parser.add_argument_group("how")
    how.add_argument("--output", type=Path, help="else runs/evaluation/<pairs>/")
    how.add_argument("--runs-folder", type=Path, default=Path("runs"), help="where runs lie")
    how.add_argument("--batch", type=at_least(1), default=64, help="images at once (64)")
    how.add_argument("--workers", type=at_least(0), help="processes for slow baselines (cores)")
    how.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    _add_measures(parser)
    how.add_argument(
        "--flip", action="store_true", help="a second row of each model: mean with mirrored input"
    )
    arguments = parse_rows(parser, argv)
    if (arguments.images is None) != (arguments.masks is None):
        parser.error("--images and --masks belong together: give both")
    return arguments


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
        default="auto",
        help="the network of identity similarity: a run, a weights file, off; auto: the latest "
        "finished EfficientNetB0",
    )
    add("--fid", default="auto", choices=("auto", "off"), help="FID, where its weights can be had")
    add("--inception-weights", type=Path, metavar="FILE", help="FID's Inception in a file")
    add("--legacy-metrics", action="store_true", help="also the metrics as they were published")


def parse_masks(command: str, argv: list[str]) -> argparse.Namespace:
    """The command line of `segmentation` and of `end-to-end`."""
    ends = command == "end-to-end"
    what = "Inpainters with true and found masks" if ends else "Segmenters and trivial answers"
    parser = argparse.ArgumentParser(
        prog=f"evaluate.py {command}", description=f"{what}, on the same frozen occluded faces."
    )
    left = "; of the kind not named, inpainter or segmenter, the latest ones" if ends else ""
    parser.add_argument("--runs", nargs="+", metavar="RUN", help=f"names or run folders{left}")
    parser.add_argument(
        "--all-runs", action="store_true", help="every finished run, not the latest"
    )
    parser.add_argument(
        "--suite", type=Path, help="a name in ablations/suites/, or a YAML, that lists the runs"
    )
    files = {"type": Path, "nargs": "+", "action": "extend", "default": []}
    parser.add_argument("--checkpoint", **files, help="weights files, or shipped: those that ship")
    shown = "the inpainter in the figure" if ends else "the row that differences are taken to"
    parser.add_argument("--reference", help=f"{shown}; else the first")
    parser.add_argument("--data", type=Path, help="data folder; else that of each segmenter")
    parser.add_argument("--per-kind", type=at_least(1), help="test pairs of each kind of occluder")
    parser.add_argument("--limit", type=at_least(1), help="at most this many pairs, of all kinds")
    parser.add_argument("--output", type=Path, help="else runs/evaluation/<pairs>/")
    parser.add_argument("--runs-folder", type=Path, default=Path("runs"), help="where runs lie")
    parser.add_argument("--batch", type=at_least(1), default=64, help="images at once (64)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    if ends:
        grown = {"nargs": "+", "type": at_least(0), "default": [0, 3, 7, 15], "metavar": "PX"}
        parser.add_argument("--dilate", **grown, help="by how much masks are grown (0 3 7 15)")
    return parse_rows(parser, argv)


def parse_identity(argv: list[str]) -> argparse.Namespace:
    """The command line of `identity`."""
    parser = argparse.ArgumentParser(
        prog="evaluate.py identity",
        description="Identity networks on held-out pictures of known people, bare and occluded.",
    )
    add = parser.add_argument
    add("--runs", nargs="+", metavar="RUN", help="names or run folders; else the latest ones")
    add("--all-runs", action="store_true", help="every finished run, not the latest")
    add("--checkpoint", type=Path, nargs="+", action="extend", default=[], help="weights files")
    add("--data", type=Path, help="data folder; else that of each run")
    add("--per-kind", type=at_least(1), help="test pictures under each kind of occluder")
    add("--limit", type=at_least(1), help="at most this many pictures, of all kinds")
    add("--output", type=Path, help="else runs/evaluation/<pictures>/")
    add("--runs-folder", type=Path, default=Path("runs"), help="where runs lie")
    add("--batch", type=at_least(1), default=64, help="images at once (64)")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    add("--export", type=Path, metavar="NPZ", help="write every picture's embedding to this file")
    return parser.parse_args(argv)


def parse_losses(argv: list[str]) -> argparse.Namespace:
    """The command line of `losses`."""
    parser = argparse.ArgumentParser(
        prog="evaluate.py losses",
        description="Validation losses of runs at their released epoch, and each run's by epoch.",
    )
    add = parser.add_argument
    add("--runs", nargs="+", metavar="RUN", help="names or run folders; else the latest inpainters")
    add("--all-runs", action="store_true", help="every finished run, not the latest")
    add("--suite", type=Path, help="a name in ablations/suites/, or a YAML, that lists the runs")
    shown = {"nargs": "+", "type": at_least(1), "default": [1, 5, 10], "metavar": "N"}
    add("--epochs", **shown, help="epochs shown beside the last one (1 5 10)")
    add("--output", type=Path, help="else runs/evaluation/losses/<suite or runs>/")
    add("--runs-folder", type=Path, default=Path("runs"), help="where runs lie")
    return parse_rows(parser, argv)


def plan(argv: list[str]):
    """What the command line asks for, to be called: it gives the reports."""
    if argv[:1] == ["analyse"]:
        from deocclude.engines.analysis.frame import plan_analysis

        return plan_analysis(argv[1:])
    if argv[:1] == ["identity"]:
        from deocclude.engines.evaluation.identity import IdentityOptions, compare_identities

        return partial(compare_identities, IdentityOptions(**vars(parse_identity(argv[1:]))))
    if argv[:1] == ["losses"]:
        from deocclude.engines.evaluation.losses import LossOptions, compare_losses

        return partial(compare_losses, LossOptions(**vars(parse_losses(argv[1:]))))
    if argv[:1] not in (["segmentation"], ["end-to-end"]):
        from deocclude.engines.evaluation.inpainting import Options, compare

        return partial(compare, Options(**vars(parse(argv))))
    from deocclude.engines.evaluation.end_to_end import compare_end_to_end
    from deocclude.engines.evaluation.segmentation import MaskOptions, compare_segmenters

    options = MaskOptions(**vars(parse_masks(argv[0], argv[1:])))
    return partial(compare_segmenters if argv[0] == "segmentation" else compare_end_to_end, options)


def main(argv: list[str] | None = None) -> int:
    """Run the comparison; 0, or 1 after one line about an error that the user can mend."""
    from deocclude.engines.runs.console import say_progress

    comparison = plan(sys.argv[1:] if argv is None else argv)
    say_progress()
    try:
        reports = comparison()
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for report in reports:
        print(f"\n{report.markdown}")
        for name, path in report.files.items():
            print(f"{name:<22} {path}")
    return 0
