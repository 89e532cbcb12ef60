import pytest
import torch

from deocclude.models import create_segmenter
from deocclude.models.blocks import count_parameters
from deocclude.models.unet import UNet


@pytest.mark.parametrize("size", [(16, 16), (17, 31), (33, 47), (64, 40)])
@pytest.mark.parametrize("options", [{}, {"separable": True}, {"depth": 5}, {"norm": "none"}])
def test_logits_have_the_input_size(size, options):
    model = create_segmenter("unet", width=8, **options).eval()
    with torch.no_grad():
        assert model(torch.rand(1, 3, *size)).shape == (1, 1, *size)


def test_default_has_the_published_widths():
    with torch.device("meta"):
        model = create_segmenter("unet")
    widths = [block[0].out_channels for block in model.down]
    assert widths == [64, 128, 256, 512]
    assert count_parameters(model) == 7_700_161


def test_a_generator_can_be_built_from_it():
    model = UNet(width=8, in_channels=4, out_channels=3, norm="instance")
    assert model(torch.rand(2, 4, 32, 32)).shape == (2, 3, 32, 32)


def test_the_padding_does_not_move_what_is_inside():
    """A picture that fits gives the same pixels when it is cut and the edge replicated again."""
    model = create_segmenter("unet", width=8).eval()
    image = torch.rand(1, 3, 32, 27)
    replicated = torch.cat([image, image[..., -1:].expand(-1, -1, -1, 5)], dim=-1)
    with torch.no_grad():
        torch.testing.assert_close(model(image), model(replicated)[..., :27])


def test_skips_carry_detail_that_the_deepest_scale_has_lost():
    """With the way through the deeper scales cut, one pixel still moves the logits around it."""
    torch.manual_seed(0)
    model = create_segmenter("unet", width=8).eval()
    torch.nn.init.zeros_(model.up[-1].weight)
    image = torch.rand(1, 3, 32, 32)
    moved = image.clone()
    moved[..., 16, 16] = 1 - moved[..., 16, 16]
    with torch.no_grad():
        difference = (model(moved) - model(image)).abs()[0, 0]
    assert difference[16, 16] > 0
    assert difference[:8].max() == 0


def test_signal_and_gradient_reach_every_parameter():
    torch.manual_seed(0)
    model = create_segmenter("unet", width=8, depth=5)
    logits = model(torch.rand(2, 3, 32, 32))
    assert 0.1 < logits.std() < 10
    logits.square().mean().backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"depth": 1}, "depth: 1"),
        ({"width": 0}, "width: 0"),
        ({"norm": "group"}, "instance"),
        ({"wide": 3}, "separable"),
    ],
)
def test_wrong_options_name_the_value(options, words):
    with pytest.raises(ValueError, match=words):
        create_segmenter("unet", **options)


def test_too_small_input_says_so():
    with pytest.raises(ValueError, match="15 x 64"):
        create_segmenter("unet", width=8)(torch.rand(1, 3, 15, 64))


def test_it_learns_to_find_a_square():
    torch.manual_seed(0)
    model = create_segmenter("unet", width=8)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    mask = torch.zeros(4, 1, 32, 32)
    for index in range(4):
        mask[index, :, 4 * index : 4 * index + 12, 8:20] = 1
    image = 0.5 + 0.1 * torch.randn(4, 3, 32, 32) + 0.3 * mask
    for _ in range(30):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(model(image), mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = model.eval()(image) > 0
    assert (found == (mask > 0)).float().mean() > 0.95
