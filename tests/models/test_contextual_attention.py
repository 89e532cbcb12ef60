"""Contextual attention against the definition, position by position."""

import math

import pytest
import torch

from deocclude.models.contextual_attention import ContextualAttention


def window(features, row, column, patch):
    """Everything within the window around a position, zero beyond the border."""
    _, height, width = features.shape
    reach, seen = patch // 2, []
    for i in range(row - reach, row + reach + 1):
        for j in range(column - reach, column + reach + 1):
            inside = 0 <= i < height and 0 <= j < width
            seen.append(features[:, i, j] if inside else torch.zeros(len(features)))
    return torch.cat(seen)


def direct(features, mask, temperature, patch):
    """The definition as two loops over positions."""
    out = features.clone()
    for n in range(len(features)):
        places = [(i, j) for i in range(features.shape[2]) for j in range(features.shape[3])]
        known = [p for p in places if mask[n, 0, p[0], p[1]] == 0]
        if not known:
            continue
        for place in (p for p in places if p not in known):
            own = window(features[n], *place, patch)
            weights = []
            for other in known:
                seen = window(features[n], *other, patch)
                cosine = (own @ seen) / (own.norm() * seen.norm())
                weights.append(math.exp(cosine.item() / temperature))
            total = sum(w * features[n, :, i, j] for w, (i, j) in zip(weights, known, strict=True))
            out[n, :, place[0], place[1]] = total / sum(weights)
    return out


@pytest.mark.parametrize("patch", [1, 3])
@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_matches_the_direct_double_loop_with_another_mask_in_every_image(patch, temperature):
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(5, 6, 5, 7, generator=generator)
    mask = (torch.rand(5, 1, 5, 7, generator=generator) > 0.6).float()
    mask[1] = 0  # nothing hidden
    mask[2] = 1  # nothing known
    mask[3] = 1
    mask[3, 0, 4, 6] = 0  # one known position, in a corner
    expected = direct(features, mask, temperature, patch)
    layer = ContextualAttention(temperature, patch)
    result = layer(features, mask)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)
    known = mask.expand_as(features) == 0
    assert torch.equal(result[known], features[known])
    assert torch.equal(result[2], features[2])
    assert not torch.equal(result[0], features[0])
    borrowed = layer.weights(features, mask) @ features.flatten(2).transpose(1, 2)
    borrowed = borrowed.transpose(1, 2).view_as(features)
    hidden = (mask > 0).expand_as(features) & (torch.arange(5) != 2).view(5, 1, 1, 1)
    torch.testing.assert_close(result[hidden], borrowed[hidden], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        result[3], features[3, :, 4:, 6:].expand(6, 5, 7), rtol=1e-5, atol=1e-6
    )


def test_a_low_temperature_copies_the_most_similar_known_position():
    features = torch.tensor([[1.0, 0.0, 2.0, 9.0], [0.0, 1.0, 0.1, 9.0]]).view(1, 2, 1, 4)
    mask = torch.tensor([0.0, 0.0, 1.0, 1.0]).view(1, 1, 1, 4)
    result = ContextualAttention(temperature=0.01)(features, mask)
    torch.testing.assert_close(result[0, :, 0, 2], torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(result[0, :, 0, 3], torch.tensor([0.5, 0.5]))  # equally far


def test_what_is_hidden_in_one_image_does_not_reach_another():
    features = torch.randn(2, 4, 4, 4)
    mask = torch.zeros(2, 1, 4, 4)
    mask[0, :, 1:3] = 1
    alone = ContextualAttention()(features[:1], mask[:1])
    torch.testing.assert_close(ContextualAttention()(features, mask)[:1], alone)


@pytest.mark.parametrize("hidden", [0.0, 1.0])
@pytest.mark.parametrize("patch", [1, 3])
def test_gradients_are_finite_at_the_extremes(hidden, patch):
    features = torch.zeros(2, 4, 4, 4)  # a vector of zeros has no direction
    features[0] = torch.randn(4, 4, 4)
    features.requires_grad_()
    mask = torch.full((2, 1, 4, 4), hidden)
    mask[1, 0, 0, 0] = 1 - hidden
    result = ContextualAttention(patch=patch)(features, mask)
    result.square().sum().backward()
    assert result.isfinite().all()
    assert features.grad.isfinite().all()


def test_known_positions_get_gradients_from_what_borrows_them():
    features = torch.randn(1, 4, 1, 3, requires_grad=True)
    mask = torch.tensor([0.0, 0.0, 1.0]).view(1, 1, 1, 3)
    ContextualAttention()(features, mask)[..., 2].sum().backward()
    assert (features.grad[..., :2].abs().sum(dim=1) > 0).all()


@pytest.mark.parametrize("options", [{"temperature": 0}, {"temperature": -1}, {"patch": 2}])
def test_impossible_options_are_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        ContextualAttention(**options)


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(ValueError, match="does not fit"):
        ContextualAttention()(torch.rand(1, 4, 4, 4), torch.zeros(1, 1, 8, 8))


def test_mixed_precision_leaves_the_weights_of_positions_in_float32():
    """Cosines over 0.1 lie between -10 and 10: rounded to bfloat16, weights would be off by 4 %."""
    features = torch.randn(1, 16, 8, 8)
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 2:6, 2:6] = 1
    attention = ContextualAttention()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = attention(features, mask)
    torch.testing.assert_close(mixed, attention(features, mask), rtol=0, atol=0)
