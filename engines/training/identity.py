"""Training an identity network: its step, and validation on held-out pictures of known people."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from deocclude import losses, models
from deocclude.data.contract import check_image
from deocclude.data.faces.identities import label_names
from deocclude.data.occluders.mixture import NONE
from deocclude.data.pairs.occluded import FrozenOccluded
from deocclude.data.pairs.tensors import load_occluded
from deocclude.data.pairs.training import IdentityBatch
from deocclude.engines.inference.networks import Embedder
from deocclude.engines.runs.config import IdentityConfig
from deocclude.engines.runs.runtime import Runtime
from deocclude.engines.runs.weights import load_identity_network
from deocclude.engines.training.trainer import BaseTrainer, create_ema, create_optimizer
from deocclude.losses.identity import IdentityInputs

__all__ = ["IdentityTrainer", "build_identity_trainer", "load_identity_network"]

VALIDATION_BATCH = 64


class IdentityPart(NamedTuple):
    """One accumulated part of a batch, on the device: image (N, 3, H, W), label (N,)."""

    image: Tensor
    label: Tensor
    names: list[str]


@dataclass(kw_only=True)
class IdentityTrainer(BaseTrainer):
    """What an identity run trains with."""

    MONITOR: ClassVar[str] = "accuracy/occluded"  # of held-out pictures under all kinds

    network: nn.Module
    optimizer: torch.optim.Optimizer

    @property
    def main(self) -> nn.Module:
        return self.network

    def trained(self) -> dict[str, nn.Module]:
        return {"identity": self.runtime.unwrap(self.network)}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"identity": self.optimizer}

    def origins(self) -> dict[str, str]:
        network = self.runtime.unwrap(self.network)
        return {"identity": getattr(network, "origin", "random initialisation")}

    def to_part(self, batch: IdentityBatch) -> IdentityPart:
        """uint8 of the loader to the contract's tensors on the device."""
        device = self.runtime.device
        image = batch.image.to(device, non_blocking=True).float().div_(255)
        if self.config.training.channels_last:
            image = image.contiguous(memory_format=torch.channels_last)
        if not self.checked:
            check_image(image)
            self.checked = True
        return IdentityPart(image, batch.label.to(device, non_blocking=True), batch.names)

    def train_step(self, parts: Sequence[IdentityPart]) -> dict[str, Tensor]:
        runtime, training = self.runtime, self.config.training
        self.set_rates({"identity": training.optimizer})
        self.optimizer.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        for index, part in enumerate(parts):
            with runtime.synchronised(self.network, last=index == len(parts) - 1):
                inputs = IdentityInputs(self.network(part.image), part.label)
                total, terms = self.loss(inputs, self.epoch)
                self.check_finite(total, part.names, terms)
                runtime.backward(total / len(parts))
            for name, value in (terms | {"total": total.detach()}).items():
                sums[name] = sums.get(name, 0) + value / len(parts)
        runtime.clip(self.network, self.optimizer, training.clip_gradients)
        self.optimizer.step()
        self.ema.update_parameters(runtime.unwrap(self.network))
        self.step += 1
        return sums

    def validate(self, pairs: FrozenOccluded) -> dict[str, float]:
        """Share of pictures whose person the EMA weights name: bare, covered, by kind of cover."""
        network, labels = self.released(), self.labels(pairs)
        right: dict[str, list[bool]] = {}
        for first in range(0, len(pairs), VALIDATION_BATCH):
            indices = range(first, min(first + VALIDATION_BATCH, len(pairs)))
            _, occluded, _ = load_occluded(pairs, indices)
            named = network.name(occluded).cpu()
            for i, answer in zip(indices, named.tolist(), strict=True):
                right.setdefault(pairs.pairs[i].kind, []).append(answer == int(labels[i]))
        bare = right.pop(NONE, [])
        covered = [answer for answers in right.values() for answer in answers]
        scores = {"accuracy/occluded": mean(covered), "accuracy/clean": mean(bare)}
        return scores | {f"accuracy/{kind}": mean(answers) for kind, answers in right.items()}

    def labels(self, pairs: FrozenOccluded) -> Tensor:
        """Each picture's person, (N,)."""
        names = [pair.image for pair in pairs.pairs]
        return torch.from_numpy(label_names(names, self.config.data.identities))

    def released(self) -> Embedder:
        """The identity network that would be released now: the EMA's weights."""
        return Embedder(self.ema.module, self.config.data.size, device=self.runtime.device)

    def headline(self, scores: dict[str, float]) -> str:
        return (
            f"accuracy {scores['accuracy/occluded']:.3f} on occluded, "
            f"{scores['accuracy/clean']:.3f} on clean pictures"
        )

    def examples(self, pairs: FrozenOccluded, count: int = 8) -> list[dict[str, Tensor]]:
        """Input, the same person without an occluder, and a picture of the person who is named."""
        count = min(count, len(pairs))
        indices = [len(pairs) * i // count + i % max(1, len(pairs) // count) for i in range(count)]
        labels = self.labels(pairs).tolist()
        target, occluded, _ = load_occluded(pairs, indices)
        named = self.released().name(occluded).tolist()
        shown = [labels.index(who) if who in labels else None for who in named]
        pictures = {i: load_occluded(pairs, [i])[0][0] for i in set(shown) - {None}}
        nobody = torch.full_like(occluded[0], 0.5)
        return [
            {"input": occluded[i], "person": target[i], "named": pictures.get(shown[i], nobody)}
            for i in range(count)
        ]


def mean(answers: Sequence[bool]) -> float:
    """Share of right answers, NaN without any."""
    return sum(answers) / len(answers) if answers else float("nan")


def build_identity_trainer(
    config: IdentityConfig, runtime: Runtime, train_images: int
) -> IdentityTrainer:
    """Network, loss and optimizer of a configuration, on the runtime's device."""
    training = config.training
    with runtime.main_first():  # one process downloads pretrained weights
        network = models.create_identity_network(config.model.name, **config.model_options())
    if training.channels_last:
        network.to(memory_format=torch.channels_last)
    network = runtime.share_statistics(network.to(runtime.device))
    ema = create_ema(network, training.ema_decay)
    optimizer = create_optimizer(training.optimizer, network)
    network, optimizer = runtime.prepare(network, optimizer)
    images = training.epoch_images or train_images
    return IdentityTrainer(
        config=config,
        runtime=runtime,
        network=network,
        optimizer=optimizer,
        loss=losses.create_loss(config.losses, losses.IDENTITY_TERMS, training.epochs),
        ema=ema,
        epoch_steps=max(1, images // training.batch_size),
    )
