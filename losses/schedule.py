"""Weights that change over a run."""

import math
from dataclasses import dataclass

SHAPES = ("linear", "cosine", "step")


@dataclass(frozen=True)
class Schedule:
    """A weight that goes from `start` to `end`.

    It stays at `start` until epoch `begin`, reaches `end` `warmup` epochs later and stays there.
    Epochs are counted from 0 and may be fractions. Shapes: linear, cosine (half a period), step
    (jumps at begin + warmup).
    """

    start: float
    end: float
    begin: float = 0.0
    warmup: float = 0.0
    shape: str = "linear"

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise ValueError(f"schedule shape {self.shape!r} is not one of {', '.join(SHAPES)}")
        if min(self.start, self.end, self.begin, self.warmup) < 0:
            raise ValueError(f"schedule {self}: start, end, begin and warmup must be >= 0")

    def __call__(self, epoch: float) -> float:
        """The weight at this (fractional) epoch."""
        progress = (epoch - self.begin) / self.warmup if self.warmup else float(epoch >= self.begin)
        progress = min(max(progress, 0.0), 1.0)
        if self.shape == "cosine":
            progress = (1 - math.cos(math.pi * progress)) / 2
        elif self.shape == "step":
            progress = float(progress >= 1)
        return self.start + (self.end - self.start) * progress
