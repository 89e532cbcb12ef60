"""Training an inpainter: the generator's step, the discriminator's step, an epoch, validation."""

import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from data.contract import check_pair, compose, hide
from data.loaders import Batch
from data.pairs import FrozenPairs
from data.transforms import to_tensor
from engines.config import LearningRate, RunConfig
from engines.inference import Deoccluder
from engines.runtime import Runtime
from losses import LossInputs, WeightedSum, discriminator_loss
from metrics.image import ImageMetrics

logger = logging.getLogger(__name__)

VALIDATION_BATCH = 16


class NonFiniteLossError(RuntimeError):
    """A loss became NaN or infinite; the message names the step and the batch."""


class Part(NamedTuple):
    """One accumulated part of a batch, on the device and in the contract's form."""

    target: Tensor
    mask: Tensor
    occluded: Tensor
    names: list[str]


@dataclass
class Trainer:
    """What one run trains with. Networks are wrapped by the runtime; `ema` is not."""

    config: RunConfig
    runtime: Runtime
    generator: nn.Module
    generator_optimizer: torch.optim.Optimizer
    loss: WeightedSum
    extractors: dict[str, nn.Module]
    ema: AveragedModel
    epoch_steps: int
    discriminator: nn.Module | None = None
    discriminator_optimizer: torch.optim.Optimizer | None = None
    step: int = 0  # optimiser steps done
    checked: bool = False  # whether a batch was held against the contract

    @property
    def epoch(self) -> float:
        """Epochs done, with their fraction."""
        return self.step / self.epoch_steps

    @property
    def total_steps(self) -> int:
        return self.config.training.epochs * self.epoch_steps

    def to_part(self, batch: Batch) -> Part:
        """uint8 of the loader to the contract's tensors on the device."""
        device, data = self.runtime.device, self.config.data
        target = batch.image.to(device, non_blocking=True).float().div_(255)
        mask = batch.mask.to(device, non_blocking=True).float()
        if self.config.training.channels_last:
            target = target.contiguous(memory_format=torch.channels_last)
        if not self.checked:
            check_pair(target, mask)
            self.checked = True
        return Part(target, mask, hide(target, mask, data.fill), batch.names)


def learning_rate_factor(step: int, total: int, rate: LearningRate) -> float:
    """Linear warm-up, then 1, or half a cosine from 1 to `floor`."""
    if step < rate.warmup_steps:
        return (step + 1) / rate.warmup_steps
    if rate.schedule == "constant":
        return 1.0
    progress = (step - rate.warmup_steps) / max(1, total - rate.warmup_steps)
    return rate.floor + (1 - rate.floor) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2


def generator_step(trainer: Trainer, parts: Sequence[Part]) -> tuple[list[Tensor], dict]:
    """One update of the generator; the discriminator is frozen and keeps its gradients.

    Returns the predictions of each part (detached) and the mean unweighted terms. With
    `as_published` the discriminator is not frozen: it collects the gradients of the generator's
    adversarial term, as the public code's did.
    """
    runtime, critic = trainer.runtime, trainer.discriminator
    published = trainer.config.as_published
    trainer.generator_optimizer.zero_grad(set_to_none=True)
    if critic is not None and published:
        trainer.discriminator_optimizer.zero_grad(set_to_none=True)
    elif critic is not None:
        critic = runtime.unwrap(critic)  # frozen: its gradient exchange must not wait for it
        critic.requires_grad_(False)
    predictions, sums = [], {}
    for index, part in enumerate(parts):
        with runtime.synchronised(trainer.generator, last=index == len(parts) - 1):
            prediction = trainer.generator(part.occluded, part.mask)
            with runtime.autocast():
                inputs = loss_inputs(trainer, critic, prediction, part)
            total, terms = trainer.loss(inputs, trainer.epoch)  # in float32: Gram sums overflow
            check_finite(trainer.step, total, part.names, terms)
            runtime.backward(total / len(parts))
        predictions.append(prediction.detach())
        for name, value in (terms | {"total": total.detach()}).items():
            sums[name] = sums.get(name, 0) + value / len(parts)
    if critic is not None and not published:
        critic.requires_grad_(True)
    limit = trainer.config.training.clip_gradients
    runtime.clip(trainer.generator, trainer.generator_optimizer, limit)
    trainer.generator_optimizer.step()
    return predictions, sums


def loss_inputs(
    trainer: Trainer, critic: nn.Module | None, prediction: Tensor, part: Part
) -> LossInputs:
    """The terms' inputs; every extractor runs once a picture, on the target without gradients."""
    with torch.no_grad():
        wanted = {name: net(part.target) for name, net in trainer.extractors.items()}
    return LossInputs(
        prediction=prediction,
        target=part.target,
        mask=part.mask,
        fake_logits=critic(prediction) if critic is not None else None,
        features={name: net(prediction) for name, net in trainer.extractors.items()},
        target_features=wanted,
    )


def discriminator_step(
    trainer: Trainer, parts: Sequence[Part], predictions: Sequence[Tensor]
) -> dict[str, Tensor]:
    """One update of the discriminator on the generator step's predictions; clears its own
    gradients.

    With `as_published` they are not cleared, so that the generator's adversarial gradient stays in.
    """
    runtime, critic = trainer.runtime, trainer.discriminator
    if not trainer.config.as_published:
        trainer.discriminator_optimizer.zero_grad(set_to_none=True)
    mean = 0.0
    for index, (part, prediction) in enumerate(zip(parts, predictions, strict=True)):
        with runtime.synchronised(critic, last=index == len(parts) - 1):
            # one pass over real and fake; the discriminators have no batch statistics
            logits = critic(torch.cat([part.target, prediction.to(part.target.dtype)]))
            real, fake = logits.chunk(2)
            total = discriminator_loss(trainer.loss.adversarial_kind, real, fake)
            check_finite(trainer.step, total, part.names, {"discriminator": total})
            runtime.backward(total / len(parts))
        mean = mean + total.detach() / len(parts)
    limit = trainer.config.training.clip_gradients
    runtime.clip(critic, trainer.discriminator_optimizer, limit)
    trainer.discriminator_optimizer.step()
    return {"discriminator": mean}


def check_finite(step: int, total: Tensor, names: list[str], terms: dict[str, Tensor]) -> None:
    """Raise NonFiniteLossError before a NaN or an infinity reaches the weights."""
    if not torch.isfinite(total):
        values = ", ".join(f"{name} {value.item():.4g}" for name, value in terms.items())
        raise NonFiniteLossError(
            f"loss is {total.item()} at step {step} ({values}); batch: {', '.join(names)}"
        )


def train_step(trainer: Trainer, parts: Sequence[Part]) -> dict[str, Tensor]:
    """One optimiser step of each network, then the EMA. Returns the unweighted terms."""
    factor = learning_rate_factor(
        trainer.step, trainer.total_steps, trainer.config.training.learning_rate
    )
    training = trainer.config.training
    for optimizer, options in (
        (trainer.generator_optimizer, training.generator),
        (trainer.discriminator_optimizer, training.discriminator),
    ):
        for group in optimizer.param_groups if optimizer is not None else ():
            group["lr"] = options.lr * factor
    predictions, terms = generator_step(trainer, parts)
    if trainer.discriminator is not None:
        terms |= discriminator_step(trainer, parts, predictions)
    trainer.ema.update_parameters(trainer.runtime.unwrap(trainer.generator))
    trainer.step += 1
    return terms


def train_one_epoch(trainer: Trainer, batches: Iterator[Batch], until_step: int, on_step) -> dict:
    """Train until `until_step` or until `on_step(terms)` answers True. Returns mean terms.

    `batches` yields the accumulated parts of each step one after another. `on_step` is called
    after every step; it logs, saves, and says when to stop.
    """
    trainer.generator.train()
    accumulate = trainer.config.training.accumulate
    sums: dict[str, Tensor] = {}
    steps, seconds = 0, time.perf_counter()
    while trainer.step < until_step:
        parts = [trainer.to_part(next(batches)) for _ in range(accumulate)]
        terms = train_step(trainer, parts)
        for name, value in terms.items():
            sums[name] = sums.get(name, 0) + value
        steps += 1
        if on_step(terms):
            break
    seconds = time.perf_counter() - seconds
    rate = steps * trainer.config.training.batch_size / seconds
    means = {name: float(trainer.runtime.mean(value / steps)) for name, value in sums.items()}
    return means | {"images_per_second": round(rate, 2)}


def validate(trainer: Trainer, pairs: FrozenPairs) -> dict[str, float]:
    """Mean metrics of the EMA weights on frozen pairs, whole image and hole, raw and composed."""
    deoccluder = released(trainer)
    metrics = ImageMetrics()
    for first in range(0, len(pairs), VALIDATION_BATCH):
        indices = range(first, min(first + VALIDATION_BATCH, len(pairs)))
        target, mask, occluded = load_pairs(pairs, indices, trainer.config.data.fill)
        prediction = deoccluder.restore_batch(occluded, mask).cpu()
        metrics.update(prediction, target, mask, list(indices))
    return metrics.compute()


def released(trainer: Trainer) -> Deoccluder:
    """The forward path of the weights that would be released now: the EMA's."""
    data = trainer.config.data
    return Deoccluder(trainer.ema.module, data.size, device=trainer.runtime.device, fill=data.fill)


def load_pairs(
    pairs: FrozenPairs, indices: Sequence[int], fill: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Target, mask and occluded image of some pairs, in the contract's form."""
    loaded = [pairs.load(i) for i in indices]
    target = torch.stack([to_tensor(image) for image, _ in loaded])
    mask = torch.stack([to_tensor(mask) for _, mask in loaded])
    check_pair(target, mask)
    return target, mask, hide(target, mask, fill)


def examples(trainer: Trainer, pairs: FrozenPairs, count: int = 6) -> list[dict[str, Tensor]]:
    """Input, mask, prediction, restored, target, each (C, H, W), of other images in each bin."""
    share = max(1, len(pairs) // count)
    indices = [len(pairs) * i // count + i % share for i in range(count)]
    target, mask, occluded = load_pairs(pairs, indices, trainer.config.data.fill)
    prediction = released(trainer).restore_batch(occluded, mask).cpu()
    restored = compose(prediction, occluded, mask)
    names = ("input", "mask", "prediction", "restored", "target")
    columns = (occluded, mask, prediction, restored, target)
    return [dict(zip(names, (c[i] for c in columns), strict=True)) for i in range(count)]
