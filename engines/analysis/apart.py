"""A measurement in a process of its own: what it used at most, and its end, are its own."""

import json
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MEASURED, TOO_LARGE, FAILED = "measured", "out of memory", "failed"


def measured_apart(command: Sequence[str], folder: Path | None = None) -> dict[str, Any]:
    """The record that `command` prints as its last line of JSON; what went wrong becomes `status`.

    `folder`: where it is started, else here.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode:
        return failure(done.returncode, done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def failure(code: int, errors: str) -> dict[str, str]:
    """The record of a process that ended with this code; the kernel kills where memory ends."""
    last = (errors.strip().splitlines() or ["no message"])[-1]
    killed = hasattr(signal, "SIGKILL") and code == -signal.SIGKILL
    if killed or "can't allocate memory" in errors or "out of memory" in errors:
        return {"status": TOO_LARGE, "reason": "killed by the system" if killed else last}
    return {"status": FAILED, "reason": f"exit code {code}: {last[-300:]}"}
