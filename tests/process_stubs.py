"""Other processes for tests. Each is forked from one that has imported what takes seconds, and has
done nothing yet: after a backward pass PyTorch cannot be forked."""

import multiprocessing
import os
import runpy
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace

from chromium import free_port

from deocclude.models import ifacenet

CONTEXT = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
if sys.platform == "linux":
    CONTEXT.set_forkserver_preload(["torch", "torchvision", "accelerate", "torchmetrics", "pandas"])


def start(function: Callable, *given) -> BaseProcess:
    """A process in which a module's function is called; its exit code is 0 unless that raises."""
    told = dict(os.environ), os.getcwd(), ifacenet.FEATURES
    process = CONTEXT.Process(target=_called, args=(*told, function, given))
    process.start()
    return process


def _called(
    variables: dict[str, str], folder: str, features: int, function: Callable, given: tuple
) -> None:
    """With what is set otherwise in the process that started this one."""
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(folder)
    ifacenet.FEATURES = features
    function(*given)


def start_group(count: int, function: Callable, *given) -> list[BaseProcess]:
    """So many processes that share what they do, with the variables that torchrun sets."""
    port = free_port()
    return [start(_of_group, rank, count, port, function, given) for rank in range(count)]


def _of_group(rank: int, count: int, port: int, function: Callable, given: tuple) -> None:
    from accelerate.state import AcceleratorState

    told = {"RANK": rank, "WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    told |= {"LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": count}
    os.environ.update({name: str(value) for name, value in told.items()})
    AcceleratorState._reset_state(reset_partial_state=True)  # of the process that started this one
    function(*given)


def run_script(script: Path, *words: str, folder: Path) -> SimpleNamespace:
    """As `subprocess.run` of a script in a folder: its `returncode`, `stdout` and `stderr`."""
    said = [folder.with_name(f"{folder.name}-{name}.txt") for name in ("stdout", "stderr")]
    process = start(_run_script, script, words, folder, said)
    process.join(600)
    texts = [file.read_text(encoding="utf-8") for file in said]
    return SimpleNamespace(returncode=process.exitcode, stdout=texts[0], stderr=texts[1])


def _run_script(script: Path, words: tuple[str, ...], folder: Path, said: list[Path]) -> None:
    for number, file in enumerate(said, 1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    os.chdir(folder)
    sys.argv = [str(script), *words]
    runpy.run_path(str(script), run_name="__main__")
