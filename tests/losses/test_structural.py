"""1 - SSIM as a loss: its value against scikit-image and torchmetrics, and its sign."""

import pytest
import torch
from skimage.metrics import structural_similarity
from torchmetrics.functional.image import structural_similarity_index_measure

from deocclude.losses import create_loss
from deocclude.losses.inputs import LossInputs
from deocclude.losses.structural import SSIMLoss
from deocclude.metrics.image import ssim


def picture(n=2, height=32, width=29):
    """Smooth, in [0, 1], with something at every scale."""
    rows = torch.linspace(0, 7, height)[:, None]
    columns = torch.linspace(0, 5, width)
    phases = torch.arange(3 * n).view(n, 3, 1, 1)
    return 0.5 + 0.25 * torch.sin(rows + phases) + 0.2 * torch.cos(2 * columns * rows / 7 - phases)


def noisy(target, strength, seed=0):
    noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(seed))
    return (target + strength * noise).clamp(0, 1)


def loss(prediction, target, mask=None, region="image"):
    mask = torch.ones_like(target[:, :1]) if mask is None else mask
    return SSIMLoss(region)(LossInputs(prediction, target, mask))


def hole(target):
    mask = torch.zeros_like(target[:, :1])
    mask[0, :, 0:9, 4:12] = 1
    mask[1, :, 20:25, 20:] = 1
    return mask


@pytest.mark.parametrize("strength", [0.02, 0.1, 0.4])
def test_is_one_minus_the_ssim_of_others(strength):
    target = picture()
    prediction = noisy(target, strength)
    theirs = [
        structural_similarity(
            x.permute(1, 2, 0).double().numpy(),
            y.permute(1, 2, 0).double().numpy(),
            channel_axis=2,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1.0,
        )
        for x, y in zip(prediction, target, strict=True)
    ]
    value = loss(prediction, target).item()
    assert value == pytest.approx(1 - sum(theirs) / 2, abs=1e-5)
    assert value == pytest.approx(1 - ssim(prediction, target).mean().item(), abs=1e-5)
    _, full = structural_similarity_index_measure(
        prediction,
        target,
        data_range=1.0,
        sigma=1.5,
        kernel_size=11,
        return_full_image=True,
        reduction="none",
    )  # its mean would count mirrored borders too
    assert value == pytest.approx(1 - full[..., 5:-5, 5:-5].mean().item(), abs=1e-5)


def test_in_the_hole_it_is_the_metric_of_the_hole():
    target = picture()
    prediction, mask = noisy(target, 0.2), hole(target)
    expected = 1 - ssim(prediction, target, mask).mean().item()
    assert loss(prediction, target, mask, "hole").item() == pytest.approx(expected, abs=1e-5)
    assert abs(expected - loss(prediction, target).item()) > 1e-3  # another question


def test_an_image_without_a_hole_asks_nothing():
    target = picture()
    prediction = noisy(target, 0.2).requires_grad_()
    mask = hole(target)
    half = loss(prediction[:1], target[:1], mask[:1], "hole").item() / 2
    mask[1] = 0
    value = loss(prediction, target, mask, "hole")
    value.backward()
    assert value.item() == pytest.approx(half, abs=1e-6)
    assert not prediction.grad[1].any()


@pytest.mark.parametrize("region", ["image", "hole"])
def test_equal_images_give_0(region):
    target = picture()
    assert loss(target, target, hole(target), region).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("region", ["image", "hole"])
def test_worse_images_have_a_larger_loss(region):
    target = picture()
    values = [
        loss(noisy(target, s), target, hole(target), region).item() for s in (0, 0.05, 0.1, 0.3)
    ]
    assert values == sorted(values)
    assert values[0] < 0.01 < values[1]
    negative = loss(1 - target, target, hole(target), region).item()
    assert 1 < negative <= 2  # the structure turned over: SSIM is below 0


@pytest.mark.parametrize("region", ["image", "hole"])
def test_descent_raises_ssim(region):
    """The sign: with SSIM itself as the loss, every step would lower it."""
    target = picture()
    mask = hole(target)
    prediction = noisy(target, 0.2).requires_grad_()
    seen = mask if region == "hole" else None
    before = ssim(prediction.detach(), target, seen).mean()
    total = create_loss({"ssim": {"weight": 80.0, "region": region}})
    optimiser = torch.optim.Adam([prediction], lr=0.01)
    for _ in range(40):
        value, parts = total(LossInputs(prediction, target, mask))
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
    after = ssim(prediction.detach(), target, seen).mean()
    assert after > before + 0.2
    assert parts["ssim"].item() == pytest.approx(value.item() / 80, rel=1e-5)
    assert value.item() == pytest.approx(80 * (1 - after.item()), abs=1)  # towards 0, not -80


def test_gradients_are_those_of_the_definition():
    target = picture(1, 12, 13).double()
    prediction = noisy(target, 0.1).double()
    mask = torch.zeros(1, 1, 12, 13)
    mask[..., 2:5, :6] = 1
    for region in ("image", "hole"):
        x = prediction.float().requires_grad_()
        loss(x, target.float(), mask, region).backward()
        step = torch.zeros_like(x)
        step[0, 1, 3, 4] = 1e-2
        ahead, behind = (
            loss(prediction.float() + s * step, target.float(), mask, region).item()
            for s in (1, -1)
        )
        assert x.grad[0, 1, 3, 4].item() == pytest.approx((ahead - behind) / 2e-2, rel=0.05)


def test_half_precision_outside_does_not_change_the_value():
    target = picture()
    prediction = noisy(target, 0.02)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss(prediction, target)
    assert inside.item() == pytest.approx(loss(prediction, target).item(), abs=1e-7)


def test_what_cannot_be_is_named():
    with pytest.raises(ValueError, match="'face' is not one of image, hole"):
        SSIMLoss("face")
    small = torch.rand(1, 3, 10, 40)
    with pytest.raises(ValueError, match="10 x 40"):
        loss(small, small)
