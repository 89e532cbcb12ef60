"""Suites of several training seeds: each run from the runs of its own seed."""

import json

import pytest
from suite_stubs import QUICK, plan, request, write_files, write_run

from deocclude.engines.evaluation.suites import FixedEnsemble
from deocclude.engines.runs.config import load_config
from deocclude.engines.suite import __main__ as suite
from deocclude.engines.suite import jobs as suite_jobs
from deocclude.engines.suite import runner
from deocclude.engines.suite.plan import plan_jobs
from deocclude.engines.suite.request import job_key


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


def test_seeds_are_trained_one_repetition_after_another(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DEOCCLUDE_DATA", raising=False)
    lines, rows = [], []

    def run_command(line, log, stopper, say):
        lines.append(line)
        name = line[2]
        number = f"{sum(other[2] == name for other in lines):03d}"
        values = [text for text in line if text.startswith(("training.seed", "init_from"))]
        write_run(tmp_path / "runs", name, *values, number=number)
        return 0, ""

    def make_tables(chosen, found, asked, folder):
        rows.append({run: [job.folder.name for job, _ in jobs] for run, jobs in found.items()})
        return {}, []

    monkeypatch.setattr(runner, "run_command", run_command)
    monkeypatch.setattr(runner, "make_tables", make_tables)
    (tmp_path / "night.yaml").write_text("runs: [facial_deocclusion_finetuned, ablationv1]\n")
    call = ["night.yaml", "--profile", "quick", "--set", *QUICK, "--device", "cpu"]
    assert suite.main([*call, "--seeds", "8", "7"]) == 0
    trained = [(line[2], next(t for t in line if t.startswith("training.seed"))) for line in lines]
    assert trained == [
        (name, f"training.seed={seed}")
        for seed in (8, 7)
        for name in ("facial_deocclusion", "facial_deocclusion_finetuned", "ablationv1")
    ]
    started = [text for line in lines for text in line if text.startswith("init_from")]
    bases = tmp_path / "runs" / "facial_deocclusion"
    assert started == [f'init_from="{bases / number}"' for number in ("001", "002")]
    both = ["001", "002"]
    assert rows[-1] == {"facial_deocclusion_finetuned": both, "ablationv1": both}
    assert "ablationv1, seed 7" in capsys.readouterr().out
    lines.clear()
    assert suite.main([*call, "--seeds", "7", "8"]) == 0
    assert lines == []
    assert rows[-1]["ablationv1"] == ["002", "001"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--seeds", "7", "7"], "--seeds 7 7: must be different whole numbers"),
        (["--seeds", "-1"], "--seeds -1: must be"),
        (["--seeds", "1", "--set", "training.seed=3"], "give one of them"),
        (["--seeds", "1", "--set", " training.seed =3"], "give one of them"),
    ],
)
def test_seeds_that_make_no_sense_are_refused(options, said, capsys):
    with pytest.raises(SystemExit):
        suite.main(["systems", *options])
    assert said in capsys.readouterr().err
