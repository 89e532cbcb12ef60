"""The term of distillation: how far a prediction is from a teacher's."""

from dataclasses import replace

from torch import Tensor

from deocclude.losses.inputs import LossInputs
from deocclude.losses.pixel import HoleL1


class Imitation(HoleL1):
    """Mean absolute difference to the teacher's answer over the hole's pixels, a mean per image,
    then over images.

    Hinton et al. (2015) for pictures. The teacher's answer is smooth where the target cannot be
    known from what is seen, so it has less noise than the target. ValueError without a teacher.
    """

    needs_teacher = True

    def forward(self, inputs: LossInputs) -> Tensor:
        if inputs.teacher is None:
            raise ValueError("imitation: there is no teacher's answer to compare with")
        return super().forward(replace(inputs, target=inputs.teacher))
