"""The tables of a suite: what they say of their rows, and what becomes of one that fails."""

from dataclasses import replace
from types import SimpleNamespace

from deocclude.engines.evaluation.suites import load_suite
from deocclude.engines.runs.tasks import IDENTITY, INPAINTING, SEGMENTATION, TASKS
from deocclude.engines.suite import tables
from deocclude.engines.suite.request import Request, SuiteJob
from deocclude.names import imported


def no_losses(options):
    raise ValueError("no history")


def watch(monkeypatch, task):
    """Replace the comparison by one that only keeps what a task's is asked; returns the list of
    that."""
    seen, known = [], imported(TASKS[task].comparison)

    def compare(comparison, **asked):
        assert comparison is known
        seen.append(comparison.options(**asked))
        return [SimpleNamespace(files={"table.md": asked["output"] / "table.md"})]

    monkeypatch.setattr(tables, "compare", compare)
    return seen


def job(name, folder="f", differences=(), task="inpainting"):
    return SuiteJob(
        name, name, task, state="finished", folder=folder, differences=list(differences)
    )


def test_tables_say_what_is_missing_and_what_is_other(tmp_path, monkeypatch):
    seen = watch(monkeypatch, INPAINTING)
    monkeypatch.setattr(tables, "compare_losses", no_losses)
    (tmp_path / "s.yaml").write_text(
        "baselines: [telea]\n"
        "tables:\n"
        "  - {name: one, runs: [a, b], reference: a}\n"
        "  - {name: two, runs: [c], baselines: none, reference: c}\n"
        "  - {name: three, runs: [a]}\n"
    )
    rows = {
        "a": [(job("a"), "out of memory\nlong story")],
        "b": [(job("b", differences=["data.size 48 (now 64)"]), "")],
        "c": [(job("c"), "")],
    }
    chosen = load_suite(tmp_path / "s.yaml")
    files, problems = tables.make_tables(chosen, rows, Request(tmp_path, "quick"), tmp_path)
    assert files == {f"table {n}": tmp_path / n / "table.md" for n in ("one", "two")}
    assert problems == [
        "losses one: no history", "losses two: no history",
        "table three: none of its runs is finished",
    ]  # fmt: skip
    assert seen[0].remarks == (
        "a is missing: out of memory",
        "b was trained otherwise than this suite asks: data.size 48 (now 64).",
        "The reference a is not among the rows.",
    )
    assert (seen[0].reference, seen[0].baselines) == (None, "telea")
    assert (seen[1].reference, seen[1].baselines) == ("c", "none")


def test_a_table_that_fails_leaves_the_others(tmp_path, monkeypatch):
    def compare(_, title, output, **asked):
        if title == "Suite: one":
            raise ValueError("faces are gone")
        return [SimpleNamespace(files={"table.md": output / "table.md"})]

    monkeypatch.setattr(tables, "compare", compare)
    monkeypatch.setattr(tables, "compare_losses", no_losses)
    (tmp_path / "s.yaml").write_text("tables: [{name: one, runs: [a]}, {name: two, runs: [a]}]")
    files, problems = tables.make_tables(
        load_suite(tmp_path / "s.yaml"),
        {"a": [(job("a"), "")]},
        Request(tmp_path, "quick"),
        tmp_path,
    )
    assert list(files) == ["table two"]
    assert problems == [
        "table one: faces are gone", "losses one: no history", "losses two: no history",
    ]  # fmt: skip


def test_tables_of_identity_networks_say_the_same_and_have_no_losses(tmp_path, monkeypatch):
    seen = watch(monkeypatch, IDENTITY)
    (tmp_path / "s.yaml").write_text("name: people\nruns: [a]")
    row = job("a", differences=["data.size 48 (now 64)"], task="identity")
    _, problems = tables.make_tables(
        load_suite(tmp_path / "s.yaml"), {"a": [(row, "")]}, Request(tmp_path, "quick"), tmp_path
    )
    assert problems == []
    assert seen[0].title == "Suite: people"
    assert "data.size 48 (now 64)" in seen[0].remarks[0]


def test_tables_may_spell_a_run_in_two_ways(tmp_path):
    (tmp_path / "s.yaml").write_text("tables: [{name: a, runs: [X]}, {name: b, runs: [x, X]}]")
    chosen = load_suite(tmp_path / "s.yaml")
    assert chosen.runs == ("X",)
    rows = {"x": [(job("x"), "broke")]}
    _, problems = tables.make_tables(chosen, rows, Request(tmp_path, "quick"), tmp_path)
    assert problems == [f"table {name}: none of its runs is finished" for name in "ab"]
    assert tables.remarks(chosen.tables[1], rows) == ("x is missing: broke",)


def test_seeds_are_folded_and_each_is_spoken_of(tmp_path, monkeypatch):
    seen = watch(monkeypatch, INPAINTING)
    monkeypatch.setattr(tables, "compare_losses", no_losses)
    (tmp_path / "s.yaml").write_text("runs: [a]\nreference: a\nbaselines: none")
    jobs = [
        SuiteJob("a", "a", "inpainting", state="finished", folder=f"a{n}", seed=n) for n in (1, 2)
    ]
    rows = {"a": [(jobs[0], ""), (jobs[1], "broke")]}
    asked = Request(tmp_path, "quick", seeds=(1, 2))
    tables.make_tables(load_suite(tmp_path / "s.yaml"), rows, asked, tmp_path)
    assert (seen[0].runs, seen[0].fold_seeds, seen[0].reference) == (["a1"], True, "a")
    assert seen[0].remarks == ("a, seed 2 is missing: broke",)


def test_a_reference_that_has_seeds_is_a_row_of_its_task(tmp_path, monkeypatch):
    seen = watch(monkeypatch, SEGMENTATION)
    (tmp_path / "s.yaml").write_text("runs: [a, b]\nreference: A\nbaselines: none")
    folders = [tmp_path / "a" / number for number in ("002", "005")]
    jobs = [job("a", folder=folder, task="segmentation") for folder in folders]
    rows = {"a": [(each, "") for each in jobs], "b": [(job("b", task="segmentation"), "")]}
    asked, chosen = Request(tmp_path, "quick", seeds=(1, 2)), load_suite(tmp_path / "s.yaml")
    tables.make_tables(chosen, rows, asked, tmp_path)
    tables.make_tables(chosen, rows | {"a": rows["a"][:1]}, asked, tmp_path)
    assert [options.reference for options in seen] == ["a/002", "A"]


def test_ensembles_are_rows_and_have_no_losses(tmp_path, monkeypatch):
    seen, losses = watch(monkeypatch, INPAINTING), []

    def compare_losses(options):
        losses.append(options)
        return [SimpleNamespace(files={"table.md": options.output / "table.md"})]

    monkeypatch.setattr(tables, "compare_losses", compare_losses)
    (tmp_path / "s.yaml").write_text("runs: [a]\nensembles: [{name: e, members: [a, b]}]")
    chosen = load_suite(tmp_path / "s.yaml")
    fitted = replace(job("e", folder=tmp_path / "e.yaml"), ensemble=chosen.ensembles[0])
    rows, asked = {"a": [(job("a"), "")], "e": [(fitted, "")]}, Request(tmp_path, "quick")
    _, problems = tables.make_tables(chosen, rows, asked, tmp_path)
    assert problems == []
    assert (seen[0].runs, seen[0].checkpoint) == (["f"], [tmp_path / "e.yaml"])
    assert [options.runs for options in losses] == [["f"]]
