"""Memory of this process: the peak rises with what is held, and is forgotten when it is freed."""

import ctypes
import subprocess
import sys

import numpy as np
import pytest
import torch

from deocclude.engines.runs.memory import free, held_mib, peak_mib

LARGE_AGAIN = """
import resource, sys
import torch
from deocclude.engines.runs.memory import free_as_before, held_mib, keep_freed
keep_freed() if sys.argv[1] == "keep" else None
faults = []
for _ in range(16):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(64 * 2**18)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
held = held_mib(torch.device("cpu"))
free_as_before()
print(sum(faults[-4:]), held - held_mib(torch.device("cpu")))
held = held_mib(torch.device("cpu"))
torch.ones(512 * 2**18)  # MiB, larger than any gap that the others left
print(held_mib(torch.device("cpu")) - held)
"""
CPU = torch.device("cpu")
MIB = 192


def test_the_peak_is_never_below_what_is_held():
    assert peak_mib(CPU) >= 0.98 * held_mib(CPU) > 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forgets a process's peak")
def test_a_peak_is_seen_after_it_is_gone_until_it_is_forgotten():
    free(CPU)
    before = held_mib(CPU)
    held = np.ones(MIB * 2**20, np.uint8)
    assert held_mib(CPU) > before + 0.9 * MIB
    del held
    assert peak_mib(CPU) > before + 0.9 * MIB
    free(CPU)
    assert peak_mib(CPU) < before + 0.5 * MIB


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="only glibc's"
)
def test_kept_memory_is_used_again_and_can_be_given_back():
    numbers = {}
    for what in ("keep", "leave"):
        command = [sys.executable, "-c", LARGE_AGAIN, what]
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
        numbers[what] = [float(number) for number in answer.stdout.split()]
    assert numbers["leave"][0] > 100  # 64 MiB four times anew: 128 huge pages, or 65 536 of 4 KiB
    assert numbers["keep"][0] < numbers["leave"][0] / 10
    assert numbers["keep"][1] > 50  # MiB
    assert numbers["keep"][2] < 50  # of 512 that came and went afterwards
