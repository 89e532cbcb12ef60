"""`evaluate.py analyse cka`: linear CKA between sub-encoders, layers, and systems."""

import argparse
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from deocclude import models
from deocclude.data.pairs.holes import FrozenPairs
from deocclude.data.pairs.tensors import load_pairs
from deocclude.engines.analysis.frame import (
    describe_members,
    describe_pairs,
    output_folder,
    save_analysis,
    shared_group,
)
from deocclude.engines.analysis.layers import (
    INPUT,
    Shape,
    deepest,
    last_tensor,
    matching_names,
    stage_names,
    survey,
    watching,
)
from deocclude.engines.inference.networks import Inpainter, read_inpainter
from deocclude.engines.report.heat_map import heat_map
from deocclude.engines.report.report import Report
from deocclude.engines.report.tables import MISSING, Cell, Table
from deocclude.engines.runs.devices import resolve_device
from deocclude.engines.runs.finished import Trained
from deocclude.engines.runs.members import choose
from deocclude.engines.runs.tasks import INPAINTING
from deocclude.metrics.cka import LEAST, LinearCKA, Similarity, centred_gram
from deocclude.progress import Bar

logger = logging.getLogger(__name__)

PICTURES = ("mask", "input", "true face")
PIXELS = "pixels"  # the group of PICTURES in figures
DRAWN = 40  # rows of a heat map that stay legible
COLUMNS = 12  # systems that fit side by side into a table
MOST = 400  # layers: more make no figure and no table that anyone reads

Grams = list[dict[str, Tensor]]  # one a batch: {layer: (n, n)}


@dataclass(frozen=True)
class System:
    """A network and those of its layers that are compared.

    Attributes:
        layers: shapes (C, h, w) by name, in the order in which they work.
        encoders: the sub-encoders among them.
        deepest: the last layer of those whose maps are smallest.
    """

    name: str
    layers: dict[str, Shape]
    encoders: tuple[str, ...]
    deepest: str


def analyse(arguments: argparse.Namespace) -> Report:
    """CKA of every two layers of the chosen networks on the frozen test pairs, an image once.

    Raises ValueError when there are fewer than 4 images, no layer of a name, or networks with
    different test pairs.
    """
    members = choose(arguments, INPAINTING)
    group = shared_group(arguments, members, one_an_image=True)
    pairs, device = group.pairs, resolve_device(arguments.device)
    batches = split_batches(len(pairs), arguments.batch, arguments.seed)
    sources = list(_sources(group.members, arguments, device))
    grams = picture_grams(pairs, batches)
    systems = []
    for name, opener in sources:
        system, found = measure(name, opener, pairs, batches, arguments.layers)
        systems.append(system)
        for batch, more in zip(grams, found, strict=True):
            batch |= more
    if len(grams[0]) > MOST:
        raise ValueError(
            f"{len(grams[0])} layers are too many, at most {MOST}: --layers or --runs chooses fewer"
        )
    cka = LinearCKA(list(grams[0]))
    for batch in grams:
        cka.update_grams(batch)
    result = cka.compute()
    drawn = choose_drawn(systems, arguments.stages)
    tables = cka_tables(result, systems)
    lines = [
        describe_pairs(pairs),
        describe_members(group.members),
        *explain(result, arguments.seed, max(map(len, batches))),
        *left_out(systems, drawn),
    ]
    return save_analysis(
        output_folder(arguments),
        "Linear CKA",
        lines,
        tables,
        {"cka": values(result)},
        figures(result, systems, drawn),
        headline=max(1, len(tables) - 1),
    )


def split_batches(count: int, batch: int, seed: int) -> list[np.ndarray]:
    """Shuffled numbers below `count` in batches of nearly equal size, at most `batch`.

    ValueError where that leaves fewer than 4 in one.
    """
    least = count // max(1, -(-count // batch))
    if least < LEAST:
        raise ValueError(
            f"{count} images in batches of at most {batch}: CKA needs {LEAST} or more in each"
        )
    order = np.random.Generator(np.random.PCG64(seed)).permutation(count)
    return np.array_split(order, -(-count // batch))


def picture_grams(pairs: FrozenPairs, batches: Sequence[np.ndarray]) -> Grams:
    """Of the pixels themselves, to which layers are compared."""
    grams = []
    for indices in batches:
        target, mask, occluded = load_pairs(pairs, indices.tolist(), 1.0)
        pictures = (mask, occluded, target)
        grams.append(
            {name: centred_gram(each) for name, each in zip(PICTURES, pictures, strict=True)}
        )
    return grams


def _sources(
    members: Sequence[Trained], arguments: argparse.Namespace, device: torch.device
) -> Iterator[tuple[str, Callable[[], Inpainter]]]:
    for member in members:
        opener = partial(read_inpainter, member.checkpoint, device)
        yield member.name, opener
        if arguments.untrained:
            fresh = partial(_untrained, member, opener, arguments.seed)
            yield f"{member.name}, untrained", fresh


def _untrained(member: Trained, opener: Callable[[], Inpainter], seed: int) -> Inpainter:
    """The same network with the weights it has before any training, no pretrained ones."""
    model = dict(member.config["model"])
    if models.takes_option(models.INPAINTERS, model["name"], "pretrained"):
        model["pretrained"] = False
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = models.create_inpainter(**model)
    return replace(opener(), network=fresh)


def measure(
    name: str,
    opener: Callable[[], Inpainter],
    pairs: FrozenPairs,
    batches: Sequence[np.ndarray],
    patterns: Sequence[str] | None,
) -> tuple[System, Grams]:
    """One network's layers and their Gram matrices; the network is let go afterwards."""
    inpainter = opener()
    system = describe(name, inpainter, pairs.size, patterns)
    grams: Grams = []

    def take(layer: str, features: Any) -> None:
        try:
            grams[-1][label(name, layer)] = centred_gram(last_tensor(features))
        except ValueError as error:
            raise ValueError(f"{name}, layer {layer}: {error}") from error

    with watching(inpainter.network, list(system.layers), take):
        for indices in Bar(batches, desc=name, unit="batch"):
            grams.append({})
            _, mask, occluded = load_pairs(pairs, indices.tolist(), inpainter.fill)
            inpainter.restore(occluded, mask)
    return system, grams


def describe(
    name: str,
    inpainter: Inpainter,
    size: int,
    patterns: Sequence[str] | None = None,
) -> System:
    """Which layers a network has. ValueError, listing its stages, when no pattern fits any."""
    network = inpainter.network
    stages = stage_names(network)
    names = matching_names(network, patterns) if patterns else stages
    layers = survey(inpainter, size, names)
    if not layers:
        asked = f"named {', '.join(patterns)}" if patterns else "to look into"
        raise ValueError(
            f"{name}: {type(network).__name__} has no layer {asked} that works once a pass; "
            f"its stages: {', '.join(stages) or 'none (of an ensemble, name the members)'}"
        )
    encoders = [f"encoders.{each}" for each in getattr(network, "encoders", {})]
    return System(name, layers, tuple(each for each in encoders if each in layers), deepest(layers))


def label(system: str, layer: str) -> str:
    """What a system's layer is called among all systems'."""
    return f"{system}: {layer}"


def explain(result: Similarity, seed: int, most: int) -> list[str]:
    """How the numbers came about, and what they mean; lines above the tables."""
    lines = [
        f"Linear CKA, HSIC unbiased in {result.batches} batches of at most {most} images (shuffled "
        f"by seed {seed}) and averaged before the ratio (Nguyen et al., ICLR 2021). 1: the two "
        "layers tell images apart in the same way, but for rotation and scale; 0: no more alike "
        "than chance. ±: standard error, jackknife over batches.",
        "Every network sees the same faces with the same holes. What they share through the input "
        "alone is seen in the columns mask, input (hole white) and true face: CKA to those pixels.",
    ]
    return lines + [f"{MISSING}: {name}: {reason}." for name, reason in result.reasons.items()]


def values(result: Similarity) -> pd.DataFrame:
    """Every two layers once. Columns: first, second, cka, error."""
    rows, columns = np.triu_indices(len(result.names), 1)
    names = np.array(result.names)
    found = {"cka": result.values[rows, columns], "error": result.errors[rows, columns]}
    return pd.DataFrame({"first": names[rows], "second": names[columns], **found})


def cka_tables(result: Similarity, systems: Sequence[System]) -> list[Table]:
    """Sub-encoders and attention where there are any, systems where there are several, layers."""
    place = {name: i for i, name in enumerate(result.names)}

    def cell(first: str, second: str) -> Cell:
        i, j = place[first], place[second]
        value, error = result.values[i, j], result.errors[i, j]
        form = ".3f" if np.isnan(error) else "{value:.3f} ± {high:.3f}"
        return Cell(value, high=error, form=form)

    found = [_inside(systems, cell), _between(systems, cell), _layers(systems, cell)]
    return [table for table in found if table is not None]


def inner_pairs(system: System) -> list[tuple[str, str]]:
    """Sub-encoders among themselves and with what the attention makes of them; before and after
    each attention."""
    pairs = list(combinations(system.encoders, 2))
    for layer in system.layers:
        if layer.endswith(INPUT) and (after := layer.removesuffix(INPUT)) in system.layers:
            if len(system.encoders) > 1:
                pairs += [(encoder, after) for encoder in system.encoders]
            pairs.append((layer, after))
    return pairs


def _inside(systems: Sequence[System], cell) -> Table | None:
    rows = [
        [Cell(s.name), Cell(a), Cell(b), cell(label(s.name, a), label(s.name, b))]
        for s in systems
        for a, b in inner_pairs(s)
    ]
    note = f"{INPUT.removeprefix(':')}: what a layer takes, before it has worked."
    return (
        Table("Sub-encoders and attention", ["", "layer", "and", "CKA"], rows, [note])
        if rows
        else None
    )


def _between(systems: Sequence[System], cell) -> Table | None:
    if len(systems) < 2:
        return None
    shown, own = systems[:COLUMNS], Cell(1.0, form=".0f")
    rows = [
        [
            Cell(one.name),
            *(own if one is other else cell(_deep(one), _deep(other)) for other in shown),
        ]
        for one in systems
    ]
    notes = ["Layers: " + "; ".join(map(_deep, systems)) + "."]
    if len(systems) > len(shown):
        notes.append(f"Columns: the first {COLUMNS} of {len(systems)}; cka.csv has all.")
    columns = ["", *(system.name for system in shown)]
    return Table("Between systems, at the deepest layer", columns, rows, notes)


def _deep(system: System) -> str:
    return label(system.name, system.deepest)


def _layers(systems: Sequence[System], cell) -> Table:
    rows = []
    for system in systems:
        for layer, shape in system.layers.items():
            words = " x ".join(map(str, shape))
            to = [cell(label(system.name, layer), picture) for picture in PICTURES]
            rows.append([Cell(system.name), Cell(layer), Cell(words), *to])
    return Table("Layers and the pixels", ["", "layer", "shape", *PICTURES], rows)


def choose_drawn(systems: Sequence[System], stages: int | None) -> list[System]:
    """The systems and layers of the heat map: at most `stages` of each, or as many as stay legible.

    Where there are more, inputs are left out first, then layers evenly.
    """
    room = DRAWN - len(PICTURES)
    systems = systems[: room // 2]
    most = stages or max(2, room // len(systems))
    chosen = []
    for system in systems:
        names = list(system.layers)
        if len(names) > most:
            names = [name for name in names if not name.endswith(INPUT)]
        if len(names) > most:
            kept = np.linspace(0, len(names) - 1, most).round().astype(int)
            names = [names[i] for i in dict.fromkeys(kept.tolist())]
        chosen.append(replace(system, layers={name: system.layers[name] for name in names}))
    return chosen


def left_out(systems: Sequence[System], drawn: Sequence[System]) -> list[str]:
    """A remark on what the heat map does not show."""
    every = sum(len(system.layers) for system in systems)
    shown = sum(len(system.layers) for system in drawn)
    if shown == every:
        return []
    return [
        f"The heat map shows {shown} of {every} layers, a choice from each of the "
        f"{'first ' if len(drawn) < len(systems) else ''}{len(drawn)} networks; cka.csv has all."
    ]


def figures(
    result: Similarity, systems: Sequence[System], drawn: Sequence[System]
) -> dict[str, Figure]:
    """`layers`, a heat map of the `drawn` layers, and `systems`, one of all deepest layers."""
    place = {name: i for i, name in enumerate(result.names)}

    def draw(rows: Sequence[tuple[str, str, str]], title: str) -> Figure:
        names, labels, groups = zip(*rows, strict=True)
        chosen = [place[name] for name in names]
        return heat_map(result.values[np.ix_(chosen, chosen)], labels, groups, title)

    pixels = [(name, name, PIXELS) for name in PICTURES]
    rows = [(label(s.name, each), each, s.name) for s in drawn for each in s.layers]
    found = {"layers": draw([*pixels, *rows], f"Linear CKA between layers, N = {result.count}")}
    if len(systems) > 1:
        rows = [(_deep(s), s.deepest, s.name) for s in systems[: DRAWN - len(PICTURES)]]
        title = f"Linear CKA between systems at their deepest layer, N = {result.count}"
        found["systems"] = draw([*pixels, *rows], title)
    return found
