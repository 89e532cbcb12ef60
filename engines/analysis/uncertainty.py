"""`evaluate.py analyse uncertainty`: whether what an inpainter doubts is what it gets wrong.

An ensemble doubts where its members disagree, another inpainter where its answer to the mirrored
picture differs. Both are held against the error in the hole of frozen pairs, and against what
needs no network: how deep in the hole a pixel lies.
"""

import argparse
from collections.abc import Iterator, Sequence

import torch

from deocclude.engines.analysis.frame import (
    describe_pairs,
    output_folder,
    save_analysis,
    shared_group,
)
from deocclude.engines.analysis.uncertainty_report import (
    KeptValues,
    all_values,
    calibration_figure,
    calibration_table,
    conclude,
    correlation_table,
    examples_figure,
    pictures_figure,
    sparsification_figure,
)
from deocclude.engines.analysis.uncertainty_values import UNCERTAINTY, doubt_and_error, measure
from deocclude.engines.inference import networks
from deocclude.engines.inference.networks import DISAGREEMENT, MIRRORED
from deocclude.engines.report.report import Report
from deocclude.engines.report.tables import BIN_LABELS
from deocclude.engines.runs import finished
from deocclude.engines.runs.devices import resolve_device
from deocclude.engines.runs.finished import Trained
from deocclude.engines.runs.members import choose
from deocclude.engines.runs.pairs import Group
from deocclude.engines.runs.tasks import INPAINTING

SEED = 0
DRAWN, PICTURED = 6, 2  # rows in the figures of numbers, and networks in the examples


def analyse(arguments: argparse.Namespace) -> Report:
    """Measure every network on the shared pairs; tables, values and figures into one folder."""
    group = shared_group(arguments, choose(arguments, INPAINTING))
    device = resolve_device(arguments.device)
    results = [
        result for member in group.members for result in _results(arguments, member, group, device)
    ]
    drawn = results[:DRAWN]
    figures = {
        "calibration": calibration_figure({r.name: r.curve for r in drawn}),
        "sparsification": sparsification_figure(
            {r.name: {k: f.sparsification for k, f in r.findings.items()} for r in drawn}
        ),
        "pictures": pictures_figure(
            [(r.name, r.images, r.findings[UNCERTAINTY].between.spearman.mean) for r in drawn]
        ),
        "examples": _examples(group, results[0], device, arguments.flip),
    }
    return save_analysis(
        output_folder(arguments),
        "Does uncertainty predict error?",
        _lines(arguments, group, results),
        [correlation_table(results), calibration_table(results)],
        all_values(results),
        figures,
        headline=2,
    )


def _results(
    arguments: argparse.Namespace, member: Trained, group: Group, device: torch.device
) -> Iterator[KeptValues]:
    """The member's row, and with --mirrored an ensemble's second one."""
    inpainter = networks.read_inpainter(member.checkpoint, device, flip=arguments.flip)
    how = (group.pairs, arguments.batch, arguments.pixels, SEED)
    result = conclude(measure(inpainter, member.name, *how), SEED)
    yield result
    if arguments.mirrored and result.doubt == DISAGREEMENT:
        again = measure(inpainter, f"{member.name} (mirrored)", *how, doubt=MIRRORED)
        yield conclude(again, SEED)


def _lines(arguments: argparse.Namespace, group: Group, results: Sequence[KeptValues]) -> list[str]:
    pairs, first = group.pairs, results[0]
    kinds: dict[str, list[str]] = {}
    for result in results:
        kinds.setdefault(result.doubt, []).append(result.name)
    words = [
        f"{kind}{' (standard deviation)' if kind == DISAGREEMENT else ''}: {', '.join(names)}"
        for kind, names in kinds.items()
    ]
    averaged = ", the mean with the mirrored input's" if arguments.flip else ""
    lines = [
        describe_pairs(pairs),
        f"{first.sampled:,} of {first.total:,} hole pixels, sampled with seed {SEED}; batch "
        f"{arguments.batch}.",
        f"Uncertainty is {'; '.join(words)}. Error: of the prediction{averaged}, absolute, mean "
        "over the channels.",
    ]
    if len(results) > DRAWN:
        lines.append(
            f"The figures show the first {DRAWN} of {len(results)} rows; the CSV files hold all."
        )
    hint = "its holes are hidden here as those of the others"
    return lines + finished.under_occluders(group.members, hint)


def _examples(group: Group, first: KeptValues, device: torch.device, flip: bool):
    """The hole of median uncertainty of each bin, by the first network."""
    chosen = {}
    for name, part in first.images.dropna(subset=[UNCERTAINTY]).groupby("bin"):
        order = part.sort_values(UNCERTAINTY, kind="stable")["index"].tolist()
        chosen[BIN_LABELS[name]] = order[(len(order) - 1) // 2]
    members, indices = group.members[:PICTURED], list(chosen.values())
    shown = []
    for member in members:
        inpainter = networks.read_inpainter(member.checkpoint, device, flip=flip)
        shown.append(doubt_and_error(inpainter, member.name, group.pairs, indices))
    return examples_figure(shown, [member.name for member in members], list(chosen))
