"""Two processes give the gradients of one process with the joint batch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

ROOT = Path(__file__).resolve().parents[3]
WORKER = Path(__file__).with_name("gradient_worker.py")


def run(tmp_path: Path, config, processes: int) -> dict[str, torch.Tensor]:
    path, output = tmp_path / f"config{processes}.yaml", tmp_path / f"gradients{processes}.pt"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    command = [sys.executable, *(launch if processes > 1 else []), str(WORKER), str(path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(output)], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(output, weights_only=True)


@pytest.mark.skipif(sys.platform == "win32", reason="torchrun needs a libuv build on Windows")
@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_processes_equal_one_with_the_joint_batch(tmp_path, tiny_config, accumulate):
    config = tiny_config("ablationv1", f"training.accumulate={accumulate}")
    joint, shared = run(tmp_path, config, 1), run(tmp_path, config, 2)
    assert (joint.pop("processes"), shared.pop("processes")) == (1, 2)
    assert joint.keys() == shared.keys()
    assert any(key.startswith("discriminator/") for key in joint)
    for key, gradient in joint.items():
        torch.testing.assert_close(shared[key], gradient, rtol=1e-3, atol=1e-6, msg=key)
