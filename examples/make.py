"""The faces of this folder under their occluders, and the README's picture of them restored.

    python examples/make.py --data DIR                     # draws the occluders anew
    python examples/make.py --picture docs/examples.jpg    # occluded, mask, restored, original

`--data` is a folder with One Million Impressions faces in faces256/test and cut-outs in occluders;
the README of this folder says what comes from where. The picture is made by the weights that ship,
or by those that --checkpoint and --segmenter name.
"""

import argparse
import io
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from deocclude import stopping
from deocclude.data.files import some_path
from deocclude.data.images import load_image, save_image
from deocclude.data.occluders.cutouts import open_cutouts
from deocclude.data.occluders.mixture import Occluders
from deocclude.engines.api import restore
from deocclude.engines.photos.detection import FaceDetector
from deocclude.engines.report.grids import picture_grid

HERE = Path(__file__).resolve().parent
SIZE = 256
SHOWN = 160  # pixels of a face in the README's picture
JPEG = {"quality": 95, "subsampling": 0}


class Example(NamedTuple):
    """A face of the test split, what covers it (a kind of `data.occluders`), and the draw's key."""

    name: str
    face: str
    kind: str
    key: int


EXAMPLES = (
    Example("1_surgical_mask", "omi_00099", "facemask", 17),
    Example("2_cloth_mask", "omi_00018", "facemask_photo", 2),
    Example("3_sunglasses", "omi_00001", "sunglasses_drawn", 13),
    Example("4_scarf", "omi_00013", "scarf", 1),
    Example("5_microphone", "omi_00037", "microphone", 15),
    Example("6_hand", "omi_00049", "hand_drawn", 12),
)


def cover(data: Path) -> None:
    """Write the occluded faces, their originals as they are, and masks of what covers them."""
    occluders = Occluders(SIZE, open_cutouts(data / "occluders"), "photographs")
    for folder in ("originals", "masks"):
        (HERE / folder).mkdir(exist_ok=True)
    with FaceDetector() as detector:
        for example in EXAMPLES:
            source = data / "faces256" / "test" / f"{example.face}.jpg"
            face = load_image(source)
            (found, *_), _ = detector.detect(face)
            made = occluders.fixed(face, "val", example.kind, example.key, points=found.points)
            name = f"{example.name}.jpg"
            shutil.copyfile(source, HERE / "originals" / name)
            save_image(HERE / name, made.image, **JPEG)
            save_image(HERE / "masks" / f"{example.name}.png", made.mask * np.uint8(255))


def draw_picture(path: Path, checkpoint: str | None, segmenter: str | None) -> None:
    """Restore every example and write the four rows of the README's picture."""
    rows = {"occluded": [], "mask found": [], "restored": [], "original": []}
    for example in EXAMPLES:
        file = HERE / f"{example.name}.jpg"
        restored = restore(file, checkpoint=checkpoint, segmenter=segmenter)
        print(f"{file.name}:", "; ".join(restored.notices) or "restored")
        original = Image.open(HERE / "originals" / file.name)
        pictures = Image.open(file), restored.mask.convert("RGB"), restored.image, original
        for row, picture in zip(rows.values(), pictures, strict=True):
            row.append(np.asarray(picture.resize((SHOWN, SHOWN))))
    buffer = io.BytesIO()
    picture_grid(list(rows.values()), row_labels=list(rows)).savefig(buffer, format="png")
    save_image(path, Image.open(buffer).convert("RGB"), quality=90, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="examples/make.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data", type=some_path, metavar="DIR", help="draw the examples from this data"
    )
    parser.add_argument("--picture", type=some_path, metavar="FILE", help="restore them; a JPEG")
    parser.add_argument("--checkpoint", metavar="WEIGHTS", help="another inpainter")
    parser.add_argument("--segmenter", metavar="WEIGHTS", help="another segmenter")
    options = parser.parse_args(argv)
    if not (options.data or options.picture):
        parser.error("nothing to do: --data DIR draws the examples, --picture FILE restores them")
    try:
        if options.data:
            cover(options.data)
        if options.picture:
            draw_picture(options.picture, options.checkpoint, options.segmenter)
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    stopping.watch()
    sys.exit(stopping.run(main))
