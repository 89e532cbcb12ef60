"""Restorations without a network; every table has them, so that a score has a floor.

All but `ppca`, which is fitted to faces (`engines.inference.ppca`), need no training. Such a one is
called `baseline(image, mask)`: image uint8 (H, W, 3) RGB, mask uint8 (H, W) of {0, 1}, 1 = hole. It
answers with a whole image, uint8 or float in [0, 1], and never looks at what the image holds inside
the hole, `occluded` excepted, which shows it.
"""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

import cv2
import numpy as np

from deocclude import stopping
from deocclude.names import did_you_mean

if TYPE_CHECKING:  # it imports torch, which the processes here do without
    from deocclude.engines.inference.ppca import FittedFaces

Baseline = Callable[[np.ndarray, np.ndarray], np.ndarray]

RADIUS = 3  # pixels around each hole pixel that OpenCV's methods look at


def occluded(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The input as it is: what doing nothing scores."""
    return image


def mean_colour(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The mean of this image's known pixels in the hole; mid-grey if no pixel is known."""
    known = image[mask == 0]
    restored = image.astype(np.float32) / 255
    restored[mask == 1] = known.mean(axis=0) / 255 if len(known) else 0.5
    return restored


def telea(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Fast marching (Telea 2004) as in OpenCV."""
    return cv2.inpaint(image, mask, RADIUS, cv2.INPAINT_TELEA)


def navier_stokes(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Navier-Stokes inpainting (Bertalmio et al. 2001) as in OpenCV."""
    return cv2.inpaint(image, mask, RADIUS, cv2.INPAINT_NS)


def biharmonic(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The smoothest surface through the known pixels (Damelin and Hoang 2018), scikit-image.

    Cost grows with the hole: about 10 ms for half of 64 x 64 pixels, 200 ms for half of 256 x 256.
    """
    from skimage.restoration import inpaint_biharmonic

    if mask.all():
        raise ValueError("biharmonic: the mask leaves no known pixel to continue from")
    return inpaint_biharmonic(image, mask, channel_axis=-1)


PPCA = "ppca"
BASELINES: dict[str, Baseline] = {  # those that need no training
    "occluded": occluded,
    "mean_colour": mean_colour,
    "telea": telea,
    "navier_stokes": navier_stokes,
    "biharmonic": biharmonic,
}
LABELS = {
    "occluded": "Occluded input",
    "mean_colour": "Mean colour",
    "telea": "Telea",
    "navier_stokes": "Navier-Stokes",
    "biharmonic": "Biharmonic",
    PPCA: "Probabilistic PCA",
}
NAMES = tuple(LABELS)
INSTANT = ("occluded", "mean_colour")  # cheaper than sending an image to another process
PATIENCE = 3.0  # seconds of work in this process before others are started, which takes about that


def create_baseline(name: str) -> Baseline:
    """A baseline that needs no training, by name. ValueError lists those that exist."""
    if name not in BASELINES:
        raise ValueError(f"unknown baseline {name!r}; valid: {', '.join(BASELINES)}")
    return BASELINES[name]


def parse_baselines(text: str | Iterable[str]) -> tuple[str, ...]:
    """`all`, `none` or names separated by commas, in the registry's order."""
    names = [part.strip() for part in text.split(",")] if isinstance(text, str) else list(text)
    names = [name.lower().replace("-", "_") for name in names if name]
    if names in (["none"], []):
        return ()
    if names == ["all"]:
        return NAMES
    for name in names:
        if name not in NAMES:
            raise ValueError(
                f"unknown baseline {name!r}; valid: {', '.join(NAMES)}, or all, or none"
                + did_you_mean(name, [*NAMES, "all", "none"])
            )
    return tuple(name for name in NAMES if name in names)


def identity(name: str, faces: "FittedFaces | None" = None) -> str:
    """What decides a baseline's output: its name, its radius and the library's version, or what it
    is fitted to. ValueError without such `faces` for the one that needs them."""
    if name == PPCA:
        return _required(faces).identity
    if name in ("telea", "navier_stokes"):
        return f"{name} radius={RADIUS} opencv={cv2.__version__}"
    if name == "biharmonic":
        import skimage

        version = skimage.__version__  # type: ignore[attr-defined]  # its stubs leave it out
        return f"{name} scikit-image={version}"
    return name


def _required(faces: "FittedFaces | None") -> "FittedFaces":
    if faces is None:
        raise ValueError(f"{PPCA} is fitted to training faces, and none were given")
    return faces


class BaselinePool:
    """Runs baselines on batches, in this process and, once it pays, in `workers` others.

    Others are started (`spawn`, as Windows does it) at the first batch after 3 seconds of work in
    this one, so that a few small images never wait for them; with `workers` 0 or 1 they never are.
    They end with `close()` or the `with` block. `faces`: what `ppca` is fitted to, which works in
    this process.
    """

    def __init__(self, workers: int | None = None, faces: "FittedFaces | None" = None):
        from deocclude.engines.runs.devices import available_cores

        self.workers = available_cores() if workers is None else workers
        if self.workers < 0:
            raise ValueError(f"workers must be 0 or more, found {self.workers}")
        self.faces = faces
        self._executor: ProcessPoolExecutor | None = None
        self._spent = 0.0  # seconds of work in this process

    def restore(
        self, name: str, images: np.ndarray, masks: np.ndarray
    ) -> tuple[np.ndarray, list[float]]:
        """Restored images (N, H, W, 3) float32 in [0, 1], and the seconds each one took.

        images uint8 (N, H, W, 3), masks uint8 (N, H, W) of {0, 1}. ChildProcessError when the
        system ends one of the processes.
        """
        if name == PPCA:
            return _required(self.faces).restore(images, masks)
        create_baseline(name)
        jobs = [(name, image, mask) for image, mask in zip(images, masks, strict=True)]
        alone = self.workers <= 1 or name in INSTANT or len(jobs) < 2 or self._spent < PATIENCE
        answers = [_restore_one(job) for job in jobs] if alone else self._spread(jobs)
        seconds = [each for _, each in answers]
        self._spent += sum(seconds) if alone else 0
        return np.stack([image for image, _ in answers]), seconds

    def _spread(self, jobs: list[tuple]) -> list[tuple[np.ndarray, float]]:
        chunk = max(1, len(jobs) // (4 * self.workers))
        try:
            with stopping.held():
                answers = self._processes().map(_restore_one, jobs, chunksize=chunk)
            return list(answers)
        except BrokenProcessPool as error:
            self.close()
            raise ChildProcessError(
                f"one of {self.workers} processes for the baselines ended unexpectedly; out of "
                "memory? --workers 0 works in this process alone"
            ) from error

    def _processes(self) -> ProcessPoolExecutor:
        if self._executor is None:
            self._executor = ProcessPoolExecutor(
                self.workers, multiprocessing.get_context("spawn"), initializer=_start_worker
            )
        return self._executor

    def close(self) -> None:
        """End the processes."""
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
            self._executor = None

    def __enter__(self) -> "BaselinePool":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and self._executor is not None:  # nobody waits for their answers
            for process in multiprocessing.active_children():
                process.kill()
        self.close()


def _start_worker() -> None:
    stopping.leave_to_parent()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)


def _end_with_parent() -> None:
    """End when the process that gives the work was killed: a pool's own wait for ever."""
    if (parent := multiprocessing.parent_process()) is not None:
        wait([parent.sentinel])
        os._exit(1)


def _restore_one(job: tuple[str, np.ndarray, np.ndarray]) -> tuple[np.ndarray, float]:
    name, image, mask = job
    start = time.perf_counter()
    restored = create_baseline(name)(image, mask)
    seconds = time.perf_counter() - start
    if restored.dtype == np.uint8:
        restored = restored.astype(np.float32) / 255
    return restored.astype(np.float32).clip(0, 1), seconds
