"""The hole's share of the adversarial game, its gradient penalty, feature matching."""

import pytest
import torch
from torch import nn

from deocclude.losses import create_loss
from deocclude.losses.adversarial import discriminator_loss, gradient_penalty
from deocclude.losses.inputs import LossInputs


@pytest.fixture
def mask():
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 1, 1] = 1  # one pixel of the first of 2 x 2 patches
    return mask


def test_only_the_patches_of_the_hole_play(mask):
    fake = torch.tensor([[[[2.0, -7.0], [9.0, 4.0]]]])
    image = torch.rand(1, 3, 8, 8)
    inputs = LossInputs(image, image, mask, {"patch": fake})
    term = create_loss({"adversarial": {"weight": 1, "kind": "hinge", "region": "hole"}})
    assert term(inputs)[0].item() == -2
    assert discriminator_loss("lsgan", fake, fake, mask).item() == pytest.approx((1 + 4) / 2)
    none = discriminator_loss("bce", fake, fake, torch.zeros_like(mask))
    assert none.item() == 0


def test_the_penalty_is_half_the_squared_slope():
    class Plane(nn.Module):
        def forward(self, image, mask):
            return 3 * image.sum(dim=1, keepdim=True)

    image, mask = torch.rand(2, 3, 4, 4), torch.ones(2, 1, 4, 4)
    mask[1, :, :, 2:] = 0
    whole = gradient_penalty(Plane(), image, mask, "image")
    assert whole.item() == pytest.approx(48 * (3 / 16) ** 2 / 2)
    hole = gradient_penalty(Plane(), image, mask, "hole")
    second = 24 * (3 / 8) ** 2 / 2  # half the pixels count, each twice as much
    assert hole.item() == pytest.approx((whole.item() + second) / 2)


def test_feature_matching_sums_the_mean_differences_of_layers(mask):
    layers = [torch.rand(1, 4, 4, 4), torch.rand(1, 8, 2, 2)]
    image = torch.rand(1, 3, 8, 8)
    moved = [(layer + 0.25, layer) for layer in layers]
    inputs = LossInputs(image, image, mask, seen={"patch": moved})
    loss = create_loss({"feature_matching": {"weight": 2}})
    assert loss(inputs)[0].item() == pytest.approx(1.0)
    assert loss.matched(["patch"]) == ["patch"]
    with pytest.raises(ValueError, match=r"losses\.feature_matching: .*must name.*local, patch"):
        loss.matched(["local", "patch"])


@pytest.mark.parametrize(
    ("options", "words"),
    [({"region": "holes"}, "region.*image, hole"), ({"r1": -1}, "r1.*-1.*at least 0")],
)
def test_what_cannot_be_is_refused_by_name(options, words):
    with pytest.raises(ValueError, match=words):
        create_loss({"adversarial": {"weight": 1, **options}})
