"""Two processes give the gradients of one process with the joint batch."""

import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
import yaml
from process_stubs import start_group

from deocclude.data.faces.files import builtin_faces
from deocclude.data.masks.source import MaskGenerator
from deocclude.data.pairs.training import PositionSampler, TrainingPairs, training_loader
from deocclude.engines.runs.config import load_config
from deocclude.engines.runs.runtime import Runtime, start_runtime
from deocclude.engines.training.gan_steps import discriminator_step, generator_step
from deocclude.engines.training.inpainting import build_trainer

ACCUMULATE = (1, 2)


def save_gradients(path: Path, runtime: Runtime) -> None:
    """Of a training step of the configuration in a file, beside it, by rank 0."""
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


def save_all(paths: Iterable[Path]) -> None:
    runtime = start_runtime("no", "cpu")
    for path in paths:
        save_gradients(path, runtime)
    runtime.wait()
    runtime.close()


@pytest.fixture(scope="module")
def gradients(tmp_path_factory, tiny_config):
    """By the number of processes and of accumulated batches. One process is this one."""
    found = {}
    for processes in (1, 2):
        folder = tmp_path_factory.mktemp(f"processes{processes}")
        files = {n: folder / f"{n}.yaml" for n in ACCUMULATE}
        for n, path in files.items():
            config = tiny_config("ablationv1", f"training.accumulate={n}")
            path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
        if processes == 1:
            save_all(files.values())
        else:
            group = start_group(processes, save_all, list(files.values()))
            for process in group:
                process.join(300)
            assert [process.exitcode for process in group] == [0, 0]
        for n, path in files.items():
            found[processes, n] = torch.load(path.with_suffix(".pt"), weights_only=True)
    return found


@pytest.mark.skipif(sys.platform == "win32", reason="PyTorch needs a libuv build on Windows")
@pytest.mark.parametrize("accumulate", ACCUMULATE)
def test_two_processes_equal_one_with_the_joint_batch(gradients, accumulate):
    joint, shared = gradients[1, accumulate], gradients[2, accumulate]
    assert (joint.pop("processes"), shared.pop("processes")) == (1, 2)
    assert joint.keys() == shared.keys()
    assert any(key.startswith("discriminator/") for key in joint)
    for key, gradient in joint.items():
        torch.testing.assert_close(shared[key], gradient, rtol=1e-3, atol=1e-6, msg=key)
