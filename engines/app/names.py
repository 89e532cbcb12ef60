"""Names that a stranger gave, made fit for a file on any system; this machine's own, not shown."""

import re
import tempfile
import unicodedata
from collections.abc import Callable
from itertools import count
from pathlib import Path

MOST = 120  # bytes of UTF-8; file systems take 255, and tools add to names
MOST_SUFFIX = 16
SEPARATORS = re.compile(r"[/\\]")
FORBIDDEN = re.compile(r'[<>:"|?*]')  # by Windows
RESERVED = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\..*)?", re.IGNORECASE
)

PROJECT = Path(__file__).resolve().parents[2]
FOLDERS = re.compile(r"(?<![\w.:/\\])(?:[a-z]:)?[/\\](?:[^\s:'\"/\\]*[/\\])+", re.IGNORECASE)


def without_folders(text: str) -> str:
    """A message in which files of this machine have their names alone. In folders that are known
    there may be spaces; of others, what looks like one goes."""
    known = (tempfile.gettempdir(), Path.cwd(), PROJECT, Path.home())
    for folder in sorted(map(str, known), key=len, reverse=True):
        if len(folder) > 1:
            text = text.replace(folder, "/")
    return FOLDERS.sub("", text)


def safe_name(text: str) -> str:
    """The last part of a path, as a file's name: no separators, no control or invisible characters,
    no dot or space at either end, none of Windows' devices, at most MOST bytes, never empty."""
    text = unicodedata.normalize("NFC", SEPARATORS.split(text)[-1])
    text = "".join(c for c in text if unicodedata.category(c)[0] != "C")
    text = FORBIDDEN.sub("_", text).strip(". ")
    if RESERVED.fullmatch(text):
        text = f"_{text}"
    return _bounded(text) or "file"


def free_name(text: str, is_taken: Callable[[str], bool]) -> str:
    """As `safe_name`, with a number before its ending where that is taken."""
    name = free = safe_name(text)
    stem, dot, suffix = name.rpartition(".")
    numbers = count(2)
    while is_taken(free):
        number = next(numbers)
        free = f"{stem}-{number}.{suffix}" if dot else f"{name}-{number}"
    return free


def _bounded(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    if not dot or len(suffix.encode()) > MOST_SUFFIX:
        stem, dot, suffix = name, "", ""
    room = MOST - len(f"{dot}{suffix}".encode())
    return stem.encode()[:room].decode(errors="ignore").rstrip(". ") + dot + suffix
