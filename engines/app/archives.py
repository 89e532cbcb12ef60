"""Zip files of photos: a stranger's unpacked without trusting it, results packed."""

import re
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from deocclude.data.files import replacing
from deocclude.data.image_files import HEIF_SUFFIXES, is_litter
from deocclude.engines.app.names import safe_name

DEEPEST = 16  # folders within folders
BLOCK = 1 << 16
START = b"PK\x03\x04"  # of a zip
ENTRY = b"PK\x01\x02"  # of each entry in a zip's table
DRIVE = re.compile(r"[a-z]:", re.IGNORECASE)
# What reading a damaged or forged zip ends with, beside zipfile's own error.
DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, RuntimeError,
)  # fmt: skip
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others unpack any amount at one go
# Small already: deflating them takes time and gains nothing.
PACKED = (
    *HEIF_SUFFIXES, ".avif", ".gif", ".jpeg", ".jpg", ".jxl", ".m4v", ".mkv", ".mov", ".mp4",
    ".apng", ".png", ".webm", ".webp", ".zip",
)  # fmt: skip


@dataclass(frozen=True)
class ZipLimits:
    """How much a zip may hold: its number of files, and bytes once unpacked, each and together."""

    files: int = 200
    bytes_each: int = 64 << 20
    bytes_all: int = 512 << 20


@dataclass
class Unpacked:
    """The files that were written, in the zip's order, and why each of the others was not."""

    files: list[Path] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)  # name in the zip: reason


class _LeftOut(Exception):
    """Why one entry is not unpacked."""


def unpack(zip_path: Path, folder: Path, limits: ZipLimits) -> Unpacked:
    """Unpack into a new folder, with the zip's folders below it, under names that are safe on any
    system. What is no plain file, or is named or packed in a way that is not safe, is left out,
    with the reason.

    ValueError, with nothing left behind, where the zip is damaged or holds more than `limits`;
    sizes are counted as they come, whatever the zip says. FileExistsError where `folder` is there.
    """
    folder.mkdir(parents=True)
    try:
        with _open(zip_path, limits) as archive:
            return _Unpacking(zip_path.name, folder, limits).run(archive)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def pack(folder: Path, zip_path: Path) -> Path:
    """Zip what is in a folder, in the order of names, whole or not at all. ValueError where there
    is no file."""
    files = [p for p in folder.rglob("*") if p.is_file() and not p.is_symlink()]
    if not files:
        raise ValueError(f"{folder}: holds no file to pack")
    names = sorted(path.relative_to(folder).as_posix() for path in files)
    with (
        replacing(zip_path) as temporary,
        zipfile.ZipFile(temporary, "w", strict_timestamps=False) as archive,
    ):
        for name in names:
            small = Path(name).suffix.lower() in PACKED
            method = zipfile.ZIP_STORED if small else zipfile.ZIP_DEFLATED
            archive.write(folder / name, name, method)
    return zip_path


def _open(zip_path: Path, limits: ZipLimits) -> zipfile.ZipFile:
    """Also where its table is long: `zipfile` would read all of that first."""
    most = 4 * limits.files + 100  # folders, and what systems add, do not count as files
    if _count(zip_path, ENTRY) > most:
        raise ValueError(f"{zip_path.name}: holds more than {limits.files} files")
    try:
        return zipfile.ZipFile(zip_path)
    except DAMAGE as error:
        raise ValueError(f"{zip_path.name}: is damaged, or no zip ({error})") from None


def _count(path: Path, mark: bytes) -> int:
    found, end = 0, b""
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            found += (end + block).count(mark)
            end = block[1 - len(mark) :]
    return found


class _Unpacking:
    """A zip on its way into a folder."""

    def __init__(self, name: str, folder: Path, limits: ZipLimits) -> None:
        self.name, self.folder, self.limits = name, folder, limits
        self.done, self.spent = Unpacked(), 0  # bytes
        self.files: set[str] = set()  # and folders: to systems that take A for a
        self.folders: set[str] = set()

    def run(self, archive: zipfile.ZipFile) -> Unpacked:
        names = {info: _name(info) for info in archive.infolist()}
        entries = {info: name for info, name in names.items() if not name.endswith("/")}
        if sum(not _is_junk(name) for name in entries.values()) > self.limits.files:
            raise ValueError(f"{self.name}: holds more than {self.limits.files} files")
        for info, name in entries.items():
            try:
                place = _safe_place(name)
                _check_kind(info)
                self._write(archive, info, place)
            except _LeftOut as reason:
                self.done.left_out[name] = str(reason)
        return self.done

    def _write(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo, place: PurePosixPath) -> None:
        """One entry's content, counted as it comes."""
        key, above = str(place).casefold(), {str(each).casefold() for each in place.parents}
        if key in self.files or key in self.folders or above & self.files:
            raise _LeftOut("its name is taken by another one")
        self.folders |= above  # they are made before the file is read
        path, most = self.folder / place, self.limits.bytes_each
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(path, "xb") as target:
                for block in _blocks(archive, info):
                    if target.tell() == 0 and block.startswith(START):
                        raise _LeftOut("it is a zip itself")
                    self.spent += len(block)
                    if self.spent > self.limits.bytes_all:
                        most_all = f"{self.limits.bytes_all:,} bytes unpacked"
                        raise ValueError(f"{self.name}: holds more than {most_all}")
                    if target.tell() + len(block) > most:
                        raise _LeftOut(f"it is longer than {most:,} bytes")
                    target.write(block)
        except _LeftOut:
            path.unlink()
            raise
        self.files.add(key)
        self.done.files.append(path)


def _name(info: zipfile.ZipInfo) -> str:
    """The whole name that the zip gives, with /; many write UTF-8 and do not say so."""
    name = info.orig_filename
    if not info.flag_bits & 0x800:
        with suppress(UnicodeError):  # another alphabet: which one, nobody knows
            name = name.encode("cp437").decode("utf-8")
    return name.replace("\\", "/")


def _is_junk(name: str) -> bool:
    return any(is_litter(part) for part in name.split("/") if part not in (".", ".."))


def _safe_place(name: str) -> PurePosixPath:
    """Where in the folder an entry comes to lie."""
    parts = name.split("/")
    if name.startswith("/") or DRIVE.match(name) or ".." in parts or "\0" in name:
        raise _LeftOut("it would lie outside of the folder")
    if _is_junk(name):
        raise _LeftOut("it is hidden, or made by a system for itself")
    parts = [safe_name(part) for part in parts if part not in ("", ".")]
    if not parts:
        raise _LeftOut("it has no name")
    if len(parts) > DEEPEST:
        raise _LeftOut(f"it lies more than {DEEPEST} folders deep")
    return PurePosixPath(*parts)


def _check_kind(info: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise _LeftOut("it is a link, or another thing that is no file")
    if info.flag_bits & 0x1:
        raise _LeftOut("it is encrypted")
    if info.compress_type not in METHODS:
        raise _LeftOut("it is packed in a way other than deflated")


def _blocks(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    try:
        with archive.open(info) as source:
            while block := source.read(BLOCK):
                yield block
    except DAMAGE as error:
        raise _LeftOut(f"it is damaged ({error})") from None
