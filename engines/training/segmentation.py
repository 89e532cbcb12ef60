"""Training a segmenter: its step, validation on frozen pairs, and what its pictures show."""

from dataclasses import dataclass
from math import isnan
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from deocclude.data.contract import check_pair
from deocclude.data.occluders.mixture import NONE
from deocclude.data.pairs.occluded import FrozenOccluded
from deocclude.data.pairs.tensors import batches, load_occluded
from deocclude.data.pairs.training import Batch
from deocclude.engines.inference.networks import Segmenter
from deocclude.engines.training.one_network import OneNetworkTrainer
from deocclude.engines.training.trainer import spread
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
class SegmentationTrainer(OneNetworkTrainer):
    """What a segmentation run trains with."""

    MONITOR: ClassVar[str] = "iou"  # the mean over frozen validation pairs with an occluder

    NAME: ClassVar[str] = "segmenter"

    def to_part(self, batch: Batch) -> SegmentationPart:
        """uint8 of the loader to the contract's tensors on the device."""
        occluded = self.picture(batch.image)
        mask = batch.mask.to(self.runtime.device, non_blocking=True).float()
        if not self.checked:
            check_pair(occluded, mask)
            self.checked = True
        return SegmentationPart(occluded, mask, batch.names)

    def ask(self, part: SegmentationPart) -> SegmentationInputs:
        answer = self.network(part.occluded)
        logits, auxiliary = answer if isinstance(answer, tuple) else (answer, None)
        return SegmentationInputs(logits, part.mask, auxiliary)

    def validate(self, pairs: FrozenOccluded) -> dict[str, float]:
        """Mean and pooled scores of the EMA weights, and the IoU of each kind; of eyeglasses that
        are kept, the share of pixels marked in error, as for all bare faces together."""
        segmenter, metrics = self.released(), SegmentationMetrics()
        for indices in batches(pairs, VALIDATION_BATCH):
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
        _, occluded, mask = load_occluded(pairs, spread(pairs, count))
        found = self.released().find(occluded).cpu()
        tint = torch.tensor(TINT)[:, None, None]
        overlay = torch.where(found > 0.5, (occluded + tint) / 2, occluded)
        columns = {"input": occluded, "mask": mask, "predicted": found, "overlay": overlay}
        return [{name: column[i] for name, column in columns.items()} for i in range(count)]


build_segmentation_trainer = SegmentationTrainer.build
