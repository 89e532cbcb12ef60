import pytest
import torch
import torch.nn.functional as F
from torchvision.models import VisionTransformer

from deocclude.models import create_inpainter
from deocclude.models.blocks import count_parameters
from deocclude.models.occlufix import TokenEncoder

SMALL = {"unet": {"width": 8}, "vit": {"width": 8, "layers": 4, "heads": 2, "hidden": 32}}


def small(encoder, **options):
    return create_inpainter("occlufix", encoder=encoder, **{**SMALL[encoder], **options})


def test_four_channels_go_in_and_three_come_out():
    with torch.device("meta"):
        model = create_inpainter("occlufix")
    assert model.network.down[0][0].in_channels == 4
    assert model.network.head.out_channels == 3
    assert count_parameters(model) == 31_038_339


def test_the_transformer_is_torchvisions_with_the_sizes_of_vit_s():
    with torch.device("meta"):
        model = create_inpainter("occlufix", encoder="vit")
    vit = model.network.encoder.vit
    assert isinstance(vit, VisionTransformer)
    assert vit.conv_proj.weight.shape == (384, 4, 16, 16)
    assert len(vit.encoder.layers) == 12
    assert vit.encoder.layers[0].num_heads == 6
    assert model.network.encoder.taps == (3, 6, 9, 12)
    assert count_parameters(model) == 34_480_003


def test_tokens_of_the_nominal_size_are_torchvisions():
    """With the heads cut off by an identity, the class token's way is the original forward."""
    torch.manual_seed(0)
    encoder = TokenEncoder(patch=4, layers=3, heads=2, hidden=16, taps=(1, 3)).eval()
    image = torch.rand(1, 4, 64, 64)
    found = []
    encoder.vit.encoder.register_forward_hook(lambda *parts: found.append(parts[2]))
    encoder.vit.heads = torch.nn.Identity()
    with torch.no_grad():
        encoder.vit(image)
        first, last = encoder(image)
    torch.testing.assert_close(last.flatten(2).transpose(1, 2), found[0][:, 1:])
    assert first.shape == (1, 16, 16, 16)
    assert not torch.allclose(first, last)


def test_positions_are_interpolated_to_the_images_grid():
    torch.manual_seed(0)
    encoder = TokenEncoder(patch=4, layers=2, heads=1, hidden=4, taps=(2,))
    grid = torch.linspace(0, 1, 16).view(16, 1).expand(16, 16)  # grows from top to bottom
    encoder.vit.encoder.pos_embedding.data[:, 1:] = grid.reshape(1, 256, 1)
    positions = encoder.positions(5, 3)
    assert positions.shape == (1, 16, 4)
    expected = torch.linspace(0, 1, 5).repeat_interleave(3)
    torch.testing.assert_close(positions[0, 1:, 0], expected)
    assert torch.equal(encoder.positions(16, 16), encoder.vit.encoder.pos_embedding)


@pytest.mark.parametrize("patch", [4, 8, 16, 32])
def test_every_patch_size_gives_an_image(patch):
    model = small("vit", patch=patch, layers=5)
    assert model(torch.rand(1, 3, 64, 64), torch.ones(1, 1, 64, 64)).shape == (1, 3, 64, 64)
    assert model.network.encoder.taps[-1] == 5


@pytest.mark.parametrize("encoder", ["unet", "vit"])
@pytest.mark.parametrize("size", [(32, 32), (61, 47), (64, 100)])
def test_any_size_and_one_image(encoder, size):
    prediction = small(encoder)(torch.rand(1, 3, *size), torch.ones(1, 1, *size))
    assert prediction.shape == (1, 3, *size)
    assert prediction.min() >= 0
    assert prediction.max() <= 1


@pytest.mark.parametrize("encoder", ["unet", "vit"])
def test_the_mask_is_an_input(encoder):
    torch.manual_seed(0)
    model = small(encoder).eval()
    image, mask = torch.ones(1, 3, 64, 64), torch.zeros(1, 1, 64, 64)
    mask[..., :32] = 1
    assert model.uses_mask is True
    with torch.no_grad():
        assert not torch.allclose(model(image, mask), model(image, 1 - mask))
    with pytest.raises(ValueError, match="mask: None"):
        model(image, None)


@pytest.mark.parametrize("encoder", ["unet", "vit"])
def test_signal_and_gradient_reach_every_parameter(encoder):
    torch.manual_seed(0)
    model = small(encoder)
    prediction = model(torch.rand(2, 3, 64, 64), torch.ones(2, 1, 64, 64))
    assert 0.02 < prediction.std() < 0.4
    prediction.square().mean().backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_the_transformer_sees_the_whole_image():
    """A far corner changes the prediction, which no convolution of these sizes could reach."""
    torch.manual_seed(0)
    model = small("vit", norm="none").eval()
    image, mask = torch.rand(1, 3, 128, 128), torch.zeros(1, 1, 128, 128)
    moved = image.clone()
    moved[..., :16, :16] = 1 - moved[..., :16, :16]
    with torch.no_grad():
        difference = (model(image, mask) - model(moved, mask)).abs()
    assert (difference[..., 112:, 112:] > 0).any()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"encoder": "resnet"}, "'resnet' is not one of unet, vit"),
        ({"depth": 9}, "depth: 9"),
        ({"encoder": "vit", "patch": 12}, "patch: 12"),
        ({"encoder": "vit", "heads": 5}, "heads, 5"),
        ({"encoder": "vit", "layers": 2}, "layers: 2"),
        ({"encoder": "vit", "norm": "group"}, "'group' is not one of batch"),
        ({"encoder": "vit", "width": 0}, "width: 0"),
    ],
)
def test_wrong_options_name_the_value(options, words):
    with pytest.raises(ValueError, match=words):
        create_inpainter("occlufix", **options)


@pytest.mark.parametrize("encoder", ["unet", "vit"])
def test_too_small_input_says_so(encoder):
    with pytest.raises(ValueError, match="31 x 64"):
        small(encoder)(torch.rand(1, 3, 31, 64), torch.ones(1, 1, 31, 64))


@pytest.mark.parametrize("encoder", ["unet", "vit"])
def test_it_learns_to_continue_a_gradient_into_the_hole(encoder):
    torch.manual_seed(0)
    model = small(encoder)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    corners = torch.rand(4, 3, 2, 2)
    target = F.interpolate(corners, size=(32, 32), mode="bilinear", align_corners=True)
    mask = torch.zeros(4, 1, 32, 32)
    mask[..., 10:22, 10:22] = 1
    occluded = target * (1 - mask) + mask
    for _ in range(40):
        loss = (model(occluded, mask) - target).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.08
