"""Frozen pairs of a face and something that covers it; segmenters are measured on them only."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from deocclude.data.faces.files import Faces, hash_array, hash_image
from deocclude.data.occluders.mixture import Occluders
from deocclude.data.occluders.sets import PairedSet
from deocclude.data.pairs.frozen import FrozenList

logger = logging.getLogger(__name__)

PROTOCOL = 1  # raised when the meaning of a pair changes, so that old hashes no longer match


class OccludedPair(NamedTuple):
    """One face and one occluder; `number` tells pairs of a kind apart."""

    image: str
    image_sha256: str
    kind: str
    number: int
    occluded_sha256: str
    mask_sha256: str
    hole_ratio: float


class FrozenOccluded(FrozenList):
    """Faces and what covers them.

    load(i) gives target uint8 (H, W, 3), None where a set on disk has no clean pictures, occluded
    uint8 (H, W, 3) and mask uint8 (H, W) of {0, 1}; see FrozenList. Kind "none" is a face with
    nothing on it and an empty mask.

    `held_out`: no cut-out here is trained on. Nobody can say that where sets on disk come in.
    `training` gives the faces that are trained on where these are tested; None where nobody knows.
    """

    ENTRY = OccludedPair
    CELL = ("kind",)
    training: Callable[[], Faces] | None = None

    def __init__(
        self,
        pairs: Sequence[OccludedPair],
        read: Callable[[int], tuple],
        size: int,
        description: str,
        held_out: bool = True,
    ) -> None:
        super().__init__(pairs, read, size, description)
        self.held_out = held_out

    def content(self) -> list:
        listed = [
            [p.image_sha256, p.kind, p.number, p.occluded_sha256, p.mask_sha256] for p in self.pairs
        ]
        return [PROTOCOL, "occluded", self.size, listed]


def freeze_occluded(
    faces: Faces,
    occluders: Occluders,
    split: str,
    per_kind: int,
    description: str | None = None,
    kinds: Sequence[str] | None = None,
) -> FrozenOccluded:
    """`per_kind` pairs of each kind of occluder; faces are used in turn, so kinds share them.

    A pair whose occluder ended outside the picture (an empty mask; kind "none" and kept eyeglasses
    excepted) is left out. `kinds`: some of `occluders.kinds(split)`; None means all. ValueError
    lists the valid ones.
    """
    kinds = list(kinds or occluders.kinds(split))
    occluders.check_kinds(kinds, split)
    hashes: dict[int, str] = {}
    kept, pairs = [], []
    for place, kind in enumerate(kinds):
        for number in range(per_kind):
            index = (place * per_kind + number) % len(faces)
            face = faces[index]
            made = occluders.fixed(face, split, kind, number, points=faces.points_of(index))
            if not occluders.leaves_bare(kind) and not made.mask.any():
                continue
            if index not in hashes:
                hashes[index] = hash_image(faces, index)
            kept.append((index, kind, number))
            ratio = round(float(made.mask.mean()), 6)
            digests = hash_array(made.image), hash_array(made.mask)
            pairs.append(
                OccludedPair(faces.names[index], hashes[index], kind, number, *digests, ratio)
            )
    if not pairs:
        raise ValueError(f"no pair of a face and an occluder in split {split!r}")
    if len(pairs) < len(kinds) * per_kind:
        logger.warning(
            "%d of %d occluders ended outside the picture and are left out",
            len(kinds) * per_kind - len(pairs), len(kinds) * per_kind,
        )  # fmt: skip
    words = description or f"{split} split, {per_kind} pairs in each of {len(kinds)} kinds"
    words += f", {len(set(hashes.values()))} distinct images"

    def read(pair: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        index, kind, number = kept[pair]
        face = faces[index]
        made = occluders.fixed(face, split, kind, number, points=faces.points_of(index))
        return face, made.image, made.mask

    return FrozenOccluded(pairs, read, faces.size, words)


def freeze_set(
    pairs: PairedSet, keep: Sequence[int], size: int, description: str
) -> FrozenOccluded:
    """The pairs `keep` of a set on disk."""
    counts: Counter[str] = Counter()
    listed = []
    for index in keep:
        kind = pairs.kinds[index]
        target, occluded, mask = pairs.load(index, size)
        face = hash_array(occluded if target is None else target)
        digests, ratio = (hash_array(occluded), hash_array(mask)), round(float(mask.mean()), 6)
        shown = pairs.pairs[index].image
        listed.append(OccludedPair(shown, face, kind, counts[kind], *digests, ratio))
        counts[kind] += 1
    words = f"{description}, {len({pair.image_sha256 for pair in listed})} distinct images"
    return FrozenOccluded(
        listed, lambda pair: pairs.load(keep[pair], size), size, words, held_out=False
    )
