"""What lies where in a paired set on disk: layouts, file names, the index.

| layout             | below the set's folder                                                     |
|--------------------|----------------------------------------------------------------------------|
| attention_gan      | images/<image>.png; <image>_<number>.png in occluded/, masks/, inverted/   |
| facial_deocclusion | Mask/<index>_Mask.jpg (occluded), Unmask/<index>.png; masks/, inverted/    |

In mask files 255 means hole; in inverted ones 0 does. `index.csv` lists every pair,
`settings.json` says how the set was made.
"""

import csv
from pathlib import Path
from typing import NamedTuple

from deocclude.data.files import replacing

INDEX, SETTINGS = "index.csv", "settings.json"


class Layout(NamedTuple):
    """Where a pair's files lie; `{pair}` is its name, `{image}` that of the face."""

    occluded: str
    mask: str
    inverted: str
    target: str

    def files(self, folder: Path, row: "Entry") -> list[Path]:
        """Occluded picture, mask, inverted mask, clean picture of one pair."""
        image = image_key(row.image)
        return [folder / part.format(pair=row.name, image=image) for part in self]


LAYOUTS = {
    "attention_gan": Layout(
        "occluded/{pair}.png", "masks/{pair}.png", "inverted/{pair}.png", "images/{image}.png"
    ),
    "facial_deocclusion": Layout(
        "Mask/{pair}_Mask.jpg", "masks/{pair}.png", "inverted/{pair}.png", "Unmask/{pair}.png"
    ),
}


class Entry(NamedTuple):
    """One pair, as a line of the index."""

    name: str
    image: str
    number: int
    kind: str
    seed: int
    hole_ratio: float
    image_sha256: str  # of the face's own file
    occluded_sha256: str  # of the written files
    mask_sha256: str


def layout_named(name: str) -> Layout:
    """The layout of this name. ValueError lists the valid ones."""
    if name not in LAYOUTS:
        raise ValueError(f"layout {name!r} is not one of {', '.join(LAYOUTS)}")
    return LAYOUTS[name]


def image_key(name: str) -> str:
    """A face's relative path as a file name without ending: `a/b.jpg` is `a__b`."""
    return Path(name).with_suffix("").as_posix().replace("/", "__")


def read_index(folder: Path) -> dict[str, Entry]:
    """The rows of a set's index by name, without a last line that was cut off; empty where there is
    none. ValueError for a file that is no such index."""
    path = folder / INDEX
    if not path.is_file():
        return {}
    with open(path, newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    if not lines or tuple(lines[0]) != Entry._fields:
        raise ValueError(f"{path}: is not the index of a paired set ({', '.join(Entry._fields)})")
    rows = {}
    for line in lines[1:]:
        if len(line) == len(Entry._fields) and len(line[-1]) == 64:
            types = Entry.__annotations__.values()
            rows[line[0]] = Entry(*(kind(v) for kind, v in zip(types, line, strict=True)))
    return rows


def write_index(folder: Path, rows: dict[str, Entry]) -> None:
    """Write the whole index, under a temporary name first."""
    with (
        replacing(folder / INDEX) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        table = csv.writer(file)
        table.writerow(Entry._fields)
        table.writerows(sorted_rows(rows))


def sorted_rows(rows: dict[str, Entry]) -> list[Entry]:
    """By face, then by number: an order that does not depend on when a pair was made."""
    return sorted(rows.values(), key=lambda row: (row.image, row.number))
