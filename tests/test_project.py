"""What must stay in step: dependencies, environment file, README, repository."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import deocclude

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = None

ROOT = Path(__file__).resolve().parent.parent
LATER = {  # names that came to the standard library after Python 3.10
    "typing": {
        "LiteralString", "Never", "NotRequired", "Required", "Self", "TypeVarTuple", "Unpack",
        "assert_never", "assert_type", "dataclass_transform", "override", "reveal_type",
    },
    "enum": {"EnumCheck", "ReprEnum", "StrEnum", "global_enum", "member", "nonmember", "verify"},
    "datetime": {"UTC"},
    "contextlib": {"chdir"},
    "itertools": {"batched"},
}  # fmt: skip
PACKAGES = ("deocclude", "data", "models", "losses", "metrics", "engines", "benchmarks")
MODULES = {  # distribution -> what is imported, where the two differ
    "opencv-contrib-python": "cv2",
    "pillow": "PIL",
    "scikit-image": "skimage",
    "pyyaml": "yaml",
    "segmentation-models-pytorch": "segmentation_models_pytorch",
    "tensorboard": "torch.utils.tensorboard",
}
# Done without, or asked for in one sentence, where they are missing: IPython draws only where it is
# already running, MediaPipe has no wheels for some platforms, the rest is the extras `analysis`,
# `download`, `heic` and `identity` and what they bring.
OPTIONAL = {
    "dlib": {"engines/measures/dlib_similarity.py"},
    "gradio": {"engines/app/handlers.py", "engines/app/page.py"},
    "starlette": {"engines/app/guard.py", "engines/app/serving.py"},
    "gdown": {"data/download/sets.py"},
    "IPython": {"engines/report/figures.py"},
    "mediapipe": {"engines/photos/mediapipe_faces.py"},
    "pillow_heif": {"data/images.py"},
    "pyvirtualcam": {"engines/moving/virtual_camera.py"},
    "umap": {"engines/analysis/umap.py"},
    "webdataset": {"data/faces/shard_names.py", "data/faces/shards.py"},
    "sklearn": {"engines/analysis/umap_report.py"},
    "optuna": {
        f"engines/search/{name}.py"
        for name in ("figures", "objective", "report", "runner", "study")
    },
    "sqlalchemy": {"engines/search/study.py"},
}
# They import one at their top, and are imported inside functions alone, or by each other.
LATE = {
    "engines/search/figures.py", "engines/search/report.py", "engines/search/runner.py",
    "engines/search/study.py",
    "engines/app/guard.py", "engines/app/handlers.py", "engines/app/page.py",
    "engines/app/serving.py",
}  # fmt: skip
ONE_MB = 1_000_000


def pyproject() -> dict:
    if tomllib is None:
        pytest.skip("tomllib needs Python 3.11")
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def distribution(requirement: str) -> str:
    return re.match(r"[A-Za-z0-9._-]+", requirement)[0].lower()


def imported_modules() -> set[str]:
    """Dotted names that the project imports anywhere, tests aside."""
    found = set()
    files = [path for path in ROOT.glob("*.py") if path.name != "setup.py"]
    for package in PACKAGES:
        files += (ROOT / package).rglob("*.py")
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module)
    return found


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    try:
        answer = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        pytest.skip(f"git cannot list the files: {error}")
    paths = [ROOT / name for name in answer.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


@pytest.fixture(scope="module")
def environment() -> dict:
    return yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def test_environment_takes_its_packages_from_pyproject(environment):
    (pip,) = (part["pip"] for part in environment["dependencies"] if isinstance(part, dict))
    assert pip in (["-e ."], ["-e .[test]"])


def test_environment_states_python_as_pyproject_does_and_nothing_else(environment):
    conda = [part for part in environment["dependencies"] if isinstance(part, str)]
    python = "python" + pyproject()["requires-python"]
    assert sorted(part.replace(" ", "") for part in conda) == ["pip", python]
    assert environment["channels"] == ["conda-forge"]
    assert environment["name"]


def test_nothing_is_imported_that_python_3_10_lacks(tracked):
    """Where code runs: what only types need may stand behind TYPE_CHECKING."""
    for path in tracked:
        if path.suffix != ".py" or path.parent == ROOT / "tests":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                node.body = []
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                names = {each.name for each in node.names}
                assert not names & LATER.get(node.module or "", set()), f"{path}:{node.lineno}"


def test_every_declared_dependency_is_imported():
    found = imported_modules()
    tops = found | {name.split(".")[0] for name in found}
    for requirement in pyproject()["dependencies"]:
        name = distribution(requirement)
        assert MODULES.get(name, name) in tops, f"{name} is declared and never imported"


def test_every_imported_package_is_declared():
    declared = [distribution(requirement) for requirement in pyproject()["dependencies"]]
    known = {MODULES.get(name, name).split(".")[0] for name in declared}
    ours = {"deocclude", *PACKAGES, *(path.stem for path in ROOT.glob("*.py"))}
    found = {name.split(".")[0] for name in imported_modules()}
    extra = found - known - ours - set(OPTIONAL) - set(sys.stdlib_module_names)
    assert not extra, f"imported and not declared in pyproject.toml: {sorted(extra)}"


def imports_of(module: str) -> dict[str, list[str]]:
    """By file, the indentation of each line that imports `module`."""
    pattern = re.compile(rf"^(\s*)(?:import|from) {re.escape(module)}\b", re.M)
    found = {
        path.relative_to(ROOT).as_posix(): pattern.findall(path.read_text(encoding="utf-8"))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }
    return {name: indents for name, indents in found.items() if indents}


@pytest.mark.parametrize(("module", "files"), OPTIONAL.items())
def test_optional_imports_stay_where_they_are_guarded(module, files):
    users = imports_of(module)
    assert set(users) == files
    for name in files - LATE:
        assert all(users[name]), f"{name} imports {module} at its top"


@pytest.mark.parametrize("late", sorted(LATE))
def test_modules_with_an_optional_import_at_their_top_are_imported_late(late):
    package, _, name = late.removesuffix(".py").replace("/", ".").rpartition(".")
    users = imports_of(f"deocclude.{package}.{name}")
    users |= imports_of(f"deocclude.{package} import {name}")
    for name in set(users) - LATE:
        assert all(users[name]), f"{name} imports {late} at its top"


def test_extras_are_what_tests_need_and_what_errors_tell_to_install():
    extras = pyproject()["optional-dependencies"]
    assert "deocclude[analysis,app,download,heic,onnx,pretrained,shards]" in extras["test"]
    told = {
        "umap-learn": "engines/analysis/umap.py",
        "optuna>=5": "engines/search/__main__.py",
        "gdown>=6.5": "data/download/sets.py",
        "pillow-heif": "data/images.py",
        "webdataset": "data/faces/shard_names.py",
    }
    named = [*extras["analysis"], *extras["download"], *extras["heic"], *extras["shards"]]
    assert sorted(told) == sorted(named)
    packages = (ROOT / "engines/graphs/packages.py").read_text(encoding="utf-8")
    assert all(f'"{name}"' in packages for name in extras["onnx"] if name != "onnx")
    assert 'pip install -e ".[onnx]"' in packages
    both = f"`pip install {' '.join(extras['identity'])}`"
    assert both in (ROOT / "engines/measures/dlib_similarity.py").read_text(encoding="utf-8")
    for requirement, file in told.items():
        words = f'"{requirement}"' if ">" in requirement else requirement
        assert f"`pip install {words}`" in (ROOT / file).read_text(encoding="utf-8")


def test_mediapipe_comes_with_the_base_where_it_has_wheels():
    project = pyproject()
    (line,) = (line for line in project["dependencies"] if line.startswith("mediapipe"))
    for platform in ("win32", "darwin", "linux", "x86_64", "aarch64", "arm64"):
        assert f"'{platform}'" in line
    assert project["optional-dependencies"]["photo"] == []  # an alias of what once was asked for
    detection = (ROOT / "engines" / "photos" / "detection.py").read_text(encoding="utf-8")
    assert '"pip install mediapipe"' in detection


def test_readme_names_every_script_and_both_commands(readme):
    for script in set(ROOT.glob("*.py")) - {ROOT / "setup.py"}:
        assert script.name in readme, f"README.md does not mention {script.name}"
    assert "pip install -e . && python train_inpainting.py Reconstruction" in readme
    assert 'pip install -e ".[test]" && pytest' in readme


def test_readme_links_lead_somewhere(readme):
    targets = re.findall(r"\]\(\s*<?([^)\s>]+)", readme)
    targets += re.findall(r"""(?:src|href)\s*=\s*["']([^"']+)""", readme)
    local = [t.split("#")[0] for t in targets if not re.match(r"[a-z]+:|#", t)]
    assert [t for t in local if not (ROOT / t).exists()] == []
    assert any(t.lower().endswith((".png", ".jpg", ".svg")) for t in local), "no picture"


def test_ci_runs_the_readme_test_command():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert script.startswith("#!")
    lines = [line.strip() for line in script.splitlines() if not line.lstrip().startswith("#")]
    install = next(i for i, line in enumerate(lines) if re.search(r"install.*\.\[test\]", line))
    assert any(re.match(r"(python\S* -m )?pytest\b", line) for line in lines[install:])


def test_no_large_file_and_no_data_is_tracked(tracked):
    assert tracked
    weights = [path for path in tracked if path.parent == ROOT / "weights"]
    large = [path for path in tracked if path.stat().st_size > ONE_MB and path not in weights]
    assert not large
    assert sum(path.stat().st_size for path in weights) <= 24 * ONE_MB
    made = [p for p in tracked if p.relative_to(ROOT).parts[0] in ("datasets", "runs", "output")]
    assert not made


def test_the_package_says_the_version_it_is_installed_as():
    assert deocclude.__version__ == pyproject()["version"]
