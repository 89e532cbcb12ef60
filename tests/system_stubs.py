"""Small runs of several systems, for the tests of what the frame does for them."""

import torch

from deocclude.data.contract import hide
from deocclude.engines.runs.config import load_config
from deocclude.engines.runs.runtime import start_runtime
from deocclude.engines.training.gan_steps import Part
from deocclude.engines.training.inpainting import build_trainer

TINY = [
    "data.size=32",
    "data.builtin_images=16",
    "data.validation_pairs=6",
    "data.test_per_bin=1",
    "data.workers=0",
    "training.epochs=2",
    "training.epoch_images=8",
    "training.batch_size=4",
    "training.max_minutes=null",
    "training.mixed_precision=no",
    "training.features_weights=random",
    "training.feature_terms=true",
    "training.log_steps=1",
]
SMALL_UNET = ["model.width=4", "model.depth=2"]
FEW_LAYERS = ["losses.perceptual.layers=[relu1_1]", "losses.style.layers=[relu1_1]"]
SMALL_GAN = ["model.width=4", "model.grid=4", "discriminators.patch.widths=[4, 8]"]
NARROW = ["model.width=4", "discriminators.dcgan.widths=[4, 8]"]


def tiny(name: str, *overrides: str):
    return load_config(name, "quick", [*TINY, *overrides])


def make_trainer(name: str, *overrides: str):
    config = tiny(name, *overrides)
    return build_trainer(config, start_runtime("no", "cpu", 0), 16, continued=True)


def make_part(count: int = 4) -> Part:
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(count, 3, 32, 32, generator=generator)
    mask = torch.zeros(count, 1, 32, 32)
    mask[..., 8:24, 8:20] = 1
    return Part(target, mask, hide(target, mask), [str(i) for i in range(count)])


def snapshot(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in network.state_dict().items()}


def changed(network: torch.nn.Module, before: dict[str, torch.Tensor]) -> bool:
    return any(not torch.equal(value, before[key]) for key, value in network.state_dict().items())
