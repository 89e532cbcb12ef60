"""The published definitions keep their published peculiarities."""

import pytest
import torch

from deocclude.metrics import image
from deocclude.metrics.as_published import (
    AsPublishedMetrics,
    batch_psnr,
    first_rows_ssim,
    relative_l1,
)


def constant(*levels):
    return torch.stack([torch.full((3, 16, 16), level) for level in levels])


def test_relative_l1_is_relative():
    assert relative_l1(constant(0.6), constant(0.4)).item() == pytest.approx(0.2)
    assert relative_l1(constant(0.3), constant(0.2)).item() == pytest.approx(0.2)


def test_psnr_is_of_the_joint_error():
    target, prediction = constant(0.5, 0.5), constant(0.5, 0.6)
    assert batch_psnr(prediction, target).item() == pytest.approx(23.0103, abs=1e-3)
    assert torch.isinf(image.psnr(prediction, target)[0])


def test_ssim_sees_the_first_three_rows_only():
    target = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    below = target.clone()
    below[..., 3:, :] = 0
    assert first_rows_ssim(below, target).item() == pytest.approx(1, abs=1e-5)
    above = target.clone()
    above[..., :3, :] = 0
    assert first_rows_ssim(above, target).item() < 0.5


def test_mean_over_batches_depends_on_the_batches():
    target, prediction = constant(0.5, 0.5, 0.5), constant(0.5001, 0.6, 0.7)
    joint, split = AsPublishedMetrics(), AsPublishedMetrics()
    joint.update(prediction, target)
    for index in range(3):
        split.update(prediction[index : index + 1], target[index : index + 1])
    assert abs(joint.compute()["batch_psnr"] - split.compute()["batch_psnr"]) > 1
    split.reset()
    with pytest.raises(ValueError, match="no batch"):
        split.compute()
