"""What counts as a finished run, where runs are looked for, and what is no run's weights."""

import json
import logging

import pytest
import torch
from photo_stubs import write_weights
from safetensors.torch import save_file

from deocclude.engines.runs import places
from deocclude.engines.runs.chosen import choose_weights
from deocclude.engines.runs.finished import (
    finished_runs,
    newest_checkpoint,
    read_trained,
    resolve_runs,
    weights_file,
)
from deocclude.engines.runs.members import named_files
from deocclude.engines.runs.metadata import CheckpointError, check_config, release_metadata

DONE = {"reason": "epochs", "steps": 90, "planned_steps": 90, "best": {"step": 90}, "minutes": 1.0}
BEGUN = DONE | {"reason": "interrupted", "steps": 1, "planned_steps": 18750, "best": {"step": 0}}
STOPPED = DONE | {"reason": "interrupted", "steps": 54, "best": {"step": 45}}


@pytest.fixture
def make(tmp_path, monkeypatch):
    """A run below runs/ of the working folder, with what its finished.json says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(places, "OWN", tmp_path / "project" / "runs")
    places.warn_once.cache_clear()

    def run(name, facts, runs="runs"):
        folder = tmp_path / runs / name
        folder.mkdir(parents=True)
        network = torch.nn.Linear(1, 1)
        write_weights(folder / "best.safetensors", "inpainting", "ifacenet", network)
        text = facts if isinstance(facts, str) else json.dumps(facts)
        (folder / "finished.json").write_text(text)
        return folder

    return run


@pytest.mark.parametrize("facts", [BEGUN, "", '{"reason": "epo', "[1]"])
def test_a_later_run_that_is_no_result_is_passed_over_and_said(make, tmp_path, caplog, facts):
    make("Net/001", DONE)
    make("Net/002", facts)
    runs = places.RUNS
    assert [run.name for run in finished_runs(runs)] == ["001"]
    assert resolve_runs(["net"], runs)[0].name == "001"
    assert resolve_runs([str(tmp_path / "runs/Net")], runs)[0].name == "001"
    assert newest_checkpoint(runs).parent.name == "001"
    assert caplog.text.count("passed over") == 2  # by name and as the newest
    with pytest.raises(FileNotFoundError, match="name its folder to use it all the same"):
        resolve_runs(["Net/002"], runs)
    named = resolve_runs([str(tmp_path / "runs/Net/002")], runs)[0]
    assert read_trained(named / "best.safetensors").name == "ifacenet"


def test_a_run_that_was_stopped_counts_and_is_said(make, caplog):
    make("Net/001", DONE)
    make("Net/002", STOPPED)
    assert resolve_runs(["Net"], places.RUNS)[0].name == "002"
    assert "was stopped (interrupted) after 54 of 90 steps" in caplog.text


def test_the_thousandth_run_is_later_than_the_999th(make):
    make("Net/999", DONE)
    make("Net/1000", DONE)
    assert resolve_runs(["Net"], places.RUNS)[0].name == "1000"


def test_runs_are_found_in_the_working_folder_then_in_the_project(make, tmp_path, caplog):
    project = make("Net/001", DONE, "project/runs")
    make("Other/001", DONE, "project/runs")
    caplog.set_level(logging.WARNING)
    assert weights_file("Net", places.RUNS) == project / "best.safetensors"
    assert f"Net/001: not in runs/ here; taken from {places.OWN}" in caplog.text
    assert newest_checkpoint(places.RUNS).parent.parent.name == "Other"
    mine = make("Net/007", DONE)
    assert weights_file("NET", places.RUNS).resolve() == mine / "best.safetensors"
    assert weights_file("Other/001", places.RUNS).parent.parent.parent == places.OWN
    assert [run.parent.name for run in finished_runs(places.RUNS)] == ["Net"]
    with pytest.raises(FileNotFoundError, match=r"below runs and .*project.runs"):
        resolve_runs(["Third"], places.RUNS)
    with pytest.raises(FileNotFoundError):  # a folder that was named is the only place
        resolve_runs(["Other"], tmp_path / "elsewhere")


def test_a_checkpoint_is_a_name_a_folder_a_file_or_an_ensemble(make):
    folder = make("Net/001", DONE)
    expected = folder / "best.safetensors"
    for named in ("net", "Net/001", str(folder), str(expected)):
        assert [file.resolve() for file in named_files(named, places.RUNS)] == [expected]
    assert str(named_files("best.yaml", places.RUNS)[0]) == "best.yaml"
    with pytest.raises(FileNotFoundError, match="did you mean shipped"):
        named_files("shiped", places.RUNS)


def metadata(**config) -> dict:
    return {"config": json.dumps({"name": "x", "model": {"name": "ifacenet"}} | config)}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "its metadata have no config"),
        ({"format": "pt"}, "its metadata have no config"),
        ({"config": "[1]"}, "have a config that is no mapping"),
        (metadata(data={"fill": 1.0}), "config.data.size in its metadata is missing"),
        (metadata(data={"size": "64", "fill": 1.0}), "config.data.size in its metadata is '64'"),
        (metadata(data={"size": 64}), "config.data.fill in its metadata is missing"),
        (metadata(model={}), "config.model.name in its metadata is missing"),
        (metadata(model={"name": "resnet"}, data={"size": 64, "fill": 1}), "'resnet' is not known"),
        (metadata(task="driving"), "config.task in its metadata is 'driving'"),
        (b"", "is empty"),
        (b"PK\x03\x04archive", "is a PyTorch checkpoint"),
        (b"\x08\x07\x12\x07pytorch\x1a\x052.1.0", "is an ONNX file"),
        (b"hello, a text, no weights", "is truncated or is no safetensors file"),
    ],
)
def test_what_is_no_run_s_weights_is_said_in_one_line(tmp_path, content, words):
    file = tmp_path / "odd.safetensors"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        save_file({"weight": torch.zeros(1)}, file, metadata=content)
    for read in (
        lambda: check_config(release_metadata(file), file),
        lambda: weights_file(str(file), places.RUNS),
        lambda: choose_weights(file, "inpainting", places.RUNS),
    ):
        with pytest.raises(CheckpointError) as caught:
            read()
        text = str(caught.value)
        assert words in text
        assert text.startswith(f"{file}: ")
        assert "\n" not in text
        assert "Error(" not in text


def test_fields_of_the_data_that_are_none_name_file_and_key(make):
    folder = make("Net/001", DONE)
    network = torch.nn.Linear(1, 1)
    file = folder / "best.safetensors"
    write_weights(file, "inpainting", "ifacenet", network, size=64, preset="mixt")
    with pytest.raises(ValueError, match=r"best\.safetensors: config\.data: preset: 'mixt' is not"):
        read_trained(file)
