"""The steps of adversarial training: the generator's, then each discriminator's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from deocclude.data.contract import compose
from deocclude.engines.training.trainer import BaseTrainer
from deocclude.losses.adversarial import Game, discriminator_loss, gradient_penalty
from deocclude.losses.inputs import LossInputs

PENALTY_EVERY = 8  # steps, with as many times its weight (Karras et al., CVPR 2020, section 3.1)


class Part(NamedTuple):
    """One accumulated part of a batch, on the device and in the contract's form."""

    target: Tensor
    mask: Tensor
    occluded: Tensor
    names: list[str]
    features: Tensor | None = None  # (N, D), of the occluded image
    teacher: Tensor | None = None  # (N, 3, H, W), the teacher's answer


@dataclass(kw_only=True)
class GanTrainer(BaseTrainer):
    """What both steps update: discriminators and their optimizers go by name."""

    generator: nn.Module
    generator_optimizer: torch.optim.Optimizer
    extractors: dict[str, nn.Module]
    discriminators: dict[str, nn.Module] = field(default_factory=dict)
    discriminator_optimizers: dict[str, torch.optim.Optimizer] = field(default_factory=dict)

    @property
    def main(self) -> nn.Module:
        return self.generator

    def trained(self) -> dict[str, nn.Module]:
        unwrap = self.runtime.unwrap
        critics = {role(name): unwrap(critic) for name, critic in self.discriminators.items()}
        return {"generator": unwrap(self.generator), **critics}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        critics = {role(name): each for name, each in self.discriminator_optimizers.items()}
        return {"generator": self.generator_optimizer, **critics}

    def train_step(self, parts: Sequence[Part]) -> dict[str, Tensor]:
        training = self.config.training
        critics = {role(name): training.discriminator for name in self.discriminators}
        self.set_rates({"generator": training.generator, **critics})
        predictions, terms = generator_step(self, parts)
        terms |= discriminator_step(self, parts, predictions)
        self.end_step()
        return terms


def role(discriminator: str) -> str:
    """The name of a discriminator among a run's networks, optimizers and logged losses."""
    return discriminator if discriminator == "discriminator" else f"discriminator.{discriminator}"


def generator_step(trainer: GanTrainer, parts: Sequence[Part]) -> tuple[list[Tensor], dict]:
    """One update of the generator; the discriminators are frozen and keep their gradients.

    Returns what was judged of each part (detached) and the mean unweighted terms. With
    `as_published` the discriminators are not frozen: they collect the gradients of the generator's
    adversarial term, as the public code's did.
    """
    runtime, critics = trainer.runtime, trainer.discriminators
    published = trainer.config.as_published
    trainer.generator_optimizer.zero_grad(set_to_none=True)
    if published:
        for optimizer in trainer.discriminator_optimizers.values():
            optimizer.zero_grad(set_to_none=True)
    else:  # frozen: their gradient exchange must not wait for them
        critics = {name: runtime.unwrap(critic) for name, critic in critics.items()}
        for critic in critics.values():
            critic.requires_grad_(False)
    predictions = []

    def ask(part: Part) -> LossInputs:
        prediction = judged(trainer, predict(trainer.generator, part), part)
        predictions.append(prediction.detach())
        with runtime.autocast():
            return loss_inputs(trainer, critics, prediction, part)

    terms = trainer.gather(trainer.generator, parts, ask)  # losses in float32: Gram sums overflow
    if not published:
        for critic in critics.values():
            critic.requires_grad_(True)
    trainer.update(trainer.generator, trainer.generator_optimizer)
    return predictions, terms


def predict(generator: nn.Module, part: Part) -> Tensor:
    """The generator's answer, with features where it takes some."""
    if part.features is None:
        return generator(part.occluded, part.mask)
    return generator(part.occluded, part.mask, part.features)


def judged(trainer: GanTrainer, prediction: Tensor, part: Part) -> Tensor:
    """What terms and discriminators see: the prediction, or composed with the target."""
    if trainer.config.loss_on == "prediction":
        return prediction
    return compose(prediction, part.target.to(prediction.dtype), part.mask)


def loss_inputs(
    trainer: GanTrainer, critics: Mapping[str, nn.Module], prediction: Tensor, part: Part
) -> LossInputs:
    """The terms' inputs; every extractor runs once a picture, on the target without gradients."""
    smaller = nn.AvgPool2d(trainer.config.training.features_reduce)
    seen = {}
    with torch.no_grad():
        wanted = {name: net(smaller(part.target)) for name, net in trainer.extractors.items()}
        for name in trainer.loss.matched(critics):
            seen[name] = trainer.runtime.unwrap(critics[name]).seen(part.target, part.mask)
    logits = {}
    for name, critic in critics.items():
        if name in seen:
            critic = trainer.runtime.unwrap(critic)
            found = critic.seen(prediction, part.mask)
            logits[name] = critic.answer(found[-1])
            seen[name] = list(zip(found, seen[name], strict=True))
        else:
            logits[name] = critic(prediction, part.mask)
    return LossInputs(
        prediction=prediction,
        target=part.target,
        mask=part.mask,
        fake_logits=logits,
        seen=seen,
        features={name: net(smaller(prediction)) for name, net in trainer.extractors.items()},
        target_features=wanted,
        teacher=part.teacher,
    )


def discriminator_step(
    trainer: GanTrainer, parts: Sequence[Part], predictions: Sequence[Tensor]
) -> dict[str, Tensor]:
    """One update of each discriminator on what the generator step judged; clears its own
    gradients.

    With `as_published` they are not cleared, so that the generator's adversarial gradient stays in.
    """
    games = trainer.loss.games(trainer.discriminators)
    return {
        role(name): _update_discriminator(trainer, name, games[name], parts, predictions)
        for name in trainer.discriminators
    }


def _update_discriminator(
    trainer: GanTrainer, name: str, game: Game, parts: Sequence[Part], predictions: Sequence[Tensor]
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
            hole = part.mask if game.region == "hole" else None
            loss = total = discriminator_loss(game.kind, real, fake, hole)
            if game.r1 and trainer.step % PENALTY_EVERY == 0:
                plain = runtime.unwrap(critic)
                penalty = gradient_penalty(plain, part.target, part.mask, game.region)
                total = loss + PENALTY_EVERY * game.r1 * penalty
            trainer.check_finite(total, part.names, {role(name): total})
            runtime.backward(total / len(parts))
        mean = mean + loss.detach() / len(parts)
    trainer.update(critic, optimizer)
    return mean
