"""Training a segmenter: its step, validation on frozen pairs, and what its pictures show."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from deocclude import losses, models
from deocclude.data.contract import check_pair
from deocclude.data.occluders.mixture import NONE
from deocclude.data.pairs.occluded import FrozenOccluded
from deocclude.data.pairs.tensors import load_occluded
from deocclude.data.pairs.training import Batch
from deocclude.engines.inference.networks import Segmenter
from deocclude.engines.runs.config import SegmentationConfig
from deocclude.engines.runs.recipes import source_name
from deocclude.engines.runs.runtime import Runtime
from deocclude.engines.training.initial_weights import start_from
from deocclude.engines.training.trainer import BaseTrainer, create_ema, create_optimizer
from deocclude.losses.segmentation import SegmentationInputs
from deocclude.metrics.segmentation import SegmentationMetrics

VALIDATION_BATCH = 32
TINT = (1.0, 0.0, 0.0)  # of the marked pixels in an overlay


class SegmentationPart(NamedTuple):
    """One accumulated part of a batch, on the device and in the contract's form."""

    occluded: Tensor
    mask: Tensor
    names: list[str]


@dataclass(kw_only=True)
class SegmentationTrainer(BaseTrainer):
    """What a segmentation run trains with."""

    MONITOR: ClassVar[str] = "iou"  # the mean over frozen validation pairs with an occluder

    segmenter: nn.Module
    optimizer: torch.optim.Optimizer
    sources: dict[str, str] = field(default_factory=dict)  # of initial weights, for the record

    @property
    def main(self) -> nn.Module:
        return self.segmenter

    def trained(self) -> dict[str, nn.Module]:
        return {"segmenter": self.runtime.unwrap(self.segmenter)}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"segmenter": self.optimizer}

    def origins(self) -> dict[str, str]:
        segmenter = self.runtime.unwrap(self.segmenter)
        origin = getattr(segmenter, "origin", "random initialisation")
        return {"segmenter": origin, **self.sources}

    def released_config(self) -> dict[str, Any]:
        config, start = super().released_config(), self.config.init_from
        return config if start is None else config | {"init_from": source_name(start)}

    def to_part(self, batch: Batch) -> SegmentationPart:
        """uint8 of the loader to the contract's tensors on the device."""
        device = self.runtime.device
        occluded = batch.image.to(device, non_blocking=True).float().div_(255)
        mask = batch.mask.to(device, non_blocking=True).float()
        if self.config.training.channels_last:
            occluded = occluded.contiguous(memory_format=torch.channels_last)
        if not self.checked:
            check_pair(occluded, mask)
            self.checked = True
        return SegmentationPart(occluded, mask, batch.names)

    def train_step(self, parts: Sequence[SegmentationPart]) -> dict[str, Tensor]:
        runtime, training = self.runtime, self.config.training
        self.set_rates({"segmenter": training.optimizer})
        self.optimizer.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        for index, part in enumerate(parts):
            with runtime.synchronised(self.segmenter, last=index == len(parts) - 1):
                answer = self.segmenter(part.occluded)
                logits, auxiliary = answer if isinstance(answer, tuple) else (answer, None)
                inputs = SegmentationInputs(logits, part.mask, auxiliary)
                total, terms = self.loss(inputs, self.epoch)
                self.check_finite(total, part.names, terms)
                runtime.backward(total / len(parts))
            for name, value in (terms | {"total": total.detach()}).items():
                sums[name] = sums.get(name, 0) + value / len(parts)
        runtime.clip(self.segmenter, self.optimizer, training.clip_gradients)
        self.optimizer.step()
        self.ema.update_parameters(runtime.unwrap(self.segmenter))
        self.step += 1
        return sums

    def validate(self, pairs: FrozenOccluded) -> dict[str, float]:
        """Mean and pooled scores of the EMA weights, and the IoU of each kind; of eyeglasses that
        are kept, the share of pixels marked in error, as for all bare faces together."""
        segmenter, metrics = self.released(), SegmentationMetrics()
        for first in range(0, len(pairs), VALIDATION_BATCH):
            indices = range(first, min(first + VALIDATION_BATCH, len(pairs)))
            _, occluded, mask = load_occluded(pairs, indices)
            kinds = [pairs.pairs[i].kind for i in indices]
            metrics.update(segmenter.logits(occluded).cpu(), mask, list(indices), kinds)
        by_kind = {}
        for kind, scores in metrics.by_kind().items():
            if not isnan(scores["iou"]):
                by_kind[f"iou/{kind}"] = scores["iou"]
            elif kind != NONE:
                by_kind[f"false_positive/{kind}"] = scores["false_positive"]
        return metrics.compute() | by_kind

    def released(self) -> Segmenter:
        """The segmenter that would be released now: the EMA's weights."""
        return Segmenter(self.ema.module, self.config.data.size, device=self.runtime.device)

    def headline(self, scores: dict[str, float]) -> str:
        return (
            f"IoU {scores['iou']:.3f}, Dice {scores['dice']:.3f}, "
            f"pixel accuracy {scores['accuracy']:.3f}"
        )

    def examples(self, pairs: FrozenOccluded, count: int = 8) -> list[dict[str, Tensor]]:
        """Input, true mask, predicted mask and overlay, each (C, H, W), of pairs of all kinds."""
        count = min(count, len(pairs))
        indices = [len(pairs) * i // count + i % max(1, len(pairs) // count) for i in range(count)]
        _, occluded, mask = load_occluded(pairs, indices)
        found = self.released().find(occluded).cpu()
        tint = torch.tensor(TINT)[:, None, None]
        overlay = torch.where(found > 0.5, (occluded + tint) / 2, occluded)
        columns = {"input": occluded, "mask": mask, "predicted": found, "overlay": overlay}
        return [{name: column[i] for name, column in columns.items()} for i in range(count)]


def build_segmentation_trainer(
    config: SegmentationConfig, runtime: Runtime, train_images: int, runs: Path | None = None
) -> SegmentationTrainer:
    """Network, loss and optimizer of a configuration, on the runtime's device. `runs` as for
    `engines.training.inpainting.build_trainer`."""
    training, sources = config.training, {}
    with runtime.main_first():  # one process downloads pretrained weights
        segmenter = models.create_segmenter(config.model.name, **config.model_options())
    if config.init_from is not None and runs is not None:
        (started,) = start_from(segmenter, config.init_from, runs, "segmentation")
        sources["init_from"] = started.words()
    if training.channels_last:
        segmenter.to(memory_format=torch.channels_last)
    segmenter = runtime.share_statistics(segmenter.to(runtime.device))
    ema = create_ema(segmenter, training.ema_decay)
    optimizer = create_optimizer(training.optimizer, segmenter)
    segmenter, optimizer = runtime.prepare(segmenter, optimizer)
    images = training.epoch_images or train_images
    return SegmentationTrainer(
        config=config,
        runtime=runtime,
        segmenter=segmenter,
        optimizer=optimizer,
        loss=losses.create_loss(config.losses, losses.SEGMENTATION_TERMS),
        ema=ema,
        epoch_steps=max(1, images // training.batch_size),
        sources=sources,
    )
