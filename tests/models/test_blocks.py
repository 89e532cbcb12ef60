import pytest
import torch

from deocclude.models.blocks import (
    SelfAttention2d,
    SeparableConv2d,
    WideConvTranspose2d,
    pad_to_multiple,
)


def direct_attention(layer: SelfAttention2d, x: torch.Tensor) -> torch.Tensor:
    """SAGAN's equations, position by position; the published code sums over the wrong index."""
    n, channels, height, width = x.shape
    query, key, value = (f(x).flatten(2) for f in (layer.query, layer.key, layer.value))
    out = torch.zeros(n, channels, height * width)
    for b in range(n):
        for i in range(height * width):
            for j in range(height * width):
                if layer.normalise == "keys":
                    weights = (query[b, :, i] @ key[b]).softmax(0)
                    out[b, :, i] += weights[j] * value[b, :, j]
                else:
                    weights = (query[b, :, j] @ key[b]).softmax(0)
                    out[b, :, i] += weights[i] * value[b, :, j]
    return x + layer.gamma * out.view_as(x)


@pytest.mark.parametrize("normalise", ["keys", "published"])
def test_attention_equals_its_direct_form(normalise):
    torch.manual_seed(0)
    layer = SelfAttention2d(16, normalise)
    torch.nn.init.constant_(layer.gamma, 0.7)
    x = torch.randn(2, 16, 3, 2)
    torch.testing.assert_close(layer(x), direct_attention(layer, x), atol=1e-5, rtol=1e-5)
    value = layer.value(x).flatten(2).transpose(1, 2)
    by_weights = x + layer.gamma * (layer.weights(x) @ value).transpose(1, 2).reshape(x.shape)
    torch.testing.assert_close(layer(x), by_weights, atol=1e-5, rtol=1e-5)


def test_attention_starts_as_identity_and_the_two_orders_differ():
    torch.manual_seed(0)
    x = torch.randn(1, 16, 4, 4)
    right, published = SelfAttention2d(16), SelfAttention2d(16, "published")
    torch.testing.assert_close(right(x), x)
    published.load_state_dict(right.state_dict())
    for layer in (right, published):
        torch.nn.init.ones_(layer.gamma)
    assert not torch.allclose(right(x), published(x), atol=1e-3)


def test_normalised_queries_and_keys_stay_soft_whatever_the_size_of_the_features():
    torch.manual_seed(0)
    x = 20 * torch.randn(1, 64, 4, 4)
    layer = SelfAttention2d(64, query_key_norm=True)
    hard = SelfAttention2d(64)
    hard.load_state_dict(layer.state_dict())
    query, key = (
        torch.nn.functional.layer_norm(part(x).flatten(2).transpose(1, 2), (8,))
        for part in (layer.query, layer.key)
    )
    weights = (query @ key.transpose(1, 2) / 8**0.5).softmax(-1)
    value = layer.value(x).flatten(2).transpose(1, 2)
    torch.nn.init.ones_(layer.gamma)
    wanted = x + (weights @ value).transpose(1, 2).reshape(x.shape)
    torch.testing.assert_close(layer(x), wanted, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(layer.weights(x), weights)
    plain = (hard.query(x).flatten(2).transpose(1, 2) @ hard.key(x).flatten(2)).softmax(-1)
    assert weights.amax(-1).mean() < 0.6 < 0.9 < plain.amax(-1).mean()


def test_attention_refuses_wrong_options():
    with pytest.raises(ValueError, match="values"):
        SelfAttention2d(16, "values")
    with pytest.raises(ValueError, match="published"):
        SelfAttention2d(16, "published", query_key_norm=True)
    with pytest.raises(ValueError, match="4"):
        SelfAttention2d(4)


def test_separable_convolution_keeps_channels_apart_until_the_pointwise_step():
    layer = SeparableConv2d(4, 6, stride=2)
    x = torch.zeros(1, 4, 8, 8)
    x[:, 2] = torch.rand(8, 8)
    depthwise = layer[0](x) - layer[0](torch.zeros_like(x))
    assert depthwise[:, [0, 1, 3]].abs().max() == 0
    assert depthwise[:, 2].abs().max() > 0
    assert layer(x).shape == (1, 6, 4, 4)


def test_padding_replicates_the_edge():
    x = torch.arange(6.0).view(1, 1, 2, 3)
    padded = pad_to_multiple(x, 4)
    assert padded.shape == (1, 1, 4, 4)
    assert padded[0, 0, 3].tolist() == [3, 4, 5, 5]
    assert pad_to_multiple(padded, 4) is padded


@pytest.mark.parametrize(("side", "same_bits"), [(3, False), (16, True)])
def test_a_wide_transposed_convolution_trains_as_its_parent_does(side, same_bits):
    torch.manual_seed(0)
    wide = WideConvTranspose2d(24, 6, kernel_size=4, stride=2, padding=1)
    plain = torch.nn.ConvTranspose2d(24, 6, kernel_size=4, stride=2, padding=1)
    plain.load_state_dict(wide.state_dict())
    pictures = torch.randn(2, 24, side, side + 1)
    answers, gradients = [], []
    for layer in (wide, plain):
        x = pictures.clone().requires_grad_()
        answers.append(layer(x))
        answers[-1].square().sum().backward()
        gradients.append([x.grad, layer.weight.grad, layer.bias.grad])
    torch.testing.assert_close(answers[0], answers[1])
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(*answers) is same_bits
    assert torch.equal(wide.eval()(pictures), plain(pictures))


@pytest.mark.parametrize(
    "options",
    [
        {"output_padding": 1},
        {"dilation": 2},
        {"groups": 2},
        {"bias": False},
        {"kernel_size": (4, 2)},
    ],
)
def test_a_wide_transposed_convolution_leaves_what_it_does_not_know_to_its_parent(options):
    options = {"kernel_size": 4, "stride": 2, "padding": 0} | options
    wide = WideConvTranspose2d(8, 6, **options)
    plain = torch.nn.ConvTranspose2d(8, 6, **options)
    plain.load_state_dict(wide.state_dict())
    picture = torch.randn(1, 8, 3, 5)
    torch.testing.assert_close(wide(picture), plain(picture))
    with torch.autocast("cpu", torch.bfloat16):
        assert wide(picture).dtype == plain(picture).dtype
