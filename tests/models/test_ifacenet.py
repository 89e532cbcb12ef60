import pytest
import torch

from deocclude.models import create_discriminator, create_inpainter
from deocclude.models.blocks import count_parameters
from deocclude.models.ifacenet import IFACENET

LIGHT = {"branches": ["light"]}
VARIANTS = {
    "reconstruction": ({}, 52.71),
    "ablationv1": (LIGHT, 10.64),
    "ablationv2": ({"branches": ["resnet50"]}, 50.74),
    "ablationv3": ({"attention": False}, 51.40),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_parameter_counts_are_the_published_ones(variant):
    options, millions = VARIANTS[variant]
    with torch.device("meta"):
        model = create_inpainter("ifacenet", pretrained=False, **options)
    assert round(count_parameters(model) / 1e6, 2) == millions


def test_freezing_rule_leaves_the_published_number_trainable():
    with torch.device("meta"):
        frozen = create_inpainter("ifacenet", pretrained=False, freeze=True)
        free = create_inpainter("ifacenet", pretrained=False)
    assert round(count_parameters(frozen, trainable=True) / 1e6, 2) == 49.88
    assert count_parameters(free, trainable=True) == count_parameters(free)


def test_discriminator_has_the_published_size_and_stride():
    critic = create_discriminator("separable_patch")
    assert round(count_parameters(critic) / 1e6, 3) == 0.183
    assert critic(torch.rand(2, 3, 64, 96)).shape == (2, 1, 4, 6)


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 40), (89, 109)])
def test_output_has_the_input_size(size):
    model = create_inpainter("ifacenet", **LIGHT).eval()
    with torch.no_grad():
        prediction = model(torch.rand(2, 3, *size))
    assert prediction.shape == (2, 3, *size)
    assert prediction.min() >= 0
    assert prediction.max() <= 1


def test_padding_does_not_move_what_is_inside():
    """A picture that fits gives the same pixels when rows that only pad are added below."""
    model = create_inpainter("ifacenet", **LIGHT).eval()
    image = torch.rand(1, 3, 64, 50)
    replicated = torch.cat([image, image[..., -1:].expand(-1, -1, -1, 14)], dim=-1)
    with torch.no_grad():
        torch.testing.assert_close(model(image), model(replicated)[..., :50])


def test_too_small_input_says_so():
    with pytest.raises(ValueError, match="31 x 64"):
        create_inpainter("ifacenet", **LIGHT)(torch.rand(1, 3, 31, 64))


def test_every_parameter_gets_a_gradient():
    model = create_inpainter("ifacenet", pretrained=False)
    torch.nn.init.ones_(model.attention.gamma)
    model(torch.rand(2, 3, 64, 64)).mean().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None]
    assert silent == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"branches": ["resnet"]}, "resnet50"),
        ({"branches": []}, "branches"),
        ({"branches": ["light", "light"]}, "once"),
        ({"branches": ["resnet50"], "freeze": "maybe", "pretrained": False}, "maybe"),
    ],
)
def test_wrong_options_name_the_value(options, words):
    with pytest.raises(ValueError, match=words):
        IFACENET(**options)


def test_unknown_names_list_the_valid_ones():
    with pytest.raises(ValueError, match="ifacenet"):
        create_inpainter("ifacenett")
    with pytest.raises(ValueError, match="branches"):
        create_inpainter("ifacenet", branch=["light"])


def test_a_mask_as_fourth_channel_changes_nothing_in_the_resnet_at_first():
    torch.manual_seed(0)
    plain = IFACENET(["resnet50"], attention=False, pretrained=False).eval()
    torch.manual_seed(0)
    masked = IFACENET(["resnet50"], attention=False, pretrained=False, mask=True).eval()
    image, mask = torch.rand(1, 3, 64, 64), torch.ones(1, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(plain(image), masked(image, mask))
    masked(image, mask).sum().backward()
    assert masked.encoders["resnet50"].backbone.conv1.weight.grad[:, 3].abs().sum() > 0


def test_a_frozen_stem_still_learns_the_mask():
    masked = IFACENET(["resnet50"], attention=False, pretrained=False, freeze="true", mask=True)
    stem = masked.encoders["resnet50"].backbone
    assert stem.conv1.weight.requires_grad
    assert not stem.bn1.weight.requires_grad


def test_a_network_with_a_mask_says_when_there_is_none():
    with pytest.raises(ValueError, match="mask: None"):
        IFACENET(["light"], mask=True)(torch.rand(1, 3, 32, 32))


def test_the_attentions_gain_starts_where_it_is_told():
    network = IFACENET(["light"], query_key_norm=True, attention_gain=0.5)
    assert network.attention.gamma.item() == 0.5
    assert network.attention.query_key_norm
