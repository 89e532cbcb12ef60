"""The attention-based GAN's generator: the facts known of it and its parts by themselves."""

import copy

import pytest
import torch

from deocclude.data.contract import hide
from deocclude.models import create_inpainter
from deocclude.models.attention_gan import AttentionGAN, EmbeddingMap, StableGatedConv2d
from deocclude.models.blocks import count_parameters


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return AttentionGAN(embedding=16).eval()


def batch(n=2, height=32, width=32, embedding=16):
    generator = torch.Generator().manual_seed(5)
    image = torch.rand(n, 3, height, width, generator=generator)
    mask = torch.zeros(n, 1, height, width)
    mask[:, :, 8:24, 8:20] = 1
    features = torch.randn(n, embedding, generator=generator)
    return hide(image, mask, 1.0), mask, features


@pytest.mark.parametrize(("stride", "padding"), [(1, 1), (2, 1)])
def test_the_gate_is_half_a_tanh_and_a_half(stride, padding):
    torch.manual_seed(0)
    layer = StableGatedConv2d(4, 5, stride=stride, norm=False)
    x = torch.randn(2, 4, 8, 8)

    def conv(part):
        return torch.nn.functional.conv2d(x, part.weight, part.bias, stride, padding)

    features, gate = conv(layer.features), 0.5 * torch.tanh(conv(layer.gate)) + 0.5
    expected = torch.where(features > 0, features, 0.2 * features) * gate
    torch.testing.assert_close(layer(x), expected)
    assert layer(x).shape[-1] == 8 // stride
    torch.testing.assert_close(gate, (2 * conv(layer.gate)).sigmoid())


def test_a_gate_can_close_and_open():
    layer = StableGatedConv2d(4, 5)
    x = torch.randn(2, 4, 8, 8)
    torch.nn.init.zeros_(layer.gate.weight)
    torch.nn.init.constant_(layer.gate.bias, -20)
    assert layer(x).abs().max() < 1e-6
    torch.nn.init.constant_(layer.gate.bias, 20)
    plain = StableGatedConv2d(4, 5, gated=False)
    plain.load_state_dict(layer.state_dict(), strict=False)
    torch.testing.assert_close(layer(x), plain(x))


def test_layer_sizes_are_the_published_ones(model):
    convolutions = [layer.features for layer in model.encoder]
    assert [(c.in_channels, c.out_channels) for c in convolutions] == [
        (4, 64),
        (64, 128),
        (128, 256),
    ]
    assert all(c.stride == (2, 2) for c in convolutions)
    assert all(isinstance(layer.norm, torch.nn.InstanceNorm2d) for layer in model.encoder)
    assert model.attention.temperature == 0.1


def test_the_embedding_becomes_256_x_32_x_32():
    layer = EmbeddingMap(256)
    assert (layer.reduce.in_features, layer.reduce.out_features) == (256, 128)
    assert layer.project.out_features == 256 * 32 * 32
    features = torch.randn(2, 256)
    published = layer(features, 32, 32)
    assert published.shape == (2, 256, 32, 32)
    small = layer(features, 8, 16)
    assert small.shape == (2, 256, 8, 16)
    cells = published.view(2, 256, 8, 4, 16, 2).mean(dim=(3, 5))
    torch.testing.assert_close(small, cells, rtol=1e-4, atol=1e-5)
    assert layer(features, 5, 40).shape == (2, 256, 5, 40)


def test_attention_works_at_32_x_32_for_256_px(model):
    seen = []
    hook = model.attention.register_forward_hook(lambda _, inputs, __: seen.append(inputs))
    occluded, mask, features = batch(1, 256, 256)
    with torch.inference_mode():
        model(occluded, mask, features)
    hook.remove()
    deep, hole = seen[0]
    assert deep.shape == (1, 256, 32, 32)
    expected = torch.zeros(32, 32)
    expected[1:3, 1:3] = 1  # pixels 8 to 23 down, 8 to 19 across: a cell half hidden is hidden
    assert torch.equal(hole[0, 0], expected)


def test_the_embedding_and_the_mask_matter(model):
    occluded, mask, features = batch()
    assert model.uses_mask
    assert model.uses_features
    assert model.embedding == features.shape[1]
    with torch.inference_mode():
        first = model(occluded, mask, features)
        assert not torch.allclose(first, model(occluded, mask, -features), atol=1e-3)
        assert not torch.allclose(first, model(occluded, 1 - mask, features), atol=1e-3)


def test_a_missing_or_wrong_embedding_is_refused(model):
    occluded, mask, features = batch()
    with pytest.raises(ValueError, match="features"):
        model(occluded, mask)
    with pytest.raises(ValueError, match=r"\(2, 9\) must be \(N, 16\)"):
        model(occluded, mask, features[:, :9])


def test_without_features_the_model_says_so_and_needs_none():
    model = create_inpainter("attention_gan", use_features=False)
    assert not model.uses_features
    assert not [name for name, _ in model.named_parameters() if name.startswith("identity")]
    occluded, mask, _ = batch()
    assert model(occluded, mask).shape == occluded.shape


def test_one_embedding_for_all_is_learned_and_not_given(model):
    same = AttentionGAN(embedding=16, same_embedding=True)
    assert not same.uses_features
    assert count_parameters(same) == count_parameters(model)
    occluded, mask, features = batch()
    answer = same(occluded, mask)
    torch.testing.assert_close(same(occluded, mask, features), answer)
    assert not torch.allclose(model(occluded, mask, features), model(occluded, mask, -features))
    answer.sum().backward()
    assert same.identity.project.weight.grad.any()
    with pytest.raises(ValueError, match="use_features is False"):
        AttentionGAN(use_features=False, same_embedding=True)


def test_ablations_leave_out_their_part_and_nothing_else(model):
    plain = AttentionGAN(embedding=16, gated=False)
    assert not [name for name, _ in plain.named_parameters() if "gate" in name]
    without = AttentionGAN(embedding=16, attention=False)
    assert without.attention is None
    names = {name for name, _ in model.named_parameters()}
    assert {name for name, _ in without.named_parameters()} == names
    assert {name for name, _ in plain.named_parameters()} == {n for n in names if "gate" not in n}
    merged = 2 * 256 * 256 * 9  # what was borrowed enters one gated convolution
    assert count_parameters(model) - count_parameters(without) == merged


@pytest.mark.parametrize(
    "options", [{}, {"attention": False}, {"gated": False}, {"use_features": False}, {"patch": 3}]
)
def test_output_range_odd_sizes_and_gradients(options):
    torch.manual_seed(0)
    model = AttentionGAN(embedding=16, **options)
    occluded, mask, features = batch(1, 45, 38)
    prediction = model(occluded, mask, features if model.uses_features else None)
    assert prediction.shape == (1, 3, 45, 38)
    assert 0 <= prediction.min() < prediction.max() <= 1
    prediction.square().mean().backward()
    dead = [name for name, p in model.named_parameters() if not p.grad.abs().sum() > 0]
    # A bias before instance normalisation has no effect.
    assert all(name.endswith("features.bias") for name in dead), dead


def test_an_image_hidden_altogether_gives_a_finite_prediction(model):
    occluded, mask, features = batch()
    with torch.inference_mode():
        assert model(occluded, torch.ones_like(mask), features).isfinite().all()


def test_the_whole_range_can_be_predicted_whatever_the_target(model):
    """Inside, images are in [-1, 1]: the tanh's own range would miss half of a target in [0, 1]."""
    occluded, mask, features = batch(1)
    kept = copy.deepcopy(model.head)
    with torch.inference_mode():
        model.head.weight.zero_()
        for value, wanted in ((-20.0, 0.0), (-0.5493, 0.25), (0.0, 0.5), (20.0, 1.0)):
            model.head.bias.fill_(value)
            result = model(occluded, mask, features)
            torch.testing.assert_close(result, torch.full_like(result, wanted), rtol=0, atol=1e-4)
    model.head = kept


def test_too_small_an_image_is_refused(model):
    with pytest.raises(ValueError, match="31"):
        model(*batch(1, 32, 31))
