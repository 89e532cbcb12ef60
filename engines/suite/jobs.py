"""Trainings, each in a process of its own, and what became of them."""

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from deocclude.engines.runs.metadata import WEIGHTS
from deocclude.engines.runs.tasks import ABLATIONS, TASKS
from deocclude.engines.suite.request import UNFINISHED, Request, SuiteJob

SHOWN = re.compile(  # of a run's own lines
    r"epoch \d|profile |warning|features  no finished run|init_from \S+: that run was stopped"
    r"|stopping at a checkpoint"
)
LEAST = 0.05  # minutes: a run whose budget is used up still validates and closes its folder


def command(job: SuiteJob, request: Request) -> list[str]:
    """The command that trains a job, or goes on with it for what is left of its budget."""
    line = [sys.executable, str(ABLATIONS.parent / TASKS[job.task].script), job.run]
    budget = job.budget(request)
    if job.state == UNFINISHED:
        line += ["--resume", str(job.folder.resolve())]
        budget = None if budget is None else max(LEAST, round(budget - job.minutes, 2))
    else:
        line += ["--profile", request.profile]
        for assignment in job.overrides:
            line += ["--set", assignment]
        budget = request.max_minutes  # a run's own counts without being named
    if budget is not None:
        line += ["--max-minutes", f"{budget:g}"]
    if (data := request.named_for(job.task)) is not None:
        line += ["--data", str(data)]
    return [*line, "--output", str(request.output), "--device", request.device]


def fit_command(job: SuiteJob, members: Sequence[SuiteJob], request: Request) -> list[str]:
    """The command that writes an ensemble's file, from members that are all finished."""
    line = [sys.executable, "-m", "deocclude.engines.ensemble", "fit", "--members"]
    line += [str(member.folder / WEIGHTS) for member in members]
    line += ["--combination", job.ensemble.combination, "--pairs", str(job.ensemble.pairs)]
    line += ["--name", job.name, "--output", str(job.folder), "--overwrite"]
    if request.data is not None:
        line += ["--data", str(request.data)]
    return [*line, "--runs-folder", str(request.output), "--device", request.device]


class Stopper:
    """Ctrl-C, SIGTERM or a closed terminal: the trainings that run stop at a checkpoint and no
    other is started. Asked again, they stop at once."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.asked, self.signal = 0, 0  # how often, and by which signal
        self._processes: list[subprocess.Popen] = []
        self._lock = threading.RLock()  # a handler runs within what the main thread is at
        self._say = say
        self._previous: dict = {}

    def __enter__(self) -> "Stopper":
        if threading.current_thread() is threading.main_thread():
            for name in ("SIGINT", "SIGTERM", "SIGHUP"):
                number = getattr(signal, name, None)  # Windows has no SIGHUP
                ignored = number is None or signal.getsignal(number) is signal.SIG_IGN  # nohup
                if not ignored:
                    self._previous[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def watching(self, process: subprocess.Popen) -> Iterator[None]:
        """A process that is told to stop while the block lasts, at once where that was asked."""
        with self._lock:
            self._processes.append(process)
            if self.asked:
                self._tell(process)
        try:
            yield
        finally:
            with self._lock:
                self._processes.remove(process)

    def _ask(self, number: int, *_) -> None:
        with self._lock:
            self.asked, self.signal = self.asked + 1, number
            running = [process for process in self._processes if process.poll() is None]
            if self.asked == 1:
                several = len(running) > 1
                what = "runs that train have" if several else "run that trains has"
                each = "themselves" if several else "itself"
                self._say(f"stopping once the {what} saved {each}; again: at once")
            for process in running:
                self._tell(process)

    def _tell(self, process: subprocess.Popen) -> None:
        if self.asked > 2:
            process.kill()
        elif os.name == "posix":  # elsewhere the console tells the child itself
            process.send_signal(signal.SIGINT)


def run_command(
    line: list[str],
    log: Path,
    stopper: Stopper,
    say: Callable[[str], None],
    poll: float = 1.0,
    threads: int | None = None,
) -> tuple[int, str]:
    """Run a command with its output in `log`, progress lines repeated by `say`.

    `threads`: how many of them it computes with, unless the environment says so; None leaves that
    to it. Returns (exit status, negative for a signal; the text of this call's output). The child
    has a process group of its own, so that it is told to stop once, by `stopper`.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as output:
        output.write(f"\n$ {shlex.join(line)}\n".encode())
        output.flush()
        start = output.tell()
        process = subprocess.Popen(
            line,
            env=None if threads is None else {"OMP_NUM_THREADS": str(threads), **os.environ},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=os.name == "posix",
        )
    shown = start
    with stopper.watching(process):
        while True:
            try:
                status = process.wait(timeout=poll)
            except subprocess.TimeoutExpired:
                status = None
            shown = _repeat(log, shown, say)
            if status is not None:
                break
    with open(log, "rb") as file:
        file.seek(start)
        return status, file.read().decode("utf-8", "replace")


def _repeat(log: Path, position: int, say: Callable[[str], None]) -> int:
    """Say the new whole lines that tell of progress; the position after them."""
    with open(log, "rb") as file:
        file.seek(position)
        new = file.read()
    whole = new[: new.rfind(b"\n") + 1]
    for text in whole.decode("utf-8", "replace").splitlines():
        if SHOWN.match(text):
            say(f"  {text}")
    return position + len(whole)


def why(status: int, text: str, lines: int = 3) -> str:
    """Why a command failed: the signal that ended it, its error, else the last lines it wrote."""
    written = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in written if line.startswith("error: ")]
    if errors:
        last = errors[-1].removeprefix("error: ")
    elif any(line.startswith("Traceback") for line in written):
        last = written[-1]
    else:
        last = " / ".join(written[-lines:]) or "it wrote nothing"
    if status >= 0:
        return last if errors else f"exit code {status}: {last}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    memory = " (as a system that is out of memory does)" if name == "SIGKILL" else ""
    return f"killed by {name}{memory}; last: {last}"


class Record:
    """log.jsonl of a suite: a line an event, in the order in which things happened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def add(self, event: str, **facts: Any) -> None:
        line = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "event": event} | facts
        with self._lock, open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
