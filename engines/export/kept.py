"""The graph of a weights file, kept for the next time: beside it, else in the user's cache.

Its name has the SHA-256 of all that it comes from, so that an old one is never taken for it;
writing a new one removes those. It is written under another name and renamed, so that two commands
at once harm nothing: the later one wins, with the same graph.
"""

import hashlib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch

from deocclude.data.files import sha256
from deocclude.engines.export.opening import open_exportable
from deocclude.engines.export.writing import write_graph
from deocclude.engines.graphs.description import SUFFIX

EXPORTER = 1  # raised whenever this code writes another graph of the same weights
FOLDER = ".onnx"  # hidden, and in no package


def kept_graph(weights: Path) -> Path | None:
    """The graph of these very weights, if one was made by this exporter with this PyTorch."""
    name = _name(weights)
    return next((folder / name for folder in _places(weights) if (folder / name).is_file()), None)


def make_graph(weights: Path) -> Path:
    """Write the graph, of one size, in place of older ones of these weights; about ten seconds.

    OnnxError where the network cannot be exported, OSError where neither place can be written to.
    """
    exportable, name = open_exportable(weights), _name(weights)
    for folder in (places := list(_places(weights))):
        try:
            write_graph(exportable, folder / name, any_size=False)
        except OSError:
            if folder == places[-1]:
                raise
            continue
        _remove_others(folder / name, weights.stem)
        return folder / name
    raise AssertionError("the last place raises")


def user_cache() -> Path:
    """Where the system keeps what can be made again."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _places(weights: Path) -> Iterator[Path]:
    """The folder beside the weights, and one of the user's cache for weights in that folder."""
    home = weights.resolve().parent
    yield home / FOLDER
    yield user_cache() / "deocclude" / "onnx" / hashlib.sha256(str(home).encode()).hexdigest()[:16]


def _name(weights: Path) -> str:
    major = torch.__version__.partition(".")[0]
    key = hashlib.sha256(f"{EXPORTER} {major} {sha256(weights)}".encode()).hexdigest()[:16]
    return f"{weights.stem}-{key}{SUFFIX}"


def _remove_others(graph: Path, stem: str) -> None:
    ours = re.compile(rf"{re.escape(stem)}-[0-9a-f]{{16}}{re.escape(SUFFIX)}")
    for path in graph.parent.iterdir():
        if path != graph and ours.fullmatch(path.name):
            with suppress(OSError):  # on Windows one that another command has open
                path.unlink()
