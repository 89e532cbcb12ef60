"""Sharpness: blur, invented and exact detail are told apart, by scale."""

import numpy as np
import pandas as pd
import pytest
import torch
from ensemble_stubs import write_member
from evaluation_stubs import Knows
from torchvision.transforms.functional import gaussian_blur

from deocclude.data.pairs.holes import FrozenPairs, Pair
from deocclude.data.seeding import keyed_rng
from deocclude.engines.analysis.sharpness import (
    BANDS,
    SIDE,
    bands,
    evaluate_sharpness,
    sharpness_frame,
    sharpness_tables,
)
from deocclude.engines.cli import evaluate
from deocclude.engines.measures.rows import Row

SIZE, COUNT = 64, 8


def read(index):
    image = keyed_rng(3, index).integers(60, 190, (SIZE, SIZE, 3), np.uint8)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[8:48, 4 + index : 44 + index] = 1
    return image, mask


@pytest.fixture
def pairs():
    listed = [
        Pair(f"{i // 2}.png", f"{i}", f"{i}", f"{i}", i % 2, False, read(i)[1].mean())
        for i in range(COUNT)
    ]
    return FrozenPairs(listed, read, SIZE, "noise")


def other_noise(target):
    noise = torch.from_numpy(keyed_rng(9, len(target)).normal(size=target.shape))
    return target.mean() + noise.float() * target.std()


CHANGES = {
    "exact": lambda target: target,
    "blurred": lambda target: gaussian_blur(target, 7, 1.0),
    "doubled": lambda target: 2 * target - target.mean(),
    "invented": other_noise,
    "empty": lambda target: torch.full_like(target, float(target.mean())),
}


@pytest.fixture
def measured(pairs, tmp_path):
    rows = [
        Row(name, "model", name, lambda change=change: Knows(pairs, change))
        for name, change in CHANGES.items()
    ]
    results = evaluate_sharpness(rows, pairs, tmp_path, batch=3)
    return sharpness_frame(results, "exact")


def values(frame, name, metric, column="mean"):
    chosen = frame[frame["row"].eq(name) & frame["metric"].eq(metric)]
    return chosen.set_index("band").loc[list(BANDS), column].to_numpy()


def test_bands_and_what_is_coarser_make_the_picture():
    picture = torch.from_numpy(keyed_rng(1).random((2, 3, SIDE, SIDE))).float()
    coarsest = picture - bands(picture).sum(1)
    assert coarsest.std() < 0.05 * picture.std()
    flat = torch.full((1, 3, 32, 32), 0.3)
    assert bands(flat).abs().max() < 1e-6


@pytest.mark.parametrize("size", [64, 128, 256])
def test_a_wave_lies_in_the_band_of_its_length_at_every_size(size):
    for number, share in ((1, 0.05), (2, 0.1), (3, 0.2)):
        wave = torch.sin(2 * torch.pi * torch.arange(size) / (share * size))
        power = bands(wave.expand(1, 1, size, size)).square().mean((2, 3, 4))[0]
        assert power.argmax() == number


def test_exact_detail_has_contrast_and_correlation_one(measured):
    for metric in ("contrast", "correlation"):
        for column in ("mean", "low", "high"):
            assert values(measured, "exact", metric, column) == pytest.approx(1, abs=1e-6)


def test_a_blur_lacks_fine_detail_and_what_is_left_is_right(measured):
    contrast = values(measured, "blurred", "contrast")
    assert contrast[0] < 0.3
    assert (np.diff(contrast) > 0).all()
    assert contrast[-1] > 0.8
    assert (np.diff(values(measured, "blurred", "correlation")) > 0).all()
    assert values(measured, "blurred", "correlation")[-1] > 0.97
    assert (values(measured, "blurred", "contrast", "difference_high") < 0).all()


def test_too_much_and_invented_detail_are_told_apart(measured):
    assert values(measured, "doubled", "contrast")[0] == pytest.approx(2, abs=0.05)
    assert values(measured, "doubled", "correlation")[0] == pytest.approx(1, abs=0.01)
    assert values(measured, "invented", "contrast")[0] == pytest.approx(1, abs=0.05)
    assert abs(values(measured, "invented", "correlation")[0]) < 0.05


def test_a_hole_without_detail_has_no_fine_contrast(measured):
    """The seam of the patch is no detail: pixels at the hole's edge are left out."""
    assert values(measured, "empty", "contrast")[0] < 0.01
    assert values(measured, "exact", "contrast", "difference") == pytest.approx(0)


def test_tables_mark_the_rightest_and_need_no_second_row(measured):
    tables = sharpness_tables(measured, "exact")
    assert [table.title.split()[0] for table in tables] == ["Contrast", "Correlation"] * 2
    assert tables[1].rows[0][1].best
    assert not any(cell.best for row in tables[0].rows for cell in row)
    alone = measured[measured["row"] == "exact"]
    assert len(sharpness_tables(alone, "exact")) == 2


def test_what_is_not_finite_is_named(pairs, tmp_path):
    broken = Row("broken", "model", "b", lambda: Knows(pairs, lambda t: t / 0))
    with pytest.raises(ValueError, match=r"broken: .*not finite"):
        evaluate_sharpness([broken], pairs, tmp_path)


def test_the_command_measures_runs_beside_baselines(tmp_path, capsys):
    file = write_member(tmp_path / "runs", "tiny", size=64)
    out = tmp_path / "out"
    words = ["analyse", "sharpness", "--checkpoint", str(file), "--device", "cpu", "--limit", "12"]
    words += ["--baselines", "mean_colour,telea", "--output", str(out)]
    assert evaluate.main(words) == 0
    frame = pd.read_csv(out / "sharpness.csv")
    assert set(frame["row"]) == {"tiny", "Mean colour", "Telea"}
    assert values(frame, "Mean colour", "contrast")[0] < 0.01
    assert "minus that of tiny" in (out / "table.md").read_text(encoding="utf-8")
    capsys.readouterr()
    assert evaluate.main([*words, "--reference", "nobody"]) == 1
    assert "rows: tiny, Mean colour, Telea" in capsys.readouterr().err
