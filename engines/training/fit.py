"""The loop around the epochs: logging, pictures, checkpoints, stopping, continuing."""

import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType

import torch
from torch import Tensor
from torch.utils.data import Dataset

from deocclude import stopping
from deocclude.data.pairs.frozen import FrozenList
from deocclude.data.pairs.training import PositionSampler, training_loader
from deocclude.engines.report import figures
from deocclude.engines.runs import weights
from deocclude.engines.runs.devices import available_cores
from deocclude.engines.runs.folder import RunFolder
from deocclude.engines.runs.settings import AnyRun
from deocclude.engines.training.origins import as_released
from deocclude.engines.training.trainer import BaseTrainer, EpochSums, train_one_epoch
from deocclude.progress import Bar

logger = logging.getLogger(__name__)

INTERRUPTED = "interrupted"
ASK_STEPS = 10  # steps between two agreements of several processes on saving and stopping
CONTRACT = {"image": "RGB, [0, 1], (N, 3, H, W)", "mask": "1 = hole, (N, 1, H, W)"}


@dataclass
class Progress:
    """What the loop itself must remember to continue."""

    best: float = -math.inf
    best_step: int = 0
    epochs_without_gain: int = 0
    seconds: float = 0.0  # trained so far, over all continuations


class Stop:
    """Ctrl-C or SIGTERM asks for a stop at the next step; a second one interrupts at once, as
    whoever handled it before does."""

    def __init__(self) -> None:
        self.asked = 0  # the signal
        self._previous: dict = {}

    def __enter__(self) -> "Stop":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            if callable(before := self._previous[number]):
                before(number, frame)
            raise stopping.Stopped(number)
        self.asked = number
        logger.info("stopping at a checkpoint; press Ctrl-C again to stop at once")


@dataclass
class Fit:
    """One call of `fit`: the run folder, its data and its stopping rules."""

    trainer: BaseTrainer
    folder: RunFolder
    pairs: Dataset  # by position: a pure function of it
    validation: FrozenList
    max_minutes: float | None = None
    prune: Callable[[RunFolder], bool] | None = None  # after an epoch's metrics: give the run up?
    progress: Progress | None = None

    def run(self) -> str:
        """Train to the end or to a stop; the reason: epochs, max_minutes, early_stop, pruned or
        interrupted.
        """
        self.progress = self.progress or Progress()
        self.started = self.saved = time.monotonic()
        trainer, training = self.trainer, self.trainer.config.training
        batches = self._batches()
        reason = "epochs"
        with Stop() as self.stop, self._bar() as self.bar:
            while trainer.step < trainer.total_steps:
                epoch = trainer.step // trainer.epoch_steps + 1
                means = train_one_epoch(
                    trainer, batches, epoch * trainer.epoch_steps, self._after_step
                )
                if trainer.step % trainer.epoch_steps:
                    self._end_inside_epoch(self._stop_reason())
                else:
                    self._end_epoch(epoch, means)
                patience = training.early_stop_epochs
                if patience is not None and self.progress.epochs_without_gain >= patience:
                    reason = "early_stop"
                    break
                if trainer.step < trainer.total_steps and (asked := self._stop_reason()):
                    reason = asked
                    break
                if trainer.step < trainer.total_steps and self._given_up():
                    reason = "pruned"
                    break
        return reason

    def _given_up(self) -> bool:
        """Whether the main process was told so."""
        runtime = self.trainer.runtime
        if self.prune is None:
            return False
        return runtime.any(runtime.is_main and self.prune(self.folder))

    def _end_inside_epoch(self, reason: str | None) -> None:
        """Save, so that continuing changes nothing; when the time is over, weights for use where
        there are none. Whoever interrupts does not wait for a validation."""
        self.save()
        if reason == INTERRUPTED or not self.trainer.runtime.is_main:
            return
        if not self.folder.best.exists():
            self.release(self.trainer.validate(self.validation))

    def _batches(self) -> Iterator:
        trainer, runtime = self.trainer, self.trainer.runtime
        training = trainer.config.training
        sampler = PositionSampler(
            training.batch_size,
            trainer.step,
            trainer.total_steps,
            training.accumulate,
            runtime.rank,
            runtime.processes,
        )
        on_gpu = runtime.device.type == "cuda"
        workers = worker_count(trainer.config, on_gpu)
        with stopping.held():
            return iter(training_loader(self.pairs, sampler, workers, pin=on_gpu))

    def _bar(self) -> Bar:
        trainer = self.trainer
        return Bar(
            desc=f"epoch {trainer.epoch:.2f}",
            total=trainer.total_steps * trainer.config.training.batch_size,
            initial=trainer.step * trainer.config.training.batch_size,
            unit=" images",
            unit_scale=True,
            seen=trainer.runtime.is_main,
        )

    def _after_step(self, terms: dict[str, Tensor]) -> bool:
        """Log, save when it is time; True when training should stop here."""
        trainer, training = self.trainer, self.trainer.config.training
        self.bar.set_description(f"epoch {trainer.epoch:.2f}", refresh=False)
        self.bar.update(training.batch_size)
        if trainer.step % training.log_steps == 0:
            values = {k: float(trainer.runtime.mean(v)) for k, v in terms.items()}
            if trainer.runtime.is_main:
                facts = {"loss": f"{values['total']:.3f}"}
                if self.max_minutes is not None:  # which may end before the epochs do
                    spent = (time.monotonic() - self.started) / 60
                    facts["budget"] = f"{max(0, self.max_minutes - spent):.1f} min left"
                self.bar.set_postfix(facts)
                self.folder.log(self._record() | {f"train/{k}": v for k, v in values.items()})
        if trainer.runtime.processes > 1 and trainer.step % ASK_STEPS:
            return False  # asking the other processes costs a wait
        due = time.monotonic() - self.saved > 60 * training.checkpoint_minutes
        if trainer.runtime.any(due and trainer.runtime.is_main):
            self.save()
        return self._stop_reason() is not None

    def _record(self) -> dict:
        trainer = self.trainer
        images = trainer.step * trainer.config.training.batch_size
        return {
            "step": trainer.step,
            "epoch": round(trainer.epoch, 4),
            "images": images,
            "learning_rate": trainer.learning_rate,
            "seconds": round(self.seconds(), 1),
        }

    def seconds(self) -> float:
        """Trained so far, over all continuations."""
        return self.progress.seconds + time.monotonic() - self.started

    def _stop_reason(self) -> str | None:
        """Why every process should stop now, None to go on."""
        asked = self.stop.asked
        budget = self.max_minutes
        over = budget is not None and time.monotonic() - self.started > 60 * budget
        runtime = self.trainer.runtime
        if runtime.any(asked):
            return INTERRUPTED
        return "max_minutes" if runtime.any(over) else None

    def _end_epoch(self, epoch: int, means: dict[str, float]) -> None:
        """Validate, release better weights, draw, save. The main process does it, others wait."""
        trainer, progress = self.trainer, self.progress
        if trainer.runtime.is_main:
            scores = trainer.validate(self.validation)
            score = scores[trainer.MONITOR]
            last = trainer.config.training.release == "last"
            better = last or score > progress.best
            progress.epochs_without_gain = 0 if better else progress.epochs_without_gain + 1
            if better:
                progress.best, progress.best_step = score, trainer.step
                self.release(scores)
            losses = {f"train/{k}": v for k, v in means.items() if k != "images_per_second"}
            losses |= {f"weight/{k}": v for k, v in trainer.loss.weights(trainer.epoch).items()}
            row = self._record() | losses | {"images_per_second": means["images_per_second"]}
            self.folder.add_metrics(row | {f"val/{k}": v for k, v in scores.items()})
            logger.info(
                "epoch %d/%d: loss %.3f, validation %s (%s), %.1f images/s",
                epoch, trainer.config.training.epochs, means["total"], trainer.headline(scores),
                "released" if last else "best so far" if better else "not better",
                means["images_per_second"],
            )  # fmt: skip
            figure = figures.examples_grid(trainer.examples(self.validation))
            figures.save(figure, self.folder.figures / f"epoch_{epoch:03d}.png")
            figures.show(figure)
        trainer.runtime.wait()
        progress.epochs_without_gain = self._shared(progress.epochs_without_gain)
        self.save()
        trainer.main.train()

    def _shared(self, value: int) -> int:
        """The main process's value, so that all stop together."""
        runtime = self.trainer.runtime
        mine = torch.tensor(float(value if runtime.is_main else 0), device=runtime.device)
        return round(float(runtime.mean(mine)) * runtime.processes)

    def release(self, scores: dict[str, float]) -> None:
        """best.safetensors: the EMA weights, with what is needed to use them."""
        trainer = self.trainer
        metadata = {
            "config": as_released(trainer.config),
            "contract": CONTRACT,
            "metrics": {k: round(v, 6) for k, v in scores.items() if math.isfinite(v)},
            "training": self._record() | {"validation_pairs": self.validation.hash},
        }
        metadata |= trainer.released_metadata(self.folder.path)
        parts = trainer.released_parts()
        weights.save_release(self.folder.best, trainer.ema.module, metadata, parts)

    def save(self) -> None:
        """last/: everything needed to continue. Only the main process writes."""
        trainer, progress = self.trainer, self.progress
        if trainer.runtime.is_main:
            now = time.monotonic()
            state = {
                "step": trainer.step,
                "progress": vars(progress) | {"seconds": self.seconds()},
                "sums": vars(trainer.sums),
                "optimizers": {k: o.state_dict() for k, o in trainer.optimizers().items()},
                "scaler": trainer.runtime.scaler_state(),
                "random": weights.random_states(),
            }
            tensors = {name: net.state_dict() for name, net in trainer.networks().items()}
            weights.save_checkpoint(self.folder.last, tensors, state)
            self.saved = now
        trainer.runtime.wait()

    def resume(self) -> None:
        """Go back to last/: networks, optimizers, EMA, scaler, random states, position."""
        tensors, state = weights.load_checkpoint(self.folder.last)
        for name, net in self.trainer.networks().items():
            weights.load_strictly(net, tensors.get(name, {}), f"{self.folder.last} ({name})")
        for name, optimizer in self.trainer.optimizers().items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.trainer.runtime.load_scaler_state(state["scaler"])
        weights.restore_random_states(state["random"])
        self.trainer.step = state["step"]
        self.trainer.sums = EpochSums(**state.get("sums", {}))  # checkpoints of 0.1.0 have none
        on = self.trainer.runtime.device
        self.trainer.sums.terms = {k: v.to(on) for k, v in self.trainer.sums.terms.items()}
        self.progress = Progress(**state["progress"])
        if self.trainer.runtime.is_main:
            self.folder.rewind(self.trainer.step)


def worker_count(config: AnyRun, on_gpu: bool) -> int:
    """Loader processes: as configured; auto leaves small machines to the training itself."""
    if config.data.workers != "auto":
        return config.data.workers
    cores = available_cores()
    if on_gpu:
        return min(8, max(1, cores - 1))
    return 0 if cores <= 2 else 2
