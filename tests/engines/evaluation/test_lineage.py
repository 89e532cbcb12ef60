"""What runs were made from, when it is asked whether they differ in their seeds alone."""

import json

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import save_file

from deocclude.engines.evaluation.seeds import fold_seeds
from deocclude.engines.runs import finished
from deocclude.engines.runs.config import load_config
from deocclude.engines.runs.metadata import WEIGHTS
from deocclude.engines.runs.recipes import (
    ensemble_config,
    members_of,
    pointer_records,
    write_recipe,
)
from deocclude.engines.training.origins import as_released, settled


@pytest.fixture
def make_run(tmp_path):
    """A factory of finished runs, as training releases them; returns the weights file."""
    written = []

    def make(name, number, seed, *overrides, recipe="ablationv1", before=False):
        config = load_config(recipe, "quick", ["data.size=32", f"training.seed={seed}", *overrides])
        members = ()
        if config.model.name == "ensemble":
            config = settled(config, tmp_path / "runs")
            members = members_of([tmp_path / member.weights for member in config.members])
        folder = tmp_path / "runs" / name / number
        folder.mkdir(parents=True)
        content = as_released(config) | {"name": name}
        if before:  # the name alone was written down
            content["init_from"] = content["init_from"].partition("/")[0]
        metadata = {"config": json.dumps(content), "contract": "{}", "metrics": "{}"}
        if members:
            metadata["members"] = json.dumps(pointer_records(members, folder))
        written.append(folder)
        weights = folder / WEIGHTS
        save_file({"number": torch.tensor([float(len(written))])}, weights, metadata)
        (folder / "finished.json").write_text(json.dumps({"reason": "epochs", "images": 12}))
        return weights

    return make


@pytest.fixture
def fold(tmp_path):
    """Rows and remarks of every run of a name, as `evaluate.py --fold-seeds` makes them."""

    def read(*names, files=()):
        folders = finished.resolve_runs(list(names), tmp_path / "runs", every=True)
        files = [*(folder / WEIGHTS for folder in folders), *files]
        members = finished.name_apart([finished.read_trained(file) for file in files])
        recipes, remarks = fold_seeds(members)
        return [recipe.name for recipe in recipes], remarks

    return read


def test_runs_that_start_from_runs_that_differ_in_the_seed_are_one_row(make_run, fold):
    for number, seed in (("001", 7), ("002", 8)):
        base = make_run("Base", number, seed)
        make_run("Tuned", number, seed, f"init_from={base}")
    assert fold("Tuned") == (["Tuned (2 seeds)"], [])


def test_what_a_run_started_from_must_be_alike_too(make_run, fold):
    first = make_run("Base", "001", 7)
    other = make_run("Base", "002", 8, "losses.hole_l1.weight=9")
    make_run("Tuned", "001", 7, f"init_from={first}")
    make_run("Tuned", "002", 8, f"init_from={other}")
    rows, _ = fold("Tuned")
    assert rows == ["Tuned/001", "Tuned/002"]


def test_the_difference_behind_a_run_is_named(make_run, fold):
    files = [make_run("Base", f"00{n}", n) for n in (1, 2)]
    files.append(make_run("Base", "003", 3, "losses.hole_l1.weight=9"))
    for n, file in enumerate(files, start=1):
        make_run("Tuned", f"00{n}", n, f"init_from={file}")
    rows, (remark,) = fold("Tuned")
    assert rows == ["Tuned (2 seeds)", "Tuned/003"]
    assert "init_from.losses.hole_l1.weight 9 (Tuned/001: 3.6)" in remark


def test_what_changes_nothing_learned_behind_a_run_keeps_nothing_apart(make_run, fold):
    first = make_run("Base", "001", 7)
    other = make_run("Base", "002", 8, "training.log_steps=5", "data.workers=2")
    make_run("Tuned", "001", 7, f"init_from={first}")
    make_run("Tuned", "002", 8, f"init_from={other}")
    assert fold("Tuned")[0] == ["Tuned (2 seeds)"]


def test_a_start_that_an_earlier_version_wrote_as_a_name_is_compared_by_it(make_run, fold):
    base = make_run("Base", "001", 7)
    make_run("Tuned", "001", 7, f"init_from={base}", before=True)
    make_run("Tuned", "002", 8, f"init_from={make_run('Base', '002', 8)}")
    make_run("Tuned", "003", 9, f"init_from={make_run('Other', '001', 9)}")
    rows, (remark,) = fold("Tuned")
    assert rows == ["Tuned (2 seeds)", "Tuned/003"]
    assert 'init_from "Other" (Tuned/001: "Base")' in remark


def test_seeds_that_share_what_they_start_from_are_said_to(make_run, fold):
    base = make_run("Base", "001", 7)
    for number, seed in (("001", 7), ("002", 8)):
        make_run("Tuned", number, seed, f"init_from={base}")
    rows, (remark,) = fold("Tuned")
    assert rows == ["Tuned (2 seeds)"]
    assert remark == (
        "Tuned: its seeds share Base/001, so their spread is that of the last training only."
    )


def make_members(make_run, number, seed, *overrides):
    base = make_run("Base", number, seed)
    tuned = make_run("Tuned", number, seed, f"init_from={base}", *overrides)
    return [tuned, make_run("Plain", number, seed)]


def test_gates_over_members_of_their_own_seeds_are_one_row(make_run, fold):
    for number, seed in (("001", 7), ("002", 8)):
        files = make_members(make_run, number, seed)
        named = f"model.members={json.dumps([str(file) for file in files])}"
        make_run("Gate", number, seed, named, recipe="ensemble_gate")
    assert fold("Gate") == (["Gate (2 seeds)"], [])
    files = make_members(make_run, "003", 9, "losses.hole_l1.weight=9")
    named = f"model.members={json.dumps([str(file) for file in files])}"
    make_run("Gate", "003", 9, named, recipe="ensemble_gate")
    rows, (remark,) = fold("Gate")
    assert rows == ["Gate (2 seeds)", "Gate/003"]
    assert "members.1.losses.hole_l1.weight 9 (Gate/001: 3.6)" in remark


def test_gates_whose_files_name_no_members_are_compared_by_their_names(make_run, fold):
    for number, seed in (("001", 7), ("002", 8)):
        files = make_members(make_run, number, seed)
        named = f"model.members={json.dumps([str(file) for file in files])}"
        gate = make_run("Gate", number, seed, named, recipe="ensemble_gate")
        with safe_open(gate, framework="pt") as file:
            kept = {key: value for key, value in file.metadata().items() if key != "members"}
        save_file({"number": torch.tensor([float(seed)])}, gate, kept)
    assert fold("Gate")[0] == ["Gate (2 seeds)"]


def test_packed_ensembles_have_the_seed_of_their_members(make_run, fold, tmp_path):
    files = []
    for number, seed in (("001", 7), ("002", 8), ("003", 9)):
        changed = ["losses.hole_l1.weight=9"] * (seed == 9)
        members = members_of(make_members(make_run, number, seed, *changed))
        labels = [member.label for member in members]
        config = ensemble_config("two", "mean", labels, members[0].config["data"])
        packed = [{"name": member.label, "config": member.config} for member in members]
        texts = {"config": json.dumps(config), "members": json.dumps(packed)}
        files.append(tmp_path / f"{seed}.safetensors")
        save_file({"number": torch.zeros(1)}, files[-1], texts)
    assert fold(files=files[:2]) == (["two (2 seeds)"], [])
    rows, (remark,) = fold(files=files)
    assert rows == ["two (2 seeds)", "two/9.safetensors"]
    assert "members.1.losses.hole_l1.weight 9 (two/7.safetensors: 3.6)" in remark


def test_two_ensembles_of_one_name_in_two_folders_are_two_rows(make_run, fold, tmp_path):
    files = []
    for number, seed in (("001", 7), ("002", 8)):
        members = members_of(make_members(make_run, number, seed))
        for combination in ("mean", "median"):
            folder = tmp_path / combination / "ensembles"
            folder.mkdir(parents=True, exist_ok=True)
            files.append(folder / f"two_seed{seed}.yaml")
            write_recipe(files[-1], members, "two", combination)
    rows, _ = fold(files=files)
    assert rows == [f"{file} (2 seeds)" for file in files[:2]]


def test_students_of_teachers_of_their_own_seeds_are_one_row(make_run, fold):
    for number, seed in (("001", 7), ("002", 8)):
        teacher = make_run("Plain", number, seed)
        make_run("Student", number, seed, f"teacher={teacher}", recipe="distill")
    assert fold("Student") == (["Student (2 seeds)"], [])


def test_an_ensembles_yaml_has_the_seed_of_its_members(make_run, fold, tmp_path):
    files = []
    for number, seed in (("001", 7), ("002", 8)):
        members = members_of(make_members(make_run, number, seed))
        files.append(tmp_path / f"seed{seed}.yaml")
        write_recipe(files[-1], members, "three", "weights", [0.1 * seed, 1 - 0.1 * seed])
    assert fold(files=files) == (["three (2 seeds)"], [])
    mixed = members_of([tmp_path / "runs" / "Tuned" / "001" / "best.safetensors",
                        tmp_path / "runs" / "Plain" / "002" / "best.safetensors"])  # fmt: skip
    files.append(tmp_path / "mixed.yaml")
    write_recipe(files[-1], mixed, "three", "weights", [0.5, 0.5])
    rows, (remark,) = fold(files=files)
    assert rows == ["three (2 seeds)", "three/mixed.yaml"]
    assert "its members have different seeds" in remark
    content = yaml.safe_load(files[0].read_text()) | {"combination": "mean"}
    files[0].write_text(yaml.safe_dump(content))
    assert "three (2 seeds)" not in fold(files=files[:2])[0]
