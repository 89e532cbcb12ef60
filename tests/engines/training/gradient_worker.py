"""Run by test_distributed.py under torchrun: one training step, gradients saved by rank 0."""

import sys
from pathlib import Path

import torch

from deocclude.data.faces.files import builtin_faces
from deocclude.data.masks.source import MaskGenerator
from deocclude.data.pairs.training import PositionSampler, TrainingPairs, training_loader
from deocclude.engines.runs.config import load_config
from deocclude.engines.runs.runtime import start_runtime
from deocclude.engines.training.gan_steps import discriminator_step, generator_step
from deocclude.engines.training.inpainting import build_trainer


def main(config_path: str, output: str) -> None:
    config = load_config(config_path)
    runtime = start_runtime("no", "cpu", config.training.seed)
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
        torch.save(gradients, Path(output))
    runtime.wait()
    runtime.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
