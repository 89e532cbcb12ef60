"""`evaluate.py analyse cka`: linear CKA between sub-encoders, layers, and systems."""

import argparse
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deocclude import models
from deocclude.data.pairs.holes import FrozenPairs
from deocclude.data.pairs.tensors import load_pairs
from deocclude.engines.analysis import cka_report
from deocclude.engines.analysis.cka_report import PICTURES, System, label
from deocclude.engines.analysis.frame import (
    describe_members,
    describe_pairs,
    output_folder,
    save_analysis,
    shared_group,
)
from deocclude.engines.analysis.layers import (
    deepest,
    last_tensor,
    matching_names,
    stage_names,
    survey,
    watching,
)
from deocclude.engines.inference.networks import Inpainter, read_inpainter
from deocclude.engines.report.report import Report
from deocclude.engines.runs.devices import resolve_device
from deocclude.engines.runs.finished import Trained
from deocclude.engines.runs.members import choose
from deocclude.engines.runs.tasks import INPAINTING
from deocclude.metrics.cka import LEAST, LinearCKA, centred_gram
from deocclude.progress import Bar

logger = logging.getLogger(__name__)

MOST = 400  # layers: more make no figure and no table that anyone reads

Grams = list[dict[str, Tensor]]  # one a batch: {layer: (n, n)}


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
    drawn = cka_report.choose_drawn(systems, arguments.stages)
    tables = cka_report.tables(result, systems)
    lines = [
        describe_pairs(pairs),
        describe_members(group.members),
        *cka_report.explain(result, arguments.seed, max(map(len, batches))),
        *cka_report.left_out(systems, drawn),
    ]
    return save_analysis(
        output_folder(arguments),
        "Linear CKA",
        lines,
        tables,
        {"cka": cka_report.values(result)},
        cka_report.figures(result, systems, drawn),
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
