"""Identity networks measured on frozen pictures of known people: one CSV a row, a line a picture.

A row is a trained network, or an answer by comparing pixels. Files are named and kept as
`engines.measures.rows` says.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from torch import Tensor

from deocclude.data.faces.files import Faces
from deocclude.data.faces.identities import label_names
from deocclude.data.faces.surroundings import swap_surroundings
from deocclude.data.files import sha256
from deocclude.data.images import to_tensor
from deocclude.data.occluders.mixture import NONE
from deocclude.data.pairs.occluded import FrozenOccluded
from deocclude.data.pairs.tensors import load_occluded
from deocclude.engines.inference import cost, networks
from deocclude.engines.measures.rows import RowResult, RowWriter, measured_rows
from deocclude.engines.runs.devices import device_name
from deocclude.progress import Bar

PROTOCOL = 2  # raised whenever a number in the CSVs would come out differently
COLUMNS = ("index", "image", "kind", "number", "hole_ratio", "identity", "named", "right")
COARSE = 32  # pixels: the side at which pictures are compared
EDGE = 4  # of those: the width of the frame that shows hardly any face


class Namer(Protocol):
    """Something that says whose face it is."""

    device: torch.device

    def name(self, image: Tensor) -> Tensor: ...

    def cost(self, size: int) -> dict[str, Any]: ...


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
        nothing = dict.fromkeys(("parameters", "median_ms", "p95_ms"), 0)
        return {**nothing, "macs": None, "device": device_name(self.device)}


@dataclass(frozen=True)
class IdentityRow:
    """One line of a table. `digest` changes whenever its numbers would."""

    name: str
    kind: str  # "model" or "baseline"
    digest: str
    open: Callable[[], Namer]
    training: dict[str, Any] | None = None


BASELINES = {
    "Nearest training picture": False,
    "Nearest training picture, edge only": True,
}


def network_row(
    name: str,
    checkpoint: Path,
    device: str | torch.device = "cpu",
    training: dict[str, Any] | None = None,
) -> IdentityRow:
    """The row of an identity run's `best.safetensors`, read when the row is opened."""
    opener = partial(networks.read_embedder, checkpoint, device)
    return IdentityRow(name, "model", sha256(checkpoint), opener, training)


def pixel_rows(known: Faces, identities: Sequence[str]) -> list[IdentityRow]:
    """The rows that compare pixels with the training pictures."""
    labels = label_names(known.names, identities)
    which = hashlib.sha256("\n".join(known.names).encode()).hexdigest()
    return [
        IdentityRow(
            name, "baseline", f"{name}: {which}", partial(NearestPicture, known, labels, edge)
        )
        for name, edge in BASELINES.items()
    ]


def evaluate_identities(
    rows: Sequence[IdentityRow],
    pairs: FrozenOccluded,
    identities: Sequence[str],
    folder: Path,
    *,
    template: str = "ffhq",
    batch: int = 64,
) -> list[RowResult]:
    """Measure each row on every picture, or take the values found in `folder`. `template`: where
    the eyes lie, for faces in other surroundings."""

    def key(row: IdentityRow) -> dict[str, Any]:
        known = {"protocol": PROTOCOL, "table": "identity", "pairs": pairs.hash, "size": pairs.size}
        return known | {"identities": list(identities), "row": row.digest, "template": template}

    measure = partial(_measure, identities=identities, batch=batch)
    facts = partial(_facts, identities=identities)
    return measured_rows(rows, pairs, folder, key, measure, facts)


def _measure(row: IdentityRow, pairs, path: Path, key: dict, identities, batch: int) -> RowResult:
    namer = row.open()
    labels = label_names([pair.image for pair in pairs.pairs], identities).tolist()
    spent = []
    with RowWriter(path, COLUMNS) as writer:
        bar = Bar(total=len(pairs), desc=row.name, unit="image")
        for first in range(0, len(pairs), batch):
            indices = range(first, min(first + batch, len(pairs)))
            _, occluded, _ = load_occluded(pairs, indices)
            cost.synchronise(namer.device)
            start = time.perf_counter()
            named = namer.name(occluded)
            cost.synchronise(namer.device)
            spent.append((len(indices), time.perf_counter() - start))
            lines = []
            for i, answer in zip(indices, named.tolist(), strict=True):
                pair, right = pairs.pairs[i], int(answer == labels[i])
                facts = [i, pair.image, pair.kind, pair.number, f"{pair.hole_ratio:.6f}"]
                lines.append([*facts, identities[labels[i]], identities[answer], right])
            writer.write(lines)
            bar.update(len(indices))
        bar.close()
        return writer.finish(
            {
                **_facts(row, pairs, identities),
                "key": key,
                "count": len(pairs),
                "swapped": name_swapped(namer, pairs, labels, key["template"], batch),
                "cost": {**namer.cost(pairs.size), "images_per_second": cost.rate(spent)},
            }
        )


def name_swapped(
    namer: Namer, pairs: FrozenOccluded, labels: Sequence[int], template: str, batch: int
) -> dict[str, float]:
    """Bare faces in the surroundings of the next bare picture that shows someone else: how many,
    and which share is named by the face, and by the surroundings."""
    bare = [i for i, pair in enumerate(pairs.pairs) if pair.kind == NONE]
    couples = []
    for place, i in enumerate(bare):
        others = (bare[(place + step) % len(bare)] for step in range(1, len(bare)))
        if (other := next((j for j in others if labels[j] != labels[i]), None)) is not None:
            couples.append((i, other))
    by_face = by_place = 0
    for first in range(0, len(couples), batch):
        part = couples[first : first + batch]
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


def _facts(row: IdentityRow, pairs: FrozenOccluded, identities: Sequence[str]) -> dict[str, Any]:
    return {
        "name": row.name,
        "kind": row.kind,
        "pairs": pairs.description,
        "people": len(identities),
        "training": row.training,
    }
