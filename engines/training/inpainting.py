"""Training an inpainter: the generator's step, the discriminators' steps, validation."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from deocclude import losses, models
from deocclude.data.contract import check_pair, compose, hide
from deocclude.data.pairs.frozen import FrozenList
from deocclude.data.pairs.tensors import load_pairs
from deocclude.data.pairs.training import Batch
from deocclude.engines.inference.networks import Inpainter, evaluating
from deocclude.engines.runs.config import RunConfig
from deocclude.engines.runs.recipes import MemberFile, pointer_records
from deocclude.engines.runs.runtime import Runtime
from deocclude.engines.training.features import features_for, released_as
from deocclude.engines.training.gan_steps import (
    GanTrainer,
    Part,
    discriminator_step,
    generator_step,
    judged,
    loss_inputs,
    role,
)
from deocclude.engines.training.initial_weights import start_from
from deocclude.engines.training.members import members_for, released_weights
from deocclude.engines.training.teacher import open_teacher
from deocclude.engines.training.trainer import create_ema, create_optimizer
from deocclude.metrics.image import ImageMetrics
from deocclude.models.features import create_features

VALIDATION_BATCH = 16


@dataclass(kw_only=True)
class Trainer(GanTrainer):
    """What an inpainting run trains with. Discriminators and their optimizers go by name."""

    MONITOR: ClassVar[str] = "composed/psnr"  # the mean over frozen validation pairs

    features: nn.Module | None = None  # frozen, not wrapped
    teacher: Inpainter | None = None  # frozen, in no checkpoint
    members: tuple[MemberFile, ...] = ()  # of an ensemble whose gate trains
    sources: dict[str, str] = field(default_factory=dict)  # of initial weights, for the record

    @property
    def main(self) -> nn.Module:
        return self.generator

    def trained(self) -> dict[str, nn.Module]:
        unwrap = self.runtime.unwrap
        critics = {role(name): unwrap(critic) for name, critic in self.discriminators.items()}
        return {"generator": unwrap(self.generator), **critics}

    def networks(self) -> dict[str, nn.Module]:
        fixed = {} if self.features is None else {"features": self.features}
        return super().networks() | fixed

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        critics = {role(name): each for name, each in self.discriminator_optimizers.items()}
        return {"generator": self.generator_optimizer, **critics}

    def origins(self) -> dict[str, str]:
        generator = self.runtime.unwrap(self.generator)
        found = {"generator": getattr(generator, "origin", "random initialisation")}
        found |= {name: f"losses: {net.origin}" for name, net in self.extractors.items()}
        return found | self.sources

    def train_step(self, parts: Sequence[Part]) -> dict[str, Tensor]:
        return train_step(self, parts)

    def validate(self, pairs: FrozenList) -> dict[str, float]:
        return validate(self, pairs)

    def headline(self, scores: dict[str, float]) -> str:
        return f"PSNR {scores['composed/psnr']:.2f} dB, SSIM {scores['composed/ssim']:.3f}"

    def examples(self, pairs: FrozenList) -> list[dict[str, Tensor]]:
        return examples(self, pairs)

    def released_parts(self) -> dict[str, nn.Module]:
        return {} if self.features is None else {"features": self.features}

    def released_config(self) -> dict[str, Any]:
        config, features = super().released_config(), self.config.features
        if features is not None:
            config["features"] |= {"weights": released_as(features)}
        return config | released_weights(self.config)

    def released_metadata(self, folder: Path) -> dict[str, Any]:
        return {"members": pointer_records(self.members, folder)} if self.members else {}

    def embed(self, occluded: Tensor) -> Tensor | None:
        """(N, 3, H, W) -> (N, D), the features that the generator is given; None if it takes
        none."""
        if self.features is None:
            return None
        with torch.no_grad(), self.runtime.autocast():
            return self.features.embed(occluded).float()

    def teach(self, occluded: Tensor, mask: Tensor) -> Tensor | None:
        """(N, 3, H, W), (N, 1, H, W) -> (N, 3, H, W), the teacher's answer to the same hole at the
        grey level it was trained with; None without one."""
        if self.teacher is None:
            return None
        with self.runtime.autocast():
            answer = self.teacher.restore(self.teacher.show(occluded, mask), mask)
        return answer.clone()  # of inference mode: for backward

    def to_part(self, batch: Batch) -> Part:
        """uint8 of the loader to the contract's tensors on the device."""
        device, data = self.runtime.device, self.config.data
        layout = torch.channels_last if self.config.training.channels_last else None

        def picture(pixels: Tensor) -> Tensor:
            image = pixels.to(device, non_blocking=True).float().div_(255)
            return image if layout is None else image.contiguous(memory_format=layout)

        target = picture(batch.image)
        mask = batch.mask.to(device, non_blocking=True).float()
        if not self.checked:
            check_pair(target, mask)
            self.checked = True
        seen = target if batch.occluded is None else picture(batch.occluded)
        occluded = seen if data.hidden_by == "occluders" else hide(seen, mask, data.fill)
        taught = self.teach(occluded, mask)
        return Part(target, mask, occluded, batch.names, self.embed(occluded), taught)


def build_trainer(
    config: RunConfig, runtime: Runtime, train_images: int, runs: Path | None = None
) -> Trainer:
    """Networks, loss and optimizers of a configuration, on the runtime's device.

    `runs`: where the run that `init_from` names lies; None for a run that continues, whose weights
    come from its checkpoint.
    """
    training = config.training
    with runtime.main_first():  # one process downloads pretrained weights
        generator = models.create_inpainter(config.model.name, **config.model_options())
        loss = losses.create_loss(config.loss_terms(), epochs=training.epochs)
        extractors = {
            network: create_features(network, layers, training.features_weights).to(runtime.device)
            for network, layers in loss.layers().items()
        }
    features, sources = features_for(generator, config.features, continued=runs is None)
    members, origins = members_for(generator, config, runtime.device)
    teacher, told = open_teacher(config, runtime.device)
    sources |= origins | told
    if config.init_from is not None and runs is not None:
        started = start_from(generator, config.init_from, runs)
        sources["init_from"] = "; ".join(each.words() for each in started)
    critics = {
        name: models.create_discriminator(each.name, **each.options)
        for name, each in config.discriminators.items()
    }
    if training.channels_last:
        for network in (generator, *critics.values(), *extractors.values()):
            network.to(memory_format=torch.channels_last)
    generator = runtime.share_statistics(generator.to(runtime.device))
    ema = create_ema(generator, training.ema_decay)
    generator_optimizer = create_optimizer(training.generator, generator)
    generator, generator_optimizer = runtime.prepare(generator, generator_optimizer)
    critic_optimizers = {}
    for name, critic in critics.items():
        optimizer = create_optimizer(training.discriminator, critic.to(runtime.device))
        critics[name], critic_optimizers[name] = runtime.prepare(critic, optimizer)
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
        discriminators=critics,
        discriminator_optimizers=critic_optimizers,
        features=features if features is None else features.to(runtime.device),
        teacher=teacher,
        members=members,
        sources=sources,
    )


def train_step(trainer: Trainer, parts: Sequence[Part]) -> dict[str, Tensor]:
    """One optimiser step of each network, then the EMA. Returns the unweighted terms."""
    training = trainer.config.training
    critics = {role(name): training.discriminator for name in trainer.discriminators}
    trainer.set_rates({"generator": training.generator, **critics})
    predictions, terms = generator_step(trainer, parts)
    terms |= discriminator_step(trainer, parts, predictions)
    trainer.ema.update_parameters(trainer.runtime.unwrap(trainer.generator))
    trainer.step += 1
    return terms


@torch.no_grad()
def validate(trainer: Trainer, pairs: FrozenList) -> dict[str, float]:
    """Mean metrics of the EMA weights on frozen pairs, whole image and hole, raw and composed, and
    the loss's own terms, unweighted, as `loss/<term>`, with their weighted sum `loss/total`."""
    inpainter = released(trainer)
    device = trainer.runtime.device
    critics = {n: trainer.runtime.unwrap(c) for n, c in trainer.discriminators.items()}
    metrics, sums = ImageMetrics(), {}
    for first in range(0, len(pairs), VALIDATION_BATCH):
        indices = range(first, min(first + VALIDATION_BATCH, len(pairs)))
        target, mask, occluded = load_pairs(pairs, indices, trainer.config.data.fill)
        prediction = inpainter.restore(occluded, mask)
        metrics.update(prediction.cpu(), target, mask, list(indices))
        shown = (target.to(device), mask.to(device), occluded.to(device))
        part = Part(*shown, [], teacher=trainer.teach(shown[2], shown[1]))
        with ExitStack() as stack:  # spectral norm must not iterate here
            for critic in critics.values():
                stack.enter_context(evaluating(critic))
            stack.enter_context(trainer.runtime.autocast())
            inputs = loss_inputs(trainer, critics, judged(trainer, prediction, part), part)
        total, terms = trainer.loss(inputs, trainer.epoch)
        for name, value in (terms | {"total": total}).items():
            sums[name] = sums.get(name, 0.0) + float(value) * len(indices) / len(pairs)
    return metrics.compute() | {f"loss/{name}": value for name, value in sums.items()}


def released(trainer: Trainer) -> Inpainter:
    """The inpainter that would be released now: the EMA's weights."""
    data = trainer.config.data
    return Inpainter(
        trainer.ema.module,
        data.size,
        device=trainer.runtime.device,
        fill=data.fill,
        features=trainer.features,
    )


def examples(trainer: Trainer, pairs: FrozenList, count: int = 6) -> list[dict[str, Tensor]]:
    """Input, mask, prediction, restored, target, each (C, H, W), of other images in each bin."""
    share = max(1, len(pairs) // count)
    indices = [len(pairs) * i // count + i % share for i in range(count)]
    target, mask, occluded = load_pairs(pairs, indices, trainer.config.data.fill)
    prediction = released(trainer).restore(occluded, mask).cpu()
    restored = compose(prediction, occluded, mask)
    names = ("input", "mask", "prediction", "restored", "target")
    columns = (occluded, mask, prediction, restored, target)
    return [dict(zip(names, (c[i] for c in columns), strict=True)) for i in range(count)]
