"""1 - SSIM as a loss: its value against scikit-image and torchmetrics, and its sign."""

import pytest
import torch
from skimage.metrics import structural_similarity
from torchmetrics.functional.image import structural_similarity_index_measure

from deocclude.losses import create_loss
from deocclude.losses.inputs import LossInputs
from deocclude.losses.structural import SSIMLoss, ssim_map
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


@pytest.mark.parametrize("layouts", ["contiguous", "channels last", "mixed"])
def test_value_and_gradients_of_both_images_are_those_of_autograd(layouts):
    """Six images of three channels: more planes than are taken at once."""
    target = picture(6)
    pair = [noisy(target, 0.1), target]
    theirs = [image.double().requires_grad_() for image in pair]
    _, full = structural_similarity_index_measure(
        *theirs, data_range=1.0, sigma=1.5, kernel_size=11, return_full_image=True, reduction="none"
    )
    expected = 1 - full[..., 5:-5, 5:-5].mean()
    expected.backward()
    for i in {"contiguous": (), "channels last": (0, 1), "mixed": (0,)}[layouts]:
        pair[i] = pair[i].contiguous(memory_format=torch.channels_last)
    alone = pair[0].clone().requires_grad_()
    loss(alone, pair[1]).backward()
    ours = [image.clone().requires_grad_() for image in pair]
    value = loss(*ours)
    value.backward()
    assert value.item() == pytest.approx(expected.item(), abs=1e-5)
    torch.testing.assert_close(alone.grad, ours[0].grad, rtol=0, atol=0)
    for mine, other in zip(ours, theirs, strict=True):
        error = (mine.grad - other.grad).abs().max() / other.grad.abs().max()
        assert error < 1e-5


def test_the_written_derivative_is_that_of_the_map():
    target = picture(1, 11, 12)[:, :1]
    images = [image.double().requires_grad_() for image in (noisy(target, 0.1), target)]
    assert torch.autograd.gradcheck(ssim_map, images)


@pytest.mark.parametrize("region", ["image", "hole"])
def test_half_precision_outside_does_not_change_value_or_gradient(region):
    target = picture()
    plain, inside = (noisy(target, 0.02).requires_grad_() for _ in range(2))
    expected = loss(plain, target, hole(target), region)
    expected.backward()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(inside, target, hole(target), region)
        value.backward()
    assert value.item() == pytest.approx(expected.item(), abs=1e-7)
    torch.testing.assert_close(inside.grad, plain.grad, rtol=0, atol=1e-7)


def test_what_cannot_be_is_named():
    with pytest.raises(ValueError, match="'face' is not one of image, hole"):
        SSIMLoss("face")
    small = torch.rand(1, 3, 10, 40)
    with pytest.raises(ValueError, match="10 x 40"):
        loss(small, small)
