"""Compare trained runs and baselines on the same frozen pairs: tables, figures, examples.

`python evaluate.py` alone takes the latest finished run of each name below runs/, the baselines,
and the frozen test pairs of the data the runs were trained on.
"""

import argparse
import sys
from pathlib import Path


def at_least(low: int):
    """A parser of whole numbers that refuses those below `low`."""

    def whole_number(text: str) -> int:
        value = int(text)
        if value < low:
            raise argparse.ArgumentTypeError(f"must be at least {low}, found {value}")
        return value

    return whole_number


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    from engines.baselines import BASELINES

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
    what.add_argument("--suite", type=Path, help="a YAML of ablations/suites/ that lists the rows")
    what.add_argument(
        "--checkpoint", type=Path, action="append", default=[], help="a weights file; repeatable"
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
    how.add_argument("--lpips", default="auto", choices=("auto", "alex", "vgg", "off"))
    how.add_argument(
        "--legacy-metrics", action="store_true", help="also the metrics as they were published"
    )
    arguments = parser.parse_args(argv)
    if (arguments.images is None) != (arguments.masks is None):
        parser.error("--images and --masks belong together: give both")
    if arguments.suite is not None and arguments.runs is not None:
        parser.error("--suite lists the runs: give --suite or --runs, not both")
    return arguments


def main(argv: list[str] | None = None) -> int:
    """Run the comparison; 0, or 1 after one line about an error that the user can mend."""
    from engines.compare import Options, compare
    from engines.runtime import say_progress

    options = Options(**vars(parse(argv)))
    say_progress()
    try:
        reports = compare(options)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for report in reports:
        print(f"\n{report.markdown}")
        for name, path in report.files.items():
            print(f"{name:<22} {path}")
    return 0


if __name__ == "__main__":
    if code := main():  # no SystemExit on success: Spyder would show it as an error
        sys.exit(code)
