"""Frechet distances with known answers."""

import numpy as np
import pytest
import torch

from deocclude.metrics.distribution import GaussianSums, frechet_distance


def sums(features, parts=1, repeats=None):
    gathered = GaussianSums()
    for part in torch.as_tensor(features).chunk(parts):
        gathered.update(part, repeats)
    return gathered


@pytest.fixture
def features():
    return torch.randn(300, 6, generator=torch.Generator().manual_seed(0))


def test_equal_sets_are_at_no_distance(features):
    assert frechet_distance(sums(features), sums(features)) == pytest.approx(0, abs=1e-6)


def test_a_shift_counts_squared_and_a_scale_by_its_deviation(features):
    shifted = sums(features + torch.tensor([3.0, 0, 0, 0, 0, 0]))
    assert frechet_distance(sums(features), shifted) == pytest.approx(9, rel=1e-6)
    centred = features.double() - features.double().mean(0)
    spread = np.trace(np.cov(centred.numpy().T))
    doubled = frechet_distance(sums(centred), sums(2 * centred))
    assert doubled == pytest.approx(spread, rel=1e-6)  # (2 s - s)^2 in every direction


def test_agrees_with_the_matrix_root_of_scipy(features):
    scipy_linalg = pytest.importorskip("scipy.linalg")
    other = features @ torch.randn(6, 6, generator=torch.Generator().manual_seed(1)) + 0.5
    one, two = features.double().numpy(), other.double().numpy()
    root = scipy_linalg.sqrtm(np.cov(one.T) @ np.cov(two.T)).real
    expected = np.square(one.mean(0) - two.mean(0)).sum()
    expected += np.trace(np.cov(one.T) + np.cov(two.T) - 2 * root)
    assert frechet_distance(sums(one), sums(two)) == pytest.approx(expected, rel=1e-6)


def test_batches_and_order_change_nothing(features):
    other = features[torch.randperm(300, generator=torch.Generator().manual_seed(2))]
    for first, second in zip(sums(features).moments(), sums(other, 7).moments(), strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-9, atol=1e-12)


def test_repeats_count_like_the_same_picture_again(features):
    few = features[:10]
    repeated = sums(few, repeats=torch.full((10,), 3))
    for first, second in zip(
        repeated.moments(), sums(few.repeat_interleave(3, 0)).moments(), strict=True
    ):
        np.testing.assert_allclose(first, second, rtol=1e-9, atol=1e-12)
    assert repeated.count == 30


def test_more_noise_is_further_away(features):
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(features.shape, generator=generator)
    distances = [frechet_distance(sums(features), sums(features + s * noise)) for s in (0.1, 1, 3)]
    assert distances == sorted(distances)


def test_fewer_pictures_than_features_still_give_a_number():
    few = torch.randn(4, 50, generator=torch.Generator().manual_seed(4))
    assert frechet_distance(sums(few), sums(few)) == pytest.approx(0, abs=1e-5)
    assert np.isfinite(frechet_distance(sums(few), sums(few + 1)))


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="at least 2 pictures, found 1"):
        sums(torch.ones(1, 3)).moments()
    with pytest.raises(ValueError, match="not finite"):
        sums(torch.full((2, 3), torch.nan))
    gathered = sums(torch.ones(2, 3))
    with pytest.raises(ValueError, match="4 numbers after 3"):
        gathered.update(torch.ones(2, 4))
    with pytest.raises(ValueError, match=r"must be \(N, D\)"):
        gathered.update(torch.ones(2, 3, 4))
