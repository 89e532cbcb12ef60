"""Figures hold what they should, are files, and never open a window."""

import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from deocclude.engines.report import figures, history
from deocclude.engines.report.grids import GAP, picture_grid


def drawn(figure, tmp_path, dpi=100):
    return np.asarray(Image.open(figures.save(figure, tmp_path / "f.png", dpi)).convert("RGB"))


def summary():
    lines = [
        (row, "composed", metric, bin, 20.0 - int(bin), 19.0 - int(bin), 21.0 - int(bin))
        for row in ("A", "Telea")
        for metric in ("psnr", "ssim")
        for bin in "012"
    ]
    return pd.DataFrame(lines, columns=["row", "view", "metric", "bin", "mean", "low", "high"])


def test_grid_pixels_are_the_pictures_pixels(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (8, 8, 3), np.uint8)
    mask = np.eye(8, dtype=np.uint8)
    pixels = drawn(picture_grid([[image, mask]], upscale=3), tmp_path)
    assert pixels.shape == (GAP * 2 + 24, GAP * 3 + 48, 3)
    np.testing.assert_array_equal(pixels[GAP : GAP + 24 : 3, GAP : GAP + 24 : 3], image)
    second = pixels[GAP + 1 : GAP + 24 : 3, 2 * GAP + 25 : 2 * GAP + 48 : 3]
    np.testing.assert_array_equal(second[..., 0] > 127, mask == 1)


def test_small_pictures_are_enlarged_and_labels_drawn():
    image = np.zeros((16, 16, 3), np.uint8)
    figure = picture_grid(
        [[image], [image]], ["input"], ["1–10 %\nworst", "best"], [["21.0 dB"], [None]]
    )
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["input", "1–10 %\nworst", "best", "21.0 dB"]
    assert figure.axes[0].images[0].get_array().shape[0] > 2 * 96


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([], {}, "at least one"),
        ([[np.zeros((4, 4))], []], {}, "equally long"),
        ([[np.zeros((4, 4)), np.zeros((5, 4))]], {}, "share one shape"),
        ([[np.zeros((4, 4, 3))]], {}, "float64"),
        ([[np.zeros((4, 4))]], {"titles": ["a", "b"]}, "titles: 1 needed"),
        ([[np.zeros((4, 4))]], {"upscale": 0}, "at least 1"),
    ],
)
def test_grid_says_what_does_not_fit(rows, options, message):
    with pytest.raises(ValueError, match=message):
        picture_grid(rows, **options)


def test_examples_grid_scores_restored_pictures():
    target = torch.full((3, 16, 16), 0.5)
    example = {"mask": torch.ones(1, 16, 16), "restored": target + 0.1, "target": target}
    figure = figures.examples_grid([example])
    assert [t.get_text() for t in figure.axes[0].texts] == ["mask", "restored", "target", "20.0 dB"]


def test_ratio_figure_draws_a_line_a_row_with_its_interval():
    figure = figures.ratio_figure(summary(), {"A": "model", "Telea": "baseline"})
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["PSNR (dB) ↑", "SSIM ↑"]
    lines = {c.get_label(): c for c in figure.axes[0].containers}
    assert list(lines) == ["A", "Telea"]
    np.testing.assert_allclose(lines["A"].lines[0].get_ydata(), [20, 19, 18])
    bars = lines["A"].lines[2][0].get_segments()
    np.testing.assert_allclose([bar[:, 1] for bar in bars], [[19, 21], [18, 20], [17, 19]])


def test_ratio_figure_without_values_says_so():
    with pytest.raises(ValueError, match="no pair has a hole of 1 to 60 %"):
        figures.ratio_figure(summary().assign(mean=np.nan), {"A": "model", "Telea": "baseline"})


def test_a_figure_without_values_is_left_out_and_said(tmp_path, caplog):
    def make(values):
        return lambda: figures.ratio_figure(values, {"A": "model", "Telea": "baseline"})

    empty = make(summary().assign(mean=np.nan))
    assert figures.write(empty, tmp_path / "metrics.png") == {}
    assert "metrics.png is left out: no pair has a hole" in caplog.text
    assert not list(tmp_path.iterdir())
    one = figures.write(make(summary()), tmp_path / "metrics.png")
    assert one == {"metrics.png": tmp_path / "metrics.png"}
    assert one["metrics.png"].is_file()


def test_loss_curves_show_losses_and_composed_scores(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text(
        "step,epoch,train/l1,train/total,val/composed/psnr,val/raw/psnr\n1,1,2,5,20,19\n2,2,1,4,21,20\n"
    )
    figure = history.loss_curves(path)
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert titles == ["training losses", "validation PSNR (dB) ↑"]
    assert [line.get_label() for line in figure.axes[0].lines] == ["l1", "total"]
    assert figure.axes[0].get_yscale() == "log"
    path.write_text("step,epoch\n")
    with pytest.raises(ValueError, match="no rows"):
        history.loss_curves(path)


def test_show_does_nothing_from_a_console_and_displays_in_a_kernel(monkeypatch):
    figure = picture_grid([[np.zeros((4, 4))]])
    monkeypatch.setitem(sys.modules, "IPython", None)
    assert figures.show(figure) is False
    terminal = SimpleNamespace(get_ipython=lambda: SimpleNamespace())
    monkeypatch.setitem(sys.modules, "IPython", terminal)
    assert figures.show(figure) is False
    shown = []
    display = SimpleNamespace(display=shown.append, Image=lambda data: data)
    kernel = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=1), display=display)
    monkeypatch.setitem(sys.modules, "IPython", kernel)
    assert figures.show(figure) is True
    assert shown[0].startswith(b"\x89PNG")


def test_no_pyplot_is_imported():
    assert "matplotlib.pyplot" not in vars(figures)
    assert "pyplot" not in vars(sys.modules["deocclude.engines.report.grids"])
