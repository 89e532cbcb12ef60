"""The ensembles of a suite: after their members, fitted to these very weights, one a seed."""

import re

import pytest
from suite_stubs import request, write_files, write_run

from deocclude.data.files import sha256
from deocclude.engines.evaluation.suites import FixedEnsemble, finished_suite, load_suite
from deocclude.engines.runs.config import ConfigError
from deocclude.engines.runs.recipes import MemberFile, write_recipe
from deocclude.engines.suite.jobs import fit_command
from deocclude.engines.suite.plan import plan_jobs

ENSEMBLE = FixedEnsemble("both", "weights", ("ablationv1", "ablationv3"), 12)


def write_ensemble(tmp_path, file, names, number="001", pairs=12, combination="weights"):
    files = [tmp_path / name / number / "best.safetensors" for name in names]
    members = [MemberFile(f, sha256(f), {}, f.parent.parent.name) for f in files]
    file.parent.mkdir(parents=True, exist_ok=True)
    weights = [0.5, 0.5] if combination == "weights" else None
    write_recipe(file, members, "both", combination, weights, fitted={"asked": pairs})


def test_an_ensemble_comes_after_its_members_and_is_fitted_to_them(tmp_path):
    write_run(tmp_path, "ablationv1")
    jobs = plan_jobs((), request(tmp_path), [ENSEMBLE], tmp_path)
    assert [(job.name, job.state, job.needed_only) for job in jobs] == [
        ("ablationv1", "finished", True), ("ablationv3", "missing", True),
        ("both", "missing", False),
    ]  # fmt: skip
    write_run(tmp_path, "ablationv3")
    *members, job = plan_jobs((), request(tmp_path, data=tmp_path), [ENSEMBLE], tmp_path)
    line = fit_command(job, members, request(tmp_path, data=tmp_path))
    assert line[1:4] == ["-m", "deocclude.engines.ensemble", "fit"]
    files = [str(tmp_path / n / "001" / "best.safetensors") for n in ("ablationv1", "ablationv3")]
    assert line[5:7] == files
    assert (line[line.index("--pairs") + 1], line[line.index("--data") + 1]) == (
        "12",
        str(tmp_path),
    )


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({}, "finished"),
        ({"pairs": 24}, "missing"),
        ({"combination": "mean"}, "missing"),
        ({"names": ("ablationv3", "ablationv1")}, "missing"),
    ],
)
def test_an_ensemble_that_is_not_as_asked_is_fitted_anew(tmp_path, change, state):
    for name in ENSEMBLE.members:
        write_run(tmp_path, name)
    told = {"names": ENSEMBLE.members} | change
    write_ensemble(tmp_path, ENSEMBLE.file(tmp_path), **told)
    *_, job = plan_jobs((), request(tmp_path), [ENSEMBLE], tmp_path)
    assert job.state == state


def test_an_ensemble_of_members_that_were_trained_anew_is_fitted_anew(tmp_path):
    for name in ENSEMBLE.members:
        write_run(tmp_path, name)
    write_ensemble(tmp_path, ENSEMBLE.file(tmp_path), ENSEMBLE.members)
    write_run(tmp_path, "ablationv3", number="002")
    *_, job = plan_jobs((), request(tmp_path), [ENSEMBLE], tmp_path)
    assert job.state == "missing"
    ENSEMBLE.file(tmp_path).write_text("name: [")
    *_, job = plan_jobs((), request(tmp_path), [ENSEMBLE], tmp_path)
    assert job.state == "missing"


def test_an_ensemble_has_members_of_its_seed(tmp_path):
    for number, seed in (("001", 7), ("002", 8)):
        for name in ENSEMBLE.members:
            write_run(tmp_path, name, f"training.seed={seed}", number=number)
    write_ensemble(tmp_path, ENSEMBLE.file(tmp_path, 8), ENSEMBLE.members, "002")
    write_ensemble(tmp_path, ENSEMBLE.file(tmp_path, 7), ENSEMBLE.members, "002")
    jobs = plan_jobs((), request(tmp_path, seeds=(7, 8)), [ENSEMBLE], tmp_path)
    states = {job.title: job.state for job in jobs if job.ensemble}
    assert states == {"both, seed 7": "missing", "both, seed 8": "finished"}
    assert ENSEMBLE.files(tmp_path, every_seed=True) == [
        ENSEMBLE.file(tmp_path, seed) for seed in (7, 8)
    ]
    assert ENSEMBLE.files(tmp_path) == [ENSEMBLE.file(tmp_path, 7)]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{name: e, members: [a, A]}", "members must be different runs, found ['a', 'A']"),
        ("{name: e, members: [a]}", "members must be a list of two or more runs, found ['a']"),
        ("{name: e/f, members: [a, b]}", "name must be letters, digits and . _ -, found 'e/f'"),
        ("{name: e, members: [a, b], combination: gate}", "mean, median, weights, bins; a gate is"),
        ("{name: e, members: [a, b], pairs: 0}", "pairs must be a whole number of at least 1"),
        ("{name: e, membres: [a, b]}", "unknown key 'membres'"),
        ("{name: A, members: [a, b]}", "a is a run and an ensemble"),
        ("{name: e, members: [a, b]}, {name: E, members: [a, b]}", "two ensembles are called e"),
    ],
)
def test_an_ensemble_that_a_suite_misspells_is_refused(tmp_path, entry, said):
    path = tmp_path / "s.yaml"
    path.write_text(f"runs: [a]\nensembles: [{entry}]\n")
    with pytest.raises(ValueError, match=re.escape(said)):
        load_suite(path)


def test_tables_may_share_an_ensemble_but_not_its_name(tmp_path):
    path = tmp_path / "s.yaml"
    text = (
        "tables:\n"
        "- {name: one, runs: [a], ensembles: [{name: e, members: [a, b]}]}\n"
        "- {name: two, ensembles: [{name: e, members: [a, %s]}]}\n"
    )
    path.write_text(text % "b")
    suite = load_suite(path)
    assert [each.name for each in suite.ensembles] == ["e"]
    assert suite.tables[1].runs == ()
    path.write_text(text % "c")
    with pytest.raises(ValueError, match="tables mean different ensembles by e"):
        load_suite(path)


def test_a_suite_with_an_ensemble_that_is_not_fitted_is_not_finished(tmp_path):
    for name in ENSEMBLE.members:
        write_run(tmp_path, name)
    path = tmp_path / "s.yaml"
    members = ", ".join(ENSEMBLE.members)
    path.write_text(f"runs: [{members}]\nensembles: [{{name: both, members: [{members}]}}]\n")
    with pytest.raises(FileNotFoundError, match=r"1 of its 3 rows .* not finished .*: both; "):
        finished_suite(path, tmp_path)
    folder = load_suite(path).own_folder(tmp_path)
    folder.mkdir(parents=True)
    write_ensemble(tmp_path, ENSEMBLE.file(folder), ENSEMBLE.members)
    assert [each.name for each in finished_suite(path, tmp_path).ensembles] == ["both"]


@pytest.mark.parametrize("name", ["ablationv3", "ENSEMBLE_GATE", "base"])
def test_an_ensemble_does_not_take_the_place_of_a_run(tmp_path, name):
    base, tuned = write_files(tmp_path)
    ensemble = FixedEnsemble(name, "mean", (tuned, base, "ablationv3"))
    with pytest.raises(ConfigError, match=f"ensemble {name}: a run is called so"):
        plan_jobs(("distill",), request(tmp_path), [ensemble], tmp_path)


@pytest.mark.parametrize(
    ("member", "said"),
    [("UNetLight", "is trained for segmentation"), ("ensemble_gate", "name its members instead")],
)
def test_a_member_that_cannot_be_one_is_said_before_anything_is_trained(tmp_path, member, said):
    ensemble = FixedEnsemble("both", "mean", ("ablationv1", member))
    with pytest.raises(ConfigError, match=f"ensemble both: {member} .*{said}"):
        plan_jobs(("ablationv1",), request(tmp_path), [ensemble], tmp_path)


def test_the_ensemble_of_the_latest_runs_counts_where_one_is_asked_for(tmp_path):
    for number, seed in (("001", 8), ("002", 7)):
        for name in ENSEMBLE.members:
            write_run(tmp_path, name, f"training.seed={seed}", number=number)
        write_ensemble(tmp_path, ENSEMBLE.file(tmp_path, seed), ENSEMBLE.members, number)
    assert ENSEMBLE.files(tmp_path) == [ENSEMBLE.file(tmp_path, 7)]
    write_ensemble(tmp_path, ENSEMBLE.file(tmp_path, 7), ENSEMBLE.members, "001")
    write_ensemble(tmp_path, ENSEMBLE.file(tmp_path, 8), ENSEMBLE.members, "002")
    assert ENSEMBLE.files(tmp_path) == [ENSEMBLE.file(tmp_path, 8)]
    write_ensemble(tmp_path, ENSEMBLE.file(tmp_path), ENSEMBLE.members, "002")
    assert ENSEMBLE.files(tmp_path) == [ENSEMBLE.file(tmp_path)]
