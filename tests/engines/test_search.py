"""`python -m engines.search`: stopped, killed, shared and diverging searches, what they leave."""

import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

pytest.importorskip("optuna")

from optuna.trial import TrialState

from engines import inpainting, search, search_objective, search_report
from engines.config import load_config
from engines.run_folder import RunFolder, this_process
from engines.search_objective import (
    Course,
    Space,
    check_objective,
    choose_terms,
    load_search_config,
    other_settings,
)
from engines.search_report import trials_frame, trials_table, write_report
from engines.search_study import NumberedTPE, SharedStudy, study_lock
from engines.training import Outcome

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    "data.size=32", "data.builtin_images=12", "data.workers=0", "training.batch_size=4",
    "training.features_weights=random", "losses.perceptual.layers=[relu1_1]",
    "losses.style.layers=[relu2_1]",
]  # fmt: skip
TERMS = ("perceptual", "style", "hole_l1", "adversarial")


def command(output: Path, *more: str) -> list[str]:
    """The options of a search whose trial takes about two seconds."""
    sets = [word for text in SMALL for word in ("--set", text)]
    sizes = ["--train-images", "8", "--validation-pairs", "6", "--epochs", "2"]
    return [
        "ablationv1", "--profile", "quick", "--output", str(output), "--device", "cpu",
        *sizes, *sets, *more,
    ]  # fmt: skip


def open_study(output: Path, *more: str) -> SharedStudy:
    arguments = search.parse(command(output, *more))
    return SharedStudy.open(search.to_search(arguments), startup=2)


def score(weights: dict[str, float], epoch: int) -> float:
    """A made-up validation value, the better the nearer the weights are to 5."""
    return 20 + epoch - sum(abs(weight - 5) for weight in weights.values()) / 10


class Fake:
    """Stands for training: writes metrics.csv as it would, epoch by epoch."""

    def __init__(self, monkeypatch, epochs: int = 4) -> None:
        self.epochs, self.stop_at, self.started = epochs, {}, []
        monkeypatch.setattr(search_objective, "train", self.train)

    def train(self, config, root, output, resume, max_minutes, device, prune) -> Outcome:
        self.started.append((config.name, resume))
        folder = RunFolder(Path(resume)) if resume else RunFolder.create(output, config)
        folder.write_environment({"weights": {"generator": "random"}})
        weights = {name: config.losses[name]["weight"] for name in TERMS}
        first = len(folder.read_metrics()) + 1
        reason = "epochs"
        for epoch in range(first, self.epochs + 1):
            folder.last.mkdir(exist_ok=True)
            folder.best.write_bytes(b"weights")
            value = score(weights, epoch)
            row = {"step": epoch, "epoch": epoch, "val/composed/psnr": value}
            row |= {"val/composed/ssim": value / 40, "val/loss/total": 1.0}
            pd.DataFrame([*folder.read_metrics(), row]).to_csv(folder.metrics, index=False)
            if callable(ending := self.stop_at.get((config.name, epoch))):
                ending()
            elif ending:
                reason = ending
                break
            if epoch < self.epochs and prune(folder):
                reason = "pruned"
                break
        return Outcome(folder, reason, epoch, epoch, 0.1, True)


@pytest.fixture
def fake(monkeypatch):
    return Fake(monkeypatch)


def run(shared: SharedStudy, wanted: int) -> str | None:
    """The loop of the command, without its output."""
    while (claim := shared.claim(wanted)) is not None:
        if stopped := search.carry_out(shared, claim):
            return stopped
    return None


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


def test_done_trials_are_kept_and_no_more_are_made(searched, capsys):
    before = (searched / "summary.csv").read_text()
    assert search.main(command(searched.parents[1], "--trials", "2")) == 0
    assert (searched / "summary.csv").read_text() == before
    assert "train_inpainting.py" in capsys.readouterr().out


def test_another_setting_is_refused_and_named(searched, capsys):
    output = searched.parents[1]
    assert search.main(command(output, "--set", "training.ema_decay=0.5", "--low", "0.5")) == 1
    error = capsys.readouterr().err
    assert "training.ema_decay 0.99 (now 0.5)" in error
    assert "range" in error


def test_settings_recorded_before_a_key_existed_have_its_default(searched):
    shared = open_study(searched.parents[1])
    recorded = shared.study.user_attrs["settings"]
    older = {**recorded, "run": {k: v for k, v in recorded["run"].items() if k != "loss_on"}}
    assert other_settings(older, recorded) == []
    assert other_settings({**older, "validation_pairs": "0"}, recorded)


def test_the_first_trial_has_the_runs_own_weights(tmp_path):
    claim = open_study(tmp_path).claim(1)
    assert claim.weights == {"perceptual": 1.7, "style": 4.0, "hole_l1": 3.6, "adversarial": 4.7}


def test_own_weights_outside_the_space_are_no_trial(tmp_path):
    claim = open_study(tmp_path, "--low", "2.0").claim(1)
    assert all(2 <= weight <= 10 for weight in claim.weights.values())
    assert not claim.trial.user_attrs.get("own")


def test_a_bad_trial_is_pruned_and_the_median_is_not(tmp_path, fake):
    shared = open_study(tmp_path)
    far = {term: 10.0 for term in TERMS}
    run(shared, 3)
    shared.study.enqueue_trial(far)
    run(shared, 4)
    states = [trial.state for trial in shared.trials()]
    assert states[:2] == [TrialState.COMPLETE] * 2  # nothing to compare with yet
    assert states[3] == TrialState.PRUNED
    last = shared.trials()[3]
    assert max(last.intermediate_values) == 2  # the first epoch is spared
    assert last.user_attrs["reason"] == "worse than the median"
    assert trials_frame(shared).loc[3, "value"] == pytest.approx(score(far, 2))


def test_the_value_is_that_of_the_best_epoch(tmp_path, fake):
    shared = open_study(tmp_path)
    original = fake.epochs
    fake.epochs = 3
    run(shared, 1)
    (trial,) = shared.trials()
    assert trial.value == max(trial.intermediate_values.values())
    assert trial.user_attrs["best_epoch"] == 3 < original
    assert trial.user_attrs["scores"]["composed/ssim"] == pytest.approx(trial.value / 40)
    assert "loss/total" not in trial.user_attrs["scores"]


def test_a_stopped_trial_goes_on_where_it_was(tmp_path, fake):
    shared = open_study(tmp_path)
    fake.stop_at = {("trial_000", 2): "max_minutes"}
    assert run(shared, 1) == "max_minutes"
    fake.stop_at = {}
    assert run(open_study(tmp_path), 1) is None
    folder = tmp_path / "search" / "ablationv1" / "trials" / "trial_000" / "001"
    assert fake.started == [("trial_000", None), ("trial_000", str(folder))]
    first, second = shared.trials()
    assert (first.state, second.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert second.params == first.params
    assert sorted(second.intermediate_values) == [1, 2, 3, 4]
    assert [trial.number for trial in shared.done()] == [1]
    assert trials_frame(shared)["remark"][0] == "max_minutes; again as trial 1"


def test_ctrl_c_hands_the_trial_back(tmp_path, fake):
    def interrupt():
        raise KeyboardInterrupt

    shared = open_study(tmp_path)
    fake.stop_at = {("trial_000", 1): interrupt}
    assert run(shared, 1) == "interrupted"
    assert [t.state for t in shared.trials()] == [TrialState.FAIL, TrialState.WAITING]


def test_a_trial_whose_process_died_is_tried_again_but_not_for_ever(tmp_path):
    shared = open_study(tmp_path)
    weights = shared.claim(1).weights
    for tries in (1, 2):
        claim = shared.claim(1)  # the one before has no living process but this one
        assert (claim.weights, claim.tries, claim.name) == (weights, tries, "trial_000")
    assert shared.claim(1) is None
    assert [t.state for t in shared.trials()] == [TrialState.FAIL] * 3
    assert trials_frame(shared)["remark"][2] == "its process ended; given up"


def test_a_trial_of_another_machine_is_left_until_it_is_released(tmp_path):
    shared = open_study(tmp_path)
    claim = shared.claim(1)
    claim.trial.set_user_attr("owner", {**this_process(), "host": "elsewhere"})
    assert shared.claim(1) is None
    with pytest.raises(ValueError, match="--release 7: is not running; running: 0"):
        shared.release([7])
    shared.release([0])
    assert shared.claim(1).weights == claim.weights


def test_a_failed_training_is_queued_again_and_raises(tmp_path, fake):
    def fail():
        raise OSError("disk full")

    shared = open_study(tmp_path)
    fake.stop_at = {("trial_000", 1): fail}
    with pytest.raises(OSError, match="disk full"):
        run(shared, 1)
    assert shared.trials()[0].user_attrs["reason"] == "OSError: disk full"
    assert shared.trials()[1].user_attrs["tries"] == 1


def test_a_loss_that_is_not_finite_ends_the_trial_only(tmp_path, monkeypatch):
    original = inpainting.generator_step

    def poisoned(trainer, parts):
        if trainer.config.name == "trial_000":
            parts[0].target[:] = float("nan")
        return original(trainer, parts)

    monkeypatch.setattr(inpainting, "generator_step", poisoned)
    assert search.main(command(tmp_path, "--trials", "2", "--epochs", "1")) == 0
    text = (tmp_path / "search" / "ablationv1" / "table.md").read_text()
    assert "2 trials: 1 complete, 1 pruned" in text
    assert "pruned: diverged: loss is nan at step 0" in text


def test_weights_that_became_nan_are_found_by_validation(tmp_path, monkeypatch):
    original = inpainting.train_step

    def poisoned(trainer, parts):
        terms = original(trainer, parts)
        for weights in trainer.ema.module.parameters():
            weights.data.fill_(float("nan"))
        return terms

    monkeypatch.setattr(inpainting, "train_step", poisoned)
    shared = open_study(tmp_path)
    assert run(shared, 1) is None
    assert shared.trials()[0].user_attrs["reason"].startswith("diverged: prediction is not finite")


def test_a_search_without_a_complete_trial_writes_no_best(tmp_path, monkeypatch, fake):
    fake.stop_at = {("trial_000", 1): "interrupted"}
    assert search.main(command(tmp_path, "--trials", "1")) == 1
    folder = tmp_path / "search" / "ablationv1"
    assert "No trial is complete yet" in (folder / "table.md").read_text()
    assert not (folder / "best.yaml").exists()


def test_many_trials_have_importances_and_a_table_of_the_best(tmp_path, fake, monkeypatch):
    monkeypatch.setattr(search_report, "SHOWN", 20)
    shared = open_study(tmp_path)
    run(shared, 26)
    assert write_report(shared)[1]["importance.png"].is_file()
    assert sum(shared.importances().values()) == pytest.approx(1)
    table = trials_table(shared, trials_frame(shared))
    assert len(table.rows) == 20
    assert any("20 of 26" in note for note in table.notes)
    values = [float(row[5].text) for row in table.rows if row[-1].text == "complete"]
    assert values == sorted(values, reverse=True)
    early = [t.value for t in shared.trials()[1:6]]
    late = [t.value for t in shared.trials()[-8:] if t.value is not None]
    assert sum(late) / len(late) > sum(early) / len(early)  # TPE has learned where it is good


def test_a_metric_that_is_better_when_low_is_minimised(tmp_path):
    shared = open_study(tmp_path, "--objective", "composed/l1")
    assert shared.study.direction.name == "MINIMIZE"
    course = Course(shared.claim(1).trial, "composed/l1", higher=False)
    course.scores = {1: {"composed/l1": 0.2}, 2: {"composed/l1": 0.1}, 3: {}}
    assert course.best_epoch() == 2


def test_a_draw_depends_on_the_trials_number_not_on_the_process(tmp_path):
    def draws(folder, restarts: bool) -> list[dict]:
        shared, found = open_study(folder), []
        for _ in range(4):
            shared = open_study(folder) if restarts else shared
            claim = shared.claim(10)
            shared.study.tell(claim.trial, 1.0)
            found.append(claim.weights)
        return found

    once, restarted = draws(tmp_path / "a", False), draws(tmp_path / "b", True)
    assert once == restarted
    assert len({tuple(weights.values()) for weights in once}) == 4


def test_two_seeds_draw_differently():
    import optuna

    def first(seed: int) -> float:
        study = optuna.create_study(sampler=NumberedTPE(seed, 5))
        return study.ask().suggest_float("w", 1, 10, step=0.1)

    assert first(1) == first(1) != first(2)


def start(output: Path, *more: str) -> subprocess.Popen:
    line = [sys.executable, "-m", "engines.search", *command(output, *more)]
    return subprocess.Popen(
        line, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def test_two_processes_share_a_study_and_make_up_for_a_killed_one(tmp_path):
    """Killed inside a trial: that trial is tried again, once, and there are no more than asked."""
    folder = tmp_path / "search" / "ablationv1"
    settings = ("--trials", "3", "--set", "training.epoch_images=120")
    victim = start(tmp_path, *settings)
    deadline = time.monotonic() + 120
    while not list(folder.glob("trials/trial_000/001/in_use.json")):
        assert victim.poll() is None, victim.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    victim.kill()
    victim.communicate()
    shared = open_study(tmp_path, *settings)
    assert [trial.state for trial in shared.trials()] == [TrialState.RUNNING]
    both = [start(tmp_path, *settings) for _ in range(2)]
    said = [process.communicate(timeout=240)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    first, second, *others = shared.trials()
    assert (first.state, second.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert (second.user_attrs["earlier"], second.params) == (0, first.params)
    assert [trial.number for trial in others] == [2, 3]
    assert len(shared.done()) == 3
    assert len({trial.user_attrs["owner"]["pid"] for trial in shared.trials()}) > 1


def test_the_lock_is_free_again_when_its_process_is_gone(tmp_path):
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path\n"
        "from engines.search_study import study_lock\n"
        "with study_lock(Path(sys.argv[2])): os._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(ROOT), str(tmp_path)], check=False)
    assert done.returncode == 9
    with study_lock(tmp_path):
        blocked = sqlite3.connect(tmp_path / "lock.db", timeout=0.1, isolation_level=None)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            blocked.execute("BEGIN IMMEDIATE")
        blocked.close()


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
    for name in ("engines.search_report", "engines.search_study"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert search.main(command(tmp_path)) == 1
    assert "[analysis]" in capsys.readouterr().err
