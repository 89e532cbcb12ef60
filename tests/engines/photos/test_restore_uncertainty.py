"""What a restored photo says of its own certainty: by face, by ensemble, without a face."""

import numpy as np
import pytest
import torch
from restore_stubs import SIZE, Flat, face_at, make, mask_of, photo_with
from torch import nn

from deocclude.models.ensemble import Ensemble


class Slanted(Flat):
    """Black on the left, white on the right, whichever way round its input is."""

    def forward(self, occluded, mask):
        super().forward(occluded, mask)
        return torch.linspace(0, 1, SIZE).expand_as(occluded)


def ensemble(*levels):
    network = Ensemble([str(level) for level in levels])
    return network.attach([Flat(level) for level in levels])


def test_an_ensembles_uncertainty_is_its_members_disagreement():
    photo = photo_with((190, 170, 240, 200))
    deoccluder = make(ensemble(0.2, 0.6))
    faces = [face_at(240, (250, 200))]
    result = deoccluder.restore(photo, faces=faces, uncertainty=True)
    hole = result.mask == 1
    np.testing.assert_allclose(result.uncertainty[hole], 0.2, atol=1e-4)
    assert (result.uncertainty[~hole] == 0).all()
    np.testing.assert_array_equal(result.restored, deoccluder.restore(photo, faces=faces).restored)


@pytest.mark.parametrize("flip", [False, True])
def test_asking_for_it_changes_no_pixel(flip):
    photo, faces = photo_with((190, 170, 240, 200)), [face_at(240, (250, 200))]
    deoccluder = make(Slanted(), flip=flip)
    plain = deoccluder.restore(photo, faces=faces)
    asked = deoccluder.restore(photo, faces=faces, uncertainty=True)
    np.testing.assert_array_equal(plain.restored, asked.restored)
    assert plain.uncertainty is None
    assert asked.uncertainty[asked.mask == 1].min() > 0.2


def test_flip_restores_the_mean_of_both_ways():
    photo = photo_with((190, 170, 240, 200), level=127)
    faces = [face_at(240, (250, 200))]
    result = make(Slanted(), flip=True).restore(photo, faces=faces, blend="none")
    inside = result.restored[result.mask == 1].astype(int)
    assert np.abs(inside - 127).max() <= 2


@pytest.mark.parametrize(("network", "expected"), [(Slanted(), 0.6), (ensemble(0.2, 0.6), 0.2)])
def test_a_mask_outside_of_faces_has_an_uncertainty_too(network, expected):
    """The photo's centred square is 400 px: 0.8 of its width is 0.6 away from its mirror image."""
    photo = photo_with((180, 366, 220, 374))
    result = make(network, segmenter=None).restore(photo, mask_of(photo), uncertainty=True)
    hole = result.mask == 1
    np.testing.assert_array_equal(hole, mask_of(photo) == 1)
    np.testing.assert_allclose(result.uncertainty[hole], expected, atol=0.04)
    assert (result.uncertainty[~hole] == 0).all()
    assert result.uncertainty.dtype == np.float32


def test_a_doubt_that_is_not_finite_is_no_result():
    class Lost(nn.Module):
        def forward(self, occluded, mask):
            answer = torch.full_like(occluded, 0.5)
            answer[len(answer) // 2 :] = float("nan")  # the mirrored half of a batch of two
            return answer if len(answer) > 1 else torch.full_like(occluded, 0.5)

    photo, faces = photo_with((190, 170, 240, 200)), [face_at(240, (250, 200))]
    assert make(Lost()).restore(photo, faces=faces).changed
    with pytest.raises(ValueError, match="not finite"):
        make(Lost()).restore(photo, faces=faces, uncertainty=True)
