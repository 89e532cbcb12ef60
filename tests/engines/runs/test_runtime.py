"""The device a run trains on: named as everywhere, one GPU of several too, refused if not here."""

import os
from types import SimpleNamespace

import pytest
import torch

from deocclude.engines.options import device
from deocclude.engines.runs import runtime
from deocclude.engines.runs.runtime import CHOICE, start_runtime


@pytest.mark.parametrize("name", ["auto", "cpu", "cuda", "cuda:1", "cuda:12", "mps"])
def test_every_command_takes_the_same_words(name):
    assert device(name) == name


def test_accelerate_is_set_up_on_the_one_that_was_named(monkeypatch):
    """A numbered CPU stands for one GPU of several."""
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert start_runtime(device="cpu:0").device == torch.device("cpu", 0)
    assert CHOICE not in os.environ
    assert start_runtime(device="cpu").device == torch.device("cpu")


def test_a_device_that_is_not_here_is_refused():
    with pytest.raises(ValueError, match="'cuda:77': not on this machine"):
        start_runtime(device="cuda:77")


def test_processes_that_would_train_alone_are_refused(monkeypatch):
    """Accelerate joins none on this device, and says nothing of that."""
    alone = SimpleNamespace(num_processes=1, device=torch.device("mps"), native_amp=True)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(runtime, "resolve_device", lambda name: torch.device("mps"))
    monkeypatch.setattr(runtime, "Accelerator", lambda **options: alone)
    with pytest.raises(ValueError, match="2 processes were started, but on mps each would train"):
        start_runtime()


def test_several_processes_take_a_gpu_each(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(runtime, "resolve_device", torch.device)
    with pytest.raises(ValueError, match="'cuda:1': is one GPU, but 2 processes train"):
        start_runtime(device="cuda:1")
