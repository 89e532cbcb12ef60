"""The one place that knows about devices, precision and processes; all of it through Accelerate."""

import contextlib
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from importlib import metadata
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import InitProcessGroupKwargs, set_seed
from torch import Tensor, nn

from deocclude.engines.runs.devices import resolve_device
from deocclude.engines.runs.memory import free_as_before, keep_freed, peak_mib

PATIENCE = timedelta(hours=2)  # of processes that wait while the main one decodes or validates
CHOICE = "ACCELERATE_TORCH_DEVICE"  # read when Accelerate is set up
PACKAGES = ("torch", "torchvision", "accelerate", "torchmetrics", "numpy", "opencv-contrib-python")


@dataclass(frozen=True)
class Runtime:
    """Device, mixed precision and processes of a run."""

    accelerator: Accelerator

    @property
    def device(self) -> torch.device:
        return self.accelerator.device

    @property
    def rank(self) -> int:
        return self.accelerator.process_index

    @property
    def processes(self) -> int:
        return self.accelerator.num_processes

    @property
    def is_main(self) -> bool:
        return self.accelerator.is_main_process

    def share_statistics(self, network: nn.Module) -> nn.Module:
        """BatchNorm over the batches of all processes; PyTorch has that for GPUs only."""
        if self.processes > 1 and self.device.type == "cuda":
            return nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return network

    def prepare(self, *things: Any) -> Any:
        """Networks and optimizers, wrapped for this runtime."""
        return self.accelerator.prepare(*things)

    def unwrap(self, network: nn.Module) -> nn.Module:
        return self.accelerator.unwrap_model(network)

    def autocast(self) -> contextlib.AbstractContextManager:
        return self.accelerator.autocast()

    def backward(self, loss: Tensor) -> None:
        """Scaled where the precision needs it."""
        self.accelerator.backward(loss)

    @contextlib.contextmanager
    def synchronised(self, network: nn.Module, last: bool) -> Iterator[None]:
        """Exchange gradients between processes only on the last part of an accumulated batch."""
        with contextlib.nullcontext() if last else self.accelerator.no_sync(network):
            yield

    def clip(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, limit: float | None
    ) -> None:
        """Clip the gradient norm, unscaling this optimizer's first; nothing without a `limit`."""
        if limit is not None:
            self.accelerator.unscale_gradients(optimizer)
            nn.utils.clip_grad_norm_(network.parameters(), limit)

    def any(self, flag: bool) -> bool:
        """Whether any process says so; every process gets the same answer."""
        if self.processes == 1:
            return flag
        return bool(self.accelerator.reduce(torch.tensor(float(flag), device=self.device)).item())

    def mean(self, values: Tensor) -> Tensor:
        """Mean over processes."""
        return self.accelerator.reduce(values, "mean") if self.processes > 1 else values

    def wait(self) -> None:
        self.accelerator.wait_for_everyone()

    def close(self) -> None:
        """Leave the process group, where there is one, and keep no memory for another step."""
        self.accelerator.end_training()
        if self.device.type == "cpu":
            free_as_before()

    def main_first(self) -> contextlib.AbstractContextManager:
        """The main process runs the block before the others (downloads, caches)."""
        return self.accelerator.main_process_first()

    def scaler_state(self) -> dict:
        return self.accelerator.scaler.state_dict() if self.accelerator.scaler else {}

    def load_scaler_state(self, state: dict) -> None:
        if self.accelerator.scaler and state:
            self.accelerator.scaler.load_state_dict(state)

    def peak_memory_mib(self) -> float:
        """Peak device memory in MiB since the start; of the process on a CPU."""
        return peak_mib(self.device)


def start_runtime(mixed_precision: str = "no", device: str = "auto", seed: int = 42) -> Runtime:
    """Set up device, precision, processes and seeds; on a CPU freed memory stays for the next step.

    Args:
        mixed_precision: no, bf16 or fp16.
        device: auto (a GPU when there is one), cpu, cuda, mps, or cuda:1 for one of several GPUs.

    Raises ValueError for a device that is not here, for a precision that it does not have, and
    where several processes were started that would each train alone.
    """
    named = None if device == "auto" else resolve_device(device)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes > 1 and named is not None and named.index is not None:
        raise ValueError(
            f"device {device!r}: is one GPU, but {processes} processes train, each on its own; "
            "name cuda, and choose GPUs by CUDA_VISIBLE_DEVICES"
        )
    # Accelerate joins processes on a CPU only where it is told of that.
    on_cpu = device == "cpu" or (processes > 1 and resolve_device(device).type == "cpu")
    if "WORLD_SIZE" not in os.environ:  # several runs in one session, as in a notebook
        AcceleratorState._reset_state(reset_partial_state=True)
    try:
        with _accelerate_takes(named):
            accelerator = Accelerator(
                mixed_precision=mixed_precision,
                cpu=on_cpu,
                kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
            )
    except ValueError as error:
        raise ValueError(f"training.mixed_precision {mixed_precision!r}: {error}") from error
    if accelerator.num_processes < processes:
        raise ValueError(
            f"device {device!r}: {processes} processes were started, but on "
            f"{accelerator.device.type} each would train alone; several train on CUDA or on cpu"
        )
    if mixed_precision != "no" and not accelerator.native_amp:  # it would compute in float32
        raise ValueError(
            f"training.mixed_precision {mixed_precision!r}: the device {accelerator.device} has "
            "none; valid here are no, bf16"
        )
    set_seed(seed)
    if accelerator.device.type == "cpu":
        keep_freed()
    return Runtime(accelerator)


@contextlib.contextmanager
def _accelerate_takes(device: torch.device | None) -> Iterator[None]:
    """Within the block Accelerate sets itself up on one GPU of several, where `device` is one. It
    has no argument for that, only a variable of the environment."""
    if device is None or device.index is None:
        yield
        return
    before = os.environ.get(CHOICE)
    os.environ[CHOICE] = str(device)
    try:
        yield
    finally:
        os.environ.pop(CHOICE) if before is None else os.environ.update({CHOICE: before})


def versions() -> dict[str, str]:
    """Python and the packages that decide results."""
    return {"python": platform.python_version()} | {p: metadata.version(p) for p in PACKAGES}
