"""A task of a test: a network tells which share of a picture is hidden. Its record is `record`."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn

from deocclude.data.contract import hide
from deocclude.data.pairs.tensors import load_pairs
from deocclude.data.settings import Data
from deocclude.data.sources.holes import open_sources
from deocclude.engines.evaluation.compare import Asked, Comparison, Findings, Options
from deocclude.engines.inference import cost
from deocclude.engines.measures.rows import Row, Sheet, measured
from deocclude.engines.report.tables import Cell, Table
from deocclude.engines.runs.members import choose
from deocclude.engines.runs.settings import AnyRun, Loop, Named, Optimizer
from deocclude.engines.runs.tasks import Task
from deocclude.engines.runs.weights import load_network
from deocclude.engines.training.one_network import OneNetworkTrainer
from deocclude.names import Registry


class Brightness(nn.Module):
    """(N, 3, H, W) -> (N,), from how white a picture is."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, width, 1), nn.ReLU(), nn.Conv2d(width, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        return self.layers(image).mean(dim=(1, 2, 3))


class Answer(NamedTuple):
    told: Tensor
    share: Tensor


class Squared(nn.Module):
    def forward(self, inputs: Answer) -> Tensor:
        return (inputs.told - inputs.share).square().mean()


class ShareModel(Named):
    TABLE, KIND = Registry({"brightness": "share_task:Brightness"}), "share teller"


class ShareTraining(Loop):
    optimizer: Optimizer = Optimizer()


class ShareConfig(AnyRun):
    TERMS: ClassVar[Registry] = Registry({"squared": "share_task:Squared"})

    task: Literal["share"]
    model: ShareModel
    data: Data = Data()
    training: ShareTraining = ShareTraining()

    def model_options(self) -> dict:
        return self.network_options()


class SharePart(NamedTuple):
    seen: Tensor
    share: Tensor
    names: list[str]


@dataclass(kw_only=True)
class ShareTrainer(OneNetworkTrainer):
    MONITOR: ClassVar[str] = "closeness"
    NAME: ClassVar[str] = "teller"

    def to_part(self, batch) -> SharePart:
        mask = batch.mask.float()
        return SharePart(hide(self.picture(batch.image), mask), mask.mean((1, 2, 3)), batch.names)

    def ask(self, part: SharePart) -> Answer:
        return Answer(self.network(part.seen), part.share)

    @torch.no_grad()
    def validate(self, pairs) -> dict[str, float]:
        _, mask, seen = load_pairs(pairs, range(len(pairs)), 1.0)
        error = (self.ema.module(seen) - mask.mean((1, 2, 3))).abs().mean()
        return {"closeness": 1 - float(error)}

    def headline(self, scores: dict[str, float]) -> str:
        return f"closeness {scores['closeness']:.3f}"

    def examples(self, pairs) -> list[dict[str, Tensor]]:
        return [{"input": load_pairs(pairs, [0], 1.0)[2][0]}]


build = ShareTrainer.build


class Teller:
    """A trained network, opened."""

    device = torch.device("cpu")

    def __init__(self, file: Path) -> None:
        self.network, _ = load_network(file, self.device, "share")

    def cost(self, size: int) -> dict:
        return cost.nothing(self.device)


class Errors:
    columns = ("error",)

    def add(self, batch, told):
        return [[float(each)] for each in (told - batch.mask.mean((1, 2, 3))).abs()]

    def finish(self, path: Path) -> dict:
        return {}


def groups(options: Options, device: torch.device) -> list[Asked]:
    found = []
    for member in choose(options, "share"):
        pairs = open_sources(member.data, None, member.split).frozen("test")
        row = Row(member.name, "model", member.name, partial(Teller, member.checkpoint))
        found.append(Asked([row], pairs))
    return found


def find(rows, pairs, folder: Path, *, batch: int, **_) -> Findings:
    sheets = [Sheet(row, {"table": "share"}, lambda _: Errors()) for row in rows]
    ask = lambda opened, part: partial(opened.network, hide(part.seen, part.mask))  # noqa: E731
    results = measured(sheets, pairs, folder, ask, batch)
    means = [float(result.frame()["error"].mean()) for result in results]
    lines = [
        [Cell(result.name), Cell(mean, form=".3f")]
        for result, mean in zip(results, means, strict=True)
    ]
    table = Table("Mean error of the share", ["", "error"], lines)
    return Findings(results, pd.DataFrame({"error": means}), ["Shares"], [table], {})


COMPARISON = Comparison("Shares", Options, groups, find)


def record(runs: Path) -> Task:
    """The one record that the task costs; YAML files of its runs lie in `runs`."""
    return Task(
        name="share",
        config=ShareConfig,
        main="teller",
        default="Bright",
        runs=runs,
        options=("masks",),
        sources="deocclude.data.sources.holes:open_sources",
        builder="share_task:build",
        comparison="share_task:COMPARISON",
        picture="none.png",
    )
