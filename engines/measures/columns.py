"""What is measured of a row beside its pixels: each measure has files of its own, so that adding
one to a table measures that one alone."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from deocclude.data.contract import check_pair, compose
from deocclude.data.images import to_tensor
from deocclude.data.pairs.holes import FrozenPairs
from deocclude.metrics.as_published import AsPublishedMetrics
from deocclude.metrics.distribution import GaussianSums, frechet_distance
from deocclude.metrics.image import ImageMetrics

PUBLISHED_BATCH = 8  # images a batch in the public code, which its PSNR depends on
WHOLE = ("composed", "raw")  # views of the whole image
LEARNED = ("lpips", "lpips_vgg", "identity", "identity_dlib")  # by image
PIXELS, PUBLISHED, FID = "pixels", "as_published", "fid"


class Recorder(Protocol):
    """One measure of one row under way. `columns` are its values of each image."""

    columns: Sequence[str]

    def add(
        self, prediction: Tensor, target: Tensor, mask: Tensor, names: Sequence[str]
    ) -> list[list[float]]:
        """One list a column for a batch, images (N, 3, H, W) and mask (N, 1, H, W)."""

    def finish(self) -> dict[str, Any]:
        """What holds for the whole set."""


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

    def add(self, prediction, target, mask, names) -> list[list[float]]:
        self.metrics.reset()
        self.metrics.update(prediction, target, mask, names)
        return list(self.metrics.values().values())[1:]

    def finish(self) -> dict[str, Any]:
        return {}


def pixels() -> Measure:
    """L1, MSE, PSNR and SSIM in every view."""
    return Measure(PIXELS, start=lambda *_: _ByImage(ImageMetrics()))


def learned(
    name: str,
    network: Callable[[Tensor, Tensor], Tensor] | None,
    key: Mapping[str, Any] | None = None,
    note: str | None = None,
    reason: str | None = None,
    views: Sequence[str] = WHOLE,
) -> Measure:
    """A metric of `LEARNED`: `network(prediction, target)` on images in [0, 1] to (N,)."""
    if network is None:
        return Measure(name, reason=reason)
    start = lambda *_: _ByImage(ImageMetrics((), {name: network}, views))  # noqa: E731
    return Measure(name, dict(key or {}), note, None, start)


class _Published:
    columns = ()

    def __init__(self):
        self.metrics = AsPublishedMetrics()

    def add(self, prediction, target, mask, names) -> list:
        for start in range(0, len(target), PUBLISHED_BATCH):
            part = slice(start, start + PUBLISHED_BATCH)
            self.metrics.update(prediction[part], target[part])
        return []

    def finish(self) -> dict[str, Any]:
        return self.metrics.compute()


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
        for start in range(0, len(names), self.batch):
            part = names[start : start + self.batch]
            images = to_tensor(np.stack([pairs.load(first[name])[0] for name in part]))
            times = torch.tensor([repeats[name] for name in part])
            sums.update(self.network(images.to(device)), times)
        return sums


class _Fid:
    columns = ()

    def __init__(self, network: nn.Module, true: GaussianSums):
        self.network, self.true, self.sums = network, true, GaussianSums()

    def add(self, prediction, target, mask, names) -> list:
        self.sums.update(self.network(compose(prediction, target, mask)))
        return []

    def finish(self) -> dict[str, Any]:
        count = self.sums.count
        value = frechet_distance(self.sums, self.true) if count > 1 else float("nan")
        return {"fid": value, "count": count}


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


def batches(pairs: FrozenPairs, batch: int) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Indices, targets (N, 3, H, W) and masks (N, 1, H, W) of every pair, in order."""
    for start in range(0, len(pairs), batch):
        indices = list(range(start, min(start + batch, len(pairs))))
        images, masks = zip(*(pairs.load(index) for index in indices), strict=True)
        target, mask = to_tensor(np.stack(images)), to_tensor(np.stack(masks))
        check_pair(target, mask)
        yield indices, target, mask
