"""Runs that differ in their seed alone as one row of a table."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from evaluation_stubs import fake_pairs, shifted_row
from safetensors import safe_open
from safetensors.torch import save_file

from deocclude.engines.cli import evaluate
from deocclude.engines.evaluation.inpainting_tables import metric_table, seeds_table
from deocclude.engines.evaluation.seeds import fold_seeds, recipe_row, reference_among, single
from deocclude.engines.evaluation.summaries import mean_of_bins, summarise
from deocclude.engines.measures.inpainting import evaluate_rows
from deocclude.engines.measures.rows import Row
from deocclude.engines.runs import finished
from deocclude.engines.runs.metadata import WEIGHTS

SETTINGS = ["data.faces=builtin", "data.masks=builtin", "data.test_per_bin=2"]


@pytest.fixture
def make_run(tmp_path, tiny_config):
    """A factory of finished runs whose network answers with one grey level."""

    def make(name, number, seed, grey=0.5, reason="epochs", images=12, minutes=5, **changed):
        overrides = [*SETTINGS, f"training.seed={seed}"]
        config = tiny_config("ablationv1", *overrides, *(f"{k}={v}" for k, v in changed.items()))
        content = config.model_dump(mode="json") | {"name": name}
        folder = tmp_path / "runs" / name / number
        folder.mkdir(parents=True)
        metadata = {"config": json.dumps(content), "contract": "{}", "metrics": "{}"}
        save_file({"grey": torch.tensor([grey])}, folder / "best.safetensors", metadata)
        facts = {"reason": reason, "images": images, "minutes": minutes}
        (folder / "finished.json").write_text(json.dumps(facts))
        return folder

    return make


@pytest.fixture
def members(tmp_path):
    """Reads what lies below runs/, every run, as `evaluate.py --fold-seeds` does."""

    def read(*names):
        folders = finished.resolve_runs(list(names), tmp_path / "runs", every=True)
        files = [folder / WEIGHTS for folder in folders]
        return finished.name_apart([finished.read_trained(file) for file in files])

    return read


@pytest.fixture
def flat(monkeypatch):
    """Weights files opened as networks that answer with their grey level."""

    class Flat(torch.nn.Module):
        def __init__(self, grey):
            super().__init__()
            self.grey = grey

        def forward(self, occluded, mask, features=None):
            return torch.full_like(occluded, self.grey)

    def load(path, device="cpu"):
        with safe_open(path, framework="pt") as file:
            grey = file.get_tensor("grey").item()
        return Flat(grey), {"config": {"data": {"size": 32, "fill": 1.0}}}

    monkeypatch.setattr("deocclude.engines.runs.weights.load_inpainter", load)


def test_runs_that_differ_in_the_seed_alone_are_one_row(make_run, members):
    for number, seed in (("001", 42), ("002", 44), ("003", 43)):
        make_run("Alpha", number, seed)
    make_run("Beta", "001", 42)
    recipes, remarks = fold_seeds(members("Alpha", "Beta"))
    assert [recipe.name for recipe in recipes] == ["Alpha (3 seeds)", "Beta"]
    assert recipes[0].seeds == (42, 43, 44)
    assert remarks == []
    assert reference_among("alpha", recipes) == "Alpha (3 seeds)"
    assert reference_among("Telea", recipes) == "Telea"
    assert reference_among(None, recipes) is None


def test_a_run_that_differs_otherwise_is_a_row_of_its_own_and_named(make_run, members):
    make_run("Alpha", "001", 42)
    make_run("Alpha", "002", 43)
    make_run("Alpha", "003", 44, **{"losses.hole_l1.weight": 9})
    recipes, remarks = fold_seeds(members("Alpha"))
    assert [recipe.name for recipe in recipes] == ["Alpha (2 seeds)", "Alpha/003"]
    (remark,) = remarks
    assert remark.startswith("Alpha/003 is a row of its own, it differs in more than the seed")
    assert "losses.hole_l1.weight 9 (Alpha/001: 3.6)" in remark


def test_settings_that_change_nothing_learned_do_not_keep_runs_apart(make_run, members):
    make_run("Alpha", "001", 42)
    make_run("Alpha", "002", 43, **{"training.log_steps": 7, "data.workers": 2})
    assert [recipe.name for recipe in fold_seeds(members("Alpha"))[0]] == ["Alpha (2 seeds)"]


def test_a_run_written_by_an_earlier_version_is_compared_as_it_reads_today(make_run, members):
    make_run("Alpha", "001", 42)
    later = make_run("Alpha", "002", 43)
    weights = later / WEIGHTS
    config = finished.read_trained(weights).config
    for key in ("task", "loss_on", "init_from"):
        config.pop(key)
    save_file({"grey": torch.tensor([0.5])}, weights, {"config": json.dumps(config)})
    assert [recipe.name for recipe in fold_seeds(members("Alpha"))[0]] == ["Alpha (2 seeds)"]


def test_the_later_of_two_runs_with_one_seed_counts(make_run, members):
    for number, seed in (("001", 42), ("002", 43), ("003", 43)):
        make_run("Alpha", number, seed)
    recipes, remarks = fold_seeds(members("Alpha"))
    assert [member.name for member in recipes[0].members] == ["Alpha/001", "Alpha/003"]
    assert remarks == [
        "Alpha/002 is left out: Alpha/003 was trained later with the same settings and the same "
        "seed 43."
    ]


def test_unequal_trainings_are_said_or_kept_apart(make_run, members):
    make_run("Alpha", "001", 42)
    make_run("Alpha", "002", 43, images=9)
    make_run("Alpha", "003", 44, reason="interrupted")
    recipes, remarks = fold_seeds(members("Alpha"))
    assert [recipe.name for recipe in recipes] == ["Alpha (2 seeds)", "Alpha/003"]
    assert "different numbers of images (seed 42: 12, seed 43: 9)" in remarks[0]
    assert "ended by interrupted (Alpha/001: epochs)" in remarks[1]


def test_two_recipes_of_one_name_have_names_of_their_own(make_run, members):
    for number, seed, weight in (("001", 42, 1), ("002", 43, 1), ("003", 42, 2), ("004", 43, 2)):
        make_run("Alpha", number, seed, **{"losses.hole_l1.weight": weight})
    recipes, _ = fold_seeds(members("Alpha"))
    assert [each.name for each in recipes] == ["Alpha/001 (2 seeds)", "Alpha/003 (2 seeds)"]
    assert reference_among("alpha", recipes) == "Alpha/001 (2 seeds)"


def test_a_reference_of_several_rows_is_the_one_with_the_most_seeds(make_run, members):
    make_run("Alpha", "001", 42, **{"losses.hole_l1.weight": 9})
    for number, seed in (("002", 43), ("003", 44)):
        make_run("Alpha", number, seed)
    make_run("Beta", "001", 42)
    recipes, _ = fold_seeds(members("Alpha", "Beta"))
    assert [each.name for each in recipes] == ["Alpha/001", "Alpha (2 seeds)", "Beta"]
    assert reference_among("ALPHA", recipes) == "Alpha (2 seeds)"
    recipes, _ = fold_seeds(members("Alpha", "Beta")[:2])
    assert reference_among("alpha", recipes) == "Alpha/001"
    assert reference_among("gamma", recipes) == "gamma"


def test_a_folded_row_is_the_mean_of_its_seeds_values(tmp_path):
    pairs = fake_pairs()
    offsets = {42: 0.02, 43: 0.04, 44: 0.09}
    seeds = tuple(
        Row(**(vars(shifted_row(f"A, seed {seed}", pairs, offset)) | {"training": {"seed": seed}}))
        for seed, offset in offsets.items()
    )
    folded = Row("A (3 seeds)", "model", "all", seeds[0].open, {"seeds": 3}, seeds)
    alone = shifted_row("B", pairs, 0.05)
    results = evaluate_rows([folded, alone], pairs, tmp_path)
    frames = [result.frame() for result in evaluate_rows(seeds, pairs, tmp_path)]
    expected = np.mean([frame["composed/psnr"] for frame in frames], axis=0)
    np.testing.assert_allclose(results[0].frame()["composed/psnr"], expected)
    assert len(list((tmp_path / "rows").glob("*.csv"))) == 4  # nothing is measured twice

    summary = summarise(results, "B")
    lines = summary.set_index(["row", "view", "metric", "bin"])
    line = lines.loc[("A (3 seeds)", "composed", "psnr", "mean")]
    assert line["seeds"] == 3
    wide = line["seeds_high"] - line["seeds_low"]
    assert wide > 2 * (line["difference_high"] - line["difference_low"])
    assert line["seeds_low"] < line["difference"] < line["seeds_high"]
    assert pd.isna(lines.loc[("B", "composed", "psnr", "mean"), "seeds_low"])
    table = metric_table(summary, "psnr", "composed", "B")
    assert "Δ to B with seeds [95 %]" in table.columns

    seeds_rows = {row[0].text: [cell.text for cell in row[1:]] for row in seeds_table(results).rows}
    means = [mean_of_bins(frame, "composed/psnr") for frame in frames]
    assert seeds_rows["A (3 seeds), PSNR (dB)"] == [
        f"{np.mean(means):.2f}", f"{np.std(means, ddof=1):.3f}", f"{min(means):.2f}",
        f"{max(means):.2f}", "42, 43, 44",
    ]  # fmt: skip


def test_the_flip_of_a_folded_row_is_a_row_beside_it(make_run, members, flat):
    make_run("Alpha", "001", 42)
    make_run("Alpha", "002", 43)
    (recipe,), _ = fold_seeds(members("Alpha"))
    plain, flipped = (recipe_row(recipe, "cpu", flip) for flip in (False, True))
    assert (plain.name, flipped.name) == ("Alpha (2 seeds)", "Alpha (2 seeds) + flip")
    assert len({plain.identity, flipped.identity, *(row.identity for row in plain.seeds)}) == 4
    lone = recipe_row(single(recipe.members[0]), "cpu")
    assert lone.seeds == ()


def test_evaluate_folds_seeds(make_run, flat, tmp_path, capsys):
    for number, seed, grey in (("001", 42, 0.4), ("002", 43, 0.6)):
        make_run("Alpha", number, seed, grey, minutes=10 * seed)
    make_run("Beta", "001", 42, 0.1)
    fixed = ["--runs-folder", str(tmp_path / "runs"), "--device", "cpu", "--lpips", "off"]
    fixed += ["--fid", "off", "--workers", "0", "--baselines", "occluded", "--reference", "alpha"]
    assert evaluate.main(["--fold-seeds", "--legacy-metrics", *fixed]) == 0
    text = capsys.readouterr().out
    table = text.split("## ")[1]
    names = [line.split("|")[1].strip() for line in table.splitlines() if "|" in line]
    assert names[2:] == ["Alpha (2 seeds)", "Beta", "Occluded input"]
    assert "Δ to Alpha (2 seeds) with seeds [95 %]" in table
    assert "## Seeds, composed, whole image" in text
    assert "2 × 12 images, 425 min each" in text
    assert "Where a row has one seed, its own luck is not in the interval." in text
    assert evaluate.main(fixed[:-2]) == 0
    assert "seeds)" not in capsys.readouterr().out
