"""Files that are whole or not there, how one is named, and the digest that tells them apart."""

import argparse
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name in the same folder: it becomes `path` when the block ends, and whatever was
    written there is removed when the block fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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
