"""What is measured of a row beside its pixels: each measure has files of its own, so that adding
one to a table measures that one alone."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deocclude.data.contract import compose
from deocclude.data.images import to_tensor
from deocclude.data.pairs.holes import FrozenPairs
from deocclude.data.pairs.tensors import batches
from deocclude.engines.measures.rows import Batch, Recorder
from deocclude.metrics.as_published import AsPublishedMetrics
from deocclude.metrics.distribution import GaussianSums, frechet_distance
from deocclude.metrics.image import FUNCTIONS, ImageMetrics

PUBLISHED_BATCH = 8  # images a batch in the public code, which its PSNR depends on
WHOLE = ("composed", "raw")  # views of the whole image
PIXELS, PUBLISHED, FID = "pixels", "as_published", "fid"


@dataclass(frozen=True)
class Measure:
    """A measure: `key` decides its values, with the pairs and the row; `note` says what they are.

    With a `reason` it cannot be measured, and its column stays empty. `settle` makes the measure of
    some pairs, where key and note depend on them.
    """

    name: str
    key: dict[str, Any] = field(default_factory=dict)
    note: str | None = None
    reason: str | None = None
    start: Callable[[FrozenPairs, torch.device], Recorder] | None = None
    settle: Callable[[FrozenPairs], "Measure"] | None = None


class _ByImage:
    """Values of each image, from `metrics.image`."""

    def __init__(self, metrics: ImageMetrics):
        self.metrics, self.columns = metrics, metrics.columns

    def add(self, batch: Batch, prediction: Tensor) -> Iterable[Sequence[float]]:
        self.metrics.reset()
        self.metrics.update(prediction, batch.target, batch.mask, batch.names)
        _, *columns = self.metrics.values().values()
        return zip(*columns, strict=True)

    def finish(self, path: Path) -> dict[str, Any]:
        return {"set": {}}


def pixels() -> Measure:
    """L1, MSE, PSNR and SSIM in every view."""
    return Measure(PIXELS, start=lambda *_: _ByImage(ImageMetrics()))


def further_pixels() -> list[Measure]:
    """All other metrics of `metrics.image.FUNCTIONS`, each with a file of its own."""
    return [
        Measure(name, start=lambda *_, name=name: _ByImage(ImageMetrics([name])))
        for name in FUNCTIONS
        if name not in ImageMetrics().names
    ]


def learned(
    name: str,
    network: Callable[[Tensor, Tensor], Tensor] | None,
    key: Mapping[str, Any] | None = None,
    note: str | None = None,
    reason: str | None = None,
    views: Sequence[str] = WHOLE,
) -> Measure:
    """A metric by a network: `network(prediction, target)` on images in [0, 1] to (N,)."""
    if network is None:
        return Measure(name, reason=reason)
    start = lambda *_: _ByImage(ImageMetrics((), {name: network}, views))  # noqa: E731
    return Measure(name, dict(key or {}), note, None, start)


class _Published:
    columns = ()

    def __init__(self):
        self.metrics = AsPublishedMetrics()

    def add(self, batch: Batch, prediction: Tensor) -> tuple[()]:
        parts = (each.split(PUBLISHED_BATCH) for each in (prediction, batch.seen))
        for restored, target in zip(*parts, strict=True):
            self.metrics.update(restored, target)
        return ()

    def finish(self, path: Path) -> dict[str, Any]:
        return {"set": self.metrics.compute()}


def published() -> Measure:
    """The published definitions, see `metrics.as_published`, in batches of 8."""
    return Measure(PUBLISHED, {"batch": PUBLISHED_BATCH}, start=lambda *_: _Published())


class FidSums:
    """FID of the composed pictures to the true ones, whose sums are kept from row to row."""

    def __init__(self, network: nn.Module, batch: int = 64):
        self.network, self.batch = network, batch
        self._true: dict[str, GaussianSums] = {}

    def start(self, pairs: FrozenPairs, device: torch.device) -> Recorder:
        if pairs.hash not in self._true:
            self._true = {pairs.hash: self._sums_of(pairs, device)}
        return _Fid(self.network, self._true[pairs.hash])

    def _sums_of(self, pairs: FrozenPairs, device: torch.device) -> GaussianSums:
        """Each true picture is looked at once and counts as often as it is in the pairs."""
        repeats = Counter(pair.image for pair in pairs.pairs)
        first = {pair.image: index for index, pair in reversed(list(enumerate(pairs.pairs)))}
        sums, names = GaussianSums(), list(repeats)
        for places in batches(names, self.batch):
            part = [names[place] for place in places]
            images = to_tensor(np.stack([pairs.load(first[name])[0] for name in part]))
            times = torch.tensor([repeats[name] for name in part])
            sums.update(self.network(images.to(device)), times)
        return sums


class _Fid:
    columns = ()

    def __init__(self, network: nn.Module, true: GaussianSums):
        self.network, self.true, self.sums = network, true, GaussianSums()

    def add(self, batch: Batch, prediction: Tensor) -> tuple[()]:
        self.sums.update(self.network(compose(prediction, batch.seen, batch.mask)))
        return ()

    def finish(self, path: Path) -> dict[str, Any]:
        count = self.sums.count
        value = frechet_distance(self.sums, self.true) if count > 1 else float("nan")
        return {"set": {"fid": value, "count": count}}


def fid(network: nn.Module | None, key: Mapping[str, Any], reason: str | None = None) -> Measure:
    """FID with a network to (N, D) features; None leaves it out for `reason`."""
    if network is None:
        return Measure(FID, reason=reason)
    note = (
        "FID: Frechet distance of Inception's 2048 features (TensorFlow's network of 2015, 8-bit "
        "pixels, resized to 299 px) of the composed pictures to those of the true ones. It is too "
        "large for few pictures (the covariance of 2,048 or fewer different ones has no full "
        "rank): compare rows of this table with each other, not with another N."
    )
    return Measure(FID, dict(key), note, None, FidSums(network).start)
