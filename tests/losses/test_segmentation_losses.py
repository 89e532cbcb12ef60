import math

import pytest
import torch

from deocclude.losses import SEGMENTATION_TERMS, create_loss
from deocclude.losses.segmentation import SegmentationInputs


def value(term, inputs, **options):
    loss = create_loss({term: {"weight": 1, **options}}, SEGMENTATION_TERMS)
    return loss(inputs)[0]


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 1, 5, 6, generator=generator)
    mask = (torch.rand(3, 1, 5, 6, generator=generator) > 0.6).float()
    mask[2] = 0
    return SegmentationInputs(logits, mask)


def probability_of_truth(inputs):
    found = inputs.logits.sigmoid()
    return torch.where(inputs.mask > 0, found, 1 - found)


def test_bce_is_the_mean_log_probability_of_the_truth(inputs):
    expected = -probability_of_truth(inputs).log().mean()
    assert value("bce", inputs).item() == pytest.approx(expected.item(), rel=1e-5)


def test_dice_by_hand_with_images_weighing_alike():
    """Certain logits on 4 of 16 and 1 of 16 pixels, of which 2 and 1 are right."""
    logits = torch.full((2, 1, 4, 4), -50.0)
    mask = torch.zeros(2, 1, 4, 4)
    logits[0, 0, 0] = 50
    mask[0, 0, :2, :2] = 1
    logits[1, 0, 0, 0] = 50
    mask[1, 0, 0, 0] = 1
    expected = ((1 - (2 * 2 + 1) / (4 + 4 + 1)) + 0) / 2
    assert value("dice", SegmentationInputs(logits, mask)).item() == pytest.approx(expected)


def test_dice_of_an_empty_mask_falls_with_the_pixels_marked():
    mask = torch.zeros(1, 1, 8, 8)
    few, many = (SegmentationInputs(torch.full_like(mask, x), mask) for x in (-8.0, 0.0))
    assert value("dice", few) < 0.05
    assert value("dice", many) == pytest.approx(1 - 1 / 33)


def direct_lovasz(logits, mask):
    """The Lovasz extension of the Jaccard loss, from its definition on sets of wrong pixels."""
    errors = [max(0.0, 1 - f * (2 * y - 1)) for f, y in zip(logits, mask, strict=True)]
    order = sorted(range(len(errors)), key=lambda i: -errors[i])
    truth = {i for i, y in enumerate(mask) if y}

    def jaccard_loss(wrong):
        union = truth | wrong
        return len(wrong) / len(union) if union else 0.0

    total, wrong = 0.0, set()
    for i in order:
        before = jaccard_loss(wrong)
        wrong = wrong | {i}
        total += errors[i] * (jaccard_loss(wrong) - before)
    return total


def test_lovasz_equals_its_direct_form(inputs):
    expected = [
        direct_lovasz(f.flatten().tolist(), y.flatten().tolist())
        for f, y in zip(inputs.logits, inputs.mask, strict=True)
    ]
    assert value("lovasz", inputs).item() == pytest.approx(sum(expected) / 3, rel=1e-5)


def test_lovasz_is_one_minus_iou_for_hinge_errors_of_one():
    """Logits of 0 on the wrong pixels (error 1) and sure elsewhere: wrong 3, union 4 + 1."""
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., :2, :2] = 1
    logits = 9 * (2 * mask - 1)
    logits[..., 0, :2] = 0
    logits[..., 3, 3] = 0
    assert value("lovasz", SegmentationInputs(logits, mask)).item() == pytest.approx(3 / 5)


def test_focal_is_its_equation(inputs):
    p = probability_of_truth(inputs)
    alpha = torch.where(inputs.mask > 0, 0.3, 0.7)
    expected = (-alpha * (1 - p) ** 1.5 * p.log()).mean()
    found = value("focal", inputs, gamma=1.5, alpha=0.3)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_focal_without_its_parameters_is_bce(inputs):
    plain = value("focal", inputs, gamma=0.0, alpha=None)
    torch.testing.assert_close(plain, value("bce", inputs))


@pytest.mark.parametrize("term", SEGMENTATION_TERMS)
def test_every_term_falls_towards_the_truth_and_is_finite_far_off(term, inputs):
    wrong, right = (
        SegmentationInputs(scale * (2 * inputs.mask - 1), inputs.mask) for scale in (-3.0, 3.0)
    )
    assert value(term, right) < value(term, inputs) < value(term, wrong)
    far = (-1e4 * (2 * inputs.mask - 1)).requires_grad_()
    loss = value(term, SegmentationInputs(far, inputs.mask))
    loss.backward()
    assert math.isfinite(loss.item())
    assert far.grad.isfinite().all()


@pytest.mark.parametrize("term", SEGMENTATION_TERMS)
def test_a_batch_is_the_mean_of_its_images(term, inputs):
    alone = [
        value(term, SegmentationInputs(inputs.logits[i : i + 1], inputs.mask[i : i + 1]))
        for i in range(3)
    ]
    torch.testing.assert_close(value(term, inputs), torch.stack(alone).mean())


@pytest.mark.parametrize("term", SEGMENTATION_TERMS)
def test_auxiliary_logits_are_weighed(term, inputs):
    other = SegmentationInputs(-inputs.logits, inputs.mask)
    both = SegmentationInputs(inputs.logits, inputs.mask, auxiliary=other.logits)
    main, extra = value(term, inputs), value(term, other)
    torch.testing.assert_close(value(term, both), main + 0.4 * extra)
    torch.testing.assert_close(value(term, both, auxiliary_weight=2.0), main + 2 * extra)
    torch.testing.assert_close(value(term, both, auxiliary_weight=0), main)


def test_half_precision_logits_are_summed_in_float32():
    mask = torch.zeros(1, 1, 256, 256)
    mask[..., :128, :] = 1
    logits = (4 * (2 * mask - 1)).bfloat16()
    found = value("dice", SegmentationInputs(logits, mask))
    expected = value("dice", SegmentationInputs(logits.float(), mask))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)


def test_logits_of_another_shape_are_an_error():
    with pytest.raises(ValueError, match=r"\(1, 1, 8, 8\)"):
        SegmentationInputs(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 8, 8))


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({"l1": {"weight": 1}}, "lovasz"),
        ({"dice": {"weight": 1, "gamma": 2}}, "smoothing"),
        ({"dice": {"weight": 1, "smoothing": 0}}, "smoothing: 0"),
        ({"focal": {"weight": 1, "alpha": 2}}, "alpha: 2"),
        ({"bce": {"weight": 1, "auxiliary_weight": -1}}, "auxiliary_weight: -1"),
    ],
)
def test_wrong_terms_are_named(terms, words):
    with pytest.raises(ValueError, match=words):
        create_loss(terms, SEGMENTATION_TERMS)
