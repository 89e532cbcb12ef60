"""Layers inside a network: which there are, and their features while it works on a batch."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

import torch
from deocclude.engines.photos.deoccluder import Deoccluder
from torch import Tensor, nn

INPUT = ":input"  # ends the name of what a layer takes, its first argument
Shape = tuple[int, ...]


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


def survey(deoccluder: Deoccluder, size: int, names: Sequence[str]) -> dict[str, Shape]:
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
    with watching(deoccluder.inpainter, names, note):
        deoccluder.restore_batch(deoccluder.show(picture, mask), mask)
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
