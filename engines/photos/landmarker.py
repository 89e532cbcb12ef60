"""The model file of MediaPipe's Face Landmarker: the one that ships, a given one, or a download."""

import os
import socket
from pathlib import Path

import torch

from deocclude.data.files import sha256
from deocclude.engines.runs import released

URL = (
    "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/"
    "face_landmarker.task"
)
SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
TIMEOUT = 20.0  # seconds without an answer after which the server counts as out of reach


class LandmarkerError(ValueError):
    """The model file cannot be had or is not the one expected; the message says what to do."""


def cache_file() -> Path:
    """Where the downloaded model is kept, beside torchvision's weights."""
    return Path(torch.hub.get_dir()) / "checkpoints" / "face_landmarker.task"


def landmarker_file(path: str | os.PathLike[str] | None = None) -> Path:
    """The model file: `path`, or the one that ships, or the cached one, or a fresh download; its
    SHA-256 is checked.

    Raises FileNotFoundError for a given file that does not exist, LandmarkerError for a given or
    shipped one with another SHA-256 and for a download that fails. A file in the cache is always
    whole.
    """
    if path is not None:
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"landmarker {str(path)!r}: no such file; {_by_hand()}")
        found = sha256(path)
        if found != SHA256:
            raise LandmarkerError(
                f"{path}: is not the Face Landmarker model this project was measured with "
                f"(SHA-256 {found}, expected {SHA256}); {_by_hand()}"
            )
        return path
    shipped = released.FOLDER / released.LANDMARKER
    if shipped.is_file():
        if (found := sha256(shipped)) != SHA256:
            raise LandmarkerError(
                f"{shipped}: SHA-256 {found}, expected {SHA256}; {released.restore_with(shipped)}"
            )
        return shipped
    cached = cache_file()
    if not cached.is_file() or sha256(cached) != SHA256:
        _download(cached)
    return cached


def _download(target: Path) -> None:
    """Fetch under a temporary name, check, rename: whole or not at all."""
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(URL, str(target), hash_prefix=SHA256, progress=False)
    except (OSError, RuntimeError) as error:
        raise LandmarkerError(
            f"the Face Landmarker model cannot be downloaded ({error}); {_by_hand()}"
        ) from error
    finally:
        socket.setdefaulttimeout(patience)


def _by_hand() -> str:
    return f"download {URL} and name it with --landmarker, or put it at {cache_file()}"
