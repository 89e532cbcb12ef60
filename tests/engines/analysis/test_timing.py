"""Timing of networks: what a cell measures, what is kept, what tables say of what is missing."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from ensemble_stubs import write_member

from deocclude import models
from deocclude.data.files import sha256
from deocclude.engines.analysis import timing, timing_cell
from deocclude.engines.analysis.timing import timing_figure, timing_tables
from deocclude.engines.cli import analyses, evaluate
from deocclude.engines.inference.cost import FAILED, MEASURED, TOO_LARGE, failure, measured_apart

SMALL = ["--threads", "1", "--repeats", "2", "--seconds", "1", "--device", "cpu"]
CELL = {
    "status": MEASURED, "parameters": 2_000_000, "features_parameters": 0, "macs": 3_000_000_000,
    "median_ms": 10.0, "p95_ms": 12.0, "images_per_second": 100.0, "calls": 5, "peak_mib": 700.0,
    "own_mib": 120.0, "cores": 0.9, "load": 1.5, "device": "a device", "threads": 1,
}  # fmt: skip


def cell(row="first", size=64, batch=1, **numbers):
    return {"row": row, "size": size, "batch": batch} | CELL | numbers


def texts(table):
    return [dict(zip(table.columns, (c.text for c in row), strict=True)) for row in table.rows]


def measured(file, *options):
    words = ["--checkpoint", str(file), "--size", "32", *SMALL, *options]
    return timing_cell.measure(timing_cell.parse_arguments(words))


def parameters_of(file):
    config = models.create_inpainter("occlufix", width=4, depth=2)
    return sum(p.numel() for p in config.parameters())


def test_a_cell_measures_the_network_of_the_file(tmp_path):
    file = write_member(tmp_path, "alpha")
    one, four = measured(file), measured(file, "--batch", "4")
    assert one["status"] == four["status"] == MEASURED
    assert one["parameters"] == four["parameters"] == parameters_of(file)
    assert one["macs"] == four["macs"] > 0  # of one image, whatever the batch
    assert 0 < one["median_ms"] <= one["p95_ms"]
    assert four["images_per_second"] == pytest.approx(4000 / four["median_ms"])
    assert one["calls"] <= 2
    assert one["peak_mib"] > 0


def test_the_network_of_features_counts(tmp_path, monkeypatch):
    from ensemble_stubs import Conditioned

    monkeypatch.setitem(models.INPAINTERS, "conditioned", Conditioned)
    found = measured(write_member(tmp_path, "told", model={"name": "conditioned"}))
    own = sum(p.numel() for p in Conditioned().parameters())
    assert found["features_parameters"] == found["parameters"] - own > 10**6


def test_an_ensemble_costs_what_its_members_do(tmp_path):
    files = [write_member(tmp_path, name, seed) for seed, name in enumerate(("alpha", "beta"))]
    entries = [{"weights": str(f.relative_to(tmp_path)), "sha256": sha256(f)} for f in files]
    both = tmp_path / "both.yaml"
    content = {"name": "both", "members": entries, "combination": "mean"}
    both.write_text(yaml.safe_dump(content), encoding="utf-8")
    alone, together = measured(files[0]), measured(both)
    assert together["parameters"] == 2 * alone["parameters"]
    assert together["macs"] == 2 * alone["macs"]


def test_cells_are_measured_apart_once_and_failures_again(tmp_path, monkeypatch, capsys):
    """The first cell in a real process; what was measured is not measured again."""
    files = [write_member(tmp_path, name, seed) for seed, name in enumerate(("alpha", "beta"))]
    words = ["analyse", "timing", "--sizes", "32", "--batches", "1", *SMALL]
    words += ["--output", str(tmp_path / "out"), "--runs-folder", str(tmp_path)]
    assert evaluate.main([*words, "--checkpoint", str(files[0])]) == 0
    assert "| alpha |" in capsys.readouterr().out
    asked = []

    def stub(command, folder=None):
        asked.append(command[command.index("--checkpoint") + 1])
        return {"status": FAILED, "reason": "stub"}

    monkeypatch.setattr(timing, "measured_apart", stub)
    for _ in range(2):
        assert evaluate.main([*words, *(f"--checkpoint={file}" for file in files)]) == 0
    assert asked == [str(files[1].resolve())] * 2
    printed = capsys.readouterr().out
    assert "beta, 32 px, batch 1: failed (stub)." in printed
    frame = pd.read_csv(tmp_path / "out" / "timing.csv")
    assert frame["status"].tolist() == [MEASURED, FAILED]
    assert (tmp_path / "out" / "figures" / "timing.png").is_file()
    assert evaluate.main([*words, "--again", f"--checkpoint={files[0]}"]) == 1
    assert "no cell could be measured; the first: stub" in capsys.readouterr().err


def test_a_process_that_fails_leaves_its_last_line(tmp_path):
    command = timing.command(
        analysis_timing_arguments(), tmp_path / "missing.safetensors", 32, 1, 1
    )
    found = measured_apart(command, timing.ROOT)
    assert found["status"] == FAILED
    assert "missing.safetensors" in found["reason"]


def analysis_timing_arguments():
    import argparse

    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    analyses.timing(parser.add_argument)
    return parser.parse_args([])


def test_memory_that_ends_is_told_from_other_failures(monkeypatch, tmp_path):
    assert failure(1, "torch.OutOfMemoryError: CUDA out of memory. Tried")["status"] == TOO_LARGE
    file = write_member(tmp_path, "alpha")

    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(timing_cell, "call_seconds", full)
    assert measured(file) == {"status": TOO_LARGE, "reason": "CUDA out of memory"}


def test_tables_mark_the_best_and_say_what_is_missing():
    cells = [cell(), cell("second", median_ms=8.0, p95_ms=9.0, own_mib=200.0)]
    cells += [cell(size=128), {"row": "second", "size": 128, "batch": 1, "status": FAILED}]
    latency, rate, memory, sizes = timing_tables(pd.DataFrame(cells))
    first, second = texts(latency)
    assert first == {"": "first", "64 px, batch 1": "10.0 (12.0)", "128 px, batch 1": "10.0 (12.0)"}
    assert second["128 px, batch 1"] == "–"
    assert [row[1].best for row in latency.rows] == [False, True]
    assert [row[2].best for row in latency.rows] == [True, False]
    assert [row[1].best for row in memory.rows] == [True, False]
    assert texts(memory)[0]["64 px, batch 1"] == "120 (700)"
    assert texts(rate)[0]["64 px, batch 1"] == "100.0"
    assert texts(sizes)[1] == {
        "": "second", "parameters (M)": "2.00", "of features (M)": "0.00",
        "GMACs, 64 px": "3.00", "GMACs, 128 px": "–",
    }  # fmt: skip


def test_a_system_that_tells_no_peak_leaves_memory_empty():
    memory = timing_tables(pd.DataFrame([cell(own_mib=np.nan, peak_mib=np.nan)]))[2]
    assert texts(memory)[0]["64 px, batch 1"] == "–"
    assert timing_figure(pd.DataFrame([cell(own_mib=np.nan, peak_mib=np.nan)]))[1] == []


def test_the_figure_of_many_rows_shows_the_lightest_and_says_so():
    cells = [cell(f"run {i}", macs=10**9 * (100 - i)) for i in range(100)]
    figure, lines = timing_figure(pd.DataFrame(cells))
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == [f"run {99 - i}" for i in range(40)]
    assert "40 of 100 rows" in lines[0]


def test_cells_are_plain_json(tmp_path, capsys, own_threads):
    file = write_member(tmp_path, "alpha")
    assert timing_cell.main(["--checkpoint", str(file), "--size", "32", *SMALL]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == MEASURED
    assert timing_cell.main(["--checkpoint", str(tmp_path / "none"), *SMALL]) == 1
    assert capsys.readouterr().err.startswith("error: ")
