"""Tiny inpainters in weights files, as finished runs leave them, to be members of ensembles."""

import json
from pathlib import Path

import torch
from torch import nn

from deocclude import models
from deocclude.data.contract import hide
from deocclude.data.settings import Data
from deocclude.engines.runs.weights import create_features, save_release

SIZE = 32
TINY = {"name": "occlufix", "width": 4, "depth": 2}


class Conditioned(nn.Module):
    """An inpainter that takes features; to be registered as `conditioned`."""

    uses_mask, uses_features, origin, embedding = False, True, "stub", 256

    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Linear(self.embedding, 3)

    def forward(self, occluded, mask=None, features=None):
        return self.level(features).sigmoid()[..., None, None].expand_as(occluded)


def write_member(
    root: Path,
    name: str,
    seed: int = 0,
    task: str = "inpainting",
    number: str = "001",
    model: dict | None = None,
    **data,
) -> Path:
    """The weights file of a finished run below `root`, with random weights of this seed."""
    torch.manual_seed(seed)
    model = model or TINY
    network = models.create_inpainter(**model)
    given = {"faces": "builtin", "masks": "builtin", "template": "ffhq", "size": SIZE}
    fields = Data(**given | {"validation_pairs": 12, "test_per_bin": 1} | data)
    config = {"name": name, "task": task, "model": model, "data": fields.model_dump(mode="json")}
    parts = {}
    if getattr(network, "uses_features", False):
        config["features"] = {
            "name": "efficientnet_b0",
            "weights": "/somewhere/runs/EfficientNetB0/001/best.safetensors",
            "classes": 2,
        }
        parts["features"] = create_features("efficientnet_b0", {"classes": 2})
    file = root / name / number / "best.safetensors"
    file.parent.mkdir(parents=True, exist_ok=True)
    save_release(file, network, {"config": config, "contract": {}, "metrics": {}}, parts)
    (file.parent / "finished.json").write_text(json.dumps({"reason": "epochs", "images": 8}))
    return file


def write_members(root: Path, names: str = "abc", **data) -> list[Path]:
    """One weights file for each letter, all different."""
    return [write_member(root, name, seed, **data) for seed, name in enumerate(names)]


def holes(count: int = 2, side: int = SIZE):
    """Occluded pictures and their holes, of different sizes."""
    generator = torch.Generator().manual_seed(0)
    small = torch.rand(count, 3, 4, 4, generator=generator)
    target = nn.functional.interpolate(small, (side, side), mode="bilinear")
    mask = torch.zeros(count, 1, side, side)
    for index in range(count):
        mask[index, :, 4 : 12 + 6 * index, 8:24] = 1
    return hide(target, mask), mask
