"""Writing paired sets: occluded picture, mask, inverted mask and clean picture of every pair."""

import csv
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deocclude.data.faces.cache import report_corrupt
from deocclude.data.faces.files import Faces, hash_image
from deocclude.data.files import sha256, write_text
from deocclude.data.images import ImageReadError, save_image
from deocclude.data.occluders.mixture import Occluders
from deocclude.data.occluders.placing import Occluded
from deocclude.data.occluders.set_files import (
    INDEX,
    SETTINGS,
    Entry,
    Layout,
    image_key,
    layout_named,
    read_index,
    sorted_rows,
    write_index,
)
from deocclude.progress import Bar

VERSION = 1  # raised when the same settings would give other pictures
JPEG = {"quality": 95, "subsampling": 0}
PNG = {"compress_level": 2}


def write_set(
    faces: Faces,
    occluders: Occluders,
    output: str | Path,
    per_image: int,
    layout: str = "attention_gan",
    split: str = "train",
    kinds: Sequence[str] | None = None,
    overwrite: bool = False,
) -> list[Entry]:
    """Write `per_image` pairs of each face; returns the rows of the index.

    Args:
        split: whose cut-outs are used.
        kinds: pair number n of a face gets kind n, counted round; None lets the preset draw.
        overwrite: delete what the index of an older set in `output` lists, and start anew.

    What an earlier call left whole is kept, so that a call that was cut off goes on where it was;
    more faces or more pairs a face can be added later. A pair depends on the settings, its face's
    relative path and its number alone. Faces that cannot be read are skipped and reported, more
    than 5 % of them is a ValueError. So are settings or faces that differ from the set in `output`,
    unknown kinds, and two faces that would share a file name.
    """
    folder, shape = Path(output), layout_named(layout)
    if per_image < 1:
        raise ValueError(f"per_image: must be 1 or more, found {per_image}")
    if kinds is not None:
        occluders.check_kinds(kinds, split)
    _check_keys(faces.names)
    settings = _settings(occluders, layout, split, kinds)
    if not (overwrite and _clear(folder)):
        _check_settings(folder, settings)
    rows = read_index(folder)
    write_text(folder / SETTINGS, json.dumps(settings, indent=1))
    write_index(folder, rows)  # drops a line that was cut off
    maker = _Maker(occluders, folder, shape, split, tuple(kinds or ()))
    errors = []
    with (
        Bar(total=len(faces) * per_image, desc=folder.name, unit="pair") as bar,
        open(folder / INDEX, "a", newline="", encoding="utf-8") as index,
    ):
        table = csv.writer(index)
        for i in range(len(faces)):
            try:
                for row in maker.pairs(faces, i, per_image, rows):
                    rows[row.name] = row
                    table.writerow(row)
                    index.flush()
            except ImageReadError as error:
                errors.append(error)
            bar.update(per_image)
    write_index(folder, rows)
    report_corrupt(errors, len(faces), "faces")
    return sorted_rows(rows)


class _Maker(NamedTuple):
    """Makes the pairs of a face that are not there yet."""

    occluders: Occluders
    folder: Path
    layout: Layout
    split: str
    kinds: tuple[str, ...]

    def pairs(
        self, faces: Faces, i: int, per_image: int, rows: dict[str, Entry]
    ) -> Iterator[Entry]:
        """The row of each pair that had to be written. ImageReadError for a bad face."""
        name = faces.names[i]
        names = [f"{image_key(name)}_{number:02d}" for number in range(per_image)]
        digest = hash_image(faces, i)
        for row in (rows[n] for n in names if n in rows):
            if row.image_sha256 != digest:
                raise ValueError(
                    f"{name}: is not the picture that {self.folder} was made from; choose another "
                    "output folder, or overwrite the set"
                )
        missing = [n for n, pair in enumerate(names) if not self._is_whole(rows.get(pair))]
        if not missing:
            return
        face, points = faces[i], faces.points_of(i)
        for number in missing:
            if self.kinds:
                kind = self.kinds[number % len(self.kinds)]
                made = self.occluders.fixed(face, self.split, kind, name, number, points=points)
            else:
                made = self.occluders.draw(face, self.split, name, number, points=points)
            ratio = round(float(made.mask.mean()), 6)
            seed = self.occluders.seed
            row = Entry(names[number], name, number, made.kind, seed, ratio, digest, "", "")
            yield self._save(row, face, made, first=number == missing[0])

    def _is_whole(self, row: Entry | None) -> bool:
        if row is None:
            return False
        occluded, mask, *others = self.layout.files(self.folder, row)
        if not all(path.is_file() for path in (occluded, mask, *others)):
            return False
        return (sha256(occluded), sha256(mask)) == (row.occluded_sha256, row.mask_sha256)

    def _save(self, row: Entry, face: np.ndarray, made: Occluded, first: bool) -> Entry:
        occluded, mask, inverted, target = self.layout.files(self.folder, row)
        save_image(occluded, made.image, **(JPEG if occluded.suffix == ".jpg" else PNG))
        save_image(mask, made.mask * np.uint8(255), **PNG)
        save_image(inverted, (1 - made.mask) * np.uint8(255), **PNG)
        if first or not target.is_file():
            save_image(target, face, **PNG)
        return row._replace(occluded_sha256=sha256(occluded), mask_sha256=sha256(mask))


def _settings(occluders: Occluders, layout: str, split: str, kinds: Sequence[str] | None) -> dict:
    """Everything but the faces that decides how a pair looks."""
    library = occluders.cutouts
    used = hashlib.sha256()
    for path in sorted(p for part in library.files.values() for p in part) if library else ():
        used.update(path.relative_to(library.folder).as_posix().encode() + path.read_bytes())
    return {
        "version": VERSION,
        "layout": layout,
        "size": occluders.size,
        "preset": occluders.preset if kinds is None else None,
        "kinds": list(kinds) if kinds is not None else None,
        "template": occluders.template,
        "seed": occluders.seed,
        "split": split,
        "cutouts_sha256": used.hexdigest() if library else None,
    }


def _check_settings(folder: Path, settings: dict) -> None:
    """ValueError when `folder` holds a set made in another way, or something else altogether."""
    path = folder / SETTINGS
    if not path.is_file():
        if folder.exists() and (not folder.is_dir() or _visible(folder)):
            raise ValueError(f"{folder}: holds something else; choose a new or empty folder")
        return
    old = json.loads(path.read_text(encoding="utf-8"))
    differ = [
        f"{key} was {old.get(key)!r}, now {settings.get(key)!r}"
        for key in {**settings, **old}
        if old.get(key) != settings.get(key)
    ]
    if differ:
        raise ValueError(
            f"{folder}: holds a set made with other settings ({'; '.join(differ)}); choose another "
            "folder, or overwrite the set"
        )


def _visible(folder: Path) -> bool:
    """Whether it holds more than what a write that was cut off leaves."""
    return any(not path.name.startswith(".") for path in folder.iterdir())


def _clear(folder: Path) -> bool:
    """Delete what the index of a set lists, then the index; nothing else. False where none is."""
    path = folder / SETTINGS
    if not path.is_file():
        return False
    layout = layout_named(json.loads(path.read_text(encoding="utf-8"))["layout"])
    for row in read_index(folder).values():
        for file in layout.files(folder, row):
            file.unlink(missing_ok=True)
    (folder / INDEX).unlink(missing_ok=True)
    path.unlink()
    for part in {Path(pattern).parent for pattern in layout}:
        if (folder / part).is_dir() and not any((folder / part).iterdir()):
            (folder / part).rmdir()
    return True


def _check_keys(names: Sequence[str]) -> None:
    """ValueError when two faces would be written under one name."""
    taken: dict[str, str] = {}
    for name in names:
        other = taken.setdefault(image_key(name).casefold(), name)
        if other != name:
            raise ValueError(
                f"faces {other} and {name} would be written under one name, "
                f"{image_key(name)!r}; rename one of them"
            )
