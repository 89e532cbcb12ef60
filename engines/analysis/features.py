"""One vector a picture: from an identity network, a VGG, or an inpainter's own layer."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from deocclude.engines.analysis.layers import last_tensor, stage_names, survey, watching
from deocclude.engines.measures.identity_similarity import Embedding
from deocclude.engines.runs.features import DEFAULT, MAKE_ONE, identity_file
from deocclude.engines.runs.finished import IDENTITY, INPAINTING, read_metadata, task_of
from deocclude.engines.runs.weights import load_identity_network
from deocclude.models.features import VGGFeatures
from torch import Tensor

VGG_LAYER = {"vgg16": "relu5_1", "vgg19": "relu5_1"}


@dataclass(frozen=True)
class Embedder:
    """`embed(picture (N, 3, S, S), mask (N, 1, S, S)) -> (N, D)`, and which network it is."""

    embed: Callable[[Tensor, Tensor], Tensor]
    words: str


def open_embedder(
    named: str,
    runs: Path,
    layer: str | None = None,
    weights: str = "auto",
    device: str | torch.device = "cpu",
) -> Embedder:
    """The network whose features are looked at.

    Args:
        named: auto (the newest finished run of EfficientNetB0 below `runs`), vgg16, vgg19, or an
            identity network or inpainter by its run or weights file.
        layer: of a VGG (relu5_1 by default) or of an inpainter (its deepest stage by default);
            features are averaged over positions.
        weights: of a VGG: auto, imagenet, random or a file.

    FileNotFoundError or ValueError for a network or layer that is not there.
    """
    if named in VGG_LAYER:
        return _vgg(named, layer or VGG_LAYER[named], weights, device)
    file = identity_file(named, runs)
    if file is None:
        raise FileNotFoundError(
            f"no finished run of {DEFAULT} below {runs} to embed faces; {MAKE_ONE}; "
            f"--network {', '.join(VGG_LAYER)}, a run or a weights file is another choice"
        )
    config, _ = read_metadata(file)
    if task_of(config) == INPAINTING:
        return _inpainter(file, config, layer, device)
    if task_of(config) != IDENTITY:
        raise ValueError(
            f"--network {named}: {file} was trained for {task_of(config)}; an identity network, an "
            f"inpainter, {' or '.join(VGG_LAYER)} is needed"
        )
    if layer is not None:
        raise ValueError(f"--layer {layer}: {config['name']} has one embedding only")
    network, _ = load_identity_network(file, device)
    embedding = Embedding(network, config["data"]["size"])
    words = (
        f"the embedding of {_name(config, file)}, an identity network trained at "
        f"{config['data']['size']} px on faces aligned as {config['data'].get('template', 'auto')}"
    )
    return Embedder(lambda picture, _: embedding(picture.to(device)), words)


def _name(config: dict[str, Any], file: Path) -> str:
    return f"{config['name']} ({file.parent.name})"


def _vgg(name: str, layer: str, weights: str, device: str | torch.device) -> Embedder:
    network = VGGFeatures(name, [layer], weights).to(device)

    @torch.inference_mode()
    def embed(picture: Tensor, _: Tensor) -> Tensor:
        return network(picture.to(device))[layer].mean((-2, -1))

    return Embedder(embed, f"{layer} of {name} averaged over positions; weights: {network.origin}")


def _inpainter(
    file: Path, config: dict[str, Any], layer: str | None, device: str | torch.device
) -> Embedder:
    from deocclude.engines.analysis.layers import deepest
    from deocclude.engines.photos.deoccluder import load_deoccluder

    deoccluder = load_deoccluder(file, device)
    network = deoccluder.inpainter
    names = stage_names(network) if layer is None else [layer]
    if layer is not None and layer not in dict(network.named_modules()):
        stages = ", ".join(stage_names(network))
        raise ValueError(f"--layer {layer}: {config['name']} has none; its stages: {stages}")
    layers = survey(deoccluder, config["data"]["size"], names)
    if not layers:
        raise ValueError(f"{config['name']}: no layer of {', '.join(names)} works once a pass")
    chosen = deepest(layers)

    def embed(picture: Tensor, mask: Tensor) -> Tensor:
        found: list[Tensor] = []
        with watching(network, [chosen], lambda _, given: found.append(last_tensor(given))):
            deoccluder.restore_batch(picture, mask)
        return found[0].float().flatten(2).mean(2) if found[0].ndim > 2 else found[0].float()

    words = f"{chosen} of the inpainter {_name(config, file)} averaged over positions"
    return Embedder(embed, words)
