"""Known answers of the image metrics, and their agreement with scikit-image."""

import math

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from deocclude.metrics.image import ImageMetrics, finite_mean, l1, mse, psnr, ssim, ssim_map


def batch(count=4, size=32, seed=0):
    """Smooth images, noisy predictions of them and a square hole each."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 5, 5, generator=generator)
    target = torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")
    noise = torch.randn(target.shape, generator=generator)
    levels = torch.linspace(0.02, 0.2, count).view(-1, 1, 1, 1)
    mask = torch.zeros(count, 1, size, size)
    mask[..., 4:20, 9:30] = 1
    return (target + levels * noise).clamp(0, 1), target, mask


def measure(prediction, target, mask, step, order=None, **options):
    metrics = ImageMetrics(**options)
    order = list(range(len(target))) if order is None else order
    for start in range(0, len(order), step):
        part = order[start : start + step]
        metrics.update(prediction[part], target[part], mask[part], part)
    return metrics


def test_constant_offset_has_known_values():
    target = torch.full((1, 3, 16, 16), 0.5)
    prediction = target + 0.1
    assert l1(prediction, target).item() == pytest.approx(0.1, abs=1e-6)
    assert mse(prediction, target).item() == pytest.approx(0.01, abs=1e-6)
    assert psnr(prediction, target).item() == pytest.approx(20, abs=1e-4)
    luminance = (2 * 0.5 * 0.6 + 1e-4) / (0.5**2 + 0.6**2 + 1e-4)
    assert ssim(prediction, target).item() == pytest.approx(luminance, abs=1e-4)


def test_hole_only_counts_the_hole_only():
    target = torch.zeros(1, 3, 16, 16)
    prediction, mask = target.clone(), torch.zeros(1, 1, 16, 16)
    mask[..., :4, :] = 1
    prediction[..., :2, :] = 0.5
    prediction[..., 8:, :] = 1.0
    assert l1(prediction, target, mask).item() == pytest.approx(0.25)
    assert mse(prediction, target, mask).item() == pytest.approx(0.125)
    assert psnr(prediction, target, mask).item() == pytest.approx(10 * math.log10(8), abs=1e-5)


def test_identical_images_are_perfect():
    _, target, mask = batch()
    metrics = measure(target, target, mask, 4)
    means = metrics.compute()
    for view in ("composed", "composed_hole", "raw", "raw_hole"):
        assert means[f"{view}/psnr"] == math.inf
        assert means[f"{view}/l1"] == means[f"{view}/mse"] == 0
        assert means[f"{view}/ssim"] == pytest.approx(1, abs=1e-6)
    assert metrics.infinite()["raw/psnr"] == 4


def test_worse_images_score_worse():
    _, target, mask = batch()
    target = target[:1].expand(4, -1, -1, -1)
    noise = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    levels = torch.tensor([0.01, 0.05, 0.1, 0.3]).view(-1, 1, 1, 1)
    values = measure((target + levels * noise).clamp(0, 1), target, mask, 4).values()
    for column, kept in values.items():
        if column.endswith(("/psnr", "/ssim")):
            assert kept == sorted(kept, reverse=True), column
        elif column != "id":
            assert kept == sorted(kept), column
    assert len(set(values["raw/ssim"])) == 4


def test_batch_size_and_order_change_nothing():
    prediction, target, mask = batch(7)
    whole = measure(prediction, target, mask, 7).values()
    shuffled = measure(prediction, target, mask, 3, [4, 0, 6, 2, 5, 1, 3]).values()
    back = np.argsort(shuffled["id"])
    for column in whole:
        np.testing.assert_allclose(np.array(shuffled[column])[back], whole[column], rtol=1e-5)


@pytest.mark.parametrize("size", [(32, 32), (41, 27)])
def test_ssim_agrees_with_scikit_image_map_and_mean(size):
    generator = torch.Generator().manual_seed(3)
    target = torch.rand(2, 3, *size, generator=generator)
    prediction = (target + 0.2 * torch.rand(target.shape, generator=generator)).clamp(0, 1)
    ours, full = ssim(prediction, target), ssim_map(prediction, target)
    for index in range(2):
        first, second = (t[index].movedim(0, -1).numpy() for t in (prediction, target))
        mean, reference = structural_similarity(
            first.astype(np.float64),
            second.astype(np.float64),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1,
            channel_axis=-1,
            full=True,
        )
        assert ours[index].item() == pytest.approx(mean, abs=1e-4)
        np.testing.assert_allclose(full[index].movedim(0, -1), reference, atol=1e-4)


def test_composed_ignores_what_is_predicted_outside_the_hole():
    prediction, target, mask = batch()
    changed = torch.where(mask > 0.5, prediction, 1 - prediction)
    first = measure(prediction, target, mask, 4).values()
    second = measure(changed, target, mask, 4).values()
    assert first["composed/psnr"] == second["composed/psnr"]
    assert first["raw_hole/l1"] == second["raw_hole/l1"] == first["composed_hole/l1"]
    assert first["raw/psnr"] != second["raw/psnr"]


def test_composed_uses_the_occluded_picture_when_it_is_given():
    prediction, target, mask = batch()
    metrics = ImageMetrics(("l1",), views=("composed",))
    metrics.update(prediction, target, mask, range(4), occluded=(target + 0.1).clamp(0, 1))
    assert (
        metrics.compute()["composed/l1"]
        > measure(prediction, target, mask, 4).compute()["composed/l1"]
    )


def test_mask_without_hole_gives_nan_and_leaves_the_mean():
    prediction, target, mask = batch(2)
    mask[1] = 0
    metrics = measure(prediction, target, mask, 2)
    assert math.isnan(metrics.values()["raw_hole/l1"][1])
    assert metrics.compute()["raw_hole/l1"] == metrics.values()["raw_hole/l1"][0]


def test_finite_mean_counts_infinite_values():
    assert finite_mean([20.0, 30.0, math.inf]) == (25.0, 1)
    assert finite_mean([math.inf]) == (math.inf, 1)
    assert math.isnan(finite_mean([])[0])


def test_lpips_is_asked_only_for_whole_images():
    prediction, target, mask = batch()
    learned = {"lpips": lambda a, b: (a - b).abs().amax((1, 2, 3))}
    metrics = measure(prediction, target, mask, 2, learned=learned)
    assert [name for name in metrics.columns if "lpips" in name] == ["composed/lpips", "raw/lpips"]
    assert len(metrics.values()["raw/lpips"]) == 4
    assert not any("lpips" in name for name in measure(prediction, target, mask, 4).columns)


def test_reset_forgets():
    prediction, target, mask = batch()
    metrics = measure(prediction, target, mask, 4)
    metrics.reset()
    assert metrics.values()["id"] == []
    metrics.update(target, target, mask, range(4))
    assert metrics.compute()["raw/l1"] == 0


def test_bad_input_is_named():
    prediction, target, mask = batch()
    broken = prediction.clone()
    broken[2, 0, 0, 0] = math.nan
    metrics = ImageMetrics()
    with pytest.raises(ValueError, match=r"not finite for c\.png"):
        metrics.update(broken, target, mask, ["a.png", "b.png", "c.png", "d.png"])
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        metrics.update(prediction * 2 - 1, target, mask, range(4))
    with pytest.raises(ValueError, match="3 ids for 4 images"):
        metrics.update(prediction, target, mask, range(3))
    with pytest.raises(ValueError, match="target's shape"):
        metrics.update(prediction[..., :16], target, mask, range(4))
    with pytest.raises(ValueError, match=r"psnrr.*valid: l1, mse"):
        ImageMetrics(("psnrr",))
    with pytest.raises(ValueError, match="at least 11"):
        ssim(prediction[..., :8, :8], target[..., :8, :8])
    assert metrics.values()["id"] == []
