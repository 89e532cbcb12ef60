"""Doubt and error of known networks on frozen pairs, and `evaluate.py analyse uncertainty`."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from deocclude.data.masks.source import generate_mask
from deocclude.data.pairs.holes import FrozenPairs, Pair
from deocclude.data.seeding import keyed_rng
from deocclude.data.settings import Data
from deocclude.engines.analysis.uncertainty_report import find
from deocclude.engines.analysis.uncertainty_values import DEPTH, UNCERTAINTY, depth, measure
from deocclude.engines.cli import evaluate
from deocclude.engines.inference.networks import Inpainter

SIZE = 32


class Wrong(nn.Module):
    """Grey, and wrong by a spread that grows from left to right; `honest` says so itself."""

    def __init__(self, honest=True, level=0.5):
        super().__init__()
        self.honest, self.level = honest, level

    def forward(self, occluded, mask):
        return self.predictions(occluded, mask).mean(0)

    def predictions(self, occluded, mask):
        spread = torch.linspace(0.01, 0.2, SIZE).expand_as(occluded)
        seed = torch.Generator().manual_seed(int(mask.sum()))
        noise = torch.randn(len(occluded), 3, SIZE, SIZE, generator=seed)
        answer = torch.full_like(occluded, self.level) + spread * noise
        shown = spread if self.honest else torch.full_like(spread, 0.1)
        return torch.stack([answer - shown, answer + shown])

    def combine(self, predictions, occluded, mask):
        return predictions.mean(0)

    def disagreement(self, predictions):
        return predictions.std(0, correction=0).mean(1, keepdim=True)


def grey_pairs(count=24, bins=(0, 2, 4)):
    """Grey images, four masks each."""

    def read(index):
        mask = generate_mask(SIZE, bins[index % len(bins)], False, keyed_rng(0, "mask", index))
        return np.full((SIZE, SIZE, 3), 128, np.uint8), mask

    pairs = [
        Pair(f"{i // 4}.png", f"{i // 4}", f"{i}", f"{i}", bins[i % len(bins)], False, ratio)
        for i in range(count)
        for ratio in [float(read(i)[1].mean())]
    ]
    return FrozenPairs(pairs, read, SIZE, "grey squares")


def measured(network, pairs=None, pixels=10**6, batch=5):
    return measure(Inpainter(network, SIZE), "it", pairs or grey_pairs(), batch, pixels)


def test_values_are_those_of_the_holes():
    pairs = grey_pairs(8)
    found = measured(Wrong(), pairs)
    assert found.total == sum(int(pairs.load(i)[1].sum()) for i in range(8)) == len(found.pixels)
    assert found.images["index"].tolist() == list(range(8))
    assert found.images["bin"].tolist() == ["0", "2", "4", "0", "2", "4", "0", "2"]
    expected = found.pixels.groupby(np.repeat(range(8), found.images["pixels"]))
    np.testing.assert_allclose(found.images["l1"], expected["error"].mean(), rtol=1e-5)
    np.testing.assert_allclose(found.images["rmse"], expected["squared"].mean() ** 0.5, rtol=1e-5)
    np.testing.assert_allclose(found.images[UNCERTAINTY], expected[UNCERTAINTY].mean(), rtol=1e-5)
    assert found.pixels[UNCERTAINTY].between(0.0099, 0.2001).all()


def test_batches_change_nothing_and_equal_seeds_sample_equal_pixels():
    pairs = grey_pairs(8)
    flat = nn.Module()
    flat.forward = lambda occluded, mask: occluded * 0.3
    one, other = (measured(flat, pairs, 500, batch) for batch in (1, 8))
    pd.testing.assert_frame_equal(one.pixels, other.pixels)
    pd.testing.assert_frame_equal(one.images, other.images)
    assert 350 < len(one.pixels) < 650
    assert one.total > 2000


def test_an_honest_spread_predicts_the_error_and_a_flat_one_does_not():
    honest = find(measured(Wrong()), UNCERTAINTY)
    assert honest.pixels.spearman.low > 0.4
    assert honest.within.mean > 0.4
    assert honest.sparsification.gain > 0.3
    flat = measured(Wrong(honest=False))
    found = find(flat, UNCERTAINTY)
    assert np.isnan(found.within.mean)
    assert np.isnan(found.pixels.spearman.mean)
    assert abs(found.sparsification.gain) < 0.05
    assert abs(find(flat, DEPTH).pixels.spearman.mean) < 0.3


def test_depth_counts_pixels_to_the_nearest_known_one():
    hole = np.zeros((9, 9), bool)
    hole[2:7, 2:7] = True
    assert depth(hole)[4, 4] == 3
    assert depth(hole)[2, 4] == 1
    assert depth(hole)[0, 0] == 0
    assert np.isfinite(depth(np.ones((4, 4), bool))).all()


def test_predictions_that_are_not_finite_and_pairs_without_holes_are_refused():
    with pytest.raises(ValueError, match=r"it: .*not finite"):
        measured(Wrong(level=float("nan")))
    pairs = grey_pairs(4)
    whole = [pair._replace(hole_ratio=0.0) for pair in pairs.pairs]
    empty = FrozenPairs(whole, pairs._read, SIZE, "whole squares")
    with pytest.raises(ValueError, match="whole squares: no pair has a hole"):
        measured(Wrong(), empty)


MODEL = {"name": "ifacenet"}


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Finished runs below a folder; what a network is depends on its run's name."""
    networks = {"Honest": Wrong(), "Flat": Wrong(honest=False)}

    def make(*names):
        for name in names:
            folder = tmp_path / "runs" / name / "001"
            folder.mkdir(parents=True)
            data = Data(faces="builtin", masks="builtin", size=SIZE, test_per_bin=3)
            config = {"name": name, "data": data.model_dump(mode="json"), "model": MODEL}
            metadata = {"config": json.dumps(config), "contract": "{}", "metrics": "{}"}
            save_file({"value": torch.zeros(1)}, folder / "best.safetensors", metadata)
            (folder / "finished.json").write_text("{}")
        return tmp_path / "runs"

    def load(path, device="cpu", flip=False):
        return Inpainter(networks.get(path.parent.parent.name, Wrong()), SIZE, flip=flip)

    monkeypatch.setattr("deocclude.engines.inference.networks.read_inpainter", load)
    return make


def analyse(root, *arguments):
    fixed = ["--runs-folder", str(root), "--device", "cpu"]
    return evaluate.main(["analyse", "uncertainty", *arguments, *fixed])


def test_the_command_writes_tables_values_and_figures(runs, capsys):
    root = runs("Honest", "Flat")
    assert (
        analyse(root, "--runs", "Honest", "Flat", "--pixels", "3000", "--flip", "--mirrored") == 0
    )
    text = capsys.readouterr().out
    folder = root / "analysis" / "uncertainty"
    assert "SHA-256 of the pairs" in text
    assert "is the members' disagreement (standard deviation): Honest, Flat; the diff" in text
    assert "from the mirrored prediction: Honest (mirrored), Flat (mirrored)." in text
    assert "mean with the mirrored input's" in text
    assert "nan" not in text
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")}
    csv = ("calibration", "correlations", "images", "sparsification")
    png = ("calibration", "examples", "pictures", "sparsification")
    assert names == {
        "table.md",
        "report.html",
        *(f"{name}.csv" for name in csv),
        *(f"figures/{name}.png" for name in png),
    }
    values = pd.read_csv(folder / "correlations.csv")
    assert set(values["row"]) == {"Honest", "Honest (mirrored)", "Flat", "Flat (mirrored)"}
    assert set(values["source"]) == {UNCERTAINTY, DEPTH}
    assert len(values[values["quantity"].eq("pixels_spearman")]["mean"].dropna()) == 6


def test_one_pair_has_values_but_no_intervals(runs, capsys):
    root = runs("Honest")
    assert analyse(root, "--limit", "1") == 0
    text = capsys.readouterr().out
    assert "N = 1 pairs of 1 images" in text
    assert "[–]" in text
    assert "nan" not in text


def test_many_networks_are_all_in_the_table_and_some_in_the_figures(runs, capsys):
    root = runs(*(f"Run{i}" for i in range(8)))
    assert analyse(root, "--limit", "6", "--pixels", "500") == 0
    text = capsys.readouterr().out
    assert "The figures show the first 6 of 8 rows" in text
    assert "Run7: depth in the hole" in text


def test_no_run_is_one_line(tmp_path, capsys):
    assert analyse(tmp_path) == 1
    assert "error: no finished inpainter below" in capsys.readouterr().err
