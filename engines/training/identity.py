"""Training an identity network: its step, and validation on held-out pictures of known people."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from deocclude.data.contract import check_image
from deocclude.data.faces.identities import label_names
from deocclude.data.occluders.mixture import NONE
from deocclude.data.pairs.occluded import FrozenOccluded
from deocclude.data.pairs.tensors import batches, load_occluded
from deocclude.data.pairs.training import IdentityBatch
from deocclude.engines.inference.networks import Embedder
from deocclude.engines.training.one_network import OneNetworkTrainer
from deocclude.engines.training.trainer import spread
from deocclude.losses.identity import IdentityInputs

VALIDATION_BATCH = 64


class IdentityPart(NamedTuple):
    """One accumulated part of a batch, on the device: image (N, 3, H, W), label (N,)."""

    image: Tensor
    label: Tensor
    names: list[str]


@dataclass(kw_only=True)
class IdentityTrainer(OneNetworkTrainer):
    """What an identity run trains with."""

    MONITOR: ClassVar[str] = "accuracy/occluded"  # of held-out pictures under all kinds

    NAME: ClassVar[str] = "identity"

    def to_part(self, batch: IdentityBatch) -> IdentityPart:
        """uint8 of the loader to the contract's tensors on the device."""
        image = self.picture(batch.image)
        if not self.checked:
            check_image(image)
            self.checked = True
        label = batch.label.to(self.runtime.device, non_blocking=True)
        return IdentityPart(image, label, batch.names)

    def ask(self, part: IdentityPart) -> IdentityInputs:
        return IdentityInputs(self.network(part.image), part.label)

    def validate(self, pairs: FrozenOccluded) -> dict[str, float]:
        """Share of pictures whose person the EMA weights name: bare, covered, by kind of cover."""
        network, labels = self.released(), self.labels(pairs)
        right: dict[str, list[bool]] = {}
        for indices in batches(pairs, VALIDATION_BATCH):
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
        labels = self.labels(pairs).tolist()
        target, occluded, _ = load_occluded(pairs, spread(pairs, count))
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


build_identity_trainer = IdentityTrainer.build
