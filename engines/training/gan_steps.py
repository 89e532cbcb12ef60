"""The discriminators' share of a training step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from deocclude.losses import discriminator_loss
from torch import Tensor

if TYPE_CHECKING:
    from deocclude.engines.training.inpainting import Part, Trainer


def role(discriminator: str) -> str:
    """The name of a discriminator among a run's networks, optimizers and logged losses."""
    return discriminator if discriminator == "discriminator" else f"discriminator.{discriminator}"


def discriminator_step(
    trainer: Trainer, parts: Sequence[Part], predictions: Sequence[Tensor]
) -> dict[str, Tensor]:
    """One update of each discriminator on what the generator step judged; clears its own
    gradients.

    With `as_published` they are not cleared, so that the generator's adversarial gradient stays in.
    """
    kinds = trainer.loss.adversarial_kinds(trainer.discriminators)
    return {
        role(name): _update_discriminator(trainer, name, kinds[name], parts, predictions)
        for name in trainer.discriminators
    }


def _update_discriminator(
    trainer: Trainer, name: str, kind: str, parts: Sequence[Part], predictions: Sequence[Tensor]
) -> Tensor:
    runtime, critic = trainer.runtime, trainer.discriminators[name]
    optimizer = trainer.discriminator_optimizers[name]
    if not trainer.config.as_published:
        optimizer.zero_grad(set_to_none=True)
    mean = 0.0
    for index, (part, prediction) in enumerate(zip(parts, predictions, strict=True)):
        with runtime.synchronised(critic, last=index == len(parts) - 1):
            # one pass over real and fake; the discriminators have no batch statistics
            pictures = torch.cat([part.target, prediction.to(part.target.dtype)])
            real, fake = critic(pictures, part.mask.repeat(2, 1, 1, 1)).chunk(2)
            total = discriminator_loss(kind, real, fake)
            trainer.check_finite(total, part.names, {role(name): total})
            runtime.backward(total / len(parts))
        mean = mean + total.detach() / len(parts)
    runtime.clip(critic, optimizer, trainer.config.training.clip_gradients)
    optimizer.step()
    return mean
