"""Which files are images: by the names that Pillow's formats have, else by what is in the file."""

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from PIL import Image

# Formats that hold one picture of pixels, and that Pillow reads without another program.
FORMATS = (
    "AVIF", "BMP", "DDS", "DIB", "GIF", "ICNS", "ICO", "JPEG", "JPEG2000", "PCX", "PNG", "PPM",
    "PSD", "QOI", "SGI", "TGA", "TIFF", "WEBP",
)  # fmt: skip
HEIF_SUFFIXES = (".heic", ".heif", ".hif", ".heics")  # an iPhone's; read by pillow-heif
# Images, whether or not this Pillow reads them.
MORE_SUFFIXES = (*HEIF_SUFFIXES, ".avif", ".jp2", ".jxl")
UNTOLD = ("TGA",)  # told by its name alone: the format has no signature
# What Pillow opens of them is a thumbnail or a rough first picture.
RAW_SUFFIXES = (
    ".3fr", ".arw", ".cr2", ".cr3", ".dng", ".erf", ".kdc", ".mos", ".mrw", ".nef", ".nrw", ".orf",
    ".pef", ".raf", ".raw", ".rw2", ".sr2", ".srw", ".x3f",
)  # fmt: skip
LITTER = ("@eadir", "__macosx", "#recycle", "$recycle.bin")  # folders that systems fill themselves


@lru_cache(maxsize=1)
def image_suffixes() -> tuple[str, ...]:
    """The endings, lower case with a dot, that name an image, read by this Pillow or not."""
    Image.init()
    known = {s for s, kind in Image.registered_extensions().items() if kind in FORMATS}
    return tuple(sorted({*known, *MORE_SUFFIXES}))


def is_raw(path: str | Path) -> bool:
    """Whether a file's name is that of a camera's raw data."""
    return Path(path).suffix.lower() in RAW_SUFFIXES


def is_image(path: Path) -> bool:
    """Whether a file is an image: by its name; where that says nothing, by its first bytes. A
    damaged file named .jpg is one, so that whoever reads it says so."""
    if path.suffix.lower() in image_suffixes():
        return True
    if is_raw(path):
        return False
    try:
        with open(path, "rb") as file:
            start = file.read(16)
        if is_heif(start):
            return True
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of many pixels: whoever reads them has a limit
            with Image.open(path, formats=[name for name in FORMATS if name not in UNTOLD]):
                return True
    except Image.DecompressionBombError:
        return True
    except (OSError, SyntaxError, ValueError, LookupError):
        return False


def is_heif(start: bytes) -> bool:
    """Whether a file that begins like this, 12 bytes or more, is HEIC or HEIF."""
    brands = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
    return start[4:8] == b"ftyp" and start[8:12] in brands


def every_name(name: str) -> bool:
    """Nothing is left out: the default of those that list files."""
    return True


def visible_files(folder: str | Path, wanted: Callable[[str], bool] = every_name) -> list[Path]:
    """Every file below `folder` whose relative POSIX path is `wanted`, sorted by that.

    Not those that systems hide or make for themselves (names that begin with a dot, thumbnails of
    network drives). Linked folders are followed, each once. FileNotFoundError without the folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    return [folder / name for name in sorted(_walk(folder, wanted))]


def _walk(folder: Path, wanted: Callable[[str], bool]) -> Iterator[str]:
    """Relative POSIX paths of files; of a million most may not be wanted, so they stay texts."""
    seen = {os.path.realpath(folder)}
    for place, folders, names in os.walk(folder, followlinks=True):
        kept = []
        for name in sorted(folders):
            real = os.path.realpath(os.path.join(place, name))
            if not is_litter(name) and real not in seen:
                seen.add(real)
                kept.append(name)
        folders[:] = kept
        inside = Path(place).relative_to(folder).as_posix()
        before = "" if inside == "." else f"{inside}/"
        for name in names:
            if is_litter(name) or not wanted(before + name):
                continue
            if os.path.isfile(os.path.join(place, name)):
                yield before + name


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or made by a system for itself."""
    return name.startswith(".") or name.casefold() in LITTER


def list_images(folder: str | Path, wanted: Callable[[str], bool] = every_name) -> list[Path]:
    """Every image file below `folder`, sorted by its relative POSIX path; see `visible_files`."""
    return [path for path in visible_files(folder, wanted) if is_image(path)]


def holds_image(folder: Path) -> bool:
    """Whether any image lies below `folder`; the first one settles it."""
    return any(is_image(folder / name) for name in _walk(folder, every_name))


def count_words(paths: Iterable[Path]) -> str:
    """What files there are, by their endings: "3 .txt, 1 .pdf, 1 without an ending"."""
    counts = Counter(path.suffix.lower() or "without an ending" for path in paths)
    return ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common())
