"""Layers inside a network: which there are, and their features while it works on a batch."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deocclude.engines.inference.networks import Inpainter, read_embedder, read_inpainter
from deocclude.engines.runs.finished import DEFAULT, MAKE_IDENTITY, identity_file, read_metadata
from deocclude.engines.runs.tasks import IDENTITY, INPAINTING, task_of
from deocclude.models.features import VGGFeatures

INPUT = ":input"  # ends the name of what a layer takes, its first argument
Shape = tuple[int, ...]

VGG_LAYER = {"vgg16": "relu5_1", "vgg19": "relu5_1"}


def stage_names(network: nn.Module) -> list[str]:
    """A network's stages: the modules that it is written in, lists opened, with the input of each
    attention."""
    children = list(network.named_children())
    if len(children) == 1 and not isinstance(children[0][1], nn.ModuleList | nn.ModuleDict):
        name, only = children[0]
        inner = stage_names(only)
        return [f"{name}.{each}" for each in inner] if inner else [name]
    names = []
    for name, child in children:
        opened = isinstance(child, nn.ModuleList | nn.ModuleDict)
        found = [(f"{name}.{n}", m) for n, m in child.named_children()] if opened else []
        for each, module in found or [(name, child)]:
            ours = type(module).__module__.startswith("models.")
            if ours or next(module.parameters(), None) is not None:
                names += [each + INPUT] if each == "attention" else []
                names.append(each)
    return names


def matching_names(network: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Modules at any depth whose names match one of `patterns` (*, ?); inputs end with :input."""
    names = [name for name, _ in network.named_modules() if name]
    every = [each for name in names for each in (name + INPUT, name)]
    return [name for name in every if any(fnmatchcase(name, p) for p in patterns)]


@contextmanager
def watching(
    network: nn.Module, names: Sequence[str], take: Callable[[str, Any], None]
) -> Iterator[None]:
    """Inside the block, `take(name, features)` is called whenever one of the layers has worked."""
    modules = dict(network.named_modules())
    hooks = []
    for name in names:
        module = modules[name.removesuffix(INPUT)]
        if name.endswith(INPUT):
            hook = module.register_forward_pre_hook(
                lambda _, given, name=name: take(name, given[0] if given else None)
            )
        else:
            hook = module.register_forward_hook(lambda _, __, output, name=name: take(name, output))
        hooks.append(hook)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def survey(inpainter: Inpainter, size: int, names: Sequence[str]) -> dict[str, Shape]:
    """Shapes (C, h, w) of those layers that work once a pass on a batch of tensors, in the order in
    which they work, for pictures of side `size`."""
    shapes: dict[str, Shape] = {}
    calls: dict[str, int] = {}

    def note(name: str, features: Any) -> None:
        calls[name] = calls.get(name, 0) + 1
        if (tensor := last_tensor(features)) is not None and len(tensor) == 2:
            shapes[name] = tuple(tensor.shape[1:])

    picture, mask = torch.full((2, 3, size, size), 0.5), torch.zeros(2, 1, size, size)
    mask[..., : size // 2] = 1
    with watching(inpainter.network, names, note):
        inpainter.restore(inpainter.show(picture, mask), mask)
    return {name: shape for name, shape in shapes.items() if calls[name] == 1}


def last_tensor(features: Any) -> Tensor | None:
    """A layer's features; of several maps the last one, which is the deepest."""
    while isinstance(features, list | tuple) and features:
        features = features[-1]
    return features if isinstance(features, Tensor) and features.ndim > 1 else None


def deepest(shapes: dict[str, Shape]) -> str:
    """The last layer of those whose maps are smallest; without any maps, the last layer."""
    areas = {name: shape[1] * shape[2] for name, shape in shapes.items() if len(shape) == 3}
    areas = areas or dict.fromkeys(shapes, 0)
    return [name for name, area in areas.items() if area == min(areas.values())][-1]


@dataclass(frozen=True)
class FeatureExtractor:
    """`embed(picture (N, 3, S, S), mask (N, 1, S, S)) -> (N, D)`, and which network it is."""

    embed: Callable[[Tensor, Tensor], Tensor]
    words: str


def open_extractor(
    named: str,
    runs: Path,
    layer: str | None = None,
    weights: str = "auto",
    device: str | torch.device = "cpu",
) -> FeatureExtractor:
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
            f"no finished run of {DEFAULT} below {runs} to embed faces; {MAKE_IDENTITY}; "
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
    embedder = read_embedder(file, device)
    words = (
        f"the embedding of {_name(config, file)}, an identity network trained at "
        f"{embedder.size} px on faces aligned as {config['data'].get('template', 'auto')}"
    )
    return FeatureExtractor(lambda picture, _: embedder.embed(picture), words)


def _name(config: dict[str, Any], file: Path) -> str:
    return f"{config['name']} ({file.parent.name})"


def _vgg(name: str, layer: str, weights: str, device: str | torch.device) -> FeatureExtractor:
    network = VGGFeatures(name, [layer], weights).to(device)

    @torch.inference_mode()
    def embed(picture: Tensor, _: Tensor) -> Tensor:
        return network(picture.to(device))[layer].mean((-2, -1))

    return FeatureExtractor(
        embed, f"{layer} of {name} averaged over positions; weights: {network.origin}"
    )


def _inpainter(
    file: Path, config: dict[str, Any], layer: str | None, device: str | torch.device
) -> FeatureExtractor:
    inpainter = read_inpainter(file, device)
    network = inpainter.network
    names = stage_names(network) if layer is None else [layer]
    if layer is not None and layer not in dict(network.named_modules()):
        stages = ", ".join(stage_names(network))
        raise ValueError(f"--layer {layer}: {config['name']} has none; its stages: {stages}")
    layers = survey(inpainter, inpainter.size, names)
    if not layers:
        raise ValueError(f"{config['name']}: no layer of {', '.join(names)} works once a pass")
    chosen = deepest(layers)

    def embed(picture: Tensor, mask: Tensor) -> Tensor:
        found: list[Tensor] = []
        with watching(network, [chosen], lambda _, given: found.append(last_tensor(given))):
            inpainter.restore(picture, mask)
        return found[0].float().flatten(2).mean(2) if found[0].ndim > 2 else found[0].float()

    words = f"{chosen} of the inpainter {_name(config, file)} averaged over positions"
    return FeatureExtractor(embed, words)
