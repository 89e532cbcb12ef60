"""Labelled contact sheets: every drawn kind, or many occluded faces, each with its mask."""

from collections.abc import Sequence

import cv2
import numpy as np

from deocclude.data.faces.files import Faces
from deocclude.data.occluders.drawn.kinds import KINDS
from deocclude.data.occluders.mixture import Occluders
from deocclude.data.occluders.placing import Occluded

LABEL = 18  # px of a label's line
GAP = 4
COLUMNS = 8


def kinds_sheet(
    faces: Faces,
    occluders: Occluders,
    split: str,
    examples: int = 4,
    kinds: Sequence[str] = tuple(KINDS),
) -> np.ndarray:
    """Drawn kinds, `examples` of each with their masks, uint8 RGB (H, W, 3)."""
    rows = []
    for place, kind in enumerate(kinds):
        made = []
        for number in range(examples):
            index = (place * examples + number) % len(faces)
            points = faces.points_of(index)
            made.append(occluders.fixed(faces[index], split, kind, number, points=points))
        rows.append(_titled(np.concatenate([_with_mask(one) for one in made], axis=1), kind))
    return _in_columns(rows, 2)


def occluded_sheet(faces: Faces, occluders: Occluders, split: str, count: int) -> np.ndarray:
    """`count` faces with what the preset puts on them, each with its mask, uint8 RGB (H, W, 3)."""
    cells = []
    for number in range(count):
        index = number % len(faces)
        points = faces.points_of(index)
        made = occluders.draw(faces[index], split, "sheet", number, points=points)
        cells.append(_titled(_with_mask(made), f"{made.kind} {made.mask.mean():.0%}"))
    return _in_columns(cells, COLUMNS)


def _with_mask(made: Occluded) -> np.ndarray:
    """The occluded face beside a mask half as wide and high, the outline of the hole below it."""
    size = made.image.shape[0]
    half = size // 2
    mask = cv2.resize(made.mask * np.uint8(255), (half, half), interpolation=cv2.INTER_AREA)
    outlined = made.image.copy()
    outlines, _ = cv2.findContours(made.mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(outlined, outlines, -1, (255, 0, 0), max(1, size // 128))
    outlined = cv2.resize(outlined, (half, size - half), interpolation=cv2.INTER_AREA)
    beside = np.concatenate((cv2.cvtColor(mask, cv2.COLOR_GRAY2RGB), outlined))
    cell = np.concatenate((made.image, beside), axis=1)
    return np.pad(cell, ((0, GAP), (0, GAP), (0, 0)), constant_values=255)


def _titled(picture: np.ndarray, title: str) -> np.ndarray:
    line = np.full((LABEL, picture.shape[1], 3), 255, np.uint8)
    cv2.putText(line, title, (2, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate((line, picture))


def _in_columns(cells: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Equal cells row by row; the last row is filled up with white."""
    blank = np.full_like(cells[0], 255)
    cells = [*cells, *[blank] * (-len(cells) % columns)]
    rows = [
        np.concatenate(cells[start : start + columns], axis=1)
        for start in range(0, len(cells), columns)
    ]
    return np.concatenate(rows)
