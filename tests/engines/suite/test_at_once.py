"""`--jobs N`: runs that are trained at the same time, each in a process of its own."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from suite_stubs import QUICK, write_run

from deocclude.engines.suite import __main__ as suite
from deocclude.engines.suite import jobs, runner

FIXED = ["--profile", "quick", "--set", *QUICK, "--device", "cpu"]


@pytest.fixture
def night(tmp_path, monkeypatch):
    """Runs the command on these runs, without tables."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DEOCCLUDE_DATA", raising=False)
    monkeypatch.setattr(runner, "make_tables", lambda *_: ({}, []))

    def call(runs, *options):
        Path("night.yaml").write_text(f"runs: [{', '.join(runs)}]")
        return suite.main(["night.yaml", *FIXED, *options])

    return call


def events(names=("training", "finished", "failed", "stopped")):
    lines = Path("runs/suites/night/log.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    return [(each["event"], each["run"]) for each in records if each["event"] in names]


def test_two_runs_are_trained_at_once_and_what_waits_holds_up_no_other(night, monkeypatch, capsys):
    """The base of the fine-tuned run ends last; one of the others fails."""
    both, base_ends = threading.Barrier(2, timeout=30), threading.Event()

    def run_command(line, log, stopper, say, threads):
        name, seen = line[2], len(begun)
        begun.append(name)
        if seen < 2:
            both.wait()  # broken unless two are there at the same time
        say(f"  epoch 1/1 of {name}")
        if name == "facial_deocclusion":
            assert base_ends.wait(30)
        elif name == "ablationv2":
            base_ends.set()
        if name == "ablationv1":
            return 1, "error: broke"
        write_run(Path("runs"), name)
        return 0, ""

    begun = []
    monkeypatch.setattr(runner, "run_command", run_command)
    runs = ["facial_deocclusion_finetuned", "ablationv1", "ablationv2"]
    assert night(runs, "--jobs", "2") == 1
    assert begun[2:] == ["ablationv2", "facial_deocclusion_finetuned"]
    seen = events()
    base = seen.index(("finished", "facial_deocclusion"))
    assert seen.index(("training", "ablationv2")) < base
    assert seen.index(("training", "facial_deocclusion_finetuned")) > base
    text = capsys.readouterr().out
    assert "  ablationv2: epoch 1/1 of ablationv2\n" in text
    assert "\nablationv2: job 3 of 4\n" in text
    assert "FAILED ablationv1: broke" in text
    assert "suite night: 3 of 4 runs are finished" in text
    begun[:] = ["again"] * 2
    assert night(runs[1:], "--jobs", "2") == 1
    assert begun[2:] == ["ablationv1"]


def test_no_more_than_so_many_run_at_once_and_they_share_the_cores(night, monkeypatch):
    running, most, shares = [], [], set()

    def run_command(line, log, stopper, say, threads):
        running.append(line[2])
        most.append(len(running))
        shares.add(threads)
        time.sleep(0.05)
        write_run(Path("runs"), line[2])
        running.remove(line[2])
        return 0, ""

    monkeypatch.setattr(runner, "run_command", run_command)
    monkeypatch.setattr(runner, "available_cores", lambda: 7)
    runs = ["ablationv1", "ablationv2", "ablationv3", "occlufix"]
    assert night(runs, "--jobs", "3") == 0
    assert (max(most), shares) == (3, {2})


@pytest.mark.parametrize(("given", "seen"), [(None, "2"), ("1", "1")])
def test_the_threads_of_a_run_are_those_of_the_environment_first(
    tmp_path, monkeypatch, given, seen
):
    if given is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    code = "import os; print(os.environ['OMP_NUM_THREADS'], os.environ['PATH'])"
    line, stopper = [sys.executable, "-S", "-c", code], jobs.Stopper(print)
    status, text = jobs.run_command(line, tmp_path / "log", stopper, print, 0.05, threads=2)
    assert (status, text) == (0, f"{seen} {os.environ['PATH']}\n")


@pytest.fixture
def heard():
    """Ctrl-C is heard, as in a terminal; a shell's background jobs ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


CHILD = """
import signal, sys, time
asked = []
signal.signal(signal.SIGINT, lambda *_: asked.append(1))
print("epoch 0", flush=True)
end = time.time() + 30
while not asked and time.time() < end: time.sleep(0.01)
time.sleep(0.2)
print("asked", len(asked), flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_is_handed_on_once_to_each_and_no_other_is_started(
    night, heard, monkeypatch, capsys
):
    monkeypatch.setattr(runner, "command", lambda *_: [sys.executable, "-S", "-c", CHILD])
    logs = [Path(f"runs/suites/night/logs/ablationv{n}.log") for n in (1, 2, 3)]

    def interrupt():
        while not all(log.is_file() and "\nepoch" in log.read_text() for log in logs[:2]):
            time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    assert night(["ablationv1", "ablationv2", "ablationv3"], "--jobs", "2") == 130
    assert [log.read_text().count("asked 1") for log in logs[:2]] == [1, 1]
    assert not logs[2].exists()
    assert {run for event, run in events(("stopped",))} == {"ablationv1", "ablationv2"}
    text = capsys.readouterr().out
    assert text.count("stopping once the runs that train have saved themselves") == 1
    assert "not begun" in text


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_run_that_starts_while_somebody_asks_to_stop_is_told(tmp_path, heard):
    stopper, line = jobs.Stopper(print), [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
    stopper.asked = 1
    start = time.monotonic()
    status, _ = jobs.run_command(line, tmp_path / "log", stopper, print, poll=0.05)
    assert status != 0
    assert time.monotonic() - start < 30


@pytest.mark.parametrize("number", ["0", "-1", "two"])
def test_a_number_of_runs_that_cannot_be_is_refused(number, capsys):
    with pytest.raises(SystemExit):
        suite.main(["systems", "--jobs", number])
    assert "argument --jobs: must be" in capsys.readouterr().err
