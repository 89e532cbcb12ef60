"""Known answers of the segmentation metrics."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt

from deocclude.metrics.segmentation import (
    COLUMNS,
    SEGMENTATION_METRICS,
    SegmentationMetrics,
    boundary_f,
    boundary_tolerance,
    confusion,
    dice,
    iou,
    pixel_accuracy,
    precision,
    recall,
)


def square(top, left, side, size=32):
    mask = torch.zeros(1, 1, size, size)
    mask[..., top : top + side, left : left + side] = 1
    return mask


def test_counts_and_scores_by_hand():
    """Two 8 x 8 squares that share 4 x 8 pixels of a 32 x 32 picture."""
    found, true = square(4, 4, 8), square(8, 4, 8)
    assert confusion(found, true).tolist() == [[32, 32, 32, 1024 - 96]]
    assert iou(found, true).item() == pytest.approx(32 / 96)
    assert dice(found, true).item() == pytest.approx(0.5)
    assert pixel_accuracy(found, true).item() == pytest.approx((1024 - 64) / 1024)
    small = square(4, 4, 4)
    assert precision(small, found).item() == 1
    assert recall(small, found).item() == pytest.approx(16 / 64)


@pytest.mark.parametrize("metric", SEGMENTATION_METRICS.values())
def test_extremes(metric):
    empty, full, some = square(0, 0, 0), square(0, 0, 32), square(5, 6, 9)
    assert [metric(mask, mask).item() for mask in (empty, full, some)] == [1, 1, 1]
    if metric is not pixel_accuracy:
        assert metric(empty, some).item() == 0
        assert metric(some, empty).item() == 0


def test_a_batch_is_its_images_one_by_one():
    generator = torch.Generator().manual_seed(0)
    found, true = (torch.rand(2, 5, 1, 20, 24, generator=generator) > 0.7).float()
    for metric in SEGMENTATION_METRICS.values():
        alone = torch.cat([metric(f[None], t[None]) for f, t in zip(found, true, strict=True)])
        torch.testing.assert_close(metric(found, true), alone)


def test_boundary_tolerance_is_a_share_of_the_diagonal():
    assert [boundary_tolerance(s, s) for s in (16, 64, 256, 1000)] == [1, 1, 3, 11]


def test_a_shift_within_the_tolerance_costs_nothing_and_beyond_it_does():
    size = 256
    true = square(60, 60, 90, size)
    assert boundary_f(square(63, 60, 90, size), true).item() == 1
    moved = boundary_f(square(64, 60, 90, size), true).item()
    # the two horizontal sides miss, but for their ends near the vertical ones
    assert 0.5 < moved < 0.6
    assert boundary_f(square(160, 160, 40, size), true).item() == 0


def direct_boundary_f(found, true, tolerance):
    """By distance transforms, boundary by boundary."""
    edges = []
    for mask in (found, true):
        edge = np.zeros_like(mask, dtype=bool)
        for y, x in zip(*np.nonzero(mask), strict=True):
            around = mask[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
            edge[y, x] = (around == 0).any()
        edges.append(edge)
    far = [distance_transform_edt(~edge) for edge in edges]
    share = (far[1][edges[0]] <= tolerance).mean()
    covered = (far[0][edges[1]] <= tolerance).mean()
    return 2 * share * covered / (share + covered)


@pytest.mark.parametrize("seed", range(4))
def test_boundary_f_equals_its_direct_form(seed):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(2, 1, 9, 7, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (150, 200), mode="bicubic")
    found, true = (smooth > 0.55).float().split(1)
    expected = direct_boundary_f(found[0, 0].numpy(), true[0, 0].numpy(), 2)
    assert boundary_tolerance(150, 200) == 2
    assert boundary_f(found, true).item() == pytest.approx(expected, abs=1e-6)


def test_the_pictures_edge_is_no_boundary():
    """Two masks that leave the picture differ at no boundary but the one inside."""
    found, true = torch.zeros(2, 1, 1, 32, 32)
    found[..., :10, :] = 1
    true[..., :12, :] = 1
    assert boundary_f(found, true).item() == 0
    true[..., 11, :] = 0
    assert boundary_f(found, true).item() == 1


def measured(step=2):
    """Four images; the last has nothing on it and half of it is marked."""
    true = torch.cat([square(4, 4, 8), square(0, 0, 16), square(10, 10, 6), square(0, 0, 0)])
    found = torch.cat([square(8, 4, 8), square(0, 0, 16), square(0, 0, 0), square(0, 0, 0)])
    found[3, :, :16] = 1
    metrics = SegmentationMetrics()
    kinds = ["mask", "hand", "mask", "none"]
    for start in range(0, 4, step):
        part = slice(start, start + step)
        logits = 6 * found[part] - 3
        metrics.update(logits, true[part], range(4)[part], kinds[part])
    return metrics


def test_means_leave_images_without_an_occluder_out():
    scores = measured().compute()
    assert scores["iou"] == pytest.approx((1 / 3 + 1 + 0) / 3)
    assert scores["dice"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert scores["false_positive"] == pytest.approx(0.5)
    assert scores["accuracy"] == pytest.approx((960 + 1024 + 988 + 512) / 4096)


def test_pooled_values_come_from_sums_over_all_pixels():
    scores = measured().compute()
    tp, fp, fn = 32 + 256, 32 + 512, 32 + 36
    assert scores["pooled/iou"] == pytest.approx(tp / (tp + fp + fn))
    assert scores["pooled/dice"] == pytest.approx(2 * tp / (2 * tp + fp + fn))
    assert scores["pooled/accuracy"] == pytest.approx(scores["accuracy"])


def test_values_and_kinds():
    metrics = measured()
    values = metrics.values()
    assert values["id"] == [0, 1, 2, 3]
    assert values["kind"] == ["mask", "hand", "mask", "none"]
    assert set(COLUMNS) < set(values)
    assert math.isnan(values["iou"][3])
    assert [math.isnan(v) for v in values["false_positive"]] == [True, True, True, False]
    rows = metrics.by_kind()
    assert list(rows) == ["mask", "hand", "none"]
    assert rows["mask"]["images"] == 2
    assert rows["mask"]["iou"] == pytest.approx((1 / 3 + 0) / 2)
    assert rows["mask"]["pooled/iou"] == pytest.approx(32 / (32 + 32 + 32 + 36))
    assert math.isnan(rows["none"]["iou"])
    assert rows["none"]["accuracy"] == pytest.approx(0.5)


def test_the_batch_size_does_not_matter_and_reset_forgets():
    one, four = measured(1), measured(4)
    assert one.compute() == pytest.approx(four.compute())
    one.reset()
    assert math.isnan(one.compute()["iou"])
    assert math.isnan(one.compute()["pooled/iou"])


def test_masks_and_logits_give_the_same():
    true, found = square(4, 4, 8), square(6, 5, 8)
    results = []
    for prediction in (found, found.bool(), 4 * found - 2, (4 * found - 2).bfloat16()):
        metrics = SegmentationMetrics()
        metrics.update(prediction, true, ["a"])
        results.append(metrics.compute()["iou"])
    assert results == [iou(found, true).item()] * 4


def test_threshold_is_a_probability():
    logits = torch.tensor([-2.0, -0.5, 0.5, 2.0]).view(1, 1, 2, 2)  # 0.12, 0.38, 0.62, 0.88
    true = torch.ones(1, 1, 2, 2)
    found = []
    for threshold in (0.3, 0.5, 0.8):
        metrics = SegmentationMetrics(threshold)
        metrics.update(logits, true, [0])
        found.append(metrics.compute()["recall"])
    assert found == [0.75, 0.5, 0.25]
    with pytest.raises(ValueError, match=r"1\.5"):
        SegmentationMetrics(1.5)


def test_bad_input_is_named():
    metrics = SegmentationMetrics()
    mask = square(1, 1, 4)
    with pytest.raises(ValueError, match=r"\(1, 1, 16, 16\)"):
        metrics.update(torch.zeros(1, 1, 16, 16), mask, ["a"])
    with pytest.raises(ValueError, match="2 ids for 1"):
        metrics.update(mask, mask, ["a", "b"])
    with pytest.raises(ValueError, match="0 kinds for 1"):
        metrics.update(mask, mask, ["a"], [])
    broken = mask.clone()
    broken[..., 0, 0] = float("nan")
    with pytest.raises(ValueError, match="not finite for face_7"):
        metrics.update(broken, mask, ["face_7"])
    assert metrics.values()["id"] == []
