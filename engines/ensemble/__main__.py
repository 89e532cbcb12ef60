"""Combine trained inpainters: `python -m engines.ensemble fit | pack | show`.

`fit` writes a YAML that points to the members, `pack` makes one weights file of it. Both are
inpainters like any other: evaluate.py and deocclude.py take them as --checkpoint.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from deocclude.engines.ensemble.opening import open_inpainter, pack
from deocclude.engines.ensemble.weights import Fitted, fit, validation_pairs
from deocclude.engines.options import at_least
from deocclude.engines.report.tables import BIN_LABELS, Cell, Table
from deocclude.engines.report.writers import to_markdown
from deocclude.engines.runs.console import say_progress
from deocclude.engines.runs.devices import resolve_device
from deocclude.engines.runs.finished import member_files
from deocclude.engines.runs.recipes import (
    FIXED,
    KEEP,
    MemberFile,
    is_recipe,
    members_of,
    pointers_of,
    write_recipe,
)
from deocclude.models.blocks import count_parameters
from deocclude.models.ensemble import Ensemble, parameter_count


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m engines.ensemble",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser("fit", help="combine members, weighed on validation pairs")
    add.set_defaults(run=run_fit)
    option = add.add_argument
    option("--members", nargs="+", required=True, metavar="RUN", help="runs or weights files")
    option("--combination", choices=FIXED, default="weights", help="(weights)")
    option("--pairs", type=at_least(1), default=1200, help="validation pairs (1200)")
    option("--name", help="else the combination's")
    option("--output", type=Path, help="else <runs folder>/ensembles/<name>.yaml")
    option("--overwrite", action="store_true", help="replace that file if it exists")
    option("--keep", choices=KEEP, default="memory", help="disk: one member at a time in memory")
    option("--data", type=Path, help="data folder; else the one the first member was trained on")
    option("--runs-folder", type=Path, default=Path("runs"), help="where runs lie")
    option("--batch", type=at_least(1), default=32, help="images at once (32)")
    option("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    add = commands.add_parser("pack", help="one weights file with all members inside")
    add.set_defaults(run=run_pack)
    add.add_argument("ensemble", type=Path, help="an ensemble's YAML, or a gate's weights file")
    add.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.safetensors")
    add.add_argument("--overwrite", action="store_true", help="replace that file if it exists")
    add = commands.add_parser("show", help="members, weights and sizes of an ensemble")
    add.set_defaults(run=run_show)
    add.add_argument("ensemble", type=Path, help="an ensemble's YAML or weights file")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run one command; 0, or 1 after one line about an error that the user can mend."""
    arguments = parse(argv)
    say_progress()
    try:
        arguments.run(arguments)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def run_fit(arguments: argparse.Namespace) -> None:
    """Fit, write the YAML, print the table."""
    runs = arguments.runs_folder
    name = arguments.name or f"ensemble_{arguments.combination}"
    output = arguments.output or runs / "ensembles" / f"{name}.yaml"
    if not is_recipe(output):
        raise ValueError(f"{output}: an ensemble that points to its members is a .yaml file")
    check_free(output, arguments.overwrite)
    members = members_of(member_files(arguments.members, runs))
    pairs = validation_pairs(members, arguments.pairs, arguments.data)
    fitted = fit(
        members, arguments.combination, pairs, arguments.batch,
        resolve_device(arguments.device), arguments.keep,
    )  # fmt: skip
    write_recipe(
        output,
        members,
        name,
        arguments.combination,
        _plain(fitted.weights),
        arguments.keep,
        fitted.record(members) | {"asked": arguments.pairs},
    )
    print(fit_table(members, arguments.combination, fitted))
    print(output)


def _plain(weights: np.ndarray | None) -> list | None:
    return None if weights is None else weights.round(6).tolist()


def fit_table(members: Sequence[MemberFile], combination: str, fitted: Fitted) -> str:
    """Weights and composed validation PSNR of members, their mean and the result, as Markdown."""
    weights = np.zeros((len(members), 0))
    if fitted.weights is not None:
        weights = np.atleast_2d(fitted.weights).T
    heads = {0: [], 1: ["weight"]}.get(weights.shape[1], [BIN_LABELS[str(i)] for i in range(6)])
    best = max(*fitted.alone, fitted.mean, fitted.result)
    blank = [Cell("")] * len(heads)
    rows = [
        [Cell(m.label), *(Cell(f"{w:.3f}") for w in row), Cell(f"{value:.3f}", value == best)]
        for m, row, value in zip(members, weights, fitted.alone, strict=True)
    ]
    results = {"mean": fitted.mean} | {combination: fitted.result}
    rows += [
        [Cell(f"all, {what}"), *blank, Cell(f"{value:.3f}", value == best)]
        for what, value in results.items()
    ]
    note = "PSNR in dB, composed, mean over pairs"
    note += "." if fitted.weights is None else "; the weights were fitted to these very pairs."
    table = Table("Members", ["Row", *heads, "validation PSNR"], rows, [note])
    lines = [f"{len(fitted.pairs)} pairs: {fitted.pairs.description}", f"hash {fitted.pairs.hash}"]
    return to_markdown([table], "Ensemble", lines)


def run_pack(arguments: argparse.Namespace) -> None:
    """Write the packed file and say how large it is."""
    check_free(arguments.output, arguments.overwrite)
    path = pack(arguments.ensemble, arguments.output)
    print(f"{path}  {path.stat().st_size / 2**20:.1f} MiB")


def run_show(arguments: argparse.Namespace) -> None:
    """Print what an ensemble is made of."""
    network, metadata = open_inpainter(arguments.ensemble)
    if not isinstance(network, Ensemble):
        raise ValueError(f"{arguments.ensemble}: is no ensemble but {type(network).__name__}")
    data = metadata["config"]["data"]
    print(f"{metadata['config']['name']}: {network.origin}")
    print(f"{data['size']} px, faces aligned as {data.get('template', 'ffhq')}")
    pointers = pointers_of(arguments.ensemble)
    weights = getattr(network, "weights", None)
    for number, (label, member) in enumerate(zip(network.members, network.attached, strict=True)):
        where = pointers[number].path if pointers else "packed"
        told = "" if weights is None else f"  weight {_words(weights[..., number])}"
        print(f"  {label}: {parameter_count(member) / 1e6:.2f} M parameters, {where}{told}")
    own = count_parameters(network)
    print(f"  {(own + network.member_parameters()) / 1e6:.2f} M parameters in all, {own} its own")


def _words(weights: Tensor) -> str:
    return " ".join(f"{weight:.3f}" for weight in weights.flatten().tolist())


def check_free(output: Path, overwrite: bool) -> None:
    """ValueError for a file that is there and may not be replaced."""
    if output.exists() and not overwrite:
        raise ValueError(f"{output}: exists already; --overwrite replaces it")


if __name__ == "__main__":
    sys.exit(main())
