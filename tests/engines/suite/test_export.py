"""Weights that ship made from finished runs: small, the same answers, no path of this machine."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from release_stubs import write_weights
from safetensors import safe_open

from deocclude.engines.evaluation.suites import EXPORTED, load_suite
from deocclude.engines.runs import released
from deocclude.engines.runs.config import available_runs, load_config
from deocclude.engines.runs.folder import dump_config
from deocclude.engines.runs.metadata import FAITHFUL, SHIPPED, release_metadata
from deocclude.engines.runs.released import FILES, shipped_file
from deocclude.engines.runs.weights import (
    load_inpainter,
    load_release,
    load_segmenter,
    save_release,
)
from deocclude.engines.suite import export
from deocclude.engines.suite.export import export_suite, export_weights, main
from deocclude.engines.suite.request import FINISHED, SuiteJob

FACTS = {
    "reason": "epochs",
    "steps": 90,
    "planned_steps": 90,
    "images": 360,
    "minutes": 4.5,
    "device": "a CPU",
    "best": {"metric": "composed/psnr", "value": 21.5, "step": 90},
}


@pytest.fixture
def runs(tmp_path):
    """Finished runs as the release suite leaves them."""
    for name, task in (
        ("release-inpainter-faithful", "inpainting"),
        ("release-inpainter-sharp", "inpainting"),
        ("release-segmenter", "segmentation"),
    ):
        faces = str(tmp_path / "data" / "faces256")
        file = write_weights(tmp_path / name / "001" / "best.safetensors", task, None, faces=faces)
        (file.parent / "finished.json").write_text(json.dumps(FACTS))
        data = {"faces": faces, "images": {"train": 5, "val": 1, "test": 1}}
        start = {"device": "a CPU", "seed": 42, "commit": "abc", "data": data}
        (file.parent / "environment.json").write_text(json.dumps([start]))
    start = tmp_path / "release-inpainter-faithful" / "001" / "best.safetensors"
    config = load_config("student_alone", "quick", [f"init_from=[{start}, {start}]"])
    (tmp_path / "release-inpainter-sharp" / "001" / "config.yaml").write_text(dump_config(config))
    return tmp_path


def files_of(runs):
    return {
        "inpainter": runs / "release-inpainter-sharp" / "001" / "best.safetensors",
        "segmenter": runs / "release-segmenter" / "001" / "best.safetensors",
    }


def test_what_is_exported_is_what_ships(runs, monkeypatch):
    sources, folder = files_of(runs), runs / "weights"
    sources["inpainter-faithful"] = runs / "release-inpainter-faithful" / "001" / "best.safetensors"
    files = export_weights(sources, folder, "float16")
    monkeypatch.setattr(released, "FOLDER", folder)
    for what, source in sources.items():
        name = FAITHFUL if what.endswith(FAITHFUL) else SHIPPED
        assert files[what] == shipped_file(EXPORTED[what], name) == folder / f"{what}.safetensors"
        assert files[what].stat().st_size < 0.6 * source.stat().st_size
    checked = subprocess.run(
        ["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, text=True
    )
    assert checked.stdout.count(": OK") == 3
    occluded, mask = torch.rand(1, 3, 64, 64), torch.zeros(1, 1, 64, 64)
    answers = [load_inpainter(path)[0](occluded, mask) for path in
               (sources["inpainter"], files["inpainter"])]  # fmt: skip
    torch.testing.assert_close(*answers, atol=3e-3, rtol=0)


def test_the_file_says_what_it_is_and_no_path_of_this_machine(runs):
    path = export_weights(files_of(runs), runs / "weights", "float16")["inpainter"]
    metadata = release_metadata(path)
    told = metadata["release"]
    assert (told["version"], told["run"], told["dtype"]) == (
        1,
        "release-inpainter-sharp/001",
        "float16",
    )
    assert told["licence"] == "non-commercial research only"
    assert (told["commit"], told["device"], told["seed"]) == ("abc", "a CPU", 42)
    assert told["data"] == {"faces": "faces256", "images": {"train": 5, "val": 1, "test": 1}}
    assert (told["budget"]["images"], told["budget"]["minutes"]) == (360, 4.5)
    (before,) = told["budget"]["before"]  # named twice, told once
    assert (before["run"], before["images"]) == ("release-inpainter-faithful/001", 360)
    assert metadata["config"]["data"]["faces"] == "faces256"
    with safe_open(path, "pt") as file:
        assert str(runs) not in str(file.metadata())


def test_int8_halves_a_file_and_hardly_changes_answers(runs, capsys, monkeypatch):
    sources = files_of(runs)
    words = ["--runs-folder", str(runs), "--output", str(runs / "weights")]
    monkeypatch.setitem(export.DTYPES, "int8", 1e-6)
    assert main(words) == 1
    assert (
        "on average, more than 1e-06; `python -m engines.release_export --dtype float16` keeps them"
        in capsys.readouterr().err
    )
    # Random networks are rougher than trained ones.
    monkeypatch.setitem(export.DTYPES, "int8", 0.01)
    assert main(words) == 0
    picture, mask = torch.rand(1, 3, 64, 64), torch.zeros(1, 1, 64, 64)
    for what, load in (("inpainter", load_inpainter), ("segmenter", load_segmenter)):
        file, source = runs / "weights" / f"{what}.safetensors", sources[what]
        assert file.stat().st_size < 0.35 * source.stat().st_size
        state, metadata = load_release(file)
        assert {tensor.dtype for tensor in state.values()} <= {torch.float32, torch.int64}
        told = metadata["release"]
        count = sum(tensor.numel() for tensor in load_release(source)[0].values())
        assert (told["dtype"], told["version"], told["parameters"]) == ("int8", 2, count)
        given = (picture, mask) if what == "inpainter" else (picture,)
        answers = [load(path)[0](*given).sigmoid() for path in (source, file)]
        assert float((answers[0] - answers[1]).abs().mean()) < 0.01
    kept = load_release(runs / "weights" / FILES["inpainting"])[0]
    again = export_weights({"inpainter": runs / "weights" / FILES["inpainting"]}, runs, "int8")
    torch.testing.assert_close(load_release(again["inpainter"])[0], kept)


def test_nothing_is_replaced_when_something_is_wrong(runs, monkeypatch):
    sources, folder = files_of(runs), runs / "weights"
    export_weights(sources, folder, "float16")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    swapped = {"inpainter-faithful": sources["segmenter"]}
    with pytest.raises(ValueError, match="was trained for segmentation, not for inpainting"):
        export_weights(swapped, folder)
    with pytest.raises(ValueError, match="'int4' is not one of float16, float32, int8"):
        export_weights(sources, folder, "int4")
    monkeypatch.setattr(export, "LIMIT", 1000)
    with pytest.raises(ValueError, match=r"would hold .* MB, at most 0 ship \(inpainter"):
        export_weights(sources, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_network_that_half_precision_changes_is_refused(runs):
    """Kernels so small that half precision has no digits for them, made large by the norm."""
    source = files_of(runs)["inpainter"]
    network, metadata = load_inpainter(source)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d) and module.bias is None:
            module.weight.mul_(1e-6)
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.mul_(1e-6)
            module.running_var.mul_(1e-12)
            module.weight.mul_(module.eps**0.5 * 1e6)
    save_release(source, network, metadata)
    with pytest.raises(ValueError, match=r"as float16 .* --dtype float32` keeps them"):
        export_weights({"inpainter": source}, runs / "weights", "float16")
    assert export_weights({"inpainter": source}, runs / "weights", "float32")


def test_the_command_takes_runs_by_name(runs, capsys):
    words = ["--runs-folder", str(runs), "--output", str(runs / "weights"), "--dtype", "float16"]
    assert main([*words, "--inpainter", "RELEASE-inpainter-sharp"]) == 0
    assert [p.name for p in sorted((runs / "weights").iterdir())] == [
        "SHA256SUMS", "inpainter.safetensors"
    ]  # fmt: skip
    assert main(words) == 0
    assert len(list((runs / "weights").iterdir())) == 4
    assert main([*words, "--inpainter-faithful", "release-inpainter-faithful"]) == 0
    faithful = runs / "weights" / "inpainter-faithful.safetensors"
    assert f"inpainter-faithful {faithful} (" in capsys.readouterr().out
    assert faithful.name in (runs / "weights" / "SHA256SUMS").read_text()
    assert main([*words, "--segmenter", "nothing"]) == 1
    assert "error: nothing: no finished run" in capsys.readouterr().err


def test_the_release_suite_names_the_runs_that_ship():
    suite = load_suite(Path("release"))
    runs = available_runs("inpainting") | available_runs("segmentation")
    assert {run.lower() for run in suite.runs} <= runs.keys()
    assert {"segmenter", "inpainter"} <= dict(suite.exports).keys()
    for what, run in suite.exports:
        assert load_config(run, None, [], EXPORTED[what]).name == run


@pytest.mark.parametrize("given", ["{decoder: a}", "{inpainter: b}", "[a]", "a"])
def test_a_wrong_export_is_named(tmp_path, given):
    (tmp_path / "s.yaml").write_text(f"runs: [a]\nexport: {given}\n")
    with pytest.raises(ValueError, match="export must map segmenter, inpainter, inpainter-faith"):
        load_suite(tmp_path / "s.yaml")


def test_a_suite_exports_both_inpainters(tmp_path):
    (tmp_path / "s.yaml").write_text("runs: [a, b]\nexport: {inpainter: a, inpainter-faithful: b}")
    suite = load_suite(tmp_path / "s.yaml")
    assert suite.exports == (("inpainter", "a"), ("inpainter-faithful", "b"))


def test_a_suite_exports_what_was_trained_as_asked(runs, tmp_path, monkeypatch):
    monkeypatch.setitem(export.DTYPES, "int8", 0.01)  # as above
    suite = load_suite(Path("release"))
    jobs = {
        run.lower(): SuiteJob(run, run, state=FINISHED, folder=runs / run / "001")
        for run in suite.runs
    }
    rows = {name: [(job, "")] for name, job in jobs.items()}
    files, problems = export_suite(suite, rows, tmp_path / "out")
    made = [f"weights {what}" for what in ("inpainter", "inpainter-faithful", "segmenter")]
    assert (sorted(files), problems) == (made, [])
    jobs["release-inpainter-sharp"].differences.append("data.size 64 (now 256)")
    assert export_suite(suite, rows, tmp_path / "no") == (
        {}, ["no weights are exported: release-inpainter-sharp was trained otherwise than asked"]
    )  # fmt: skip
    rows["release-segmenter"] = [(jobs["release-segmenter"], "it failed")]
    assert "release-segmenter is missing" in export_suite(suite, rows, tmp_path / "no")[1][0]
    assert export_suite(replace(suite, exports=()), rows, tmp_path / "no") == ({}, [])
    assert not (tmp_path / "no").exists()
