"""The packages of the extra `onnx` tell nobody that they are used."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deocclude.engines.graphs.packages import RUNTIME, OnnxError, has_runtime, need

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.skipif(not has_runtime(), reason="ONNX Runtime is not installed")
def test_onnx_runtime_sends_nothing_and_leaves_nothing_in_the_home_folder(tmp_path):
    code = f"from deocclude.engines.graphs.packages import need; need({RUNTIME!r})"
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)
    assert list(tmp_path.rglob("*")) == []


def test_a_package_that_is_not_there_is_said():
    with pytest.raises(OnnxError, match="nowhere is not installed"):
        need("nowhere")
