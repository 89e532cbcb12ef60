"""Which photos and videos the words of a command line mean, and what is left out of them."""

import csv
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from glob import glob, has_magic
from pathlib import Path

from deocclude.data.image_files import (
    count_words,
    every_name,
    is_image,
    is_litter,
    is_raw,
    visible_files,
)
from deocclude.engines.jobs.kinds import is_video

EXTRAS = ("mask", "overlay", "side-by-side", "uncertainty")
ENDING = "restored"  # NAME-restored is the result for NAME beside it
MANIFEST = re.compile(r"manifest(?:-(\d+)-of-(\d+))?\.csv")  # of everything, or of one part
# Why a file is no input: the words of a notice, in the order in which they are told.
OTHER = "no image or video"
RAW = "a camera's raw file; develop it to JPEG, PNG or TIFF first"
RESULT = "the result of an earlier command"
REASONS = (OTHER, RAW, RESULT)
_RESULT = re.compile(rf"(.+)-{ENDING}(?:-(?:{'|'.join(EXTRAS)}))?")


@dataclass
class Found:
    """What the words mean: `paths` are files and folders, each once; `failures` are pairs of a word
    and the reason why it means nothing; `left_out` are files and why they are no input."""

    paths: list[Path] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    left_out: dict[Path, str] = field(default_factory=dict)


def find_inputs(words: Sequence[str | Path]) -> Found:
    """The files and folders that words name, and those that a pattern such as *.jpg fits.

    What is named is taken, whatever it is: reading it tells. Of what only a pattern fits, images,
    videos and folders are. Raises FileNotFoundError if nothing is there at all.
    """
    found, paths = Found(), dict[Path, Path]()
    for word in map(str, words):
        matches = [Path(word)] if Path(word).exists() else []
        if not matches and has_magic(word):
            deep = "**" in word  # such a pattern looks into the folders by itself
            fits = [Path(p) for p in sorted(glob(word, recursive=True))]
            fits = [p for p in fits if not is_litter(p.name)]
            matches = [p for p in fits if not deep or not p.is_dir()]
            left = {p: why for p in matches if not p.is_dir() and (why := why_left_out(p))}
            matches = [p for p in matches if p not in left]
            found.left_out |= left
        if not matches:
            reason = "matches no image or video" if has_magic(word) else "no such file or folder"
            found.failures.append((word, f"{word}: {reason}"))
        for match in matches:
            paths.setdefault(match.resolve(), match)
    if not paths:
        raise FileNotFoundError("; ".join(reason for _, reason in found.failures) or "no input")
    found.paths = list(paths.values())
    return found


def why_left_out(path: Path) -> str | None:
    """Why a file of a folder is no input, one of REASONS; None for an image or a video."""
    if is_image(path) or is_video(path):
        return None
    return RAW if is_raw(path) else OTHER


def files_below(
    folder: Path, apart: Iterable[Path], wanted: Callable[[str], bool] = every_name
) -> tuple[list[Path], dict[Path, str]]:
    """The images and videos below `folder`, but not below those of `apart` (resolved), sorted by
    their relative path; and which files are left out, with the reason. Both of those files alone
    whose relative path is `wanted`."""
    root = folder.resolve()
    inside = [path for path in apart if root in path.parents]
    every = [p for p in visible_files(folder, wanted) if not _is_below(p, inside)]
    left_out = {path: why for path in every if (why := why_left_out(path))}
    kept = [path for path in every if path not in left_out]
    results = {*named_results(kept), *_listed_results(kept, folder)}
    for path in [p for p in left_out if MANIFEST.fullmatch(p.name) and _rows(p)]:
        del left_out[path]  # this program's own list says nothing about inputs
    left_out |= dict.fromkeys(results, RESULT)
    return [path for path in kept if path not in results], left_out


def _is_below(path: Path, folders: list[Path]) -> bool:
    return bool(folders) and any(path.resolve().is_relative_to(folder) for folder in folders)


def named_results(files: Sequence[Path]) -> dict[Path, Path]:
    """Result -> photo of those files that are named as the results of others: NAME-restored.* or
    its extras beside NAME.*."""
    photos: dict[Path, Path] = {}
    for path in files:
        photos.setdefault(path, path)
        photos.setdefault(path.with_suffix(""), path)
    fits = {path: named for path in files if (named := _RESULT.fullmatch(path.stem))}
    wanted = {path: path.with_name(named[1]) for path, named in fits.items()}
    return {path: photos[photo] for path, photo in wanted.items() if photo in photos}


def _listed_results(files: Sequence[Path], root: Path) -> set[Path]:
    """Which of the files below `root` a manifest names as written. Of a manifest in `root` itself
    only what lies beside a photo of that name: who restores a folder of results means them."""
    written: dict[Path, set[str]] = {}
    inside, at_top = set[Path](), set[Path]()
    for path in files:
        for folder in path.parents:
            if folder not in written:
                lists = [p for p in folder.glob("manifest*.csv") if MANIFEST.fullmatch(p.name)]
                written[folder] = set[str]().union(*map(_rows, lists))
            if written[folder] and path.relative_to(folder).as_posix() in written[folder]:
                (at_top if folder == root else inside).add(path)
            if folder == root:
                break
    photos = {path.with_suffix("") for path in files if path not in at_top}
    return inside | {path for path in at_top if path.with_suffix("") in photos}


def _rows(manifest: Path) -> set[str]:
    """What a manifest says was written below its folder: relative POSIX paths. None of a file that
    is no manifest."""
    if not manifest.is_file():
        return set()
    place, found = manifest.parent.resolve().name, set()
    try:
        with open(manifest, newline="", encoding="utf-8", errors="replace") as file:
            for row in csv.DictReader(file):
                parts = Path(row.get("output") or "").parts
                tails = [parts[i + 1 :] for i, part in enumerate(parts) if part == place]
                if not tails and all(part in ("..", ".") for part in parts[:-1]):
                    tails = [parts[-1:]]  # written from inside the folder
                for tail in (Path(*tail) for tail in tails if tail):
                    endings = (tail.suffix, ".png")
                    extras = [extra_file(tail, name, end) for name in EXTRAS for end in endings]
                    found |= {path.as_posix() for path in (tail, *extras)}
    except (OSError, csv.Error, AttributeError):
        return set()
    return found


def extra_file(output: Path, name: str, ending: str) -> Path:
    """Where one of EXTRAS goes, beside the result's file."""
    return output.with_name(f"{output.stem}-{name}{ending}")


def left_out_words(left_out: dict[Path, str]) -> list[str]:
    """A line for each reason why files were left out: how many, and which."""
    lines = []
    for reason in dict.fromkeys([*REASONS, *left_out.values()]):
        if paths := [path for path, why in left_out.items() if why == reason]:
            several = len(paths) > 1
            what = f"{count_words(paths)}; " * several + f"{'e.g. ' * several}{paths[0]}"
            lines.append(f"left out, {reason}: {what}")
    return lines


def beside(path: Path) -> Path:
    """NAME-restored beside a file or a folder, without a file's ending."""
    if path.is_dir():
        place = path if path.name not in ("", "..") else path.resolve()
        return place.with_name(f"{place.name}-{ENDING}")
    return path.with_name(f"{path.stem}-{ENDING}")
