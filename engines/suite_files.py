"""Suites: YAML files in `ablations/suites/` that say which runs belong in which tables."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from engines.baselines import BASELINES, parse_baselines

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


def load_suite(path: Path) -> Suite:
    """A suite from its YAML. ValueError names the key that is unknown, missing or ill-typed."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such suite; ablations/suites/ holds those that exist")
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
    runs = tuple(dict.fromkeys(run for table in tables for run in table.runs))
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
    return Suite(str(content["name"]), tuple(dict.fromkeys(runs)), chosen, reference)


def _baselines(given: Any, where: str) -> tuple[str, ...]:
    if not isinstance(given, (str, list)):
        raise ValueError(f"{where}: baselines must be names, `all` or `none`, found {given!r}")
    return parse_baselines(given)
