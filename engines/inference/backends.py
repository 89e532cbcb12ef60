"""What computes a network's answer: PyTorch, or on CPUs ONNX Runtime, which is faster there.

ONNX Runtime needs the network's graph. Making it takes longer than a photo, so it is made only for
work that is worth it, once, and kept (`engines.export.kept`).
"""

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from deocclude.engines.export.kept import kept_graph, make_graph
from deocclude.engines.graphs.description import is_onnx
from deocclude.engines.graphs.packages import RUNTIME, WRITER, OnnxError, has_runtime, need
from deocclude.engines.runs.finished import read_metadata
from deocclude.engines.runs.recipes import MODEL
from deocclude.names import shown

logger = logging.getLogger(__name__)

AUTO, TORCH, ONNX = "auto", "torch", "onnx"
BACKENDS = (AUTO, TORCH, ONNX)
PREPARING = "preparing the networks for this machine, once"
Say = Callable[[str], None]
Read = TypeVar("Read")


def graph_for(
    weights: Path,
    device: torch.device,
    backend: str = AUTO,
    make: bool = False,
    say: Say = logger.info,
) -> Path | None:
    """The ONNX file to ask in the place of these weights; None where PyTorch is to be asked.

    `auto` takes one that is there, on the CPU, and with `make` writes one; `onnx` always does, and
    says why where it cannot for an ensemble, whose members it would no longer tell apart. OnnxError
    for an unknown backend, and with `onnx` for a missing package, another device than the CPU, and
    a network that cannot be exported.
    """
    if backend not in BACKENDS:
        raise OnnxError(f"backend: {shown(backend)} is not one of {', '.join(BACKENDS)}")
    if backend == TORCH or is_onnx(weights):
        return None
    if backend == AUTO and (device.type != "cpu" or not has_runtime()):
        return None
    try:
        need(RUNTIME)
    except OnnxError as error:
        if backend == ONNX:
            raise
        say(f"{error}; PyTorch is used")
        return None
    if device.type != "cpu":
        raise OnnxError(f"backend {ONNX}: runs on the CPU, not on {device}; choose device cpu")
    if read_metadata(weights)[0]["model"]["name"] == MODEL:
        if backend == ONNX:
            say(f"{weights.name}: an ensemble, whose members differ in doubt; PyTorch is used")
        return None
    if (kept := kept_graph(weights)) is not None:
        return kept
    return _made(weights, backend, say) if make or backend == ONNX else None


def read_asked(
    weights: Path,
    device: torch.device,
    backend: str,
    make: bool,
    say: Say,
    read: Callable[[Path], Read],
) -> Read:
    """What `read` gives of the graph of these weights; of the weights without one (`graph_for`),
    and with `auto` where this ONNX Runtime cannot run it, which is said. Such a graph is removed,
    to be made anew."""
    graph = graph_for(weights, device, backend, make, say)
    if graph is None:
        return read(weights)
    try:
        return read(graph)
    except OnnxError as error:
        with contextlib.suppress(OSError):
            graph.unlink()
        if backend == ONNX:
            raise OnnxError(f"{error}; it was removed, the next command makes it anew") from error
        say(f"{error}; it was removed, PyTorch is used")
        return read(weights)


def _made(weights: Path, backend: str, say: Say) -> Path | None:
    try:
        need(WRITER)
        say(f"{PREPARING}: {weights.name}")
        return make_graph(weights)
    except (OnnxError, OSError) as error:
        if backend == ONNX:
            raise
        say(f"{weights.name}: PyTorch is used, {error}")
        return None
