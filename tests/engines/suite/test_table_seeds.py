"""Suites that say themselves how they are trained: seeds of all tables or some, profile, set."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from suite_stubs import QUICK, request, write_run

from deocclude.engines.evaluation.inpainting import InpaintingOptions
from deocclude.engines.evaluation.segmentation import MaskOptions
from deocclude.engines.evaluation.suites import finished_suite, load_suite, suite_of
from deocclude.engines.suite import __main__ as suite
from deocclude.engines.suite import runner, tables
from deocclude.engines.suite.plan import plan_suite

MIXED = """
name: mixed
baselines: none
tables:
  - name: main
    runs: [facial_deocclusion_finetuned, ablationv1]
    seeds: [42, 43]
    reference: ablationv1
  - {name: more, runs: [facial_deocclusion, ABLATIONV1, ablationv2]}
"""


@pytest.fixture
def mixed(tmp_path):
    """A suite of a table with seeds and one without, which share a run."""
    path = tmp_path / "mixed.yaml"
    path.write_text(MIXED)
    return path


def written(root, *seeds):
    """Every run of MIXED, with each seed in a folder of that number."""
    for seed in seeds:
        number, seeded = f"{seed:03d}", f"training.seed={seed}"
        base = write_run(root, "facial_deocclusion", seeded, number=number)
        start = f"init_from={base / 'best.safetensors'}"
        write_run(root, "facial_deocclusion_finetuned", seeded, start, number=number)
        write_run(root, "ablationv1", seeded, number=number)
        write_run(root, "ablationv2", seeded, number=number)


def test_a_run_has_the_seeds_of_all_its_tables_and_the_first_ones_come_first(tmp_path, mixed):
    jobs = plan_suite(load_suite(mixed), request(tmp_path), tmp_path)
    assert [(job.name, job.seed, job.needed_only) for job in jobs] == [
        ("facial_deocclusion", 42, False),
        ("facial_deocclusion_finetuned", 42, False),
        ("ablationv1", 42, False),
        ("ablationv2", 42, False),
        ("facial_deocclusion", 43, True),
        ("facial_deocclusion_finetuned", 43, False),
        ("ablationv1", 43, False),
    ]
    assert [job.title for job in jobs if job.own_seed] == [
        "facial_deocclusion, seed 42", "ablationv1, seed 42", "ablationv2, seed 42"
    ]  # fmt: skip
    jobs = plan_suite(load_suite(mixed), request(tmp_path, seeds=(7,)), tmp_path)
    assert {job.seed for job in jobs} == {7}
    assert len(jobs) == 4


def test_the_network_of_features_is_one_job_where_it_is_a_row_too(tmp_path):
    (tmp_path / "s.yaml").write_text(
        "tables:\n"
        "- {name: main, runs: [attention_gan], seeds: [42, 43]}\n"
        "- {name: people, runs: [efficientnetb0]}\n"
    )
    jobs = plan_suite(load_suite(tmp_path / "s.yaml"), request(tmp_path), tmp_path)
    assert [job.title for job in jobs] == [
        "EfficientNetB0, seed 42",
        "attention_gan, seed 42",
        "attention_gan, seed 43",
    ]  # fmt: skip
    assert {tuple(job.needs) for job in jobs[1:]} == {(jobs[0].key,)}


def test_an_ensemble_of_a_table_without_seeds_has_the_members_of_their_own(tmp_path):
    (tmp_path / "s.yaml").write_text(
        "tables:\n"
        "- {name: main, runs: [ablationv1], seeds: [43, 42]}\n"
        "- {name: both, ensembles: [{name: e, members: [ablationv1, ablationv3]}]}\n"
    )
    chosen = load_suite(tmp_path / "s.yaml")
    jobs = plan_suite(chosen, request(tmp_path), tmp_path)
    assert [job.title for job in jobs] == [
        "ablationv1, seed 43", "ablationv1, seed 42", "ablationv3, seed 42", "e, seed 42"
    ]  # fmt: skip
    assert jobs[-1].folder == chosen.ensembles[0].file(tmp_path, 42)
    for name in ("ablationv1", "ablationv3"):
        for seed in (42, 43):
            number = f"{seed:03d}"
            write_run(tmp_path / "runs", name, f"training.seed={seed}", number=number)
    with pytest.raises(FileNotFoundError, match=r"1 of its 3 rows are not finished .*: e; "):
        finished_suite(tmp_path / "s.yaml", tmp_path / "runs")
    for seed in (None, 42, 43):
        file = chosen.ensembles[0].file(chosen.own_folder(tmp_path / "runs"), seed)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (each,) = finished_suite(tmp_path / "s.yaml", tmp_path / "runs").tables[1].ensembles
    assert [f.parent.name for f in each.files(chosen.own_folder(tmp_path / "runs"))] == ["seed42"]


def test_a_table_with_seeds_is_folded_and_one_without_shows_the_own_seed(
    tmp_path, mixed, monkeypatch, capsys
):
    """From the command line to what its tables are asked to compare."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DEOCCLUDE_DATA", raising=False)
    written(Path("runs"), 42, 43, 44)
    seen = []

    def compare(_, **asked):
        seen.append(InpaintingOptions(**asked))
        return [SimpleNamespace(files={"table.md": asked["output"] / "table.md"})]

    monkeypatch.setattr(tables, "compare", compare)
    monkeypatch.setattr(tables, "compare_losses", lambda options: compare(0, output=options.output))
    call = ["mixed.yaml", "--profile", "quick", "--set", *QUICK, "--device", "cpu"]
    assert suite.main(call) == 0
    main, more = (options for options in seen if options.runs)
    folders = ("facial_deocclusion_finetuned/042", "facial_deocclusion_finetuned/043",
               "ablationv1/042", "ablationv1/043")  # fmt: skip
    assert (main.runs, main.fold_seeds) == ([f"runs/{folder}" for folder in folders], True)
    alone = ("facial_deocclusion/042", "ablationv1/042", "ablationv2/042")
    assert (more.runs, more.fold_seeds) == ([f"runs/{folder}" for folder in alone], False)
    # evaluate.py --suite compares the same, whatever was trained last
    options = InpaintingOptions(suite=mixed, measures=())
    again = options.of_tables(suite_of(options))
    assert [(o.runs, o.fold_seeds, o.reference) for o in again] == [
        (o.runs, o.fold_seeds, o.reference) for o in (main, more)
    ]
    options = InpaintingOptions(suite=mixed, measures=(), fold_seeds=True)
    assert options.of_tables(suite_of(options))[1].runs == [
        "facial_deocclusion",
        "ABLATIONV1",
        "ablationv2",
    ]
    seen.clear()
    assert suite.main([*call, "--seeds", "44"]) == 0
    main, more = (options for options in seen if options.runs)
    assert main.runs == ["runs/facial_deocclusion_finetuned/044", "runs/ablationv1/044"]
    assert (more.runs[0], more.fold_seeds) == ("runs/facial_deocclusion/044", True)


def test_what_is_missing_of_a_table_with_seeds_is_named_by_its_seed(tmp_path, mixed):
    written(tmp_path, 42)
    said = r"2 of its 6 rows .*: facial_deocclusion_finetuned, seed 43, ablationv1, seed 43; "
    with pytest.raises(FileNotFoundError, match=said):
        finished_suite(mixed, tmp_path)


def test_segmenters_of_several_seeds_are_rows_by_their_numbers(tmp_path):
    for seed in (42, 43):
        write_run(
            tmp_path, "UNet", f"training.seed={seed}", number=f"{seed:03d}", task="segmentation"
        )
    (tmp_path / "s.yaml").write_text("runs: [UNet]\nseeds: [43, 42]\nreference: unet")
    options = MaskOptions(suite=tmp_path / "s.yaml", runs_folder=tmp_path)
    (one,) = options.of_tables(suite_of(options))
    assert (one.runs, one.reference) == (
        [str(tmp_path / f"UNet/0{n}") for n in (43, 42)],
        "UNet/043",
    )


def asked_of(monkeypatch, tmp_path, text, *options):
    """What a suite of this YAML asks of its runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DEOCCLUDE_DATA", raising=False)
    seen = []
    monkeypatch.setattr(runner, "run_suite", lambda chosen, asked, dry: seen.append(asked) or 0)
    Path("s.yaml").write_text(text)
    assert suite.main(["s.yaml", "--device", "cpu", *options]) == 0
    return seen[0]


def test_profile_and_settings_of_the_suite_count_unless_the_command_says_otherwise(
    tmp_path, monkeypatch
):
    text = "runs: [ablationv1]\nprofile: small\nset: [training.epochs=3, data.size=32]"
    asked = asked_of(monkeypatch, tmp_path, text)
    assert asked.profile == "small"
    assert asked.overrides == ("training.epochs=3", "data.size=32")
    asked = asked_of(monkeypatch, tmp_path, text, "--set", "data.size=48", "--profile", "full")
    assert asked.profile == "full"
    (job,) = plan_suite(load_suite(Path("s.yaml")), asked, tmp_path)
    assert (job.config.training.epochs, job.config.data.size) == (3, 48)
    assert asked_of(monkeypatch, tmp_path, text, "--profile", "auto").profile == "quick"
    assert asked_of(monkeypatch, tmp_path, "runs: [ablationv1]").profile == "quick"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("runs: [a]\nseeds: [1, 1]", "a list of different whole numbers of at least 0, found"),
        ("runs: [a]\nseeds: [-1]", "found [-1]"),
        ("runs: [a]\nseeds: 42", "found 42"),
        ("seeds: [x]\ntables: [{name: t, runs: [a], seeds: [1]}]", "found ['x']"),
        ("tables: [{name: t, runs: [a], seeds: [true]}]", "table 1: seeds must be"),
        ("tables: [{name: t, runs: [a], profile: full}]", "table 1: unknown key 'profile'"),
        ("runs: [a]\nprofile: [full]", "profile must be a text, found ['full']"),
        ("runs: [a]\nset: training.epochs=3", "set must be a list of KEY=VALUE"),
        ("runs: [a]\nset: [training.epochs]", "found ['training.epochs']"),
        ("runs: [a]\nseeds: [1]\nset: [training.seed=3]", "training.seed in set: give one"),
    ],
)
def test_what_a_suite_says_wrongly_is_named(tmp_path, text, words):
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(ValueError, match=re.escape(words)):
        load_suite(tmp_path / "s.yaml")


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("seeds: [1]", ["--set", "training.seed=3"], "states seeds; --seeds N gives others"),
        ("profile: fast", [], "profile 'fast' is not known; valid are auto, full"),
        ("set: [training.epocs=3]", [], "training.epocs"),
    ],
)
def test_what_no_run_can_be_trained_with_is_one_line(
    tmp_path, monkeypatch, capsys, text, options, words
):
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(f"runs: [ablationv1]\n{text}")
    assert suite.main(["s.yaml", *options]) == 1
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_tables_without_seeds_of_their_own_have_the_suites(tmp_path):
    (tmp_path / "s.yaml").write_text(
        "seeds: [1, 2]\ntables: [{name: a, runs: [x]}, {name: b, runs: [x], seeds: []}]"
    )
    assert [table.seeds for table in load_suite(tmp_path / "s.yaml").parts()] == [(1, 2), ()]
