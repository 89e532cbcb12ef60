"""A search carried out: trial after trial, each trained, recorded and said, until it is over."""

import argparse
import logging
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.trial import FrozenTrial

from deocclude.data.sources.root import data_root
from deocclude.engines.runs.config import choose_profile, find_run
from deocclude.engines.runs.devices import device_name, resolve_device
from deocclude.engines.runs.folder import said
from deocclude.engines.search.objective import (
    Course,
    Search,
    Space,
    check_objective,
    choose_terms,
    load_search_config,
    run_trial,
)
from deocclude.engines.search.report import write_report
from deocclude.engines.search.study import OVER, SharedStudy
from deocclude.engines.training.fit import INTERRUPTED
from deocclude.engines.training.trainer import NonFiniteLossError
from deocclude.metrics.image import NotFiniteError
from deocclude.stopping import AGAIN, Stopped

logger = logging.getLogger(__name__)


def to_search(arguments: argparse.Namespace) -> Search:
    """What the command line asks for. ValueError or FileNotFoundError says what is wrong."""
    objective = check_objective(arguments.objective)
    root, profile, reason = data_root(arguments.data), arguments.profile, ""
    if profile == "auto":
        profile, reason = choose_profile(root, arguments.device)
    sizes = {
        "data.train_images": arguments.train_images,
        "data.validation_pairs": arguments.validation_pairs,
        "training.epochs": arguments.epochs,
    }
    config = load_search_config(arguments.run, profile, sizes, arguments.set, arguments.output)
    name = config.name if arguments.name is None else arguments.name
    if Path(name).name != name or name.startswith("."):
        raise ValueError(f"--name {name!r}: must be a plain name, for a folder")
    space = Space(
        choose_terms(config, arguments.terms), arguments.low, arguments.high, arguments.step
    )
    if reason:
        logger.info(reason)
    return Search(
        config,
        find_run(arguments.run).resolve(),
        tuple(arguments.set),
        space,
        objective,
        arguments.output / "search" / name,
        root,
        arguments.device,
    )


def search(arguments: argparse.Namespace) -> int:
    """Carry out trials until there are as many as asked, or the time is over. The exit code."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError(
            "a trial trains in one process: start this command several times instead of under a "
            "launcher; the processes share the study"
        )
    started = time.monotonic()
    asked = to_search(arguments)
    shared = SharedStudy.open(
        asked,
        arguments.storage,
        arguments.seed,
        arguments.startup_trials,
        arguments.warmup_epochs,
        arguments.keep_weights,
    )
    if arguments.release:
        shared.release(arguments.release)
    minutes = arguments.max_minutes
    deadline = None if minutes is None else started + 60 * minutes
    before = len(shared.done())
    _say_start(asked, arguments.trials, before)

    def say(_: optuna.Study, trial: FrozenTrial) -> None:
        _say_trial(shared, trial)
        write_report(shared)
        say_left(len(shared.done()), before, arguments.trials, time.monotonic() - started)

    stopped = carry_out(shared, arguments.trials, deadline, say)
    lines, files = write_report(shared)
    _say_end(shared, lines, files, stopped, arguments.trials)
    return 0


def carry_out(
    shared: SharedStudy,
    wanted: int,
    deadline: float | None = None,
    say: Callable[[optuna.Study, FrozenTrial], None] = lambda study, trial: None,
) -> str | None:
    """Train trials until `wanted` are done or being done; OVER when the time is, by the monotonic
    clock at `deadline`. `say` is called after each. One that is stopped is tried again."""
    search = shared.search

    def objective(trial: optuna.Trial) -> float | None:
        course = Course(trial, search.objective, search.higher)
        left = None if deadline is None else (deadline - time.monotonic()) / 60
        facts: dict[str, Any] = {}
        try:
            facts["device"] = device_name(resolve_device(search.device))
            with shared.at_work(trial) as (run, weights):
                outcome = run_trial(search, run, weights, course, left)
        except (NonFiniteLossError, NotFiniteError) as error:
            logger.warning("trial %d ended: %s", trial.number, error)
            why = f"diverged: {str(error).partition(';')[0]}"
            return shared.finish(trial, course, facts, pruned=why)
        except KeyboardInterrupt:
            shared.hand_back(trial, INTERRUPTED)
            raise
        except BaseException as error:
            shared.hand_back(trial, f"{type(error).__name__}: {error}", failed=True)
            raise
        if outcome.interrupted:
            shared.hand_back(trial, INTERRUPTED)
            raise Stopped(outcome.signal or signal.SIGINT)
        if outcome.reason == OVER:
            shared.hand_back(trial, OVER)
            shared.study.stop()
            return None  # no value: it failed, for Optuna
        facts |= {"minutes": round(outcome.minutes, 2), "weights": outcome.folder.origins()}
        pruned = "worse than the median" if outcome.reason == "pruned" else None
        return shared.finish(trial, course, facts, pruned)

    def after(study: optuna.Study, trial: FrozenTrial) -> None:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        shared.tidy()
        say(study, trial)
        shared.recover()
        if shared.is_enough(wanted):
            study.stop()

    with shared.turn:
        shared.recover()
        if not shared.is_enough(wanted):
            timeout = None if deadline is None else deadline - time.monotonic()
            shared.study.optimize(
                objective, timeout=timeout, callbacks=[after], gc_after_trial=True
            )
        return None if shared.is_enough(wanted) else OVER


def _say_start(search: Search, wanted: int, done: int) -> None:
    config, space = search.config, search.space
    logger.info("search    %s, %d of %d trials done", search.folder, done, wanted)
    logger.info(
        "weights   %s, %g to %g in steps of %g",
        ", ".join(space.terms), space.low, space.high, space.step,
    )  # fmt: skip
    fixed = [name for name in config.loss_terms() if name not in space.terms]
    if fixed:
        logger.info("as it is  %s", ", ".join(fixed))
    if not space.holds(search.own_weights):
        own = ", ".join(f"{term} {weight:g}" for term, weight in search.own_weights.items())
        logger.info("own       %s: not in the space, so no trial has them", own)
    logger.info("objective %s, %s", search.objective, "higher" if search.higher else "lower")


def say_left(done: int, before: int, wanted: int, seconds: float) -> None:
    """How far the search is, and its time left at the pace of all processes since this began."""
    if before < done < wanted:
        minutes = (wanted - done) * seconds / (done - before) / 60
        logger.info("%d of %d trials done, about %.0f min left", done, wanted, minutes)


def _say_trial(shared: SharedStudy, trial: FrozenTrial) -> None:
    facts, objective = trial.user_attrs, shared.search.objective
    if "minutes" not in facts:  # stopped, or said already
        return
    best, epoch, found = shared.best(), facts["best_epoch"], "no value"
    so_far = "" if best is None else f"; best so far {best.value:.5g}, trial {best.number}"
    if epoch is not None:
        found = f"{facts['scores'][objective]:.5g}, epoch {epoch}"
    end = "complete"
    if pruned := facts["reason"]:
        last = max(trial.intermediate_values, default=None)  # none where no value was finite
        end = f"pruned, {pruned}" if last is None else f"pruned at epoch {last}, {pruned}"
    words = (trial.number, end, objective, found, facts["minutes"], so_far)
    logger.info("trial %d  %s: %s %s, %.1f min%s", *words)


def _say_end(shared, lines: list[str], files: dict, stopped: str | None, wanted: int) -> None:
    print("\n" + "\n".join(lines))
    for name, path in files.items():
        print(f"{name:<14} {path}")
    if others := shared.running():
        words = [f"{t.number} ({said(t.user_attrs.get('owner', {}))})" for t in others]
        print(f"still running: trial {', '.join(words)}")
    if stopped is not None:
        print(f"the time is over: {len(shared.done())} of {wanted} trials; {AGAIN}")
    elif "best.yaml" in files:
        print(f"train it       python train_inpainting.py {files['best.yaml']}")
