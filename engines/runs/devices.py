"""Which device a name means, and how it is called."""

import contextlib
import os
import platform

import torch


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """The device by name; "auto" is an accelerator if there is one, else the CPU.

    Raises ValueError for a name that torch does not know and for a device that is not here.
    """
    here = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if device == "auto":
        return here or torch.device("cpu")
    try:
        wanted = torch.device(device)
    except RuntimeError:
        raise ValueError(f"device {device!r}: unknown; try auto, cpu, cuda, cuda:1, mps") from None
    known = ("cpu", here.type) if here else ("cpu",)
    count = 1 if wanted.type == "cpu" else torch.accelerator.device_count()
    if wanted.type not in known or (wanted.index or 0) >= count:
        raise ValueError(f"device {device!r}: not on this machine, which has {', '.join(known)}")
    return wanted


def device_name(device: torch.device) -> str:
    """A name for tables, e.g. the GPU's, or the CPU's with its core count."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{_cpu_model()}, {available_cores()} cores" if device.type == "cpu" else device.type


def _cpu_model() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def available_cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
