"""Unpack zip and tar archives from the network without trusting their member names."""

import platform
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from tarfile import TarInfo
from typing import Any

from deocclude.data.faces.layout import is_split_name
from deocclude.data.files import replacing, write_text

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


class ArchiveError(ValueError):
    """An archive that is broken or unsafe; the message names the archive and the member."""


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
    if not hasattr(tarfile, "data_filter"):
        raise ArchiveError(
            f"{archive}: Python {platform.python_version()} cannot tell safe archives from others, "
            "3.10.12, 3.11.4 and later can; or unpack it by hand"
        )
    folder = archive.parent
    try:
        with _open(archive) as (members, read):
            for member in members:
                _check(archive, member)
            files = [m for m in members if m.isfile() and not _is_clutter(m.name)]
            _check_space(archive, sum(member.size for member in files))
            top = _single_top([member.name for member in files])
            for member in files:
                name = PurePosixPath(member.name)
                target = folder / (name.relative_to(top) if top else name)
                if not (target.is_file() and target.stat().st_size == member.size):
                    with read(member) as content, replacing(target) as part, part.open("wb") as new:
                        shutil.copyfileobj(content, new)
            skipped = sum(member.issym() or member.islnk() for member in members)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
        raise ArchiveError(
            f"{archive}: is broken, delete it and fetch it again ({error})"
        ) from None
    except (RuntimeError, NotImplementedError) as error:  # zipfile: encrypted, unknown method
        raise ArchiveError(f"{archive}: cannot be unpacked ({error})") from None
    write_text(marker, stamp)
    return [f"{skipped} links left out"] if skipped else []


def _check(archive: Path, member: TarInfo) -> None:
    """ArchiveError for what tarfile's filter for data refuses. It reads names as the system does,
    so what Windows would read otherwise (drives, backslashes) is refused here, on every system."""
    name, link = PureWindowsPath(member.name), member.linkname.replace("\\", "/")
    problem = "would land outside the folder"
    if not (name.drive or name.root or ".." in name.parts or "\0" in member.name):
        try:
            if PureWindowsPath(link).drive or "\0" in link:
                raise tarfile.AbsoluteLinkError(member)
            tarfile.data_filter(member.replace(linkname=link, deep=False), str(archive.parent))
            return
        except (tarfile.AbsoluteLinkError, tarfile.LinkOutsideDestinationError):
            problem = f"links out of the folder ({member.linkname!r})"
        except tarfile.SpecialFileError:
            problem = "is a device or a pipe"
        except tarfile.FilterError:
            pass
    raise ArchiveError(f"{archive}: refused, member {member.name!r} {problem}")


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
    return None if is_split_name(top) else top


@contextmanager
def _open(archive: Path) -> Iterator[tuple[list[TarInfo], Callable[[TarInfo], Any]]]:
    """Yield the members, those of a zip file as those of a tar file, and what opens one."""
    if archive.suffix.lower() == ".zip":
        with zipfile.ZipFile(archive) as file:
            members = {_of_zip(file, info): info for info in file.infolist()}
            yield list(members), lambda member: file.open(members[member])
    else:
        with tarfile.open(archive) as file:
            yield file.getmembers(), file.extractfile


def _of_zip(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> TarInfo:
    member = TarInfo(info.filename)
    member.size = info.file_size
    if stat.S_ISLNK(info.external_attr >> 16):
        member.type, member.linkname = tarfile.SYMTYPE, file.read(info).decode("utf-8", "replace")
    elif info.is_dir():
        member.type = tarfile.DIRTYPE
    return member
