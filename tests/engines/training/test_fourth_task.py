"""A fourth task costs one record: a toy one is listed, trained, found, opened and summed up."""

import json

import pytest
import share_task

from deocclude.engines.cli import evaluate
from deocclude.engines.cli.train import train_command
from deocclude.engines.runs.config import ConfigError, load_config
from deocclude.engines.runs.finished import finished_runs, read_trained
from deocclude.engines.runs.tasks import TASKS
from deocclude.engines.runs.weights import load_network

BRIGHT = """\
description: how much is hidden, by how white it is
task: share
model: {name: brightness}
losses: {squared: {weight: 1.0}}
data: {faces: builtin, masks: builtin, size: 32, builtin_images: 12, validation_pairs: 6,
  test_per_bin: 1, workers: 0}
training: {epochs: 2, epoch_images: 24, batch_size: 4, ema_decay: 0.5, log_steps: 1,
  optimizer: {lr: 0.05}}
"""


@pytest.fixture
def fourth(tmp_path, monkeypatch):
    runs = tmp_path / "ablations" / "share"
    (runs / "profiles").mkdir(parents=True)
    (runs / "Bright.yaml").write_text(BRIGHT)
    (runs / "profiles" / "quick.yaml").write_text("downloads: false\n")
    monkeypatch.setitem(TASKS, "share", share_task.record(runs))
    monkeypatch.delenv("DEOCCLUDE_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_fourth_task_is_one_record(fourth, capsys):
    assert train_command("share", "", ["--list"]) == 0
    assert capsys.readouterr().out == "bright how much is hidden, by how white it is\n"
    assert train_command("share", "", ["--profile", "quick", "--dry-run"]) == 0
    assert "teller: 0.00 M parameters" in capsys.readouterr().out

    words = ["--profile", "quick", "--device", "cpu", "--output", str(fourth / "runs")]
    assert train_command("share", "", words) == 0
    said = capsys.readouterr().out
    assert "Mean error of the share" in said
    assert "compare   python evaluate.py share" in said
    (run,) = finished_runs(fourth / "runs", task="share")
    assert finished_runs(fourth / "runs", task="inpainting") == []
    assert json.loads((run / "finished.json").read_text())["steps"] == 12
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert log[-1]["train/total"] < log[0]["train/total"]
    assert read_trained(run / "best.safetensors").task == "share"
    assert isinstance(
        load_network(run / "best.safetensors", "cpu", "share")[0], share_task.Brightness
    )

    where = ["--runs-folder", str(fourth / "runs"), "--device", "cpu"]
    assert evaluate.main(["share", *where, "--output", str(fourth / "table")]) == 0
    assert "Mean error of the share" in capsys.readouterr().out
    assert (fourth / "table" / "report.html").is_file()


def test_its_mistakes_are_told_as_those_of_others(fourth, capsys):
    assert train_command("share", "", ["Brigth"]) == 1
    assert "did you mean bright?" in capsys.readouterr().err
    with pytest.raises(ConfigError, match=r"share teller 'dark' is not known; valid are bright"):
        load_config("Bright", "quick", ["model.name=dark"], "share")
    with pytest.raises(ConfigError, match=r"Bright is trained by train_share\.py"):
        load_config("Bright", "quick", [], "inpainting")
