"""Networks by name. A new system is a file in this package and a line in one of these tables.

A line says where the network's class is; it is imported when the network is first asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deocclude.names import Registry, did_you_mean, shown

if TYPE_CHECKING:
    from torch import nn

INPAINTERS = Registry(
    {
        "ifacenet": "deocclude.models.ifacenet:IFACENET",
        "attention_gan": "deocclude.models.attention_gan:AttentionGAN",
        "occlufix": "deocclude.models.occlufix:Occlufix",
        "vgg19_generator": "deocclude.models.vgg19_generator:VGG19Generator",
        "facial_deocclusion": "deocclude.models.facial_deocclusion:FacialDeocclusion",
        "ensemble": "deocclude.models.ensemble:Ensemble",
        "student": "deocclude.models.student:Student",
        "coarse_to_fine": "deocclude.models.coarse_to_fine:CoarseToFine",
    }
)
SEGMENTERS = Registry(
    {
        "soclnet": "deocclude.models.soclnet:SOCLNET",
        "unet": "deocclude.models.unet:UNet",
        "smp": "deocclude.models.smp:SMPSegmenter",
    }
)
DISCRIMINATORS = Registry(
    {
        "separable_patch": "deocclude.models.discriminators:SeparablePatchDiscriminator",
        "patch": "deocclude.models.discriminators:PatchDiscriminator",
        "global": "deocclude.models.discriminators:GlobalDiscriminator",
    }
)
# What layers raise for options of the wrong kind or size.
WRONG_OPTIONS = (TypeError, RuntimeError, ArithmeticError, LookupError, AttributeError, MemoryError)
IDENTITY_NETWORKS = Registry({"efficientnet_b0": "deocclude.models.identity:IdentityNet"})


def check_name(table: Mapping, kind: str, name: str) -> None:
    """Raise ValueError when `name` is not in `table`; it lists those that are. Imports nothing."""
    if name not in table:
        raise ValueError(
            f"{kind} {shown(name)} is not known; valid are {', '.join(sorted(table))}"
            + did_you_mean(name, table)
        )


def check_options(table: Registry, kind: str, name: str, options: Mapping) -> None:
    """Raise ValueError when `name` is not in `table` or does not take one of `options`. Imports
    nothing where the source tells which there are."""
    check_name(table, kind, name)
    valid = table.parameters(name)
    unknown = [key for key in options if key not in valid]
    if unknown:
        raise ValueError(
            f"{kind} {shown(name)} has no option {', '.join(map(repr, unknown))}; "
            f"valid are {', '.join(valid) or 'none'}" + did_you_mean(unknown[0], valid)
        )


def takes_option(table: Registry, name: str, option: str) -> bool:
    """Whether `table` has a network of this name that has this option."""
    return name in table and option in table.parameters(name)


def create_inpainter(name: str, **options: Any) -> nn.Module:
    """A network `model(occluded, mask, features=None) -> prediction`, or ValueError."""
    return create_network(INPAINTERS, "inpainter", name, options)


def create_segmenter(name: str, **options: Any) -> nn.Module:
    """A network `model(occluded) -> logits` (N, 1, H, W). ValueError lists valid names."""
    return create_network(SEGMENTERS, "segmenter", name, options)


def create_discriminator(name: str, **options: Any) -> nn.Module:
    """A network `model(image, mask=None) -> logits`. ValueError lists valid names."""
    return create_network(DISCRIMINATORS, "discriminator", name, options)


def create_identity_network(name: str, **options: Any) -> nn.Module:
    """A network `model(image) -> logits` (N, classes) with `embed`. ValueError lists valid names.

    It takes `classes`, a number of identities.
    """
    return create_network(IDENTITY_NETWORKS, "identity network", name, options)


def create_network(table: Registry, kind: str, name: str, options: Mapping[str, Any]) -> nn.Module:
    """A network of any table. ValueError as of `check_options`, and, with the options, where these
    are of a kind or size that no layer can have."""
    check_options(table, kind, name, options)
    try:
        return table[name](**options)
    except WRONG_OPTIONS as error:
        short = str(error).partition("\n")[0]
        raise ValueError(
            f"{kind} {shown(name)} cannot be made with {shown(options)}: {short}"
        ) from error
