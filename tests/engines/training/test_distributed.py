"""Two processes give the gradients of one process with the joint batch."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

ROOT = Path(__file__).resolve().parents[3]
WORKER = Path(__file__).with_name("gradient_worker.py")


ACCUMULATE = (1, 2)


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
        words = list(map(str, files.values()))
        two_processes(words) if processes == 2 else runpy.run_path(str(WORKER))["main"](words)
        for n, path in files.items():
            found[processes, n] = torch.load(path.with_suffix(".pt"), weights_only=True)
    return found


def two_processes(words: list[str]) -> None:
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [sys.executable, *launch, str(WORKER), *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.skipif(sys.platform == "win32", reason="torchrun needs a libuv build on Windows")
@pytest.mark.parametrize("accumulate", ACCUMULATE)
def test_two_processes_equal_one_with_the_joint_batch(gradients, accumulate):
    joint, shared = gradients[1, accumulate], gradients[2, accumulate]
    assert (joint.pop("processes"), shared.pop("processes")) == (1, 2)
    assert joint.keys() == shared.keys()
    assert any(key.startswith("discriminator/") for key in joint)
    for key, gradient in joint.items():
        torch.testing.assert_close(shared[key], gradient, rtol=1e-3, atol=1e-6, msg=key)
