"""Timing one variant at one size: the project's own step, beside the public loop's order."""

if __name__ == "__main__":
    raise SystemExit("a part of `python benchmarks/training.py`, which is the program")


import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median

import torch

from benchmarks.public_loop import PublicLoop, gradient_difference, weight_difference
from deocclude.data.faces.files import Faces
from deocclude.data.pairs.training import Batch, PositionSampler, TrainingPairs, training_loader
from deocclude.data.sources.holes import Sources
from deocclude.engines.inference.cost import synchronise
from deocclude.engines.runs.memory import free, held_mib
from deocclude.engines.runs.runtime import Runtime
from deocclude.engines.runs.settings import RunConfig
from deocclude.engines.training.fit import worker_count
from deocclude.engines.training.gan_steps import Part
from deocclude.engines.training.inpainting import Trainer, build_trainer

PARTS = (
    "data", "generator forward", "losses", "backward", "optimizers", "discriminator", "EMA",
)  # fmt: skip
BESIDE = ("data", "optimizers", "EMA")  # what no network computes
OURS = "ours"


@dataclass
class Case:
    """What was measured of one variant at one size. Seconds are those of a step with its data."""

    run: str
    size: int
    batch: int
    loops: list[str]  # of the public order
    seconds: dict[str, list[float]] = field(default_factory=dict)  # loop -> one a repetition
    parts: dict[str, list[float]] = field(default_factory=dict)  # of our step
    faults: list[int] = field(default_factory=list)  # pages that our step had to be given
    differences: dict[str, dict[str, float]] = field(default_factory=dict)  # loop -> from ours
    memory: dict[str, dict[str, float]] = field(default_factory=dict)  # loop -> MiB

    def rate(self, loop: str) -> tuple[float, float, float]:
        """Images a second: median, lowest, highest."""
        rates = [self.batch / seconds for seconds in self.seconds[loop]]
        return median(rates), min(rates), max(rates)

    def ratio(self, loop: str) -> tuple[float, float, float]:
        """How many times as fast ours is, by pairs of neighbours: median, lowest, highest."""
        pairs = zip(self.seconds[loop], self.seconds[OURS], strict=True)
        ratios = [theirs / ours for theirs, ours in pairs]
        return median(ratios), min(ratios), max(ratios)


class Laps:
    """The time between marks, each lap added to the part that ends with it."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.parts = device, {}
        self.last: float | None = None  # None: not measuring

    def start(self) -> None:
        synchronise(self.device)
        self.parts, self.last = {}, time.perf_counter()

    def mark(self, part: str) -> None:
        """The lap that ends here belongs to `part`."""
        if self.last is None:
            return
        synchronise(self.device)
        now = time.perf_counter()
        self.parts[part] = self.parts.get(part, 0.0) + now - self.last
        self.last = now

    def stop(self) -> dict[str, float]:
        self.last = None
        return self.parts


@contextlib.contextmanager
def marked(trainer: Trainer, laps: Laps) -> Iterator[None]:
    """Marks at the seams of `train_step`, by hooks: what runs is the project's own step.

    The discriminator's pass for the generator's loss counts as losses, setting the learning rate
    as generator forward, clipping gradients as the pass that made them, the rest of `train_step`
    after the last optimizer as EMA.
    """

    def ends(part: str):
        return lambda *_: laps.mark(part)

    handles = [
        trainer.generator.register_forward_hook(ends("generator forward")),
        trainer.loss.register_forward_hook(ends("losses")),
    ]
    updates = [(trainer.generator_optimizer, "backward")]
    updates += [(each, "discriminator") for each in trainer.discriminator_optimizers.values()]
    for optimizer, before in updates:
        handles.append(bare(optimizer).register_step_pre_hook(ends(before)))
        handles.append(bare(optimizer).register_step_post_hook(ends("optimizers")))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def bare(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The optimizer below Accelerate's wrapper."""
    return getattr(optimizer, "optimizer", optimizer)


def page_faults() -> int:
    """Pages that the kernel gave this process so far; 0 where that is not told."""
    try:
        import resource
    except ImportError:  # Windows has no resource module
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def measure_case(
    config: RunConfig,
    runtime: Runtime,
    faces: Faces,
    sources: Sources,
    loops: list[str],
    steps: int,
    warm_up: int,
) -> Case:
    """Warm up, then time ours and the public loops in turn on the same batches.

    The order turns around with every repetition, so that drift of the machine cancels. All loops
    start with the same weights; after the first batch their gradients and weights are compared.
    """
    batch, device = config.training.batch_size, runtime.device
    trainer = build_trainer(config, runtime, len(faces), continued=True)  # reads no weights
    trainer.generator.train()
    public = {loop: PublicLoop(trainer, loop) for loop in loops}
    case = Case(config.name, config.data.size, batch, list(loops))
    case.seconds = {loop: [] for loop in (OURS, *loops)}
    case.parts = {part: [] for part in PARTS}
    workers = worker_count(config, device.type == "cuda")
    sampler = PositionSampler(batch, 0, warm_up + steps, 1, 0, 1)
    pairs = TrainingPairs(faces, sources.masks, config.training.seed, config.data.flip)
    batches = iter(training_loader(pairs, sampler, workers, pin=device.type == "cuda"))
    laps = Laps(device)
    with marked(trainer, laps):
        for repetition in range(warm_up + steps):
            laps.start()
            part = trainer.to_part(next(batches))
            laps.mark("data")
            data = laps.stop()["data"]
            seconds, split = {}, {}
            for loop in _order([OURS, *loops], repetition):
                if loop == OURS:
                    before = page_faults()
                    seconds[loop], split = _time_ours(trainer, part, laps)
                    faults = page_faults() - before
                else:
                    synchronise(device)
                    start = time.perf_counter()
                    public[loop].step(part)
                    synchronise(device)
                    seconds[loop] = time.perf_counter() - start
            if repetition == 0:
                case.differences = {n: differences(trainer, p) for n, p in public.items()}
            if repetition >= warm_up:
                case.faults.append(faults)
                for loop, spent in seconds.items():
                    case.seconds[loop].append(data + spent)
                for name in PARTS:
                    case.parts[name].append(({"data": data} | split).get(name, 0.0))
    del trainer, public, batches
    free(device)
    return case


def _order(loops: list[str], repetition: int) -> list[str]:
    return loops if repetition % 2 == 0 else loops[::-1]


def _time_ours(trainer: Trainer, part, laps: Laps) -> tuple[float, dict[str, float]]:
    """Seconds of one step, and its split; where marks must wait for a GPU, the split is taken from
    a second step.
    """
    device = trainer.runtime.device
    total = 0.0
    if device.type != "cpu":
        synchronise(device)
        start = time.perf_counter()
        trainer.train_step([part])
        synchronise(device)
        total = time.perf_counter() - start
        if trainer.step == 1:  # the public loops have done one step too: leave it comparable
            return total, {}
    laps.start()
    trainer.train_step([part])
    laps.mark("EMA")
    split = laps.stop()
    return total or sum(split.values()), split


def differences(trainer: Trainer, public: PublicLoop) -> dict[str, float]:
    """The largest relative difference of gradients, and of weights, over the two networks."""
    networks = [
        (trainer.runtime.unwrap(trainer.generator), public.generator),
        (trainer.runtime.unwrap(trainer.discriminators[public.role]), public.discriminator),
    ]
    return {
        "gradients": max(gradient_difference(*pair) for pair in networks),
        "weights": max(weight_difference(*pair) for pair in networks),
    }


def memory_of(config: RunConfig, runtime: Runtime, loop: str) -> dict[str, float]:
    """Peak memory in MiB of two steps of one loop, which must be alone in its process.

    On a GPU what was allocated there, else what the process held; `before` is what it held before
    the first step: the networks, and on a CPU Python and its libraries. `peak` is NaN where the
    system does not tell; on macOS it includes the building of the networks.
    """
    trainer = build_trainer(config, runtime, 1000, continued=True)
    trainer.generator.train()
    part = random_part(trainer)

    def ours(part) -> None:
        trainer.train_step([part])

    step = ours
    if loop != OURS:
        step = PublicLoop(trainer, loop).step
        del trainer, ours
    free(runtime.device)
    before = held_mib(runtime.device)
    for _ in range(2):  # the optimizers' states come with the first
        step(part)
    return {"before": before, "peak": runtime.peak_memory_mib()}


def random_part(trainer: Trainer) -> Part:
    """A batch of noise under random masks, of the configuration's size, on the device."""
    batch, size = trainer.config.training.batch_size, trainer.config.data.size
    random = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (batch, 3, size, size), generator=random, dtype=torch.uint8)
    mask = (torch.rand(batch, 1, size, size, generator=random) > 0.7).to(torch.uint8)
    return trainer.to_part(Batch(image, mask, [str(i) for i in range(batch)]))
