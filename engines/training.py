"""A training run from its configuration to its finished folder."""

import logging
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from torch import nn
from torch.optim.swa_utils import AveragedModel

import losses
import models
from data.loaders import TrainingPairs
from data.pairs import FrozenPairs
from engines import figures
from engines.config import Optimizer, RunConfig
from engines.datasets import Sources, open_sources, recorded_data
from engines.fit import MONITOR, Fit
from engines.inpainting import Trainer, examples
from engines.run_folder import RunFolder, dump_config
from engines.runtime import Runtime, available_cores, device_name, start_runtime, versions
from models.blocks import count_parameters
from models.features import VGGFeatures

logger = logging.getLogger(__name__)

VALIDATION = "validation_pairs.json"


@dataclass(frozen=True)
class Outcome:
    """What a finished call of `train` leaves behind."""

    folder: RunFolder
    reason: str
    steps: int
    images: int
    minutes: float
    is_main: bool


def ema_average(decay: float):
    """EMA of parameters and buffers, its decay warmed up as (1 + n) / (10 + n), integers copied."""

    @torch.no_grad()
    def average(averages: list, values: list, count: int | torch.Tensor) -> None:
        count = float(count)
        rate = 1 - min(decay, (1 + count) / (10 + count))
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, values, rate)
        else:
            torch._foreach_copy_(averages, values)

    return average


def create_optimizer(options: Optimizer, network: nn.Module) -> torch.optim.Optimizer:
    """Adam or AdamW over the parameters that train, fused where the device allows it."""
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[options.name]
    trainable = [p for p in network.parameters() if p.requires_grad]
    fused = {p.device.type for p in trainable} <= {"cpu", "cuda"}
    return kind(
        trainable,
        lr=options.lr,
        betas=options.betas,
        weight_decay=options.weight_decay,
        fused=fused,
    )


def build_trainer(config: RunConfig, runtime: Runtime, train_images: int) -> Trainer:
    """Networks, loss and optimizers of a configuration, on the runtime's device."""
    training = config.training
    with runtime.main_first():  # one process downloads pretrained weights
        generator = models.create_inpainter(config.model.name, **config.model_options())
        loss = losses.create_loss(config.losses)
        extractors = {
            network: VGGFeatures(network, layers, training.features_weights).to(runtime.device)
            for network, layers in loss.layers().items()
        }
    critic = None
    if config.discriminator is not None:
        critic = models.create_discriminator(
            config.discriminator.name, **config.discriminator.options
        )
    if training.channels_last:
        for network in (generator, critic, *extractors.values()):
            if network is not None:
                network.to(memory_format=torch.channels_last)
    generator = runtime.share_statistics(generator.to(runtime.device))
    ema = AveragedModel(
        generator, multi_avg_fn=ema_average(training.ema_decay), use_buffers=True
    ).requires_grad_(False)
    generator_optimizer = create_optimizer(training.generator, generator)
    generator, generator_optimizer = runtime.prepare(generator, generator_optimizer)
    critic_optimizer = None
    if critic is not None:
        critic.to(runtime.device)
        critic_optimizer = create_optimizer(training.discriminator, critic)
        critic, critic_optimizer = runtime.prepare(critic, critic_optimizer)
    images = training.epoch_images or train_images
    return Trainer(
        config=config,
        runtime=runtime,
        generator=generator,
        generator_optimizer=generator_optimizer,
        loss=loss,
        extractors=extractors,
        ema=ema,
        epoch_steps=max(1, images // training.batch_size),
        discriminator=critic,
        discriminator_optimizer=critic_optimizer,
    )


def origins(trainer: Trainer) -> dict[str, str]:
    """Where the initial weights of each network came from."""
    generator = trainer.runtime.unwrap(trainer.generator)
    found = {"generator": getattr(generator, "origin", "random initialisation")}
    return found | {name: f"losses: {net.origin}" for name, net in trainer.extractors.items()}


def environment(trainer: Trainer, sources: Sources) -> dict[str, Any]:
    """What environment.json records about a start of the run."""
    runtime = trainer.runtime
    generator = runtime.unwrap(trainer.generator)
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "versions": versions(),
        "platform": platform.platform(),
        "device": device_name(runtime.device),
        "cores": available_cores(),
        "processes": runtime.processes,
        "mixed_precision": trainer.config.training.mixed_precision,
        "seed": trainer.config.training.seed,
        "weights": origins(trainer),
        "parameters": count_parameters(generator),
        "trainable_parameters": count_parameters(generator, trainable=True),
        "data": sources.describe(),
        "started_at_step": trainer.step,
    }


def draw_epoch(folder: RunFolder):
    """A function that saves the picture grid of an epoch and shows it where something can."""

    def draw(trainer: Trainer, pairs, epoch: int) -> None:
        figure = figures.examples_grid(examples(trainer, pairs))
        figures.save(figure, folder.figures / f"epoch_{epoch:03d}.png")
        figures.show(figure)

    return draw


def dry_run(config: RunConfig, root: Path | None) -> str:
    """The resolved config, parameter counts and the data that would be used, as text."""
    sources = open_sources(config.data, root)
    options = config.model_options()
    if "pretrained" in options:
        options["pretrained"] = False  # counting needs no download
    generator = models.create_inpainter(config.model.name, **options)
    lines = [dump_config(config)]
    lines.append(f"generator: {count_parameters(generator) / 1e6:.2f} M parameters")
    if config.discriminator is not None:
        critic = models.create_discriminator(
            config.discriminator.name, **config.discriminator.options
        )
        lines.append(f"discriminator: {count_parameters(critic) / 1e6:.3f} M parameters")
    lines += [f"data: {key}: {value}" for key, value in sources.describe().items()]
    return "\n".join(lines)


def train(
    config: RunConfig,
    root: Path | None,
    output: Path = Path("runs"),
    resume: str | None = None,
    max_minutes: float | None = None,
    device: str = "auto",
) -> Outcome:
    """Train one run. Everything it makes lies in its run folder.

    Args:
        root: the data folder, None for built-in faces, or for the folders a continued run recorded.
        output: runs/<name>/<NNN>/ is made below it.
        resume: "latest", a number or a path continues that run instead of starting a new one; its
            own config.yaml counts, `config` only names it.
        max_minutes: stop at a checkpoint after this many minutes of this call.

    Raises ValueError, FileNotFoundError (data, config, folder) or NonFiniteLossError.
    """
    folder = RunFolder.open(output, config.name, resume) if resume is not None else None
    split_file = None
    if folder is not None:
        config, split_file = folder.config(), folder.path / "split.json"
    runtime = start_runtime(config.training.mixed_precision, device, config.training.seed)
    try:
        data = config.data
        if folder is not None and root is None:
            data = recorded_data(folder.path, data)
        sources = open_sources(data, root, split_file)
        return _train(config, runtime, sources, folder, output, max_minutes)
    finally:
        runtime.close()


def _train(
    config: RunConfig,
    runtime: Runtime,
    sources: Sources,
    folder: RunFolder | None,
    output: Path,
    max_minutes: float | None,
) -> Outcome:
    """Build everything, then claim the run folder (a new one when `folder` is None) and fit."""
    with runtime.main_first():
        faces = sources.training_faces(output / ".cache", runtime.processes)
    trainer = build_trainer(config, runtime, len(faces))
    validation = sources.frozen("val")
    continued = folder is not None
    if folder is None:  # only now: a start that fails leaves no empty run behind
        folder = _shared_new_folder(runtime, output, config)
    if runtime.is_main:
        folder.lock()
    try:
        fit = Fit(
            trainer,
            folder,
            TrainingPairs(faces, sources.masks, config.training.seed, config.data.flip),
            validation,
            draw_epoch(folder),
            max_minutes if max_minutes is not None else config.training.max_minutes,
        )
        if continued:
            validation.check_against(folder.path / VALIDATION)
            fit.resume()
        if runtime.is_main:
            _record_start(trainer, sources, folder, validation, continued)
            _say_start(trainer, faces, sources, folder)
        reason = fit.run()
        if runtime.is_main:
            _record_end(trainer, fit, folder, reason)
        images = trainer.step * config.training.batch_size
        minutes = fit.seconds() / 60
        return Outcome(folder, reason, trainer.step, images, minutes, runtime.is_main)
    finally:
        if runtime.is_main:
            folder.unlock()


def _shared_new_folder(runtime: Runtime, output: Path, config: RunConfig) -> RunFolder:
    """The main process makes the folder and tells the others which."""
    made = [str(RunFolder.create(output, config).path) if runtime.is_main else None]
    return RunFolder(Path(broadcast_object_list(made)[0]))


def _record_start(
    trainer: Trainer, sources: Sources, folder: RunFolder, validation: FrozenPairs, continued: bool
) -> None:
    """environment.json of every start; split and validation pairs of the first."""
    folder.write_environment(environment(trainer, sources))
    if not continued:
        sources.save_split(folder.path / "split.json")
        validation.save(folder.path / VALIDATION)


def _record_end(trainer: Trainer, fit: Fit, folder: RunFolder, reason: str) -> None:
    """finished.json and the loss curves."""
    progress, runtime = fit.progress, trainer.runtime
    folder.finish(
        {
            "reason": reason,
            "steps": trainer.step,
            "images": trainer.step * trainer.config.training.batch_size,
            "minutes": round(fit.seconds() / 60, 2),
            "device": device_name(runtime.device),
            "processes": runtime.processes,
            "peak_memory_mib": round(runtime.peak_memory_mib()),
            "best": {
                "metric": MONITOR,
                "value": progress.best if progress.best_step else None,  # no whole epoch yet
                "step": progress.best_step,
            },
        }
    )
    if folder.read_metrics():
        figures.save(figures.loss_curves(folder.metrics), folder.figures / "losses.png")


def _say_start(trainer: Trainer, faces, sources: Sources, folder: RunFolder) -> None:
    config, training = trainer.config, trainer.config.training
    logger.info("run       %s (%s): %s", config.name, config.profile, config.description)
    logger.info("folder    %s", folder.path)
    logger.info(
        "device    %s, precision %s, %d process(es)",
        device_name(trainer.runtime.device), training.mixed_precision, trainer.runtime.processes,
    )  # fmt: skip
    where = "built-in faces" if sources.folder is None else sources.folder
    logger.info(
        "data      %d training images from %s at %d px", len(faces), where, config.data.size
    )
    logger.info(
        "training  %d epochs of %d steps, batch %d%s",
        training.epochs, trainer.epoch_steps, training.batch_size,
        f", continued at step {trainer.step}" if trainer.step else "",
    )  # fmt: skip
    for name, origin in origins(trainer).items():
        logger.info("weights   %s: %s", name, origin)
