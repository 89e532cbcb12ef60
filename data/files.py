"""Files that are whole or not there, how one is named, and the digest that tells them apart."""

import argparse
import errno
import hashlib
import os
import platform
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

import psutil


def _machine() -> str:
    """Tells the places apart in which process numbers mean something: machines that share a folder,
    and containers, which count their own."""
    namespace = ""
    with suppress(OSError):  # Linux has it
        namespace = os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(f"{platform.node()} {namespace}".encode()).hexdigest()[:12]


MACHINE = _machine()
UNFINISHED = re.compile(rf"\.part-{MACHINE}-(\d+)-[0-9a-f]{{8}}(\..*)?")
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # what the next file would meet too


def temporary_name(path: Path) -> Path:
    """A hidden name in the same folder, of the same suffix, to write `path` under. It has the
    number of this process, so that another one can tell what a killed process left; what there is
    of that in the folder is removed, once a process."""
    _sweep_once(path.parent)
    token = f"{MACHINE}-{os.getpid()}-{secrets.token_hex(4)}"
    return path.with_name(f".part-{token}{path.suffix}")


def sweep(folder: Path) -> None:
    """Remove from `folder` what processes of this machine that are gone left half-written."""
    with suppress(OSError):
        for path in folder.iterdir():
            found = UNFINISHED.fullmatch(path.name)
            if found is None or psutil.pid_exists(int(found[1])):
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


_sweep_once = lru_cache(maxsize=None)(sweep)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name in the same folder: it becomes `path` when the block ends, and whatever was
    written there is removed when the block fails. OSError names `path`."""
    temporary = temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def unwritable(path: Path, error: OSError) -> OSError:
    """An error of the same kind and number whose text names the file or folder."""
    said = type(OSError(error.errno, ""))(f"{path}: cannot be written ({error.strerror or error})")
    said.errno = error.errno
    return said


def no_room(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, says that nothing more can be written: the disk
    or the quota is full, or the file system is for reading only."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            return True
        error = error.__cause__ or error.__context__
    return False


def check_writable(folders: Iterable[Path]) -> None:
    """Raise an OSError that names the first folder in which no file can be written. One that is not
    there yet is tried in the nearest folder above that is; nothing is left."""
    tried = set()
    for folder in dict.fromkeys(folders):
        place = next((p for p in (folder, *folder.parents) if p.exists()), Path())
        if place in tried:
            continue
        tried.add(place)
        probe = temporary_name(place / "probe")
        try:
            probe.write_bytes(bytes(4096))
        except OSError as error:
            raise unwritable(folder, error) from None
        finally:
            with suppress(OSError):
                probe.unlink(missing_ok=True)


def some_path(text: str) -> Path:
    """A path that a command line names; argparse's error for an empty text, which `Path` takes for
    the working folder."""
    return Path(_not_empty(text, 'name a file or a folder ("." is the working folder)'))


def some_text(text: str) -> str:
    """What a command line names, or argparse's error where that is empty, as of a shell's variable
    that is not set."""
    return _not_empty(text, "name something, or leave the option out")


def _not_empty(text: str, hint: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError(f"is empty; {hint}")
    return text


def write_text(path: Path, text: str) -> None:
    """UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256(path: Path) -> str:
    """SHA-256 of a file, read in blocks, in hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
