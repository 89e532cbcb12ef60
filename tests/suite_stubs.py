"""Run folders as training leaves them, for tests of suites."""

import json

import torch
from safetensors.torch import save_file

from deocclude.engines.runs.config import load_config
from deocclude.engines.runs.folder import dump_config
from deocclude.engines.suite.plan import plan_jobs
from deocclude.engines.suite.request import Request

QUICK = ["training.max_minutes=null"]


def write_run(
    root, name, *overrides, reason="epochs", minutes=5.0, number="001", task=None, profile="quick"
):
    """A run's folder as training leaves it; `reason` None: killed after its first checkpoint."""
    config = load_config(name, profile, [*QUICK, *overrides], task or "inpainting")
    folder = root / config.name / number
    (folder / "last").mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(dump_config(config))
    (folder / "finished.json").unlink(missing_ok=True)
    torch.save({"step": 1, "progress": {"seconds": 60 * minutes}}, folder / "last" / "state.pt")
    metadata = {"config": json.dumps(config.model_dump(mode="json"))}
    save_file({"w": torch.zeros(1)}, folder / "best.safetensors", metadata)
    if reason is not None:
        facts = {"reason": reason, "minutes": minutes, "images": 80}
        (folder / "finished.json").write_text(json.dumps(facts))
    return folder


def request(root, *overrides, **options):
    return Request(root, "quick", (*QUICK, *overrides), **options)


def plan(root, *runs, **options):
    return {job.name: job for job in plan_jobs(runs, request(root, **options))}


def write_files(tmp_path):
    """The YAML of a run, Base, and of one that starts from it by its name, Tuned."""
    files = [tmp_path / "first.yaml", tmp_path / "second.yaml"]
    files[0].write_text("name: Base\nextends: ablationv1\n")
    files[1].write_text("name: Tuned\nextends: ablationv1\ninit_from: base\n")
    return str(files[0]), str(files[1])
