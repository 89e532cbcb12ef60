"""What a suite has to train: states, order, budgets, differences; and the suites' own files."""

import json

import pytest
from PIL import Image
from suite_stubs import QUICK, plan, request, write_run

from deocclude.engines.evaluation.suites import load_suite
from deocclude.engines.runs.config import available_runs, load_config
from deocclude.engines.runs.folder import RunFolder, dump_config
from deocclude.engines.runs.tasks import ABLATIONS
from deocclude.engines.suite import __main__ as suite
from deocclude.engines.suite import jobs as suite_jobs
from deocclude.engines.suite.plan import plan_jobs
from deocclude.engines.suite.request import Request
from deocclude.engines.suite.words import describe_place, describe_plan
from deocclude.engines.training.origins import settled


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


def test_the_time_left_is_that_of_what_is_not_there_yet(tmp_path):
    write_run(tmp_path, "ablationv1")
    asked = request(tmp_path, max_minutes=20)
    jobs = list(plan(tmp_path, "occlufix", "ablationv1", "ablationv2", max_minutes=20).values())
    names = [job.name for job in jobs]
    ahead = [describe_place(number, jobs, asked) for number in range(1, len(jobs) + 1)]
    assert "at most about 40 min of training, evaluation not counted" in str(
        describe_plan(jobs, asked)
    )
    first, last = (names.index(name) for name in ("occlufix", "ablationv2"))
    assert ahead[first] == f"job {first + 1} of {len(jobs)}, at most about 40 min of training left"
    assert ahead[last].endswith("of 3, at most about 20 min of training left")
    open_end = request(tmp_path)
    assert describe_place(1, jobs, open_end) == "job 1 of 3"


def test_trained_otherwise_is_named_and_trained_anew_only_when_asked(tmp_path):
    write_run(tmp_path, "ablationv1", "data.size=48", "training.epochs=3", minutes=30)
    job = plan(tmp_path, "ablationv1", max_minutes=10)["ablationv1"]
    assert job.state == "finished"
    assert job.differences == [
        "data.size 48 (now 64)",
        "training.epochs 3 (now 5)",
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
    (folder / "config.yaml").write_text(dump_config(settled(asked, tmp_path)))
    assert plan(tmp_path, "ensemble_gate")["ensemble_gate"].differences == []
    write_run(tmp_path, members[0], "training.seed=7", number="002")  # the newest counts
    (job,) = [job for job in plan(tmp_path, "ensemble_gate").values() if job.name != members[0]]
    assert "members" in job.differences[0]
