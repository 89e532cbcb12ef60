"""The coarse-to-fine inpainter: what its first half decides, and what its second may add."""

import pytest
import torch
import torch.nn.functional as F

from deocclude.models.blocks import count_parameters
from deocclude.models.coarse_to_fine import CoarseToFine
from deocclude.models.student import Student

SMALL = {
    "coarse_widths": (4, 8, 8),
    "coarse_residual": (0, 0, 1),
    "widths": (4, 8),
}


def picture(height=128, width=128):
    torch.manual_seed(0)
    smooth = F.interpolate(torch.rand(1, 3, 5, 5), (height, width), mode="bicubic").clamp(0, 1)
    mask = torch.zeros(1, 1, height, width)
    mask[..., height // 4 : height // 2, width // 4 : width // 2] = 1
    return smooth * (1 - mask) + mask, mask


def test_it_is_small_enough_to_ship():
    assert count_parameters(CoarseToFine()) < 8e6


@pytest.mark.parametrize("size", [(64, 64), (128, 128), (130, 171), (256, 256)])
def test_any_size_from_64_px_on(size):
    torch.manual_seed(0)
    network = CoarseToFine(**SMALL).eval()
    occluded, mask = picture(*size)
    answer = network(occluded, mask)
    assert answer.shape == occluded.shape
    assert answer.min() >= 0
    assert answer.max() <= 1
    with pytest.raises(ValueError, match="60 x 64; Student of fold 4 needs 64 x 64"):
        network(occluded[..., :60, :64], mask[..., :60, :64])


def test_before_training_known_pixels_stay_and_the_hole_is_filled_smoothly():
    network = CoarseToFine(**SMALL).eval()
    occluded, mask = picture()
    filled = network.fill(occluded, mask)
    known = mask.expand_as(occluded) == 0
    assert torch.allclose(filled[known], occluded[known], atol=1e-6)
    assert (filled[~known] - 1).abs().mean() > 0.1  # no longer the white of the hole
    inside = occluded.clamp(0.01, 0.99)
    assert torch.allclose(network(occluded, mask)[known], inside[known], atol=1e-4)


def test_what_a_hole_hides_reaches_no_answer():
    network = CoarseToFine(**SMALL).eval()
    torch.nn.init.normal_(network.fine.network.head.weight)
    occluded, mask = picture()
    other = occluded + mask * torch.rand_like(occluded) * 0.5 - mask * 0.7
    assert not torch.allclose(other, occluded)
    assert torch.allclose(network.fill(other, mask), network.fill(occluded, mask), atol=1e-6)


def test_a_student_becomes_its_coarse_half():
    torch.manual_seed(0)
    student = Student(start="pull_push", widths=(4, 8, 8), residual=(0, 0, 1))
    network = CoarseToFine(**SMALL)
    fitted = network.fitted(student.state_dict())
    own = network.state_dict()
    assert {name for name in own if name.startswith("coarse.")} == set(fitted)
    assert network.fitted(own) is own  # nothing to fit
    network.load_state_dict(own | fitted)
    assert torch.equal(
        network.coarse.network.head.weight.detach(), student.network.head.weight.detach()
    )


def test_twice_the_fold_starts_from_what_half_of_it_knows():
    torch.manual_seed(0)
    small, large = (CoarseToFine(**SMALL, fold=fold).eval() for fold in (1, 2))
    torch.nn.init.normal_(small.fine.network.head.weight)
    large.load_state_dict(large.fitted(small.state_dict()))
    occluded, mask = picture()
    filled = small.fill(occluded, mask)
    twice = [part.repeat_interleave(2, 2).repeat_interleave(2, 3) for part in (filled, mask)]
    answer = small.fine(filled, mask).repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.allclose(large.fine(*twice), answer, atol=1e-5)


@pytest.mark.parametrize("trains", [True, False])
def test_the_coarse_half_may_be_left_as_it_is(trains):
    network = CoarseToFine(**SMALL, train_coarse=trains).train()
    torch.nn.init.normal_(network.coarse.network.head.weight)
    torch.nn.init.normal_(network.fine.network.head.weight)
    occluded, mask = picture()
    before = {name: value.clone() for name, value in network.coarse.state_dict().items()}
    network(occluded, mask).mean().backward()
    touched = any(p.grad is not None for p in network.coarse.parameters())
    assert touched == trains
    same = all(torch.equal(before[k], v) for k, v in network.coarse.state_dict().items())
    assert same != trains  # statistics of a batch


@pytest.mark.parametrize(
    ("options", "words"),
    [({"fold": 3}, "fold: 3 is not one of 1, 2, 4"), ({"widths": (4,)}, "widths: 1 numbers")],
)
def test_options_that_cannot_be_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        CoarseToFine(**SMALL | options)


def test_it_needs_the_mask():
    with pytest.raises(ValueError, match="mask"):
        CoarseToFine(**SMALL)(torch.rand(1, 3, 64, 64))


def test_mirrored_the_picture_and_its_mirror_image_are_filled_alike():
    plain, mirrored = (CoarseToFine(**SMALL, mirrored=m).eval() for m in (False, True))
    torch.nn.init.normal_(plain.coarse.network.head.weight)
    mirrored.load_state_dict(plain.state_dict())
    occluded, mask = picture()
    turned = occluded.flip(3), mask.flip(3)
    expected = mirrored.fill(*turned).flip(3)
    assert torch.allclose(mirrored.fill(occluded, mask), expected, atol=1e-6)
    assert not torch.allclose(plain.fill(occluded, mask), plain.fill(*turned).flip(3), atol=1e-4)


def test_without_a_fine_half_the_filling_is_the_answer():
    network = CoarseToFine(**SMALL | {"widths": ()}).eval()
    occluded, mask = picture(130, 171)
    assert torch.equal(network(occluded, mask), network.fill(occluded, mask))
    with pytest.raises(ValueError, match="leaves nothing to train"):
        CoarseToFine(widths=(), train_coarse=False)
