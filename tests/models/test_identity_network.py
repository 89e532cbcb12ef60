"""The identity network: what it is made of, its embedding, what it refuses."""

import copy

import pytest
import torch
from torch import nn

from deocclude import models
from deocclude.models.identity import IdentityNet


@pytest.fixture(scope="module")
def network() -> IdentityNet:
    torch.manual_seed(0)
    return IdentityNet(classes=7, pretrained=False).eval()


def test_the_head_is_the_published_one(network):
    """1000-512-256-classes with BatchNorm, LeakyReLU 0.1 and dropout 0.2."""
    linear = [m for m in network.modules() if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linear] == [
        (1280, 1000), (1000, 512), (512, 256), (256, 7)
    ]  # fmt: skip
    slopes = [m.negative_slope for m in network.hidden.modules() if isinstance(m, nn.LeakyReLU)]
    norms = [m.num_features for m in network.hidden.modules() if isinstance(m, nn.BatchNorm1d)]
    assert (slopes, norms, network.dropout.p) == ([0.1, 0.1], [512, 256], 0.2)


@pytest.mark.parametrize("shape", [(2, 3, 64, 64), (1, 3, 33, 47), (1, 3, 32, 32)])
def test_any_size_gives_logits_and_an_embedding(network, shape):
    image = torch.rand(shape)
    embedding = network.embed(image)
    assert embedding.shape == (shape[0], network.embedding)
    assert torch.allclose(network(image), network.output(embedding))


def test_the_embedding_is_one_of_the_image_and_does_not_depend_on_the_batch(network):
    images = torch.rand(3, 3, 64, 64) * torch.tensor([0.2, 0.6, 1.0])[:, None, None, None]
    trained = copy.deepcopy(network)
    for norm in trained.modules():
        if isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d)):
            norm.train().momentum = 1.0
    trained.embed(images)  # untrained statistics would give every picture the same embedding
    trained.eval()
    alone = torch.cat([trained.embed(one[None]) for one in images])
    assert torch.allclose(trained.embed(images), alone, rtol=1e-3, atol=1e-3)
    assert (alone[0] - alone[1]).abs().mean() > 0.01


def test_gradients_reach_every_parameter():
    network = IdentityNet(classes=3, pretrained=False)
    network.backbone.features.eval()  # stochastic depth leaves blocks out
    network(torch.rand(4, 3, 64, 64)).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("shape", [(1, 3, 31, 64), (1, 1, 64, 64), (3, 64, 64)])
def test_other_shapes_are_refused(network, shape):
    with pytest.raises(ValueError, match=r"at least 32.*found"):
        network.embed(torch.rand(shape))


def test_the_registry_names_what_is_valid():
    assert models.takes_option(models.IDENTITY_NETWORKS, "efficientnet_b0", "pretrained")
    with pytest.raises(ValueError, match="valid are efficientnet_b0"):
        models.create_identity_network("resnet")
    with pytest.raises(ValueError, match=r"no option 'width'.*classes"):
        models.create_identity_network("efficientnet_b0", width=3)
    with pytest.raises(ValueError, match="at least 2"):
        models.create_identity_network("efficientnet_b0", classes=1, pretrained=False)
