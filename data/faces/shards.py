"""Faces in tar shards: listed once, read wherever they lie, in an order that keeps reads together.

A tar file is a row of members, each whole at its place, so any face can be read by itself. That
keeps a training pair a pure function of its position, whatever workers, processes and resumed runs
do, which a stream of shards could not be.
"""

import hashlib
import json
import logging
import os
import tarfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np

from deocclude.data.faces.cache import CORRUPT_LIMIT
from deocclude.data.faces.files import Faces
from deocclude.data.faces.layout import SPLIT_NAMES, SPLITS
from deocclude.data.faces.shard_names import NEEDED, list_shards, shard_home
from deocclude.data.faces.splits import SHARES, complete, deal_out
from deocclude.data.files import write_text
from deocclude.data.image_files import image_suffixes, is_litter
from deocclude.data.images import ImageReadError, load_square, open_image

logger = logging.getLogger(__name__)

PLACES = 64  # in the list of a round from which faces are drawn in turn, at least
FEW = 100  # faces that a process must have read before its share of damaged ones counts


@dataclass(frozen=True)
class Shards:
    """The images in tar files, in the order of the files and of what is in them.

    For each of N images: `shard` (N,), which of `paths`; `start` and `length` (N,), in bytes;
    `member` (N,), its name in UTF-8. Arrays, so that a million faces cost a worker little.
    """

    home: Path  # above all shards
    paths: list[Path]
    labels: list[str]  # of the shards: their paths from `home`
    shard: np.ndarray
    start: np.ndarray
    length: np.ndarray
    member: np.ndarray
    others: Counter  # endings of what else is in them

    def __len__(self) -> int:
        return len(self.shard)

    def name(self, index: int) -> str:
        """Of an image: its shard's and its member's."""
        return f"{self.labels[self.shard[index]]}/{os.fsdecode(self.member[index])}"

    def read(self, index: int) -> bytes:
        """An image's file. The shard is opened anew: nothing is shared with other processes."""
        with open(self.paths[self.shard[index]], "rb") as file:
            file.seek(self.start[index])
            return file.read(self.length[index])

    def digests(self) -> dict[str, str]:
        """Of each shard's names and sizes, by the shard's name."""
        found = {}
        for number, label in enumerate(self.labels):
            own = self.shard == number
            told = (self.member[own].tolist(), self.start[own].tolist(), self.length[own].tolist())
            found[label] = hashlib.sha256(repr(told).encode()).hexdigest()
        return found


def open_shards(paths: Sequence[Path], home: Path) -> Shards:
    """List what is in the shards. ValueError for a damaged one, and when there is no image."""
    others: Counter = Counter()
    places, members, counts = [], [], []
    for path in paths:
        found = _images(path, others)
        counts.append(len(found))
        places.append(np.array([row[:2] for row in found], np.int64).reshape(-1, 2))
        members.append(np.array([row[2] for row in found], np.bytes_))
    if not any(counts):
        raise ValueError(f"{home}: no images in {len(paths)} shards; {other_words(others)}")
    if 0 in counts:
        logger.warning("%s: no images in %s", home, paths[counts.index(0)].name)
    start, length = np.concatenate(places).T
    shard = np.repeat(np.arange(len(paths), dtype=np.int32), counts)
    labels = [path.relative_to(home).as_posix() for path in paths]
    return Shards(home, list(paths), labels, shard, start, length, np.concatenate(members), others)


def _images(path: Path, others: Counter) -> list[tuple[int, int, bytes]]:
    """Start, length and name of a shard's images, told by webdataset's ending, all that follows the
    first dot: 1.jpg is one, 1.mask.png is not. Other members are counted in `others`."""
    try:
        from webdataset.tariterators import base_plus_ext
    except ImportError:
        raise ValueError(f"{path}: {NEEDED}") from None
    found = []
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                tar.members.clear()  # type: ignore[attr-defined]  # or each stays in memory
                parts = member.name.removeprefix("./").split("/")
                if member.isdir() or any(map(is_litter, parts)):
                    continue
                rest = base_plus_ext(member.name)[1]
                ending = f".{rest}" if rest else "without an ending"
                if member.isreg() and not member.issparse() and ending.lower() in image_suffixes():
                    found.append((member.offset_data, member.size, os.fsencode(member.name)))
                else:
                    others[ending] += 1
            assert tar.fileobj is not None
            tar.fileobj.seek(tar.offset)  # where it found no member
            end = tar.fileobj.read(tarfile.BLOCKSIZE)
            joined = any(any(part) for part in iter(lambda: tar.fileobj.read(2**20), b""))
    except (tarfile.TarError, OSError) as error:
        raise ValueError(
            f"{path}: damaged, or no tar file ({error}); pack or fetch it anew"
        ) from error
    if joined and end == bytes(tarfile.BLOCKSIZE):
        raise ValueError(
            f"{path}: goes on after its end, as tar files joined by cat do; name each of them"
        )
    if end != bytes(tarfile.BLOCKSIZE):
        raise ValueError(f"{path}: damaged after {len(found)} images; pack or fetch it anew")
    return found


def other_words(others: Counter) -> str:
    """What else is in shards, and how much of it are images whose names have a further dot."""
    if not others:
        return "they are empty"
    named = ", ".join(f"{count} {ending}" for ending, count in others.most_common(5))
    words = f"{others.total()} members are none: {named}{', ...' if len(others) > 5 else ''}"
    dotted = sum(
        count
        for ending, count in others.items()
        if ending.count(".") > 1 and Path(ending).suffix.lower() in image_suffixes()
    )
    if dotted:
        words += (
            f"; {dotted} of them are images with a further dot in their names, and all from the "
            "first one on is the ending: if they are faces, pack them under other names"
        )
    return words


class ShardSplit(NamedTuple):
    """Which images of the shards are in each split, as sorted indices, and how it came."""

    shards: Shards
    parts: dict[str, np.ndarray]
    rule: str

    def faces(self, split: str, size: int) -> Faces:
        """Faces of one split, decoded on demand."""
        own = self.parts[split]
        return Faces(_Names(self.shards, own), size, _Read(self.shards, own, size))

    def training_faces(self, size: int, most: int | None, batch: int) -> Faces:
        """Those of train, `most` at most, in an order for steps of `batch`. One that is damaged is
        named, and the next one takes its place."""
        own = self.parts["train"][:most]
        read = _ReadOn(self.shards, own, size)
        order = Order(self.shards.shard[own], batch)
        return Faces(_Names(self.shards, own), size, read, order=order)

    def first_size(self) -> tuple[int, int] | None:
        """Width and height of the first readable training image in pixels; None when none is."""
        for index in self.parts["train"][:20]:
            try:
                return open_image(self.shards.name(index), data=self.shards.read(index)).size
            except ImageReadError:
                continue
        return None

    def save(self, path: Path) -> None:
        """As JSON beside the run: the shards, what is in val and test; train is the rest."""
        held = {name: self.parts[name].tolist() for name in ("val", "test")}
        write_text(path, json.dumps({"rule": self.rule, "shards": self.shards.digests(), **held}))


def split_shards(pattern: Path, seed: int, by: str) -> ShardSplit:
    """Split the images of a pattern: by the shards that are named train, val or test (a word of
    their name, or a folder), else seeded 90 / 5 / 5; `by` is folder: whole shards are dealt out.

    FileNotFoundError for missing shards, ValueError as `open_shards`.
    """
    shards = open_shards(list_shards(pattern), shard_home(pattern))
    numbers = np.arange(len(shards))
    named = [_told_split(label) for label in shards.labels]
    whose = np.array([SPLITS.index(name) if name else -1 for name in named])[shards.shard]
    told = {name: numbers[whose == place].tolist() for place, name in enumerate(SPLITS)}
    given = {name: part for name, part in told.items() if part}
    if given and -1 in whose:
        one = shards.labels[shards.shard[whose == -1][0]]
        raise ValueError(f"{pattern}: some shards are named {', '.join(given)}, but {one} is not")
    if given and "train" not in given:
        raise ValueError(f"{pattern}: only {' and '.join(given)} shards, none named train")

    def groups(name: str, shares: Sequence[float]) -> tuple[list[list[int]], str]:
        part = given.get(name, numbers.tolist())
        if by != "folder":
            return [[index] for index in part], "by image"
        ends = np.flatnonzero(np.diff(shards.shard[part])) + 1
        whole = [group.tolist() for group in np.split(np.array(part), ends)]
        if len(whole) < len(shares):
            raise ValueError(
                f"{pattern}: data.split is folder, but {len(whole)} shards are too few to split "
                f"{len(shares)} ways; data.split=image splits their images"
            )
        return whole, "by shard"

    if given:
        files, rule = complete(given, seed, groups, "given names of shards")
    else:
        dealt, words = groups("train", SHARES)
        files, rule = deal_out(dealt, seed, SHARES), f"seed {seed}, 90/5/5 {words}"
    return ShardSplit(shards, {k: np.array(v, np.int64) for k, v in files.items()}, rule)


def _told_split(name: str) -> str | None:
    """The split that a shard's name tells: shards/train/0.tar, ffhq-val-0.tar."""
    words = name.casefold().translate(str.maketrans("-_./", "    ")).split()
    told = [split for word in words for split, names in SPLIT_NAMES.items() if word in names]
    return told[0] if told else None


def load_shard_split(path: Path, pattern: Path) -> ShardSplit:
    """The split that `ShardSplit.save` wrote, of the very shards it names. ValueError when what is
    in them is no longer the same, FileNotFoundError when one is gone."""
    record = json.loads(path.read_text(encoding="utf-8"))
    home = shard_home(pattern)
    paths = [home / name for name in record["shards"]]
    gone = [each.name for each in paths if not each.is_file()]
    if gone:
        raise FileNotFoundError(f"{path}: shards no longer in {home}: {', '.join(gone[:5])}")
    shards = open_shards(paths, home)
    changed = [name for name, d in shards.digests().items() if d != record["shards"][name]]
    if changed:
        raise ValueError(f"{path}: other faces are in {', '.join(changed[:5])} now than then")
    held = {name: np.array(record[name], np.int64) for name in ("val", "test")}
    train = np.setdiff1d(np.arange(len(shards)), np.concatenate([*held.values()]))
    return ShardSplit(shards, {"train": train, **held}, record["rule"])


class Order:
    """The order of a round: shards drawn anew, the faces of each shuffled, as one long list, which
    is read at many places in turn.

    A step of `batch` faces reads at as many places; for small ones several steps take turns, so
    that at least PLACES shards, if there are so many, are mixed at any time. The places of a
    process (`PositionSampler`) lie beside each other in the list, so each process reads shards of
    its own, and the order itself knows of no processes.
    """

    def __init__(self, shard: np.ndarray, batch: int) -> None:
        """`shard` (N,): the number of each face's shard."""
        self.shard, self.batch, self.turns = shard, batch, -(-PLACES // batch)

    def __call__(self, rng: np.random.Generator) -> np.ndarray:
        """Indices of the N faces, each once."""
        count = len(self.shard)
        shards = rng.permutation(int(self.shard.max(initial=0)) + 1)
        laid = np.lexsort((rng.random(count), shards[self.shard]))
        step, place = np.divmod(np.arange(count), self.batch)
        order = np.empty_like(laid)
        order[np.argsort(place * self.turns + step % self.turns, kind="stable")] = laid
        return order


class _Names(Sequence[str]):
    """Names of some images, made when asked for."""

    def __init__(self, shards: Shards, own: np.ndarray) -> None:
        self.shards, self.own = shards, own

    def __len__(self) -> int:
        return len(self.own)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return [self.shards.name(index) for index in self.own[place]]
        return self.shards.name(self.own[place])


class _Read:
    """Decodes one of some images."""

    def __init__(self, shards: Shards, own: np.ndarray, size: int) -> None:
        self.shards, self.own, self.size = shards, own, size

    def __call__(self, place: int) -> np.ndarray:
        index = self.own[place]
        return load_square(self.shards.name(index), self.size, self.shards.read(index))


class _ReadOn(_Read):
    """The same for training, where a damaged image among a million should not end it: it is named,
    and the next one in its shard is read. ValueError when too many are damaged."""

    def __init__(self, shards: Shards, own: np.ndarray, size: int) -> None:
        super().__init__(shards, own, size)
        self.done = 0
        self.damaged: dict[int, str] = {}

    def __call__(self, place: int) -> np.ndarray:
        while True:
            self.done += 1
            try:
                return super().__call__(place)
            except ImageReadError as error:
                self._note(place, str(error))
                place = (place + 1) % len(self.own)

    def _note(self, place: int, error: str) -> None:
        if place not in self.damaged:
            logger.warning("skipped in training, the next face takes its place: %s", error)
            self.damaged[place] = error
        many = len(self.damaged) > CORRUPT_LIMIT * max(self.done, FEW)
        if many or len(self.damaged) == len(self.own):
            some = "; ".join(list(self.damaged.values())[:5])
            raise ValueError(
                f"{len(self.damaged)} of {self.done} images of {self.shards.home} that were read "
                f"cannot be (limit {CORRUPT_LIMIT:.0%}): {some}"
            )
