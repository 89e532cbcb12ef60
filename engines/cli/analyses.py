"""The analyses of `evaluate.py analyse`: what each tells, its own options, and its module.

An analysis is a module with `analyse(arguments) -> Report`, imported when it is carried out. A new
one is that module, a function here for its options, and a line in ANALYSES.
"""

import argparse
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from deocclude.data.faces.alignment import TEMPLATES
from deocclude.data.files import some_text
from deocclude.engines.inference.baselines import NAMES, parse_baselines
from deocclude.engines.options import at_least
from deocclude.engines.runs.finished import identity_file
from deocclude.engines.runs.members import choose, choose_labelled
from deocclude.engines.runs.tasks import INPAINTING

BANDWIDTH = 0.04  # of hole ratio; bins are 0.1 wide
PIXELS = 1_000_000


def cka(add: Callable) -> None:
    add(
        "--layers",
        nargs="+",
        metavar="NAME",
        help="modules, * and ? allowed, NAME:input for what one takes; else each network's stages",
    )
    add("--stages", type=at_least(2), help="at most this many layers of a network in the figure")
    add("--untrained", action="store_true", help="also each network before any training")
    add("--seed", type=int, default=0, help="of batches and untrained weights (0)")


def attention(add: Callable) -> None:
    """It has no options of its own."""


def umap(add: Callable) -> None:
    add(
        "--network",
        type=some_text,
        default="auto",
        metavar="NETWORK",
        help="auto (newest EfficientNetB0 run), vgg16, vgg19, or an identity network or inpainter "
        "by its run or weights file",
    )
    add("--layer", help="of a VGG or an inpainter; else relu5_1, or the deepest stage")
    add(
        "--weights",
        type=some_text,
        default="auto",
        help="of a VGG: auto, imagenet, random or a file (auto)",
    )
    add("--metric", default="cosine", choices=("cosine", "euclidean"), help="distance of features")
    add("--neighbours", type=at_least(2), default=15, help="UMAP's and trustworthiness' (15)")
    add("--seed", type=int, default=0, help="of UMAP (0)")


def timing(add: Callable) -> None:
    add(
        "--sizes", type=at_least(32), nargs="+", default=[64, 128, 256], metavar="PX",
        help="sides of the pictures (64 128 256)",
    )  # fmt: skip
    add(
        "--batches", type=at_least(1), nargs="+", default=[1, 8], metavar="N",
        help="pictures at once (1 8), in place of --batch; --data and --limit mean nothing here",
    )  # fmt: skip
    add("--threads", type=at_least(1), help="of PyTorch on the CPU (PyTorch's choice)")
    add("--repeats", type=at_least(1), default=20, help="calls that count (20)")
    add("--seconds", type=float, default=5.0, help="no call is begun after so many (5)")
    add("--again", action="store_true", help="measure again what is there, after a code change")


def beside(add: Callable) -> None:
    add("--reference", help="the row that differences are taken to; else the first")
    add(
        "--baselines", default="mean_colour,telea",
        help=f"all, none, or some of {','.join(NAMES)} (mean_colour,telea)",
    )  # fmt: skip


def errors(add: Callable) -> None:
    beside(add)
    add("--template", choices=TEMPLATES, help="how the faces are aligned; else as the data say")
    add(
        "--per-kind", type=at_least(0), metavar="N",
        help="test pairs of each kind of occluder (25); 0 leaves the kinds out",
    )  # fmt: skip
    add(
        "--bandwidth", type=bandwidth, default=BANDWIDTH,
        help=f"of the smooth curve, in hole ratio ({BANDWIDTH})",
    )  # fmt: skip


def bandwidth(text: str) -> float:
    """A number above 0 and below 1, or argparse's error."""
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"must be above 0 and below 1, found {text}")
    return value


def uncertainty(add: Callable) -> None:
    add("--pixels", type=at_least(1), default=PIXELS, help=f"hole pixels sampled ({PIXELS})")
    add("--flip", action="store_true", help="predictions are means with the mirrored input's")
    add(
        "--mirrored",
        action="store_true",
        help="ensembles get a second row: the difference from their own mirrored prediction",
    )


def groups(add: Callable) -> None:
    add(
        "--baselines", default="telea",
        help=f"what stands beside inpainters: none, or some of {','.join(NAMES)} (telea)",
    )  # fmt: skip
    add("--size", type=at_least(32), help="side in pixels; else that of each run")
    add("--per-bin", type=at_least(1), help="test pairs in each ratio bin, for inpainters")
    add(
        "--per-kind", type=at_least(1),
        help="faces under each kind of cut-out and bare, for segmenters; else all test faces",
    )  # fmt: skip


class Analysis(NamedTuple):
    """What it tells, one line, and what adds its options; its module below engines.analysis bears
    its name."""

    text: str
    add_options: Callable[[Callable], None]


ANALYSES = {
    "cka": Analysis(
        "Which layers tell the same pictures apart: linear CKA of sub-encoders and of systems.", cka
    ),
    "attention": Analysis(
        "Where attention looks, and what pictures lose without it, by the same weights; whose "
        "embedding counts.",
        attention,
    ),
    "umap": Analysis(
        "Where occluded, restored and true faces lie in a network's feature space, drawn by UMAP.",
        umap,
    ),
    "timing": Analysis(
        "Latency, images/s, parameters, MACs and peak memory, by size and batch.", timing
    ),
    "errors": Analysis(
        "Where the error is: by hole ratio, by place in the face, by kind of occluder.", errors
    ),
    "sharpness": Analysis(
        "How much detail is drawn in holes, by scale, and how much of it is right.", beside
    ),
    "uncertainty": Analysis(
        "Whether an ensemble's disagreement, or a model's mirrored answer, predicts its error.",
        uncertainty,
    ),
    "groups": Analysis(
        "Errors by age, gender and origin of the people, where file names label them.", groups
    ),
}


def check(arguments: argparse.Namespace) -> None:
    """FileNotFoundError or ValueError for networks and baselines that are not there."""
    choose_labelled(arguments) if arguments.analysis == "groups" else choose(arguments, INPAINTING)
    if (named := getattr(arguments, "network", "auto")) not in ("auto", "vgg16", "vgg19"):
        identity_file(named, arguments.runs_folder)
    file = getattr(arguments, "weights", "auto")
    if file not in ("auto", "imagenet", "random") and not Path(file).is_file():
        raise FileNotFoundError(
            f"--weights {file}: no such file; valid are auto, imagenet, random or a file"
        )
    if hasattr(arguments, "baselines"):
        parse_baselines(arguments.baselines)


def analyse(arguments: argparse.Namespace) -> list[Any]:
    """The report of the analysis that was asked for."""
    module = import_module(f"deocclude.engines.analysis.{arguments.analysis}")
    return [module.analyse(arguments)]
