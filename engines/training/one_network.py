"""Training one network by itself: what tasks have in common whose loss takes its answer alone."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from deocclude import losses
from deocclude.engines.runs.runtime import Runtime
from deocclude.engines.runs.settings import AnyRun
from deocclude.engines.runs.tasks import TASKS
from deocclude.engines.training.initial_weights import start_from
from deocclude.engines.training.trainer import (
    BaseTrainer,
    origin_of,
    prepare,
    steps_of_epoch,
)


@dataclass(kw_only=True)
class OneNetworkTrainer(BaseTrainer):
    """What such a run trains with. A subclass says how a batch becomes a part, what the loss is
    told of it, how the network is validated and what its pictures show."""

    NAME: ClassVar[str]  # of the network, in checkpoints

    network: nn.Module
    optimizer: torch.optim.Optimizer
    sources: dict[str, str] = field(default_factory=dict)  # of initial weights, for the record

    @classmethod
    def build(
        cls, config: AnyRun, runtime: Runtime, train_images: int, continued: bool = False
    ) -> "OneNetworkTrainer":
        """Network, loss and optimizer of a settled configuration, on the runtime's device; the
        weights of a `continued` run come from its checkpoint."""
        training, sources = config.training, {}
        with runtime.main_first():  # one process downloads pretrained weights
            network = TASKS[config.task].create(config.model.name, **config.model_options())
        start = getattr(config, "init_from", None)
        if start is not None and not continued:
            sources["init_from"] = start_from(network, start, config.task)
        network, optimizer, ema = prepare(network, training.optimizer, training, runtime)
        return cls(
            config=config,
            runtime=runtime,
            network=network,
            optimizer=optimizer,
            loss=losses.create_loss(config.losses, config.TERMS, training.epochs),
            ema=ema,
            epoch_steps=steps_of_epoch(training, train_images),
            sources=sources,
        )

    @property
    def main(self) -> nn.Module:
        return self.network

    def trained(self) -> dict[str, nn.Module]:
        return {self.NAME: self.runtime.unwrap(self.network)}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {self.NAME: self.optimizer}

    def origins(self) -> dict[str, str]:
        return {self.NAME: origin_of(self.runtime.unwrap(self.network)), **self.sources}

    def train_step(self, parts: Sequence[Any]) -> dict[str, Tensor]:
        self.set_rates({self.NAME: self.config.training.optimizer})
        self.optimizer.zero_grad(set_to_none=True)
        terms = self.gather(self.network, parts, self.ask)
        self.update(self.network, self.optimizer)
        self.end_step()
        return terms

    @abc.abstractmethod
    def ask(self, part: Any) -> Any:
        """The network's answer to a part and what it should have been, as the loss takes them."""
