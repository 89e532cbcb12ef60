"""Training batches that depend on their position in the run only: not on workers, processes or
resume.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from deocclude import stopping
from deocclude.data.faces.files import Faces
from deocclude.data.faces.surroundings import swap_surroundings
from deocclude.data.masks.found import LARGEST_HOLE, SMALLEST_HOLE, found_hole
from deocclude.data.masks.source import MaskFolder, MaskGenerator
from deocclude.data.occluders.mixture import Occluders, bare
from deocclude.data.occluders.placing import Occluded
from deocclude.data.occluders.sets import PairedSet
from deocclude.data.pairs.augmentations import Augment
from deocclude.data.seeding import keyed_rng


class Batch(NamedTuple):
    """uint8 images (N, 3, H, W), uint8 masks (N, 1, H, W) of {0, 1}, and the images' names.

    The images are whole faces to train an inpainter, occluded ones to train a segmenter.
    `occluded`, like the images: the faces as they are covered, where masks alone do not tell; an
    inpainter that is told of its holes sees them hidden.
    """

    image: Tensor
    mask: Tensor
    names: list[str]
    occluded: Tensor | None = None


class IdentityBatch(NamedTuple):
    """uint8 images (N, 3, H, W), each one's person as a whole number (N,), and their names."""

    image: Tensor
    label: Tensor
    names: list[str]


Order = Callable[[np.random.Generator], np.ndarray]  # of a round


class _Listed(Dataset):
    """An endless list whose item p is a pure function of (seed, p): every round of `images`
    positions visits each picture once, in a new order. Subclasses are dataclasses with these
    fields; `flip` and `augment` are changes of what is shown, keyed by the position.
    """

    faces: Faces
    occluders: Occluders  # of those that have some
    seed: int
    flip: bool
    augment: Augment | None

    @property
    def images(self) -> int:
        return len(self.faces)

    @property
    def order(self) -> Order | None:
        return self.faces.order

    def _index(self, position: int) -> int:
        """Of the picture at a position."""
        round_, place = divmod(position, self.images)
        return int(_order(self.seed, round_, self.images, self.order)[place])

    def _under(self, face: np.ndarray, index: int, position: int) -> Occluded:
        """The face of this index under an occluder of its own."""
        points = self.faces.points_of(index)
        return self.occluders.draw(face, "train", self.seed, position, points=points)

    def _varied(self, image: np.ndarray, mask: np.ndarray, position: int) -> tuple[Tensor, Tensor]:
        """Flipped and augmented, as tensors (3, H, W) and (1, H, W)."""
        if self.flip and keyed_rng(self.seed, "flip", position).random() < 0.5:
            image, mask = image[:, ::-1], mask[:, ::-1]
        if self.augment is not None:
            image, mask = np.ascontiguousarray(image), np.ascontiguousarray(mask)
            image, mask = self.augment(image, mask, keyed_rng(self.seed, "augment", position))
        return (
            torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
            torch.from_numpy(np.ascontiguousarray(mask)[None]),
        )


@dataclass(eq=False, repr=False)
class TrainingPairs(_Listed):
    """An inpainter's training faces with a mask each, which draws its bin, its class (touching the
    border or not), then itself. `augment` moves and relights the face; the mask stays as drawn.
    """

    faces: Faces
    masks: MaskGenerator | MaskFolder
    seed: int
    flip: bool = False
    augment: Augment | None = None

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor, str]:
        index = self._index(position)
        mask = self.masks.draw("train", self.seed, position)
        image, _ = self._varied(self.faces[index], mask, position)
        return image, torch.from_numpy(mask[None]), self.faces.names[index]


@dataclass(eq=False, repr=False)
class _UnderOccluders(_Listed):
    """Faces, each under an occluder of its own."""

    faces: Faces
    occluders: Occluders
    seed: int
    flip: bool = False
    augment: Augment | None = None

    def _drawn(self, position: int) -> tuple[np.ndarray, Occluded, str]:
        """The face, what an occluder made of it, and what that is called."""
        index = self._index(position)
        face = self.faces[index]
        made = self._under(face, index, position)
        return face, made, f"{self.faces.names[index]} ({made.kind})"


class OccludedPairs(_UnderOccluders):
    """A segmenter's training pairs."""

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor, str]:
        _, made, name = self._drawn(position)
        image, mask = self._varied(made.image, made.mask, position)
        return image, mask, name


class CoveredFaces(_UnderOccluders):
    """An inpainter's training faces under occluders: target, mask, name and the covered face, moved
    and relit like the target.
    """

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor, str, Tensor]:
        face, made, name = self._drawn(position)
        target, mask = self._varied(face, made.mask, position)
        occluded, _ = self._varied(made.image, made.mask, position)
        return target, mask, name, occluded


@dataclass(eq=False, repr=False)
class MixedHoles(_Listed):
    """An inpainter's training faces with holes of two sorts: target, mask, name and the face as it
    is around the hole.

    Half of the holes come from `masks`, as in `TrainingPairs`; the other half have the shape of an
    occluder as a segmenter would find it, with what is left of the occluder around them. `augment`
    moves and relights all of them alike.
    """

    faces: Faces
    masks: MaskGenerator | MaskFolder
    occluders: Occluders
    seed: int
    flip: bool = False
    augment: Augment | None = None

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor, str, Tensor]:
        index = self._index(position)
        face = self.faces[index]
        shown, hole = face, None
        rng = keyed_rng(self.seed, "holes", position)
        if rng.random() < 0.5:
            made = self._under(face, index, position)
            shown, hole = made.image, found_hole(made.mask, rng)
        if hole is None or not SMALLEST_HOLE < hole.mean() < LARGEST_HOLE:
            shown, hole = face, self.masks.draw("train", self.seed, position)
        target, mask = self._varied(face, hole, position)
        seen, _ = self._varied(shown, hole, position)
        return target, mask, self.faces.names[index], seen


@dataclass(eq=False, repr=False)
class IdentityPictures(_Listed):
    """An identity network's training pictures.

    `share` of them are under an occluder, `swap_share` have the surroundings of another person's
    picture, so that it is the face that tells who it is; all are flipped and augmented as in
    `OccludedPairs`.
    """

    faces: Faces
    labels: np.ndarray
    occluders: Occluders
    seed: int
    share: float
    flip: bool = False
    augment: Augment | None = None
    swap_share: float = 0.0

    def __getitem__(self, position: int) -> tuple[Tensor, int, str]:
        index = self._index(position)
        made = bare(self._face(index, position))
        if keyed_rng(self.seed, "occlude", position).random() < self.share:
            made = self._under(made.image, index, position)
        image, _ = self._varied(made.image, made.mask, position)
        return image, int(self.labels[index]), f"{self.faces.names[index]} ({made.kind})"

    def _face(self, index: int, position: int) -> np.ndarray:
        """The picture, some in another person's surroundings."""
        face, rng = self.faces[index], keyed_rng(self.seed, "surroundings", position)
        if rng.random() >= self.swap_share:
            return face
        others = np.flatnonzero(self.labels != self.labels[index])
        other = self.faces[int(rng.choice(others))]
        return swap_surroundings(face, other, self.occluders.template, self.faces.points_of(index))

    @staticmethod
    def collate(items: list[tuple[Tensor, int, str]]) -> IdentityBatch:
        """Items as a batch."""
        images, labels, names = zip(*items, strict=True)
        return IdentityBatch(torch.stack(images), torch.tensor(labels), list(names))


@dataclass(eq=False, repr=False)
class SetPairs(_Listed):
    """The pairs `keep` of a set on disk."""

    pairs: PairedSet
    keep: list[int]
    size: int
    seed: int
    flip: bool = False
    augment: Augment | None = None

    order = None

    @property
    def images(self) -> int:
        return len(self.keep)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor, str]:
        index = self.keep[self._index(position)]
        _, shown, covered = self.pairs.load(index, self.size)
        image, mask = self._varied(shown, covered, position)
        return image, mask, self.pairs.names[index]


@lru_cache(maxsize=4)
def _order(seed: int, round_: int, count: int, order: Order | None) -> np.ndarray:
    rng = keyed_rng(seed, "order", round_)
    return rng.permutation(count) if order is None else order(rng)


class PositionSampler(Sampler):
    """Positions of one process's part of each batch, from optimiser step `start` to `stop`.

    Part a of `accumulate` of step s on process r of `processes` holds the positions
    s B + (a P + r) m ... + m - 1, with B the batch size of a step and m = B / (P accumulate).
    """

    def __init__(
        self, batch: int, start: int, stop: int, accumulate: int, rank: int, processes: int
    ) -> None:
        if batch % (accumulate * processes):
            raise ValueError(
                f"training.batch_size {batch} cannot be split over {processes} processes "
                f"x {accumulate} accumulated parts; make it a multiple of {accumulate * processes}"
            )
        self.batch, self.start, self.stop = batch, start, stop
        self.accumulate, self.rank, self.processes = accumulate, rank, processes

    def __len__(self) -> int:
        return (self.stop - self.start) * self.accumulate

    def __iter__(self) -> Iterator[list[int]]:
        part = self.batch // (self.accumulate * self.processes)
        for step in range(self.start, self.stop):
            for a in range(self.accumulate):
                first = step * self.batch + (a * self.processes + self.rank) * part
                yield list(range(first, first + part))


def _collate(items: list[tuple]) -> Batch:
    """Items are (image, mask, name), some with the covered image too."""
    images, masks, names, *occluded = zip(*items, strict=True)
    stacked = [torch.stack(images) for images in occluded]
    return Batch(torch.stack(images), torch.stack(masks), list(names), *stacked)


def _start_worker(worker: int) -> None:
    """Ctrl-C is the main process's to handle; a worker that dies of it hides the clean stop."""
    stopping.leave_to_parent()


def training_loader(
    pairs: Dataset, sampler: PositionSampler, workers: int, pin: bool = False
) -> DataLoader:
    """Batches in the sampler's order. `pin` page-locks them for a faster copy to a GPU."""
    return DataLoader(
        pairs,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=getattr(pairs, "collate", _collate),
        pin_memory=pin,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_start_worker,
        generator=torch.Generator(),  # the global one, which dropout draws from, stays as it is
    )
