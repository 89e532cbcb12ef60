"""Rows to CSV to tables, and `evaluate.py` from a run folder to its files."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
import torch
from evaluation_stubs import Shifted, fake_pairs, shifted_row

from deocclude.engines.evaluation import inpainting_tables
from deocclude.engines.evaluation import summaries as evaluation_summaries
from deocclude.engines.evaluation.compare import report
from deocclude.engines.evaluation.examples import choose_examples
from deocclude.engines.evaluation.inpainting import INPAINTERS
from deocclude.engines.evaluation.summaries import summarise
from deocclude.engines.inference.baselines import BaselinePool
from deocclude.engines.measures.columns import learned, published
from deocclude.engines.measures.inpainting import baseline_row, evaluate_rows
from deocclude.engines.measures.rows import Row
from deocclude.engines.report import figures, tables
from deocclude.engines.report.writers import escape, to_latex, to_markdown
from deocclude.metrics.image import psnr


@pytest.fixture
def pairs():
    return fake_pairs()


@pytest.fixture
def results(pairs, tmp_path):
    rows = [shifted_row(name, pairs, offset) for name, offset in (("near", 0.02), ("far_50%", 0.2))]
    rows.append(baseline_row("telea", BaselinePool(0)))
    return evaluate_rows(rows, pairs, tmp_path / "e", batch=5)


def test_csv_has_a_line_an_image_with_known_values(pairs, results):
    frame = results[0].frame()
    assert frame["index"].tolist() == list(range(len(pairs)))
    assert frame["bin"].tolist() == [pair.bin for pair in pairs.pairs]
    image, mask = pairs.load(3)
    target = torch.from_numpy(image).movedim(-1, 0)[None] / 255
    hole = torch.from_numpy(mask)[None, None].float()
    prediction = (torch.where(hole > 0.5, 0.5, target) + 0.02).clamp(0, 1)
    assert frame.loc[3, "raw/psnr"] == pytest.approx(psnr(prediction, target).item(), rel=1e-5)
    composed = torch.where(hole > 0.5, prediction, target)
    assert frame.loc[3, "composed/psnr"] == pytest.approx(psnr(composed, target).item(), rel=1e-5)


def test_batch_size_changes_no_value(pairs, results, tmp_path):
    again = evaluate_rows([shifted_row("near", pairs, 0.02)], pairs, tmp_path / "other", batch=1)
    pd.testing.assert_frame_equal(again[0].frame(), results[0].frame(), rtol=1e-5)


def test_a_measured_row_is_taken_from_its_files(pairs, tmp_path):
    opened = []
    first = evaluate_rows([shifted_row("near", pairs, 0.02, opened)], pairs, tmp_path)[0]
    renamed = evaluate_rows([shifted_row("nearer", pairs, 0.02, opened)], pairs, tmp_path)[0]
    assert len(opened) == 1
    assert (renamed.path, renamed.name) == (first.path, "nearer")
    evaluate_rows([shifted_row("near", pairs, 0.03, opened)], pairs, tmp_path)
    evaluate_rows([shifted_row("near", pairs, 0.02, opened)], fake_pairs(seed=1), tmp_path)
    assert len(opened) == 3


def test_a_kept_row_says_what_holds_now(pairs, tmp_path):
    """Values are kept; how a row was trained and why there is no LPIPS may change."""
    first = learned("lpips", None, reason="no network then")
    now = learned("lpips", None, reason="no network now")
    row = shifted_row("near", pairs, 0.02)
    (before,) = evaluate_rows([row], pairs, tmp_path, measures=[first])
    pairs.description = "other words"
    finished = dataclasses.replace(row, training={"images": 7, "minutes": 2.0})
    (after,) = evaluate_rows([finished], pairs, tmp_path, measures=[now])
    assert after.path == before.path
    assert after.info["training"] == {"images": 7, "minutes": 2.0}
    assert after.info["measures"]["lpips"]["reason"] == "no network now"
    assert after.info["pairs"] == "other words"
    assert after.info["cost"] == before.info["cost"]


def test_pairs_that_break_the_contract_are_refused(pairs, tmp_path):
    read = pairs._read
    pairs._read = lambda index: (read(index)[0], read(index)[1] * 255)
    with pytest.raises(ValueError, match=r"mask: every value must be 0 \(known\) or 1"):
        evaluate_rows([shifted_row("near", pairs, 0.02)], pairs, tmp_path)


def test_one_image_has_values_but_no_interval(tmp_path):
    pairs = fake_pairs(per_bin=1)
    rows = [shifted_row(name, pairs, offset) for name, offset in (("near", 0.02), ("far", 0.2))]
    results = evaluate_rows(rows, pairs, tmp_path)
    summary = summarise(results, "near")
    assert np.isfinite(summary["mean"]).all()
    assert summary["low"].isna().all()
    table = inpainting_tables.metric_table(summary, "psnr", "composed", "near")
    assert table.rows[1][5].text.endswith(" [–]")
    assert "nan" not in to_markdown([table], "Evaluation", [])
    assert "of 1 images" in evaluation_summaries.caption(results, "near")[0]
    figures.ratio_figure(summary, {"near": "model", "far": "model"}).canvas.draw()


def test_an_interrupted_row_leaves_nothing_that_looks_done(pairs, tmp_path):
    row = shifted_row("near", pairs, 0.02)

    class Broken(Shifted):
        def restore(self, occluded, mask):
            if self.asked >= 5:
                raise KeyboardInterrupt
            return super().restore(occluded, mask)

    broken = Row(row.name, row.kind, row.identity, lambda: Broken(pairs, 0.02))
    with pytest.raises(KeyboardInterrupt):
        evaluate_rows([broken], pairs, tmp_path, batch=5)
    assert list((tmp_path / "rows").iterdir()) == []
    assert len(evaluate_rows([row], pairs, tmp_path)[0].frame()) == len(pairs)


def test_a_shortened_csv_is_refused(results):
    lines = results[0].path.read_text().splitlines(keepends=True)
    results[0].path.write_text("".join(lines[:-2]))
    with pytest.raises(ValueError, match="10 lines, expected 12"):
        results[0].frame()


def test_a_prediction_that_is_not_finite_names_its_row_and_image(pairs, tmp_path):
    with pytest.raises(ValueError, match=r"^nan: prediction is not finite for 0\.png"):
        evaluate_rows([shifted_row("nan", pairs, math.nan)], pairs, tmp_path)


def test_rows_on_different_pairs_never_share_a_table(pairs, results, tmp_path):
    other = fake_pairs(seed=1)
    stray = evaluate_rows([shifted_row("stray", other, 0.02)], other, tmp_path / "e")
    with pytest.raises(ValueError, match="different pairs"):
        summarise([*results, *stray], "near")


def test_summary_means_and_differences(results):
    summary = summarise(results, "near")
    chosen = summary.set_index(["row", "view", "metric", "bin"])
    frames = [result.frame() for result in results]
    by_bin = [frame.groupby("bin")["composed/l1"].mean() for frame in frames]
    assert chosen.loc[("near", "composed", "l1", "2"), "mean"] == pytest.approx(by_bin[0][2])
    line = chosen.loc[("far_50%", "composed", "l1", "mean")]
    assert line["mean"] == pytest.approx(by_bin[1].mean())
    assert line["difference"] == pytest.approx((by_bin[1] - by_bin[0]).mean())
    assert line["difference_low"] <= line["difference"] <= line["difference_high"]
    assert chosen.loc[("near", "composed", "l1", "mean"), "difference_high"] == 0


def test_best_value_is_marked_in_the_right_direction(results):
    summary = summarise(results, "near")
    for metric, better in (("psnr", np.argmax), ("l1", np.argmin)):
        table = inpainting_tables.metric_table(summary, metric, "composed", "near")
        assert table.columns[1:4] == ["1–10 %", "20–30 %", "40–50 %"]
        for column in (1, 4):
            values = [float(row[column].text) for row in table.rows]
            assert [row[column].best for row in table.rows].index(True) == better(values)
        assert table.rows[0][5].text == "reference"


def test_equal_values_are_all_best():
    values = (1.001, 1.0, 0.9, math.nan)
    cells = tables.mark_best([tables.Cell(value, form=".2f") for value in values], True)
    assert [cell.best for cell in cells] == [True, True, False, False]


def test_exactly_restored_images_are_counted_not_averaged(tmp_path, pairs):
    rows = [shifted_row("near", pairs, 0.02)]
    result = evaluate_rows(rows, pairs, tmp_path)[0]
    frame = pd.read_csv(result.path)
    kept = frame.loc[frame["bin"].eq(0), "composed/psnr"].iloc[1:].mean()
    frame.loc[0, "composed/psnr"] = math.inf
    frame.to_csv(result.path, index=False)
    summary = summarise([result], "near")
    table = inpainting_tables.metric_table(summary, "psnr", "composed", "near")
    assert float(table.rows[0][1].text) == pytest.approx(kept, abs=0.006)
    assert "1 exactly restored" in table.notes[0]


def test_markdown_and_latex_hold_hash_count_reason_and_escapes(pairs, results):
    summary = summarise(results, "near")
    built = inpainting_tables.build_tables(results, summary, "near")
    lines = evaluation_summaries.caption(results, "near")
    markdown = to_markdown(built, "Evaluation", lines)
    assert pairs.hash in markdown
    assert "N = 12 pairs" in markdown
    assert "| 2.50 |" in " ".join(markdown.split())
    for block in markdown.split("\n\n"):
        if block.startswith("|"):
            assert len({line.replace("\\|", "").count("|") for line in block.splitlines()}) == 1
    latex = to_latex(built, lines)
    assert r"far\_50\% &" in latex
    assert r"\textbf{" in latex
    assert latex.count(r"\begin{tabular}") == latex.count(r"\bottomrule") == len(built)
    assert escape("a_b & 5 %") == r"a\_b \& 5 \%"


def test_published_definitions_only_when_asked(pairs, results, tmp_path):
    assert inpainting_tables.as_published_table(results) is None
    row = shifted_row("near", pairs, 0.02)
    small, large = (
        evaluate_rows([row], pairs, tmp_path / str(b), batch=b, measures=[published()])
        for b in (3, 12)
    )
    values = [result[0].info["measures"]["as_published"] for result in (small, large)]
    values = [{key: told[key] for key in told if key not in ("note", "reason")} for told in values]
    assert values[0] == pytest.approx(values[1])
    assert inpainting_tables.as_published_table(small).rows[0][0].text == "near"


def test_limit_takes_from_every_cell_and_has_a_hash_of_its_own(pairs):
    limited = pairs.limited(6)
    assert sorted((p.bin, p.border) for p in limited.pairs) == [
        (b, border) for b in (0, 2, 4) for border in (False, True)
    ]
    assert limited.hash != pairs.hash
    index = pairs.pairs.index(limited.pairs[5])
    np.testing.assert_array_equal(limited.load(5)[1], pairs.load(index)[1])
    assert pairs.limited(None) is pairs.limited(99) is pairs


def test_examples_are_worst_median_and_best_of_each_bin():
    frame = pd.DataFrame({"index": range(5), "bin": [0, 0, 0, 3, 3]})
    frame["composed/psnr"] = [30.0, 10.0, 20.0, 9.0, 8.0]
    assert choose_examples(frame) == [
        ("0", "worst", 1), ("0", "median", 2), ("0", "best", 0), ("3", "worst", 4), ("3", "best", 3)
    ]  # fmt: skip


def test_report_writes_every_file(pairs, tmp_path):
    rows = [shifted_row("near", pairs, 0.02), baseline_row("occluded", BaselinePool(0))]
    made = report(INPAINTERS, rows, pairs, tmp_path)
    for name in ("table.md", "table.tex", "summary.csv", "pairs.json", "metrics.png"):
        assert made.files[name].stat().st_size > 300, name
    assert made.files["examples.png"].is_file()
    assert made.markdown == made.files["table.md"].read_text(encoding="utf-8")
