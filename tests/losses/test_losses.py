import math

import pytest
import torch
import torch.nn.functional as F

from deocclude.losses import create_loss
from deocclude.losses.adversarial import discriminator_loss
from deocclude.losses.inputs import LossInputs
from deocclude.losses.perceptual import gram_matrix
from deocclude.losses.schedule import Schedule


@pytest.fixture
def inputs():
    torch.manual_seed(0)
    mask = torch.zeros(2, 1, 8, 8)
    mask[0, :, :4] = 1
    mask[1, :, 0, 0] = 1
    return LossInputs(torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8), mask, torch.randn(2, 1, 2, 2))


def value(terms, inputs, epoch=0.0):
    return create_loss(terms)(inputs, epoch)[0].item()


def test_hole_l1_looks_inside_the_hole_only_and_weighs_images_alike(inputs):
    error = (inputs.prediction - inputs.target).abs()
    expected = (error[0, :, :4].mean() + error[1, :, 0, 0].mean()) / 2
    assert value({"hole_l1": {"weight": 2.0}}, inputs) == pytest.approx(2 * expected.item())
    moved = inputs.prediction + (1 - inputs.mask)
    outside = LossInputs(moved, inputs.target, inputs.mask)
    assert value({"hole_l1": {"weight": 2.0}}, outside) == pytest.approx(2 * expected.item())


def test_pixel_terms(inputs):
    assert value({"l1": {"weight": 1}}, inputs) == pytest.approx(
        F.l1_loss(inputs.prediction, inputs.target).item()
    )
    assert value({"l2": {"weight": 1}}, inputs) == pytest.approx(
        F.mse_loss(inputs.prediction, inputs.target).item()
    )
    flat = LossInputs(torch.full((1, 3, 8, 8), 0.3), torch.rand(1, 3, 8, 8), inputs.mask[:1])
    assert value({"tv": {"weight": 1}}, flat) == 0


def test_feature_terms_are_zero_for_equal_features_and_sum_over_layers():
    features = {"vgg19": {"a": torch.rand(1, 4, 5, 5), "b": torch.rand(1, 6, 3, 3)}}
    other = {"vgg19": {k: v + 0.5 for k, v in features["vgg19"].items()}}
    image, mask = torch.rand(1, 3, 8, 8), torch.ones(1, 1, 8, 8)
    terms = {"perceptual": {"weight": 1, "layers": ["a", "b"]}}
    same = LossInputs(image, image, mask, {}, features, features)
    moved = LossInputs(image, image, mask, {}, other, features)
    assert value(terms, same) == 0
    assert value(terms, moved) == pytest.approx(1.0)
    style = {"style": {"weight": 1, "layers": ["a"]}}
    assert value(style, same) == 0
    expected = (gram_matrix(other["vgg19"]["a"]) - gram_matrix(features["vgg19"]["a"])).abs().mean()
    assert value(style, moved) == pytest.approx(expected.item())


def test_gram_matrix_is_the_mean_product_of_channels():
    features = torch.rand(1, 2, 3, 3)
    gram = gram_matrix(features)
    expected = (features[0, 0] * features[0, 1]).sum() / (2 * 9)
    assert gram[0, 0, 1].item() == pytest.approx(expected.item())


@pytest.mark.parametrize("kind", ["bce", "hinge", "lsgan"])
def test_adversarial_terms_pull_the_right_way(kind):
    good, bad = torch.full((1, 1, 2, 2), 3.0), torch.full((1, 1, 2, 2), -3.0)
    image, mask = torch.rand(1, 3, 8, 8), torch.ones(1, 1, 8, 8)
    terms = {"adversarial": {"weight": 1, "kind": kind}}
    fooled, caught = (LossInputs(image, image, mask, {"patch": each}) for each in (good, bad))
    assert value(terms, fooled) < value(terms, caught)
    assert discriminator_loss(kind, good, bad) < discriminator_loss(kind, bad, good)


def test_bce_is_binary_cross_entropy():
    real, fake = torch.randn(5), torch.randn(5)
    expected = (
        F.binary_cross_entropy_with_logits(real, torch.ones(5))
        + F.binary_cross_entropy_with_logits(fake, torch.zeros(5))
    ) / 2
    assert discriminator_loss("bce", real, fake).item() == pytest.approx(expected.item())


def test_schedule_reaches_its_end():
    schedule = Schedule(1.0, 5.0, begin=2, warmup=4)
    assert [schedule(e) for e in (0, 2, 4, 6, 100)] == [1, 1, 3, 5, 5]
    cosine = Schedule(0.0, 1.0, warmup=2, shape="cosine")
    assert cosine(0.5) == pytest.approx((1 - math.cos(math.pi / 4)) / 2)
    assert [Schedule(0, 1, begin=1, shape="step")(e) for e in (0.9, 1)] == [0, 1]


def test_schedule_drives_the_total(inputs):
    terms = {"l1": {"weight": {"start": 0, "end": 2, "warmup": 1}}, "l2": {"weight": 1}}
    late = value(terms, inputs, epoch=1)
    plain = value({"l1": {"weight": 2}, "l2": {"weight": 1}}, inputs)
    assert late == pytest.approx(plain)
    assert value(terms, inputs, epoch=0) == pytest.approx(value({"l2": {"weight": 1}}, inputs))


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({"l3": {"weight": 1}}, "hole_l1"),
        ({"l1": {"weight": 1, "layers": []}}, "layers"),
        ({"adversarial": {"weight": 1, "kind": "wgan"}}, "lsgan"),
        ({"l1": {"weight": {"start": 0, "end": 1, "shape": "round"}}}, "cosine"),
        ({"l1": {"weight": "heavy"}}, "heavy"),
        ({}, "at least one"),
    ],
)
def test_wrong_terms_are_named(terms, words):
    with pytest.raises(ValueError, match=words):
        create_loss(terms)


def test_adversarial_without_discriminator_is_an_error(inputs):
    alone = LossInputs(inputs.prediction, inputs.target, inputs.mask)
    with pytest.raises(ValueError, match="discriminator"):
        value({"adversarial": {"weight": 1}}, alone)


def test_weights_that_are_all_zero_are_an_error(inputs):
    with pytest.raises(ValueError, match="every loss weight is 0"):
        value({"l1": {"weight": 0}, "l2": {"weight": 0}}, inputs)


def test_layers_are_collected_once():
    loss = create_loss(
        {
            "perceptual": {"weight": 1, "layers": ["relu1_1", "relu2_1"]},
            "style": {"weight": 1, "layers": ["relu2_1"], "network": "vgg19"},
            "other": {"weight": 1, "term": "style", "layers": ["relu1_1"], "network": "vgg16"},
        }
    )
    assert loss.layers() == {"vgg19": ["relu1_1", "relu2_1"], "vgg16": ["relu1_1"]}
