"""Frozen lists: what a table is made on, listed, hashed, saved and verifiable."""

import abc
import copy
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np

from deocclude.data.files import write_text

Frozen = TypeVar("Frozen", bound="FrozenList")


class FrozenList(abc.ABC):
    """A list of samples that can be read again and checked against its hashes.

    Args:
        pairs: what is listed, each an ENTRY.
        read: index -> the sample's arrays.
        size: side in pixels; every image and mask is square.
        description: where the samples came from, in words, printed under tables.
    """

    ENTRY: ClassVar[type[NamedTuple]]
    CELL: ClassVar[tuple[str, ...]]

    def __init__(
        self, pairs: Sequence[Any], read: Callable[[int], tuple], size: int, description: str
    ) -> None:
        self.pairs = list(pairs)
        self.size = size
        self.description = description
        self._read = read
        content = json.dumps(self.content(), separators=(",", ":"))
        self.hash = hashlib.sha256(content.encode()).hexdigest()

    @abc.abstractmethod
    def content(self) -> list:
        """What the hash covers, as JSON values."""

    def __len__(self) -> int:
        return len(self.pairs)

    def load(self, index: int) -> tuple[np.ndarray, ...]:
        """The arrays of one sample."""
        return self._read(index)

    def limited(self: Frozen, count: int | None) -> Frozen:
        """At most `count` samples, taken in turn from each cell (entries that agree in CELL).

        None means all of them. ValueError for less than one.
        """
        if count is None or count >= len(self):
            return self
        if count < 1:
            raise ValueError(f"limit must be at least 1 pair, found {count}")
        cells: dict[tuple, list[int]] = {}
        for index, pair in enumerate(self.pairs):
            cell = tuple(getattr(pair, field) for field in self.CELL)
            cells.setdefault(cell, []).append(index)
        ranked = sorted((rank, index) for kept in cells.values() for rank, index in enumerate(kept))
        chosen = sorted(index for _, index in ranked[:count])
        return self.chosen(chosen, f"{count} of {len(self)}")

    def chosen(self: Frozen, indices: Sequence[int], words: str) -> Frozen:
        """The samples of these indices, in their order; `words` are added to the description."""
        less = copy.copy(self)
        FrozenList.__init__(
            less,
            [self.pairs[index] for index in indices],
            lambda index: self.load(indices[index]),
            self.size,
            f"{self.description}, {words}",
        )
        return less

    def save(self, path: Path) -> None:
        """Write the list with its hash as JSON, whole or not at all."""
        record = {
            "hash": self.hash,
            "protocol": self.content()[0],
            "size": self.size,
            "description": self.description,
            "fields": list(self.ENTRY._fields),
            "pairs": [list(p) for p in self.pairs],
        }
        write_text(path, json.dumps(record, indent=0))

    def check_against(self, path: Path) -> None:
        """Raise ValueError when a saved list differs from this one, naming the first difference."""
        saved = json.loads(path.read_text(encoding="utf-8"))
        if saved["hash"] == self.hash:
            return
        theirs = [self.ENTRY(*fields) for fields in saved["pairs"]]
        for index, (mine, other) in enumerate(zip(self.pairs, theirs, strict=False)):
            if mine != other:
                raise ValueError(f"{path}: pair {index} was {other}, is now {mine}")
        raise ValueError(f"{path}: lists {len(theirs)} pairs, there are {len(self.pairs)} now")
