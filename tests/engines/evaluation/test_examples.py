"""Example pictures: chosen by one row, restored once by each, with values that fit the pictures."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from evaluation_stubs import SIZE, fake_pairs

from deocclude.data.pairs.holes import FrozenPairs, Pair
from deocclude.engines.evaluation.compare import report
from deocclude.engines.evaluation.examples import (
    CRITERION,
    choose_examples,
    choose_pictured,
    example_figure,
    restore_examples,
)
from deocclude.engines.evaluation.inpainting import INPAINTERS
from deocclude.engines.inference.baselines import BaselinePool
from deocclude.engines.measures.inpainting import baseline_row, evaluate_rows
from deocclude.engines.measures.rows import Row


@pytest.fixture
def pairs():
    return fake_pairs(bins=(0, 3))


class Grey:
    """Predicts one grey everywhere."""

    fill, device = 1.0, torch.device("cpu")

    def __init__(self, level):
        self.level = level

    def restore(self, occluded, mask):
        return torch.full_like(occluded, self.level)

    def cost(self, size):
        return {"parameters": 1, "macs": 1, "median_ms": 1.0, "p95_ms": 2.0, "device": "a device"}


def grey_row(name, level, opened=None):
    def make():
        if opened is not None:
            opened.append(name)
        return Grey(level)

    return Row(name, "model", f"grey {level}", make)


def test_each_row_is_opened_once_and_its_values_fit_its_pictures(pairs, tmp_path):
    opened = []
    rows = [grey_row("dark", 0.2, opened), grey_row("light", 0.7, opened)]
    rows.append(baseline_row("occluded", BaselinePool(0)))
    results = evaluate_rows(rows, pairs, tmp_path)
    opened.clear()
    examples = restore_examples(rows, results, pairs, "dark")
    assert opened == ["dark", "light"]
    assert [(e.bin, e.rank) for e in examples] == [
        (bin, rank) for bin in "03" for rank in ("worst", "median", "best")
    ]
    for example in examples:
        assert list(example.restored) == ["dark", "light"]
        assert set(example.scores) == {"dark", "light", "Occluded input"}
        assert (example.occluded[example.mask == 1] == 255).all()
        for name, picture in example.restored.items():
            np.testing.assert_array_equal(
                picture[example.mask == 0], example.target[example.mask == 0]
            )
            error = (picture / 255.0 - example.target / 255.0) ** 2
            assert -10 * np.log10(error.mean()) == pytest.approx(
                example.scores[name][CRITERION], abs=0.05
            )


def test_a_row_of_several_seeds_shows_its_first_with_that_ones_values(pairs, tmp_path):
    first, second = grey_row("run/001", 0.2), grey_row("run/002", 0.8)
    rows = [replace(first, name="run (2 seeds)", identity="both", seeds=(first, second))]
    results = evaluate_rows(rows, pairs, tmp_path)
    (alone,) = evaluate_rows([first], pairs, tmp_path)
    example = restore_examples(rows, results, pairs, "run (2 seeds)")[0]
    index = [pair.image for pair in pairs.pairs].index(example.image)
    kept = alone.frame().set_index("index")
    same = kept[kept["image"].eq(example.image) & kept["bin"].eq(int(example.bin))]
    assert pairs.pairs[index].image == example.image
    assert example.scores["run (2 seeds)"][CRITERION] == pytest.approx(same[CRITERION].item())
    assert (example.restored["run (2 seeds)"][example.mask == 1] == 51).all()


def test_a_report_makes_pictures_once_for_figure_and_page(pairs, tmp_path):
    opened = []
    rows = [grey_row("dark <b>", 0.2, opened), baseline_row("occluded", BaselinePool(0))]
    made = report(INPAINTERS, rows, pairs, tmp_path, title="A & B")
    assert opened == ["dark <b>"] * 2  # to be measured, and for the pictures
    assert made.files["examples.png"].is_file()
    page = made.files["report.html"].read_text(encoding="utf-8")
    assert "<h1>A &amp; B</h1>" in page
    assert pairs.hash in page
    assert "dark &lt;b&gt;" in page
    assert "dark <b>" not in page


def test_a_single_pair_of_a_constant_image_makes_a_page(tmp_path):
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[8:20, 8:20] = 1
    image = np.full((SIZE, SIZE, 3), 51, np.uint8)
    pair = Pair("flat.png", "0", "m", "1", 1, False, mask.mean())
    alone = FrozenPairs([pair], lambda index: (image, mask), SIZE, "one pair")
    rows = [grey_row("exact", 0.2), grey_row("wrong", 0.5)]
    made = report(INPAINTERS, rows, alone, tmp_path)
    page = made.files["report.html"].read_text(encoding="utf-8")
    assert '"composed/psnr": "∞"' in page
    assert "NaN" not in page.split('id="example-data"')[1].split("</script>")[0]


def test_missing_values_choose_nothing():
    frame = pd.DataFrame({"index": range(4), "bin": [0, 0, 2, 2]})
    frame[CRITERION] = [np.nan, 20.0, np.nan, np.nan]
    assert choose_examples(frame) == [("0", "worst", 1)]
    frame[CRITERION] = np.nan
    assert choose_examples(frame) == []


def test_of_many_rows_the_reference_and_the_best_are_pictured():
    values = {"a": 20.0, "b": 30.0, "Occluded input": 99.0, "c": np.nan, "d": 25.0, "e": np.inf}
    frames = {name: pd.DataFrame({CRITERION: [value, value]}) for name, value in values.items()}
    assert choose_pictured(frames, "a", 3) == ["a", "b", "d"]
    assert choose_pictured(frames, "b", 9) == ["a", "b", "c", "d", "e"]
    assert choose_pictured(frames, "Occluded input", 2) == ["b", "d"]


def test_a_figure_of_many_rows_keeps_the_reference(pairs, tmp_path):
    rows = [grey_row(f"row {i}", 0.1 * i) for i in range(5)]
    results = evaluate_rows(rows, pairs, tmp_path)
    examples = restore_examples(rows, results, pairs, "row 4")
    texts = [text.get_text() for text in example_figure(examples, "row 4", 3).axes[0].texts]
    assert texts[:6] == ["input", "mask", "row 0", "row 1", "row 4", "target"]
    with pytest.raises(ValueError, match="at least one"):
        example_figure([], "row 4")
