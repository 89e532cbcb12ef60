"""Memory of this process: the peak rises with what is held, and is forgotten when it is freed."""

import sys

import numpy as np
import pytest
import torch

from deocclude.engines.runs.memory import free, held_mib, peak_mib

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
