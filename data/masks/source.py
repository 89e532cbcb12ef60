"""Where masks come from: a generator, or a folder of mask files. Six ratio bins x border or not.

Training draws bin, class (touching the border or not) and mask, in that order; validation and test
take frozen masks by index. Every draw is a function of named keys, so the same index gives the same
mask on any number of workers.
"""

import hashlib
import warnings
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np

from deocclude.data.faces.cache import report_corrupt
from deocclude.data.faces.layout import SPLITS, check_split, given_splits, needs_train
from deocclude.data.image_files import list_images
from deocclude.data.images import ImageReadError, in_threads
from deocclude.data.mask_files.fitting import same_proportions
from deocclude.data.mask_files.reading import listed_notices, load_mask, open_mask
from deocclude.data.masks.shapes import (
    KINDS,
    RATIO_BINS,
    bin_of,
    check_cell,
    generate_mask,
    height_width,
    touches_border,
)
from deocclude.data.seeding import keyed_rng
from deocclude.progress import Bar

HELD_OUT = 0.1  # share of a folder's files that val gets, and test again
CACHE_BYTES = 256 * 2**20


class MaskSpec(NamedTuple):
    """Which mask: enough for `source.load(spec)` to make it again. Serialisable to JSON."""

    bin: int
    border: bool
    key: tuple[int | str, ...]  # keys of the random generator, or the file's relative path


class MaskGenerator:
    """Masks drawn by `generate_mask`. `size` is a side or (height, width) in pixels."""

    def __init__(
        self, size: int | tuple[int, int], seed: int = 0, kinds: tuple[str, ...] = KINDS
    ) -> None:
        self.size = height_width(size)
        self.seed = seed
        self.kinds = tuple(kinds)

    def cells(self, split: str) -> list[tuple[int, bool]]:
        """The (bin, border) cells that masks can be had for: all of them."""
        check_split(split)
        return [(bin, border) for bin in range(len(RATIO_BINS)) for border in (False, True)]

    def draw(self, split: str, *keys: int | str) -> np.ndarray:
        """A mask for training, (height, width) uint8 {0, 1}: bin, class, mask, in that order."""
        check_split(split)
        rng = keyed_rng(self.seed, "masks", split, *keys)
        bin, border = int(rng.integers(len(RATIO_BINS))), bool(rng.integers(2))
        return generate_mask(self.size, bin, border, rng, self.kinds)

    def spec(self, split: str, index: int, bin: int, border: bool) -> MaskSpec:
        """What `fixed` would make, as a description."""
        check_split(split)
        check_cell(bin)
        key = (self.seed, "fixed masks", split, int(index), int(bin), int(border))
        return MaskSpec(int(bin), bool(border), key)

    def load(self, spec: MaskSpec) -> np.ndarray:
        """The mask that `spec` describes, (height, width) uint8 {0, 1}."""
        return generate_mask(self.size, spec.bin, spec.border, keyed_rng(*spec.key), self.kinds)

    def fixed(self, split: str, index: int, bin: int, border: bool) -> np.ndarray:
        """The frozen mask number `index` of a cell, (height, width) uint8 {0, 1}."""
        return self.load(self.spec(split, index, bin, border))

    def describe(self) -> dict:
        """Settings, for the run's record."""
        return {
            "source": "generated",
            "size": list(self.size),
            "seed": self.seed,
            "kinds": list(self.kinds),
        }


class _Measured(NamedTuple):
    digest: str  # SHA-256 of the file
    ratio: float
    border: bool
    bits: np.ndarray | None  # packed, only when kept and inside a bin
    notices: tuple[str, ...] = ()  # how its values are read
    stretched: bool = False  # of other proportions than the working size


class MaskFolder:
    """Mask files below `folder`, of any size, binned by their hole ratio at the working `size`.

    The split is that of the sub-folders train, val and test, or their like (`SPLIT_NAMES`), where
    they exist (val or test, when missing, is taken out of train), else a seeded one. It goes by
    file content: it is the same at every working size, and two copies of one file never fall on
    both sides.

    Masks belong to no picture here: those of other proportions than `size` are stretched to it,
    which is said. `invert` is for files in which black means hole. Up to 256 MiB of packed masks
    stay in memory, a larger set is read again at every draw.

    Raises FileNotFoundError when there is no mask file, ValueError when more than 5 % of the files
    cannot be read or no file has a usable hole ratio. Warns of every file that is left out.
    """

    def __init__(
        self,
        folder: str | Path,
        size: int | tuple[int, int],
        invert: bool = False,
        seed: int = 0,
    ) -> None:
        self.folder = Path(folder)
        self.size = height_width(size)
        self.invert = invert
        self.seed = seed
        names = _mask_names(self.folder)
        keep = len(names) * self._packed_bytes() <= CACHE_BYTES
        measured = self._measure(names, keep)
        corrupt = {n: item for n, item in measured.items() if isinstance(item, ImageReadError)}
        self.corrupt = list(corrupt)
        errors = list(corrupt.values())
        report_corrupt(errors, len(names), "mask files", warnings.warn)
        good = {name: item for name, item in measured.items() if isinstance(item, _Measured)}
        self._report_how_read(good)
        bins = {name: bin_of(item.ratio) for name, item in good.items()}
        self.left_out = {name: item.ratio for name, item in good.items() if bins[name] is None}
        self._report_left_out(good)
        usable = {name: item for name, item in good.items() if name not in self.left_out}
        self._bits = {name: item.bits for name, item in usable.items()} if keep else {}
        home = _homes(self.folder)
        missing = [split for split in SPLITS if split not in home.values()]
        cut = f"; {' and '.join(missing)} cut from train" if missing else ""
        self.rule = f"given sub-folders{cut}" if home else f"seed {seed}, 80/10/10 by content"
        digests = {name: item.digest for name, item in usable.items()}
        splits = _split(self.folder, digests, home, seed)
        self.names: dict[str, list[str]] = splits
        self._cells: dict[str, dict[tuple[int, bool], list[str]]] = {}
        for split, members in splits.items():
            cells: dict[tuple[int, bool], list[str]] = {}
            for name in members:
                cell = (cast(int, bins[name]), usable[name].border)
                cells.setdefault(cell, []).append(name)
            self._cells[split] = dict(sorted(cells.items()))

    def __getstate__(self) -> dict:
        # A spawned worker reads the files again; it does not hold a copy of the masks.
        return {**self.__dict__, "_bits": {}}

    def cells(self, split: str) -> list[tuple[int, bool]]:
        """The (bin, border) cells that have at least one mask in this split."""
        check_split(split)
        return list(self._cells[split])

    def draw(self, split: str, *keys: int | str) -> np.ndarray:
        """A mask for training: bin, class, mask, in that order, among the cells that exist."""
        cells = self.cells(split)
        if not cells:
            raise ValueError(f"{self.folder}: no mask in split {split!r}; {self._sizes()}")
        rng = keyed_rng(self.seed, "masks", split, *keys)
        bins = sorted({bin for bin, _ in cells})
        bin = bins[rng.integers(len(bins))]
        classes = [border for other, border in cells if other == bin]
        members = self._cells[split][bin, classes[rng.integers(len(classes))]]
        return self._read(members[rng.integers(len(members))])

    def spec(self, split: str, index: int, bin: int, border: bool) -> MaskSpec:
        """Which file `fixed` would read. ValueError when the cell is empty."""
        check_split(split)
        check_cell(bin)
        members = self._cells[split].get((bin, bool(border)))
        if not members:
            raise ValueError(
                f"{self.folder}: no {split} mask with a ratio in {_interval(bin)} "
                f"{'touching' if border else 'clear of'} the border; cells that exist: "
                f"{', '.join(_cell_text(*cell) for cell in self._cells[split]) or 'none'}"
            )
        return MaskSpec(int(bin), bool(border), (members[index % len(members)],))

    def load(self, spec: MaskSpec) -> np.ndarray:
        """The mask that `spec` describes, (height, width) uint8 {0, 1}."""
        return self._read(str(spec.key[0]))

    def fixed(self, split: str, index: int, bin: int, border: bool) -> np.ndarray:
        """Frozen mask number `index` of a cell, counted round when the cell has fewer files."""
        return self.load(self.spec(split, index, bin, border))

    def describe(self) -> dict:
        """Settings and counts, for the run's record."""
        return {
            "source": "folder",
            "folder": str(self.folder),
            "size": list(self.size),
            "seed": self.seed,
            "invert": self.invert,
            "files": {split: len(names) for split, names in self.names.items()},
            "cells": {
                split: {_cell_text(*cell): len(names) for cell, names in cells.items()}
                for split, cells in self._cells.items()
            },
            "corrupt": self.corrupt,
            "left_out": len(self.left_out),
        }

    def _packed_bytes(self) -> int:
        return -(-self.size[0] * self.size[1] // 8)

    def _read(self, name: str) -> np.ndarray:
        bits = self._bits.get(name)
        if bits is None:
            return load_mask(self.folder / name, self.size, self.invert)
        height, width = self.size
        return np.unpackbits(bits, count=height * width).reshape(height, width)

    def _measure(self, names: list[str], keep: bool) -> dict[str, _Measured | ImageReadError]:
        def measure(name: str) -> _Measured | ImageReadError:
            try:
                read = open_mask(self.folder / name, self.invert)
            except ImageReadError as error:
                return error
            mask = read.hole(self.size)
            digest = hashlib.sha256((self.folder / name).read_bytes()).hexdigest()
            ratio = float(mask.mean())
            bits = np.packbits(mask) if keep and bin_of(ratio) is not None else None
            stretched = not same_proportions(read.shape, self.size)
            border = touches_border(mask)
            return _Measured(digest, ratio, border, bits, read.notices, stretched)

        progress = Bar(in_threads(measure, names), "masks", len(names), leave=False)
        return dict(zip(names, progress, strict=True))

    def _report_how_read(self, good: dict[str, _Measured]) -> None:
        for text in listed_notices((name, item.notices) for name, item in good.items()):
            warnings.warn(f"{self.folder}: {text}", stacklevel=3)
        if stretched := [name for name, item in good.items() if item.stretched]:
            height, width = self.size
            warnings.warn(
                f"{self.folder}: {len(stretched)} of {len(good)} masks are of other proportions "
                f"than {width} x {height} and are stretched to it, e.g. {stretched[0]}",
                stacklevel=3,
            )

    def _report_left_out(self, good: dict[str, _Measured]) -> None:
        if not self.left_out:
            return
        ratios = np.array(list(self.left_out.values()))
        low, high = RATIO_BINS[0][0], RATIO_BINS[-1][1]
        text = (
            f"{self.folder}: {len(ratios)} of {len(good)} masks have a hole ratio outside "
            f"({low}, {high}] and are left out: {int((ratios == 0).sum())} all zero (ratio 0), "
            f"{int(((ratios > 0) & (ratios <= low)).sum())} below, "
            f"{int((ratios > high).sum())} above; e.g. "
            + ", ".join(f"{name} ({ratio:.3g})" for name, ratio in list(self.left_out.items())[:3])
        )
        every = np.array([item.ratio for item in good.values()])
        if (every > high).mean() > 0.3 or np.mean(every) > 0.5:
            text += (
                f". The mean hole ratio of the set is {every.mean():.2f}; "
                f"{'black' if self.invert else 'white'} means hole here, "
                f"{'leave out' if self.invert else 'use'} --invert-mask if these files mean the "
                "opposite"
            )
        if len(ratios) == len(good):
            raise ValueError(f"{text}. No usable mask is left")
        warnings.warn(text, stacklevel=3)

    def _sizes(self) -> str:
        return ", ".join(f"{split}: {len(names)} files" for split, names in self.names.items())


def _mask_names(folder: Path) -> list[str]:
    expected = (
        f"expected mask files (images, white = hole) in it or below it, "
        f"or sub-folders {', '.join(SPLITS)} of them"
    )
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; {expected}")
    names = [path.relative_to(folder).as_posix() for path in list_images(folder)]
    if not names:
        raise FileNotFoundError(f"{folder}: no mask file found; {expected}")
    home = _homes(folder)
    given = {name.split("/")[0] for name in home}
    if given and "train" not in home.values():
        raise FileNotFoundError(needs_train(folder, sorted(given)))
    loose = [name for name in names if name not in home] if home else []
    if loose:
        warnings.warn(
            f"{folder}: {len(loose)} files outside {', '.join(sorted(given))} are ignored, "
            f"e.g. {loose[0]}",
            stacklevel=3,
        )
    return [name for name in names if name not in set(loose)]


def _homes(folder: Path) -> dict[str, str]:
    """The split of each file that a sub-folder gives one; nothing where none does."""
    return {
        path.relative_to(folder).as_posix(): split
        for split, part in given_splits(folder).items()
        for path in part.files
    }


def _split(
    folder: Path, digests: dict[str, str], homes: dict[str, str], seed: int
) -> dict[str, list[str]]:
    """Names of each split. Identical files stay together; given sub-folders are kept."""
    given = set(homes.values())
    home = {name: homes.get(name, "train") for name in digests}
    rank = {d: hashlib.sha256(f"{seed} {d}".encode()).hexdigest() for d in digests.values()}
    held_out = {digest for name, digest in digests.items() if home[name] != "train"}
    pool = {digest for name, digest in digests.items() if home[name] == "train"}
    if pool & held_out:
        warnings.warn(
            f"{folder}: {len(pool & held_out)} files of train are also in val or test; "
            "they are kept out of train",
            stacklevel=3,
        )
    order = sorted(pool - held_out, key=rank.__getitem__)
    share = max(1, round(HELD_OUT * len(order))) if len(order) >= len(SPLITS) else 0
    moved: dict[str, str | None] = dict.fromkeys(pool & held_out)
    for split in ("val", "test"):
        if split not in given:
            moved.update(dict.fromkeys(order[:share], split))
            order = order[share:]
    members: dict[str, list[str]] = {split: [] for split in SPLITS}
    for name, digest in digests.items():
        place = moved.get(digest, "train") if home[name] == "train" else home[name]
        if place:
            members[place].append(name)
    return {
        split: sorted(names, key=lambda name: (rank[digests[name]], name))
        for split, names in members.items()
    }


def _interval(bin: int) -> str:
    return f"({RATIO_BINS[bin][0]}, {RATIO_BINS[bin][1]}]"


def _cell_text(bin: int, border: bool) -> str:
    return f"{_interval(bin)} {'border' if border else 'inner'}"
