"""What stands behind the options of `deocclude`: from a word to its value, or argparse's error."""

import argparse
from pathlib import Path

from deocclude.data.files import some_path
from deocclude.data.mask_files.given import ALPHA
from deocclude.engines.inference.hole_mask import Dilation
from deocclude.engines.jobs.inputs import EXTRAS
from deocclude.engines.jobs.shards import Shard
from deocclude.engines.options import at_least
from deocclude.engines.photos.face import FaceBox, FaceChoice
from deocclude.names import did_you_mean


def shard(text: str) -> Shard:
    try:
        return Shard.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def extras(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(filter(None, (name.strip() for name in text.split(",")))))
    if unknown := [name for name in names if name not in EXTRAS]:
        hint = did_you_mean(unknown[0], EXTRAS)
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(EXTRAS)}{hint}")
    return names


def mask(text: str) -> Path | str:
    return ALPHA if text == ALPHA else some_path(text)


def camera(text: str) -> int | Path:
    number = text.removeprefix("/dev/video")
    return int(number) if number.isdecimal() else some_path(text)


def pixels(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: must be a number, 0 or more")
    return value


def dilation(text: str) -> float | str:
    """Pixels, or a percentage as the text that `Dilation.of` takes."""
    try:
        grown = text if text.endswith("%") else float(text)
        Dilation.of(grown)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r}: must be a number of pixels, 0 or more, or 0% to 100% of the face's square"
        ) from None
    return grown


def most_faces(text: str) -> int:
    return 1 if text == "largest" else at_least(1)(text)


def face_box(text: str) -> FaceBox:
    try:
        left, top, width, height = map(float, text.split(","))
        FaceChoice(boxes=((left, top, width, height),)).check()
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r}: must be LEFT,TOP,WIDTH,HEIGHT in pixels of the photo, e.g. 120,80,200,260"
        ) from None
    return left, top, width, height


def count(text: str) -> int:
    value = pixels(text)  # 300e6 too
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: must be 1 or more")
    return int(value)
