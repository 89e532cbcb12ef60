"""What `python -m engines.ensemble` does: fit, pack, show."""

import argparse
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from deocclude.engines.ensemble.opening import open_inpainter, pack
from deocclude.engines.ensemble.weights import Fitted, fit, validation_pairs
from deocclude.engines.report.tables import BIN_LABELS, Cell, Table
from deocclude.engines.report.writers import to_markdown
from deocclude.engines.runs.devices import resolve_device
from deocclude.engines.runs.finished import member_files
from deocclude.engines.runs.recipes import MemberFile, members_of, pointers_of, write_recipe
from deocclude.models.blocks import count_parameters
from deocclude.models.ensemble import Ensemble, parameter_count


def run_fit(arguments: argparse.Namespace) -> None:
    """Fit, write the YAML, print the table."""
    name, output = arguments.name, arguments.output
    members = members_of(member_files(arguments.members, arguments.runs_folder))
    pairs = validation_pairs(members, arguments.pairs, arguments.data)
    fitted = fit(
        members, arguments.combination, pairs, arguments.batch,
        resolve_device(arguments.device), arguments.keep, arguments.runs_folder / ".cache",
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
        [Cell(m.label), *(Cell(w, form=".3f") for w in row), _psnr(value, best)]
        for m, row, value in zip(members, weights, fitted.alone, strict=True)
    ]
    results = {"mean": fitted.mean} | {combination: fitted.result}
    rows += [[Cell(f"all, {what}"), *blank, _psnr(value, best)] for what, value in results.items()]
    note = "PSNR in dB, composed, mean over pairs"
    note += "." if fitted.weights is None else "; the weights were fitted to these very pairs."
    table = Table("Members", ["Row", *heads, "validation PSNR"], rows, [note])
    lines = [f"{len(fitted.pairs)} pairs: {fitted.pairs.description}", f"hash {fitted.pairs.hash}"]
    return to_markdown([table], "Ensemble", lines)


def _psnr(value: float, best: float) -> Cell:
    return Cell(value, form=".3f", best=value == best)


def run_pack(arguments: argparse.Namespace) -> None:
    """Write the packed file and say how large it is."""
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
