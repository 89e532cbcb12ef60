"""How much memory is in use and was at most: of an accelerator, else of this process."""

import contextlib
import ctypes
import gc
import sys
from pathlib import Path

import psutil
import torch

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def held_mib(device: torch.device) -> float:
    """MiB in use now: allocated on a GPU, else resident in this process."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device) / 2**20
    return psutil.Process().memory_info().rss / 2**20


def peak_mib(device: torch.device) -> float:
    """MiB in use at most since the start or `free`: allocated on a GPU, else resident in this
    process; elsewhere than on Linux `free` forgets no process's peak, and on Windows it is NaN."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if sys.platform == "linux":  # getrusage's would start with the peak of the parent process
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    try:
        import resource
    except ImportError:  # Windows has no resource module
        return float("nan")
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kib / 1024 if sys.platform != "darwin" else kib / 2**20


def keep_freed() -> None:
    """From now on this process keeps the memory of tensors that are gone, for those to come.

    Else glibc gives large ones back to the kernel, and each page of the next training step is a
    fault again. Gaps between them can make the peak higher, by a sixth where it was measured;
    `free_as_before` ends it. Nothing where there is no glibc.
    """
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # musl has no such settings
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(M_MMAP_MAX, 0)  # no tensor in a mapping of its own, which goes when it goes
            mallopt(M_TRIM_THRESHOLD, -1)  # and none given back at the heap's end


def free_as_before() -> None:
    """End `keep_freed`, with what lies free given back: glibc's own settings hold again."""
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(M_MMAP_MAX, 65536)
            mallopt(M_TRIM_THRESHOLD, 128 * 1024)
    give_back()


def give_back() -> None:
    """Memory of tensors that are gone to the kernel."""
    gc.collect()
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # only glibc has it
            ctypes.CDLL(None).malloc_trim(0)


def free(device: torch.device) -> None:
    """Give back what is not used any more, and forget the peak so far where that is possible."""
    give_back()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    elif sys.platform == "linux":
        # proc(5): 5 resets the resident set's high-water mark
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
