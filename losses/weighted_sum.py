"""A weighted sum of named terms."""

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from deocclude.losses.adversarial import Adversarial, Game
from deocclude.losses.identity import IdentityInputs
from deocclude.losses.inputs import LossInputs
from deocclude.losses.matching import FeatureMatching
from deocclude.losses.schedule import Schedule
from deocclude.losses.segmentation import SegmentationInputs
from deocclude.names import shown


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

    def games(self, discriminators: Iterable[str]) -> dict[str, Game]:
        """By discriminator, what it and the adversarial terms that listen to it agree on.

        ValueError when a term names none of them, or when two of different kinds name the same.
        """
        games: dict[str, Game] = {}
        for name, term in self.terms.items():
            if not isinstance(term, Adversarial):
                continue
            heard = self._chosen(name, term, discriminators)
            if games.setdefault(heard, term.game) != term.game:
                raise ValueError(
                    f"losses.{name}: is of {term.game.words}, another term of "
                    f"{games[heard].words} listens to {shown(heard)} too"
                )
        return games

    def matched(self, discriminators: Iterable[str]) -> list[str]:
        """The discriminators whose layers a term compares. ValueError for a term that names none
        of them."""
        found = [
            self._chosen(name, term, discriminators)
            for name, term in self.terms.items()
            if isinstance(term, FeatureMatching)
        ]
        return list(dict.fromkeys(found))

    @staticmethod
    def _chosen(
        name: str, term: Adversarial | FeatureMatching, discriminators: Iterable[str]
    ) -> str:
        try:
            return term.choose(discriminators)
        except ValueError as error:
            raise ValueError(f"losses.{name}: {error}") from error

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
