"""Networks by name. A new system is a file in this package and a line in one of these tables."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from deocclude.models.attention_gan import AttentionGAN
from deocclude.models.discriminators import (
    GlobalDiscriminator,
    PatchDiscriminator,
    SeparablePatchDiscriminator,
)
from deocclude.models.ensemble import Ensemble
from deocclude.models.facial_deocclusion import FacialDeocclusion
from deocclude.models.identity import IdentityNet
from deocclude.models.ifacenet import IFACENET
from deocclude.models.occlufix import Occlufix
from deocclude.models.smp import SMPSegmenter
from deocclude.models.soclnet import SOCLNET
from deocclude.models.student import Student
from deocclude.models.unet import UNet
from deocclude.models.vgg19_generator import VGG19Generator

INPAINTERS: dict[str, Callable[..., nn.Module]] = {
    "ifacenet": IFACENET,
    "attention_gan": AttentionGAN,
    "occlufix": Occlufix,
    "vgg19_generator": VGG19Generator,
    "facial_deocclusion": FacialDeocclusion,
    "ensemble": Ensemble,
    "student": Student,
}
SEGMENTERS: dict[str, Callable[..., nn.Module]] = {
    "soclnet": SOCLNET,
    "unet": UNet,
    "smp": SMPSegmenter,
}
DISCRIMINATORS: dict[str, Callable[..., nn.Module]] = {
    "separable_patch": SeparablePatchDiscriminator,
    "patch": PatchDiscriminator,
    "global": GlobalDiscriminator,
}
IDENTITY_NETWORKS: dict[str, Callable[..., nn.Module]] = {"efficientnet_b0": IdentityNet}


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


def takes_option(task: str, name: str, option: str) -> bool:
    """Whether a task's network of this name is known and has this option."""
    table = {
        "inpainting": INPAINTERS, "segmentation": SEGMENTERS, "identity": IDENTITY_NETWORKS
    }[task]  # fmt: skip
    return name in table and option in inspect.signature(table[name]).parameters


def create_inpainter(name: str, **options: Any) -> nn.Module:
    """A network `model(occluded, mask, features=None) -> prediction`, or ValueError."""
    check_options(INPAINTERS, "inpainter", name, options)
    return INPAINTERS[name](**options)


def create_segmenter(name: str, **options: Any) -> nn.Module:
    """A network `model(occluded) -> logits` (N, 1, H, W). ValueError lists valid names."""
    check_options(SEGMENTERS, "segmenter", name, options)
    return SEGMENTERS[name](**options)


def create_discriminator(name: str, **options: Any) -> nn.Module:
    """A network `model(image, mask=None) -> logits`. ValueError lists valid names."""
    check_options(DISCRIMINATORS, "discriminator", name, options)
    return DISCRIMINATORS[name](**options)


def create_identity_network(name: str, **options: Any) -> nn.Module:
    """A network `model(image) -> logits` (N, classes) with `embed`. ValueError lists valid names.

    It takes `classes`, a number of identities.
    """
    check_options(IDENTITY_NETWORKS, "identity network", name, options)
    return IDENTITY_NETWORKS[name](**options)
