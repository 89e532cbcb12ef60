"""`python -m engines.suite`: what survives a bad night, and what is said of it."""

import json
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from suite_stubs import QUICK, plan, write_run

from deocclude.data.files import sha256
from deocclude.engines.runs.config import available_runs, load_config
from deocclude.engines.runs.finished import newest_identity
from deocclude.engines.runs.folder import RunFolder
from deocclude.engines.runs.recipes import MemberFile, write_recipe
from deocclude.engines.suite import __main__ as suite
from deocclude.engines.suite import jobs, runner, tables
from deocclude.engines.suite.request import FINISHED, UNFINISHED
from deocclude.engines.training.origins import tell_features


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
        if end == "lost":  # with its checkpoint
            shutil.rmtree(tmp_path / "runs" / name / "002" / "last")
        if end == "stop":
            write_run(tmp_path / "runs", name, reason="interrupted", minutes=1, task=task)
            stopper.asked, stopper.signal = 1, signal.SIGINT
        output = {"crash": "Traceback\n  ...\nRuntimeError: broke", "stop": "", "ok": ""}
        return {"crash": 1, "killed": -9, "no evaluation": 1, "lost": 1}.get(end, 0), output.get(
            end, "epoch 1"
        )

    monkeypatch.setattr(runner, "run_command", run_command)
    made, said = [], []

    def make_tables(chosen, rows, asked, folder):
        made.append({run: problem for run, ((_, problem),) in rows.items()})
        said.append(tables.remarks(chosen, rows))
        return {"table x": folder / "table.md"}, []

    monkeypatch.setattr(runner, "make_tables", make_tables)

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
    assert (code, trained, rows) == (130, ["ablationv1", "ablationv2"], None)
    assert "stopped after 1.0 min" in text
    assert "not begun" in text
    code, text, trained, _ = night(["ablationv2", "ablationv1"], ablationv2="stop")
    assert "1 of 2 runs are finished" in text
    assert "ablationv1                       there before" in text
    code, text, trained, _ = night(["ablationv1", "ablationv2", "ablationv3"])
    assert (code, trained) == (0, ["ablationv2", "ablationv3"])
    events = [
        json.loads(line)["event"]
        for line in (tmp_path / "runs/suites/night/log.jsonl").read_text().splitlines()
    ]
    assert events == [
        "start", "training", "finished", "training", "stopped", "end",
        "start", "continuing", "stopped", "end",
        "start", "continuing", "finished", "training", "finished", "end",
    ]  # fmt: skip


def test_a_training_that_outlived_its_suite_is_waited_for(night, tmp_path, monkeypatch):
    """As after `kill -9` of the suite: its training goes on and holds the folder."""
    run = write_run(tmp_path / "runs", "ablationv1", reason=None)
    alive = RunFolder(run)
    alive.lock()

    def finish(_):  # while the suite waits
        write_run(tmp_path / "runs", "ablationv1")
        alive.unlock()

    monkeypatch.setattr(runner.time, "sleep", finish)
    code, text, trained, rows = night(["ablationv1", "ablationv2"])
    assert (code, trained) == (0, ["ablationv2"])
    assert "waiting: runs/ablationv1/001 is being trained by process" in text
    assert rows == {"ablationv1": "", "ablationv2": ""}


def test_what_starts_from_a_failed_run_is_not_trained(night):
    runs = ["facial_deocclusion_finetuned", "attention_gan"]
    code, text, trained, _ = night(runs, facial_deocclusion="crash", EfficientNetB0="crash")
    assert code == 1
    assert trained == ["facial_deocclusion", "EfficientNetB0", "attention_gan"]
    assert "starts from facial_deocclusion, which there is not" in text
    said = "its features come from a network with random weights"
    assert f"{said}: EfficientNetB0 failed" in text
    assert f"attention_gan: {said}: EfficientNetB0 failed." in night.remarks[-1]
    code, text, trained, _ = night(["attention_gan"])
    assert (code, trained) == (0, [])
    assert said in text
    assert night.remarks[-1] == (f"attention_gan: {said}.",)


def test_features_are_of_the_network_that_the_suite_asks_for(night, tmp_path):
    fits = write_run(tmp_path / "runs", "EfficientNetB0", task="identity")
    write_run(tmp_path / "runs", "EfficientNetB0", "data.size=32", task="identity", number="002")
    code, text, trained, _ = night(["attention_gan"])
    assert (code, trained) == (0, ["attention_gan"])
    assert f'features.weights="{fits}"' in night.commands["attention_gan"]
    assert "random" not in text


def test_rows_that_are_not_as_asked_are_counted_at_the_end(night, tmp_path):
    for name in ("ablationv1", "ablationv3"):
        write_run(tmp_path / "runs", name, "data.size=48")
    code, text, trained, _ = night(["ablationv1", "ablationv2", "ablationv3"])
    assert (code, trained) == (0, ["ablationv2"])
    assert (
        "WARNING: 2 of 3 rows were trained otherwise than asked now (ablationv1, ablationv3); "
        "--fresh trains them anew"
    ) in text
    _, text, trained, _ = night(["ablationv1", "ablationv2", "ablationv3"], "--fresh")
    assert "WARNING" not in text


def test_an_old_run_does_not_pass_for_one_that_failed(night, tmp_path):
    write_run(tmp_path / "runs", "ablationv1", "data.size=48")
    write_run(tmp_path / "runs", "ablationv1", reason=None, number="002")
    code, text, trained, _ = night(["ablationv1"], ablationv1="lost")
    assert (code, trained) == (1, ["ablationv1"])
    assert "FAILED: exit code 1: epoch 1" in text


def test_a_run_that_took_longer_than_asked_is_finished_and_said(night):
    code, text, _, _ = night(["ablationv1", "ablationv2"], "--max-minutes", "3")
    assert code == 0
    assert "5.0 minutes (now at most 3)" in text
    assert "WARNING: 2 of 2 rows" in text


def test_two_spellings_are_one_run(night, tmp_path):
    code, _, trained, rows = night(["AblationV1", "ablationv1", "ABLATIONV2"])
    assert (code, trained) == (0, ["AblationV1", "ABLATIONV2"])
    assert rows == {"ablationv1": "", "ablationv2": ""}


def test_one_damaged_run_leaves_the_others(night, tmp_path):
    broken = write_run(tmp_path / "runs", "ablationv1", reason=None)
    (broken / "last" / "state.pt").write_bytes(b"PK\x03\x04 cut short")
    cut = write_run(tmp_path / "runs", "ablationv2")
    (cut / "finished.json").write_text('{"reason": "epo')
    code, text, trained, rows = night(["ablationv1", "ablationv2", "ablationv3"])
    assert (code, trained) == (1, ["ablationv3"])
    assert "state.pt: damaged" in rows["ablationv1"]
    assert "finished.json: damaged" in rows["ablationv2"]
    assert f"move {cut.relative_to(tmp_path)} away and it is trained anew" in text


def test_a_run_that_its_budget_ended_inside_its_first_epoch_is_not_finished(tmp_path):
    begun = write_run(tmp_path / "runs", "ablationv1", reason="max_minutes", minutes=0.1)
    facts = {"reason": "max_minutes", "minutes": 0.1, "steps": 3, "best": {"step": 0}}
    (begun / "finished.json").write_text(json.dumps(facts))
    job = plan(tmp_path / "runs", "ablationv1", max_minutes=0.1)["ablationv1"]
    assert (job.state, job.folder) == (UNFINISHED, begun)  # not a row of a table
    (begun / "finished.json").write_text(json.dumps(facts | {"steps": 100}))
    job = plan(tmp_path / "runs", "ablationv1", max_minutes=0.1)["ablationv1"]
    assert (job.state, job.folder) == (FINISHED, begun)


def test_what_needs_itself_is_not_trained(night, tmp_path):
    (tmp_path / "loop.yaml").write_text("extends: occlufix\ninit_from: loop.yaml")
    code, text, trained, _ = night(["loop.yaml"])
    assert (code, trained) == (1, [])
    assert "needs itself, by way of loop.yaml" in text


@pytest.mark.parametrize("options", [["--profile", "fast"], ["--set", "data.sise=3"]])
def test_a_wrong_option_is_one_error(night, options):
    code, text, trained, _ = night(["ablationv1", "occlufix", "attention_gan"], *options)
    assert (code, trained) == (1, [])
    assert text.count("error: ") == 1
    assert text.count(options[1].partition("=")[0]) <= 2
    assert "cannot be trained" not in text


def test_the_warning_of_a_run_without_its_network_is_shown(tmp_path, caplog):
    config = load_config("attention_gan", "quick")
    write_run(tmp_path, "EfficientNetB0-other-places", task="identity")
    assert tell_features(config, tmp_path)["features"].weights == "random"
    (warned,) = caplog.messages
    assert jobs.SHOWN.match(warned)
    assert newest_identity(tmp_path) is None
    run = write_run(tmp_path, "EfficientNetB0", task="identity")
    assert newest_identity(tmp_path) == run


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
    status, output = jobs.run_command(
        python(text), log, jobs.Stopper(said.append), said.append, poll=0.05
    )
    assert (status, output) == (1, "loading\nepoch 1/2: loss 3\nerror: no disk\n")
    assert said == ["  epoch 1/2: loss 3"]
    assert jobs.why(status, output) == "no disk"
    status, output = jobs.run_command(
        python("import os; print('step 3', flush=True); os.kill(os.getpid(), 9)"), log,
        jobs.Stopper(said.append), said.append, poll=0.05,
    )  # fmt: skip
    assert "killed by SIGKILL" in jobs.why(status, output)
    assert "step 3" in jobs.why(status, output)
    assert log.read_text().count("$ ") == 2


@pytest.fixture
def heard():
    """Ctrl-C is heard, as in a terminal; a shell's background jobs ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_is_handed_on_once_and_waited_for(tmp_path, heard):
    child = (
        "import signal, time\n"
        "asked = []\n"
        "signal.signal(signal.SIGINT, lambda *_: asked.append(1))\n"
        "print('epoch 0', flush=True)\n"
        "end = time.time() + 30\n"
        "while not asked and time.time() < end: time.sleep(0.01)\n"
        "time.sleep(0.3); print('asked', len(asked))\n"
    )
    said = []

    def interrupt():
        while not any("epoch" in text for text in said):
            time.sleep(0.01)
        signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with jobs.Stopper(said.append) as stopper:
        threading.Thread(target=interrupt, daemon=True).start()
        status, output = jobs.run_command(
            python(child), tmp_path / "log", stopper, said.append, poll=0.05
        )
    assert (status, stopper.asked) == (0, 1)
    assert "asked 1" in output
    assert signal.getsignal(signal.SIGINT) is before


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


def test_an_ensemble_is_fitted_once_its_members_are_trained(night, tmp_path, monkeypatch):
    fitted = []
    train = runner.run_command

    def run_command(line, log, stopper, say):
        if "deocclude.engines.ensemble" not in line:
            return train(line, log, stopper, say)
        fitted.append(line)
        if len(fitted) == 1:
            return 1, "error: no pairs"
        files = [Path(f) for f in line[line.index("--members") + 1 : line.index("--combination")]]
        members = [MemberFile(f, sha256(f), {}, f.parent.parent.name) for f in files]
        output = Path(line[line.index("--output") + 1])
        output.parent.mkdir()
        write_recipe(output, members, "both", "mean", fitted={"asked": 1200})
        return 0, ""

    monkeypatch.setattr(runner, "run_command", run_command)
    members = "[ablationv1, ablationv3]"
    runs = [f"ablationv1]\nensembles: [{{name: both, combination: mean, members: {members}}}"]
    code, text, trained, rows = night(runs, ablationv3="crash")
    assert (code, trained, fitted) == (1, ["ablationv1", "ablationv3"], [])
    assert rows["both"] == "its members are not all there: ablationv3"
    code, text, trained, rows = night(runs)
    assert (code, trained, rows["both"]) == (1, ["ablationv3"], "no pairs")
    code, text, trained, rows = night(runs)
    assert (code, trained, rows) == (0, [], {"ablationv1": "", "both": ""})
    assert "fitted now" in text
    code, text, trained, _ = night(runs)
    assert (code, len(fitted)) == (0, 2)
