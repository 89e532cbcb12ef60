"""Measuring one cell of `benchmarks/systems.py`: a run at one size in one precision."""

if __name__ == "__main__":
    raise SystemExit("a part of `python benchmarks/systems.py`, which is the program")


import time
from collections.abc import Callable
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from benchmarks.steps import OURS, Case, random_part
from deocclude.engines.inference.cost import (
    MEASURED,
    TOO_LARGE,
    model_cost,
    noise,
    rate,
    synchronise,
)
from deocclude.engines.inference.networks import Inpainter
from deocclude.engines.runs.config import load_config
from deocclude.engines.runs.memory import free, held_mib
from deocclude.engines.runs.runtime import Runtime, start_runtime
from deocclude.engines.runs.settings import RunConfig
from deocclude.engines.training.inpainting import Trainer, build_trainer

MISSING_PRECISION = "not on this device"


def cell_config(
    run: str, size: int, precision: str, batch: int, profile: str | None, assignments: list[str]
) -> RunConfig:
    """The run at this size, with random weights and every scheduled loss weight at its largest.

    Speed does not depend on the weights; a term whose weight is 0 now is measured without its
    gradient, so the first epochs of a schedule are cheaper than the rest.
    """
    plain = load_config(run, profile, assignments)
    settled = [
        f"data.size={size}",
        f"training.batch_size={batch}",
        "training.accumulate=1",
        f"training.mixed_precision={precision}",
        "training.features_weights=random",
        "init_from=null",
    ]
    if plain.model.takes("pretrained"):
        settled.append("model.pretrained=false")
    if plain.features is not None:
        settled.append("features.weights=random")
    for name, term in plain.losses.items():
        weight = term["weight"]
        if isinstance(weight, dict):
            settled.append(f"losses.{name}.weight={max(weight['start'], weight['end'])}")
    return load_config(run, profile, [*assignments, *settled])


def measure_cell(config: RunConfig, device: str, repetitions: int, warm_up: int) -> dict[str, Any]:
    """Speed and peak memory of `train_step`, then cost and speed of restoring, as one flat record.

    Must be alone in its process. `status` is MEASURED; MISSING_PRECISION and TOO_LARGE come with a
    `reason` and without numbers.
    """
    load = psutil.getloadavg()[0]
    try:
        runtime = start_runtime(config.training.mixed_precision, device, config.training.seed)
    except ValueError as error:
        return {"status": MISSING_PRECISION, "reason": str(error)}
    try:
        trainer = build_trainer(config, runtime, 1000)
        cell = _training(trainer, repetitions, warm_up)
        cell |= _parameters(trainer)
        inpainter = trainer.released()
        del trainer
        free(runtime.device)
        cell |= _inference(inpainter, runtime, config.training.batch_size, repetitions)
    except (torch.OutOfMemoryError, MemoryError) as error:
        return {"status": TOO_LARGE, "reason": str(error).splitlines()[0] if str(error) else ""}
    return {"status": MEASURED, "load": load, "device_type": runtime.device.type, **cell}


def _training(trainer: Trainer, repetitions: int, warm_up: int) -> dict[str, float]:
    """Images a second of `train_step` on one batch, peak memory, and how many cores it had."""
    trainer.generator.train()
    part, device = random_part(trainer), trainer.runtime.device
    free(device)
    before = held_mib(device)
    for _ in range(warm_up):
        trainer.train_step([part])
    case = Case(trainer.config.name, trainer.config.data.size, len(part.target), [])
    seconds = case.seconds[OURS] = []
    synchronise(device)
    used = time.process_time()
    for _ in range(repetitions):
        start = time.perf_counter()
        trainer.train_step([part])
        synchronise(device)
        seconds.append(time.perf_counter() - start)
    used = time.process_time() - used
    median, lowest, highest = case.rate(OURS)
    return {
        "images_per_second": median,
        "lowest": lowest,
        "highest": highest,
        "cores_used": used / sum(seconds),
        "peak_mib": trainer.runtime.peak_memory_mib(),
        "before_mib": before,
    }


def _parameters(trainer: Trainer) -> dict[str, int]:
    """Of what is trained beside the inpainter, and of the network that gives it features."""
    return {
        "discriminator_parameters": sum(map(_count, trainer.discriminators.values())),
        "features_parameters": 0 if trainer.features is None else _count(trainer.features),
    }


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _inference(
    inpainter: Inpainter, runtime: Runtime, batch: int, repetitions: int
) -> dict[str, Any]:
    """`engines.inference.cost.model_cost` and images a second in batches, in the runtime's
    precision."""
    forward = _in_precision(inpainter, runtime)
    size = inpainter.size
    clock, used = time.perf_counter(), time.process_time()
    cost = model_cost(inpainter.network, forward, size, runtime.device)
    occluded, mask = noise(batch, size)
    spent = []
    for _ in range(repetitions + 1):  # the first one does not count
        synchronise(runtime.device)
        start = time.perf_counter()
        forward(occluded, mask)
        synchronise(runtime.device)
        spent.append((batch, time.perf_counter() - start))
    return cost | {
        "alone_per_second": 1000 / cost["median_ms"],
        "batch_per_second": rate(spent),
        "restoring_cores_used": (time.process_time() - used) / (time.perf_counter() - clock),
    }


def _in_precision(inpainter: Inpainter, runtime: Runtime) -> Callable[[Tensor, Tensor], Tensor]:
    def forward(occluded: Tensor, mask: Tensor) -> Tensor:
        with runtime.autocast():
            return inpainter.restore(occluded, mask)

    return forward
