"""What attention does, on layers whose weights are known, and `evaluate.py analyse attention`."""

import numpy as np
import pandas as pd
import pytest
import torch
from ensemble_stubs import write_member
from torch import nn

from deocclude.data.faces.files import builtin_faces
from deocclude.data.masks.source import MaskGenerator
from deocclude.data.pairs.holes import freeze
from deocclude.data.pairs.tensors import load_pairs
from deocclude.engines.analysis.attention import (
    EMBEDDED,
    answering,
    even,
    left_out,
    look,
    loss_table,
    measure,
)
from deocclude.engines.cli import evaluate
from deocclude.engines.inference.networks import Inpainter
from deocclude.models.blocks import SelfAttention2d
from deocclude.models.contextual_attention import ContextualAttention
from deocclude.models.facial_deocclusion import FusionAttention

SIZE = 32


def half_hidden(rows=4):
    """A mask of a square picture whose upper half is the hole."""
    mask = torch.zeros(1, 1, rows, rows)
    mask[:, :, : rows // 2] = 1
    return mask


def alike(**options):
    """Self-attention to which all positions are alike."""
    layer = SelfAttention2d(8, **options)
    for part in (layer.query, layer.key):
        nn.init.zeros_(part.weight)
    nn.init.constant_(layer.gamma, 0.5)
    return layer


@pytest.mark.parametrize("normalise", ["keys", "published"])
def test_attention_to_all_alike_is_even_already(normalise):
    layer, x = alike(normalise=normalise), torch.randn(1, 8, 4, 4)
    found, taken = look(layer, (x,), half_hidden(8))
    assert found["positions"].item() == pytest.approx(16, rel=1e-5)
    assert found["choice"].item() == 16
    assert found["on_known"].item() == pytest.approx(0.5) == found["known"].item()
    assert found["gain"].item() == 0.5
    torch.testing.assert_close(taken, torch.full((1, 4, 4), 1 / 16))
    torch.testing.assert_close(even(layer, (x,), layer(x)), layer(x))
    assert left_out(layer, (x,), layer(x)) is x


def test_contextual_attention_takes_the_one_position_that_is_like_the_hole():
    layer = ContextualAttention(temperature=0.01)
    x, hole = torch.zeros(1, 2, 2, 2), torch.zeros(1, 1, 2, 2)
    x[0, :, 0, 0], x[0, :, 1, 0] = torch.tensor([1.0, 0]), torch.tensor([2.0, 0])
    x[0, :, 0, 1] = x[0, :, 1, 1] = torch.tensor([0, 1.0])
    hole[0, 0, 0, 0] = 1
    found, taken = look(layer, (x, hole), torch.ones(1, 1, 16, 16))
    assert found["positions"].item() == pytest.approx(1)
    assert (found["choice"].item(), found["on_known"].item()) == (3, 1)
    torch.testing.assert_close(taken, torch.tensor([[[0.0, 0], [1, 0]]]))
    spread = even(layer, (x, hole), layer(x, hole))
    torch.testing.assert_close(spread[0, :, 0, 0], torch.tensor([2 / 3, 2 / 3]))
    assert torch.equal(spread[..., 1], x[..., 1])
    assert torch.equal(even(layer, (x, torch.ones(1, 1, 2, 2)), x), x)  # nothing known to take


def test_a_fusion_says_where_it_trusts_the_encoder():
    layer = FusionAttention(4)
    for part in layer.convolutions:
        if isinstance(part, nn.Conv2d):
            nn.init.zeros_(part.weight)
            nn.init.zeros_(part.bias)
    nn.init.constant_(layer.convolutions[-1].bias, 2.0)  # A_enc is sigmoid(2) everywhere
    given = (torch.randn(1, 4, 8, 8), torch.randn(1, 4, 8, 8))
    found, share = look(layer, given, half_hidden(16))
    assert found["encoder_hole"].item() == pytest.approx(0.8808, abs=1e-4)
    assert found["encoder_known"].item() == pytest.approx(0.8808, abs=1e-4)
    assert share.shape == (1, 8, 8)
    torch.testing.assert_close(even(layer, given, layer(*given)), layer(*given))
    assert not left_out(layer, given, layer(*given)).any()


class Reads(nn.Module):
    """Its answer is what attention makes of the picture: without it the hole stays white."""

    def __init__(self):
        super().__init__()
        self.attention = ContextualAttention()

    def forward(self, occluded, mask):
        return self.attention(occluded, mask)


def test_what_a_picture_loses_is_what_attention_gave():
    pairs = freeze(builtin_faces("test", 12, SIZE), MaskGenerator(SIZE, 0), "test", 1)
    network = Reads()
    found = measure(Inpainter(network, SIZE), "Reads", pairs, 4, [0, 3])
    assert found.pictures["index"].tolist() == list(range(6)) == found.looks["index"].tolist()
    assert set(found.looks["kind"]) == {"contextual attention"}
    assert found.maps.shape == (2, SIZE, SIZE)
    white = (1 - pairs.load(0)[0] / 255) ** 2 * pairs.load(0)[1][..., None]
    expected = -10 * np.log10(white.mean())  # the hole stays white
    assert found.pictures["left_out"][0] == pytest.approx(expected, rel=1e-4)
    assert (found.pictures["left_out"] < found.pictures["intact"]).all()
    assert not network.attention._forward_hooks


class Colours(nn.Module):
    """A picture's embedding is its mean colour."""

    def embed(self, occluded):
        return occluded.mean((2, 3))


class Paints(Reads):
    """Fills the hole with the colour that it is given."""

    uses_features = True

    def forward(self, occluded, mask, features):
        return super().forward(occluded, mask) * 0 + features[..., None, None]


def test_an_embedding_counts_as_much_as_another_pictures_costs():
    pairs = freeze(builtin_faces("test", 12, SIZE), MaskGenerator(SIZE, 0), "test", 1)
    found = measure(Inpainter(Paints(), SIZE, features=Colours()), "Paints", pairs, 4, [0])
    target, mask, occluded = load_pairs(pairs, range(6), 1.0)
    colours = occluded.mean((2, 3))
    for how, given in {
        "intact": colours,
        "other": colours.roll(1, 0),
        "mean": colours.mean(0)[None],
    }.items():
        error = ((given[..., None, None] - target) * mask).square().mean((1, 2, 3))
        np.testing.assert_allclose(found.pictures[how], -10 * error.log10(), rtol=1e-4)
    table = loss_table([found], EMBEDDED, "Whose embedding counts")
    lost = found.pictures["other"] - found.pictures["intact"]
    assert table.rows[0][2].value == pytest.approx(lost.mean())


def test_hooks_are_gone_after_an_error():
    layer = alike()
    with pytest.raises(RuntimeError, match="stop"), answering({"it": layer}, left_out):
        raise RuntimeError("stop")
    assert not layer._forward_hooks


def test_the_command_reports_who_has_attention_and_who_has_not(tmp_path, capsys):
    small = {"name": "facial_deocclusion", "width": 2}
    data = {"test_per_bin": 2, "builtin_images": 200}
    write_member(tmp_path, "With", model=small | {"attention": True}, **data)
    write_member(tmp_path, "Without", model=small, **data)
    fixed = ["--runs-folder", str(tmp_path), "--device", "cpu", "--batch", "4"]
    assert evaluate.main(["analyse", "attention", "--runs", "With", "Without", *fixed]) == 0
    text = (tmp_path / "analysis" / "attention" / "table.md").read_text()
    assert "Without attention: Without." in text
    assert "| With " in text
    assert "fusion of encoder and decoder" in text
    looks = pd.read_csv(tmp_path / "analysis" / "attention" / "looks.csv")
    assert looks["encoder_hole"].between(0, 1).all()
    assert (tmp_path / "analysis" / "attention" / "figures" / "examples.png").is_file()
    capsys.readouterr()
    assert evaluate.main(["analyse", "attention", "--runs", "Without", *fixed]) == 1
    assert "none of Without has attention" in capsys.readouterr().err
