"""CKA as sentences, tables and heat maps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from deocclude.engines.analysis.layers import INPUT, Shape
from deocclude.engines.report.heat_map import heat_map
from deocclude.engines.report.tables import MISSING, Cell, Table
from deocclude.metrics.cka import Similarity

PICTURES = ("mask", "input", "true face")
PIXELS = "pixels"  # the group of PICTURES in figures
DRAWN = 40  # rows of a heat map that stay legible
COLUMNS = 12  # systems that fit side by side into a table


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


def tables(result: Similarity, systems: Sequence[System]) -> list[Table]:
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
