"""What training has in common, whatever is trained: steps, rates, EMA, an epoch."""

import abc
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from deocclude.engines.runs.runtime import Runtime
from deocclude.engines.runs.settings import AnyRun, LearningRate, Loop, Optimizer
from deocclude.engines.training.muon import Muon, matrices_of
from deocclude.losses.weighted_sum import WeightedSum

logger = logging.getLogger(__name__)


class NonFiniteLossError(FloatingPointError):
    """A loss became NaN or infinite; the message names the step and the batch."""


@dataclass
class EpochSums:
    """Terms of an epoch's steps so far, over all continuations, for their means."""

    terms: dict[str, Tensor] = field(default_factory=dict)
    steps: int = 0
    seconds: float = 0.0

    def add(self, terms: dict[str, Tensor], seconds: float) -> None:
        """One more step."""
        for name, value in terms.items():
            self.terms[name] = self.terms.get(name, 0) + value
        self.steps, self.seconds = self.steps + 1, self.seconds + seconds


@dataclass
class BaseTrainer(abc.ABC):
    """What one run trains with. Networks are wrapped by the runtime; `ema` is not.

    A subclass says how a batch becomes a part, what a step is, and how the EMA weights are
    validated and drawn.
    """

    MONITOR: ClassVar[str]  # the validation score, higher is better, that decides what is released

    config: AnyRun
    runtime: Runtime
    loss: WeightedSum
    ema: AveragedModel
    epoch_steps: int
    step: int = 0  # optimiser steps done
    checked: bool = False  # whether a batch was held against the contract
    sums: EpochSums = field(default_factory=EpochSums)

    @property
    def epoch(self) -> float:
        """Epochs done, with their fraction."""
        return self.step / self.epoch_steps

    @property
    def total_steps(self) -> int:
        return self.config.training.epochs * self.epoch_steps

    @property
    def learning_rate(self) -> float:
        """Of the main network, now."""
        return next(iter(self.optimizers().values())).param_groups[0]["lr"]

    @property
    @abc.abstractmethod
    def main(self) -> nn.Module:
        """The network that is released, wrapped by the runtime."""

    @abc.abstractmethod
    def trained(self) -> dict[str, nn.Module]:
        """The networks that train, unwrapped, by name."""

    @abc.abstractmethod
    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """By the name of the network that each one trains."""

    @abc.abstractmethod
    def origins(self) -> dict[str, str]:
        """Where the initial weights of each network came from."""

    @abc.abstractmethod
    def to_part(self, batch: Any) -> Any:
        """A batch of the loader as the contract's tensors on the device."""

    @abc.abstractmethod
    def train_step(self, parts: Sequence[Any]) -> dict[str, Tensor]:
        """One optimiser step of each network, then the EMA. Returns the unweighted terms."""

    @abc.abstractmethod
    def validate(self, pairs: Any) -> dict[str, float]:
        """Scores of the EMA weights on frozen pairs."""

    @abc.abstractmethod
    def headline(self, scores: dict[str, float]) -> str:
        """The scores that a line of progress shows."""

    @abc.abstractmethod
    def examples(self, pairs: Any) -> list[dict[str, Tensor]]:
        """Named pictures (C, H, W) of some pairs, a row a pair."""

    def released_parts(self) -> dict[str, nn.Module]:
        """What the weights file holds beside the main network, by the prefix of its tensors."""
        return {}

    def released_metadata(self, folder: Path) -> dict[str, Any]:
        """What the weights file in `folder` states beside its configuration and metrics."""
        return {}

    def picture(self, pixels: Tensor) -> Tensor:
        """uint8 of the loader as the contract has a picture, on the device."""
        image = pixels.to(self.runtime.device, non_blocking=True).float().div_(255)
        last = self.config.training.channels_last
        return image.contiguous(memory_format=torch.channels_last) if last else image

    def networks(self) -> dict[str, nn.Module]:
        """The networks of a checkpoint, unwrapped, by name."""
        return {**self.trained(), "ema": self.ema}

    def set_rates(self, options: dict[str, Optimizer]) -> None:
        """The learning rate of this step for each optimiser, by its network's name."""
        factor = learning_rate_factor(
            self.step, self.total_steps, self.config.training.learning_rate
        )
        for name, optimizer in self.optimizers().items():
            for group in optimizer.param_groups:
                group["lr"] = options[name].lr * factor

    def gather(
        self, network: nn.Module, parts: Sequence[Any], ask: Callable[[Any], Any]
    ) -> dict[str, Tensor]:
        """Add the gradients of the loss of all parts to a network's; the mean unweighted terms and
        `total`, their weighted sum. `ask`: a part -> what the loss takes."""
        sums: dict[str, Tensor] = {}
        for index, part in enumerate(parts):
            with self.runtime.synchronised(network, last=index == len(parts) - 1):
                total, terms = self.loss(ask(part), self.epoch)
                self.check_finite(total, part.names, terms)
                self.runtime.backward(total / len(parts))
            for name, value in (terms | {"total": total.detach()}).items():
                sums[name] = sums.get(name, 0) + value / len(parts)
        return sums

    def update(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """One step of the network's own optimiser, with its gradients clipped."""
        self.runtime.clip(network, optimizer, self.config.training.clip_gradients)
        optimizer.step()

    def end_step(self) -> None:
        """The averaged weights follow; one step more is done."""
        self.ema.update_parameters(self.runtime.unwrap(self.main))
        self.step += 1

    def check_finite(self, total: Tensor, names: list[str], terms: dict[str, Tensor]) -> None:
        """Raise NonFiniteLossError before a NaN or an infinity reaches the weights."""
        if not torch.isfinite(total):
            values = ", ".join(f"{name} {value.item():.4g}" for name, value in terms.items())
            raise NonFiniteLossError(
                f"loss is {total.item()} at step {self.step} ({values}); batch: {', '.join(names)}"
            )


def learning_rate_factor(step: int, total: int, rate: LearningRate) -> float:
    """Linear warm-up, then 1, or half a cosine from 1 to `floor`."""
    if step < rate.warmup_steps:
        return (step + 1) / rate.warmup_steps
    if rate.schedule == "constant":
        return 1.0
    progress = (step - rate.warmup_steps) / max(1, total - rate.warmup_steps)
    return rate.floor + (1 - rate.floor) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2


def train_one_epoch(trainer: BaseTrainer, batches: Iterator, until_step: int, on_step) -> dict:
    """Train until `until_step` or until `on_step(terms)` answers True. Returns mean terms of the
    epoch, with those of its steps before a continuation.

    `batches` yields the accumulated parts of each step one after another. `on_step` is called
    after every step; it logs, saves, and says when to stop.
    """
    trainer.main.train()
    accumulate = trainer.config.training.accumulate
    if trainer.step % trainer.epoch_steps == 0:
        trainer.sums = EpochSums()
    sums, before = trainer.sums, time.perf_counter()
    while trainer.step < until_step:
        parts = [trainer.to_part(next(batches)) for _ in range(accumulate)]
        terms = trainer.train_step(parts)
        now = time.perf_counter()
        sums.add(terms, now - before)
        stop, before = on_step(terms), now
        if stop:
            break
    rate = sums.steps * trainer.config.training.batch_size / sums.seconds
    mean = trainer.runtime.mean
    means = {name: float(mean(value / sums.steps)) for name, value in sums.terms.items()}
    return means | {"images_per_second": round(rate, 2)}


def ema_average(decay: float):
    """EMA of parameters and buffers, its decay warmed up as (1 + n) / (10 + n), integers copied."""

    @torch.no_grad()
    def average(averages: list, values: list, count: int | torch.Tensor) -> None:
        count = float(count)
        rate = 1 - min(decay, (1 + count) / (10 + count))
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, values, rate)
        else:
            torch._foreach_copy_(averages, values)

    return average


def steps_of_epoch(training: Loop, images: int) -> int:
    """Optimiser steps of an epoch of that many images, or of `epoch_images`."""
    return max(1, (training.epoch_images or images) // training.batch_size)


def spread(pairs: Sized, count: int) -> list[int]:
    """Places of `count` pairs all over a frozen list, of other images in each of its kinds."""
    share = max(1, len(pairs) // count)
    return [len(pairs) * i // count + i % share for i in range(count)]


def origin_of(network: nn.Module) -> str:
    """Where a network's initial weights came from, as it says itself."""
    return getattr(network, "origin", "random initialisation")


def prepare(
    network: nn.Module, options: Optimizer, training: Loop, runtime: Runtime
) -> tuple[nn.Module, torch.optim.Optimizer, AveragedModel]:
    """A network that is released and its optimizer, on the device and wrapped for the runtime, and
    its averaged copy."""
    if training.channels_last:
        network.to(memory_format=torch.channels_last)
    network = runtime.share_statistics(network.to(runtime.device))
    ema = create_ema(network, training.ema_decay)
    network, optimizer = runtime.prepare(network, create_optimizer(options, network))
    return network, optimizer, ema


def create_ema(network: nn.Module, decay: float) -> AveragedModel:
    """The averaged copy of a network that validation and the release use."""
    return AveragedModel(network, multi_avg_fn=ema_average(decay), use_buffers=True).requires_grad_(
        False
    )


def create_optimizer(options: Optimizer, network: nn.Module) -> torch.optim.Optimizer:
    """Adam, AdamW or Muon over the parameters that train, fused where the device allows it."""
    trainable = [p for p in network.parameters() if p.requires_grad]
    fused = {p.device.type for p in trainable} <= {"cpu", "cuda"}
    settings: dict[str, Any] = {
        "lr": options.lr,
        "betas": options.betas,
        "weight_decay": options.weight_decay,
        "fused": fused,
    }
    if options.name == "muon":
        matrices = matrices_of(network)
        known = set(matrices)
        return Muon(matrices, [p for p in trainable if p not in known], **settings)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[options.name]
    return kind(trainable, **settings)
