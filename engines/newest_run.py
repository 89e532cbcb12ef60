"""The run that finished last."""

import warnings
from pathlib import Path

import yaml


def newest_checkpoint(runs: str | Path, task: str = "inpainting") -> Path | None:
    """`best.safetensors` of the run under `runs/<name>/<NNN>/` that finished last, or None.

    `task` is inpainting, segmentation or identity, as the run's config.yaml says (inpainting if it
    says nothing). A run whose config.yaml is damaged is passed over, with a warning.
    """
    ends = [
        (end.stat().st_mtime, end.with_name("best.safetensors"))
        for end in Path(runs).glob("*/*/finished.json")
    ]
    fits = [end for end in ends if end[1].is_file() and _task(end[1].parent) == task]
    return max(fits, default=(0, None))[1]


def _task(run: Path) -> str | None:
    """What the run trained; None, with a warning, if its config.yaml is damaged."""
    config = run / "config.yaml"
    try:
        values = yaml.safe_load(config.read_text(encoding="utf-8")) if config.exists() else None
        return dict(values or {}).get("task", "inpainting")
    except (OSError, TypeError, ValueError, yaml.YAMLError) as error:
        warnings.warn(f"{config}: damaged, the run is passed over ({error})", stacklevel=3)
        return None
