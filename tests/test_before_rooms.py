"""What was trained, measured and combined when engines/ was one folder still works.

fixtures/before_rooms/README.md says how its files were made. Only the commands are called, so that
the test does not depend on where modules lie.
"""

import json
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = Path(__file__).parent / "fixtures" / "before_rooms"
STOPPED, STEPS = 26, 40  # optimiser steps: where the run was interrupted, and all that were asked
HERE = ("--runs-folder", "trained", "--device", "cpu")
EVALUATIONS = {
    "inpainters": (
        "--runs", "tiny", "--checkpoint", "trained/pair.yaml",
        "--baselines", "occluded,mean_colour", "--lpips", "off", "--fid", "off", "--legacy-metrics",
    ),
    "segmenters": ("segmentation", "--checkpoint", "trained/segmenter.safetensors"),
    "errors": (
        "analyse", "errors", "--runs", "tiny", "--baselines", "mean_colour", "--per-kind", "1",
    ),
}  # fmt: skip


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Call a script of the root, as the shell does, in a folder with a copy of the fixtures."""
    shutil.copytree(FIXTURES, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DEOCCLUDE_DATA", raising=False)

    def call(script, *arguments):
        monkeypatch.setattr(sys, "argv", [script, *arguments])
        code = None
        try:
            runpy.run_path(str(ROOT / script), run_name="__main__")
        except SystemExit as stop:
            code = stop.code
        assert not code, capsys.readouterr().err

    return call


def log_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_an_interrupted_run_goes_on_as_if_it_had_not_stopped(run, tmp_path):
    folder = tmp_path / "trained" / "tiny" / "001"
    before = log_of(folder / "log.jsonl")
    run("train_inpainting.py", "tiny.yaml", "--resume", "--output", "trained", "--device", "cpu")
    log, whole = log_of(folder / "log.jsonl"), log_of(FIXTURES / "whole_log.jsonl")
    assert log[:STOPPED] == before
    assert [record["step"] for record in log] == list(range(1, STEPS + 1))
    for found, wanted in zip(log[STOPPED:], whole[STOPPED:], strict=True):
        terms = {key: value for key, value in wanted.items() if key.startswith("train/")}
        assert {key: found[key] for key in terms} == pytest.approx(terms, rel=1e-2)
    assert json.loads((folder / "finished.json").read_text())["reason"] == "epochs"


@pytest.mark.parametrize("evaluation", EVALUATIONS)
def test_measured_rows_are_found_and_not_measured_again(run, tmp_path, evaluation):
    def rows():
        files = (tmp_path / "trained" / "evaluation").glob("*/rows/*")
        return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}

    before = rows()
    run("evaluate.py", *EVALUATIONS[evaluation], *HERE)
    after = rows()
    anew = after.keys() - before.keys()
    assert {path: after[path] for path in before} == before
    assert len(before) == 31
    # Errors by place have a place more since, the hole's edge: those two rows, and no others.
    two = {"mean-colour", "tiny"} if evaluation == "errors" else set()
    parts = {(path.name.rpartition("-")[0], "".join(path.suffixes)) for path in anew}
    assert parts == {(row, end) for row in two for end in (".csv", ".json", ".maps.npz")}
    assert len(anew) == len(parts)


def test_measured_anew_a_run_and_an_ensemble_have_the_values_of_then(run, tmp_path):
    run("evaluate.py", *EVALUATIONS["inpainters"], *HERE, "--output", "anew")
    names = {path.name for path in (tmp_path / "anew" / "rows").iterdir()}
    (then,) = (path.parent for path in FIXTURES.glob("trained/evaluation/*/rows/pair-*.csv"))
    tables = sorted(name for name in names if name.endswith(".csv"))
    assert [name.rpartition("-")[0] for name in tables] == [
        "mean-colour", "occluded-input", "pair", "tiny"
    ]  # fmt: skip
    assert names <= {path.name for path in then.iterdir()}  # names are digests of keys
    for name in tables:
        found, wanted = (pd.read_csv(folder / name) for folder in (tmp_path / "anew/rows", then))
        pd.testing.assert_frame_equal(found, wanted, rtol=1e-3, atol=1e-5)


def test_a_photo_is_restored_as_then(run, tmp_path):
    run(
        "deocclude.py", "photo.png", "--checkpoint", "trained/pair.yaml",
        "--segmenter", "trained/segmenter.safetensors", "--whole", "-o", "new.png",
        "--no-grain", "--device", "cpu",
    )  # fmt: skip
    files = ("photo.png", "photo_restored.png", "new.png")
    photo, wanted, found = (np.asarray(Image.open(tmp_path / name)).astype(int) for name in files)
    changed = (wanted != photo).any(-1)
    assert changed.mean() > 0.05
    assert np.abs(wanted - photo)[changed].mean() > 20
    assert np.abs(found - wanted).mean() < 0.1
