"""What a suite has to train: states, order, budgets, differences; and the suites' own files."""

import json
import re

import pytest
from PIL import Image
from suite_stubs import QUICK, plan, request, write_run

from data.whole_files import sha256
from engines import suite, suite_jobs
from engines.config import ABLATIONS, ConfigError, available_runs, load_config
from engines.ensemble_files import MemberFile, write_recipe
from engines.ensemble_training import settle_members
from engines.run_folder import RunFolder, dump_config
from engines.suite_ensembles import fit_command
from engines.suite_files import FixedEnsemble, finished_suite, load_suite
from engines.suite_plan import plan_jobs
from engines.suite_request import Request, job_key
from engines.suite_words import describe_plan


def test_what_there_is_decides_what_is_done(tmp_path):
    write_run(tmp_path, "ablationv1")
    write_run(tmp_path, "ablationv2", reason=None, minutes=3)
    write_run(tmp_path, "ablationv3", reason="interrupted", minutes=2)
    jobs = plan(tmp_path, "ABLATIONV1", "ablationv2", "ablationv3", "occlufix", "occlufixx")
    states = {name: (job.state, job.minutes) for name, job in jobs.items()}
    assert states == {
        "ablationv1": ("finished", 5.0),
        "ablationv2": ("unfinished", 3.0),
        "ablationv3": ("unfinished", 2.0),
        "occlufix": ("missing", 0.0),
        "occlufixx": ("impossible", 0.0),
    }
    assert "did you mean occlufix?" in jobs["occlufixx"].reason


def test_what_is_needed_comes_first_and_is_no_row(tmp_path):
    jobs = plan(tmp_path, "facial_deocclusion_finetuned", "attention_gan", "occlufix")
    assert list(jobs) == [
        "facial_deocclusion", "facial_deocclusion_finetuned",
        "EfficientNetB0", "attention_gan", "occlufix",
    ]  # fmt: skip
    assert [name for name, job in jobs.items() if job.needed_only] == [
        "facial_deocclusion", "EfficientNetB0"
    ]  # fmt: skip
    assert jobs["EfficientNetB0"].task == "identity"
    assert jobs["facial_deocclusion_finetuned"].needs == ["facial_deocclusion"]
    write_run(tmp_path, "EfficientNetB0", task="identity")
    write_run(tmp_path, "facial_deocclusion")
    jobs = plan(tmp_path, "attention_gan")
    assert {name: job.state for name, job in jobs.items()} == {
        "EfficientNetB0": "finished", "attention_gan": "missing"
    }  # fmt: skip
    jobs = plan(tmp_path, "facial_deocclusion_finetuned", "facial_deocclusion")
    assert jobs["facial_deocclusion"].state == "finished"
    assert not jobs["facial_deocclusion"].needed_only


def test_settings_of_the_suite_that_another_task_lacks_stay_out_of_it(tmp_path):
    overrides = ("losses.hole_l1.weight=2", "data.size=32")
    faces = ("data.faces=builtin", "data.masks=builtin", "data.preset=mixed", "data.template=ffhq")
    overrides = (*overrides, *faces)
    jobs = plan_jobs(("attention_gan",), request(tmp_path, *overrides))
    assert jobs[0].overrides == (*QUICK, "data.size=32")
    assert jobs[1].overrides == (*QUICK, *overrides)


def test_a_budget_that_was_raised_is_used(tmp_path):
    folder = write_run(tmp_path, "ablationv1", reason="max_minutes", minutes=10)
    assert plan(tmp_path, "ablationv1", max_minutes=10)["ablationv1"].state == "finished"
    job = plan(tmp_path, "ablationv1", max_minutes=25)["ablationv1"]
    assert (job.state, job.folder) == ("unfinished", folder)
    line = suite_jobs.command(job, request(tmp_path, max_minutes=25))
    assert line[line.index("--resume") + 1] == str(folder)
    assert line[line.index("--max-minutes") + 1] == "15"
    assert "--set" not in line
    assert "--profile" not in line
    assert plan(tmp_path, "ablationv1")["ablationv1"].state == "unfinished"


def test_trained_otherwise_is_named_and_trained_anew_only_when_asked(tmp_path):
    write_run(tmp_path, "ablationv1", "data.size=48", "training.epochs=3", minutes=30)
    job = plan(tmp_path, "ablationv1", max_minutes=10)["ablationv1"]
    assert job.state == "finished"
    assert job.differences == [
        "data.size 48 (now 64)",
        "training.epochs 3 (now 6)",
        "30.0 minutes (now at most 10)",
    ]
    text = "\n".join(describe_plan([job], request(tmp_path)))
    assert "trained otherwise than asked now: data.size 48 (now 64)" in text
    assert "--fresh" in text
    assert plan(tmp_path, "ablationv1", fresh=True)["ablationv1"].state == "missing"
    write_run(tmp_path, "ablationv1", reason=None, minutes=1, number="002")  # --fresh, killed
    job = plan(tmp_path, "ablationv1", fresh=True)["ablationv1"]
    assert (job.state, job.folder.name) == ("unfinished", "002")


def test_what_does_not_matter_is_no_difference(tmp_path):
    write_run(tmp_path, "ablationv1", "data.template=ffhq", "data.cache=none", "data.workers=0")
    assert plan(tmp_path, "ablationv1")["ablationv1"].differences == []


def test_random_features_are_a_difference_once_there_is_a_network(tmp_path):
    write_run(tmp_path, "attention_gan", "features.weights=random")
    assert plan(tmp_path, "attention_gan")["attention_gan"].differences == []
    write_run(tmp_path, "EfficientNetB0", task="identity")
    (difference,) = plan(tmp_path, "attention_gan")["attention_gan"].differences
    assert "random" in difference


def test_an_identity_network_of_another_name_is_none(tmp_path):
    write_run(tmp_path, "attention_gan", "features.weights=random")
    write_run(tmp_path, "EfficientNetB0-other-places", task="identity")
    assert plan(tmp_path, "attention_gan")["attention_gan"].differences == []
    assert "EfficientNetB0" in plan(tmp_path, "attention_gan_no_edge")


@pytest.fixture
def world(tmp_path):
    """A folder with faces, and one of people beside it."""
    for name in ("faces", "identities", "others"):
        for person in "ab":
            (tmp_path / name / person).mkdir(parents=True)
            for picture in range(4):
                Image.new("RGB", (64, 64)).save(tmp_path / name / person / f"{picture}.png")
    (tmp_path / "faces" / "a").rename(tmp_path / "faces" / "train")
    (tmp_path / "faces" / "b").rename(tmp_path / "faces" / "val")
    return tmp_path


def identity_of(world, *runs, root="faces", **options):
    asked = Request(world / "runs", "small", tuple(QUICK), world / root, **options)
    return plan_jobs(runs or ("attention_gan",), asked)[0]


def test_a_network_of_drawn_people_is_not_what_real_data_ask_for(world):
    run = write_run(world / "runs", "EfficientNetB0", task="identity")
    job = identity_of(world, identities=world / "identities")
    assert (job.name, job.state) == ("EfficientNetB0", "finished")
    assert "profile quick (now small)" in job.differences
    assert f"faces builtin (now {world / 'identities'})" in job.differences
    job = identity_of(world, identities=world / "identities", fresh=True)
    assert job.state == "missing"
    weights = f"features.weights={run / 'best.safetensors'}"
    write_run(world / "runs", "attention_gan", weights)
    job = identity_of(world, "attention_gan", identities=world / "identities")
    assert f"features learned from faces builtin (now {world / 'identities'})" in job.differences


def test_the_folder_of_people_that_a_network_learned_counts(world):
    run = write_run(world / "runs", "EfficientNetB0", task="identity", profile="small")
    record = [{"data": {"faces": str(world / "identities")}}]
    (run / "environment.json").write_text(json.dumps(record))
    assert identity_of(world, identities=world / "identities").differences == []
    (difference,) = identity_of(world, identities=world / "others").differences
    assert difference == f"faces {world / 'identities'} (now {world / 'others'})"
    job = identity_of(world)  # a data folder without people asks for no others
    assert (job.state, job.differences) == ("finished", [])


def test_a_data_folder_without_people_is_said_before_anything_is_trained(world, capsys):
    job = identity_of(world)
    assert (job.name, job.state) == ("EfficientNetB0", "impossible")
    assert "holds no known people" in job.reason
    assert f"--identities {world / 'identities'}" in job.reason
    job = identity_of(world, identities=world / "identities", data=world / "faces")
    assert job.state == "missing"
    asked = Request(world / "runs", "small", data=world / "faces", identities=world / "identities")
    line = suite_jobs.command(job, asked)
    assert line[line.index("--data") + 1] == str(world / "identities")
    (world / "s.yaml").write_text("runs: [attention_gan]")
    options = ["--data", str(world / "faces"), "--output", str(world / "runs"), "--dry-run"]
    assert suite.main([str(world / "s.yaml"), *options, "--profile", "small"]) == 1
    assert "cannot be trained" in capsys.readouterr().out
    options += ["--identities", str(world / "identities")]
    assert suite.main([str(world / "s.yaml"), *options, "--profile", "small"]) == 0
    assert suite.main([str(world / "s.yaml"), *options, "--identities", "gone"]) == 1
    assert "--identities 'gone': no such folder" in capsys.readouterr().err


def test_faces_that_are_not_there_are_said_before_anything_is_trained(tmp_path):
    asked = Request(tmp_path, "small", ("data.faces=gone",), tmp_path)
    (job,) = plan_jobs(("occlufix",), asked)
    assert job.state == "impossible"
    assert "data.faces 'gone': no such folder" in job.reason


def test_a_run_in_use_is_left_alone(tmp_path):
    folder = RunFolder(write_run(tmp_path, "ablationv1", reason=None))
    folder.lock()
    job = plan(tmp_path, "ablationv1")["ablationv1"]
    assert job.state == "impossible"
    assert "is being trained by process" in job.reason
    folder.unlock()
    assert plan(tmp_path, "ablationv1")["ablationv1"].state == "unfinished"


@pytest.mark.parametrize("name", ["systems", "ablations", "reconstruction", "segmentation"])
def test_the_projects_suites_name_runs_that_there_are(name):
    chosen = load_suite(ABLATIONS / "suites" / f"{name}.yaml")
    task = "segmentation" if name == "segmentation" else "inpainting"
    assert {run.lower() for run in chosen.runs} <= set(available_runs(task))
    for table in chosen.parts():
        assert table.reference in table.runs


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tables: [{runs: [a]}]", "name must be"),
        ("tables: [{name: ../x, runs: [a]}]", "name must be"),
        ("tables: [{name: x, runs: [a]}, {name: x, runs: [b]}]", "two tables are called x"),
        ("runs: [a]\ntables: [{name: x, runs: [a]}]", "runs belong into each"),
        ("tables: []", "a list of tables"),
        ("tables: [{name: x, runs: [a], rows: 3}]", "table 1: unknown key 'rows'"),
    ],
)
def test_wrong_tables_are_named(tmp_path, text, words):
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(ValueError, match=words):
        load_suite(tmp_path / "s.yaml")


def test_teacher_and_members_are_trained_first_and_told_by_what_they_are(tmp_path):
    """A gate's folder, as its start wrote it down, against what is below the output now."""
    jobs = list(plan(tmp_path, "distill"))
    members = load_config("ensemble_gate").model.options["members"]
    assert jobs[-2:] == ["ensemble_gate", "distill"]
    assert set(members) < set(jobs)
    for member in members:
        write_run(tmp_path, member)
    asked = load_config("ensemble_gate", "quick", list(QUICK))
    folder = write_run(tmp_path, "ensemble_gate")
    (folder / "config.yaml").write_text(dump_config(settle_members(asked, tmp_path)))
    assert plan(tmp_path, "ensemble_gate")["ensemble_gate"].differences == []
    write_run(tmp_path, members[0], "training.seed=7", number="002")  # the newest counts
    (job,) = [job for job in plan(tmp_path, "ensemble_gate").values() if job.name != members[0]]
    assert "members" in job.differences[0]


def test_each_seed_is_a_job_and_starts_from_the_run_of_its_own_seed(tmp_path):
    for number, seed in (("001", 8), ("002", 7)):
        write_run(tmp_path, "facial_deocclusion", f"training.seed={seed}", number=number)
    runs = ("facial_deocclusion_finetuned", "ablationv1")
    asked = request(tmp_path, seeds=(7, 8, 9))
    jobs = {job.title: job for job in plan_jobs(runs, asked)}
    assert {title: job.state for title, job in jobs.items()} == {
        f"{name}, seed {seed}": "finished" if base_is_there else "missing"
        for seed in (7, 8, 9)
        for name, base_is_there in (
            ("facial_deocclusion", seed < 9),
            ("facial_deocclusion_finetuned", False),
            ("ablationv1", False),
        )
    }
    assert [job.seed for job in jobs.values()] == [7, 7, 7, 8, 8, 8, 9, 9, 9]
    for number, seed in (("001", 8), ("002", 7)):
        job = jobs[f"facial_deocclusion_finetuned, seed {seed}"]
        line = suite_jobs.command(job, asked)
        assert f"training.seed={seed}" in line
        assert f'init_from="{tmp_path / "facial_deocclusion" / number}"' in line
    waits = jobs["facial_deocclusion_finetuned, seed 9"]
    assert waits.needs == [jobs["facial_deocclusion, seed 9"].key]


def test_a_run_of_one_seed_does_not_stand_for_another(tmp_path):
    folder = write_run(tmp_path, "ablationv1", "training.seed=7", "data.size=48")
    jobs = plan_jobs(("ablationv1",), request(tmp_path, seeds=(7, 8)))
    assert [(job.state, job.folder) for job in jobs] == [("finished", folder), ("missing", None)]
    assert jobs[0].differences == ["data.size 48 (now 64)"]


def test_a_run_that_started_from_another_seeds_run_was_trained_otherwise(tmp_path):
    for number, seed in (("001", 7), ("002", 8)):
        write_run(tmp_path, "facial_deocclusion", f"training.seed={seed}", number=number)
    for number, seed, base in (("001", 7, "001"), ("002", 8, "001")):
        start = tmp_path / "facial_deocclusion" / base / "best.safetensors"
        changed = (f"training.seed={seed}", f"init_from={start}")
        write_run(tmp_path, "facial_deocclusion_finetuned", *changed, number=number)
    jobs = plan_jobs(("facial_deocclusion_finetuned",), request(tmp_path, seeds=(7, 8)))
    assert [job.differences for job in jobs] == [
        [],
        ['init_from "facial_deocclusion/001" (now "facial_deocclusion/002")'],
    ]


def test_seeds_share_the_network_of_their_features_and_what_is_finished_by_name(tmp_path):
    jobs = plan_jobs(("attention_gan",), request(tmp_path, seeds=(7, 8)))
    assert [job.title for job in jobs] == [
        "EfficientNetB0", "attention_gan, seed 7", "attention_gan, seed 8"
    ]  # fmt: skip
    folder = write_run(tmp_path, "ablationv1")
    (job,) = plan_jobs((str(folder),), request(tmp_path, seeds=(7, 8)))
    assert (job.title, job.state) == ("ablationv1", "finished")


def test_a_gate_and_its_student_take_the_runs_of_their_seed(tmp_path):
    members = load_config("ensemble_gate", "quick").model.options["members"]
    for name in ("EfficientNetB0", "facial_deocclusion"):
        write_run(tmp_path, name, task="identity" if name == "EfficientNetB0" else None)
    for number, seed in (("001", 7), ("002", 8)):
        for name in (*members, "ensemble_gate"):
            write_run(tmp_path, name, f"training.seed={seed}", number=number)
    asked = request(tmp_path, seeds=(8,), fresh=True)
    jobs = {job.name: job for job in plan_jobs(("ensemble_gate", "distill"), asked)}
    told = [str(tmp_path / name / "002") for name in members]
    assert jobs["ensemble_gate"].config.model.options["members"] == told
    assert f"model.members={json.dumps(told)}" in suite_jobs.command(jobs["ensemble_gate"], asked)
    assert jobs["ensemble_gate"].state == "missing"  # there is one, of members not written down
    asked = request(tmp_path, seeds=(8,))
    (job,) = (job for job in plan_jobs(("distill",), asked) if not job.needed_only)
    assert job.config.teacher.weights == str(tmp_path / "ensemble_gate" / "002")


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
    assert line[1:4] == ["-m", "engines.ensemble", "fit"]
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


def write_files(tmp_path):
    """The YAML of a run, Base, and of one that starts from it by its name, Tuned."""
    files = [tmp_path / "first.yaml", tmp_path / "second.yaml"]
    files[0].write_text("name: Base\nextends: ablationv1\n")
    files[1].write_text("name: Tuned\nextends: ablationv1\ninit_from: base\n")
    return str(files[0]), str(files[1])


def test_a_name_means_the_run_of_that_name_whose_yaml_the_suite_lists(tmp_path):
    base, tuned = write_files(tmp_path)
    assert list(plan(tmp_path, tuned, base)) == ["Base", "Tuned"]
    for number, seed in (("001", 7), ("002", 8)):
        start = write_run(tmp_path, base, f"training.seed={seed}", number=number)
        changed = (f"training.seed={seed}", f"init_from={start / 'best.safetensors'}")
        write_run(tmp_path, tuned, *changed, number=number)
    both = FixedEnsemble("both", "mean", ("Tuned", "BASE"))
    jobs = plan_jobs((tuned, base), request(tmp_path, seeds=(7, 8)), [both], tmp_path)
    assert [(job.title, job.state, job.differences) for job in jobs if not job.ensemble] == [
        (f"{name}, seed {seed}", "finished", []) for seed in (7, 8) for name in ("Tuned", "Base")
    ]
    ensembles = [job for job in jobs if job.ensemble]
    assert [job.needs for job in ensembles] == [
        [job_key(file, seed) for file in (tuned, base)] for seed in (7, 8)
    ]


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


def test_a_run_whose_start_is_gone_is_not_measured_by_another_seeds(tmp_path):
    for number, seed in (("001", 7), ("002", 8)):
        base = write_run(tmp_path, "facial_deocclusion", f"training.seed={seed}", number=number)
        changed = (f"training.seed={seed}", f"init_from={base / 'best.safetensors'}")
        write_run(tmp_path, "facial_deocclusion_finetuned", *changed, number=number)
    runs, asked = ("facial_deocclusion_finetuned",), request(tmp_path, seeds=(7, 8))
    base.rename(tmp_path / "elsewhere")
    assert [(job.state, job.differences) for job in plan_jobs(runs, asked)] == [
        ("finished", []), ("finished", [])
    ]  # fmt: skip
    write_run(tmp_path, "facial_deocclusion_finetuned", *changed, reason=None, number="002")
    assert [job.state for job in plan_jobs(runs, asked)] == ["finished", "unfinished"]
    wrong = (changed[0], f"init_from={tmp_path / 'facial_deocclusion/001/best.safetensors'}")
    write_run(tmp_path, "facial_deocclusion_finetuned", *wrong, number="002")
    assert plan_jobs(runs, asked)[1].differences == [
        'init_from "facial_deocclusion/001" (now "facial_deocclusion")'
    ]


def test_a_raised_budget_is_used_by_what_started_from_a_run_of_each_seed(tmp_path):
    ended = {"reason": "max_minutes", "minutes": 10}
    for number, seed in (("001", 7), ("002", 8)):
        seeded = f"training.seed={seed}"
        base = write_run(tmp_path, "facial_deocclusion", seeded, number=number, **ended)
        start = f"init_from={base / 'best.safetensors'}"
        write_run(tmp_path, "facial_deocclusion_finetuned", seeded, start, number=number, **ended)
    runs = ("facial_deocclusion", "facial_deocclusion_finetuned")
    jobs = plan_jobs(runs, request(tmp_path, seeds=(7, 8), max_minutes=20))
    assert [(job.state, job.folder.name) for job in jobs] == [
        ("unfinished", number) for number in ("001", "002") for _ in runs
    ]


def test_a_start_that_an_earlier_version_told_by_its_name_may_be_spelled_in_any_case(tmp_path):
    write_run(tmp_path, "facial_deocclusion")
    write_run(tmp_path, "facial_deocclusion_finetuned", "init_from=Facial_Deocclusion")
    jobs = plan(tmp_path, "facial_deocclusion_finetuned")
    assert jobs["facial_deocclusion_finetuned"].differences == []


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
