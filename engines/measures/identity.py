"""Identity networks measured on frozen pictures of known people (`engines.measures.rows`).

A row is a trained network, or an answer by comparing pixels.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from deocclude.data.faces.files import Faces
from deocclude.data.faces.identities import label_names
from deocclude.data.faces.surroundings import swap_surroundings
from deocclude.data.files import sha256
from deocclude.data.images import to_tensor
from deocclude.data.occluders.groups import UNOCCLUDED
from deocclude.data.pairs.occluded import FrozenOccluded
from deocclude.data.pairs.tensors import batches
from deocclude.engines.inference import cost, networks
from deocclude.engines.measures.rows import Batch, Row, RowResult, Sheet, measured

PROTOCOL = 2  # raised whenever a number in the CSVs would come out differently
COARSE = 32  # pixels: the side at which pictures are compared
EDGE = 4  # of those: the width of the frame that shows hardly any face


class NearestPicture:
    """The person of the training picture that is nearest in its pixels, at a side of 32.

    `edge`: only the frame around the face counts, which tells how much the place where a picture
    was taken gives away.
    """

    device = torch.device("cpu")

    def __init__(self, known: Faces, labels: np.ndarray, edge: bool) -> None:
        self.labels, self.edge = torch.from_numpy(labels), edge
        self.known = self._describe(known[i] for i in range(len(known)))

    def _describe(self, pictures: Iterable[np.ndarray]) -> Tensor:
        """uint8 (H, W, 3) each, one after another, to the pixels that count, (N, P)."""
        small = {"dsize": (COARSE, COARSE), "interpolation": cv2.INTER_AREA}
        shrunk = torch.stack([to_tensor(cv2.resize(picture, **small)) for picture in pictures])
        counts = torch.ones(COARSE, COARSE, dtype=torch.bool)
        if self.edge:
            counts[EDGE:-EDGE, EDGE:-EDGE] = False
        return shrunk[:, :, counts].flatten(1)

    def name(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) to the places of people, (N,)."""
        pictures = (image * 255).round().byte().permute(0, 2, 3, 1).numpy()
        return self.labels[torch.cdist(self._describe(pictures), self.known).argmin(1)]

    def cost(self, size: int) -> dict[str, Any]:
        """Nothing worth measuring."""
        return cost.nothing(self.device)


Namer = networks.Embedder | NearestPicture  # what a row opens
BASELINES = {
    "Nearest training picture": False,
    "Nearest training picture, edge only": True,
}


def network_row(
    name: str,
    checkpoint: Path,
    device: str | torch.device = "cpu",
    training: dict[str, Any] | None = None,
) -> Row:
    """The row of an identity run's `best.safetensors`, read when the row is opened."""
    opener = partial(networks.read_embedder, checkpoint, device)
    return Row(name, "model", sha256(checkpoint), opener, training)


def pixel_rows(known: Faces, identities: Sequence[str]) -> list[Row]:
    """The rows that compare pixels with the training pictures."""
    labels = label_names(known.names, identities)
    which = hashlib.sha256("\n".join(known.names).encode()).hexdigest()
    return [
        Row(name, "baseline", f"{name}: {which}", partial(NearestPicture, known, labels, edge))
        for name, edge in BASELINES.items()
    ]


def evaluate_identities(
    rows: Sequence[Row],
    pairs: FrozenOccluded,
    identities: Sequence[str],
    folder: Path,
    *,
    template: str = "ffhq",
    batch: int = 64,
) -> list[RowResult]:
    """Measure each row on every picture, or take the values found in `folder`. `template`: where
    the eyes lie, for faces in other surroundings."""
    people = list(identities)
    key = {"protocol": PROTOCOL, "table": "identity", "identities": people, "template": template}
    start = partial(_Names, pairs=pairs, people=people, template=template, batch=batch)
    sheets = [Sheet(row, key, start, facts={"people": len(people)}) for row in rows]
    return measured(sheets, pairs, folder, lambda row, part: partial(row.name, part.seen), batch)


class _Names:
    """Who is in a picture, and whom it was taken for."""

    columns = ("identity", "named", "right")

    def __init__(
        self, namer: Namer, pairs: FrozenOccluded, people: list[str], template: str, batch: int
    ) -> None:
        self.people = people
        self.labels = label_names([pair.image for pair in pairs.pairs], people).tolist()
        self.swapped = partial(name_swapped, namer, pairs, self.labels, template, batch)

    def add(self, batch: Batch, named: Tensor) -> Iterator[list]:
        for index, answer in zip(batch.indices, named.tolist(), strict=True):
            label = self.labels[index]
            yield [self.people[label], self.people[answer], int(answer == label)]

    def finish(self, path: Path) -> dict[str, Any]:
        return {"swapped": self.swapped()}


def name_swapped(
    namer: Namer, pairs: FrozenOccluded, labels: Sequence[int], template: str, batch: int
) -> dict[str, float]:
    """Bare faces in the surroundings of the next bare picture that shows someone else: how many,
    and which share is named by the face, and by the surroundings."""
    bare = [i for i, pair in enumerate(pairs.pairs) if pair.kind == UNOCCLUDED]
    couples = []
    for place, i in enumerate(bare):
        others = (bare[(place + step) % len(bare)] for step in range(1, len(bare)))
        if (other := next((j for j in others if labels[j] != labels[i]), None)) is not None:
            couples.append((i, other))
    by_face = by_place = 0
    for places in batches(couples, batch):
        part = [couples[place] for place in places]
        pictures = [
            to_tensor(swap_surroundings(pairs.load(i)[0], pairs.load(j)[0], template))
            for i, j in part
        ]
        for (i, j), named in zip(part, namer.name(torch.stack(pictures)).tolist(), strict=True):
            by_face += named == labels[i]
            by_place += named == labels[j]
    count = len(couples)
    shares = {"face": by_face / count, "surroundings": by_place / count} if count else {}
    return {"count": count, **shares}
