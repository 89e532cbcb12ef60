"""What a restoration costs: parameters, multiply-accumulates, time an image, the device named; and
a process of its own to measure it in."""

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from deocclude.engines.graphs.asking import OnnxNetwork
from deocclude.engines.runs.devices import device_name
from deocclude.models.blocks import count_parameters
from deocclude.models.ensemble import Ensemble

WARM_UP, REPEATS, LIMIT = 3, 30, 5.0  # calls, calls, seconds
MEASURED, TOO_LARGE, FAILED = "measured", "out of memory", "failed"


def model_cost(
    model: nn.Module, forward: Callable[[Tensor, Tensor], Tensor], size: int, device: torch.device
) -> dict[str, Any]:
    """Parameters, multiply-accumulates of one image, and its latency at batch 1, synchronised;
    an ensemble's are those of its members and of what combines them.

    The median and 95th percentile are over 30 calls after 3 that do not count, or over as many as
    fit into 5 seconds.
    """
    occluded, mask = noise(1, size)
    seen = not isinstance(model, OnnxNetwork)  # by PyTorch, which counts
    macs = multiply_accumulates(forward, size) if seen else None
    seconds = call_seconds(lambda: forward(occluded, mask), device, WARM_UP - 1)
    return {
        "parameters": model_parameters(model),
        "macs": macs,
        **latency(seconds),
        "device": device_name(device),
    }


def nothing(device: torch.device) -> dict[str, Any]:
    """The cost of an answer that is not worth measuring."""
    free = dict.fromkeys(("parameters", "median_ms", "p95_ms"), 0)
    return {**free, "macs": None, "device": device_name(device)}


def noise(batch: int, size: int) -> tuple[Tensor, Tensor]:
    """Pictures and masks to measure on: (N, 3, S, S) in [0, 1], (N, 1, S, S) of {0, 1}."""
    return torch.rand(batch, 3, size, size), (torch.rand(batch, 1, size, size) > 0.7).float()


def multiply_accumulates(forward: Callable[[Tensor, Tensor], Tensor], size: int) -> int:
    """Of one image."""
    with FlopCounterMode(display=False) as counter:
        forward(*noise(1, size))
    return counter.get_total_flops() // 2


def call_seconds(
    call: Callable[[], Any],
    device: torch.device,
    warm_up: int = WARM_UP,
    repeats: int = REPEATS,
    limit: float = LIMIT,
) -> list[float]:
    """Seconds of each of `repeats` calls, synchronised, after `warm_up` that do not count; at least
    one, and none is begun after `limit` seconds."""
    for _ in range(warm_up):
        call()
    seconds: list[float] = []
    while len(seconds) < repeats and (not seconds or sum(seconds) < limit):
        synchronise(device)
        start = time.perf_counter()
        call()
        synchronise(device)
        seconds.append(time.perf_counter() - start)
    return seconds


def model_parameters(model: nn.Module) -> int:
    """Parameters of a network, those of an ensemble's members included."""
    if isinstance(model, OnnxNetwork):
        return model.parameter_count
    members = model.member_parameters() if isinstance(model, Ensemble) else 0
    return members + count_parameters(model)


def latency(seconds: Iterable[float]) -> dict[str, float]:
    """Median and 95th percentile, in milliseconds."""
    median, p95 = np.quantile(list(seconds), [0.5, 0.95]) * 1000
    return {"median_ms": float(median), "p95_ms": float(p95)}


def rate(spent: list[tuple[int, float]]) -> float:
    """Images a second of (images, seconds) batches, without the first, slower one if possible."""
    counted = spent[1:] or spent
    return sum(images for images, _ in counted) / max(sum(s for _, s in counted), 1e-9)


def synchronise(device: torch.device) -> None:
    """Wait until an accelerator has done what it was asked to do."""
    if torch.device(device).type != "cpu":
        torch.accelerator.synchronize(device)


def measured_apart(command: Sequence[str], folder: Path | None = None) -> dict[str, Any]:
    """The record that `command` prints as its last line of JSON; what went wrong becomes `status`.

    `folder`: where it is started, else here.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode:
        return failure(done.returncode, done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def failure(code: int, errors: str) -> dict[str, str]:
    """The record of a process that ended with this code; the kernel kills where memory ends."""
    last = (errors.strip().splitlines() or ["no message"])[-1]
    killed = hasattr(signal, "SIGKILL") and code == -signal.SIGKILL
    if killed or "can't allocate memory" in errors or "out of memory" in errors:
        return {"status": TOO_LARGE, "reason": "killed by the system" if killed else last}
    return {"status": FAILED, "reason": f"exit code {code}: {last[-300:]}"}
