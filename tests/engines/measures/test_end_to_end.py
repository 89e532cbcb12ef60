"""Inpainters with true, found and no masks: known answers, tables, files."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from deocclude.data.contract import hide
from deocclude.data.images import to_tensor
from deocclude.data.pairs.occluded import FrozenOccluded, OccludedPair
from deocclude.data.seeding import keyed_rng
from deocclude.engines.evaluation.compare import report
from deocclude.engines.evaluation.end_to_end import END_TO_END, Rows, choose_losses
from deocclude.engines.evaluation.end_to_end_tables import end_to_end_tables
from deocclude.engines.evaluation.summaries import summarise_cases
from deocclude.engines.inference.baselines import BaselinePool
from deocclude.engines.inference.networks import Inpainter, Segmenter
from deocclude.engines.measures.end_to_end import (
    BLIND,
    NO_MASK,
    TRUE,
    TRUE_MASK,
    Case,
    MaskSource,
    evaluate_cases,
    plan_cases,
    used_masks,
)
from deocclude.engines.measures.inpainting import baseline_row
from deocclude.engines.measures.rows import Row
from deocclude.engines.measures.segmentation import pack
from deocclude.engines.report.writers import to_markdown
from deocclude.metrics.image import psnr

SIZE = 32
CELLS = [(kind, n) for kind in ("scarf", "scratches", "none") for n in range(3)]


def read(index):
    """A dull face, a black box on it, the box; nothing for kind `none`."""
    kind, number = CELLS[index]
    face = keyed_rng(7, number).integers(60, 200, (SIZE, SIZE, 3), np.uint8)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    if kind != "none":
        mask[8:20, 6 : 14 + 2 * number] = 1
    return face, np.where(mask[..., None] == 1, np.uint8(0), face), mask


@pytest.fixture
def pairs():
    listed = [
        OccludedPair(f"{n}.png", f"{n}", kind, n, f"{i}", f"{i}", float(read(i)[2].mean()))
        for i, (kind, n) in enumerate(CELLS)
    ]
    return FrozenOccluded(listed, read, SIZE, "black boxes")


class Flat:
    """Predicts one grey everywhere; remembers what it was shown."""

    fill = 0.25
    device = torch.device("cpu")

    def __init__(self, grey=0.5):
        self.grey, self.seen = grey, []

    def show(self, picture, mask):
        return hide(picture, mask, self.fill)

    def restore(self, occluded, mask):
        self.seen.append((occluded, mask))
        return torch.full_like(occluded, self.grey)

    def cost(self, size):
        return {}


class Knows(Flat):
    """Predicts the target, which it knows by the picture's known rows."""

    def restore(self, occluded, mask):
        faces = [read(index)[0] for index in range(3)]
        found = []
        for picture in occluded.numpy():
            (face,) = (
                f for f in faces if np.allclose(f[25:] / 255, np.moveaxis(picture, 0, 2)[25:])
            )
            found.append(face)
        return to_tensor(np.stack(found))


def row(name, restorer):
    return Row(name, "model", name, lambda: restorer)


def true_masks(change=None):
    masks = np.stack([read(index)[2] for index in range(len(CELLS))])
    return masks if change is None else change(masks)


def source(name, change=None):
    return MaskSource(name, name, pack(true_masks(change)))


def without_right(masks):
    masks = masks.copy()
    masks[:, :, 10:] = 0
    return masks


def image(index):
    return to_tensor(read(index)[0][None])


def test_perfect_masks_cost_nothing_and_missed_pixels_stay(pairs, tmp_path):
    flat = row("Flat", Flat())
    sources = [TRUE_MASK, source("perfect"), source("half", without_right), NO_MASK]
    results = evaluate_cases([Case(flat, s) for s in sources], pairs, tmp_path, batch=4)
    true, perfect, half, blind = (result.frame() for result in results)
    np.testing.assert_array_equal(true["image/psnr"], perfect["image/psnr"])
    target, occluded, mask = (to_tensor(part[None]) for part in read(1))
    left = to_tensor(without_right(true_masks())[1:2])
    kept = torch.where(left > 0.5, torch.tensor(0.5), occluded)
    assert half.loc[1, "image/psnr"] == pytest.approx(psnr(kept, target).item(), rel=1e-5)
    assert half.loc[1, "hole/psnr"] == pytest.approx(psnr(kept, target, mask).item(), rel=1e-5)
    assert half.loc[1, "marked"] == pytest.approx(left.mean().item())
    whole = torch.full_like(target, 0.5)
    assert blind.loc[1, "image/psnr"] == pytest.approx(psnr(whole, target).item(), rel=1e-5)
    summary = summarise_cases(results).set_index(["inpainter", "mask", "group", "metric"])
    line = summary.loc["Flat", "perfect", "real", "image/psnr"]
    assert (line["loss"], line["loss_low"], line["loss_high"]) == (0, 0, 0)
    expected = (true["image/psnr"] - half["image/psnr"])[:3].mean()
    line = summary.loc["Flat", "half", "real", "image/psnr"]
    assert line["loss"] == pytest.approx(expected)
    assert line["loss_low"] <= expected <= line["loss_high"]
    darker = summary.loc["Flat", "half", "drawn", "hole/l1"]
    assert darker["loss"] > 0  # a larger error is a loss too


def test_what_the_inpainter_sees(pairs, tmp_path):
    flat = Flat()
    cases = [Case(row("Flat", flat), s) for s in (TRUE_MASK, NO_MASK)]
    evaluate_cases(cases, pairs, tmp_path, batch=len(CELLS))
    (hidden, mask), (open_picture, empty) = flat.seen
    np.testing.assert_array_equal(mask[:, 0], true_masks())
    assert (hidden[(mask > 0.5).expand_as(hidden)] == flat.fill).all()
    occluded = to_tensor(np.stack([read(index)[1] for index in range(len(CELLS))]))
    assert torch.equal(open_picture, occluded)
    assert not empty.any()


def test_an_inpainter_trained_under_occluders_is_shown_them(pairs, tmp_path):
    """Always the picture as it is; blind its whole answer counts, else the mask's part of it."""

    class Darker(nn.Module):
        def forward(self, occluded, mask):
            assert torch.equal(occluded, shown)
            return occluded / 2

    shown = to_tensor(np.stack([read(index)[1] for index in range(len(CELLS))]))
    target = to_tensor(np.stack([read(index)[0] for index in range(len(CELLS))]))
    restorer = Inpainter(Darker(), SIZE, hides=False)
    cases = [Case(row("Darker", restorer), s) for s in (TRUE_MASK, source("half"), NO_MASK)]
    true, _, blind = evaluate_cases(cases, pairs, tmp_path, batch=len(CELLS))
    expected = (shown / 2 - target).abs().mean(dim=(1, 2, 3))
    np.testing.assert_allclose(blind.frame()["image/l1"], expected, rtol=1e-5)
    mask = to_tensor(true_masks())
    composed = torch.where(mask > 0.5, shown / 2, shown)
    expected = (composed - target).abs().mean(dim=(1, 2, 3))
    np.testing.assert_allclose(true.frame()["image/l1"], expected, rtol=1e-5)


def test_a_perfect_inpainter_is_exact_in_the_hole_it_is_shown(pairs, tmp_path):
    cases = [Case(row("Knows", Knows()), s) for s in (TRUE_MASK, source("half", without_right))]
    results = evaluate_cases(cases, pairs, tmp_path)
    true, half = (result.frame() for result in results)
    assert np.isinf(true["image/psnr"]).all()
    assert true.loc[:5, "image/ssim"].tolist() == pytest.approx([1] * 6)
    assert np.isfinite(half["image/psnr"][:6]).all()
    assert np.isinf(half["image/psnr"][6:]).all()
    summary = summarise_cases(results).set_index(["inpainter", "mask", "group", "metric"])
    line = summary.loc["Knows", TRUE, "real", "image/psnr"]
    assert (line["mean"], line["infinite"]) == (math.inf, 3)
    tables = end_to_end_tables(summarise_cases(results), SIZE)
    assert tables[0].rows[0][1].text == "∞"
    assert "nan" not in to_markdown(tables, "End to end", [])


def test_dilation_of_one_pixel_is_a_disc():
    point = np.zeros((1, SIZE, SIZE), np.uint8)
    point[0, 16, 16] = 1
    case = Case(row("Flat", Flat()), MaskSource("point", "point", pack(point)), 3)
    grown = used_masks(case, [0], torch.zeros(1, 1, SIZE, SIZE))
    assert grown.sum() == 29  # lattice points within 3 of the origin
    assert grown[0, 0, 16, 13] == 1
    assert grown[0, 0, 14, 13] == 0
    empty = MaskSource("empty", "empty", pack(np.zeros_like(point)))
    assert not used_masks(Case(case.inpainter, empty, 15), [0], torch.zeros(1, 1, 32, 32)).any()


def test_the_plan_dilates_the_true_and_the_best_mask_only():
    inpainters = [row("A", Flat()), row("B", Flat())]
    telea = baseline_row("telea", BaselinePool(0))
    good, bad = source("good"), source("bad", without_right)
    cases = plan_cases(inpainters, [telea], [good, bad], (0, 3, 7, 15), good)
    assert len(cases) == 2 * (1 + 2 + 1 + 2 * 3) + 3
    grown = {(c.inpainter.name, c.source.name) for c in cases if c.dilation}
    assert grown == {(name, mask) for name in "AB" for mask in (TRUE, "good")}
    assert {c.inpainter.name for c in cases if c.source.name == BLIND} == {"A", "B"}


def test_a_measured_case_is_taken_from_its_files(pairs, tmp_path):
    flat = Flat()
    one = row("Flat", flat)
    first = evaluate_cases([Case(one, TRUE_MASK)], pairs, tmp_path)
    both = evaluate_cases([Case(one, TRUE_MASK), Case(one, TRUE_MASK, 3)], pairs, tmp_path)
    assert both[0].path == first[0].path
    assert len(flat.seen) == 2
    assert both[1].frame()["marked"].gt(both[0].frame()["marked"])[:6].all()


def test_report_writes_every_file(pairs, tmp_path):
    black = torch.nn.Module()
    black.forward = lambda occluded: 6 * (occluded.sum(1, keepdim=True) == 0).float() - 3
    half = torch.nn.Module()
    half.forward = lambda occluded: black.forward(occluded) - 9 * (torch.arange(SIZE) > 10)
    segmenters = [
        Row(name, "model", name, lambda network=network: Segmenter(network, SIZE))
        for name, network in (("half", half), ("perfect", black))
    ]
    inpainters = [row("Flat", Flat()), row("Knows", Knows())]
    remarks = ["Large is left out."]
    made = report(
        END_TO_END, Rows(inpainters, segmenters), pairs, tmp_path, dilations=(0, 3), remarks=remarks
    )
    for name in ("table.md", "table.tex", "summary.csv", "pairs.json", "end_to_end.png"):
        assert made.files[name].stat().st_size > 300, name
    text = made.markdown
    assert "Large is left out." in text
    assert "Dilated are the true mask and that of perfect" in text
    assert "Occluded input" in text
    assert "deocclude.py also smooths it" in text
    assert "dilates by 3% of the side" in text
    assert "Intervals are over faces only" in text
    assert "real cut-outs, none of them trained on" in text
    grown = text.split("by dilation of the mask: real")[1].split("##")[0]
    lines = [line.split("|")[1].strip() for line in grown.splitlines() if line.startswith("|")]
    assert lines[2:] == [
        "Flat, true mask", "Flat, mask of perfect", "Knows, true mask", "Knows, mask of perfect",
    ]  # fmt: skip
    losses = text.split("Loss in PSNR")[1].split("##")[0]
    assert "+0.00 [+0.00, +0.00]" in losses
    with pytest.raises(ValueError, match="inpainters: Flat, Knows"):
        report(END_TO_END, Rows(inpainters, segmenters), pairs, tmp_path, reference="half")


def test_pairs_of_a_set_are_not_said_to_be_held_out(pairs, tmp_path):
    results = evaluate_cases([Case(row("Flat", Flat()), TRUE_MASK)], pairs, tmp_path)
    tables = end_to_end_tables(summarise_cases(results), SIZE, held_out=False)
    assert any("real cut-outs (higher" in table.heading for table in tables)
    assert not any("trained on" in table.heading for table in tables)


def test_examples_lose_most_median_and_least(pairs, tmp_path):
    flat = row("Flat", Flat())
    cases = [Case(flat, TRUE_MASK), Case(flat, source("half", without_right))]
    true, half = (result.frame() for result in evaluate_cases(cases, pairs, tmp_path))
    order = (true["image/psnr"] - half["image/psnr"])[:3].sort_values().index.tolist()
    chosen = choose_losses(true, half)
    assert chosen == list(zip(("worst", "median", "best"), order[::-1], strict=True))
