"""A labelled grid of small pictures, every pixel an exact square of the file."""

from collections.abc import Sequence, Sized

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, DPI = "#222222", 100
GAP, GROUP_GAP = 4, 10  # pixels between tiles, and more of them between groups of rows
TILE = 96  # smallest side of a tile, to which smaller images are enlarged
LETTER = 6.9  # width of a letter at 8 points, in pixels


def picture_grid(
    rows: Sequence[Sequence[np.ndarray]],
    titles: Sequence[str] | None = None,
    row_labels: Sequence[str] | None = None,
    captions: Sequence[Sequence[str | None]] | None = None,
    upscale: int | None = None,
    group: int | None = None,
) -> Figure:
    """Pictures in rows, as a figure; `engines.report.figures.save` writes it.

    Args:
        rows: equally long lists of images uint8 (H, W, 3), or masks (H, W) of {0, 1} or bool,
            drawn black with a white hole. All share one height and width.
        titles: one a column.
        row_labels: one a row, left of it; lines are broken at newlines.
        captions: a text below each picture, None for none.
        upscale: whole-number enlargement by pixel repetition; by default to at least 96 pixels.
        group: leave a wider gap after every so many rows.

    Raises ValueError when the rows are empty or their pictures do not fit together.
    """
    tiles = _check(rows, titles, row_labels, captions)
    height, width = tiles[0][0].shape[:2]
    scale = max(1, -(-TILE // min(height, width))) if upscale is None else upscale
    if scale < 1:
        raise ValueError(f"upscale must be at least 1, found {scale}")
    across, down = width * scale, height * scale
    caption = 15 if captions else 0
    lines = [line for label in row_labels or () for line in label.split("\n")]
    left = GAP + (round(max(len(line) for line in lines) * LETTER) + 8 if lines else 0)
    top = GAP + (20 if titles else 0)
    groups = np.arange(len(tiles)) // (group or len(tiles))
    tops = top + np.arange(len(tiles)) * (down + caption + GAP) + groups * GROUP_GAP
    lefts = left + np.arange(len(tiles[0])) * (across + GAP)
    canvas = np.full((tops[-1] + down + caption + GAP, lefts[-1] + across + GAP, 3), 255, np.uint8)
    for tile_row, y in zip(tiles, tops, strict=True):
        for tile, x in zip(tile_row, lefts, strict=True):
            canvas[y : y + down, x : x + across] = tile.repeat(scale, 0).repeat(scale, 1)
    figure, axis = _canvas_figure(canvas)
    for text, x in zip(titles or (), lefts, strict=False):
        size = min(9.0, 8 * across / (LETTER * max(1, len(text))))
        place = {"ha": "center", "va": "bottom", "fontsize": size}
        axis.text(x + across / 2, top - 5, text, color=INK, **place)
    for text, y in zip(row_labels or (), tops, strict=False):
        axis.text(left - 8, y + down / 2, text, ha="right", va="center", fontsize=8, color=INK)
    for texts, y in zip(captions or (), tops, strict=False):
        for below, x in zip(texts, lefts, strict=True):
            if below:
                place = {"ha": "center", "va": "top", "fontsize": 7}
                axis.text(x + across / 2, y + down + 2, below, color=INK, **place)
    return figure


def _canvas_figure(canvas: np.ndarray) -> tuple[Figure, Axes]:
    height, width = canvas.shape[:2]
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    axis = figure.add_axes((0, 0, 1, 1))
    axis.imshow(canvas, interpolation="nearest", extent=(0, width, height, 0), aspect="auto")
    axis.set_axis_off()
    return figure, axis


def _check(
    rows: Sequence[Sequence[np.ndarray]],
    titles: Sized | None,
    row_labels: Sized | None,
    captions: Sized | None,
) -> list[list[np.ndarray]]:
    if not len(rows) or not len(rows[0]):
        raise ValueError("a grid needs at least one picture")
    tiles = [[_as_rgb(picture) for picture in row] for row in rows]
    counts, shapes = {len(row) for row in tiles}, {t.shape for row in tiles for t in row}
    if len(counts) > 1:
        raise ValueError(f"rows must be equally long, found lengths {sorted(counts)}")
    if len(shapes) > 1:
        raise ValueError(f"pictures must share one shape, found {sorted(shapes)}")
    for name, given, wanted in (
        ("titles", titles, len(tiles[0])),
        ("row_labels", row_labels, len(tiles)),
        ("captions", captions, len(tiles)),
    ):
        if given is not None and len(given) != wanted:
            raise ValueError(f"{name}: {wanted} needed, found {len(given)}")
    return tiles


def _as_rgb(picture: np.ndarray) -> np.ndarray:
    picture = np.asarray(picture)
    if picture.ndim == 2 and picture.max(initial=0) <= 1:
        return np.repeat((picture > 0).astype(np.uint8)[..., None] * 255, 3, axis=2)
    if picture.ndim == 3 and picture.shape[2] == 3 and picture.dtype == np.uint8:
        return picture
    raise ValueError(
        "a picture must be uint8 (H, W, 3) or a mask (H, W) of {0, 1}, "
        f"found {picture.dtype} {picture.shape}"
    )


def heat(values: np.ndarray, top: float) -> np.ndarray:
    """Values (N, H, W) of 0 or more as colours, uint8 (N, H, W, 3): black to yellow, at `top`."""
    levels = np.nan_to_num(values / max(top, 1e-9) * 255).round().clip(0, 255).astype(np.uint8)
    return np.stack([cv2.applyColorMap(each, cv2.COLORMAP_INFERNO)[..., ::-1] for each in levels])
