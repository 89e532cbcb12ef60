"""`evaluate.py analyse attention`: where attention looks, and what a picture loses without it.

A network that is given an embedding of the picture is also asked with another picture's.

Three kinds are known: self-attention, contextual attention, and the fusion of encoder and decoder.
A trained network is asked three times: as it is, with the attention left out, and with it attending
everywhere alike. The last says whether it matters where it looks; that a network does without what
it was trained with says nothing of one that was trained without.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional

from deocclude.data.contract import compose
from deocclude.data.images import to_uint8
from deocclude.data.pairs.holes import FrozenPairs
from deocclude.data.pairs.tensors import batches, load_pairs
from deocclude.engines.analysis.frame import (
    describe_members,
    describe_pairs,
    output_folder,
    save_analysis,
    shared_group,
)
from deocclude.engines.inference.networks import Inpainter, evaluating, read_inpainter
from deocclude.engines.report.grids import heat, picture_grid
from deocclude.engines.report.report import Report
from deocclude.engines.report.tables import Cell, Table, bin_label, bin_names
from deocclude.engines.runs import finished
from deocclude.engines.runs.devices import resolve_device
from deocclude.engines.runs.members import choose
from deocclude.engines.runs.tasks import INPAINTING
from deocclude.metrics.image import psnr
from deocclude.metrics.statistics import bootstrap_interval, paired_difference
from deocclude.models.blocks import SelfAttention2d
from deocclude.models.contextual_attention import ContextualAttention
from deocclude.models.facial_deocclusion import FusionAttention
from deocclude.progress import Bar

KINDS = {
    SelfAttention2d: "self-attention",
    ContextualAttention: "contextual attention",
    FusionAttention: "fusion of encoder and decoder",
}
LOOKS = {
    "gain": ("gain", ".3f"),
    "positions": ("positions taken", ".1f"),
    "choice": ("of", ".1f"),
    "on_known": ("weight on known ones", ".2f"),
    "known": ("their share", ".2f"),
    "encoder_hole": ("A_enc in the hole", ".3f"),
    "encoder_known": ("A_enc outside", ".3f"),
}
LEFT_OUT = {"left_out": "attention left out, Δ", "even": "attending to all alike, Δ"}
EMBEDDED = {"other": "another picture's embedding, Δ", "mean": "the mean embedding, Δ"}
DRAWN = 4  # networks in the figure

Answer = Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor | None]


@dataclass(frozen=True, eq=False)
class Measured:
    """One network.

    Attributes:
        pictures: a line a pair: index, image, PSNR `intact`, `left_out` and `even`, dB, composed;
            `other` and `mean` where the network is given an embedding.
        looks: a line a pair and layer: layer, kind, index and what of LOOKS its kind has.
        maps: of the first layer and the chosen pairs, (n, S, S), what the hole takes from where, or
            the fusion's mean A_enc.
    """

    name: str
    pictures: pd.DataFrame
    looks: pd.DataFrame
    maps: np.ndarray


def analyse(arguments: argparse.Namespace) -> Report:
    """Measure the chosen networks that have attention on the frozen test pairs, an image once.

    ValueError where none of them has.
    """
    members = choose(arguments, INPAINTING)
    group = shared_group(arguments, members, one_an_image=True)
    pairs, device = group.pairs, resolve_device(arguments.device)
    bins = [pair.bin for pair in pairs.pairs]
    chosen = [bins.index(each) for each in sorted(set(bins))]
    results, plain = [], []
    for member in group.members:
        inpainter = read_inpainter(member.checkpoint, device)
        if attentions(inpainter.network):
            results.append(measure(inpainter, member.name, pairs, arguments.batch, chosen))
        else:
            plain.append(member.name)
    if not results:
        raise ValueError(f"none of {', '.join(plain)} has attention; --runs chooses others")
    embedded = [result for result in results if "other" in result.pictures]
    lines = [
        describe_pairs(pairs),
        describe_members(group.members),
        "PSNR: composed pictures; Δ: of the same weights when attention is left out (its input "
        "goes on, a fusion adds nothing) and when it attends to all positions alike (a fusion: its "
        "mean A_enc everywhere). 95 % intervals, bootstrap over images.",
        "Where it looks: means over the hole's positions on the attention's grid. Positions taken: "
        "exp of the weights' entropy, of those it may take. A_enc: the share of the encoder.",
        *(["Embedding: of another picture, or the mean of all."] if embedded else []),
        *([f"Without attention: {', '.join(plain)}."] if plain else []),
        *finished.under_occluders(group.members, "it is shown the same holes as the others here"),
    ]
    return save_analysis(
        output_folder(arguments),
        "What attention does",
        lines,
        [
            loss_table(results, LEFT_OUT, "What the picture loses"),
            *([loss_table(embedded, EMBEDDED, "Whose embedding counts")] if embedded else []),
            look_table(results),
        ],
        {
            "pictures": pd.concat([r.pictures.assign(row=r.name) for r in results]),
            "looks": pd.concat([r.looks.assign(row=r.name) for r in results]),
        },
        {"examples": examples_figure(results[:DRAWN], pairs, chosen)},
        headline=2 + bool(embedded),
    )


def attentions(network: nn.Module) -> dict[str, nn.Module]:
    """A network's attention layers, an ensemble's members' too, by name."""
    return {name: part for name, part in network.named_modules() if type(part) in KINDS}


@contextmanager
def answering(layers: Mapping[str, nn.Module], answer: Answer) -> Iterator[None]:
    """Inside the block each layer answers `answer(layer, given, its own answer)`, or, where that is
    None, as ever."""
    hooks = [layer.register_forward_hook(answer) for layer in layers.values()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def given_embedding(network: nn.Module, embedding: Tensor) -> Iterator[None]:
    """Inside the block the network takes this embedding, (N, D), in place of what it is given."""
    hook = network.register_forward_pre_hook(lambda _, given: (*given[:2], embedding))
    try:
        yield
    finally:
        hook.remove()


@torch.inference_mode()
def embeddings(inpainter: Inpainter, pairs: FrozenPairs, batch: int) -> Tensor | None:
    """What a network is given of each occluded picture, (N, D); None where it takes nothing."""
    if inpainter.features is None:
        return None
    found = []
    with evaluating(inpainter.features):
        for indices in batches(pairs, batch):
            _, _, occluded = load_pairs(pairs, indices, inpainter.fill)
            found.append(inpainter.features.embed(occluded.to(inpainter.device)))
    return torch.cat(found)


def left_out(layer: nn.Module, given: tuple[Tensor, ...], answer: Tensor) -> Tensor:
    """As if there were no attention."""
    return torch.zeros_like(answer) if isinstance(layer, FusionAttention) else given[0]


def even(layer: nn.Module, given: tuple[Tensor, ...], answer: Tensor) -> Tensor:
    """As if all positions that it may attend to were alike."""
    if isinstance(layer, FusionAttention):
        encoded, decoded = given
        share = layer.maps(encoded, decoded)[0].mean((2, 3), keepdim=True)
        return encoded * share + decoded * (1 - share)
    if isinstance(layer, ContextualAttention):
        features, mask = given
        known = (mask == 0).to(features.dtype)
        count = known.sum((2, 3), keepdim=True)
        mean = (features * known).sum((2, 3), keepdim=True) / count.clamp(min=1)
        return torch.where((mask > 0) & (count > 0), mean, features)
    assert isinstance(layer, SelfAttention2d)
    return given[0] + layer.gamma * layer.value(given[0]).mean((2, 3), keepdim=True)


def look(
    layer: nn.Module, given: tuple[Tensor, ...], mask: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """What of LOOKS a layer has, (N,) each, NaN where no position is of that sort, and a map (N, h,
    w): of what the hole takes from where, or A_enc. `mask`: (N, 1, H, W) of the picture."""
    hole = functional.adaptive_max_pool2d(mask, given[0].shape[-2:])
    if isinstance(layer, FusionAttention):
        share = layer.maps(*given)[0].mean(1)
        flat, hidden = share.flatten(1), hole.flatten(1)
        means = {"encoder_hole": _mean(flat, hidden), "encoder_known": _mean(flat, 1 - hidden)}
        return means, share
    if isinstance(layer, ContextualAttention):
        hole = (given[1] > 0).float()
    hidden = hole.flatten(1)
    weights = layer.weights(*given).float()
    weights = weights / weights.sum(-1, keepdim=True)  # columns of the published form sum to 1
    known = 1 - hidden
    found = {
        "positions": _mean(torch.special.entr(weights).sum(-1).exp(), hidden),
        "choice": torch.full_like(hidden[:, 0], hidden.shape[1]),
        "on_known": _mean((weights * known[:, None]).sum(-1), hidden),
        "known": known.mean(1),
    }
    if isinstance(layer, ContextualAttention):
        count = known.sum(1)
        found["choice"] = torch.where(count > 0, count, found["choice"])
    else:
        found["gain"] = layer.gamma.expand(len(hidden))
    taken = (weights * hidden[..., None]).sum(1) / hidden.sum(1, keepdim=True)
    return found, taken.view(-1, *hole.shape[-2:])


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum(1) / weights.sum(1)


def measure(
    inpainter: Inpainter, name: str, pairs: FrozenPairs, batch: int, chosen: Sequence[int]
) -> Measured:
    """Ask one network three times about every pair, with other embeddings twice more; maps of the
    `chosen` pairs."""
    layers = attentions(inpainter.network)
    own = embeddings(inpainter, pairs, batch)
    pictures: list[pd.DataFrame] = []
    looks: list[pd.DataFrame] = []
    maps: dict[int, np.ndarray] = {}
    for indices in Bar(list(batches(pairs, batch)), desc=name, unit="batch"):
        target, mask, occluded = load_pairs(pairs, indices, inpainter.fill)
        masks = mask.to(inpainter.device)
        seen: dict[nn.Module, tuple[dict[str, Tensor], Tensor]] = {}

        def note(layer, given, answer, seen=seen, masks=masks) -> None:
            seen[layer] = look(layer, given, masks)

        ways = {"intact": note, "left_out": left_out, "even": even}
        asked = {how: answering(layers, answer) for how, answer in ways.items()}
        if own is not None:
            mean = own.mean(0).expand(len(mask), -1)
            asked["other"] = given_embedding(inpainter.network, own[[i - 1 for i in indices]])
            asked["mean"] = given_embedding(inpainter.network, mean)
        values: dict[str, np.ndarray] = {}
        for how, asking in asked.items():
            with asking:
                prediction = inpainter.restore(occluded, mask).cpu()
            values[how] = psnr(compose(prediction, occluded, mask), target).numpy()
        images = [pairs.pairs[i].image for i in indices]
        pictures.append(pd.DataFrame({"index": list(indices), "image": images} | values))
        for key, layer in layers.items():
            means = {what: each.cpu().numpy() for what, each in seen[layer][0].items()}
            facts = {"layer": key, "kind": KINDS[type(layer)], "index": list(indices)}
            looks.append(pd.DataFrame(facts | means))
        first = seen[next(iter(layers.values()))][1].float().cpu().numpy()
        maps |= {i: first[place] for place, i in enumerate(indices) if i in chosen}
    enlarged = [
        cv2.resize(maps[i], (pairs.size,) * 2, interpolation=cv2.INTER_NEAREST) for i in chosen
    ]
    lines, every = (pd.concat(each, ignore_index=True) for each in (pictures, looks))
    return Measured(name, lines, every, np.stack(enlarged))


def loss_table(results: Sequence[Measured], asked: Mapping[str, str], title: str) -> Table:
    """What the pictures lose when the networks are asked so, dB, with intervals."""
    rows = []
    for result in results:
        intact = result.pictures["intact"].to_numpy()
        cells = [Cell(result.name), Cell(bootstrap_interval(intact).mean, form=".2f")]
        for how in asked:
            found = bootstrap_interval(paired_difference(result.pictures[how].to_numpy(), intact))
            cells.append(Cell(found.mean, found.low, found.high, "+.2f"))
        rows.append(cells)
    return Table(title, ["", "PSNR (dB)", *asked.values()], rows)


def look_table(results: Sequence[Measured]) -> Table:
    """A line a layer: means over pairs."""
    rows = []
    for result in results:
        for (layer, kind), part in result.looks.groupby(["layer", "kind"], sort=False):
            means = {key: part[key].mean() if key in part else None for key in LOOKS}
            cells = [Cell(means[key], form=form) for key, (_, form) in LOOKS.items()]
            rows.append([Cell(result.name), Cell(layer), Cell(kind), *cells])
    return Table(
        "Where it looks", ["", "layer", "kind", *(head for head, _ in LOOKS.values())], rows
    )


def examples_figure(
    results: Sequence[Measured], pairs: FrozenPairs, chosen: Sequence[int]
) -> Figure:
    """The first pair of each bin: the picture with its hole, and each network's map, from black, 0,
    to yellow, its largest value over these pairs."""
    target, _, occluded = load_pairs(pairs, chosen, 1.0)
    columns = {"input": to_uint8(occluded)}
    for result in results:
        columns[result.name] = heat(result.maps, float(np.nanmax(result.maps)))
    columns["target"] = to_uint8(target)
    rows = [[column[i] for column in columns.values()] for i in range(len(chosen))]
    bins = pd.DataFrame({"bin": [pairs.pairs[i].bin for i in chosen]})
    labels = [bin_label(name) for name in bin_names(bins)]
    return picture_grid(rows, list(columns), labels)
