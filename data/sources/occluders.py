"""From a configuration to what covers its faces: cut-outs of a folder, drawn kinds."""

import logging
from pathlib import Path
from typing import Any

from deocclude.data.faces.layout import SPLITS, left_out, named_folder
from deocclude.data.occluders.cutouts import CutoutLibrary, open_cutouts
from deocclude.data.occluders.mixture import Occluders
from deocclude.data.settings import Data, IdentityData, SegmentationData

logger = logging.getLogger(__name__)


def find_occluders(occluders: str, root: Path | None) -> Path | None:
    """The folder of cut-outs that `data.occluders` means; None for drawn occluders only.

    FileNotFoundError when a named folder does not exist.
    """
    if occluders == "drawn":
        return None
    if occluders == "auto":
        default = root / "occluders" if root is not None else None
        beside = root.parent / "occluders" if root is not None else None
        return next((p for p in (default, beside) if p is not None and p.is_dir()), None)
    if named := named_folder(root, occluders):
        return named
    raise FileNotFoundError(
        f"data.occluders {occluders!r}: no such folder; valid are auto, drawn, or a folder"
    )


def create_occluders(
    data: Data | SegmentationData | IdentityData, folder: Path | None, seed: int
) -> Occluders:
    """The occluders of a configuration; `folder` holds the cut-outs, None for drawn ones only."""
    cutouts = open_cutouts(folder, seed) if folder is not None else None
    eyeglasses = "auto" if isinstance(data, IdentityData) else data.eyeglasses
    return Occluders(data.size, cutouts, data.preset, data.template, seed, eyeglasses)


def open_occluders(
    data: Data | SegmentationData | IdentityData, root: Path | None, seed: int
) -> tuple[Occluders, Path | None]:
    """The occluders of a configuration and their folder, None for drawn ones only; what cut-outs
    there are is said. FileNotFoundError when a named folder does not exist."""
    folder = find_occluders(data.occluders, root)
    occluders = create_occluders(data, folder, seed)
    if occluders.cutouts is not None and occluders.preset != "drawn":
        say_cutouts(occluders.cutouts)
    return occluders, folder


def say_cutouts(cutouts: CutoutLibrary) -> None:
    """One line on what cut-outs there are and how they are split, one on what is left out."""
    files = cutouts.files
    used = {path for part in files.values() for path in part}
    logger.info(
        "%-9s %s: %d cut-outs, %s: train/val/test %s",
        "occluders", cutouts.folder, len(used), cutouts.rule,
        "/".join(str(len(files[name])) for name in SPLITS),
    )  # fmt: skip
    if words := left_out(cutouts.folder, used):
        logger.info("          left out of %s: %s", cutouts.folder, words)


def occluder_words(occluders: Occluders, split: str) -> str:
    """Which occluders a split's pairs have, for tables."""
    where, cutouts = "drawn occluders", occluders.cutouts
    if cutouts is not None and occluders.preset != "drawn":
        where = f"{cutouts.folder.name} with {len(cutouts.names(split))} cut-outs"
    return f"{where} ({occluders.preset})"


def describe_occluders(occluders: Occluders, folder: Path | None) -> dict[str, Any]:
    """For environment.json; `folder` holds the cut-outs, None for drawn ones only."""
    return {
        "occluders": "drawn" if folder is None else str(folder.resolve()),
        "occluder_details": occluders.describe(),
    }
