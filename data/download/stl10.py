"""STL-10 as a folder of pictures: labelled ones only, dealt out by seed.

Coates, Ng and Lee 2011, read and verified by torchvision. The published general set has 7 000
pictures for training and 1 000 for validation; the rest of the labelled 13 000 are for tests. How
the published set chose its pictures is not stated; here a seed shuffles them.
"""

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from deocclude.data.download.archives import ArchiveError
from deocclude.data.seeding import keyed_rng
from deocclude.progress import Bar, libraries_bars

SEED = 42
TRAIN, VAL = 7000, 1000
BINARY = ".stl10"  # hidden: no folder of pictures


def fetch_stl10(output: Path) -> Path:
    """Write `output`/stl10/{train,val,test}/NNNNN.png, numbered as STL-10's train, then its test.

    torchvision downloads into `output`/.stl10 what is not there, and verifies it; nothing is done
    when the folder is there, which is written whole or not at all. OSError without network,
    ArchiveError when torchvision finds the files damaged, ValueError for too few pictures.
    """
    folder = output / "stl10"
    if folder.is_dir():
        return folder
    from torchvision.datasets import STL10  # slow

    binary = output / BINARY
    binary.mkdir(parents=True, exist_ok=True)
    try:
        with libraries_bars():
            parts = [STL10(binary, split, download=True).data for split in ("train", "test")]
    except RuntimeError as error:
        raise ArchiveError(f"{binary}: {error}; delete it and run this again") from error
    pictures = np.concatenate(parts)  # (N, 3, 96, 96) uint8
    partial = output / f"{BINARY}-partial"
    shutil.rmtree(partial, ignore_errors=True)
    for split, numbers in deal_out(len(pictures)).items():
        (partial / split).mkdir(parents=True)
        for number in Bar(numbers, desc=f"stl10 {split}", unit="image"):
            picture = Image.fromarray(np.ascontiguousarray(pictures[number].transpose(1, 2, 0)))
            picture.save(partial / split / f"{number:05d}.png")
    partial.rename(folder)
    print(f"{folder}: {len(pictures)} pictures; {binary} is no longer needed")
    return folder


def deal_out(count: int) -> dict[str, list[int]]:
    """Numbers of each split: 7 000, 1 000 and the rest. ValueError when there is no rest."""
    if count <= TRAIN + VAL:
        raise ValueError(f"STL-10: more than {TRAIN + VAL} labelled pictures needed, found {count}")
    order = keyed_rng(SEED, "stl10").permutation(count)
    parts = np.split(order, [TRAIN, TRAIN + VAL])
    return {
        name: sorted(part.tolist())
        for name, part in zip(("train", "val", "test"), parts, strict=True)
    }
