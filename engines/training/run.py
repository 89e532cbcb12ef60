"""A training run from its configuration to its finished folder."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from accelerate.utils import broadcast_object_list

from deocclude import models, stopping
from deocclude.engines.runs.folder import RunFolder, dump_config
from deocclude.engines.runs.runtime import Runtime, start_runtime
from deocclude.engines.runs.settings import AnyRun
from deocclude.engines.runs.tasks import TASKS
from deocclude.engines.training.fit import INTERRUPTED, Fit
from deocclude.engines.training.gan_steps import role
from deocclude.engines.training.origins import settle
from deocclude.engines.training.record import (
    VALIDATION,
    record_end,
    record_start,
    say_start,
)
from deocclude.models.blocks import count_parameters
from deocclude.names import imported, in_words


@dataclass(frozen=True)
class Outcome:
    """What a finished call of `train` leaves behind."""

    folder: RunFolder
    reason: str
    steps: int
    images: int
    minutes: float
    is_main: bool
    signal: int = 0  # that interrupted it

    @property
    def interrupted(self) -> bool:
        """Whether it was asked to stop."""
        return self.reason == INTERRUPTED


def train(
    config: AnyRun,
    root: Path | None,
    output: Path = Path("runs"),
    resume: str | None = None,
    max_minutes: float | None = None,
    device: str = "auto",
    prune: Callable[[RunFolder], bool] | None = None,
) -> Outcome:
    """Train one run. Everything it makes lies in its run folder.

    Args:
        root: the data folder, None for built-in faces, or for the folders a continued run recorded.
        output: runs/<name>/<NNN>/ is made below it.
        resume: "latest", a number or a path continues that run instead of starting a new one; its
            own config.yaml counts, `config` only names it.
        max_minutes: stop at a checkpoint after this many minutes of this call.
        prune: asked after every epoch but the last, once its metrics are written and its
            checkpoint is saved; True ends the run.

    Raises ValueError, FileNotFoundError (data, config, folder) or NonFiniteLossError.
    """
    folder, config = _to_start(config, output, resume)
    continued, training = folder is not None, config.training
    runtime = start_runtime(training.mixed_precision, device, training.seed)
    with contextlib.closing(runtime):
        # Sources: the data, and a file for every name in the configuration.
        config, sources = settle(config, root, output, folder)
        with runtime.main_first():
            pairs = sources.training_pairs(
                training.seed, output / ".cache", runtime.processes, training.batch_size
            )
        validation = sources.frozen("val")

        # Networks, with their losses and optimizers.
        build = imported(TASKS[config.task].builder)
        trainer = build(config, runtime, pairs.images, continued)

        # Folder: only now, so that a start that fails leaves no empty run behind.
        folder = folder or _shared_new_folder(runtime, output, config)
        with _claimed(folder, runtime):
            if continued:
                validation.check_against(folder.path / VALIDATION)

            # Fit, from the start or the last checkpoint to the end or a stop.
            minutes = training.max_minutes if max_minutes is None else max_minutes
            fit = Fit(trainer, folder, pairs, validation, minutes, prune)
            if continued:
                fit.resume()
            if runtime.is_main:
                record_start(trainer, sources, folder, validation, continued)
                say_start(trainer, pairs.images, sources, folder)
            reason = fit.run()
            if runtime.is_main:
                record_end(fit, reason)
            return Outcome(
                folder,
                reason,
                trainer.step,
                trainer.step * training.batch_size,
                fit.seconds() / 60,
                runtime.is_main,
                fit.stop.asked,
            )


def dry_run(
    config: AnyRun, root: Path | None, runs: Path = Path("runs"), resume: str | None = None
) -> str:
    """The resolved config, parameter counts and the data that would be used, as text; errors as of
    a start. `runs`: where runs that it starts from lie. `resume` as for `train`: the config is that
    of the run that would go on."""
    folder, config = _to_start(config, runs, resume)
    config, sources = settle(config, root, runs, folder)
    options = config.model_options()
    if config.model.takes("pretrained"):
        options["pretrained"] = False  # counting needs no download
    task = TASKS[config.task]
    network = task.create(config.model.name, **options)
    lines = [dump_config(config)]
    lines += [] if folder is None else [f"continues {folder.path}"]
    lines.append(f"{task.main}: {count_parameters(network) / 1e6:.2f} M parameters")
    for name, each in getattr(config, "discriminators", {}).items():
        critic = models.create_discriminator(each.name, **each.options)
        lines.append(f"{role(name)}: {count_parameters(critic) / 1e6:.3f} M parameters")
    lines += [f"data: {key}: {in_words(value)}" for key, value in sources.describe().items()]
    return "\n".join(lines)


def _to_start(config: AnyRun, output: Path, resume: str | None) -> tuple[RunFolder | None, AnyRun]:
    """The folder of the run that `resume` names, and its own configuration; without one that which
    was given."""
    if resume is None:
        return None, config
    folder = RunFolder.open(output, config.name, resume)
    return folder, folder.config()


def _shared_new_folder(runtime: Runtime, output: Path, config: AnyRun) -> RunFolder:
    """The main process makes the folder and tells the others which."""
    made = [str(RunFolder.create(output, config).path) if runtime.is_main else None]
    return RunFolder(Path(broadcast_object_list(made)[0]))


@contextlib.contextmanager
def _claimed(folder: RunFolder, runtime: Runtime) -> Iterator[None]:
    """Within the block the folder is this run's; whoever interrupts it is told which one it was."""
    try:
        if runtime.is_main:
            folder.lock()
        yield
    except KeyboardInterrupt as stop:
        told = stop if isinstance(stop, stopping.Stopped) else stopping.Stopped()
        told.folder = folder.path
        raise told from None
    finally:
        if runtime.is_main:
            folder.unlock()
