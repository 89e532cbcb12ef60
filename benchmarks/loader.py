"""The loader alone: images a second and worker, and what of the cache a worker holds itself."""

if __name__ == "__main__":
    raise SystemExit("a part of `python benchmarks/training.py`, which is the program")


import multiprocessing
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from deocclude.data.faces.cache import cache_faces
from deocclude.data.faces.files import Faces
from deocclude.data.pairs.training import PositionSampler, TrainingPairs, training_loader
from deocclude.data.sources.holes import Sources
from deocclude.engines.runs.settings import RunConfig

WARM_UP = 2  # batches: the workers' start


@dataclass
class LoaderCase:
    """Decode (or read from the cache), mask, batch; nothing else runs."""

    cache: str
    workers: int
    images: int
    seconds: float
    cache_mib: float  # of decoded images
    own_mib: list[float]  # memory of each worker that no other process shares; empty: not told

    @property
    def rate(self) -> float:
        """Images a second and worker."""
        return self.images / self.seconds / self.workers


def measure_loader(
    config: RunConfig, sources: Sources, images: int, workers: tuple[int, ...] = (1, 2)
) -> list[LoaderCase]:
    """Without and with the RAM cache, for each number of workers, over `images` images."""
    faces = sources.faces("train")
    faces = faces.subset(range(min(images, len(faces))))
    cached = cache_faces(faces, "ram", config.data.cache_gib, Path())
    return [
        _measure(config, kept, sources.masks, cache, count)
        for cache, kept in (("none", faces), ("ram", cached))
        for count in workers
    ]


def _measure(config: RunConfig, faces: Faces, masks, cache: str, workers: int) -> LoaderCase:
    batch = min(config.training.batch_size, max(1, len(faces) // (4 * workers)))
    count = max(1, len(faces) // batch)
    pairs = TrainingPairs(faces, masks, config.training.seed, config.data.flip)
    # one round in the time, so that workers have touched every image; more keeps them alive
    sampler = PositionSampler(batch, 0, WARM_UP + count + 1, 1, 0, 1)
    batches = iter(training_loader(pairs, sampler, workers))
    for _ in range(WARM_UP):
        next(batches)
    start = time.perf_counter()
    for _ in range(count):
        next(batches)
    seconds = time.perf_counter() - start
    own = [own_memory(child.pid) for child in multiprocessing.active_children()]
    del batches
    size = len(faces) * 3 * config.data.size**2 / 2**20
    return LoaderCase(cache, workers, count * batch, seconds, size if cache == "ram" else 0.0, own)


def own_memory(pid: int) -> float:
    """MiB that a process shares with no other (its unique set size)."""
    return psutil.Process(pid).memory_full_info().uss / 2**20
