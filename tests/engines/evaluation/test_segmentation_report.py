"""Segmenters from frozen occluded pairs to CSVs, tables, figures."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from deocclude.data.occluders.groups import WITHOUT_GLASSES, group_of
from deocclude.data.pairs.occluded import FrozenOccluded, OccludedPair
from deocclude.data.seeding import keyed_rng
from deocclude.engines.evaluation import segmentation_figures, segmentation_tables
from deocclude.engines.evaluation.compare import report
from deocclude.engines.evaluation.segmentation import SEGMENTERS
from deocclude.engines.evaluation.summaries import summarise_masks
from deocclude.engines.inference.networks import Segmenter
from deocclude.engines.measures import segmentation
from deocclude.engines.measures.rows import Row
from deocclude.engines.measures.segmentation import constant_rows, evaluate_segmenters

SIZE = 32
KINDS = ("sunglasses", "scarf", "scratches", "none")
MAGENTA = (255, 0, 255)


def magenta_pairs(each=3, kinds=KINDS, seed=0, empty=("none",)):
    """Dull faces on which each occluder is one magenta box, its size known; of `empty`, none."""
    cells = [(kind, number) for kind in kinds for number in range(each)]

    def read(index):
        kind, number = cells[index]
        face = keyed_rng(seed, number).integers(40, 200, (SIZE, SIZE, 3), np.uint8)
        mask = np.zeros((SIZE, SIZE), np.uint8)
        if kind not in empty:
            mask[4 : 8 + 2 * number, 6 : 16 + kinds.index(kind)] = 1
        occluded = np.where(mask[..., None] == 1, np.uint8(MAGENTA), face)
        return face, occluded, mask

    pairs = [
        OccludedPair(f"{n}.png", f"{seed}-{n}", kind, n, f"o{seed}{i}", f"m{i}", read(i)[2].mean())
        for i, (kind, n) in enumerate(cells)
    ]
    return FrozenOccluded(pairs, read, SIZE, "magenta boxes")


class SeesMagenta(torch.nn.Module):
    """Logits of a perfect segmenter, or of one that finds the left columns of the box only."""

    def __init__(self, columns=SIZE):
        super().__init__()
        self.columns = columns

    def forward(self, occluded):
        red, green, blue = occluded.unbind(1)
        found = (red == 1) & (green == 0) & (blue == 1)
        found[..., self.columns :] = False
        return torch.where(found[:, None], 3.0, -3.0)


def finder_row(name, network, opened=None):
    def make():
        if opened is not None:
            opened.append(name)
        return Segmenter(network, SIZE)

    return Row(name, "model", f"{type(network).__name__} {vars(network).get('columns')}", make)


@pytest.fixture
def pairs():
    return magenta_pairs()


@pytest.fixture
def rows():
    return [
        finder_row("perfect", SeesMagenta()),
        finder_row("half", SeesMagenta(11)),
        *constant_rows(),
    ]


@pytest.fixture
def results(pairs, rows, tmp_path):
    return evaluate_segmenters(rows, pairs, tmp_path / "e", batch=5)


def test_csv_has_a_line_an_image_with_known_values(pairs, results):
    perfect, half, nothing, everything = (result.frame() for result in results)
    assert perfect["kind"].tolist() == [pair.kind for pair in pairs.pairs]
    assert perfect["iou"].dropna().eq(1).all()
    mask = pairs.load(0)[2]
    area, kept = mask.sum(), mask[:, :11].sum()
    assert half.loc[0, "iou"] == pytest.approx(kept / area)
    assert half.loc[0, "dice"] == pytest.approx(2 * kept / (area + kept))
    assert half.loc[0, ["tp", "fp", "fn", "tn"]].tolist() == [
        kept, 0, area - kept, SIZE**2 - area,
    ]  # fmt: skip
    assert everything.loc[0, "iou"] == pytest.approx(area / SIZE**2)
    assert nothing.loc[0, "accuracy"] == pytest.approx(1 - area / SIZE**2)
    free = perfect["kind"].eq("none")
    assert everything.loc[free, "iou"].isna().all()
    assert everything.loc[free, "false_positive"].eq(1).all()
    assert nothing.loc[free, "false_positive"].eq(0).all()


def test_batch_size_changes_no_value(pairs, rows, results, tmp_path):
    again = evaluate_segmenters(rows[:2], pairs, tmp_path / "other", batch=1)
    for one, other in zip(again, results, strict=False):
        pd.testing.assert_frame_equal(one.frame(), other.frame())


def test_found_masks_are_kept_and_a_row_is_measured_once(pairs, tmp_path):
    opened = []
    row = finder_row("half", SeesMagenta(11), opened)
    (result,) = evaluate_segmenters([row], pairs, tmp_path)
    masks = segmentation.unpack(segmentation.read_masks(result), SIZE)
    expected = pairs.load(4)[2].copy()
    expected[:, 11:] = 0
    np.testing.assert_array_equal(masks[4], expected)
    (renamed,) = evaluate_segmenters(
        [finder_row("other", SeesMagenta(11), opened)], pairs, tmp_path
    )
    assert (renamed.path, renamed.name, opened) == (result.path, "other", ["half"])
    evaluate_segmenters([row], magenta_pairs(seed=1), tmp_path)
    result.path.with_suffix(".masks.npy").unlink()
    evaluate_segmenters([row], pairs, tmp_path)
    assert opened == ["half"] * 3


def test_packing_keeps_every_pixel():
    masks = keyed_rng(3).integers(0, 2, (5, 13, 13), np.uint8)
    packed = segmentation.pack(masks)
    assert packed.nbytes == 5 * math.ceil(13 * 13 / 8)
    np.testing.assert_array_equal(segmentation.unpack(packed, 13), masks)


def test_groups_are_told_apart_and_pooling_is_over_pixels(pairs, results):
    summary = summarise_masks(results, "perfect")
    frame = results[1].frame()
    real = frame[frame["kind"].isin(("sunglasses", "scarf"))]
    means = summary[summary["kind"].eq("all") & summary["row"].eq("half")]
    means = means.set_index(["group", "metric"])["mean"]
    assert means["real", "iou"] == pytest.approx(real["iou"].mean())
    pooled = real["tp"].sum() / (real["tp"] + real["fp"] + real["fn"]).sum()
    assert means["real", "pooled/iou"] == pytest.approx(pooled)
    assert abs(pooled - real["iou"].mean()) > 1e-3
    drawn = frame[frame["kind"].eq("scratches")]
    assert means["drawn", "iou"] == pytest.approx(drawn["iou"].mean())
    line = summary[summary["row"].eq("half") & summary["kind"].eq("scarf")]
    line = line[line["metric"].eq("iou")].iloc[0]
    assert line["difference"] == pytest.approx(line["mean"] - 1)
    assert line["difference_low"] <= line["difference"] <= line["difference_high"]


@pytest.mark.parametrize(
    ("kind", "group"),
    [
        ("scarf", "real"), ("hand", "real"), ("scarf+patch", "real"), ("hand_drawn", "drawn"),
        ("patch+shadow", "drawn"), ("unknown", "unknown"), ("none", "none"),
    ],
)  # fmt: skip
def test_several_occluders_are_drawn_only_when_all_are(kind, group):
    assert group_of(kind) == group


def test_nothing_is_said_to_be_held_out_in_a_set(rows, tmp_path):
    pairs = magenta_pairs(kinds=("scarf", "patch+shadow", "unknown", "none"))
    pairs.held_out = False
    made = report(SEGMENTERS, rows, pairs, tmp_path)
    titles = [line for line in made.markdown.splitlines() if line.startswith("## ")]
    assert [title.split(":")[0].lstrip("# ") for title in titles[:4]] == [
        "Real cut-outs", "Drawn occluders", "Occluders of kinds that the set does not name",
        "Faces with nothing on them",
    ]  # fmt: skip
    assert "them trained on" not in made.markdown
    assert "here was trained on" not in made.markdown
    assert "may be in training pairs too" in made.markdown
    assert "| unknown " in made.markdown
    assert not pairs.limited(5).held_out


def test_tables_show_both_groups_unoccluded_faces_and_kinds(results):
    summary = summarise_masks(results, "perfect")
    tables = segmentation_tables.mask_tables(results, summary, "perfect")
    assert [table.heading.split(":")[0] for table in tables] == [
        "Real cut-outs, none of them trained on", "Drawn occluders", "Faces with nothing on them",
        "IoU by kind of occluder (higher is better)", "Cost",
    ]  # fmt: skip
    perfect = tables[0].rows[0]
    assert [cell.text for cell in perfect[1:5]] == ["1.000"] * 4
    assert all(cell.best for cell in perfect[1:5])
    assert perfect[5].text == "reference"
    assert tables[0].rows[1][5].text.startswith("-0.")
    assert [row[1].text.split(" ")[0] for row in tables[2].rows] == ["0.00"] * 3 + ["100.00"]
    assert [row[0].text for row in tables[3].rows] == [
        "scarf (real)", "sunglasses (real)", "scratches (drawn)",
    ]  # fmt: skip
    assert [row[0].text for row in tables[4].rows] == ["perfect", "half"]
    assert "nan" not in str([table.rows for table in tables])


def test_only_faces_with_nothing_on_them_have_no_iou(tmp_path, rows):
    results = evaluate_segmenters(rows, magenta_pairs(kinds=("none",)), tmp_path)
    summary = summarise_masks(results, "perfect")
    tables = segmentation_tables.mask_tables(results, summary, "perfect")
    assert [table.heading.split(":")[0] for table in tables] == [
        "Faces with nothing on them", "Cost",
    ]  # fmt: skip
    assert not any(
        "real occluders" in line for line in segmentation_tables.mask_caption(results, "perfect")
    )


def test_limit_takes_from_every_kind_and_has_a_hash_of_its_own(pairs):
    limited = pairs.limited(5)
    assert sorted(pair.kind for pair in limited.pairs) == sorted([*KINDS, "sunglasses"])
    assert limited.hash != pairs.hash
    index = pairs.pairs.index(limited.pairs[3])
    np.testing.assert_array_equal(limited.load(3)[2], pairs.load(index)[2])
    assert pairs.limited(None) is pairs


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda occluded: occluded, r"shape \(1, 3, 32, 32\)"),
        (lambda occluded: occluded[:, :1, ::2, ::2], r"\(1, 1, 16, 16\)"),
        (lambda occluded: occluded[:, :1] * math.nan, "not finite"),
    ],
)
def test_an_answer_that_is_no_mask_is_refused(answer, message):
    network = torch.nn.Module()
    network.forward = answer
    with pytest.raises(ValueError, match=message):
        Segmenter(network, SIZE).find(torch.ones(1, 3, SIZE, SIZE))


def test_overlay_colours_what_was_found_wrong_and_missed():
    picture = np.full((1, 4, 3), 100, np.uint8)
    mask, found = np.uint8([[1, 0, 1, 0]]), np.uint8([[1, 1, 0, 0]])
    drawn = segmentation_figures.overlay(picture, mask, found)[0]
    mixed = [
        np.array(c) * 0.65 + 35 for c in (segmentation_figures.HIT, segmentation_figures.FALSE)
    ]
    np.testing.assert_allclose(drawn[:2], mixed, atol=0.51)
    np.testing.assert_allclose(
        drawn[2], np.array(segmentation_figures.MISSED) * 0.65 + 35, atol=0.51
    )
    assert drawn[3].tolist() == [100] * 3


def test_examples_are_worst_median_and_best_of_each_group():
    frame = pd.DataFrame({"index": range(8), "kind": ["scarf"] * 6 + ["none"] * 2})
    frame["iou"] = [0.5, 0.1, 0.9, 0.3, 0.2, 0.8, math.nan, math.nan]
    frame["false_positive"] = [math.nan] * 6 + [0.0, 0.2]
    frame["hole_ratio"] = [0.1] * 6 + [0.0] * 2
    chosen = segmentation_figures.choose_masks(frame, 2)
    assert chosen == [
        ("worst", 1), ("worst", 4), ("median", 3), ("median", 0), ("best", 5), ("best", 2),
        ("most marked", 7),
    ]  # fmt: skip


def test_kept_eyeglasses_are_reported_with_the_faces_that_nothing_covers(rows, tmp_path):
    kinds = ("scarf", "eyeglasses", "none")
    kept = magenta_pairs(kinds=kinds, empty=("eyeglasses", "none"))
    made = report(SEGMENTERS, rows, kept, tmp_path / "kept", batch=4)
    assert "Real cut-outs, none of them trained on: 3 images" in made.markdown
    assert "Faces with nothing on them: 6 images" in made.markdown
    assert "eyeglasses (real)" not in made.markdown
    marked = report(SEGMENTERS, rows, magenta_pairs(kinds=kinds), tmp_path / "marked", batch=4)
    assert "Real cut-outs, none of them trained on: 6 images" in marked.markdown
    assert "Faces with nothing on them: 3 images" in marked.markdown
    assert "eyeglasses (real)" in marked.markdown


def test_report_writes_every_file(pairs, rows, tmp_path):
    made = report(SEGMENTERS, rows, pairs, tmp_path, batch=4)
    for name in ("table.md", "table.tex", "summary.csv", "pairs.json", "kinds.png", "masks.png"):
        assert made.files[name].stat().st_size > 300, name
    assert made.markdown == made.files["table.md"].read_text(encoding="utf-8")
    assert "Δ IoU to perfect" in made.headline
    assert "No cut-out here was trained on" in made.markdown
    assert "summary.csv holds accuracy, Dice and boundary F by kind" in made.markdown
    kinds = pd.read_csv(made.files["summary.csv"]).query("kind == 'scarf'")["metric"]
    assert {"accuracy", "dice", "boundary_f"} <= set(kinds)
    assert "Intervals are over faces only" in made.markdown
    with pytest.raises(ValueError, match="rows: perfect, half, Nothing marked"):
        report(SEGMENTERS, rows, pairs, tmp_path, reference="none")


def test_real_cutouts_are_also_told_without_clear_eyeglasses(tmp_path):
    """A segmenter that lets eyeglasses stay misses them on purpose."""

    class LetsGlassesStay(SeesMagenta):
        def forward(self, occluded):
            found = super().forward(occluded)
            widths = (found > 0).any(2).sum(-1)[:, 0]
            found[widths == 11] = -3.0  # the boxes of the second kind, see magenta_pairs
            return found

    pairs = magenta_pairs(kinds=("scarf", "eyeglasses", "sunglasses", "none"))
    rows = [finder_row("model", LetsGlassesStay())]
    made = report(SEGMENTERS, rows, pairs, tmp_path)
    summary = pd.read_csv(tmp_path / "summary.csv").set_index(["group", "kind", "metric"])
    assert summary.loc[("real", "all", "iou"), "mean"] == pytest.approx(2 / 3)
    others = WITHOUT_GLASSES
    assert summary.loc[(others, "all", "iou"), "mean"] == pytest.approx(1)
    assert summary.loc[(others, "all", "iou"), "count"] == 6
    assert summary.loc[others].index.get_level_values("kind").unique().tolist() == ["all"]
    assert "## Real cut-outs without clear eyeglasses, none of them trained on: 6" in made.markdown
    assert made.markdown.count("eyeglasses (real)") == 1


def test_without_eyeglasses_there_is_one_table_of_real_cutouts(tmp_path):
    made = report(SEGMENTERS, [finder_row("model", SeesMagenta())], magenta_pairs(), tmp_path)
    assert "without clear eyeglasses" not in made.markdown
