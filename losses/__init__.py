"""A weighted sum of named terms. A new term is a class here and a line in a table."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, cast

import torch
from torch import Tensor, nn

from deocclude.losses.adversarial import Adversarial, discriminator_loss
from deocclude.losses.edges import Edge
from deocclude.losses.identity import CrossEntropy, IdentityInputs
from deocclude.losses.imitation import Imitation
from deocclude.losses.inputs import LossInputs
from deocclude.losses.perceptual import Perceptual, Style
from deocclude.losses.pixel import L1, L2, HoleL1, TotalVariation
from deocclude.losses.schedule import Schedule
from deocclude.losses.segmentation import (
    BinaryCrossEntropy,
    Dice,
    Focal,
    LovaszHinge,
    SegmentationInputs,
)
from deocclude.losses.structural import SSIMLoss

__all__ = [
    "IDENTITY_TERMS",
    "SEGMENTATION_TERMS",
    "TERMS",
    "IdentityInputs",
    "LossInputs",
    "Schedule",
    "SegmentationInputs",
    "WeightedSum",
    "create_loss",
    "discriminator_loss",
]

TERMS: dict[str, Callable[..., nn.Module]] = {
    "l1": L1,
    "hole_l1": HoleL1,
    "l2": L2,
    "perceptual": Perceptual,
    "style": Style,
    "tv": TotalVariation,
    "ssim": SSIMLoss,
    "edge": Edge,
    "adversarial": Adversarial,
    "imitation": Imitation,
}
SEGMENTATION_TERMS: dict[str, Callable[..., nn.Module]] = {
    "bce": BinaryCrossEntropy,
    "dice": Dice,
    "lovasz": LovaszHinge,
    "focal": Focal,
}
IDENTITY_TERMS: dict[str, Callable[..., nn.Module]] = {"cross_entropy": CrossEntropy}


class WeightedSum(nn.Module):
    """sum_k w_k(epoch) * term_k, every term by its name.

    Args:
        terms: name -> (weight, term).
        epochs: of the whole run, for schedules in shares of it.
    """

    def __init__(
        self, terms: Mapping[str, tuple[Schedule, nn.Module]], epochs: float = 1.0
    ) -> None:
        super().__init__()
        if not terms:
            raise ValueError("a loss needs at least one term")
        self._names = tuple(terms)
        self._terms = nn.ModuleList(term for _, term in terms.values())  # any name will do
        self.schedules = {name: weight.over(epochs) for name, (weight, _) in terms.items()}

    @property
    def terms(self) -> dict[str, nn.Module]:
        """Every term by its name."""
        return dict(zip(self._names, self._terms, strict=True))

    def weights(self, epoch: float) -> dict[str, float]:
        """The weight of every term at this (fractional) epoch."""
        return {name: schedule(epoch) for name, schedule in self.schedules.items()}

    def layers(self) -> dict[str, list[str]]:
        """Feature layers that the terms need: {network: [layers]}."""
        needed: dict[str, list[str]] = {}
        for term in self.terms.values():
            if hasattr(term, "layers"):
                known = needed.setdefault(cast(str, term.network), [])
                layers = cast(Sequence[str], term.layers)
                known += [layer for layer in layers if layer not in known]
        return needed

    def taught(self) -> list[str]:
        """The terms that need a teacher's answer."""
        return [name for name, t in self.terms.items() if getattr(t, "needs_teacher", False)]

    def adversarial_kinds(self, discriminators: Iterable[str]) -> dict[str, str]:
        """The kind of the adversarial term that listens to each of these discriminators.

        ValueError when a term names none of them, or when two of different kinds name the same.
        """
        kinds: dict[str, str] = {}
        for name, term in self.terms.items():
            if not isinstance(term, Adversarial):
                continue
            try:
                heard = term.choose(discriminators)
            except ValueError as error:
                raise ValueError(f"losses.{name}: {error}") from error
            if kinds.setdefault(heard, term.kind) != term.kind:
                raise ValueError(
                    f"losses.{name}: is of kind {term.kind}, another term of kind {kinds[heard]} "
                    f"listens to {heard!r} too"
                )
        return kinds

    def forward(
        self, inputs: LossInputs | SegmentationInputs | IdentityInputs, epoch: float = 0.0
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The total (a scalar with gradient) and the unweighted terms (detached).

        A term whose weight is 0 now is measured all the same, so that its curve has no gap.
        """
        weights = self.weights(epoch)
        if not any(weights.values()):
            raise ValueError(f"every loss weight is 0 at epoch {epoch:g}: {weights}")
        values = {}
        for name, term in self.terms.items():
            with torch.set_grad_enabled(torch.is_grad_enabled() and weights[name] > 0):
                values[name] = term(inputs)
        total = torch.stack([weights[name] * values[name] for name in values if weights[name]])
        return total.sum(), {name: value.detach() for name, value in values.items()}


def create_loss(
    terms: Mapping[str, Mapping[str, Any]],
    kinds: Mapping[str, Callable[..., nn.Module]] = TERMS,
    epochs: float = 1.0,
) -> WeightedSum:
    """Build a loss from {name: {"weight": number or schedule, **options}}.

    `term: <name>` inside the options lets a term appear twice under different names. `kinds` are
    the terms to choose from: TERMS for inpainting, SEGMENTATION_TERMS or IDENTITY_TERMS. `epochs`:
    of the whole run, for schedules in shares of it. ValueError lists valid terms and options.
    """
    built = {}
    for name, options in terms.items():
        options = dict(options)
        weight = options.pop("weight")
        kind = options.pop("term", name)
        if kind not in kinds:
            raise ValueError(f"loss term {kind!r} is not known; valid are {', '.join(kinds)}")
        valid = [
            p for p in inspect.signature(kinds[kind]).parameters if p not in ("args", "kwargs")
        ]
        unknown = [key for key in options if key not in valid]
        if unknown:
            raise ValueError(
                f"loss term {name!r} has no option {', '.join(map(repr, unknown))}; "
                f"valid are {', '.join(['weight', 'term', *valid])}"
            )
        built[name] = (_as_schedule(name, weight), kinds[kind](**options))
    return WeightedSum(built, epochs)


def _as_schedule(name: str, weight: Any) -> Schedule:
    wanted = "a number or a schedule with start, end and optionally begin, warmup, shape, unit"
    wrong = f"loss term {name!r}: weight {weight!r} must be {wanted}"
    if isinstance(weight, bool):
        raise ValueError(wrong)
    try:
        return Schedule(**weight) if isinstance(weight, Mapping) else Schedule(weight, weight)
    except TypeError as error:
        unknown = (
            set(weight) - {f.name for f in fields(Schedule)} if isinstance(weight, Mapping) else ()
        )
        raise ValueError(
            wrong + "".join(f"; {key!r} is none of them" for key in unknown)
        ) from error
