"""CKA on cases whose answer is known."""

from itertools import permutations

import numpy as np
import pytest
import torch

from deocclude.metrics.cka import LinearCKA, centred_gram


def similarity(batch=None, **features):
    cka = LinearCKA(list(features))
    count = len(next(iter(features.values())))
    for start in range(0, count, batch or count):
        cka.update({name: x[start : start + (batch or count)] for name, x in features.items()})
    return cka.compute()


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def hsic_by_sums(x, y):
    """The U-statistic over all quadruples of different pictures (Song et al. 2012, section 2.3)."""
    k, m = (x @ x.T).numpy(), (y @ y.T).numpy()
    fours = np.array(list(permutations(range(len(k)), 4)))
    i, j, q, r = fours.T
    return (k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q])).mean()


def test_agrees_with_the_direct_sums():
    x, y = noise(8, 5), noise(8, 3, seed=1)
    y[:, 0] += x[:, 0]
    wanted = hsic_by_sums(x, y) / np.sqrt(hsic_by_sums(x, x) * hsic_by_sums(y, y))
    assert similarity(x=x, y=y).values[0, 1] == pytest.approx(wanted, rel=1e-10)


def test_agrees_with_the_biased_formula_on_many_pictures():
    x = noise(3000, 6)
    y = x @ noise(6, 4, seed=1) + noise(3000, 4, seed=2)
    a, b = x - x.mean(0), y - y.mean(0)
    biased = (b.T @ a).norm() ** 2 / ((a.T @ a).norm() * (b.T @ b).norm())  # Kornblith et al. 2019
    assert similarity(x=x, y=y).values[0, 1] == pytest.approx(biased.item(), abs=2e-3)


def test_identical_rotated_scaled_and_shifted_features_are_the_same():
    x = noise(40, 7)
    rotation = torch.linalg.qr(noise(7, 7, seed=1)).Q
    result = similarity(x=x, same=x.clone(), rotated=x @ rotation, scaled=-3 * x + 100)
    np.testing.assert_allclose(result.values, 1, atol=1e-9)
    stretched = similarity(x=x, y=x * torch.arange(1.0, 8) ** 2)
    assert stretched.values[0, 1] < 0.95  # invariant to isotropic scaling only


def test_independent_features_are_near_zero_where_the_biased_estimate_is_not():
    """Sixteen pictures of 400 numbers: the biased estimate says 0.96 of pure noise."""
    result = similarity(16, x=noise(1600, 400), y=noise(1600, 400, seed=1))
    assert abs(result.values[0, 1]) < 0.05
    assert (result.batches, result.count) == (100, 1600)


def test_batches_do_not_change_what_is_estimated_and_the_error_says_how_sure_it_is():
    x = noise(1200, 6)
    y = x @ noise(6, 4, seed=1) + noise(1200, 4, seed=2)
    whole, parts = similarity(x=x, y=y), similarity(30, x=x, y=y)
    error = parts.errors[0, 1]
    assert 0 < error < 0.05
    assert abs(whole.values[0, 1] - parts.values[0, 1]) < 4 * error
    assert np.isnan(whole.errors[0, 1])
    fewer = similarity(30, x=x[:300], y=y[:300]).errors[0, 1]
    assert fewer > 1.2 * error


def test_feature_maps_of_any_shape_and_half_precision():
    maps = noise(10, 3, 4, 4)
    result = similarity(maps=maps, flat=maps.flatten(1), half=maps.bfloat16())
    assert result.values[0, 1] == pytest.approx(1, abs=1e-9)
    assert result.values[0, 2] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("level", [0.0, 0.1, 1e6])
def test_constant_features_have_no_value_but_a_reason(level):
    constant = torch.full((20, 5), level) * torch.arange(1.0, 6)
    result = similarity(x=noise(20, 5), flat=constant)
    assert np.isnan(result.values[0, 1])
    assert np.isnan(result.values[1, 1])
    assert result.values[0, 0] == pytest.approx(1)
    assert list(result.reasons) == ["flat"]
    assert "same for all pictures" in result.reasons["flat"]


def test_nearly_constant_features_still_count():
    x = noise(20, 5)
    assert similarity(x=x, small=1e-4 * x + 1).values[0, 1] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"x": torch.ones(3, 2), "y": torch.ones(3, 2)}, "3 pictures"),
        ({"x": torch.full((5, 2), torch.nan), "y": torch.ones(5, 2)}, "not finite"),
        ({"x": noise(5, 2), "y": noise(6, 2)}, "same pictures"),
    ],
)
def test_bad_batches(features, message):
    with pytest.raises(ValueError, match=message):
        LinearCKA(["x", "y"]).update(features)


def test_no_batch_and_names_that_repeat():
    with pytest.raises(ValueError, match="no batch"):
        LinearCKA(["x"]).compute()
    with pytest.raises(ValueError, match="x, x"):
        LinearCKA(["x", "x"])


def test_a_gram_matrix_is_u_centred():
    gram = centred_gram(noise(9, 4))
    assert gram.diagonal().abs().max() == 0
    assert gram.sum(0).abs().max() < 1e-12
