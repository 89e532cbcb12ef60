"""The record that the processes of a search share: stopped, killed, pruned and shared trials."""

import os
import platform
import sys
import time
from pathlib import Path

import pytest
import torch

pytest.importorskip("optuna")

from filelock import FileLock
from optuna.trial import TrialState
from process_stubs import start
from search_stubs import TERMS, Fake, command, leave, open_study, run, score

from deocclude.engines.runs.folder import this_process
from deocclude.engines.search import __main__ as search
from deocclude.engines.search import report
from deocclude.engines.search.objective import Course
from deocclude.engines.search.report import trials_frame, trials_table, write_report
from deocclude.engines.search.study import NumberedTPE


@pytest.fixture
def fake(monkeypatch):
    return Fake(monkeypatch)


def test_the_first_trial_has_the_runs_own_weights(tmp_path):
    claim = leave(open_study(tmp_path), 1)
    assert claim.weights == {"perceptual": 1.7, "style": 4.0, "hole_l1": 3.6, "adversarial": 4.7}


def test_own_weights_outside_the_space_are_no_trial(tmp_path):
    claim = leave(open_study(tmp_path, "--low", "2.0"), 1)
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
    with pytest.raises(KeyboardInterrupt):
        run(shared, 1)
    assert [t.state for t in shared.trials()] == [TrialState.FAIL, TrialState.WAITING]


def test_a_trial_whose_process_died_is_tried_again_but_not_for_ever(tmp_path):
    shared = open_study(tmp_path)
    weights = leave(shared, 1).weights
    for tries in (1, 2):
        claim = leave(shared, 1)
        facts = claim.trial.user_attrs
        assert (claim.weights, facts["tries"], claim.run) == (weights, tries, "trial_000")
    assert leave(shared, 1) is None
    assert [t.state for t in shared.trials()] == [TrialState.FAIL] * 3
    assert trials_frame(shared)["remark"][2] == "its process ended; given up"


def test_a_trial_that_an_earlier_version_left_is_tried_again(tmp_path):
    """It named its process and locked no folder; its lock of the study is none any more."""
    shared = open_study(tmp_path)
    (shared.search.folder / "lock.db").write_bytes(b"")
    trial = shared.study.ask()
    owner = {"pid": os.getpid(), "host": platform.node(), "started": 1.5}
    for key, value in {"owner": owner, "run": "trial_000", "began": 0}.items():
        trial.set_user_attr(key, value)
    weights = shared.search.space.suggest(trial)
    again = leave(open_study(tmp_path), 1)
    assert (again.run, again.weights) == ("trial_000", weights)
    assert again.trial.user_attrs["tries"] == 1


def test_a_trial_that_comes_on_between_kills_is_not_given_up(tmp_path):
    shared = open_study(tmp_path)
    for step in range(1, 8):
        claim = leave(shared, 1)
        assert (claim.trial.user_attrs.get("tries", 0), claim.run) == (0, "trial_000")
        last = shared.search.trials / claim.run / "001" / "last"
        last.mkdir(parents=True, exist_ok=True)
        torch.save({"step": step}, last / "state.pt")


def test_a_trial_killed_before_its_weights_were_drawn_gets_the_same(tmp_path, fake):
    """The run's own, which come first, and drawn ones."""
    smooth, shared = open_study(tmp_path / "smooth"), open_study(tmp_path / "killed")
    run(smooth, 2)
    for wanted in (1, 2):
        for _ in range(2):
            shared.study.ask()
            shared.recover()
        run(shared, wanted)
    assert [t.params for t in shared.done()] == [t.params for t in smooth.done()]


def test_a_stopped_trial_changes_no_other(tmp_path, fake):
    """What is drawn for the next trial is what would have been without the stop."""
    smooth = open_study(tmp_path / "smooth")
    run(smooth, 3)
    shared = open_study(tmp_path / "stopped")
    fake.stop_at = dict.fromkeys([("trial_000", 1), ("trial_000", 2)], "interrupted")
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run(shared, 3)
    run(shared, 3)
    assert [t.params for t in shared.done()] == [t.params for t in smooth.done()]


def test_a_trial_of_another_machine_is_left_until_it_is_released(tmp_path):
    shared = open_study(tmp_path)
    claim = leave(shared, 1)
    claim.trial.set_user_attr("owner", {**this_process(), "host": "elsewhere"})
    assert leave(shared, 1) is None
    with pytest.raises(ValueError, match="--release 7: is not running; running: 0"):
        shared.release([7])
    shared.release([0])
    assert leave(shared, 1).weights == claim.weights


def test_a_failed_training_is_queued_again_and_raises(tmp_path, fake):
    def fail():
        raise OSError("disk full")

    shared = open_study(tmp_path)
    fake.stop_at = {("trial_000", 1): fail}
    with pytest.raises(OSError, match="disk full"):
        run(shared, 1)
    assert shared.trials()[0].user_attrs["reason"] == "OSError: disk full"
    assert shared.trials()[1].user_attrs["tries"] == 1


def test_many_trials_have_importances_and_a_table_of_the_best(tmp_path, fake, monkeypatch):
    monkeypatch.setattr(report, "SHOWN", 20)
    shared = open_study(tmp_path)
    run(shared, 26)
    assert write_report(shared)[1]["importance.png"].is_file()
    assert sum(shared.importances().values()) == pytest.approx(1)
    table = trials_table(shared, trials_frame(shared), shared.importances())
    assert len(table.rows) == 20
    assert any("20 of 26" in note for note in table.notes)
    values = [float(row[5].text) for row in table.rows if row[-1].text == "complete"]
    assert values == sorted(values, reverse=True)
    early = [t.value for t in shared.trials()[1:6]]
    late = [t.value for t in shared.trials()[-8:] if t.value is not None]
    assert sum(late) / len(late) > sum(early) / len(early)  # TPE has learned where it is good


def test_figures_leave_pyplot_as_it_was(tmp_path, fake):
    """Optuna draws by it, and sets its style."""
    from matplotlib import pyplot

    shared = open_study(tmp_path)
    run(shared, 1)
    before = pyplot.get_backend(), dict(pyplot.rcParams), pyplot.get_fignums()
    assert write_report(shared)[1].keys() >= {"history.png", "courses.png", "weights.png"}
    assert (pyplot.get_backend(), dict(pyplot.rcParams), pyplot.get_fignums()) == before


def test_a_metric_that_is_better_when_low_is_minimised(tmp_path):
    shared = open_study(tmp_path, "--objective", "composed/l1")
    assert shared.study.direction.name == "MINIMIZE"
    course = Course(leave(shared, 1).trial, "composed/l1", higher=False)
    course.scores = {1: {"composed/l1": 0.2}, 2: {"composed/l1": 0.1}, 3: {}}
    assert course.best_epoch() == 2


def test_a_draw_depends_on_the_trials_number_not_on_the_process(tmp_path):
    def draws(folder, restarts: bool) -> list[dict]:
        shared, found = open_study(folder), []
        for _ in range(4):
            shared = open_study(folder) if restarts else shared
            claim = leave(shared, 10)
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


def search_alone(output: Path, *more: str) -> None:
    sys.exit(search.main(command(output, *more)))


@pytest.mark.slow
def test_two_processes_share_a_study_and_make_up_for_a_killed_one(tmp_path):
    """Killed inside a trial: that trial is tried again, once, and there are no more than asked."""
    folder = tmp_path / "search" / "ablationv1"
    settings = ("--trials", "2", "--set", "training.epoch_images=60")
    victim = start(search_alone, tmp_path, *settings)
    deadline = time.monotonic() + 120
    while not list(folder.glob("trials/trial_000/001/in_use.json")):
        assert victim.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    victim.kill()
    victim.join()
    shared = open_study(tmp_path, *settings)
    assert [trial.state for trial in shared.trials()] == [TrialState.RUNNING]
    both = [start(search_alone, tmp_path, *settings) for _ in range(2)]
    for process in both:
        process.join(240)
    assert [process.exitcode for process in both] == [0, 0]
    first, second, *others = shared.trials()
    assert (first.state, second.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert (second.user_attrs["earlier"], second.params) == (0, first.params)
    assert [trial.number for trial in others] == [2]
    assert len(shared.done()) == 2
    assert len({trial.user_attrs["owner"]["pid"] for trial in shared.trials()}) > 1


def take_turn_and_die(output: Path) -> None:
    open_study(output).turn.acquire()
    os._exit(9)


def test_the_turn_is_one_processs_and_free_when_that_is_gone(tmp_path):
    dead = start(take_turn_and_die, tmp_path)
    dead.join(60)
    assert dead.exitcode == 9
    shared = open_study(tmp_path)
    with shared.turn, pytest.raises(TimeoutError, match=r"study\.lock"):
        FileLock(shared.search.folder / "study.lock").acquire(timeout=0.1)
