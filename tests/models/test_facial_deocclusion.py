import pytest
import torch
import torch.nn.functional as F
from torch import nn

from deocclude.models import create_inpainter
from deocclude.models.blocks import count_parameters
from deocclude.models.facial_deocclusion import FusionAttention, SpatialAttention


def test_widths_are_the_published_ones():
    model = create_inpainter("facial_deocclusion")
    assert [block.layers[0].out_channels for block in model.down] == [32, 64, 128, 256, 512]
    assert model.bottleneck.out_channels == 1024
    assert [up.out_channels for up in model.up] == [512, 256, 128, 64, 32]
    assert {(up.kernel_size, up.stride) for up in model.up} == {((2, 2), (2, 2))}
    assert [block.layers[0].out_channels for block in model.fuse] == [512, 256, 128, 64, 32]


def test_the_attention_module_has_the_published_filters():
    attention = create_inpainter("facial_deocclusion", attention=True).attention
    layers = [layer for layer in attention.convolutions if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in layers] == [256, 512, 256, 128]
    assert {layer.kernel_size for layer in layers} == {(3, 3)}
    assert attention.encoder_attention.conv.kernel_size == (7, 7)


@pytest.mark.parametrize(("attention", "number"), [(False, 22_536_835), (True, 25_782_217)])
def test_parameters(attention, number):
    assert count_parameters(create_inpainter("facial_deocclusion", attention=attention)) == number


def test_spatial_attention_is_cbams():
    """A convolution written out by hand over the channels' mean and maximum, then a sigmoid."""
    torch.manual_seed(0)
    module = SpatialAttention()
    x = torch.randn(2, 5, 9, 8)
    pooled = F.pad(torch.stack([x.mean(1), x.max(1).values], dim=1), (3, 3, 3, 3))
    direct = torch.empty(2, 1, 9, 8)
    for row in range(9):
        for column in range(8):
            window = pooled[:, :, row : row + 7, column : column + 7]
            direct[:, 0, row, column] = (window * module.conv.weight[0]).sum((1, 2, 3))
    weight = 1 / (1 + torch.exp(-(direct + module.conv.bias)))
    torch.testing.assert_close(module(x), x * weight)


def test_fusion_is_the_published_equation():
    """F_enc * A_enc + F_dec * A_dec, position by position and channel by channel."""
    torch.manual_seed(0)
    module = FusionAttention(8)
    encoded, decoded = torch.randn(2, 2, 8, 6, 5)
    encoder_map, decoder_map = module.maps(encoded, decoded)
    fused = module(encoded, decoded)
    assert encoder_map.shape == decoder_map.shape == (2, 8, 6, 5)
    for index in [(0, 0, 0, 0), (1, 7, 5, 4), (0, 3, 2, 1)]:
        direct = encoded[index] * encoder_map[index] + decoded[index] * decoder_map[index]
        torch.testing.assert_close(fused[index], direct)
    torch.testing.assert_close(encoder_map + decoder_map, torch.ones_like(encoder_map))
    assert encoder_map.std() > 0.01


def test_the_maps_depend_on_both_features():
    torch.manual_seed(0)
    module = FusionAttention(8)
    encoded, decoded, other = torch.randn(3, 1, 8, 6, 5)
    one = module.maps(encoded, decoded)[0]
    assert not torch.allclose(one, module.maps(other, decoded)[0])
    assert not torch.allclose(one, module.maps(encoded, other)[0])


def test_the_fused_features_are_added_to_the_decoder():
    """A module that gives zeros leaves the base model's prediction."""
    torch.manual_seed(0)
    base = create_inpainter("facial_deocclusion", width=8).eval()
    model = create_inpainter("facial_deocclusion", attention=True, width=8).eval()
    model.load_state_dict(base.state_dict(), strict=False)
    image = torch.rand(1, 3, 64, 64)
    assert not torch.equal(model(image), base(image))
    shapes = []

    def silence(module, inputs, output):
        shapes.extend(part.shape for part in inputs)
        return torch.zeros_like(output)

    model.attention.register_forward_hook(silence)
    assert torch.equal(model(image), base(image))
    assert shapes == [(1, 32, 16, 16)] * 2  # 128 channels at stride 4 for width 32


def test_the_base_weights_load_by_name():
    torch.manual_seed(0)
    base = create_inpainter("facial_deocclusion", width=8)
    model = create_inpainter("facial_deocclusion", attention=True, width=8)
    result = model.load_state_dict(base.state_dict(), strict=False)
    assert result.unexpected_keys == []
    assert result.missing_keys
    assert all(key.startswith("attention.") for key in result.missing_keys)


@pytest.mark.parametrize("attention", [False, True])
def test_input_and_output_share_a_range(attention):
    """[0, 1] outside, [-1, 1] inside: the published system once had its output in [0, 1] there."""
    model = create_inpainter("facial_deocclusion", attention=attention, width=4).eval()
    seen = []
    model.down[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    nn.init.zeros_(model.head.weight)
    model.head.bias.data = torch.tensor([-9.0, 0.0, 9.0])
    image = torch.tensor([0.0, 0.5, 1.0]).view(1, 3, 1, 1).expand(1, 3, 64, 64)
    with torch.no_grad():
        prediction = model(image)
    assert seen[0].mean((0, 2, 3)).tolist() == [-1.0, 0.0, 1.0]
    torch.testing.assert_close(prediction, image, atol=1e-6, rtol=0)


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("size", [(32, 32), (61, 47), (64, 100)])
def test_any_size_and_one_image(attention, size):
    model = create_inpainter("facial_deocclusion", attention=attention, width=4)
    prediction = model(torch.rand(1, 3, *size))
    assert prediction.shape == (1, 3, *size)
    assert prediction.min() >= 0
    assert prediction.max() <= 1


@pytest.mark.parametrize("attention", [False, True])
def test_it_starts_near_grey_and_every_parameter_gets_a_gradient(attention):
    torch.manual_seed(0)
    model = create_inpainter("facial_deocclusion", attention=attention, width=8)
    prediction = model(torch.rand(2, 3, 64, 64))
    assert 0.01 < prediction.std() < 0.25
    prediction.square().mean().backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


@pytest.mark.parametrize("attention", [False, True])
def test_the_untrained_model_does_not_saturate_in_evaluation(attention):
    """Running statistics are still 0 and 1 then, so nothing but the weights holds the signal."""
    torch.manual_seed(0)
    model = create_inpainter("facial_deocclusion", attention=attention, width=8).eval()
    with torch.no_grad():
        prediction = model(torch.rand(2, 3, 64, 64))
    assert 0.01 < prediction.std() < 0.35
    assert ((prediction < 1e-3) | (prediction > 1 - 1e-3)).float().mean() < 0.01


def test_the_mask_is_not_looked_at():
    model = create_inpainter("facial_deocclusion", width=4).eval()
    image = torch.rand(1, 3, 32, 32)
    assert model.uses_mask is False
    assert torch.equal(model(image, torch.ones(1, 1, 32, 32)), model(image, None))


@pytest.mark.parametrize(
    ("options", "words"), [({"width": 0}, "width: 0"), ({"cbam": True}, "attention, width")]
)
def test_wrong_options_name_the_value(options, words):
    with pytest.raises(ValueError, match=words):
        create_inpainter("facial_deocclusion", **options)


def test_too_small_input_says_so():
    with pytest.raises(ValueError, match="31 x 64"):
        create_inpainter("facial_deocclusion", width=4)(torch.rand(1, 3, 31, 64))
