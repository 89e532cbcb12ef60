"""Muon: orthogonal steps for matrices, AdamW's for the rest, and going on from a file."""

import copy

import pytest
import torch
from torch import nn

from deocclude.engines.runs.settings import Optimizer
from deocclude.engines.training.muon import Muon, matrices_of, orthogonal
from deocclude.engines.training.trainer import create_optimizer


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Conv2d(8, 3, 1)

    def forward(self, x):
        return self.head(torch.relu(self.norm(self.depthwise(self.first(x)))))


def one_step(network, optimizer):
    torch.manual_seed(1)
    optimizer.zero_grad()
    (network(torch.rand(2, 3, 16, 16)) - 0.5).square().mean().backward()
    optimizer.step()


@pytest.mark.parametrize("shape", [(8, 40), (40, 8), (16, 16)])
def test_singular_values_end_near_one(shape):
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonal(torch.randn(shape) * 1e-3))
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_matrices_are_dense_weights_that_train_but_for_the_head():
    network = Small()
    assert matrices_of(network) == [network.first.weight]
    network.first.requires_grad_(False)
    assert matrices_of(network) == []


def test_a_matrix_moves_by_the_rate_and_the_rest_as_with_adamw():
    torch.manual_seed(0)
    network = Small()
    other = copy.deepcopy(network)
    options = {"lr": 0.01, "weight_decay": 0.0}
    muon = create_optimizer(Optimizer(name="muon", **options), network)
    adamw = create_optimizer(Optimizer(name="adamw", **options), other)
    before = network.first.weight.detach().clone()
    one_step(network, muon)
    one_step(other, adamw)
    moved = (network.first.weight - before).flatten(1) / (0.2 * 27**0.5 * 0.01)
    values = torch.linalg.svdvals(moved.detach())
    assert values.min() > 0.6
    assert values.max() < 1.3
    assert network.first.weight.grad is not None
    for name in ("head.weight", "norm.weight", "depthwise.weight", "first.bias"):
        assert torch.equal(network.state_dict()[name], other.state_dict()[name]), name


def test_it_goes_on_from_a_checkpoint_as_if_it_had_not_stopped():
    torch.manual_seed(0)
    whole = Small()
    optimizer = create_optimizer(Optimizer(name="muon", lr=0.01), whole)
    one_step(whole, optimizer)
    rest = copy.deepcopy(whole)
    continued = create_optimizer(Optimizer(name="muon", lr=0.01), rest)
    continued.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert isinstance(continued, Muon)
    for network, each in ((whole, optimizer), (rest, continued)):
        one_step(network, each)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, rest.state_dict()[name]), name


def test_a_network_without_matrices_is_trained_by_adamw_alone():
    network = nn.Sequential()
    network.add_module("head", nn.Conv2d(3, 3, 1))
    before = network.head.weight.detach().clone()
    optimizer = create_optimizer(Optimizer(name="muon", lr=0.01), network)
    one_step(network, optimizer)
    assert [group["orthogonal"] for group in optimizer.param_groups] == [False]
    assert not torch.equal(network.head.weight, before)
