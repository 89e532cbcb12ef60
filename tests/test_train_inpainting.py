"""`python train_inpainting.py`: its command line, what it says, bad input, a tiny run; imports."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import train_inpainting
from deocclude.data.sources.root import VARIABLE
from deocclude.engines.runs import config as runs_config
from deocclude.engines.runs.config import available_runs

ROOT = Path(__file__).resolve().parent.parent
RUNS = ("ablationv1", "ablationv2", "ablationv3", "reconstruction", "reconstruction_as_published")
TINY = (
    "data.size=32", "data.builtin_images=24", "data.validation_pairs=6", "data.test_per_bin=1",
    "data.workers=0", "training.epochs=1", "training.epoch_images=8", "training.batch_size=4",
    "training.mixed_precision=no", "training.features_weights=random", "training.log_steps=1",
    "training.feature_terms=true", "losses.perceptual.layers=[relu1_1]",
    "losses.style.layers=[relu2_1]",
)  # fmt: skip


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Call main in an empty folder, with no data named; return (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)

    def call(*arguments):
        try:
            code = train_inpainting.main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def save_face(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def face_folder(tmp_path):
    for i in range(6):
        save_face(tmp_path / "mine" / "faces" / f"{i}.png", i)
    return tmp_path / "mine"


def one_error(code, err):
    """The message of a failed call: exit code 1 and one `error:` line, nothing like a traceback."""
    assert code == 1
    assert "Traceback" not in err
    (line,) = [line for line in err.splitlines() if line.startswith("error:")]
    assert err.splitlines()[-1] == line
    return line


def config_of(out):
    """The resolved configuration that --dry-run prints, between the reason and the counts."""
    text = out[out.index("name:") : out.index("\ngenerator:")]
    return yaml.safe_load(text)


def test_list_has_one_line_for_every_run(run, tmp_path):
    code, out, _ = run("--list")
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    names = {path.stem for path in (ROOT / "ablations").glob("*.yaml")}
    names |= {name for name in available_runs() if name.startswith("release-")}
    assert "release-inpainter-sharp" in names
    assert code == 0
    assert set(lines) == names >= set(RUNS)
    assert "ResNet-50" in lines["ablationv1"]
    assert "attention" in lines["ablationv3"]
    assert len(set(lines.values())) == len(lines)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((), "Reconstruction"),
        (("RECONSTRUCTION",), "Reconstruction"),
        (("AblationV2",), "ablationv2"),
        (("--model", "ABLATIONV1"), "ablationv1"),
        (("ablationv3", "--model", "AblationV3"), "ablationv3"),
        ((ROOT / "ablations" / "ablationv1.yaml",), "ablationv1"),
    ],
)
def test_a_run_is_named_in_any_case_or_by_its_file(run, arguments, name):
    code, out, _ = run(*arguments, "--dry-run")
    assert code == 0
    assert config_of(out)["name"] == name


def test_two_different_names_are_refused(run):
    code, _, err = run("ablationv1", "--model", "ablationv2", "--dry-run")
    assert code == 2
    assert "'ablationv1'" in err
    assert "'ablationv2'" in err


@pytest.mark.parametrize("arguments", [("ablatonv1",), ("--model", "ablatonv1")])
def test_a_wrong_name_lists_the_right_ones(run, tmp_path, arguments):
    code, _, err = run(*arguments)
    line = one_error(code, err)
    assert "'ablatonv1'" in line
    assert all(name in line for name in RUNS)
    assert "did you mean ablationv1?" in line
    assert list(tmp_path.iterdir()) == []


def test_dry_run_says_what_would_happen_and_makes_nothing(run, tmp_path):
    code, out, _ = run("ablationv1", "--dry-run", "--set", "training.epochs=7")
    config = config_of(out)
    assert code == 0
    assert (config["training"]["epochs"], config["model"]["branches"]) == (7, ["light"])
    assert "generator: 10.64 M parameters" in out
    assert "discriminator: 0.183 M parameters" in out
    assert "faces: builtin" in out
    assert re.search(r"images: .*train 1500", out)
    assert list(tmp_path.iterdir()) == []


def test_dry_run_with_data_counts_its_images(run, tmp_path, face_folder):
    before = sorted(tmp_path.rglob("*"))
    code, out, _ = run("ablationv1", "--dry-run", "--data", face_folder)
    assert code == 0
    assert f"faces: {face_folder / 'faces'}" in out
    assert "train 4, val 1, test 1" in out
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("assignment", "parts"),
    [
        ("training.epoch=3", ("'training.epoch'", "did you mean epochs?", "batch_size", "--set")),
        ("trainning.epochs=3", ("'trainning'", "did you mean training?")),
        ("training.epochs=0", ("training.epochs", "0", "--set")),
        ("training.epochs", ("'training.epochs'", "training.epochs=3")),
        ("model.branchs=[light]", ("'branchs'", "branches")),
        ("losses.l3.weight=1", ("'l3'", "hole_l1")),
    ],
)
def test_a_bad_setting_names_the_key_and_what_is_valid(run, tmp_path, assignment, parts):
    line = one_error(*run("ablationv1", "--set", assignment)[::2])
    assert [part for part in parts if part not in line] == []
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_profile_lists_the_profiles(run):
    line = one_error(*run("ablationv1", "--profile", "huge")[::2])
    assert [word for word in ("'huge'", "auto", "quick", "small", "full") if word not in line] == []


def test_a_missing_data_folder_is_named(run, tmp_path, monkeypatch):
    line = one_error(*run("ablationv1", "--data", "nowhere")[::2])
    assert "--data 'nowhere'" in line
    monkeypatch.setenv(VARIABLE, "gone")
    line = one_error(*run("ablationv1")[::2])
    assert f"{VARIABLE} 'gone'" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("inside", [(), ("faces",), ("masks",)])
def test_an_empty_data_folder_says_what_is_looked_for(run, tmp_path, inside):
    empty = tmp_path / "empty"
    empty.mkdir()
    for name in inside:
        (empty / name).mkdir()
    line = one_error(*run("ablationv1", "--data", empty)[::2])
    assert str(empty) in line
    assert "train/" in line
    assert "faces*" in line
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("minutes", ["0", "-1", "soon"])
def test_an_impossible_time_budget_is_refused(run, minutes):
    code, _, err = run("ablationv1", "--max-minutes", minutes)
    assert code == 2
    assert "--max-minutes" in err


def test_nothing_to_resume_says_so(run):
    line = one_error(*run("ablationv1", "--resume")[::2])
    assert "ablationv1" in line
    assert "none" in line


@pytest.mark.parametrize(
    ("data", "gpu", "device", "profile", "words"),
    [
        (False, False, "auto", "quick", ("built-in faces", "data.download", "--data")),
        (False, True, "auto", "quick", ("built-in faces",)),
        (True, False, "auto", "small", ("CPU", "--profile full")),
        (True, True, "auto", "full", ("GPU",)),
        (True, True, "cpu", "small", ("CPU",)),
    ],
)
def test_profile_auto_goes_by_data_and_gpu(
    tmp_path, monkeypatch, data, gpu, device, profile, words
):
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
    chosen, reason = runs_config.choose_profile(tmp_path if data else None, device)
    assert chosen == profile
    assert f"profile {profile}" in reason
    assert [word for word in words if word not in reason] == []
    assert (str(tmp_path) in reason) == data


def test_the_chosen_profile_is_used_and_said_first(run, face_folder):
    _, out, _ = run("ablationv1", "--dry-run")
    assert out.startswith("profile quick: ")
    assert config_of(out)["profile"] == "quick"
    _, out, _ = run("ablationv1", "--dry-run", "--data", face_folder)
    assert out.startswith("profile small: ")
    assert config_of(out)["profile"] == "small"
    _, out, _ = run("ablationv1", "--dry-run", "--profile", "full")
    assert config_of(out)["profile"] == "full"


def test_datasets_folder_is_found_unless_it_is_empty(run, tmp_path):
    (tmp_path / "datasets").mkdir()
    assert run("ablationv1", "--dry-run")[1].startswith("profile quick: ")
    for i in range(4):
        save_face(tmp_path / "datasets" / "faces" / f"{i}.png")
    assert run("ablationv1", "--dry-run")[1].startswith("profile small: ")


def test_a_run_ends_with_its_table_and_paths_that_exist(run, tmp_path):
    settings = [part for assignment in TINY for part in ("--set", assignment)]
    code, out, _ = run("ablationv1", *settings, "--device", "cpu", "--output", "made")
    assert code == 0
    header, rows = re.search(r"(\| .*mean of bins.*)\n\| -.*\n((?:\|.*\n)+)", out).groups()
    assert "1–10 %" in header
    assert "50–60 %" in header
    names = [row.split("|")[1].strip() for row in rows.splitlines()]
    assert names == ["ablationv1", "Occluded input", "Mean colour", "Telea", "Navier-Stokes"]
    said = dict(re.findall(r"^(trained|table|figures|weights)\s+(.*)$", out, re.M))
    assert said["trained"].startswith("8 images")
    paths = [said["table"], *said["figures"].split(", "), said["weights"]]
    assert [path for path in paths if not Path(path).exists()] == []
    assert all(Path(path).parts[0] == "made" for path in paths)
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    assert said["weights"] == str(Path("made", "ablationv1", "001", "best.safetensors"))


IMPORT_EVERYTHING = """
import importlib, logging, pathlib, sys, warnings

allowed = set(sys.argv.pop().split(","))
with warnings.catch_warnings():  # other people's warnings are not our tests' business
    warnings.simplefilter("ignore")
    for name in allowed:
        importlib.import_module(name)
import matplotlib, torch
state = torch.get_rng_state()
for name in sys.stdin.read().split():
    importlib.import_module(name)
    assert not list(pathlib.Path().iterdir()), f"{name} wrote {list(pathlib.Path().iterdir())}"
    assert matplotlib.get_backend(auto_select=False) is None, f"{name} chooses a backend"
    pyplot = sys.modules.get("matplotlib.pyplot")  # torchmetrics imports it
    assert pyplot is None or not pyplot.get_fignums(), f"{name} opens a figure"
    assert not any(value is pyplot for value in vars(sys.modules[name]).values() if pyplot), name
    assert not logging.getLogger().handlers, f"{name} sets up logging"
    assert not torch.cuda.is_initialized(), f"{name} starts a GPU"
    assert torch.equal(torch.get_rng_state(), state), f"{name} draws random numbers"
print("imported")
"""


def test_importing_does_no_work(tmp_path):
    """Every script and module, in one fresh process, with arguments that no parser knows."""
    not_imported = ("walkthrough", "setup")  # cells, and a command: they run
    modules = [path.stem for path in ROOT.glob("*.py") if path.stem not in not_imported]
    for package in ("data", "models", "losses", "metrics", "engines"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = ("deocclude", *path.relative_to(ROOT).with_suffix("").parts)
            modules.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    assert len(modules) > 40
    third_party = "torch,torchvision,accelerate,torchmetrics,safetensors.torch,pandas,cv2,gdown"
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORT_EVERYTHING, "--no-such-option", third_party],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(ROOT)},
        input="\n".join(modules),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    assert answer.stdout == "imported\n"
    assert answer.stderr == ""
    assert list(tmp_path.iterdir()) == []
