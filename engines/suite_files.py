"""Suites: YAML files in `ablations/suites/` that say which runs belong in which tables."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from engines.baselines import BASELINES, parse_baselines
from engines.comparison import finished_words, unfinished
from engines.config import ABLATIONS

TABLE_KEYS = ("name", "description", "runs", "baselines", "reference")
SUITE_KEYS = (*TABLE_KEYS, "tables")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")  # of a table: its folder too


@dataclass(frozen=True)
class Suite:
    """Runs, the baselines beside them, and the row that differences are taken to.

    With `tables` each of these is a table of its own, and `runs` has all of theirs.
    """

    name: str
    runs: tuple[str, ...]
    baselines: tuple[str, ...]
    reference: str | None
    tables: tuple["Suite", ...] = ()

    @property
    def folder(self) -> str:
        """A name for a folder of its own."""
        return re.sub(r"[^A-Za-z0-9_.-]+", "-", self.name).strip("-.") or "suite"

    def parts(self) -> tuple["Suite", ...]:
        """One suite a table."""
        return self.tables or (self,)


def find_suite(named: Path) -> Path:
    """The YAML of a path, or of a name (any case) in ablations/suites/. FileNotFoundError lists
    those that there are."""
    known = {path.stem.lower(): path for path in sorted((ABLATIONS / "suites").glob("*.yaml"))}
    if named.is_file():
        return named
    if (path := known.get(str(named).lower())) is not None:
        return path
    raise FileNotFoundError(f"{named}: no such suite; valid are {', '.join(known)}, or a YAML path")


def finished_suite(named: Path, runs_folder: Path) -> Suite:
    """As `load_suite`; FileNotFoundError names every run of it that is not finished."""
    suite = load_suite(named)
    if missing := unfinished(suite.runs, runs_folder):
        raise FileNotFoundError(
            f"suite {suite.name}: {len(missing)} of its {len(suite.runs)} runs are not finished "
            f"below {runs_folder}: {', '.join(missing)}; `python -m engines.suite {named}` trains "
            f"what is missing; finished: {finished_words(runs_folder)}"
        )
    return suite


def load_suite(named: Path) -> Suite:
    """A suite from its YAML, or by its name in ablations/suites/. ValueError names the key that is
    unknown, missing or ill-typed."""
    path = find_suite(named)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: is not valid YAML: {error}") from error
    _check_keys(content, SUITE_KEYS, f"{path}: a suite")
    content.setdefault("name", path.stem)
    if "tables" not in content:
        return _table(content, list(BASELINES), str(path))
    both = [key for key in ("runs", "reference") if key in content]
    if both:
        raise ValueError(f"{path}: with tables, {' and '.join(both)} belong into each of them")
    listed = content["tables"]
    if not isinstance(listed, list) or not listed:
        raise ValueError(f"{path}: tables must be a list of tables, found {listed!r}")
    given = content.get("baselines", list(BASELINES))
    tables = []
    for number, table in enumerate(listed, 1):
        where = f"{path}: table {number}"
        _check_keys(table, TABLE_KEYS, where)
        if not NAME.fullmatch(str(table.get("name", ""))):
            raise ValueError(
                f"{where}: name must be letters, digits and . _ -, found {table.get('name')!r}"
            )
        tables.append(_table(table, given, where))
    names = [table.name for table in tables]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{path}: two tables are called {', '.join(twice)}")
    runs = _once(run for table in tables for run in table.runs)
    return Suite(str(content["name"]), runs, _baselines(given, str(path)), None, tuple(tables))


def _check_keys(content: Any, valid: tuple[str, ...], where: str) -> None:
    if not isinstance(content, dict):
        raise ValueError(f"{where} is a mapping with the keys {', '.join(valid)}")
    for key in content:
        if key not in valid:
            raise ValueError(f"{where}: unknown key {key!r}; valid: {', '.join(valid)}")


def _table(content: dict[str, Any], baselines: Any, where: str) -> Suite:
    runs = content.get("runs")
    if not isinstance(runs, list) or not runs or not all(isinstance(run, str) for run in runs):
        raise ValueError(f"{where}: runs must be a list of names or run folders, found {runs!r}")
    chosen = _baselines(content.get("baselines", baselines), where)
    reference = content.get("reference")
    return Suite(str(content["name"]), _once(runs), chosen, reference)


def _once(runs: Iterable[str]) -> tuple[str, ...]:
    """Each run in its first spelling: upper and lower case name the same."""
    spelled: dict[str, str] = {}
    for run in runs:
        spelled.setdefault(run.lower(), run)
    return tuple(spelled.values())


def _baselines(given: Any, where: str) -> tuple[str, ...]:
    if not isinstance(given, (str, list)):
        raise ValueError(f"{where}: baselines must be names, `all` or `none`, found {given!r}")
    return parse_baselines(given)
