"""Contact sheets of photographs: each face as it was, with the mask that was found, and restored.

    python benchmarks/photo_sheets.py --photos DIR --output SHEETS
    python benchmarks/photo_sheets.py --photos DIR --output SHEETS --checkpoint A --segmenter B

Photos are numbered in the order of their names, `photos.csv` says which number is which, so that
right masks can be counted by eye. Of a photo with several faces the largest is shown. Where no face
is found the whole photo is. Sheets show people: they are not written into the project.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from deocclude.progress import Bar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from deocclude import stopping
from deocclude.data.files import some_path, write_text
from deocclude.data.image_files import list_images
from deocclude.data.images import load_image
from deocclude.engines.options import DEVICE
from deocclude.engines.photos.blend import BLENDS
from deocclude.engines.photos.deoccluder import Deoccluder, load_deoccluder
from deocclude.engines.photos.detection import FaceDetector
from deocclude.engines.photos.files import tint
from deocclude.engines.photos.restoration import FaceResult, Restoration
from deocclude.engines.report import figures
from deocclude.engines.report.grids import picture_grid
from deocclude.engines.runs.chosen import choose_weights

ROOT = Path(__file__).resolve().parents[1]
RUNS = Path("runs")
TITLES = ("photo", "mask", "restored")


@dataclass(frozen=True)
class Shown:
    """A photo on a sheet: its three tiles, uint8 (S, S, 3), and what is known of it."""

    name: str
    tiles: tuple[np.ndarray, np.ndarray, np.ndarray]
    faces: int
    hole_ratio: float
    note: str


def show(name: str, photo: np.ndarray, result: Restoration, size: int, wide: float) -> Shown:
    """The tiles of the largest face's square, `wide` times as large, or of the whole photo.

    Shape: photo uint8 (H, W, 3).
    """
    face = max(result.faces, key=_side, default=None)
    to_tile = _square(face, size, wide) if face else _letterbox(*photo.shape[:2], size)
    pictures = photo, tint(photo, result.mask), result.restored
    tiles = tuple(_cut(picture, to_tile, size) for picture in pictures)
    notices = [*result.notices, *(face.notices if face else [])]
    ratio = face.hole_ratio if face else 0.0
    return Shown(name, tiles, len(result.faces), ratio, "; ".join(dict.fromkeys(notices)))


def _side(face: FaceResult) -> float:
    """Of its square, in pixels of the photo."""
    return face.aligned.shape[0] / np.sqrt(np.linalg.det(face.matrix[:, :2]))


def _square(face: FaceResult, size: int, wide: float) -> np.ndarray:
    """Photo coordinates to those of a tile, edge to edge, (2, 3): the face's square with a margin
    around it."""
    scale = size / (face.aligned.shape[0] * wide)
    matrix = face.matrix * scale
    matrix[:, 2] += size * (1 - 1 / wide) / 2
    return matrix


def _letterbox(height: int, width: int, size: int) -> np.ndarray:
    scale = size / max(height, width)
    return np.array(
        [[scale, 0, (size - scale * width) / 2], [0, scale, (size - scale * height) / 2]]
    )


def _cut(picture: np.ndarray, to_tile: np.ndarray, size: int) -> np.ndarray:
    """The tile, uint8 (size, size, 3), averaged over pixels where it is smaller than the photo."""
    times = max(1, int(np.ceil(1 / np.sqrt(np.linalg.det(to_tile[:, :2])))))
    matrix = to_tile * times
    matrix[:, 2] += (matrix[:, :2].sum(1) - 1) / 2  # edge to edge, to OpenCV's pixel centres
    whole = (size * times, size * times)
    border = {"borderMode": cv2.BORDER_CONSTANT, "borderValue": (255, 255, 255)}
    large = cv2.warpAffine(picture, matrix, whole, flags=cv2.INTER_LINEAR, **border)
    return cv2.resize(large, (size, size), interpolation=cv2.INTER_AREA)


def restore_all(
    deoccluder: Deoccluder, paths: list[Path], size: int, wide: float, blend: str
) -> Iterator[Shown]:
    """Every photo that can be read; of the others a line says why not."""
    for path in Bar(paths, unit="photo"):
        try:
            photo = load_image(path)
        except (OSError, ValueError) as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        result = deoccluder.restore(photo, blend=blend, grain=True)  # as users get it
        yield show(path.name, photo, result, size, wide)


def write_sheets(shown: list[Shown], folder: Path, across: int, down: int) -> list[Path]:
    """`sheet-01.png`, ... with `across` x `down` photos each, and `photos.csv`."""
    lines = ["number,file,faces,hole_ratio,note"]
    for number, each in enumerate(shown, 1):
        note = each.note.replace('"', "'")
        lines.append(f'{number},"{each.name}",{each.faces},{each.hole_ratio:.4f},"{note}"')
    write_text(folder / "photos.csv", "\n".join(lines) + "\n")
    files = []
    for first in range(0, len(shown), across * down):
        page = shown[first : first + across * down]
        blank = [np.full_like(page[0].tiles[0], 255)] * 3
        rows, captions = [], []
        for start in range(0, len(page), across):
            part = page[start : start + across]
            tiles = [tile for each in part for tile in each.tiles]
            rows.append(tiles + blank * (across - len(part)))
            words = [
                text
                for number, each in enumerate(part, first + start + 1)
                for text in (f"{number}  {each.name[:30]}", _words(each), None)
            ]
            captions.append(words + [None] * (3 * across - len(words)))
        grid = picture_grid(rows, TITLES * across, captions=captions, upscale=1)
        files.append(figures.save(grid, folder / f"sheet-{len(files) + 1:02}.png"))
    return files


def _words(shown: Shown) -> str:
    if not shown.faces:
        return "no face found"
    more = f", {shown.faces} faces" if shown.faces > 1 else ""
    return f"{shown.hole_ratio:.1%} of the square{more}"


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--photos", type=some_path, required=True, metavar="DIR")
    add("--output", type=some_path, required=True, metavar="DIR", help="outside of the project")
    add("--checkpoint", help="the inpainter, as for deocclude.py (default: the one that ships)")
    add("--segmenter", help="the same of the segmenter")
    add("--count", type=int, metavar="N", help="photos, at most; else all")
    add("--size", type=int, default=256, help="px of a tile (256)")
    add("--wide", type=float, default=1.25, help="side of a tile over that of the face's square")
    add("--across", type=int, default=2, help="photos in a row (2)")
    add("--down", type=int, default=5, help="rows of a sheet (5)")
    add("--blend", choices=BLENDS, default="feather")
    add("--device", **DEVICE)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """The exit code: 0, or 1 with a line on what is wrong."""
    arguments = parse_arguments(argv)
    try:
        if arguments.output.resolve().is_relative_to(ROOT):
            raise ValueError(
                f"--output {arguments.output}: lies in the project; name another folder"
            )
        paths = list_images(arguments.photos)[: arguments.count]
        if not paths:
            raise ValueError(f"{arguments.photos}: no images")
        named = {"inpainting": arguments.checkpoint, "segmentation": arguments.segmenter}
        chosen = {task: choose_weights(name, task, RUNS)[0] for task, name in named.items()}
        deoccluder = load_deoccluder(chosen["inpainting"], arguments.device, chosen["segmentation"])
        with FaceDetector(template=deoccluder.inpainter.template) as detector:
            deoccluder = replace(deoccluder, detector=detector)
            looks = arguments.size, arguments.wide, arguments.blend
            shown = list(restore_all(deoccluder, paths, *looks))
        if not shown:
            raise ValueError(f"{arguments.photos}: none of {len(paths)} images could be read")
        files = write_sheets(shown, arguments.output, arguments.across, arguments.down)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    changed = sum(each.hole_ratio > 0 for each in shown)
    bare = sum(not each.faces for each in shown)
    print(f"{len(shown)} photos: {changed} with a mask, {bare} without a face; {files[0].parent}")
    return 0


if __name__ == "__main__":
    stopping.watch()
    sys.exit(stopping.run(main))
