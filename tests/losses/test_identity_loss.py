"""Cross-entropy of identity networks."""

import math

import pytest
import torch

from deocclude import losses
from deocclude.losses.identity import IdentityInputs


def test_cross_entropy_is_the_definition():
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    label = torch.tensor([0, 2])
    total, terms = losses.create_loss({"cross_entropy": {"weight": 2.0}}, losses.IDENTITY_TERMS)(
        IdentityInputs(logits, label)
    )
    share = [
        math.exp(2) / (math.exp(2) + 1 + math.exp(-1)), 1 / (2 + math.e)
    ]  # fmt: skip
    expected = -(math.log(share[0]) + math.log(share[1])) / 2
    assert terms["cross_entropy"].item() == pytest.approx(expected, rel=1e-5)
    assert total.item() == pytest.approx(2 * expected, rel=1e-5)


def test_label_smoothing_mixes_the_label_with_all_classes():
    logits, label = torch.randn(5, 4), torch.tensor([0, 1, 2, 3, 0])
    shares = logits.log_softmax(1)
    target = torch.nn.functional.one_hot(label, 4) * 0.8 + 0.2 / 4
    term = losses.IDENTITY_TERMS["cross_entropy"](label_smoothing=0.2)
    found = term(IdentityInputs(logits, label))
    assert torch.allclose(found, -(target * shares).sum(1).mean(), atol=1e-6)


def test_wrong_inputs_are_named():
    with pytest.raises(ValueError, match="label_smoothing"):
        losses.IDENTITY_TERMS["cross_entropy"](label_smoothing=1.0)
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(3,\)"):
        IdentityInputs(torch.zeros(2, 3), torch.zeros(3, dtype=torch.long))
