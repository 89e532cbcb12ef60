"""The smooth filling: what it keeps, what it makes up, and that it is as good as it claims."""

import pytest
import torch

from deocclude.data.builtin.faces import render_face
from deocclude.data.images import to_tensor
from deocclude.data.masks.source import MaskGenerator
from deocclude.models.pull_push import pull_push
from deocclude.models.student import Student


def face(size=64):
    return to_tensor(render_face(3, size))[None]


@pytest.mark.parametrize("shape", [(64, 64), (33, 50), (1, 7)])
def test_known_pixels_stay_and_the_hole_lies_between_them(shape):
    torch.manual_seed(0)
    image = torch.rand(2, 3, *shape) * 0.4 + 0.3
    mask = (torch.rand(2, 1, *shape) < 0.5).float()
    mask[..., 0] = 0
    filled = pull_push(image * (1 - mask), mask)
    assert torch.equal(filled * (1 - mask), image * (1 - mask))
    assert filled.min() >= image.min() - 1e-5
    assert filled.max() <= image.max() + 1e-5


def test_what_the_hole_hides_does_not_matter():
    image, mask = face(), torch.zeros(1, 1, 64, 64)
    mask[..., 20:50, 10:40] = 1
    assert torch.equal(pull_push(image, mask), pull_push(image * (1 - mask), mask))


def test_a_constant_picture_is_filled_without_a_trace():
    mask = torch.ones(1, 1, 64, 64)
    mask[..., 5, 9] = 0
    assert torch.allclose(pull_push(torch.full((1, 3, 64, 64), 0.3), mask), torch.tensor(0.3))


def test_it_beats_the_mean_colour_of_what_is_known():
    image = face()
    for index in range(4):
        mask = torch.from_numpy(MaskGenerator(64, 0).fixed("test", index, 1, False))[None, None]
        mask = mask.float()
        known = image.flatten(2)[..., mask.flatten() == 0]
        flat = torch.where(mask > 0, known.mean(-1)[..., None, None], image)
        smooth = pull_push(image, mask)
        assert (smooth - image).square().mean() < 0.8 * (flat - image).square().mean()


def test_a_student_that_starts_from_it_begins_there_and_learns():
    student = Student(width=8, depth=3, start="pull_push")
    image, mask = face(), torch.zeros(1, 1, 64, 64)
    mask[..., 16:48, 16:48] = 1
    prediction = student(image * (1 - mask) + mask, mask)
    assert torch.allclose(prediction, pull_push(image, mask).clamp(0.01, 0.99), atol=1e-3)
    prediction.mean().backward()
    assert student.network.head.weight.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="start: 'telea' is not one of fill, pull_push"):
        Student(start="telea")
