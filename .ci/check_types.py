"""mypy over the package as it is installed: `python .ci/check_types.py [mypy options]`.

In a checkout `deocclude.engines` is the folder engines/, which `deocclude/__init__.py` adds to its
`__path__` when it runs. mypy runs nothing, so it gets a temporary folder in which links lay
the package out; what it prints are the checkout's paths.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("engines", "data", "models", "losses", "metrics")


def main() -> int:
    """mypy's exit code."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder, "deocclude")
        package.mkdir()
        for part in [*(ROOT / "deocclude").iterdir(), *(ROOT / name for name in FOLDERS)]:
            (package / part.name).symlink_to(part)
        options = [
            f"--config-file={ROOT / 'pyproject.toml'}",
            f"--cache-dir={ROOT / '.mypy_cache'}",
        ]
        command = [sys.executable, "-m", "mypy", *options, "-p", "deocclude", *sys.argv[1:]]
        ran = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    linked = re.compile(rf"^deocclude/(?=({'|'.join(FOLDERS)})/)", re.MULTILINE)
    print(linked.sub("", ran.stdout), end="")
    return ran.returncode


if __name__ == "__main__":
    sys.exit(main())
