"""The distillation term."""

import pytest
import torch

from deocclude.losses import create_loss
from deocclude.losses.imitation import Imitation
from deocclude.losses.inputs import LossInputs


def make_inputs(**changes) -> LossInputs:
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(3, 2, 3, 16, 16, generator=generator)
    mask = torch.zeros(2, 1, 16, 16)
    mask[0, :, :2, :2] = 1
    mask[1, :, :8] = 1
    known = dict(zip(("prediction", "target", "teacher"), pictures, strict=True))
    return LossInputs(**{**known, "mask": mask, **changes})


def test_it_is_the_mean_difference_to_the_teacher_in_the_hole_image_by_image():
    inputs = make_inputs()
    difference = (inputs.prediction - inputs.teacher).abs()
    expected = (difference[0, :, :2, :2].mean() + difference[1, :, :8].mean()) / 2
    torch.testing.assert_close(Imitation()(inputs), expected)


def test_neither_the_target_nor_what_lies_around_the_hole_counts():
    inputs = make_inputs()
    other = inputs.teacher + (1 - inputs.mask)
    for changes in ({"target": torch.zeros(2, 3, 16, 16)}, {"teacher": other}):
        torch.testing.assert_close(Imitation()(make_inputs(**changes)), Imitation()(inputs))
    assert Imitation()(make_inputs(prediction=inputs.teacher)) == 0


def test_the_gradient_goes_towards_the_teacher():
    prediction = torch.full((2, 3, 16, 16), 0.5, requires_grad=True)
    inputs = make_inputs(prediction=prediction)
    Imitation()(inputs).backward()
    inside = inputs.mask.expand_as(prediction) == 1
    towards = torch.sign(prediction.detach() - inputs.teacher)
    assert torch.equal(torch.sign(prediction.grad)[inside], towards[inside])
    assert not prediction.grad[~inside].any()


def test_without_a_teacher_it_says_so():
    with pytest.raises(ValueError, match="no teacher"):
        Imitation()(make_inputs(teacher=None))


def test_a_sum_knows_which_of_its_terms_are_taught():
    terms = {"hole_l1": {"weight": 1.0}, "copy": {"weight": 0.5, "term": "imitation"}}
    assert create_loss(terms).taught() == ["copy"]
    assert create_loss({"hole_l1": {"weight": 1.0}}).taught() == []
