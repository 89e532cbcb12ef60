"""Stand-ins for the weights that ship: the project's own classes, small, with random numbers."""

from pathlib import Path

import torch

from deocclude import models
from deocclude.data.files import sha256
from deocclude.engines.runs.metadata import WEIGHTS_VERSION
from deocclude.engines.runs.released import FILES, SUMS
from deocclude.engines.runs.weights import save_release

MODELS = {
    "inpainting": {"name": "student", "width": 8},
    "segmentation": {"name": "unet", "width": 8},
}
SMALL = {
    "inpainting": {"masks": "builtin", "fill": 1.0, "test_per_bin": 1},
    "segmentation": {"occluders": "drawn", "test_per_kind": 1},
}
CREATE = {"inpainting": models.create_inpainter, "segmentation": models.create_segmenter}


def write_weights(path: Path, task: str, version: int | None = WEIGHTS_VERSION, **data) -> Path:
    """A weights file of a small random network, as it would ship; as of a run without `version`."""
    torch.manual_seed(0)
    network = CREATE[task](**MODELS[task])
    config = {
        "name": f"release-{task}",
        "task": task,
        "model": MODELS[task],
        "data": {"faces": "builtin", "size": 64, "builtin_images": 24} | SMALL[task] | data,
    }
    metadata = {"config": config, "contract": {}, "metrics": {}}
    if version is not None:
        metadata["release"] = {"version": version}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_release(path, network, metadata)
    return path


def write_sums(folder: Path) -> None:
    files = [path for path in sorted(folder.iterdir()) if path.name != SUMS]
    (folder / SUMS).write_text("".join(f"{sha256(path)}  {path.name}\n" for path in files))


def ship(folder: Path, **data) -> Path:
    """A whole weights/ folder but for the landmarker."""
    for task, name in FILES.items():
        write_weights(folder / name, task, **data)
    write_sums(folder)
    return folder
