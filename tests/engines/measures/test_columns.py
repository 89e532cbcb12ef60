"""What is measured beside the pixels: files of its own, sets, networks that are not there."""

import json
import math

import numpy as np
import pytest
import torch
from evaluation_stubs import SIZE, Shifted, fake_pairs, shifted_row

from deocclude.data.pairs.holes import FrozenPairs, Pair
from deocclude.engines.evaluation import inpainting_tables
from deocclude.engines.evaluation.summaries import summarise
from deocclude.engines.measures.columns import FidSums, fid, learned, published
from deocclude.engines.measures.inpainting import evaluate_rows
from deocclude.engines.measures.rows import HOLE_COLUMNS, Row
from deocclude.engines.report.writers import to_markdown


@pytest.fixture
def pairs():
    return fake_pairs()


def squared(prediction, target):
    return (prediction - target).square().mean((1, 2, 3))


def thirds(images):
    """(N, 6): colour means of the upper and the lower half."""
    return torch.cat([half.mean((2, 3)) for half in images.chunk(2, dim=2)], dim=1)


def files(folder):
    return {path.name: path.read_bytes() for path in (folder / "rows").glob("*.csv")}


def test_a_measure_added_later_is_measured_alone(pairs, tmp_path):
    opened = []
    row = shifted_row("near", pairs, 0.02, opened)
    evaluate_rows([row], pairs, tmp_path)
    before = files(tmp_path)
    (base,) = before
    (result,) = evaluate_rows([row], pairs, tmp_path, measures=[learned("lpips", squared)])
    after = files(tmp_path)
    assert after[base] == before[base]
    (added,) = after.keys() - before.keys()
    assert added.startswith("near-lpips-")
    assert after[added].decode().splitlines()[0] == "index,composed/lpips,raw/lpips"
    frame = result.frame()
    np.testing.assert_allclose(frame["raw/lpips"], frame["raw/mse"], rtol=1e-4)
    assert len(opened) == 2
    evaluate_rows([row], pairs, tmp_path, measures=[learned("lpips", squared), published()])
    evaluate_rows([row], pairs, tmp_path, measures=[learned("lpips", squared), published()])
    assert len(opened) == 3
    assert list(evaluate_rows([row], pairs, tmp_path)[0].frame()) == [
        *HOLE_COLUMNS, *(c for c in frame if "/" in c and "lpips" not in c),
    ]  # fmt: skip


def test_values_measured_before_there_were_measures_stay_valid(pairs, tmp_path):
    """The key of a row's file is what it was: protocol, pairs, size, row, no LPIPS, not legacy."""
    (result,) = evaluate_rows([shifted_row("near", pairs, 0.02)], pairs, tmp_path)
    note = json.loads(result.path.with_suffix(".json").read_text())
    assert note["key"] == {
        "protocol": 1, "pairs": pairs.hash, "size": SIZE, "row": "shift 0.02", "lpips": None,
        "as_published": False,
    }  # fmt: skip


def test_another_network_is_another_file(pairs, tmp_path):
    row = shifted_row("near", pairs, 0.02)
    for digest in ("a", "b"):
        measure = learned("identity", squared, {"network": digest})
        evaluate_rows([row], pairs, tmp_path, measures=[measure])
    assert len([name for name in files(tmp_path) if "identity" in name]) == 2


def test_an_interrupted_measure_leaves_the_row_as_it_was(pairs, tmp_path):
    row = shifted_row("near", pairs, 0.02)
    evaluate_rows([row], pairs, tmp_path)
    before = sorted((tmp_path / "rows").iterdir())

    def broken(prediction, target):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate_rows([row], pairs, tmp_path, measures=[learned("lpips", broken)])
    assert sorted((tmp_path / "rows").iterdir()) == before


def test_fid_is_zero_for_true_pictures_and_grows(pairs, tmp_path):
    rows = [shifted_row(str(offset), pairs, offset) for offset in (0.02, 0.1, 0.3)]
    exact = Row("exact", "model", "exact", lambda: Exact(pairs))
    results = evaluate_rows([exact, *rows], pairs, tmp_path, measures=[fid(thirds, {})])
    values = [result.info["measures"]["fid"]["fid"] for result in results]
    assert values[0] == pytest.approx(0, abs=1e-9)
    assert values == sorted(values)
    assert values[1] > 1e-6
    again = evaluate_rows(rows[:1], pairs, tmp_path / "b", batch=1, measures=[fid(thirds, {})])
    assert again[0].info["measures"]["fid"]["fid"] == pytest.approx(values[1], rel=1e-4)
    summary = summarise(results, "exact")
    line = summary[summary["metric"].eq("fid")].iloc[1]
    assert (line["bin"], line["count"], line["mean"]) == ("all", len(pairs), values[1])
    table = inpainting_tables.learned_table(results, summary)
    assert table.columns == ["", "FID ↓"]
    assert [row[1].best for row in table.rows] == [True, False, False, False]
    assert any(f"N = {len(pairs)}" in note for note in table.notes)
    assert any("too large for few pictures" in note for note in table.notes)
    assert (  # four squares, each under three masks
        "FID: N = 12 composed pictures against the 4 true ones they come from, each of which "
        "counts as often as it was restored." in table.notes
    )


class Exact(Shifted):
    """Predicts the target itself."""

    def __init__(self, pairs):
        super().__init__(pairs, 0.0)
        self.at = 0

    def restore(self, occluded, mask):
        images = [self.pairs.load(self.at + i)[0] for i in range(len(occluded))]
        self.at += len(occluded)
        return torch.from_numpy(np.stack(images)).movedim(-1, 1) / 255


def test_true_pictures_are_embedded_once_for_all_rows(pairs, tmp_path):
    looked = []

    def counted(images):
        looked.append(len(images))
        return thirds(images)

    rows = [shifted_row(str(offset), pairs, offset) for offset in (0.02, 0.1)]
    evaluate_rows(rows, pairs, tmp_path, measures=[fid(counted, {})])
    images = len({pair.image for pair in pairs.pairs})
    assert sum(looked) == images + 2 * len(pairs)
    sums = FidSums(thirds).start(pairs, torch.device("cpu")).true
    assert sums.count == len(pairs)


def test_one_pair_has_values_but_no_fid(pairs, tmp_path):
    single = FrozenPairs(pairs.pairs[:1], pairs._read, SIZE, "one pair")
    rows = [shifted_row(name, single, offset) for name, offset in (("near", 0.02), ("far", 0.2))]
    results = evaluate_rows(rows, single, tmp_path, measures=[fid(thirds, {}), published()])
    assert math.isnan(results[0].info["measures"]["fid"]["fid"])
    summary = summarise(results, "near")
    built = inpainting_tables.build_tables(results, summary, "near")
    assert "nan" not in to_markdown(built, "Evaluation", [])
    assert np.isfinite(summary.loc[summary["metric"].eq("psnr"), "mean"]).all()


def test_constant_images_have_every_value_a_metric_can_give(tmp_path):
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[4:20, 4:20] = 1
    grey = [0, 0, 128, 255]
    pairs = FrozenPairs(
        [Pair(f"{i}", f"{i}", "m", f"m{i}", 2, False, mask.mean()) for i in range(4)],
        lambda i: (np.full((SIZE, SIZE, 3), grey[i], np.uint8), mask),
        SIZE,
        "constant images",
    )
    similarity = learned("identity", lambda p, t: torch.full((len(p),), torch.nan))
    rows = [shifted_row("near", pairs, 0.02), shifted_row("far", pairs, 0.2)]
    measures = [similarity, fid(thirds, {}), published()]
    results = evaluate_rows(rows, pairs, tmp_path, measures=measures)
    summary = summarise(results, "near")
    for metric in ("psnr", "ssim", "l1"):
        chosen = summary[summary["metric"].eq(metric) & summary["bin"].eq("mean")]
        assert np.isfinite(chosen["mean"]).all(), metric
    assert math.isfinite(results[0].info["measures"]["fid"]["fid"])
    ranks = inpainting_tables.rank_table(summary)
    assert "Left out, as no row has a value: Identity similarity." in ranks.notes
    built = inpainting_tables.build_tables(results, summary, "near")
    assert "nan" not in to_markdown(built, "Evaluation", [])


def test_a_metric_that_is_missing_for_some_images_says_so(pairs, tmp_path):
    def patchy(prediction, target):
        values = squared(prediction, target)
        values[target.mean((1, 2, 3)).argmax()] = torch.nan
        return values

    rows = [shifted_row("near", pairs, 0.02), shifted_row("far", pairs, 0.2)]
    results = evaluate_rows(rows, pairs, tmp_path, batch=12, measures=[learned("lpips", patchy)])
    summary = summarise(results, "near")
    chosen = summary[summary["metric"].eq("lpips") & summary["bin"].eq("mean")]
    assert (chosen["missing"] == 1).all()
    assert (chosen["count"] == len(pairs) - 1).all()
    table = inpainting_tables.metric_table(summary, "lpips", "composed", "near")
    assert table.notes[0].startswith("near: LPIPS is missing for 1 of 12 pairs")
    assert "–" not in table.rows[1][-1].text


def test_absent_networks_leave_an_empty_column_with_the_reason(pairs, tmp_path):
    absent = [learned("lpips", None, reason="no weights here"), fid(None, {}, "none there")]
    present = learned("identity", squared, note="cosine, by a network")
    rows = [shifted_row("near", pairs, 0.02), shifted_row("far", pairs, 0.2)]
    results = evaluate_rows(rows, pairs, tmp_path, measures=[*absent, present])
    summary = summarise(results, "near")
    table = inpainting_tables.learned_table(results, summary)
    assert table.columns == ["", "LPIPS (AlexNet) ↓", "Identity similarity ↑", "FID ↓"]
    assert [cell.text for cell in table.rows[0]][1::2] == ["–", "–"]
    assert table.notes == [
        "No LPIPS (AlexNet): no weights here.", "cosine, by a network", "No FID: none there.",
    ]  # fmt: skip
    assert inpainting_tables.learned_table(evaluate_rows(rows, pairs, tmp_path), summary) is None


def test_published_definitions_stand_beside_the_right_ones(pairs, tmp_path):
    rows = [shifted_row("near", pairs, 0.02), shifted_row("far", pairs, 0.2)]
    results = evaluate_rows(rows, pairs, tmp_path, measures=[published()])
    summary = summarise(results, "near")
    built = inpainting_tables.build_tables(results, summary, "near")
    assert [table.columns[-1] for table in built[:3]] == [
        "as published: PSNR of a batch of 8 (dB)",
        "as published: SSIM of rows 0 to 2",
        "as published: sum|r-f| / sum(r+f)",
    ]
    table = built[-1]
    assert len(table.columns) == 10
    right, other, gap = (float(cell.text) for cell in table.rows[0][1:4])
    frame = results[0].frame()
    assert right == pytest.approx(frame["raw/psnr"].mean(), abs=0.006)
    told = results[0].info["measures"]["as_published"]
    assert other == pytest.approx(told["batch_psnr"], abs=0.006)
    assert gap == pytest.approx(other - right, abs=0.02)
