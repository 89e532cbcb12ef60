"""The profile of a first look: no downloads, no feature networks, and both are said."""

import json
import urllib.request
from pathlib import Path

import pytest
import torch
import yaml

import train_identity
import train_inpainting
import train_segmentation
from deocclude.engines.runs.config import ConfigError, available_runs, load_config
from deocclude.engines.runs.runtime import start_runtime
from deocclude.engines.runs.tasks import ABLATIONS
from deocclude.engines.training.inpainting import build_trainer

SHORT = (
    "data.size=32", "data.builtin_images=24", "data.workers=0", "training.epochs=1",
    "training.epoch_images=8", "training.batch_size=4", "training.max_minutes=null",
)  # fmt: skip
TASKS = {
    "inpainting": (
        train_inpainting.main, "Reconstruction", ("data.validation_pairs=6", "data.test_per_bin=1")
    ),
    "segmentation": (
        train_segmentation.main, "SOCLNET",
        ("data.validation_per_kind=1", "data.test_per_kind=1"),
    ),
    "identity": (
        train_identity.main, "EfficientNetB0",
        ("data.validation_per_kind=1", "data.test_per_kind=2", "data.builtin_people=3"),
    ),
}  # fmt: skip


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """Downloads end the test, and nothing was downloaded before."""

    def refuse(url, *_, **__):
        pytest.fail(f"tried to download {url}")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("task", TASKS)
def test_a_quick_run_downloads_nothing_and_says_what_it_left_out(task, no_network, capsys, caplog):
    main, name, settings = TASKS[task]
    sets = [word for text in (*SHORT, *settings) for word in ("--set", text)]
    assert main([name, *sets, "--profile", "quick", "--device", "cpu", "--output", "made"]) == 0
    output = capsys.readouterr().out
    (path,) = finished_runs()
    (start,) = json.loads((path / "environment.json").read_text())
    lines = [record.getMessage() for record in caplog.records]
    said = [line.removeprefix("left out  ") for line in lines if line.startswith("left out  ")]
    assert start["left_out"] == said
    assert "starts at random" in said[-1]
    assert any("loss terms perceptual, style" in line for line in said) == (task == "inpainting")
    assert f"look at {path}" in output
    assert ("python deocclude.py photo.jpg" in output) == (task == "inpainting")


def finished_runs():
    return [mark.parent for mark in Path("made").glob("*/*/finished.json")]


@pytest.mark.parametrize("name", available_runs())
def test_no_quick_run_builds_a_feature_network_but_the_one_that_has_nothing_else(name):
    config = load_config(name, "quick")
    kept = [term for term in config.loss_terms() if term in config.feature_terms()]
    assert kept == (["perceptual"] if name == "vgg19_generator_perceptual_only" else [])
    assert config.training.features_weights == "random"
    if config.model.takes("pretrained"):
        assert config.model_options()["pretrained"] is False


@pytest.mark.parametrize("profile", [None, "small", "full"])
def test_other_profiles_leave_nothing_out(profile):
    config = load_config("Reconstruction", profile)
    assert config.left_out() == []
    assert config.loss_terms() == config.losses
    assert config.model_options()["pretrained"] == "auto"
    assert load_config("SOCLNET", profile, task="segmentation").left_out() == []


def test_what_was_left_out_can_be_asked_for():
    asked = ["training.feature_terms=true", "training.features_weights=auto", "downloads=true"]
    config = load_config("occlufix", "quick", asked)
    assert config.loss_terms() == config.losses
    assert config.left_out() == []
    config = load_config("Reconstruction", "quick", ["model.pretrained=weights.pth"])
    assert config.model_options()["pretrained"] == "weights.pth"
    assert len(config.left_out()) == 1  # the terms alone


def test_leaving_out_every_term_is_refused():
    with pytest.raises(ConfigError, match="feature_terms: false leaves no loss term, perceptual"):
        load_config("vgg19_generator", "quick", ["losses.l1=null"])


def test_the_trainer_measures_the_terms_that_are_left():
    config = load_config("occlufix", "quick", ["data.size=32", "model.width=4", "model.depth=2"])
    trainer = build_trainer(config, start_runtime("no", "cpu", 0), 16)
    assert trainer.extractors == {}
    assert set(trainer.loss.terms) == {"l1", "tv", "adversarial_patch", "adversarial_global"}


def test_the_budget_of_a_first_look():
    training = yaml.safe_load((ABLATIONS / "profiles" / "quick.yaml").read_text())["training"]
    assert training["epochs"] * training["epoch_images"] >= 2000
    assert training["max_minutes"] <= 2.5
