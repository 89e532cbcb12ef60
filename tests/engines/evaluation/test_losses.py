"""Losses of a run by epoch, of several runs at their released epochs, and the figure of weights."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from deocclude.engines.cli import evaluate
from deocclude.engines.evaluation import losses as loss_tables
from deocclude.engines.report import history
from deocclude.engines.runs.config import load_config
from deocclude.engines.runs.members import choose_with_losses

ADVERSARIAL = "adversarial_patch"


def write_history(run, epochs=12, terms=("l1", ADVERSARIAL), validated=True):
    """metrics.csv in which term k is k + epoch in training and half as much in validation; the
    first term's weight grows by 1 an epoch."""
    run.mkdir(parents=True, exist_ok=True)
    rows = []
    for epoch in range(1, epochs + 1):
        row = {"step": 10 * epoch, "epoch": float(epoch), "images_per_second": 7.0}
        for k, term in enumerate((*terms, "total")):
            row |= {f"train/{term}": float(k + epoch)}
            row |= {f"val/loss/{term}": (k + epoch) / 2} if validated else {}
            row |= {f"weight/{term}": float(epoch if k == 0 else 2)} if term != "total" else {}
        rows.append(row | {"train/discriminator.patch": 0.7, "val/composed/psnr": 20.0 + epoch})
    pd.DataFrame(rows).to_csv(run / "metrics.csv", index=False)
    return run


def release(run, step):
    (run / "finished.json").write_text(json.dumps({"reason": "epochs", "best": {"step": step}}))
    return run


def rows_of(table):
    return [[cell.text for cell in row] for row in table.rows]


def test_columns_are_the_asked_epochs_and_the_last(tmp_path):
    run = release(write_history(tmp_path), 110)
    table, numbers = history.epoch_table(run, "occlufix")
    kinds = ("train", "validation")
    assert table.columns == ["", *(f"{k}, epoch {e}" for e in (1, 5, 10, 12) for k in kinds)]
    assert rows_of(table) == [
        ["l1", "1", "0.5", "5", "2.5", "10", "5", "12", "6"],
        [ADVERSARIAL, "2", "1", "6", "3", "11", "5.5", "13", "6.5"],
        ["total", "3", "1.5", "7", "3.5", "12", "6", "14", "7"],
    ]
    assert table.notes == ["Released: epoch 11."]
    assert numbers["val/loss/total"].tolist() == [1.5, 3.5, 6, 7]
    table, _ = history.epoch_table(run, "occlufix", (2, 99))
    assert table.columns[1::2] == ["train, epoch 2", "train, epoch 12"]


def test_a_run_of_one_epoch_without_validation_losses_has_a_table(tmp_path):
    table, _ = history.epoch_table(write_history(tmp_path, 1, ("bce",), False), "UNet")
    assert table.columns == ["", "train, epoch 1"]
    assert rows_of(table) == [["bce", "1"], ["total", "2"]]
    assert table.notes == []


def test_what_was_not_measured_is_a_dash(tmp_path):
    run = write_history(tmp_path, 2)
    frame = pd.read_csv(run / "metrics.csv")
    frame.loc[0, "val/loss/l1"] = np.nan
    frame.to_csv(run / "metrics.csv", index=False)
    table, _ = history.epoch_table(run, "x")
    assert rows_of(table)[0] == ["l1", "1", "–", "2", "1"]
    assert table.notes == ["–: not measured."]


def test_a_run_that_ends_leaves_table_curves_and_weights(tmp_path):
    run = write_history(tmp_path / "run")
    history.record_losses(run, "occlufix")
    assert {p.name for p in (run / "figures").iterdir()} == {"losses.png", "weights.png"}
    assert "## Losses of occlufix" in (run / "losses.md").read_text()
    assert pd.read_csv(run / "losses.csv")["train/l1"].tolist() == [1, 5, 10, 12]
    frame = pd.read_csv(run / "metrics.csv")
    frame["weight/l1"] = 2.0
    other = write_history(tmp_path / "other")
    frame.to_csv(other / "metrics.csv", index=False)
    history.record_losses(other, "constant")
    assert {p.name for p in (other / "figures").iterdir()} == {"losses.png"}


def test_the_figure_shows_weights_and_weighted_terms(tmp_path):
    run = write_history(tmp_path, 3)
    figure = history.weights_figure(run / "metrics.csv")
    first, second = figure.axes
    np.testing.assert_allclose(first.lines[0].get_ydata(), [1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(second.lines[0].get_ydata(), [1, 4, 9])
    np.testing.assert_allclose(second.lines[1].get_ydata(), [4, 6, 8])
    labels = [line.get_label() for line in second.lines]
    assert labels == ["l1 (≤ 3)", f"{ADVERSARIAL} (≤ 2)"]
    pd.DataFrame({"step": [1], "epoch": [1.0]}).to_csv(tmp_path / "none.csv", index=False)
    with pytest.raises(ValueError, match="weight/"):
        history.weights_figure(tmp_path / "none.csv")


def test_a_weight_of_zero_leaves_a_gap_on_the_log_scale(tmp_path):
    run = write_history(tmp_path, 3)
    frame = pd.read_csv(run / "metrics.csv")
    frame["weight/l1"] = [0.0, 0.0, 1.0]
    frame.to_csv(run / "metrics.csv", index=False)
    drawn = history.weights_figure(run / "metrics.csv").axes[1].lines[0].get_ydata()
    assert np.isnan(drawn).tolist() == [True, True, False]


def test_curves_have_the_validation_losses_dotted_and_no_score_of_theirs(tmp_path):
    figure = history.loss_curves(write_history(tmp_path, 3) / "metrics.csv")
    losses, *scores = figure.axes
    dotted = [line for line in losses.lines if line.get_linestyle() == ":"]
    np.testing.assert_allclose(dotted[0].get_ydata(), [0.5, 1, 1.5])
    assert len(dotted) == 3
    assert [axis.get_title(loc="left") for axis in scores] == ["validation PSNR (dB) ↑"]


@pytest.fixture
def three(tmp_path):
    """Base, attention and another system, finished; the terms of the first two are the same."""

    def make(name, value, pairs, run="facial_deocclusion"):
        config = load_config(run, "quick", [f"name={name}"]).model_dump(mode="json")
        folder = write_history(tmp_path / name / "001", 4, tuple(config["losses"]))
        frame = pd.read_csv(folder / "metrics.csv")
        frame.loc[1, [c for c in frame if c.startswith("val/loss/")]] = value
        frame.to_csv(folder / "metrics.csv", index=False)
        save_file(
            {"w": torch.zeros(1)}, folder / "best.safetensors", {"config": json.dumps(config)}
        )
        (folder / "validation_pairs.json").write_text(json.dumps({"hash": pairs}))
        return release(folder, 20)

    make("base", 6.55, "one")
    make("attention", 5.64, "one")
    make("pixels", 1.0, "one", "vgg19_generator_pixel_only")
    return make


def test_released_epochs_side_by_side(three, tmp_path, capsys):
    folder = ["--runs-folder", str(tmp_path)]
    assert evaluate.main(["losses", "--runs", "base", "attention", *folder]) == 0
    text = capsys.readouterr().out
    lines = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line] for line in lines[:4]]
    assert rows[0] == ["", "epoch", "total", "l1", "adversarial", "ssim"]
    assert rows[2] == ["base", "2", "6.55", "6.55", "6.55", "6.55"]
    assert rows[3] == ["attention", "2", "**5.64**", "**5.64**", "5.64", "**5.64**"]
    assert "no merit when low: adversarial." in text
    assert "The total holds an adversarial term" in text
    where = tmp_path / "evaluation" / "losses"
    for name in ("table.md", "table.tex", "summary.csv"):
        assert (where / "base-001+attention-001" / name).is_file()
    saved = pd.read_csv(where / "base-001+attention-001" / "summary.csv")
    assert saved["val/loss/total"].tolist() == [6.55, 5.64]


def test_each_question_keeps_its_answer(three, tmp_path):
    where = tmp_path / "evaluation" / "losses"
    (tmp_path / "s.yaml").write_text("name: two of them\nruns: [base, attention]")
    folder = ["--runs-folder", str(tmp_path)]
    for asked in (["--runs", "base"], ["--runs", "base", "pixels"]):
        assert evaluate.main(["losses", *asked, *folder]) == 0
    assert evaluate.main(["losses", "--suite", str(tmp_path / "s.yaml"), *folder]) == 0
    assert {path.name for path in where.iterdir()} == {
        "base-001", "base-001+pixels-001", "two-of-them",
    }  # fmt: skip
    assert "pixels" not in (where / "base-001" / "table.md").read_text()
    for letter in "ab":
        three(letter * 90, 1.0, "one")
        assert evaluate.main(["losses", "--runs", "base", letter * 90, *folder]) == 0
    long = [path.name for path in where.iterdir() if "more" in path.name]
    assert len(long) == 2
    assert all(len(name) < 40 for name in long)


def test_only_what_is_defined_alike_is_compared(three, tmp_path):
    members = choose_with_losses(
        loss_tables.LossOptions(["base", "attention", "pixels"], runs_folder=tmp_path)
    )
    assert loss_tables.comparable("ssim", members)
    assert loss_tables.comparable("l1", members)
    assert not loss_tables.comparable("total", members)
    assert not loss_tables.comparable("adversarial", members)
    table, _ = loss_tables.released_table(members)
    best = {row[0].text: [cell.best for cell in row] for row in table.rows}
    assert best["pixels"] == [False, False, False, True, False, False]
    three("attention", 5.64, "other pairs")
    members = choose_with_losses(
        loss_tables.LossOptions(["base", "attention"], runs_folder=tmp_path)
    )
    assert not any(loss_tables.comparable(term, members) for term in ("total", "ssim", "l1"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--runs", "nobody"], "finished: attention/001, base/001, pixels/001"),
        (["--suite", "none.yaml"], "none.yaml: no such suite"),
    ],
)
def test_errors_say_what_would_be_valid(three, tmp_path, capsys, arguments, words):
    assert evaluate.main(["losses", *arguments, "--runs-folder", str(tmp_path)]) == 1
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--epochs", "0"], ["--runs", "a", "--suite", "b.yaml"]])
def test_wrong_options_are_refused(arguments):
    with pytest.raises(SystemExit) as stop:
        evaluate.main(["losses", *arguments])
    assert stop.value.code == 2


def test_a_run_without_history_is_named(three, tmp_path, capsys):
    (tmp_path / "base" / "001" / "metrics.csv").unlink()
    assert evaluate.main(["losses", "--runs", "base", "--runs-folder", str(tmp_path)]) == 1
    assert "metrics.csv: no such file" in capsys.readouterr().err
