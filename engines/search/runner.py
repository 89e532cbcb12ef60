"""A search carried out: trial after trial, each trained, recorded and said, until it is over."""

import argparse
import gc
import logging
import os
import signal
import time
from pathlib import Path

import torch

from deocclude.data.sources.root import data_root
from deocclude.engines.runs.config import choose_profile
from deocclude.engines.runs.devices import device_name, resolve_device
from deocclude.engines.search.objective import (
    Course,
    Search,
    Space,
    check_objective,
    choose_terms,
    load_search_config,
    run_path,
    run_trial,
)
from deocclude.engines.search.report import write_report
from deocclude.engines.search.study import SharedStudy
from deocclude.engines.training.fit import INTERRUPTED
from deocclude.engines.training.trainer import NonFiniteLossError
from deocclude.metrics.image import NotFiniteError
from deocclude.stopping import AGAIN, Stopped

logger = logging.getLogger(__name__)

OVER = "max_minutes"


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
        run_path(arguments.run),
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
    before = len(shared.done())
    _say_start(asked, arguments.trials, before)
    stopped = None
    while stopped is None:
        left = None
        if arguments.max_minutes is not None:
            left = arguments.max_minutes - (time.monotonic() - started) / 60
            if left <= 0:
                stopped = OVER
                break
        claim = shared.claim(arguments.trials)
        if claim is None:
            break
        stopped = carry_out(shared, claim, left)
        write_report(shared)
        say_left(len(shared.done()), before, arguments.trials, time.monotonic() - started)
    lines, files = write_report(shared)
    _say_end(shared, lines, files, stopped, arguments.trials)
    return 0


def carry_out(shared, claim, max_minutes: float | None = None) -> str | None:
    """Train one trial and record its end; OVER when the time is, None to go on. KeyboardInterrupt
    when it was interrupted.

    Whatever ends the training, the trial is not left running: cut short, it is tried again.
    """
    search, number = shared.search, claim.trial.number
    course = Course(claim.trial, search.objective, search.higher)
    words = ", ".join(f"{term} {weight:g}" for term, weight in claim.weights.items())
    logger.info("\ntrial %d  %s", number, words)
    facts = {"device": device_name(resolve_device(search.device))}
    try:
        outcome = run_trial(search, claim.name, claim.weights, course, max_minutes)
    except (NonFiniteLossError, NotFiniteError) as error:
        logger.warning("trial %d ended: %s", number, error)
        shared.finish(claim, course, facts, pruned=f"diverged: {str(error).partition(';')[0]}")
        return None
    except KeyboardInterrupt:
        shared.hand_back(claim, INTERRUPTED)
        raise
    except BaseException as error:
        shared.hand_back(claim, f"{type(error).__name__}: {error}", failed=True)
        raise
    finally:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    if outcome.interrupted:
        shared.hand_back(claim, INTERRUPTED)
        raise Stopped(outcome.signal or signal.SIGINT)
    if outcome.reason == OVER:
        shared.hand_back(claim, OVER)
        return OVER
    facts |= {"minutes": round(outcome.minutes, 2), "weights": outcome.folder.origins()}
    pruned = "worse than the median" if outcome.reason == "pruned" else None
    shared.finish(claim, course, facts, pruned)
    _say_trial(shared, course, number, pruned, outcome.minutes)
    return None


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


def _say_trial(shared, course: Course, number: int, pruned: str | None, minutes: float) -> None:
    objective, epoch = shared.search.objective, course.best_epoch()
    best = shared.best()
    so_far = "" if best is None else f"; best so far {best.value:.5g}, trial {best.number}"
    found = "no value" if epoch is None else f"{course.scores[epoch][objective]:.5g}, epoch {epoch}"
    end = f"pruned at epoch {max(course.scores)}, {pruned}" if pruned else "complete"
    logger.info("trial %d  %s: %s %s, %.1f min%s", number, end, objective, found, minutes, so_far)


def _say_end(shared, lines: list[str], files: dict, stopped: str | None, wanted: int) -> None:
    print("\n" + "\n".join(lines))
    for name, path in files.items():
        print(f"{name:<14} {path}")
    if others := shared.running():
        owners = {t.number: t.user_attrs.get("owner", {}) for t in others}
        words = [f"{n} (process {o.get('pid')} on {o.get('host')})" for n, o in owners.items()]
        print(f"still running: trial {', '.join(words)}")
    if stopped is not None:
        print(f"the time is over: {len(shared.done())} of {wanted} trials; {AGAIN}")
    elif "best.yaml" in files:
        print(f"train it       python train_inpainting.py {files['best.yaml']}")
