"""What a restoration costs: parameters, multiply-accumulates, time an image, the device named."""

import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from engines.runtime import device_name

WARM_UP, REPEATS, LIMIT = 3, 30, 5.0  # calls, calls, seconds


def model_cost(
    model: nn.Module, forward: Callable[[Tensor, Tensor], Tensor], size: int, device: torch.device
) -> dict[str, Any]:
    """Parameters, multiply-accumulates of one image, and its latency at batch 1, synchronised.

    The median and 95th percentile are over 30 calls after 3 that do not count, or over as many as
    fit into 5 seconds.
    """
    occluded = torch.rand(1, 3, size, size)
    mask = (torch.rand(1, 1, size, size) > 0.7).float()
    with FlopCounterMode(display=False) as counter:
        forward(occluded, mask)
    for _ in range(WARM_UP - 1):
        forward(occluded, mask)
    seconds: list[float] = []
    while len(seconds) < REPEATS and sum(seconds) < LIMIT:
        synchronise(device)
        start = time.perf_counter()
        forward(occluded, mask)
        synchronise(device)
        seconds.append(time.perf_counter() - start)
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "macs": counter.get_total_flops() // 2,
        **latency(seconds),
        "device": device_name(device),
    }


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
