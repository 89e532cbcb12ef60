import pytest
import torch
from torch import nn

from deocclude.models import create_inpainter
from deocclude.models.blocks import count_parameters


def test_three_strided_blocks_then_residual_blocks_then_transposed_convolutions():
    model = create_inpainter("vgg19_generator")
    kinds = [type(layer).__name__ for layer in model.encoder]
    assert kinds == ["Conv2d", "BatchNorm2d", "ReLU"] * 3
    down = model.encoder[::3]
    assert [(layer.out_channels, layer.stride) for layer in down] == [
        (64, (2, 2)),
        (128, (2, 2)),
        (256, (2, 2)),
    ]
    up = [layer for layer in model.decoder if isinstance(layer, nn.ConvTranspose2d)]
    assert [(layer.out_channels, layer.stride) for layer in up] == [
        (128, (2, 2)),
        (64, (2, 2)),
        (3, (2, 2)),
    ]


@pytest.mark.parametrize(
    ("blocks", "number"), [(3, 4_860_163), (6, 8_402_179), (9, 11_944_195), (0, 1_318_147)]
)
def test_parameters(blocks, number):
    model = create_inpainter("vgg19_generator", residual_blocks=blocks)
    assert len(model.residual) == blocks
    assert count_parameters(model) == number


def test_a_residual_block_whose_last_norm_is_zero_changes_nothing():
    block = create_inpainter("vgg19_generator", residual_blocks=1, width=4).residual[0]
    nn.init.zeros_(block.layers[-1].weight)
    x = torch.randn(2, 16, 8, 8)
    assert torch.equal(block(x), x)


def test_tanh_becomes_the_unit_range():
    """The last layer's outputs -9, 0, 9 must be the colours 0, 1/2, 1."""
    model = create_inpainter("vgg19_generator", residual_blocks=0, width=4).eval()
    nn.init.zeros_(model.decoder[-1].weight)
    model.decoder[-1].bias.data = torch.tensor([-9.0, 0.0, 9.0])
    with torch.no_grad():
        colours = model(torch.rand(1, 3, 32, 32)).mean((0, 2, 3))
    torch.testing.assert_close(colours, torch.tensor([0.0, 0.5, 1.0]), atol=1e-6, rtol=0)


def test_the_input_is_taken_to_minus_one_to_one():
    """Grey, 0.5, is the 0 that the first convolution without bias leaves at 0."""
    model = create_inpainter("vgg19_generator", residual_blocks=0, width=4)
    seen = []
    model.encoder[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(torch.tensor([0.0, 0.5, 1.0]).view(1, 3, 1, 1).expand(1, 3, 32, 32))
    assert seen[0].mean((0, 2, 3)).tolist() == [-1.0, 0.0, 1.0]


@pytest.mark.parametrize("size", [(32, 32), (61, 47), (33, 100)])
def test_any_size_and_one_image(size):
    model = create_inpainter("vgg19_generator", residual_blocks=1, width=8)
    prediction = model(torch.rand(1, 3, *size))
    assert prediction.shape == (1, 3, *size)
    assert prediction.min() >= 0
    assert prediction.max() <= 1


def test_it_starts_near_grey_and_every_parameter_gets_a_gradient():
    torch.manual_seed(0)
    model = create_inpainter("vgg19_generator", width=16)
    prediction = model(torch.rand(2, 3, 64, 64))
    assert 0.01 < prediction.std() < 0.2
    prediction.square().mean().backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_the_mask_is_not_looked_at():
    model = create_inpainter("vgg19_generator", residual_blocks=1, width=4).eval()
    image = torch.rand(1, 3, 32, 32)
    assert model.uses_mask is False
    assert torch.equal(model(image, torch.ones(1, 1, 32, 32)), model(image, None))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"residual_blocks": -1}, "residual_blocks: -1"),
        ({"width": 0}, "width: 0"),
        ({"blocks": 3}, "residual_blocks"),
    ],
)
def test_wrong_options_name_the_value(options, words):
    with pytest.raises(ValueError, match=words):
        create_inpainter("vgg19_generator", **options)


def test_too_small_input_says_so():
    with pytest.raises(ValueError, match="31 x 64"):
        create_inpainter("vgg19_generator", width=4)(torch.rand(1, 3, 31, 64))
