"""Mirrored averages and doubt: of a network by itself and of an ensemble."""

from dataclasses import FrozenInstanceError, replace

import pytest
import torch
from torch import nn

from deocclude.engines.inference.networks import (
    DISAGREEMENT,
    MIRRORED,
    Embedder,
    Inpainter,
    Segmenter,
)
from deocclude.models.ensemble import Ensemble

SIZE = 32


class Leaning(nn.Module):
    """Adds a ramp from left to right, whichever way round its input is."""

    def __init__(self, strength=0.2):
        super().__init__()
        self.strength, self.calls = strength, 0

    def forward(self, occluded, mask):
        self.calls += 1
        ramp = torch.linspace(-1, 1, occluded.shape[-1])
        return (occluded + self.strength * ramp).clamp(0, 1)


class LeftMean(nn.Module):
    """A picture's mean over its left half."""

    def embed(self, occluded):
        return occluded[..., : occluded.shape[-1] // 2].mean((2, 3))


class Tinted(nn.Module):
    """Answers its features as a colour."""

    uses_features = True

    def forward(self, occluded, mask, features):
        return features[..., None, None].expand_as(occluded).contiguous()


@pytest.fixture
def pictures():
    generator = torch.Generator().manual_seed(0)
    occluded = 0.3 + 0.4 * torch.rand(3, 3, SIZE, SIZE, generator=generator)
    mask = (torch.rand(3, 1, SIZE, SIZE, generator=generator) > 0.6).float()
    return occluded, mask


def ensemble(*members, combination="mean"):
    labels = [str(i) for i in range(len(members))]
    return Ensemble(labels, combination).attach(members)


def test_flip_averages_out_what_depends_on_the_side(pictures):
    occluded, mask = pictures
    leaning = Leaning()
    assert (Inpainter(leaning, SIZE).restore(occluded, mask) - occluded).abs().max() > 0.1
    straight = Inpainter(leaning, SIZE, flip=True).restore(occluded, mask)
    assert straight.dtype == torch.float32
    torch.testing.assert_close(straight, occluded)


@pytest.mark.parametrize("flip", [False, True])
def test_flip_makes_the_answer_follow_the_mirror(pictures, flip):
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 3, 3, padding=1)
    convolution.forward = lambda occluded, mask: nn.Conv2d.forward(convolution, occluded)
    inpainter = Inpainter(convolution, SIZE, flip=flip)
    occluded, mask = pictures
    plain = inpainter.restore(occluded, mask)
    mirrored = inpainter.restore(occluded.flip(-1), mask.flip(-1)).flip(-1)
    assert torch.allclose(plain, mirrored, atol=1e-6) == flip


def test_features_are_those_of_the_mirrored_picture(pictures):
    occluded, mask = pictures
    inpainter = Inpainter(Tinted(), SIZE, features=LeftMean(), flip=True)
    expected = occluded.mean((2, 3))[..., None, None].expand_as(occluded)
    torch.testing.assert_close(inpainter.restore(occluded, mask), expected)


@pytest.mark.parametrize("flip", [False, True])
def test_doubt_of_one_network_is_the_difference_from_the_mirrored_answer(pictures, flip):
    occluded, mask = pictures
    leaning = Leaning()
    inpainter = Inpainter(leaning, SIZE, flip=flip)
    prediction, doubt = inpainter.restore_with_doubt(occluded, mask)
    assert leaning.calls == 1
    torch.testing.assert_close(prediction, inpainter.restore(occluded, mask))
    expected = (2 * leaning.strength * torch.linspace(-1, 1, SIZE)).abs()
    torch.testing.assert_close(doubt, expected.expand(3, 1, SIZE, SIZE))
    assert inpainter.doubt == MIRRORED


@pytest.mark.parametrize("combination", ["mean", "median", "gate"])
def test_doubt_of_an_ensemble_is_its_members_disagreement(pictures, combination):
    occluded, mask = pictures
    members = [Leaning(0.0), Leaning(0.1), Leaning(0.25)]
    network = ensemble(*members, combination=combination)
    inpainter = Inpainter(network, SIZE)
    prediction, doubt = inpainter.restore_with_doubt(occluded, mask)
    assert [member.calls for member in members] == [1, 1, 1]
    torch.testing.assert_close(prediction, inpainter.restore(occluded, mask))
    ramp = torch.linspace(-1, 1, SIZE).abs()
    expected = torch.tensor([0.0, 0.1, 0.25]).std(correction=0) * ramp
    torch.testing.assert_close(doubt, expected.expand(3, 1, SIZE, SIZE))
    assert inpainter.doubt == DISAGREEMENT


def test_a_flipped_ensemble_is_the_mean_of_both_ways_and_doubts_all_of_them(pictures):
    occluded, mask = pictures
    members = [Leaning(0.1), Leaning(0.3)]
    prediction, doubt = Inpainter(ensemble(*members), SIZE, flip=True).restore_with_doubt(
        occluded, mask
    )
    assert [member.calls for member in members] == [1, 1]
    torch.testing.assert_close(prediction, occluded)
    four = torch.tensor([0.1, 0.3, -0.1, -0.3]).std(correction=0)
    expected = four * torch.linspace(-1, 1, SIZE).abs()
    torch.testing.assert_close(doubt, expected.expand(3, 1, SIZE, SIZE))


def test_members_that_agree_leave_no_doubt(pictures):
    _, doubt = Inpainter(ensemble(Leaning(), Leaning()), SIZE).restore_with_doubt(*pictures)
    assert doubt.max() == 0


@pytest.mark.parametrize("flip", [False, True])
def test_an_answer_of_another_shape_is_refused(pictures, flip):
    half = nn.Module()
    half.forward = lambda occluded, mask: occluded[..., :4]
    for call in ("restore", "restore_with_doubt"):
        with pytest.raises(ValueError, match=r"answered with shape .*, 4\)"):
            getattr(Inpainter(half, SIZE, flip=flip), call)(*pictures)


def test_modes_are_as_before(pictures):
    network = nn.Sequential(nn.BatchNorm2d(3))
    network.forward = lambda occluded, mask: network[0](occluded)
    network.train()
    before = network[0].running_mean.clone()
    Inpainter(network, SIZE, flip=True).restore_with_doubt(*pictures)
    assert network[0].training
    assert torch.equal(network[0].running_mean, before)


class Seeing(nn.Module):
    """A segmenter and an identity network that remember how large what they saw was."""

    def forward(self, image):
        self.side = image.shape[-1]
        return image[:, :1] - 0.5

    def embed(self, image):
        self.side = image.shape[-1]
        return image.mean((2, 3))


def test_a_segmenter_is_sure_at_its_own_size_and_marks_at_that_of_the_pictures(pictures):
    network, (occluded, _) = Seeing(), pictures
    segmenter = Segmenter(network, SIZE // 2)
    assert torch.equal(segmenter.find(occluded), (occluded[:, :1] > 0.5).float())
    assert network.side == SIZE
    assert segmenter.probability(occluded).shape == (3, 1, SIZE, SIZE)
    assert network.side == SIZE // 2


def test_an_embedder_embeds_at_its_own_size_and_refuses_what_is_not_finite(pictures):
    network, (occluded, _) = Seeing(), pictures
    embedder = Embedder(network, SIZE // 2)
    assert embedder.embed(occluded).shape == (3, 3)
    assert network.side == SIZE // 2
    network.forward = lambda image: torch.full((len(image), 4), float("nan"))
    with pytest.raises(ValueError, match=r"identity network's logits .* not finite"):
        embedder.name(occluded)


def test_the_same_network_can_be_asked_otherwise(pictures):
    straight = replace(Inpainter(Leaning(), SIZE), flip=True)
    torch.testing.assert_close(straight.restore(*pictures), pictures[0])
    with pytest.raises(FrozenInstanceError):
        straight.flip = False
