"""Published weights that a metric needs: from torch hub's cache or the network, or why not."""

import socket
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from deocclude.progress import libraries_bars

TIMEOUT = 10.0  # seconds without an answer after which a download is given up


class AbsentWeights(Exception):
    """Weights that cannot be had: no error, a metric is left out; the message is the reason."""


def fetch_weights(url: str, others: Sequence[str] = ()) -> Path:
    """The file of `url` in torch hub's cache, downloaded when it is not there.

    `others`: further names that the same file goes by. AbsentWeights says what was tried and where
    to put the file; without a network it comes after seconds.
    """
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    names = (url.rsplit("/", 1)[-1], *others)
    for name in names:
        if (folder / name).is_file():
            return folder / name
    try:
        with _time_limit(TIMEOUT):
            with urllib.request.urlopen(urllib.request.Request(url, method="HEAD")):
                pass
            with libraries_bars():
                torch.hub.load_state_dict_from_url(url, check_hash=True, map_location="cpu")
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        cause = getattr(error, "reason", error)
        raise AbsentWeights(
            f"{url}, which could not be downloaded ({cause}); put the file into {_shown(folder)}"
        ) from error
    return folder / names[0]


def _shown(folder: Path) -> str:
    """A folder as it may stand in a published table: the home directory is `~`."""
    home = Path.home()
    return (
        f"~/{folder.relative_to(home).as_posix()}" if folder.is_relative_to(home) else str(folder)
    )


@contextmanager
def _time_limit(seconds: float):
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
