"""Run by test_distributed.py under torchrun: a training step of each configuration that is named,
its gradients saved beside it by rank 0."""

import sys
from pathlib import Path

import torch

from deocclude.data.faces.files import builtin_faces
from deocclude.data.masks.source import MaskGenerator
from deocclude.data.pairs.training import PositionSampler, TrainingPairs, training_loader
from deocclude.engines.runs.config import load_config
from deocclude.engines.runs.runtime import Runtime, start_runtime
from deocclude.engines.training.gan_steps import discriminator_step, generator_step
from deocclude.engines.training.inpainting import build_trainer


def save_gradients(path: Path, runtime: Runtime) -> None:
    config = load_config(str(path))
    torch.manual_seed(config.training.seed)
    trainer = build_trainer(config, runtime, 24)
    faces = builtin_faces("train", 24, config.data.size)
    pairs = TrainingPairs(faces, MaskGenerator(config.data.size), config.training.seed)
    accumulate = config.training.accumulate
    sampler = PositionSampler(
        config.training.batch_size, 0, 1, accumulate, runtime.rank, runtime.processes
    )
    parts = [trainer.to_part(batch) for batch in training_loader(pairs, sampler, 0)]
    predictions, _ = generator_step(trainer, parts)
    discriminator_step(trainer, parts, predictions)
    if runtime.is_main:
        networks = {
            "generator": trainer.generator,
            "discriminator": trainer.discriminators["discriminator"],
        }
        gradients = {
            f"{name}/{key}": parameter.grad
            for name, network in networks.items()
            for key, parameter in runtime.unwrap(network).named_parameters()
        }
        gradients["processes"] = torch.tensor(runtime.processes)
        torch.save(gradients, path.with_suffix(".pt"))


def main(paths: list[str]) -> None:
    runtime = start_runtime("no", "cpu")
    for path in paths:
        save_gradients(Path(path), runtime)
    runtime.wait()
    runtime.close()


if __name__ == "__main__":
    main(sys.argv[1:])
