"""Training an inpainter: the generator's step, the discriminator's step, validation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

import losses
import models
from data.contract import check_pair, compose, hide
from data.loaders import Batch
from data.pairs import FrozenPairs
from data.transforms import to_tensor
from engines.config import RunConfig
from engines.inference import Deoccluder
from engines.runtime import Runtime
from engines.trainer import BaseTrainer, create_ema, create_optimizer
from losses import LossInputs, discriminator_loss
from metrics.image import ImageMetrics
from models.features import VGGFeatures

VALIDATION_BATCH = 16


class Part(NamedTuple):
    """One accumulated part of a batch, on the device and in the contract's form."""

    target: Tensor
    mask: Tensor
    occluded: Tensor
    names: list[str]


@dataclass(kw_only=True)
class Trainer(BaseTrainer):
    """What an inpainting run trains with."""

    MONITOR: ClassVar[str] = "composed/psnr"  # the mean over frozen validation pairs

    generator: nn.Module
    generator_optimizer: torch.optim.Optimizer
    extractors: dict[str, nn.Module]
    discriminator: nn.Module | None = None
    discriminator_optimizer: torch.optim.Optimizer | None = None

    @property
    def main(self) -> nn.Module:
        return self.generator

    def trained(self) -> dict[str, nn.Module]:
        found = {"generator": self.runtime.unwrap(self.generator)}
        if self.discriminator is not None:
            found["discriminator"] = self.runtime.unwrap(self.discriminator)
        return found

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        found = {"generator": self.generator_optimizer}
        if self.discriminator_optimizer is not None:
            found["discriminator"] = self.discriminator_optimizer
        return found

    def origins(self) -> dict[str, str]:
        generator = self.runtime.unwrap(self.generator)
        found = {"generator": getattr(generator, "origin", "random initialisation")}
        return found | {name: f"losses: {net.origin}" for name, net in self.extractors.items()}

    def train_step(self, parts: Sequence[Part]) -> dict[str, Tensor]:
        return train_step(self, parts)

    def validate(self, pairs: FrozenPairs) -> dict[str, float]:
        return validate(self, pairs)

    def headline(self, scores: dict[str, float]) -> str:
        return f"PSNR {scores['composed/psnr']:.2f} dB, SSIM {scores['composed/ssim']:.3f}"

    def examples(self, pairs: FrozenPairs) -> list[dict[str, Tensor]]:
        return examples(self, pairs)

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


def build_trainer(config: RunConfig, runtime: Runtime, train_images: int) -> Trainer:
    """Networks, loss and optimizers of a configuration, on the runtime's device."""
    training = config.training
    with runtime.main_first():  # one process downloads pretrained weights
        generator = models.create_inpainter(config.model.name, **config.model_options())
        loss = losses.create_loss(config.losses)
        extractors = {
            network: VGGFeatures(network, layers, training.features_weights).to(runtime.device)
            for network, layers in loss.layers().items()
        }
    critic = None
    if config.discriminator is not None:
        critic = models.create_discriminator(
            config.discriminator.name, **config.discriminator.options
        )
    if training.channels_last:
        for network in (generator, critic, *extractors.values()):
            if network is not None:
                network.to(memory_format=torch.channels_last)
    generator = runtime.share_statistics(generator.to(runtime.device))
    ema = create_ema(generator, training.ema_decay)
    generator_optimizer = create_optimizer(training.generator, generator)
    generator, generator_optimizer = runtime.prepare(generator, generator_optimizer)
    critic_optimizer = None
    if critic is not None:
        critic.to(runtime.device)
        critic_optimizer = create_optimizer(training.discriminator, critic)
        critic, critic_optimizer = runtime.prepare(critic, critic_optimizer)
    images = training.epoch_images or train_images
    return Trainer(
        config=config,
        runtime=runtime,
        generator=generator,
        generator_optimizer=generator_optimizer,
        loss=loss,
        extractors=extractors,
        ema=ema,
        epoch_steps=max(1, images // training.batch_size),
        discriminator=critic,
        discriminator_optimizer=critic_optimizer,
    )


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
            trainer.check_finite(total, part.names, terms)
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
            trainer.check_finite(total, part.names, {"discriminator": total})
            runtime.backward(total / len(parts))
        mean = mean + total.detach() / len(parts)
    limit = trainer.config.training.clip_gradients
    runtime.clip(critic, trainer.discriminator_optimizer, limit)
    trainer.discriminator_optimizer.step()
    return {"discriminator": mean}


def train_step(trainer: Trainer, parts: Sequence[Part]) -> dict[str, Tensor]:
    """One optimiser step of each network, then the EMA. Returns the unweighted terms."""
    training = trainer.config.training
    trainer.set_rates({"generator": training.generator, "discriminator": training.discriminator})
    predictions, terms = generator_step(trainer, parts)
    if trainer.discriminator is not None:
        terms |= discriminator_step(trainer, parts, predictions)
    trainer.ema.update_parameters(trainer.runtime.unwrap(trainer.generator))
    trainer.step += 1
    return terms


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
