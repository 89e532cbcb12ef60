"""A search that is over in a moment: its command, its study, and a training that is none."""

import gc
from pathlib import Path
from typing import NamedTuple

import optuna
import pandas as pd

from deocclude.engines.runs.folder import RunFolder
from deocclude.engines.search import __main__ as search
from deocclude.engines.search import objective, runner
from deocclude.engines.search.study import SharedStudy
from deocclude.engines.training.run import Outcome

SMALL = [
    "losses.adversarial.weight=4.7",
    "data.size=32", "data.builtin_images=12", "data.workers=0", "training.batch_size=4",
    "training.features_weights=random", "training.feature_terms=true",
    "losses.perceptual.layers=[relu1_1]", "losses.style.layers=[relu2_1]",
]  # fmt: skip
TERMS = ("perceptual", "style", "hole_l1", "adversarial")


def command(output: Path, *more: str) -> list[str]:
    """The options of a search whose trial takes about two seconds."""
    sets = [word for text in SMALL for word in ("--set", text)]
    sizes = ["--train-images", "8", "--validation-pairs", "6", "--epochs", "2"]
    return [
        "ablationv1", "--profile", "quick", "--output", str(output), "--device", "cpu",
        *sizes, *sets, *more,
    ]  # fmt: skip


def open_study(output: Path, *more: str) -> SharedStudy:
    arguments = search.parse(command(output, *more))
    return SharedStudy.open(runner.to_search(arguments), startup=2)


def score(weights: dict[str, float], epoch: int) -> float:
    """A made-up validation value, the better the nearer the weights are to 5."""
    return 20 + epoch - sum(abs(weight - 5) for weight in weights.values()) / 10


class Fake:
    """Stands for training: writes metrics.csv as it would, epoch by epoch."""

    def __init__(self, monkeypatch, epochs: int = 4) -> None:
        self.epochs, self.stop_at, self.started = epochs, {}, []
        monkeypatch.setattr(objective, "train", self.train)
        monkeypatch.setattr(gc, "collect", lambda: 0)  # slow in tests

    def train(self, config, root, output, resume, max_minutes, device, prune) -> Outcome:
        self.started.append((config.name, resume))
        folder = RunFolder(Path(resume)) if resume else RunFolder.create(output, config)
        folder.write_environment({"weights": {"generator": "random"}})
        weights = {name: config.losses[name]["weight"] for name in TERMS}
        first = len(folder.read_metrics()) + 1
        reason = "epochs"
        for epoch in range(first, self.epochs + 1):
            folder.last.mkdir(exist_ok=True)
            folder.best.write_bytes(b"weights")
            value = score(weights, epoch)
            row = {"step": epoch, "epoch": epoch, "val/composed/psnr": value}
            row |= {"val/composed/ssim": value / 40, "val/loss/total": 1.0}
            pd.DataFrame([*folder.read_metrics(), row]).to_csv(folder.metrics, index=False)
            if callable(ending := self.stop_at.get((config.name, epoch))):
                ending()
            elif ending:
                reason = ending
                break
            if epoch < self.epochs and prune(folder):
                reason = "pruned"
                break
        return Outcome(folder, reason, epoch, epoch, 0.1, True)


def run(shared: SharedStudy, wanted: int) -> str | None:
    """The loop of the command, without its output."""
    return runner.carry_out(shared, wanted)


class Left(NamedTuple):
    """A trial as a process leaves it that is killed while it trains."""

    trial: optuna.Trial
    run: str
    weights: dict[str, float]


def leave(shared: SharedStudy, wanted: int) -> Left | None:
    """Begin a trial and be killed; None where `wanted` are done or being done."""
    with shared.turn:
        shared.recover()
        if shared.is_enough(wanted):
            return None
        trial = shared.study.ask()
        with shared.at_work(trial) as (name, weights):
            return Left(trial, name, weights)
