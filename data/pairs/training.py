"""Training batches that depend on their position in the run only: not on workers, processes or
resume.
"""

from collections.abc import Callable, Iterator
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


class TrainingPairs(Dataset):
    """The endless list of training pairs; item p is a pure function of (seed, p).

    Every round of `images` positions visits each face once, in a new order. The mask draws its
    bin, its class (touching the border or not), then the mask itself. `augment` moves and relights
    the face; the mask stays as drawn.
    """

    def __init__(
        self,
        faces: Faces,
        masks: MaskGenerator | MaskFolder,
        seed: int,
        flip: bool = False,
        augment: Augment | None = None,
    ) -> None:
        self.faces, self.masks, self.seed = faces, masks, seed
        self.flip, self.augment = flip, augment
        self.images = len(faces)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor, str]:
        index = _visited(self.faces, self.seed, position)
        mask = self.masks.draw("train", self.seed, position)
        image, _ = _vary(self.faces[index], mask, self.seed, position, self.flip, self.augment)
        return image, torch.from_numpy(mask[None]), self.faces.names[index]


class _UnderOccluders(Dataset):
    """Every round of `images` positions visits each face once, in a new order, under an occluder of
    its own. `augment` moves and relights what is shown; None leaves it.
    """

    def __init__(
        self,
        faces: Faces,
        occluders: Occluders,
        seed: int,
        flip: bool = False,
        augment: Augment | None = None,
    ) -> None:
        self.faces, self.occluders, self.seed = faces, occluders, seed
        self.flip, self.augment = flip, augment
        self.images = len(faces)

    def _drawn(self, position: int) -> tuple[np.ndarray, Occluded, str]:
        """The face, what an occluder made of it, and what that is called."""
        index = _visited(self.faces, self.seed, position)
        face, points = self.faces[index], self.faces.points_of(index)
        made = self.occluders.draw(face, "train", self.seed, position, points=points)
        return face, made, f"{self.faces.names[index]} ({made.kind})"

    def _varied(self, image: np.ndarray, mask: np.ndarray, position: int) -> tuple[Tensor, Tensor]:
        return _vary(image, mask, self.seed, position, self.flip, self.augment)


class OccludedPairs(_UnderOccluders):
    """The endless list of a segmenter's training pairs; item p is a pure function of (seed, p)."""

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor, str]:
        _, made, name = self._drawn(position)
        image, mask = self._varied(made.image, made.mask, position)
        return image, mask, name


class CoveredFaces(_UnderOccluders):
    """The endless list of an inpainter's training faces under occluders; item p is a pure function
    of (seed, p): target, mask, name and the covered face, moved and relit like the target.
    """

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor, str, Tensor]:
        face, made, name = self._drawn(position)
        target, _ = self._varied(face, made.mask, position)
        occluded, mask = self._varied(made.image, made.mask, position)
        return target, mask, name, occluded


class MixedHoles(Dataset):
    """The endless list of an inpainter's training faces with holes of two sorts; item p is a pure
    function of (seed, p): target, mask, name and the face as it is around the hole.

    Half of the holes come from `masks`, as in `TrainingPairs`; the other half have the shape of an
    occluder as a segmenter would find it, with what is left of the occluder around them. `augment`
    moves and relights all of them alike.
    """

    def __init__(
        self,
        faces: Faces,
        masks: MaskGenerator | MaskFolder,
        occluders: Occluders,
        seed: int,
        flip: bool = False,
        augment: Augment | None = None,
    ) -> None:
        self.faces, self.masks, self.occluders = faces, masks, occluders
        self.seed, self.flip, self.augment = seed, flip, augment
        self.images = len(faces)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor, str, Tensor]:
        index = _visited(self.faces, self.seed, position)
        face = self.faces[index]
        shown, hole = face, None
        rng = keyed_rng(self.seed, "holes", position)
        if rng.random() < 0.5:
            points = self.faces.points_of(index)
            made = self.occluders.draw(face, "train", self.seed, position, points=points)
            shown, hole = made.image, found_hole(made.mask, rng)
        if hole is None or not SMALLEST_HOLE < hole.mean() < LARGEST_HOLE:
            shown, hole = face, self.masks.draw("train", self.seed, position)
        change = (self.seed, position, self.flip, self.augment)
        target, mask = _vary(face, hole, *change)
        seen, _ = _vary(shown, hole, *change)
        return target, mask, self.faces.names[index], seen


class IdentityPictures(Dataset):
    """The endless list of an identity network's training pictures; item p is a pure function of
    (seed, p).

    Every round of `images` positions visits each picture once, in a new order. `share` of them are
    under an occluder, `swap_share` have the surroundings of another person's picture, so that it is
    the face that tells who it is; all are flipped and augmented as in `OccludedPairs`.
    """

    def __init__(
        self,
        faces: Faces,
        labels: np.ndarray,
        occluders: Occluders,
        seed: int,
        share: float,
        flip: bool = False,
        augment: Augment | None = None,
        swap_share: float = 0.0,
    ) -> None:
        self.faces, self.labels, self.occluders, self.seed = faces, labels, occluders, seed
        self.share, self.flip, self.augment, self.swap_share = share, flip, augment, swap_share
        self.images = len(faces)

    def __getitem__(self, position: int) -> tuple[Tensor, int, str]:
        index = _visited(self.faces, self.seed, position)
        made = bare(self._face(index, position))
        if keyed_rng(self.seed, "occlude", position).random() < self.share:
            made = self.occluders.draw(
                made.image, "train", self.seed, position, points=self.faces.points_of(index)
            )
        image, _ = _vary(made.image, made.mask, self.seed, position, self.flip, self.augment)
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


class SetPairs(Dataset):
    """The endless list of the pairs `keep` of a set on disk, in a new order each round."""

    def __init__(
        self,
        pairs: PairedSet,
        keep: list[int],
        size: int,
        seed: int,
        flip: bool = False,
        augment: Augment | None = None,
    ) -> None:
        self.pairs, self.keep, self.size, self.seed = pairs, keep, size, seed
        self.flip, self.augment = flip, augment
        self.images = len(keep)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor, str]:
        round_, place = divmod(position, len(self.keep))
        index = self.keep[int(_order(self.seed, round_, len(self.keep), None)[place])]
        _, shown, covered = self.pairs.load(index, self.size)
        image, mask = _vary(shown, covered, self.seed, position, self.flip, self.augment)
        return image, mask, self.pairs.names[index]


def _vary(
    image: np.ndarray,
    mask: np.ndarray,
    seed: int,
    position: int,
    flip: bool,
    augment: Augment | None,
) -> tuple[Tensor, Tensor]:
    """Flip and augment as asked, keyed by the position; as tensors (3, H, W) and (1, H, W)."""
    if flip and keyed_rng(seed, "flip", position).random() < 0.5:
        image, mask = image[:, ::-1], mask[:, ::-1]
    if augment is not None:
        image, mask = np.ascontiguousarray(image), np.ascontiguousarray(mask)
        image, mask = augment(image, mask, keyed_rng(seed, "augment", position))
    return (
        torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
        torch.from_numpy(np.ascontiguousarray(mask)[None]),
    )


def _visited(faces: Faces, seed: int, position: int) -> int:
    """The index of the face at a position."""
    round_, place = divmod(position, len(faces))
    return int(_order(seed, round_, len(faces), faces.order)[place])


@lru_cache(maxsize=4)
def _order(
    seed: int, round_: int, count: int, order: Callable[[np.random.Generator], np.ndarray] | None
) -> np.ndarray:
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
