"""`python -m engines.search`: what it leaves, what it survives, and what it refuses."""

import sys

import pytest
import yaml

pytest.importorskip("optuna")

from search_stubs import TERMS, Fake, command, open_study, run

from deocclude.engines.runs.config import load_config
from deocclude.engines.runs.folder import RunFolder
from deocclude.engines.search import __main__ as search
from deocclude.engines.search.objective import (
    Space,
    check_objective,
    choose_terms,
    load_search_config,
    other_settings,
)
from deocclude.engines.search.runner import say_left
from deocclude.engines.training import gan_steps, inpainting
from deocclude.stopping import AGAIN


@pytest.fixture
def fake(monkeypatch):
    return Fake(monkeypatch)


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """Two real trials on built-in faces, by the command."""
    output = tmp_path_factory.mktemp("searched")
    assert search.main(command(output, "--trials", "2")) == 0
    return output / "search" / "ablationv1"


def test_the_command_trains_trials_and_leaves_what_it_says(searched):
    names = {path.name for path in searched.iterdir()}
    assert names >= {"study.db", "trials", "table.md", "summary.csv", "best.yaml", "figures"}
    figures = {path.name for path in (searched / "figures").iterdir()}
    assert figures == {"history.png", "courses.png", "weights.png"}  # too few for importances
    text = (searched / "table.md").read_text()
    assert "2 trials: 2 complete, 0 pruned, 0 given up; each 2 epochs of 8 images" in text
    assert "0 (own weights)" in text
    assert "Starting weights: generator: random" in text


def test_only_the_weights_of_the_best_trial_are_kept(searched):
    best = yaml.safe_load((searched / "best.yaml").read_text())["description"]
    kept = [path.parent.parent.name for path in searched.glob("trials/*/*/best.safetensors")]
    assert len(kept) == 1
    assert f"trial {int(kept[0].removeprefix('trial_'))}," in best
    assert not list(searched.glob("trials/*/*/last"))


def test_the_best_weights_are_a_run_with_the_settings_of_the_search(searched):
    config = load_config(searched / "best.yaml", "quick")
    trial = next(searched.glob("trials/*/*/best.safetensors")).parent
    recorded = RunFolder(trial).config()
    assert config.name == "ablationv1_searched"
    assert config.losses == recorded.losses
    assert (config.data.size, config.training.batch_size) == (32, 4)
    assert config.data.train_images is None  # a trial's subset is not the run's
    assert config.model == load_config("ablationv1").model


def test_the_time_left_is_said_between_trials(caplog):
    """Ten of twenty trials, four of them since this process began: six minutes each."""
    caplog.set_level("INFO")
    say_left(done=10, before=6, wanted=20, seconds=4 * 360)
    say_left(done=20, before=6, wanted=20, seconds=4 * 360)  # the end has words of its own
    assert [record.getMessage() for record in caplog.records] == [
        "10 of 20 trials done, about 60 min left"
    ]


def test_done_trials_are_kept_and_no_more_are_made(searched, capsys):
    before = (searched / "summary.csv").read_text()
    assert search.main(command(searched.parents[1], "--trials", "2")) == 0
    assert (searched / "summary.csv").read_text() == before
    assert "train_inpainting.py" in capsys.readouterr().out


def test_another_setting_is_refused_and_named(searched, capsys):
    output = searched.parents[1]
    assert search.main(command(output, "--set", "training.ema_decay=0.5", "--low", "0.5")) == 1
    error = capsys.readouterr().err
    assert "training.ema_decay 0.95 (now 0.5)" in error
    assert "range" in error


def test_settings_recorded_before_a_key_existed_have_its_default(searched):
    shared = open_study(searched.parents[1])
    recorded = shared.study.user_attrs["settings"]
    older = {**recorded, "run": {k: v for k, v in recorded["run"].items() if k != "loss_on"}}
    assert other_settings(older, recorded) == []
    assert other_settings({**older, "validation_pairs": "0"}, recorded)


def test_a_loss_that_is_not_finite_ends_the_trial_only(tmp_path, monkeypatch):
    original = gan_steps.generator_step

    def poisoned(trainer, parts):
        if trainer.config.name == "trial_000":
            parts[0].target[:] = float("nan")
        return original(trainer, parts)

    monkeypatch.setattr(gan_steps, "generator_step", poisoned)
    assert search.main(command(tmp_path, "--trials", "2", "--epochs", "1")) == 0
    text = (tmp_path / "search" / "ablationv1" / "table.md").read_text()
    assert "2 trials: 1 complete, 1 pruned" in text
    assert "pruned: diverged: loss is nan at step 0" in text


def test_weights_that_became_nan_are_found_by_validation(tmp_path, monkeypatch):
    original = inpainting.Trainer.train_step

    def poisoned(trainer, parts):
        terms = original(trainer, parts)
        for weights in trainer.ema.module.parameters():
            weights.data.fill_(float("nan"))
        return terms

    monkeypatch.setattr(inpainting.Trainer, "train_step", poisoned)
    shared = open_study(tmp_path)
    assert run(shared, 1) is None
    assert shared.trials()[0].user_attrs["reason"].startswith("diverged: prediction is not finite")


def test_a_search_without_a_complete_trial_writes_no_best(tmp_path, capsys, fake):
    folder = tmp_path / "search" / "ablationv1"
    fake.stop_at = {("trial_000", 1): "interrupted", ("trial_000", 2): "max_minutes"}
    assert search.main(command(tmp_path, "--trials", "1")) == 130
    assert capsys.readouterr().err.splitlines()[-1] == f"stopped; {AGAIN}"
    assert not (folder / "table.md").exists()
    assert search.main(command(tmp_path, "--trials", "1")) == 0
    assert "No trial is complete yet" in (folder / "table.md").read_text()
    assert not (folder / "best.yaml").exists()


@pytest.mark.parametrize("name", ["loss/total", "loss/hole_l1"])
def test_an_objective_made_of_the_searched_weights_is_refused(name):
    with pytest.raises(ValueError, match=r"made of the weights .* valid are composed/l1"):
        check_objective(name)


def test_an_unknown_objective_lists_the_valid_ones():
    with pytest.raises(ValueError, match=r"no validation metric; valid are .*composed_hole/psnr"):
        check_objective("composed/fid")


def test_terms_are_those_of_constant_weight():
    assert choose_terms(load_config("ablationv1"), None) == TERMS
    scheduled = load_config("ablationv1", None, ["losses.style.weight={start: 0, end: 1}"])
    assert choose_terms(scheduled, None) == ("perceptual", "hole_l1", "adversarial")
    with pytest.raises(ValueError, match="style: its weight follows a schedule"):
        choose_terms(scheduled, ["style"])
    with pytest.raises(ValueError, match="no such loss term; it has perceptual"):
        choose_terms(scheduled, ["tv"])


@pytest.mark.parametrize(
    ("low", "high", "step"), [(0, 10, 0.1), (2, 1, 0.1), (1, 10, 0), (1, 10, 0.7)]
)
def test_a_space_that_is_none_is_refused(low, high, step):
    with pytest.raises(ValueError, match="weights from"):
        Space(("style",), low, high, step)


def test_a_clock_may_not_end_a_trial(tmp_path):
    config = load_search_config("ablationv1", "quick", {}, [], tmp_path)
    assert config.training.max_minutes is None
    with pytest.raises(ValueError, match="budget of a trial is its epochs"):
        load_search_config("ablationv1", "quick", {}, ["training.max_minutes=3"], tmp_path)


def test_the_full_profile_has_the_published_budget(tmp_path):
    sizes = {"data.train_images": None, "training.epochs": 4}
    config = load_search_config("ablationv1", "full", sizes, [], tmp_path)
    budget = (config.data.train_images, config.data.validation_pairs, config.training.epochs)
    assert budget == (5400, 1500, 4)


def test_a_storage_that_cannot_be_opened_is_said(tmp_path, capsys):
    assert search.main(command(tmp_path, "--storage", "nothing://x")) == 1
    assert "--storage nothing://x: cannot be opened" in capsys.readouterr().err


def test_a_name_that_is_a_path_is_refused(tmp_path, capsys):
    assert search.main(command(tmp_path, "--name", "../x")) == 1
    assert "must be a plain name" in capsys.readouterr().err


def test_without_optuna_the_error_says_how_to_get_it(tmp_path, monkeypatch, capsys):
    for name in [name for name in sys.modules if name.split(".")[0] == "optuna"]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("deocclude.engines.search.report", "deocclude.engines.search.study"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert search.main(command(tmp_path)) == 1
    assert 'pip install "optuna' in capsys.readouterr().err
