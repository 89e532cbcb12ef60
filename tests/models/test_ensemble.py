"""Combinations of inpainters: each by hand, what an ensemble owns, what it refuses."""

import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from deocclude import models
from deocclude.data.contract import hide
from deocclude.models.ensemble import Ensemble, Member, bin_index

LABELS = ["a", "b", "c"]


def flat(level: float):
    return lambda occluded, mask: torch.full_like(occluded, level)


def make(combination: str = "mean", levels=(0.2, 0.3, 0.7), **options) -> Ensemble:
    labels = [str(level) for level in levels]
    return Ensemble(labels, combination, **options).attach([flat(level) for level in levels])


def batch(count: int = 2, side: int = 32, ratio: float = 0.25):
    generator = torch.Generator().manual_seed(0)
    mask = torch.zeros(count, 1, side, side)
    mask.flatten(1)[:, : round(ratio * side * side)] = 1
    return hide(torch.rand(count, 3, side, side, generator=generator), mask), mask


class Seen(nn.Module):
    """Answers with what it was shown; remembers its mode."""

    uses_features = False

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.norm = nn.BatchNorm2d(3)

    def forward(self, occluded, mask):
        self.was_training = self.training
        return occluded * self.scale


@pytest.mark.parametrize(
    ("combination", "options", "expected"),
    [
        ("mean", {}, 0.4),
        ("median", {}, 0.3),
        ("weights", {"weights": [0.5, 0.5, 0]}, 0.25),
        ("weights", {}, 0.4),
        ("gate", {"width": 4}, 0.4),
    ],
)
def test_each_combination_by_hand(combination, options, expected):
    answer = make(combination, **options)(*batch())
    torch.testing.assert_close(answer, torch.full_like(answer, expected))


def test_an_even_median_lies_between_the_middle_two():
    answer = make("median", (0.9, 0.1, 0.3, 0.4))(*batch())
    torch.testing.assert_close(answer, torch.full_like(answer, 0.35))


def test_bins_go_by_each_images_own_hole_ratio():
    rows = torch.zeros(6, 3)
    rows[:2, 0] = rows[2:5, 1] = rows[5, 2] = 1
    ensemble = make("bins", weights=rows.tolist())
    parts = [batch(1, ratio=ratio) for ratio in (0.05, 0.15, 0.25, 0.45, 0.55)]
    occluded, mask = (torch.cat(part) for part in zip(*parts, strict=True))
    levels = ensemble(occluded, mask)[:, 0, 0, 0]
    torch.testing.assert_close(levels, torch.tensor([0.2, 0.2, 0.3, 0.3, 0.7]))


def test_an_edge_belongs_to_the_bin_below():
    _, mask = batch(1, side=40, ratio=0.1)
    assert mask.sum() == 160
    assert bin_index(mask).tolist() == [0]
    mask.flatten()[160] = 1
    assert bin_index(mask).tolist() == [1]
    assert bin_index(torch.ones(1, 1, 32, 32)).tolist() == [5]


def test_disagreement_is_the_standard_deviation_over_members():
    ensemble = make(levels=(0.2, 0.4))
    predictions = ensemble.predictions(*batch())
    assert predictions.shape == (2, 2, 3, 32, 32)
    doubt = ensemble.disagreement(predictions)
    torch.testing.assert_close(doubt, torch.full((2, 1, 32, 32), 0.1))
    assert ensemble.disagreement(predictions[:1].expand(3, -1, -1, -1, -1)).max() == 0


def test_a_gate_learns_which_member_is_right():
    """The left half is the first member's, the right half the second's."""
    torch.manual_seed(0)
    occluded, mask = batch(4, ratio=1.0)
    side = torch.zeros(1, 1, 1, 32)
    side[..., 16:] = 1
    target = torch.rand(4, 3, 32, 32)
    networks = [lambda *_: target * (1 - side), lambda *_: target * side]
    ensemble = Ensemble(["left", "right"], "gate", width=4).attach(networks)
    optimizer = torch.optim.Adam(ensemble.parameters(), lr=0.01)
    losses = []
    for _ in range(30):
        loss = nn.functional.l1_loss(ensemble(occluded, mask), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(target.mean().item() / 2, rel=1e-4)  # the mean of the two
    assert losses[-1] < 0.3 * losses[0]


def test_a_member_is_shown_its_own_grey_level_and_its_own_features():
    class Features(nn.Module):
        def embed(self, occluded):
            self.seen = occluded
            return occluded.mean(dim=(1, 2, 3))[:, None]

    class Conditioned(nn.Module):
        uses_features = True

        def forward(self, occluded, mask, features):
            self.given = features
            return occluded

    occluded, mask = batch()
    for fill in (0.0, 0.5):
        member = Member(Conditioned(), fill, Features(), "one")
        answer = member(occluded, mask)
        assert torch.equal(answer, hide(occluded, mask, fill))
        assert torch.equal(member.features.seen, answer)
        torch.testing.assert_close(member.network.given, answer.mean(dim=(1, 2, 3))[:, None])
    with pytest.raises(ValueError, match="one: takes features"):
        Member(Conditioned(), name="one")


def test_the_answer_does_not_depend_on_the_callers_grey_level():
    torch.manual_seed(0)
    occluded, mask = batch()
    networks = [Member(models.create_inpainter("occlufix", width=4, depth=2)) for _ in range(2)]
    ensemble = Ensemble(["a", "b"], "gate", width=4).attach(networks).eval()
    nn.init.normal_(ensemble.gate.head.weight)
    with torch.no_grad():
        white, black = (ensemble(hide(occluded, mask, fill), mask) for fill in (1.0, 0.0))
    assert torch.equal(white, black)


def test_members_are_frozen_and_no_part_of_the_state():
    network = Seen()
    ensemble = Ensemble(["a", "b"], "gate", width=4).attach([Member(network), Member(Seen())])
    ensemble.train()
    ensemble(*batch()).mean().backward()
    assert network.was_training is False
    assert network.scale.grad is None
    assert all(name.startswith("gate.") for name in ensemble.state_dict())
    assert all(name.startswith("gate.") for name, _ in ensemble.named_parameters())
    assert ensemble.member_parameters() == 2 * (1 + 6)
    assert Ensemble(LABELS, "mean").state_dict() == {}
    assert list(Ensemble(LABELS, "bins").state_dict()) == ["weights"]


def test_copies_share_the_members_but_not_the_gate():
    ensemble = Ensemble(["a", "b"], "gate", width=4).attach([Member(Seen()), Member(Seen())])
    for other in (copy.deepcopy(ensemble), AveragedModel(ensemble).module):
        assert other.attached[0] is ensemble.attached[0]
        assert other.gate.head.weight is not ensemble.gate.head.weight
        torch.testing.assert_close(other(*batch()), ensemble(*batch()))


def test_members_follow_the_inputs_device():
    members = [Member(Seen()), Member(Seen())]
    ensemble = Ensemble(["a", "b"]).attach(members)
    occluded, mask = (part.to("meta") for part in batch())
    assert ensemble(occluded, mask).device.type == "meta"
    assert {p.device.type for member in members for p in member.parameters()} == {"meta"}


def test_without_members_a_call_says_what_to_do():
    with pytest.raises(RuntimeError, match=r"a, b, c are not attached: .*open_inpainter"):
        Ensemble(LABELS)(*batch())
    with pytest.raises(ValueError, match="2 networks for 3 members"):
        Ensemble(LABELS).attach([flat(0), flat(1)])
    with pytest.raises(ValueError, match="mask: None"):
        make()(batch()[0])


def test_a_member_that_answers_in_another_shape_is_named():
    class Cut(Seen):
        def forward(self, occluded, mask):
            return occluded[..., :-1]

    ensemble = Ensemble(["a", "b"]).attach([Member(Seen()), Member(Cut(), name="the cut one")])
    with pytest.raises(ValueError, match="the cut one answered with shape"):
        ensemble(*batch())


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ([], {}, "two or more, found"),
        (["a"], {}, "two or more, found"),
        ("abc", {}, "two or more, found 'abc'"),
        (LABELS, {"combination": "sum"}, "'sum' is not one of"),
        (LABELS, {"combination": "mean", "weights": [1, 0, 0]}, "not for 'mean'"),
        (LABELS, {"combination": "weights", "weights": [0.5, 0.5]}, r"must be \(3,\)"),
        (LABELS, {"combination": "weights", "weights": [0.5, 0.6, -0.1]}, "0 or more with sum 1"),
        (LABELS, {"combination": "weights", "weights": [0.5, 0.5, 0.5]}, "0 or more with sum 1"),
        (LABELS, {"combination": "weights", "weights": [1, 0, float("nan")]}, "sum 1, found"),
        (LABELS, {"combination": "weights", "weights": "half"}, "must be numbers"),
        (LABELS, {"combination": "bins", "weights": [[1, 0, 0]] * 5}, r"must be \(6, 3\)"),
        (LABELS, {"combination": "bins", "weights": [[1, 0, 0], [1, 0]]}, "rows of equal length"),
    ],
)
def test_what_is_refused(arguments, options, words):
    with pytest.raises(ValueError, match=words):
        Ensemble(arguments, **options)
