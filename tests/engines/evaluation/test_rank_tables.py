"""Ranks, ties, and reports over hundreds of rows."""

import time

import numpy as np
import pandas as pd
import pytest
from evaluation_stubs import result, texts

from deocclude.engines.evaluation import inpainting_tables
from deocclude.engines.evaluation.summaries import mean_of_bins, summarise
from deocclude.engines.measures.rows import RowResult
from deocclude.engines.report import figures
from deocclude.engines.report.writers import to_markdown


def test_ranks_follow_each_metrics_direction_and_ties_share(tmp_path):
    results = [
        result(tmp_path, "a", 20.0, 0.9, 0.01),
        result(tmp_path, "b", 21.0, 0.8, 0.02),
        result(tmp_path, "c", 21.0, 0.7, 0.03),
    ]
    table = inpainting_tables.rank_table(summarise(results, "a"))
    assert texts(table, "PSNR (dB)") == ["3", "1.5", "1.5"]
    assert texts(table, "SSIM") == ["1", "2", "3"]
    assert texts(table, "L1 (mean absolute error)") == ["1", "2", "3"]
    assert texts(table, "mean rank") == ["1.67", "1.83", "2.50"]
    assert [row[-1].best for row in table.rows] == [True, False, False]
    assert table.title.startswith("Ranks among 3 rows")


def test_values_that_print_the_same_are_ties(tmp_path):
    results = [result(tmp_path, name, 20 + x, 0.9, 0.1) for name, x in (("a", 0), ("b", 0.001))]
    assert texts(inpainting_tables.rank_table(summarise(results, "a")), "PSNR (dB)") == [
        "1.5",
        "1.5",
    ]


def test_a_row_without_a_value_of_a_metric_has_no_mean_rank(tmp_path):
    results = [result(tmp_path, "a", 20, 0.9, 0.1), result(tmp_path, "b", 21, np.nan, 0.1)]
    table = inpainting_tables.rank_table(summarise(results, "a"))
    assert texts(table, "SSIM") == ["1", "–"]
    assert texts(table, "mean rank") == ["1.50", "–"]
    assert "No mean rank, as a metric has no value for it: b." in table.notes


def test_a_single_row_has_no_rank(tmp_path):
    assert (
        inpainting_tables.rank_table(summarise([result(tmp_path, "a", 20, 0.9, 0.1)], "a")) is None
    )


def test_rows_of_different_pairs_have_no_table(tmp_path):
    results = [result(tmp_path, "a", 20, 0.9, 0.1), result(tmp_path, "b", 20, 0.9, 0.1, "other")]
    with pytest.raises(ValueError, match=r"different pairs .*one: a; other: b"):
        summarise(results, "a")


def test_the_mean_of_bins_counts_every_bin_the_same():
    frame = pd.DataFrame({"bin": [0, 0, 0, 4], "x/psnr": [1.0, 1.0, np.inf, 5.0]})
    assert mean_of_bins(frame, "x/psnr") == 3
    assert np.isnan(mean_of_bins(frame.assign(**{"x/psnr": [1, 1, 1, np.nan]}), "x/psnr"))


def test_hundreds_of_rows_make_tables_and_a_legible_figure(tmp_path):
    results = [
        result(tmp_path, f"row{i:03d}", 20 + i / 100, 0.9, 0.1, noise=0.5) for i in range(240)
    ]
    start = time.perf_counter()
    summary = summarise(results, "row000")
    tables = inpainting_tables.build_tables(results, summary, "row000")
    assert all(len(table.rows) == 240 for table in tables)
    assert "row239" in to_markdown(tables, "Many", [])
    figure = figures.ratio_figure(
        summary, dict.fromkeys(summary["row"], "model"), reference="row000"
    )
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(names) == 12
    assert names[0] == "row000"
    assert {name for name in names[1:]} <= {f"row{i:03d}" for i in range(120, 240)}
    assert "12 of 240 rows: the best by PSNR, and row000" in [t.get_text() for t in figure.texts]
    figure.canvas.draw()
    assert time.perf_counter() - start < 60


def test_blocks_of_rows_change_no_number(tmp_path, monkeypatch):
    results = [result(tmp_path, name, 20, 0.9, 0.1, noise=1) for name in "abcde"]
    whole = summarise(results, "b")
    monkeypatch.setattr("deocclude.engines.evaluation.summaries.TOGETHER", 2)
    parts = summarise(results, "b")
    keys = ["row", "view", "metric", "bin"]
    pd.testing.assert_frame_equal(
        whole.sort_values(keys, ignore_index=True), parts.sort_values(keys, ignore_index=True)
    )


def test_a_row_result_is_read_with_its_seeds_averaged(tmp_path):
    seeds = tuple(result(tmp_path, name, psnr, 0.9, 0.1) for name, psnr in (("s", 20), ("t", 22)))
    folded = RowResult(seeds[0].path, {**seeds[0].info, "name": "both"}, seeds=seeds)
    assert (folded.frame()["composed/psnr"] == 21).all()
    assert folded.frame()["bin"].tolist() == seeds[0].frame()["bin"].tolist()
