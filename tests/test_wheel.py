"""The wheel: what is in it, and that it restores a face where there is no checkout."""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import deocclude

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (
    "engines", "data", "models", "losses", "metrics", "ablations", "weights", "examples",
)  # fmt: skip
SCRIPTS = (
    "app.py", "train_inpainting.py", "train_segmentation.py", "train_identity.py", "evaluate.py",
)  # fmt: skip
BIN = "Scripts" if os.name == "nt" else "bin"
FACE = "1_surgical_mask"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy, for a build leaves folders behind; the network is not asked."""
    copy, built = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("wheel")
    for name in ("deocclude", *FOLDERS):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (
        *ROOT.glob("*.py"),
        *map(ROOT.joinpath, ("pyproject.toml", "README.md", "LICENSE")),
    ):
        shutil.copy(path, copy)
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    run([*pip, "--wheel-dir", built, copy], copy)
    (path,) = built.iterdir()
    return path


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    """The Python of an environment with the wheel, and with what this one has installed."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=os.name != "nt")
    python = folder / BIN / f"python{'.exe' if os.name == 'nt' else ''}"
    site = run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder)
    others = [path for path in sys.path if path.endswith("-packages")]
    Path(site.strip(), "others.pth").write_text("\n".join(others), encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index"]
    run([*pip, wheel], folder)
    return python


def run(command: list, folder: Path) -> str:
    """What a command prints, run in `folder`."""
    alone = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)), cwd=folder, env=alone, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_wheel_holds_every_file_as_one_package(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    described = f"deocclude-{deocclude.__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {"deocclude", described}
    files = [path for path in (ROOT / "deocclude").iterdir() if path.is_file()]
    files += [path for name in FOLDERS for path in (ROOT / name).rglob("*") if path.is_file()]
    expected = {path.relative_to(ROOT).as_posix() for path in files}
    expected = {name for name in expected if "__pycache__" not in name} - {"examples/make.py"}
    expected = {name for name in expected if not name.startswith("weights/.onnx/")}  # kept graphs
    inside = {name for name in names if not name.startswith(described)}
    wanted = {f"deocclude/{name.removeprefix('deocclude/')}" for name in (*expected, *SCRIPTS)}
    assert inside == wanted


def test_it_restores_a_face_in_an_empty_folder(python, tmp_path):
    before = Image.open(ROOT / "examples" / f"{FACE}.jpg")
    before.save(tmp_path / "photo.png")
    told = run([python.parent / "deocclude", "photo.png", "-o", "restored.png"], tmp_path)
    assert f"inpainter: {python.parent.parent}" in told
    after = np.asarray(Image.open(tmp_path / "restored.png")).astype(int)
    covered = np.asarray(Image.open(ROOT / "examples" / "masks" / f"{FACE}.png")) > 127
    changed = (after != np.asarray(before)).any(axis=-1)
    assert changed[covered].mean() > 0.9
    assert changed[~covered].mean() < 0.2


def test_its_modules_are_its_own_and_nothing_else_is_importable(python, tmp_path):
    """A stranger's repository around the environment is not taken for the project's."""
    home = python.parent.parent
    if shutil.which("git"):
        run(["git", "init", "--quiet"], home)
        person = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        run(["git", *person, "commit", "--quiet", "--allow-empty", "-m", "x"], home)
    code = """if True:
        import sys
        from importlib.util import find_spec
        import deocclude
        from deocclude import find_mask, load, restore
        from deocclude.engines.runs.folder import _commit
        print(_commit(), deocclude.__version__)
        print(*filter(find_spec, ("data", "engines", "models", "losses", "metrics", "ablations")))
        files = [m.__file__ for name, m in sys.modules.items() if name.startswith("deocclude.")]
        print(len(files) > 50, *(file for file in files if not file.startswith(sys.argv[1])))
    """
    told = run([python, "-c", code, home], tmp_path)
    assert told.splitlines() == [f"unknown {deocclude.__version__}", "", "True"]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("train_inpainting --list", "Reconstruction"),
        ("engines.suite --help", "systems"),
        ("evaluate --help", "end-to-end"),
    ],
)
def test_every_command_is_a_module_of_the_package(python, tmp_path, command, words):
    assert words in run([python, "-m", *f"deocclude.{command}".split()], tmp_path)
