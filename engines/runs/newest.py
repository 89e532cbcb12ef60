"""Which runs count as finished, and the one that finished last."""

import json
import warnings
from pathlib import Path

import yaml

LEAST_STEPS = 100  # of a run that its budget stopped inside its first epoch


def newest_checkpoint(runs: str | Path, task: str = "inpainting") -> Path | None:
    """`best.safetensors` of the run under `runs/<name>/<NNN>/` that finished last, or None.

    `task` is inpainting, segmentation or identity, as the run's config.yaml says (inpainting if it
    says nothing). A run whose config.yaml is damaged is passed over, with a warning, and so is one
    that was `hardly_begun`.
    """
    ends = [
        (end.stat().st_mtime, end.with_name("best.safetensors"))
        for end in Path(runs).glob("*/*/finished.json")
    ]
    fits = [end for end in ends if end[1].is_file() and _task(end[1].parent) == task]
    for _, weights in sorted(fits, reverse=True):
        if not (why := hardly_begun(weights.parent)):
            return weights
        warnings.warn(f"{weights.parent}: passed over, {why}", stacklevel=2)
    return None


def hardly_begun(run: Path) -> str:
    """Why the weights of a run that has ended are no result; empty for a finished run.

    It counts once a whole epoch was validated, or when its budget of minutes ended it after
    LEAST_STEPS steps. A finished.json that does not tell, or cannot be read, counts.
    """
    try:
        facts = json.loads((run / "finished.json").read_text(encoding="utf-8"))
        steps, best, reason = facts["steps"], facts["best"]["step"], facts["reason"]
    except (OSError, ValueError, LookupError, TypeError):
        return ""
    if best > 0 or (reason == "max_minutes" and steps >= LEAST_STEPS):
        return ""
    planned = facts.get("planned_steps", "?")
    return f"it was stopped ({reason}) after {steps} of {planned} steps, inside its first epoch"


def _task(run: Path) -> str | None:
    """What the run trained; None, with a warning, if its config.yaml is damaged."""
    config = run / "config.yaml"
    try:
        values = yaml.safe_load(config.read_text(encoding="utf-8")) if config.exists() else None
        return dict(values or {}).get("task", "inpainting")
    except (OSError, TypeError, ValueError, yaml.YAMLError) as error:
        warnings.warn(f"{config}: damaged, the run is passed over ({error})", stacklevel=3)
        return None
