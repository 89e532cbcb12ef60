"""Networks by name. A new system is a file in this package and a line in one of these tables."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from models.discriminators import SeparablePatchDiscriminator
from models.ifacenet import IFACENET

INPAINTERS: dict[str, Callable[..., nn.Module]] = {"ifacenet": IFACENET}
DISCRIMINATORS: dict[str, Callable[..., nn.Module]] = {
    "separable_patch": SeparablePatchDiscriminator
}


def check_options(table: Mapping[str, Callable], kind: str, name: str, options: Mapping) -> None:
    """Raise ValueError when `name` is not in `table` or does not take one of `options`."""
    if name not in table:
        raise ValueError(f"{kind} {name!r} is not known; valid are {', '.join(sorted(table))}")
    valid = list(inspect.signature(table[name]).parameters)
    unknown = [key for key in options if key not in valid]
    if unknown:
        raise ValueError(
            f"{kind} {name!r} has no option {', '.join(map(repr, unknown))}; "
            f"valid are {', '.join(valid) or 'none'}"
        )


def create_inpainter(name: str, **options: Any) -> nn.Module:
    """A network `model(occluded, mask, features=None) -> prediction`, or ValueError."""
    check_options(INPAINTERS, "inpainter", name, options)
    return INPAINTERS[name](**options)


def create_discriminator(name: str, **options: Any) -> nn.Module:
    """A network `model(image) -> logits`. ValueError lists valid names."""
    check_options(DISCRIMINATORS, "discriminator", name, options)
    return DISCRIMINATORS[name](**options)
