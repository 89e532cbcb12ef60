"""The Sobel edge term against scikit-image and by hand."""

import numpy as np
import pytest
import torch
from skimage.filters import sobel_h, sobel_v

from deocclude.losses import create_loss
from deocclude.losses.edges import Edge, sobel
from deocclude.losses.inputs import LossInputs


def pair(n=2, height=20, width=17):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(2, n, 3, height, width, generator=generator).unbind()


def test_gradients_are_scikit_images():
    image = pair()[0][0]
    found = sobel(image[None])[0]
    for channel in range(3):
        array = image[channel].numpy().astype(np.float64)
        # scikit-image: weights 1/4 2/4 1/4 along, 1 and -1 across two pixels; here per pixel
        right, down = sobel_v(array) / 2, sobel_h(array) / 2
        for direction, expected in enumerate((right, down)):
            np.testing.assert_allclose(found[direction, channel].numpy(), expected, atol=1e-6)


def test_a_ramp_has_its_slope_and_a_flat_picture_none():
    ramp = torch.arange(9.0).expand(1, 1, 6, 9) / 10
    right, down = sobel(ramp)[0, :, 0]
    torch.testing.assert_close(right[:, 1:-1], torch.full((6, 7), 0.1))
    torch.testing.assert_close(down, torch.zeros(6, 9))
    assert not sobel(torch.full((1, 3, 6, 9), 0.4)).any()


def test_mean_over_the_hole_per_image_then_over_images():
    prediction, target = pair()
    mask = torch.zeros(2, 1, 20, 17)
    mask[0, :, 3:9, 4:12] = 1
    mask[1, :, 0:2, 0:3] = 1
    means = []
    for n, region in enumerate(((slice(3, 9), slice(4, 12)), (slice(0, 2), slice(0, 3)))):
        errors = []
        for channel in range(3):
            for filtered in (sobel_h, sobel_v):
                first, second = (
                    filtered(x[n, channel].double().numpy())[region] / 2
                    for x in (prediction, target)
                )
                errors.append(np.abs(first - second).mean())
        means.append(np.mean(errors))
    term = Edge()(LossInputs(prediction, target, mask))
    assert term.item() == pytest.approx(np.mean(means), rel=1e-5)


def test_equal_images_give_0_and_so_does_no_hole():
    prediction, target = pair()
    full = torch.ones(2, 1, 20, 17)
    assert Edge()(LossInputs(target, target, full)) == 0
    assert Edge()(LossInputs(prediction, target, 0 * full)) == 0
    assert Edge()(LossInputs((target + 0.1), target, full)).item() == pytest.approx(0, abs=1e-6)
    assert Edge()(LossInputs(prediction, target, full)) > 0.01


def test_only_the_hole_and_its_rim_get_gradients():
    prediction, target = pair()
    prediction.requires_grad_()
    mask = torch.zeros(2, 1, 20, 17)
    mask[:, :, 6:10, 5:9] = 1
    Edge()(LossInputs(prediction, target, mask)).backward()
    touched = prediction.grad.abs().sum(dim=(0, 1)) > 0
    assert touched[6:10, 5:9].any()
    touched[5:11, 4:10] = False
    assert not touched.any()


def test_descent_brings_the_edges_back():
    """A blurred picture sharpens: the term falls and so does the distance to the true edges."""
    target = torch.zeros(1, 3, 16, 16)
    target[..., 8:] = 1
    prediction = torch.full_like(target, 0.5).requires_grad_()
    loss = create_loss({"edge": {"weight": 1.0}})
    mask = torch.ones(1, 1, 16, 16)
    optimiser = torch.optim.Adam([prediction], lr=0.05)
    first = None
    for _ in range(60):
        total, _ = loss(LossInputs(prediction, target, mask))
        first = first or total.item()
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
    assert total.item() < 0.3 * first
    assert (prediction[..., 9] - prediction[..., 6]).mean() > 0.5
