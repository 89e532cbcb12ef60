"""The compact student: how small it is, and that folding pixels loses none."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from deocclude.models.blocks import count_parameters
from deocclude.models.student import Student


def test_it_is_small_enough_for_real_time_on_a_cpu():
    """8 M parameters are the limit. At 256 px, 1.75 G multiply-accumulates took 48 ms on one core
    of an AMD EPYC and 24 ms on two, the best of 40 calls on a busy machine."""
    student = Student().eval()
    assert count_parameters(student) == pytest.approx(4.37e6, rel=1e-2)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        student(torch.rand(1, 3, 256, 256), torch.ones(1, 1, 256, 256))
    assert counter.get_total_flops() / 2 < 1.8e9


@pytest.mark.parametrize("fold", [1, 2])
def test_every_pixel_of_the_input_counts_and_every_pixel_of_the_output_is_its_own(fold):
    torch.manual_seed(0)
    student = Student(width=16, depth=2, fold=fold, norm="instance").eval()
    occluded = torch.rand(1, 3, 33, 35, requires_grad=True)
    answer = student(occluded, torch.ones(1, 1, 33, 35))
    assert len(answer[0, 0, 8:12, 8:12].unique()) == 16
    answer.sum().backward()
    assert (occluded.grad != 0).float().mean() > 0.9


@pytest.mark.parametrize("fold", [0, 3])
def test_a_fold_that_there_is_not_is_refused(fold):
    with pytest.raises(ValueError, match=f"fold: {fold} is not one of 1, 2, 4"):
        Student(fold=fold)
    with pytest.raises(ValueError, match="32 x 32; Student of fold 4 needs 64 x 64"):
        Student(width=4, fold=4)(torch.rand(1, 3, 32, 32), torch.ones(1, 1, 32, 32))


@pytest.mark.parametrize("fold", [1, 2])
def test_twice_the_fold_starts_from_what_half_of_it_knows(fold):
    """On a picture of equal pixels in squares it answers just like the smaller one."""
    torch.manual_seed(0)
    small = Student(width=8, depth=3, fold=fold).eval()
    large = Student(width=8, depth=3, fold=2 * fold).eval()
    large.load_state_dict(large.fitted(small.state_dict()))
    occluded, mask = torch.rand(1, 3, 40, 48), (torch.rand(1, 1, 40, 48) < 0.3).float()
    twice = [part.repeat_interleave(2, 2).repeat_interleave(2, 3) for part in (occluded, mask)]
    answer = small(occluded, mask).repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.allclose(large(*twice), answer, atol=1e-5)
    own = large.state_dict()
    assert large.fitted(own) is own  # nothing to fit


def test_it_needs_the_mask():
    with pytest.raises(ValueError, match="mask"):
        Student(width=4)(torch.rand(1, 3, 32, 32))
