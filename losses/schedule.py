"""Weights that change over a run."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from deocclude.names import shown

SHAPES = ("linear", "cosine", "step")
UNITS = ("epochs", "share")


@dataclass(frozen=True)
class Schedule:
    """A weight that goes from `start` to `end`.

    It stays at `start` until epoch `begin`, reaches `end` `warmup` epochs later and stays there.
    Epochs are counted from 0 and may be fractions. Shapes: linear, cosine (half a period), step
    (jumps at begin + warmup). With `unit` share, begin and warmup are shares of the whole run, so
    that a short run goes through the same schedule; `over` makes epochs of them.
    """

    start: float
    end: float
    begin: float = 0.0
    warmup: float = 0.0
    shape: str = "linear"
    unit: str = "epochs"

    @property
    def words(self) -> str:
        """As a run's file says it, for an error."""
        return shown(asdict(self))

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise ValueError(
                f"schedule shape {shown(self.shape)} is not one of {', '.join(SHAPES)}"
            )
        if self.unit not in UNITS:
            raise ValueError(f"schedule unit {shown(self.unit)} is not one of {', '.join(UNITS)}")
        if self.unit == "share" and self.begin + self.warmup > 1:
            raise ValueError(
                f"schedule {self.words}: begin + warmup is beyond the end of the run, 1"
            )
        numbers = (self.start, self.end, self.begin, self.warmup)
        if not all(0 <= number < math.inf for number in numbers):
            raise ValueError(
                f"schedule {self.words}: start, end, begin and warmup must be >= 0 and finite"
            )

    def over(self, epochs: float) -> "Schedule":
        """The same schedule in epochs, for a run of this many."""
        if self.unit == "epochs":
            return self
        begin, warmup = self.begin * epochs, self.warmup * epochs
        return replace(self, begin=begin, warmup=warmup, unit="epochs")

    @property
    def constant(self) -> bool:
        """Whether the weight never changes."""
        return self.start == self.end

    def __call__(self, epoch: float) -> float:
        """The weight at this (fractional) epoch. ValueError for shares of a run: see `over`."""
        if self.unit == "share" and not self.constant:
            raise ValueError(
                f"schedule {self.words}: is in shares of a run; call over(epochs) first"
            )
        progress = (epoch - self.begin) / self.warmup if self.warmup else float(epoch >= self.begin)
        progress = min(max(progress, 0.0), 1.0)
        if self.shape == "cosine":
            progress = (1 - math.cos(math.pi * progress)) / 2
        elif self.shape == "step":
            progress = float(progress >= 1)
        return self.start + (self.end - self.start) * progress


def as_schedule(name: str, weight: Any) -> Schedule:
    """The schedule that the weight of a loss term `name` means. ValueError says what it must be."""
    wanted = "a number or a schedule with start, end and optionally begin, warmup, shape, unit"
    wrong = f"loss term {shown(name)}: weight {shown(weight)} must be {wanted}"
    if isinstance(weight, bool):
        raise ValueError(wrong)
    try:
        return Schedule(**weight) if isinstance(weight, Mapping) else Schedule(weight, weight)
    except TypeError as error:
        unknown = (
            set(weight) - {f.name for f in fields(Schedule)} if isinstance(weight, Mapping) else ()
        )
        raise ValueError(
            wrong + "".join(f"; {shown(key)} is none of them" for key in unknown)
        ) from error
