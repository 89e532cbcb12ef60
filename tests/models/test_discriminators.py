import pytest
import torch
from torch import nn

from deocclude.models import DISCRIMINATORS, create_discriminator
from deocclude.models.blocks import count_parameters

NEW = ("patch", "global")


def convolutions(model):
    return [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]


@pytest.mark.parametrize("name", NEW)
def test_widths_and_kernels_are_the_published_ones(name):
    layers = convolutions(create_discriminator(name))
    assert [layer.out_channels for layer in layers] == [64, 128, 256, 512, 1]
    assert {layer.kernel_size for layer in layers} == {(4, 4)}
    strides = [layer.stride[0] for layer in layers]
    assert strides == ([2, 2, 2, 1, 1] if name == "patch" else [2, 2, 2, 2, 1])


@pytest.mark.parametrize(
    ("name", "options", "number"),
    [
        ("separable_patch", {}, 183_327),
        ("patch", {}, 2_766_529),
        ("patch", {"with_mask": True}, 2_767_553),
        ("global", {}, 2_764_737),
        ("global", {"with_mask": True}, 2_765_761),
    ],
)
def test_parameters(name, options, number):
    assert count_parameters(create_discriminator(name, **options)) == number


@pytest.mark.parametrize(
    ("size", "patches"), [((32, 32), (2, 2)), ((61, 47), (5, 3)), ((256, 256), (30, 30))]
)
def test_shapes_of_logits(size, patches):
    image = torch.rand(1, 3, *size)
    assert create_discriminator("patch")(image).shape == (1, 1, *patches)
    assert create_discriminator("global")(image).shape == (1, 1)


def test_a_patch_logit_sees_70_pixels():
    """Without normalisation, which looks at the whole image, its gradient covers 70 x 70."""
    model = create_discriminator("patch", norm="none")
    image = torch.rand(1, 3, 128, 128, requires_grad=True)
    model(image)[0, 0, 7, 7].backward()
    seen = image.grad[0].abs().sum(0) > 0
    assert seen.any(0).sum() == 70
    assert seen.any(1).sum() == 70


@pytest.mark.parametrize("size", [64, 96])
def test_the_global_logit_sees_every_pixel(size):
    image = torch.rand(1, 3, size, size, requires_grad=True)
    create_discriminator("global")(image).sum().backward()
    assert (image.grad[0].abs().sum(0) > 0).all()


@pytest.mark.parametrize("name", sorted(DISCRIMINATORS))
def test_an_image_is_judged_alike_whatever_else_is_in_the_batch(name):
    torch.manual_seed(0)
    model = create_discriminator(name).train()
    image, other = torch.rand(2, 3, 64, 64)
    alone = model(image[None])
    torch.testing.assert_close(model(torch.stack([image, other]))[:1], alone)


@pytest.mark.parametrize("name", sorted(DISCRIMINATORS))
def test_without_with_mask_the_mask_is_not_looked_at(name):
    model = create_discriminator(name)
    image = torch.rand(2, 3, 64, 64)
    assert model.uses_mask is False
    assert torch.equal(model(image), model(image, torch.ones(2, 1, 64, 64)))


@pytest.mark.parametrize("name", NEW)
def test_with_mask_it_is_an_input(name):
    model = create_discriminator(name, with_mask=True)
    image = torch.rand(2, 3, 64, 64)
    assert model.uses_mask is True
    covered, free = model(image, torch.ones(2, 1, 64, 64)), model(image, torch.zeros(2, 1, 64, 64))
    assert not torch.allclose(covered, free)
    with pytest.raises(ValueError, match="with_mask"):
        model(image)


@pytest.mark.parametrize("name", NEW)
@pytest.mark.parametrize("options", [{}, {"norm": "none"}, {"norm": "instance"}])
def test_the_first_logits_are_neither_silent_nor_loud(name, options):
    torch.manual_seed(0)
    logits = create_discriminator(name, **options)(torch.rand(8, 3, 64, 64))
    assert 0.03 < logits.std() < 3


def test_spectral_norm_bounds_every_convolution():
    torch.manual_seed(0)
    model = create_discriminator("patch", spectral_norm=True, widths=(8, 16))
    image = torch.rand(2, 3, 32, 32)
    for _ in range(30):  # one power iteration a pass
        model(image)
    for layer in convolutions(model):
        norm = torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2)
        torch.testing.assert_close(norm, torch.tensor(1.0), atol=0.05, rtol=0)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("patch", {"widths": (8, 16, 32)}),
        ("global", {"widths": (8, 16, 32)}),
        ("separable_patch", {"initialisation": "he"}),  # from PyTorch's it takes twice as long
    ],
)
def test_it_learns_to_tell_two_kinds_of_images_apart(name, options):
    torch.manual_seed(0)
    model = create_discriminator(name, **options)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.5, 0.999))
    smooth = nn.functional.interpolate(torch.rand(8, 3, 4, 4), size=(32, 32), mode="bilinear")
    noisy = (smooth + 0.1 * torch.randn_like(smooth)).clamp(0, 1)
    for _ in range(40):
        real, fake = model(torch.cat([smooth, noisy])).chunk(2)
        loss = nn.functional.softplus(-real).mean() + nn.functional.softplus(fake).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.5  # 1.39 for chance


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"norm": "batch"}, "'batch' is not one of instance"),
        ({"initialisation": "zeros"}, "'zeros' is not one of he"),
        ({"widths": ()}, "widths"),
        ({"in_channels": 3}, "with_mask"),
    ],
)
@pytest.mark.parametrize("name", NEW)
def test_wrong_options_name_the_value(name, options, words):
    with pytest.raises(ValueError, match=words):
        create_discriminator(name, **options)


def test_the_separable_ones_initialisation_must_be_known():
    with pytest.raises(ValueError, match="'zeros' is not one of he, torch"):
        create_discriminator("separable_patch", initialisation="zeros")


@pytest.mark.parametrize("name", NEW)
def test_too_small_images_say_so(name):
    with pytest.raises(ValueError, match="16 x 64"):
        create_discriminator(name)(torch.rand(1, 3, 16, 64))


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_what_the_layers_see_leads_to_the_logits(name):
    model, image = create_discriminator(name), torch.rand(2, 3, 64, 64)
    seen = model.seen(image)
    assert [layer.shape[1] for layer in seen] == [64, 128, 256, 512]
    torch.testing.assert_close(model.answer(seen[-1]), model(image))
