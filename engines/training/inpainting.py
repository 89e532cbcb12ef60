"""Training an inpainter: what its parts are, how it is validated, what it is built of."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from deocclude import losses, models
from deocclude.data.contract import check_pair, compose, hide
from deocclude.data.pairs.frozen import FrozenList
from deocclude.data.pairs.tensors import batches, load_pairs
from deocclude.data.pairs.training import Batch
from deocclude.engines.inference.networks import Inpainter, evaluating
from deocclude.engines.runs.recipes import MemberFile, pointer_records
from deocclude.engines.runs.runtime import Runtime
from deocclude.engines.runs.settings import RunConfig
from deocclude.engines.training.gan_steps import GanTrainer, Part, judged, loss_inputs
from deocclude.engines.training.given_networks import features_for, members_for, teacher_for
from deocclude.engines.training.initial_weights import start_from
from deocclude.engines.training.trainer import (
    create_optimizer,
    origin_of,
    prepare,
    spread,
    steps_of_epoch,
)
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

    def networks(self) -> dict[str, nn.Module]:
        fixed = {} if self.features is None else {"features": self.features}
        return super().networks() | fixed

    def origins(self) -> dict[str, str]:
        found = {"generator": origin_of(self.runtime.unwrap(self.generator))}
        found |= {name: f"losses: {net.origin}" for name, net in self.extractors.items()}
        return found | self.sources

    def headline(self, scores: dict[str, float]) -> str:
        return f"PSNR {scores['composed/psnr']:.2f} dB, SSIM {scores['composed/ssim']:.3f}"

    def released_parts(self) -> dict[str, nn.Module]:
        return {} if self.features is None else {"features": self.features}

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
        data, target = self.config.data, self.picture(batch.image)
        mask = batch.mask.to(self.runtime.device, non_blocking=True).float()
        if not self.checked:
            check_pair(target, mask)
            self.checked = True
        seen = target if batch.occluded is None else self.picture(batch.occluded)
        occluded = seen if data.hidden_by == "occluders" else hide(seen, mask, data.fill)
        taught = self.teach(occluded, mask)
        return Part(target, mask, occluded, batch.names, self.embed(occluded), taught)

    @torch.no_grad()
    def validate(self, pairs: FrozenList) -> dict[str, float]:
        """Mean metrics of the EMA weights on frozen pairs, whole image and hole, raw and composed,
        and the loss's own terms, unweighted, as `loss/<term>`, with their weighted sum
        `loss/total`."""
        inpainter = self.released()
        device = self.runtime.device
        critics = {n: self.runtime.unwrap(c) for n, c in self.discriminators.items()}
        metrics, sums = ImageMetrics(), {}
        for indices in batches(pairs, VALIDATION_BATCH):
            target, mask, occluded = load_pairs(pairs, indices, self.config.data.fill)
            prediction = inpainter.restore(occluded, mask)
            metrics.update(prediction.cpu(), target, mask, list(indices))
            shown = (target.to(device), mask.to(device), occluded.to(device))
            part = Part(*shown, [], teacher=self.teach(shown[2], shown[1]))
            with ExitStack() as stack:  # spectral norm must not iterate here
                for critic in critics.values():
                    stack.enter_context(evaluating(critic))
                stack.enter_context(self.runtime.autocast())
                inputs = loss_inputs(self, critics, judged(self, prediction, part), part)
            total, terms = self.loss(inputs, self.epoch)
            for name, value in (terms | {"total": total}).items():
                sums[name] = sums.get(name, 0.0) + float(value) * len(indices) / len(pairs)
        return metrics.compute() | {f"loss/{name}": value for name, value in sums.items()}

    def released(self) -> Inpainter:
        """The inpainter that would be released now: the EMA's weights."""
        data = self.config.data
        return Inpainter(
            self.ema.module,
            data.size,
            device=self.runtime.device,
            fill=data.fill,
            features=self.features,
        )

    def examples(self, pairs: FrozenList, count: int = 6) -> list[dict[str, Tensor]]:
        """Input, mask, prediction, restored, target, each (C, H, W), of images of every bin."""
        fill = self.config.data.fill
        target, mask, occluded = load_pairs(pairs, spread(pairs, count), fill)
        prediction = self.released().restore(occluded, mask).cpu()
        restored = compose(prediction, occluded, mask)
        names = ("input", "mask", "prediction", "restored", "target")
        columns = (occluded, mask, prediction, restored, target)
        return [dict(zip(names, (c[i] for c in columns), strict=True)) for i in range(count)]


def build_trainer(
    config: RunConfig, runtime: Runtime, train_images: int, continued: bool = False
) -> Trainer:
    """Networks, loss and optimizers of a settled configuration, on the runtime's device; the
    weights of a `continued` run come from its checkpoint."""
    training = config.training
    with runtime.main_first():  # one process downloads pretrained weights
        generator = models.create_inpainter(config.model.name, **config.model_options())
        loss = losses.create_loss(config.loss_terms(), epochs=training.epochs)
        extractors = {
            network: create_features(
                network, layers, training.features_weights, training.features_fallback
            ).to(runtime.device)
            for network, layers in loss.layers().items()
        }
    features, sources = features_for(generator, config, continued)
    members, from_members = members_for(generator, config, runtime.device)
    teacher, from_teacher = teacher_for(config, runtime.device)
    sources |= from_members | from_teacher
    if config.init_from is not None and not continued:
        sources["init_from"] = start_from(generator, config.init_from, config.task)
    critics = {
        name: models.create_discriminator(each.name, **each.options)
        for name, each in config.discriminators.items()
    }
    if training.channels_last:
        for network in (*critics.values(), *extractors.values()):
            network.to(memory_format=torch.channels_last)
    generator, optimizer, ema = prepare(generator, training.generator, training, runtime)
    critic_optimizers = {}
    for name, critic in critics.items():
        own = create_optimizer(training.discriminator, critic.to(runtime.device))
        critics[name], critic_optimizers[name] = runtime.prepare(critic, own)
    return Trainer(
        config=config,
        runtime=runtime,
        generator=generator,
        generator_optimizer=optimizer,
        loss=loss,
        extractors=extractors,
        ema=ema,
        epoch_steps=steps_of_epoch(training, train_images),
        discriminators=critics,
        discriminator_optimizers=critic_optimizers,
        features=features if features is None else features.to(runtime.device),
        teacher=teacher,
        members=members,
        sources=sources,
    )
