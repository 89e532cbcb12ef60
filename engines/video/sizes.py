"""How long a file says it is: containers that give the sizes of their parts cannot hide a cut."""

import os
from pathlib import Path
from typing import BinaryIO

SEGMENT = b"\x18\x53\x80\x67"  # Matroska's one big element


def missing_bytes(path: Path) -> int:
    """How many bytes a cut has taken from the end of an MP4, MOV, AVI or Matroska file; 0 for a
    whole one and for containers that do not tell."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(12)
        file.seek(0)
        if head[:4] == b"\x1aE\xdf\xa3":
            end = _matroska_end(file)
        elif head[:4] == b"RIFF":
            end = _riff_end(file, size)
        elif head[4:8].isalnum():
            end = _iso_end(file, size)
        else:
            return 0
    return max(0, end - size)


def _iso_end(file: BinaryIO, size: int) -> int:
    """Boxes: 4 bytes of size, 4 of type; size 1: 8 bytes of size follow; 0: up to the end."""
    start = 0
    while start + 8 <= size:
        file.seek(start)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length < 8 or not head[4:8].isalnum():
            return size
        start += length
    return start


def _riff_end(file: BinaryIO, size: int) -> int:
    """Chunks named RIFF, one after the other; a recorder that was stopped leaves a size of 0."""
    start = 0
    while start + 8 <= size:
        file.seek(start)
        head = file.read(8)
        length = int.from_bytes(head[4:8], "little")
        if head[:4] != b"RIFF" or not length:
            return size
        start += 8 + length + length % 2
    return start - 1 if start == size + 1 else start  # the last byte of padding is often left out


def _matroska_end(file: BinaryIO) -> int:
    """The EBML header, then the segment; a live recording does not know its size."""
    for _ in range(2):
        name = file.read(4)
        first = file.read(1)
        if not first or not first[0]:
            return 0
        width = 9 - first[0].bit_length()
        value = (first[0] & (0xFF >> width)) << 8 * (width - 1)
        value |= int.from_bytes(file.read(width - 1), "big")
        if value == (1 << 7 * width) - 1:
            return 0
        if name == SEGMENT:
            return file.tell() + value
        file.seek(value, os.SEEK_CUR)
    return 0
