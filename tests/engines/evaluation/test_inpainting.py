"""`evaluate.py` from run folders, suites and your own files to its tables."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from deocclude.data.seeding import keyed_rng
from deocclude.data.settings import Data
from deocclude.engines.cli import evaluate, summary
from deocclude.engines.evaluation.compare import compare
from deocclude.engines.evaluation.inpainting import INPAINTERS
from deocclude.engines.evaluation.suites import finished_suite, load_suite
from deocclude.engines.measures.lpips import LpipsChoice
from deocclude.engines.report.tables import Cell, Table
from deocclude.engines.report.writers import to_markdown
from deocclude.engines.runs import finished
from deocclude.engines.runs import pairs as runs_pairs
from deocclude.engines.runs.folder import RunFolder
from deocclude.engines.training.run import Outcome

SIZE = 32


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two finished runs of `Alpha`, one of `Beta`, an unfinished one of `Gamma`."""

    def make(name, number, value):
        folder = tmp_path / "runs" / name / number
        folder.mkdir(parents=True)
        data = Data(faces="builtin", masks="builtin", size=SIZE, test_per_bin=2)
        config = {"name": name, "data": data.model_dump(mode="json"), "model": {"name": "ifacenet"}}
        metadata = {"config": json.dumps(config), "contract": "{}", "metrics": "{}"}
        save_file({"value": torch.tensor([value])}, folder / "best.safetensors", metadata)
        return folder

    for name, number, value in (("Alpha", "001", 0.1), ("Alpha", "002", 0.2), ("Beta", "001", 0.3)):
        facts = json.dumps({"reason": "epochs", "images": 1234, "minutes": 5.0})
        (make(name, number, value) / "finished.json").write_text(facts)
    make("Gamma", "001", 0.4)

    class Flat(torch.nn.Module):
        def forward(self, occluded, mask, features=None):
            return torch.full_like(occluded, 0.5)

    def load(path, device="cpu"):
        return Flat(), {"config": {"data": {"size": SIZE, "fill": 1.0}}}

    monkeypatch.setattr("deocclude.engines.runs.weights.load_inpainter", load)
    return tmp_path / "runs"


def run_evaluate(runs, *arguments):
    fixed = ["--runs-folder", str(runs), "--device", "cpu", "--workers", "0"]
    fixed += ["--lpips", "off", "--fid", "off"]
    return evaluate.main([*arguments, *fixed])


def test_evaluate_alone_takes_the_latest_finished_runs(runs, capsys):
    assert run_evaluate(runs, "--baselines", "occluded,telea") == 0
    text = capsys.readouterr().out
    table = text.split("## ")[1]
    assert [line.split("|")[1].strip() for line in table.splitlines() if "|" in line] == [
        "", "-" * 14, "Alpha", "Beta", "Occluded input", "Telea",
    ]  # fmt: skip
    assert "1,234 images, 5 min" in text
    folder = next((runs / "evaluation").iterdir())
    assert (folder / "table.tex").is_file()
    assert str(folder / "table.md") in text
    saved = json.loads((folder / "pairs.json").read_text())
    assert saved["hash"].startswith(folder.name)


def test_runs_suite_and_checkpoint_choose_rows(runs, tmp_path, capsys):
    latest = [f"{run.parent.name}/{run.name}" for run in finished.finished_runs(runs)]
    assert latest == ["Alpha/002", "Beta/001"]
    assert len(finished.finished_runs(runs, every=True)) == 3
    both = finished.resolve_runs(["alpha", "Beta/001", str(runs / "Gamma" / "001")], runs)
    assert [f"{run.parent.name}/{run.name}" for run in both] == [
        "Alpha/002", "Beta/001", "Gamma/001",
    ]  # fmt: skip
    suite = tmp_path / "suite.yaml"
    suite.write_text("runs: [Alpha/001, Alpha/002]\nbaselines: none\nreference: Alpha/002\n")
    assert run_evaluate(runs, "--suite", str(suite), "--limit", "6") == 0
    text = capsys.readouterr().out
    assert "Δ to Alpha/002" in text
    assert "N = 6 pairs" in text
    weights = str(runs / "Beta" / "001" / "best.safetensors")
    given = ["--checkpoint", weights, "--baselines", "none", "--output", str(tmp_path / "out")]
    assert run_evaluate(runs, *given) == 0
    assert (tmp_path / "out" / "summary.csv").is_file()


def test_a_reference_is_known_before_anything_is_measured(runs, capsys):
    asked = ["--runs", "Alpha", "--limit", "6", "--reference"]
    assert run_evaluate(runs, *asked, "ppca", "--baselines", "telea,mean_colour") == 1
    assert "rows: Alpha, Mean colour, Telea" in capsys.readouterr().err
    assert not list(runs.rglob("*.csv"))
    assert run_evaluate(runs, *asked, "mean_colour", "--baselines", "telea,mean_colour") == 0
    assert "Δ to Mean colour" in next(runs.rglob("table.md")).read_text()


def test_a_run_may_be_named_by_its_yaml(runs, tmp_path):
    own = tmp_path / "mine.yaml"
    own.write_text("name: Alpha\n")
    other = tmp_path / "Beta.yaml"  # its name is that of the file
    other.write_text("extends: Alpha\n")
    found = finished.resolve_runs([str(own), str(other)], runs)
    assert [f"{run.parent.name}/{run.name}" for run in found] == ["Alpha/002", "Beta/001"]
    suite = tmp_path / "suite.yaml"
    suite.write_text(f"runs: [{own}]\nbaselines: none\n")
    assert finished_suite(suite, runs).runs == (str(own),)
    (tmp_path / "new.yaml").write_text("name: Delta\n")
    with pytest.raises(FileNotFoundError, match=r"new\.yaml: no finished run of that name"):
        finished.resolve_runs([str(tmp_path / "new.yaml")], runs)


def test_a_suite_of_several_tables_gives_each_its_folder_and_shares_values(runs, tmp_path, capsys):
    suite = tmp_path / "suite.yaml"
    suite.write_text(
        "name: my suite\n"
        "tables:\n"
        "  - {name: first, runs: [Alpha/002, Beta], reference: Beta, baselines: none}\n"
        "  - {name: second, runs: [Beta], baselines: [telea]}\n"
    )
    assert run_evaluate(runs, "--suite", str(suite), "--limit", "6") == 0
    text = capsys.readouterr().out
    assert "# Evaluation: my suite, first" in text
    assert "# Evaluation: my suite, second" in text
    first, second = (runs / "evaluation" / "my-suite" / name for name in ("first", "second"))
    assert "Δ to Beta" in (first / "table.md").read_text()
    assert "Telea" not in (first / "table.md").read_text()
    assert "Telea" in (second / "table.md").read_text()
    assert len(list(runs.glob("evaluation/*/rows/*.csv"))) == 3


def test_remarks_stand_above_the_tables(runs, tmp_path):
    (report,) = compare(
        INPAINTERS, runs=["Beta"], baselines="none", limit=6, output=tmp_path / "out",
        runs_folder=runs, device="cpu", lpips="off", fid="off", workers=0, title="Mine",
        remarks=("Beta is small.",),
    )  # fmt: skip
    assert report.markdown.startswith("# Mine")
    assert "- Beta is small.\n\n## PSNR" in report.markdown
    assert "Beta is small." in (tmp_path / "out" / "table.md").read_text()


def test_own_images_and_one_mask(runs, tmp_path, capsys):
    from PIL import Image

    (tmp_path / "own").mkdir()
    for i in range(3):
        image = keyed_rng(i).integers(0, 256, (40, 48, 3), np.uint8)
        Image.fromarray(image).save(tmp_path / "own" / f"{i}.png")
    mask = np.zeros((40, 48), np.uint8)
    mask[10:20, 14:30] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    where = ["--images", str(tmp_path / "own"), "--masks", str(tmp_path / "mask.png")]
    assert run_evaluate(runs, "--runs", "Beta", "--baselines", "telea", *where) == 0
    assert "N = 3 pairs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--runs", "Delta"], "finished: Alpha/001, Alpha/002, Beta/001"),
        (["--runs", "Delta", "soclnet"], "`python train_segmentation.py soclnet` makes one"),
        (["--runs", "Delta", "soclnet"], "Delta, soclnet: no finished runs of these names"),
        (["--runs", "efficientnetb0"], "Beta/001; `python train_identity.py efficientnetb0`"),
        (["--runs", "Delta"], "; Delta is no run of ablations/"),
        (["--suite", "none.yaml"], "none.yaml: no such suite; valid are ablations, "),
        (["--suite", "Reconstruction"], "ablationv2, ablationv3, Reconstruction_as_published; `p"),
        (["--suite", "Reconstruction"], "`python -m engines.suite Reconstruction` trains what is"),
        (["--checkpoint", "gone.safetensors"], "gone.safetensors: no such weights file"),
        (["--baselines", "fast"], "unknown baseline 'fast'"),
        (["--runs", "none", "--baselines", "none"], "nothing to compare"),
        (["--reference", "Delta", "--baselines", "none", "--limit", "6"], "rows: Alpha, Beta"),
        (["--images", "a", "--masks", "b"], "--images a: no such"),
    ],
)
def test_errors_say_what_would_be_valid(runs, capsys, arguments, message):
    assert run_evaluate(runs, *arguments) == 1
    error = capsys.readouterr().err
    assert error.splitlines()[-1].startswith("error: ")
    assert message in error


@pytest.mark.parametrize(
    "arguments",
    [
        ["--per-bin", "0"],
        ["--size", "31"],
        ["--limit", "0"],
        ["--batch", "-2"],
        ["--workers", "-1"],
        ["--limit", "many"],
    ],
)
def test_numbers_that_cannot_be_are_refused(runs, capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        run_evaluate(runs, *arguments)
    assert stop.value.code == 2
    assert f"argument {arguments[0]}: " in capsys.readouterr().err
    with pytest.raises(ValueError, match="--size 16: must be at least 32"):
        runs_pairs.group_by_folders([], runs, runs, size=16)
    trained = finished.read_trained(runs / "Beta" / "001" / "best.safetensors")
    with pytest.raises(ValueError, match="test_per_bin"):
        runs_pairs.group_by_pairs([trained], per_bin=0)


def test_an_output_that_is_a_file_is_one_line(runs, tmp_path, capsys):
    (tmp_path / "out").write_text("mine")
    assert run_evaluate(runs, "--baselines", "none", "--output", str(tmp_path / "out")) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: ")
    assert (tmp_path / "out").read_text() == "mine"
    (tmp_path / "suite.yaml").write_text("runs: [a")
    assert run_evaluate(runs, "--suite", str(tmp_path / "suite.yaml")) == 1
    assert "is not valid YAML" in capsys.readouterr().err


def test_no_finished_run_says_which_command_makes_one(tmp_path, capsys):
    assert run_evaluate(tmp_path / "runs") == 1
    assert "python train_inpainting.py Reconstruction" in capsys.readouterr().err


def test_truncated_weights_are_named(runs):
    path = runs / "Beta" / "001" / "best.safetensors"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ValueError, match=r"best\.safetensors: is truncated"):
        finished.read_trained(path)


def test_recorded_folders_are_used_again(runs):
    folder = runs / "Beta" / "001"
    record = [{"data": {"faces": "some/faces", "masks": {"source": "folder", "folder": "m"}}}]
    (folder / "environment.json").write_text(json.dumps(record))
    data = finished.read_trained(folder / "best.safetensors").data
    assert data.faces.endswith("faces")
    assert data.masks.endswith("m")
    with pytest.raises(FileNotFoundError, match="some/faces"):
        runs_pairs.group_by_pairs([finished.read_trained(folder / "best.safetensors")])


def write_faces(root, **colours):
    """A folder of faces with the three splits, each picture in the colour of its split."""
    from PIL import Image

    for split, colour in colours.items():
        (root / split).mkdir(parents=True)
        for name in "abc":
            Image.new("RGB", (40, 40), colour).save(root / split / f"{name}.png")
    return root


def rewrite_config(folder, **data):
    """Change the data part of a run's configuration."""
    weights = folder / "best.safetensors"
    config = finished.read_trained(weights).config
    config["data"] |= data
    save_file({"value": torch.tensor([0.3])}, weights, {"config": json.dumps(config)})
    return weights


def colours(pairs):
    return {tuple(pairs.load(i)[0][0, 0].tolist()) for i in range(len(pairs))}


def test_a_data_folder_given_replaces_what_depends_on_one(runs, tmp_path):
    faces = write_faces(tmp_path / "faces", train="black", val="black", test="red")
    given = write_faces(tmp_path / "given", train="black", val="black", test="lime")
    weights = rewrite_config(runs / "Beta" / "001", faces="auto")
    group = runs_pairs.group_by_pairs([finished.read_trained(weights)], given, per_bin=1)[0]
    assert colours(group.pairs) == {(0, 255, 0)}
    rewrite_config(runs / "Beta" / "001", faces=str(faces))
    group = runs_pairs.group_by_pairs([finished.read_trained(weights)], given, per_bin=1)[0]
    assert colours(group.pairs) == {(255, 0, 0)}
    rewrite_config(runs / "Beta" / "001", faces="builtin")
    group = runs_pairs.group_by_pairs([finished.read_trained(weights)], given, per_bin=1)[0]
    assert group.pairs.pairs[0].image.startswith("builtin/")


def test_the_split_of_the_run_counts_on_its_own_faces(runs, tmp_path):
    """Whatever the folders say by now: a picture that was trained on is no test picture."""
    faces = write_faces(tmp_path / "faces", train="black", val="black", test="red")
    given = write_faces(tmp_path / "given", train="black", val="black", test="lime")
    folder = runs / "Beta" / "001"
    weights = rewrite_config(folder, faces="auto")
    masks = {"source": "generated"}
    record = [{"data": {"faces": str(faces.resolve()), "masks": masks}}]
    (folder / "environment.json").write_text(json.dumps(record))
    split = {"train": ["test/a.png"], "val": ["train/a.png"], "test": ["val/a.png", "val/b.png"]}
    (folder / "split.json").write_text(json.dumps({"rule": "of the run", **split}))
    trained = [finished.read_trained(weights)]
    for own in (None, faces):
        group = runs_pairs.group_by_pairs(trained, own, per_bin=1)[0]
        assert {p.image for p in group.pairs.pairs} <= set(split["test"])
        assert group.pairs.training().names == split["train"]  # what ppca is fitted to
    assert colours(runs_pairs.group_by_pairs(trained, given, per_bin=1)[0].pairs) == {(0, 255, 0)}


def test_a_finished_run_is_summed_up_on_its_own_data_in_its_own_folder(runs, tmp_path, monkeypatch):
    """Data given elsewhere and the user's comparison of the same pairs stay out of it."""
    given = write_faces(tmp_path / "given", train="black", val="black", test="lime")
    monkeypatch.setenv("DEOCCLUDE_DATA", str(given))
    monkeypatch.setattr(summary, "FAST_BASELINES", "occluded")
    assert run_evaluate(runs, "--baselines", "mean_colour") == 0
    compared = next((runs / "evaluation").iterdir())
    before = (compared / "table.md").read_text()
    folder = RunFolder(runs / "Beta" / "001")
    monkeypatch.setattr(folder, "config", lambda: None)
    outcome = Outcome(folder, "epochs", 5, 40, 0.1, True)
    monkeypatch.setattr(
        "deocclude.engines.measures.choice.build_lpips", lambda *_: LpipsChoice("alex", None, "-")
    )
    text = summary.summarise_run(outcome, runs, "cpu")
    assert "built-in faces" in text
    assert (compared / "table.md").read_text() == before
    for name in ("table.md", "figures/examples.png"):
        assert str(folder.path / "evaluation" / name) in text
        assert (folder.path / "evaluation" / name).is_file()
    assert not (folder.path / "evaluation" / "rows").exists()
    assert len(list((compared / "rows").glob("*.csv"))) == 4  # two runs, two baselines


def test_suite_of_the_project_is_valid_and_a_wrong_key_is_named(tmp_path):
    suite = load_suite(Path("ablations/suites/reconstruction.yaml"))
    assert suite.runs[0] == suite.reference == "Reconstruction"
    wrong = tmp_path / "s.yaml"
    wrong.write_text("runs: [a]\nrows: 3\n")
    with pytest.raises(ValueError, match="unknown key 'rows'; valid: name, description, runs"):
        load_suite(wrong)


def test_a_column_of_narrow_numbers_is_a_column_to_every_reader():
    table = Table("Few", ["", "n"], [[Cell("a"), Cell("1")]])
    lines = to_markdown([table], "Title", []).splitlines()
    assert [line for line in lines if line.startswith("|")] == [
        "|     |   n |", "| --- | --: |", "| a   |   1 |",
    ]  # fmt: skip


def test_rows_of_one_name_are_told_apart_by_as_little_as_it_takes(tmp_path):
    files = [
        "runs/X/001/best.safetensors", "runs/X/002/best.safetensors", "runs/Y/001/best.safetensors",
        "e/e.yaml", "e/seed7/e.yaml",
    ]  # fmt: skip
    members = [
        finished.Trained(name, tmp_path / file, {}, None, None)
        for name, file in zip("XXYee", files, strict=True)
    ]
    named = [member.name for member in finished.name_apart(members)]
    assert named == ["X/001", "X/002", "Y", "e/e.yaml", "seed7/e.yaml"]
    twins = [
        finished.Trained("X", tmp_path / root / "X/001/best.safetensors", {}, None, None)
        for root in "ab"
    ]
    named = [member.name for member in finished.name_apart(twins)]
    assert named == [str(twin.checkpoint) for twin in twins]
