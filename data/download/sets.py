"""Fetch published Google Drive folders: `python -m data.download faces masks`, or `all` four; and
`stl10`, from its own site.

The folders are those of the De-Occlusion Face Model (IEEE Latin America Transactions 2025, DOI
10.1109/TLA.2025.11072503). They end in `datasets/<set>/`; what is complete is not fetched again.
"""

import argparse
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from deocclude.data.download.archives import ArchiveError, list_archives, unpack
from deocclude.data.download.stl10 import BINARY, fetch_stl10
from deocclude.data.files import check_writable, some_path
from deocclude.data.image_files import list_images
from deocclude.data.images import ImageReadError, open_image
from deocclude.progress import Bar, libraries_bars

LAYOUT = """\
    {root}/faces/train/*.jpg, val/*.jpg, test/*.jpg   aligned faces; or {root}/faces/*.jpg
    {root}/masks/*.png                                masks, white = hole
    {root}/occluders/*.png                            cut-out occluders, RGBA or on black
    {root}/general/*.png                              any other pictures
    {root}/stl10/train/*.png, val/*.png, test/*.png   STL-10; or its archive as downloaded, in
    {root}/{binary}/"""


class Published(NamedTuple):
    """A set: where it lies, what it holds and under which terms; `id`: of its folder on Google
    Drive, where it lies there."""

    url: str
    content: str
    size: str
    terms: str
    id: str = ""


def _on_drive(identity: str, content: str, size: str, terms: str) -> Published:
    url = f"https://drive.google.com/drive/folders/{identity}"
    return Published(url, content, size, terms, identity)


FOLDERS = {
    "faces": _on_drive(
        "1VGlK2ym0gI9bS-4rTLx-uL-jMHWMO5HQ",
        "CelebA-HQ faces, 256 x 256, 27 000 for training and 3 000 for validation",
        "not stated by the source; 1 to 3 GB by our rough estimate",
        "CelebA-HQ: non-commercial research only",
    ),
    "masks": _on_drive(
        "19CXiaFdaKhLNtvTJTRSNXf5UvXUp8x4t",
        "NVIDIA irregular masks, 12 000 in six ratio bins x touching the border or not",
        "not stated by the source; below 1 GB by our rough estimate",
        "not stated by the source; NVIDIA's terms for its irregular mask data set apply",
    ),
    "occluders": _on_drive(
        "1SoosnSGwbHYWGx_4Luj9YHPrXHPkcEqo",
        "real occluders, RGBA or on a black background",
        "not stated by the source",
        "not stated by the source: ask its authors before any use but your own research",
    ),
    "general": _on_drive(
        "11Biz2qc2iC8s2XdiaOKCCNm3fFAGwbtX",
        "STL-10 pictures, 7 000 for training and 1 000 for validation",
        "not stated by the source; below 1 GB by our rough estimate",
        "not stated by the source; the STL-10 pictures come from ImageNet: research only",
    ),
}

NO_GDOWN = 'Google Drive is read by gdown, which is missing: `pip install "gdown>=6.5"` brings it'
STL10 = "stl10"
SETS: dict[str, Published] = FOLDERS | {
    STL10: Published(
        "http://ai.stanford.edu/~acoates/stl10/",
        "STL-10: 7 000 labelled pictures for training, 1 000 for validation, 5 000 for tests",
        "2.6 GB to download; 6 GB on disk at first, 0.3 GB are kept, by our rough estimate",
        "the pictures come from ImageNet: research only",
    )
}


class DownloadRefused(ValueError):
    """A folder that Google Drive does not give; the message says why."""


def describe(name: str) -> str:
    """What the set holds, how large it is and under which terms, in four lines."""
    folder = SETS[name]
    return (
        f"{name}: {folder.content}\n"
        f"    from   {folder.url}\n"
        f"    size   {folder.size}\n"
        f"    terms  {folder.terms}"
    )


def fetch(name: str, output: Path) -> list[str]:
    """Download, unpack and verify one set in `output/<name>/`; return what is wrong with it.

    Partial files are continued, complete ones skipped. Raises OSError without network,
    DownloadRefused when Google Drive refuses, ArchiveError for an unsafe or broken archive.
    """
    if name == STL10:
        return verify(fetch_stl10(output))
    target = output / name
    _from_drive(FOLDERS[name].id, target)
    for archive in list_archives(target):
        for notice in unpack(archive):
            print(f"{archive}: {notice}")
    return verify(target)


def _from_drive(identity: str, target: Path) -> None:
    """Fetch a folder of Google Drive."""
    import gdown
    from gdown.exceptions import DownloadError

    try:
        with libraries_bars():
            gdown.download_folder(
                id=identity, output=str(target), resume=True, timeout=60, retries=3
            )
    except DownloadError as error:
        raise DownloadRefused(str(error)) from error


def verify(folder: Path) -> list[str]:
    """One line for each image below `folder` that does not open, or one if it holds no image."""
    images = list_images(folder)
    if not images:
        return [f"{folder}: holds no image (jpg, png, webp, bmp)"]
    broken = []
    for path in Bar(images, desc=f"checking {folder.name}", unit="image"):
        try:
            open_image(path)
        except ImageReadError as error:
            broken.append(str(error))
    print(f"{folder}: {len(images) - len(broken)} of {len(images)} images open")
    return broken


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m data.download", description=__doc__)
    parser.add_argument("sets", nargs="+", choices=[*SETS, "all"], help="which to fetch")
    parser.add_argument(
        "--output", type=some_path, default=Path("datasets"), help="(default: datasets)"
    )
    parser.add_argument("--yes", action="store_true", help="accept size and terms without a prompt")
    return parser


def main(argv: list[str] | None = None) -> None:
    """Fetch what the command line names; SystemExit 1 with one line when something fails."""
    options = build_parser().parse_args(argv)
    wanted = {*options.sets, *(FOLDERS if "all" in options.sets else ())}
    names = [name for name in SETS if name in wanted]
    if wanted & set(FOLDERS) and find_spec("gdown") is None:
        raise SystemExit(f"error: {NO_GDOWN}")
    try:
        check_writable([options.output])
    except OSError as error:
        raise SystemExit(f"error: {error}") from None
    for name in names:
        print(describe(name))
    if not options.yes and not _accepted():
        raise SystemExit(
            "error: nothing downloaded: type yes, or add --yes, to accept size and terms"
        )
    layout = LAYOUT.format(root=options.output, binary=BINARY)
    failed = False
    for name in names:
        try:
            problems = fetch(name, options.output)
        except (DownloadRefused, ArchiveError) as error:
            problems = [_one_line(error)]
        except OSError as error:
            reason = _one_line(error) if error.errno else f"no connection ({type(error).__name__})"
            print(f"To put the files there by hand, make this layout:\n{layout}")
            raise SystemExit(f"error: {name}: {reason}") from None
        for problem in problems[:10]:
            print(f"error: {name}: {problem}")
        if len(problems) > 10:
            print(f"error: {name}: and {len(problems) - 10} more")
        failed |= bool(problems)
    if failed:
        print(f"Delete broken files and run this again, or put the files there by hand:\n{layout}")
        raise SystemExit(1)


def _accepted() -> bool:
    try:
        return input("Download? [yes/no] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _one_line(error: Exception, width: int = 200) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= width else f"{text[: width - 3]}..."
