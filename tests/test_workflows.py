""".github/workflows: three systems, two Pythons, what README says, and a wheel away from here."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def jobs() -> dict:
    path = ROOT / ".github" / "workflows" / "tests.yml"
    return yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]


def commands(job: dict) -> str:
    return "\n".join(step["run"] for step in job["steps"] if "run" in step)


@pytest.mark.parametrize("name", ["tests", "wheel"])
def test_a_job_runs_on_three_systems(jobs, name):
    systems = [system.split("-")[0] for system in jobs[name]["strategy"]["matrix"]["system"]]
    assert systems == ["ubuntu", "windows", "macos"]
    assert jobs[name]["runs-on"] == "${{ matrix.system }}"
    assert {"actions/checkout", "actions/setup-python"} == {
        step["uses"].split("@")[0] for step in jobs[name]["steps"] if "uses" in step
    }


def test_the_oldest_python_is_the_one_that_the_package_asks_for(jobs):
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (oldest,) = re.findall(r'^requires-python = ">=(.*)"$', project, re.M)
    pythons = jobs["tests"]["strategy"]["matrix"]["python"]
    assert pythons[0] == oldest
    assert all(isinstance(python, str) for python in pythons)  # 3.10 unquoted would be 3.1
    assert len(pythons) == 2


def test_what_is_checked_is_what_ci_checks(jobs):
    here = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    checks = [line for line in here if re.match(r"(ruff|python|pytest)\b", line)]
    assert len(checks) >= 4
    assert [line for line in checks if line not in commands(jobs["tests"]).splitlines()] == []


def test_the_wheel_is_used_outside_of_the_checkout(jobs):
    text = commands(jobs["wheel"])
    order = ["pip wheel", "pip install dist/", "mktemp", "deocclude --help", "test -s"]
    places = [text.index(words) for words in order]
    assert places == sorted(places)
    assert "pip install -e" not in text
