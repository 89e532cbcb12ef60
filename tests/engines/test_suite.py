"""`python -m engines.suite`: what survives a bad night, and what is said of it."""

import json
import signal
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from suite_stubs import QUICK, write_run

from engines import suite, suite_jobs, suite_tables
from engines.config import available_runs
from engines.run_folder import RunFolder
from engines.suite_files import load_suite
from engines.suite_request import Job, Request


@pytest.fixture
def night(tmp_path, monkeypatch, capsys):
    """Run the command with trainings that end as told; returns (exit code, output, trained)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DEOCCLUDE_DATA", raising=False)
    ends, trained, commands = {}, [], {}

    def run_command(line, log, stopper, say):
        name = next(n for n in line if n.lower() in (*available_runs(), "efficientnetb0"))
        commands[name] = line
        features = [text for text in line if text.startswith("features.")]
        if name.startswith("attention_gan"):  # as a run without a network settles `auto`
            features = features or ["features.weights=random"]
        trained.append(name)
        end = ends.get(name, "ok")
        task = "identity" if name == "EfficientNetB0" else "inpainting"
        number = "001"
        if end in ("ok", "no evaluation"):
            write_run(tmp_path / "runs", name, *features, task=task, number=number)
        if end == "stop":
            write_run(tmp_path / "runs", name, reason="interrupted", minutes=1, task=task)
            stopper.asked = 1
        output = {"crash": "Traceback\n  ...\nRuntimeError: broke", "stop": "", "ok": ""}
        return {"crash": 1, "killed": -9, "no evaluation": 1}.get(end, 0), output.get(
            end, "epoch 1"
        )

    monkeypatch.setattr(suite, "run_command", run_command)
    made, said = [], []

    def make_tables(chosen, rows, asked, folder):
        made.append({run: problem for run, (_, problem) in rows.items()})
        said.append(suite_tables.remarks(chosen, rows))
        return {"table x": folder / "table.md"}, []

    monkeypatch.setattr(suite, "make_tables", make_tables)

    def call(runs, *options, **outcomes):
        ends.clear()
        ends.update(outcomes)
        trained.clear()
        (tmp_path / "night.yaml").write_text(f"runs: [{', '.join(runs)}]\n")
        fixed = ["--profile", "quick", "--set", *QUICK, "--device", "cpu"]
        code = suite.main(["night.yaml", *fixed, *options])
        captured = capsys.readouterr()
        return code, captured.out + captured.err, list(trained), made[-1] if made else None

    call.commands, call.remarks = commands, said
    return call


def test_a_failing_run_leaves_the_others(night, tmp_path):
    runs = ["ablationv1", "ablationv2", "nonsense", "ablationv3", "occlufix"]
    code, text, trained, rows = night(runs, ablationv1="crash", ablationv2="killed")
    assert code == 1
    assert trained == ["ablationv1", "ablationv2", "ablationv3", "occlufix"]
    assert "2 of 5 runs are finished" in text
    assert "RuntimeError: broke" in text
    assert "killed by SIGKILL (as a system that is out of memory does)" in text
    assert "'nonsense' is no run" in text
    assert str(tmp_path / "runs")[-4:] in text
    assert rows["ablationv3"] == rows["occlufix"] == ""
    assert all(rows[name] for name in ("ablationv1", "ablationv2", "nonsense"))
    summary = (tmp_path / "runs" / "suites" / "night" / "summary.txt").read_text()
    assert summary.strip() in text
    code, text, trained, rows = night(["ablationv1", "ablationv2", "ablationv3", "occlufix"])
    assert (code, trained) == (0, ["ablationv1", "ablationv2"])
    assert "there before" in text
    assert set(rows.values()) == {""}


def test_an_interrupted_suite_goes_on_where_it_was(night, tmp_path):
    code, text, trained, rows = night(["ablationv1", "ablationv2", "ablationv3"], ablationv2="stop")
    assert (code, trained, rows) == (1, ["ablationv1", "ablationv2"], None)
    assert "stopped after 1.0 min" in text
    assert "not begun" in text
    code, text, trained, _ = night(["ablationv1", "ablationv2", "ablationv3"])
    assert (code, trained) == (0, ["ablationv2", "ablationv3"])
    events = [
        json.loads(line)["event"]
        for line in (tmp_path / "runs/suites/night/log.jsonl").read_text().splitlines()
    ]
    assert events == [
        "start", "training", "finished", "training", "stopped", "end",
        "start", "continuing", "finished", "training", "finished", "end",
    ]  # fmt: skip


def test_what_starts_from_a_failed_run_is_not_trained(night):
    runs = ["facial_deocclusion_finetuned", "attention_gan"]
    code, text, trained, _ = night(runs, facial_deocclusion="crash", EfficientNetB0="crash")
    assert code == 1
    assert trained == ["facial_deocclusion", "EfficientNetB0", "attention_gan"]
    assert "starts from facial_deocclusion, which there is not" in text
    said = "its features come from a network with random weights"
    assert f"{said}: EfficientNetB0 failed" in text
    assert f"attention_gan: {said}: EfficientNetB0 failed." in night.remarks[-1]
    (identity,) = (tmp_path / "runs").glob("EfficientNetB0*") or [None]


def test_trained_but_not_evaluated_is_a_note(night):
    code, text, _, rows = night(["ablationv1"], ablationv1="no evaluation")
    assert (code, rows) == (0, {"ablationv1": ""})
    assert "trained, but not evaluated by itself: exit code 1: epoch 1" in text


def test_dry_run_trains_nothing(night, tmp_path):
    code, text, trained, rows = night(["ablationv1", "attention_gan"], "--dry-run")
    assert (code, trained, rows) == (0, [], None)
    assert "EfficientNetB0" in text
    assert not (tmp_path / "runs").exists()


def test_a_second_suite_of_the_same_name_is_refused(night, tmp_path):
    claim = RunFolder(tmp_path / "runs" / "suites" / "night")
    claim.path.mkdir(parents=True)
    claim.lock()
    code, text, trained, _ = night(["ablationv1"])
    assert (code, trained) == (1, [])
    assert "in use by process" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.yaml"], "no such suite"),
        (["reconstruction", "--data", "gone"], "--data 'gone': no such folder"),
        (
            ["reconstruction", "--set", "training.epochs", "--dry-run", "--profile", "quick"],
            "--set",
        ),
    ],
)
def test_errors_are_one_line_or_a_line_a_run(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert suite.main(arguments) == 1
    captured = capsys.readouterr()
    assert words in captured.out + captured.err
    assert "Traceback" not in captured.err


def python(text):
    return [sys.executable, "-u", "-c", text]


def test_output_goes_to_the_log_and_progress_to_the_console(tmp_path):
    said = []
    text = (
        "print('loading'); print('epoch 1/2: loss 3'); print('error: no disk'); raise SystemExit(1)"
    )
    log = tmp_path / "logs" / "run.log"
    status, output = suite_jobs.run_command(
        python(text), log, suite_jobs.Stopper(said.append), said.append, poll=0.05
    )
    assert (status, output) == (1, "loading\nepoch 1/2: loss 3\nerror: no disk\n")
    assert said == ["  epoch 1/2: loss 3"]
    assert suite_jobs.why(status, output) == "no disk"
    status, output = suite_jobs.run_command(
        python("import os; print('step 3', flush=True); os.kill(os.getpid(), 9)"), log,
        suite_jobs.Stopper(said.append), said.append, poll=0.05,
    )  # fmt: skip
    assert "killed by SIGKILL" in suite_jobs.why(status, output)
    assert "step 3" in suite_jobs.why(status, output)
    assert log.read_text().count("$ ") == 2


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_is_handed_on_once_and_waited_for(tmp_path):
    child = (
        "import signal, time\n"
        "asked = []\n"
        "signal.signal(signal.SIGINT, lambda *_: asked.append(1))\n"
        "print('epoch 0', flush=True)\n"
        "while not asked: time.sleep(0.01)\n"
        "time.sleep(0.3); print('asked', len(asked))\n"
    )
    said = []

    def interrupt():
        while not any("epoch" in text for text in said):
            time.sleep(0.01)
        signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with suite_jobs.Stopper(said.append) as stopper:
        threading.Thread(target=interrupt, daemon=True).start()
        status, output = suite_jobs.run_command(
            python(child), tmp_path / "log", stopper, said.append, poll=0.05
        )
    assert (status, stopper.asked) == (0, 1)
    assert "asked 1" in output
    assert signal.getsignal(signal.SIGINT) is before


def job(name, folder="f", differences=(), task="inpainting"):
    return Job(name, name, task, state="finished", folder=folder, differences=list(differences))


def test_tables_say_what_is_missing_and_what_is_other(tmp_path, monkeypatch):
    seen = []

    def compare(options):
        seen.append(options)
        return [SimpleNamespace(files={"table.md": options.output / "table.md"})]

    monkeypatch.setattr(suite_tables, "compare", compare)
    (tmp_path / "s.yaml").write_text(
        "baselines: [telea]\n"
        "tables:\n"
        "  - {name: one, runs: [a, b], reference: a}\n"
        "  - {name: two, runs: [c], baselines: none, reference: c}\n"
        "  - {name: three, runs: [a]}\n"
    )
    rows = {
        "a": (job("a"), "out of memory\nlong story"),
        "b": (job("b", differences=["data.size 48 (now 64)"]), ""),
        "c": (job("c"), ""),
    }
    chosen = load_suite(tmp_path / "s.yaml")
    files, problems = suite_tables.make_tables(chosen, rows, Request(tmp_path, "quick"), tmp_path)
    assert files == {f"table {n}": tmp_path / n / "table.md" for n in ("one", "two")}
    assert problems == ["table three: none of its runs is finished"]
    assert seen[0].remarks == (
        "a is missing: out of memory",
        "b was trained otherwise than this suite asks: data.size 48 (now 64).",
        "The reference a is not among the rows.",
    )
    assert (seen[0].reference, seen[0].baselines) == (None, "telea")
    assert (seen[1].reference, seen[1].baselines) == ("c", "none")


def test_a_table_that_fails_leaves_the_others(tmp_path, monkeypatch):
    def compare(options):
        if options.title == "Suite: one":
            raise ValueError("faces are gone")
        return [SimpleNamespace(files={"table.md": options.output / "table.md"})]

    monkeypatch.setattr(suite_tables, "compare", compare)
    (tmp_path / "s.yaml").write_text("tables: [{name: one, runs: [a]}, {name: two, runs: [a]}]")
    files, problems = suite_tables.make_tables(
        load_suite(tmp_path / "s.yaml"), {"a": (job("a"), "")}, Request(tmp_path, "quick"), tmp_path
    )
    assert list(files) == ["table two"]
    assert problems == ["table one: faces are gone"]


@pytest.mark.slow
def test_a_real_run_is_trained_and_has_its_tables(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DEOCCLUDE_DATA", raising=False)
    (tmp_path / "s.yaml").write_text("name: s\nruns: [vgg19_generator_pixel_only]\nbaselines: none")
    tiny = ["data.size=32", "data.builtin_images=24", "data.validation_pairs=6"]
    tiny += ["data.test_per_bin=1", "data.workers=0", "training.epochs=1"]
    tiny += ["training.epoch_images=8", "training.batch_size=4", "model.width=8"]
    sets = [part for text in tiny for part in ("--set", text)]
    arguments = ["s.yaml", "--profile", "quick", "--device", "cpu", *sets]
    assert suite.main(arguments) == 0
    text = capsys.readouterr().out
    assert "epoch 1/1" in text
    folder = tmp_path / "runs" / "suites" / "s"
    assert "vgg19_generator_pixel_only" in (folder / "table.md").read_text()
    assert "l1" in (folder / "losses" / "table.md").read_text()
    assert suite.main(arguments) == 0
    assert "there before" in capsys.readouterr().out
