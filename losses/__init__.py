"""Loss terms by name. A new term is a class in a file of this package and a line in a table.

A line says where the term's class is; it is imported when the term is first asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deocclude.losses.schedule import Schedule, as_schedule
from deocclude.names import Registry, did_you_mean, shown

if TYPE_CHECKING:
    from deocclude.losses.weighted_sum import WeightedSum

TERMS = Registry(
    {
        "l1": "deocclude.losses.pixel:L1",
        "hole_l1": "deocclude.losses.pixel:HoleL1",
        "l2": "deocclude.losses.pixel:L2",
        "perceptual": "deocclude.losses.perceptual:Perceptual",
        "style": "deocclude.losses.perceptual:Style",
        "tv": "deocclude.losses.pixel:TotalVariation",
        "ssim": "deocclude.losses.structural:SSIMLoss",
        "edge": "deocclude.losses.edges:Edge",
        "adversarial": "deocclude.losses.adversarial:Adversarial",
        "feature_matching": "deocclude.losses.matching:FeatureMatching",
        "imitation": "deocclude.losses.imitation:Imitation",
    }
)
SEGMENTATION_TERMS = Registry(
    {
        "bce": "deocclude.losses.segmentation:BinaryCrossEntropy",
        "dice": "deocclude.losses.segmentation:Dice",
        "lovasz": "deocclude.losses.segmentation:LovaszHinge",
        "focal": "deocclude.losses.segmentation:Focal",
    }
)
IDENTITY_TERMS = Registry({"cross_entropy": "deocclude.losses.identity:CrossEntropy"})


def read_term(
    name: str, options: Mapping[str, Any], kinds: Registry = TERMS
) -> tuple[str, Schedule, dict[str, Any]]:
    """The kind, the weight and the options of its own that a term called `name` states.

    ValueError lists the valid kinds or options, or says what a weight must be. Imports no term.
    """
    own = dict(options)
    weight = as_schedule(name, own.pop("weight"))
    kind = own.pop("term", name)
    if not isinstance(kind, str) or kind not in kinds:
        raise ValueError(
            f"loss term {shown(kind)} is not known; valid are {', '.join(kinds)}"
            + did_you_mean(str(kind), kinds)
        )
    valid = [each for each in kinds.parameters(kind) if each not in ("args", "kwargs")]
    valid = ["weight", "term", *valid]
    if unknown := [key for key in own if key not in valid]:
        raise ValueError(
            f"loss term {shown(name)} has no option {', '.join(map(shown, unknown))}; "
            f"valid are {', '.join(valid)}" + did_you_mean(str(unknown[0]), valid)
        )
    return kind, weight, own


def create_loss(
    terms: Mapping[str, Mapping[str, Any]], kinds: Registry = TERMS, epochs: float = 1.0
) -> WeightedSum:
    """Build a loss from {name: {"weight": number or schedule, **options}}.

    `term: <name>` inside the options lets a term appear twice under different names. `kinds` are
    the terms to choose from: TERMS for inpainting, SEGMENTATION_TERMS or IDENTITY_TERMS. `epochs`:
    of the whole run, for schedules in shares of it. ValueError lists valid terms and options.
    """
    from deocclude.losses.weighted_sum import WeightedSum

    built = {}
    for name, content in terms.items():
        kind, weight, options = read_term(name, content, kinds)
        built[name] = (weight, kinds[kind](**options))
    return WeightedSum(built, epochs)
