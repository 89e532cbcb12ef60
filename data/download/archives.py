"""Unpack zip and tar archives from the network without trusting their member names."""

import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO, NamedTuple

from deocclude.data.faces.files import SPLITS
from deocclude.data.files import replacing

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


class ArchiveError(ValueError):
    """An archive that is broken or unsafe; the message names the archive and the member."""


class _Member(NamedTuple):
    name: str
    size: int
    kind: str  # file, folder, link or special
    link: str  # where a link leads, relative to the archive's root
    source: object  # ZipInfo or TarInfo


def list_archives(folder: Path) -> list[Path]:
    """Every archive below `folder`, sorted."""
    return sorted(p for p in folder.rglob("*") if p.name.lower().endswith(SUFFIXES) and p.is_file())


def unpack(archive: Path) -> list[str]:
    """Unpack beside the archive, once; return notices. Interrupted, it continues the next time.

    Every member's name is checked before the first byte is written. A member that is absolute,
    would land outside the folder, or links out of it makes ArchiveError name it; links that stay
    inside are left out. A single top folder is dropped unless it names a split.
    """
    marker = archive.with_name(f".{archive.name}.unpacked")
    stamp = f"{archive.stat().st_size}\n"
    if marker.is_file() and marker.read_text() == stamp:
        return []
    folder = archive.parent
    try:
        with _open(archive) as (members, read):
            for member in members:
                _check(archive, member)
            files = [m for m in members if m.kind == "file" and not _is_clutter(m.name)]
            _check_space(archive, sum(member.size for member in files))
            top = _single_top([member.name for member in files])
            for member in files:
                name = PurePosixPath(member.name)
                target = folder / (name.relative_to(top) if top else name)
                if not (target.is_file() and target.stat().st_size == member.size):
                    with read(member.source) as content:
                        _write(target, content)
            skipped = len([member for member in members if member.kind == "link"])
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
        raise ArchiveError(
            f"{archive}: is broken, delete it and fetch it again ({error})"
        ) from None
    except (RuntimeError, NotImplementedError) as error:  # zipfile: encrypted, unknown method
        raise ArchiveError(f"{archive}: cannot be unpacked ({error})") from None
    marker.write_text(stamp)
    return [f"{skipped} links left out"] if skipped else []


def _check(archive: Path, member: _Member) -> None:
    if member.kind == "special":
        raise ArchiveError(f"{archive}: refused, member {member.name!r} is a device or a pipe")
    if not _stays_inside(member.name):
        raise ArchiveError(
            f"{archive}: refused, member {member.name!r} would land outside the folder"
        )
    if member.kind == "link" and not _stays_inside(member.link):
        raise ArchiveError(
            f"{archive}: refused, member {member.name!r} links out of the folder ({member.link!r})"
        )


def _stays_inside(name: str) -> bool:
    path = PureWindowsPath(name)  # knows both separators, drives and shares
    return not (path.drive or path.root or ".." in path.parts or "\0" in name)


def _is_clutter(name: str) -> bool:
    """What macOS adds to archives: resource forks that carry the pictures' names."""
    path = PurePosixPath(name)
    return "__MACOSX" in path.parts or path.name.startswith("._")


def _check_space(archive: Path, needed: int) -> None:
    free = shutil.disk_usage(archive.parent).free
    if needed > free:
        raise ArchiveError(f"{archive}: needs {needed:,} bytes unpacked, only {free:,} are free")


def _single_top(names: list[str]) -> str | None:
    tops = {PurePosixPath(name).parts[0] for name in names}
    if len(tops) != 1 or any(len(PurePosixPath(name).parts) == 1 for name in names):
        return None
    top = tops.pop()
    return None if top.lower() in SPLITS else top


def _write(target: Path, content: BinaryIO) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as temporary, temporary.open("wb") as file:
        shutil.copyfileobj(content, file)


@contextmanager
def _open(archive: Path) -> Iterator[tuple[list[_Member], Callable[[Any], Any]]]:
    """Yield the members and a function that opens one of them for reading."""
    if archive.suffix.lower() == ".zip":
        with zipfile.ZipFile(archive) as file:
            yield [_zip_member(file, info) for info in file.infolist()], file.open
    else:
        with tarfile.open(archive) as file:
            yield [_tar_member(info) for info in file.getmembers()], file.extractfile


def _zip_member(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    name, link, kind = info.filename, "", "folder" if info.is_dir() else "file"
    if stat.S_ISLNK(info.external_attr >> 16):
        kind = "link"
        link = _link_target(name, file.read(info).decode("utf-8", "replace"))
    return _Member(name, info.file_size, kind, link, info)


def _tar_member(info: tarfile.TarInfo) -> _Member:
    kind, link = "special", ""
    if info.isdir():
        kind = "folder"
    elif info.isfile():
        kind = "file"
    elif info.issym():
        kind, link = "link", _link_target(info.name, info.linkname)
    elif info.islnk():  # a hard link's target counts from the archive's root
        kind, link = "link", info.linkname
    return _Member(info.name, info.size, kind, link, info)


def _link_target(name: str, link: str) -> str:
    """A symbolic link's target, counted from the archive's root where it is relative."""
    if PureWindowsPath(link).drive or PureWindowsPath(link).root:
        return link
    return os.path.normpath(PurePosixPath(name).parent / link.replace("\\", "/"))
