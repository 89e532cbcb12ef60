"""Suites: YAML files in `ablations/suites/` that say which runs belong in which tables."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deocclude.engines.inference.baselines import NAMES, parse_baselines
from deocclude.engines.runs.config import (
    is_run_file,
    name_in_file,
    own_seed,
    read_yaml,
    run_task,
)
from deocclude.engines.runs.finished import finished_words, run_of_seed, unfinished
from deocclude.engines.runs.places import looked_in, places
from deocclude.engines.runs.recipes import FIXED, read_recipe
from deocclude.engines.runs.released import EXPORTED
from deocclude.engines.runs.tasks import ABLATIONS
from deocclude.names import did_you_mean, shown

TABLE_KEYS = ("name", "description", "runs", "ensembles", "baselines", "reference", "seeds")
ENSEMBLE_KEYS = ("name", "combination", "members", "pairs")
SUITE_KEYS = (*TABLE_KEYS, "tables", "export", "profile", "set")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")  # of a table: its folder too


@dataclass(frozen=True)
class FixedEnsemble:
    """A row that is fitted, not trained: `members`, runs, weighed on that many validation pairs.

    `seeds`: whose files a table shows, None for the one of members without; () where it does not
    say.
    """

    name: str
    combination: str
    members: tuple[str, ...]
    pairs: int = 1200
    seeds: tuple[int | None, ...] = ()

    def file(self, suite_folder: Path, seed: int | None = None) -> Path:
        """The YAML that a suite writes, of the members of one seed where there are several."""
        folder = suite_folder / "ensembles"
        return (folder if seed is None else folder / f"seed{seed}") / f"{self.name}.yaml"

    def files(self, suite_folder: Path, every_seed: bool = False) -> list[Path]:
        """Those that are there: of its `seeds`, else with `every_seed` of all seeds, else the one
        of the latest runs, as a run's name stands for its latest. ValueError names a file that
        cannot be read."""
        if self.seeds:
            files = [self.file(suite_folder, seed) for seed in self.seeds]
            return [file for file in files if file.is_file()]
        plain = self.file(suite_folder)
        seeds = plain.parent.glob(f"seed*/{self.name}.yaml")
        numbered = {path.parent.name.removeprefix("seed"): path for path in seeds}
        by_seed = [numbered[number] for number in sorted(filter(str.isdigit, numbered), key=int)]
        if every_seed and by_seed:
            return by_seed
        there = [plain] * plain.is_file() + by_seed
        return [max(there, key=_numbers)] if len(there) > 1 else there


def _numbers(recipe: Path) -> list[str]:
    """Those of the runs that are an ensemble's members."""
    return [pointer.path.parent.name for pointer in read_recipe(recipe).members]


@dataclass(frozen=True)
class Suite:
    """Runs, ensembles of runs, the baselines beside them, and the row that differences are taken
    to.

    With `tables` each of these is a table of its own, and `runs` and `ensembles` have all of
    theirs. `seeds`: which a table's rows are the mean of, () for the one that each run's own
    configuration says. `exports`: pairs of what ships, a key of EXPORTED, and the run that it is
    made from. `profile` and `overrides`: as `python -m engines.suite` takes them, from its own
    command line first.
    """

    name: str
    runs: tuple[str, ...]
    baselines: tuple[str, ...]
    reference: str | None
    tables: tuple["Suite", ...] = ()
    ensembles: tuple[FixedEnsemble, ...] = ()
    exports: tuple[tuple[str, str], ...] = ()
    seeds: tuple[int, ...] = ()
    profile: str | None = None
    overrides: tuple[str, ...] = ()

    @property
    def has_seeds(self) -> bool:
        """Whether one of its tables states some."""
        return any(table.seeds for table in self.parts())

    def yaml_files(self) -> dict[str, str]:
        """The YAML files among its runs and members, by the names of their runs in lower case."""
        every = (*self.runs, *(member for each in self.ensembles for member in each.members))
        return {name_in_file(Path(run)).lower(): run for run in every if is_run_file(run)}

    def own_seed(self, run: str) -> int | None:
        """That of a run's configuration; None for a finished run."""
        named = run if run_task(run) is not None else self.yaml_files().get(run.lower(), run)
        return own_seed(named, None if self.profile == "auto" else self.profile)

    @property
    def folder(self) -> str:
        """A name for a folder of its own."""
        return re.sub(r"[^A-Za-z0-9_.-]+", "-", self.name).strip("-.") or "suite"

    def own_folder(self, runs_folder: Path) -> Path:
        """Where `python -m engines.suite` leaves what it makes."""
        return runs_folder / "suites" / self.folder

    def made_in(self, runs_folder: Path) -> Path:
        """The `own_folder` in the first place that has it, for who only reads there."""
        folders = [self.own_folder(place) for place in places(runs_folder)]
        return next((folder for folder in folders if folder.is_dir()), folders[0])

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
    raise FileNotFoundError(
        f"{named}: no such suite; valid are {', '.join(known)}, or a YAML path"
        + did_you_mean(str(named), known)
    )


def finished_suite(named: Path, runs_folder: Path, every: bool = False) -> Suite:
    """As `load_suite`; FileNotFoundError names every run of it that is not finished. Where a table
    states seeds each run is named by its folders, one a seed, unless `every` one of its name is
    wanted."""
    suite = load_suite(named)
    if suite.has_seeds and not every:
        suite = _by_seed(suite, runs_folder)
    missing = unfinished(suite.runs, runs_folder)
    folder = suite.made_in(runs_folder)
    missing += [
        each.name for each in suite.ensembles if len(each.files(folder)) < max(1, len(each.seeds))
    ]
    if missing:
        rows = len(suite.runs) + len(suite.ensembles)
        raise FileNotFoundError(
            f"suite {suite.name}: {len(missing)} of its {rows} rows are not finished "
            f"below {looked_in(runs_folder)}: {', '.join(missing)}; "
            f"`python -m engines.suite {named}` trains what is missing; "
            f"finished: {finished_words(runs_folder)}"
        )
    return suite


def _by_seed(suite: Suite, runs_folder: Path) -> Suite:
    """The same with a folder for each seed in place of a run, and `<run>, seed <N>` for one that is
    not finished."""

    def folder_of(run: str, seed: int | None) -> str:
        if seed is None or run_task(run) is None:  # a finished run is what it is
            return run
        return str(run_of_seed(run, seed, runs_folder) or f"{run}, seed {seed}")

    tables = []
    for table in suite.parts():
        named = [
            folder_of(run, seed)
            for run in table.runs
            for seed in table.seeds or (suite.own_seed(run),)
        ]
        ensembles = [
            replace(each, seeds=table.seeds or (common_seed(map(suite.own_seed, each.members)),))
            for each in table.ensembles
        ]
        runs = tuple(dict.fromkeys(named))
        tables.append(replace(table, runs=runs, ensembles=tuple(ensembles)))
    if not suite.tables:
        return tables[0]
    return replace(
        suite,
        runs=tuple(dict.fromkeys(run for table in tables for run in table.runs)),
        tables=tuple(tables),
        ensembles=tuple(dict.fromkeys(each for table in tables for each in table.ensembles)),
    )


def common_seed(seeds: Iterable[int | None]) -> int | None:
    """The seed of an ensemble whose members have these; None where it has none."""
    found = set(seeds) - {None}
    return found.pop() if len(found) == 1 else None


def suite_of(options: Any) -> Suite | None:
    """The suite that a command's options name, all of its runs finished; None if they name none."""
    named = getattr(options, "suite", None)
    every = any(getattr(options, key, False) for key in ("all_runs", "fold_seeds"))
    return finished_suite(named, options.runs_folder, every) if named else None


def load_suite(named: Path) -> Suite:
    """A suite from its YAML, or by its name in ablations/suites/. ValueError names the key that is
    unknown, missing or ill-typed."""
    path = find_suite(named)
    content = read_yaml(path)
    _check_keys(content, SUITE_KEYS, f"{path}: a suite")
    content.setdefault("name", path.stem)
    if not isinstance(content["name"], (str, int)):
        raise _wrong(path, "name must be a text", content["name"])
    suite = _suite(content, path)
    exports, profile = _exports(content.get("export"), suite, path), content.get("profile")
    if not isinstance(profile, str | None):
        raise _wrong(path, "profile must be a text", profile)
    overrides = content.get("set", [])
    listed = isinstance(overrides, list) and all(isinstance(each, str) for each in overrides)
    if not listed or not all("=" in each for each in overrides):
        raise _wrong(path, "set must be a list of KEY=VALUE, e.g. training.epochs=3", overrides)
    suite = replace(suite, exports=exports, profile=profile, overrides=tuple(overrides))
    if suite.has_seeds and sets_seed(suite.overrides):
        raise ValueError(f"{path}: seeds and training.seed in set: give one of them")
    return suite


def sets_seed(overrides: Iterable[str]) -> bool:
    """Whether one of these `--set` is the training seed."""
    return any(text.partition("=")[0].strip() == "training.seed" for text in overrides)


def _exports(given: Any, suite: Suite, path: Path) -> tuple[tuple[str, str], ...]:
    """What ships -> the run it is made from, of those that the suite has."""
    if given is None:
        return ()
    runs = [run.lower() for run in suite.runs]
    known = isinstance(given, dict) and given.keys() <= EXPORTED.keys()
    if not known or any(str(run).lower() not in runs for run in given.values()):
        raise ValueError(
            f"{path}: export must map {', '.join(EXPORTED)} to runs of the suite, "
            f"found {shown(given)}"
        )
    return tuple((what, str(run)) for what, run in given.items())


def _suite(content: dict[str, Any], path: Path) -> Suite:
    if "tables" not in content:
        return _table(content, list(NAMES), str(path))
    both = [key for key in ("runs", "ensembles", "reference") if key in content]
    if both:
        raise ValueError(f"{path}: with tables, {' and '.join(both)} belong into each of them")
    listed = content["tables"]
    if not isinstance(listed, list) or not listed:
        raise _wrong(path, "tables must be a list of tables", listed)
    given, seeds = content.get("baselines", list(NAMES)), content.get("seeds", [])
    _seeds(seeds, str(path))
    tables = []
    for number, table in enumerate(listed, 1):
        where = f"{path}: table {number}"
        _check_keys(table, TABLE_KEYS, where)
        if not NAME.fullmatch(str(table.get("name", ""))):
            raise _wrong(where, "name must be letters, digits and . _ -", table.get("name"))
        tables.append(_table({"seeds": seeds} | table, given, where))
    _check_names([table.name for table in tables], f"{path}: two tables are called")
    runs = _once(run for table in tables for run in table.runs)
    ensembles = dict.fromkeys(each for table in tables for each in table.ensembles)
    names = [each.name.lower() for each in ensembles]
    _check_names(names, f"{path}: tables mean different ensembles by")
    _check_apart(runs, ensembles, str(path))
    baselines, name = _baselines(given, str(path)), str(content["name"])
    return Suite(name, runs, baselines, None, tuple(tables), tuple(ensembles))


def _wrong(where: Any, must: str, found: Any) -> ValueError:
    return ValueError(f"{where}: {must}, found {shown(found)}")


def _check_names(names: list[str], words: str) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{words} {', '.join(twice)}")


def _check_keys(content: Any, valid: tuple[str, ...], where: str) -> None:
    if not isinstance(content, dict):
        raise ValueError(f"{where} is a mapping with the keys {', '.join(valid)}")
    for key in content:
        if key not in valid:
            raise ValueError(f"{where}: unknown key {shown(key)}; valid: {', '.join(valid)}")


def _table(content: dict[str, Any], baselines: Any, where: str) -> Suite:
    ensembles = _ensembles(content.get("ensembles"), where)
    runs = content.get("runs", [] if ensembles else None)
    named = isinstance(runs, list) and all(isinstance(run, str) for run in runs)
    if not named or not (runs or ensembles):
        raise _wrong(where, "runs must be a list of names or run folders", runs)
    chosen = _baselines(content.get("baselines", baselines), where)
    reference = content.get("reference")
    if not isinstance(reference, str | None):
        raise _wrong(where, "reference must be a row's name", reference)
    _check_apart(runs, ensembles, where)
    name, seeds = str(content["name"]), _seeds(content.get("seeds", []), where)
    return Suite(name, _once(runs), chosen, reference, ensembles=ensembles, seeds=seeds)


def _seeds(given: Any, where: str) -> tuple[int, ...]:
    numbers = isinstance(given, list) and all(type(seed) is int and seed >= 0 for seed in given)
    if not numbers or len(set(given)) < len(given):
        must = "seeds must be a list of different whole numbers of at least 0"
        raise _wrong(where, must, given)
    return tuple(given)


def _check_apart(runs: Iterable[str], ensembles: Iterable[FixedEnsemble], where: str) -> None:
    if both := {run.lower() for run in runs} & {each.name.lower() for each in ensembles}:
        raise ValueError(f"{where}: {', '.join(sorted(both))} is a run and an ensemble")


def _ensembles(listed: Any, where: str) -> tuple[FixedEnsemble, ...]:
    if listed is None:
        return ()
    if not isinstance(listed, list):
        raise _wrong(where, "ensembles must be a list", listed)
    found = [_ensemble(entry, f"{where}: ensemble {i}") for i, entry in enumerate(listed, 1)]
    _check_names([each.name.lower() for each in found], f"{where}: two ensembles are called")
    return tuple(found)


def _ensemble(entry: Any, where: str) -> FixedEnsemble:
    _check_keys(entry, ENSEMBLE_KEYS, where)
    name, combination = entry.get("name"), entry.get("combination", "weights")
    members, pairs = entry.get("members"), entry.get("pairs", FixedEnsemble.pairs)
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise _wrong(where, "name must be letters, digits and . _ -", name)
    if combination not in FIXED:
        hint = "; a gate is a run" if combination == "gate" else ""
        raise ValueError(
            f"{where}: combination {shown(combination)} is not one of {', '.join(FIXED)}{hint}"
        )
    listed = isinstance(members, list) and all(isinstance(each, str) for each in members)
    if not listed or len(members) < 2:
        raise _wrong(where, "members must be a list of two or more runs", members)
    if len(_once(members)) < len(members):
        raise _wrong(where, "members must be different runs", members)
    if isinstance(pairs, bool) or not isinstance(pairs, int) or pairs < 1:
        raise _wrong(where, "pairs must be a whole number of at least 1", pairs)
    return FixedEnsemble(name, combination, tuple(members), pairs)


def _once(runs: Iterable[str]) -> tuple[str, ...]:
    """Each run in its first spelling: upper and lower case name the same."""
    spelled: dict[str, str] = {}
    for run in runs:
        spelled.setdefault(run.lower(), run)
    return tuple(spelled.values())


def _baselines(given: Any, where: str) -> tuple[str, ...]:
    listed = isinstance(given, list) and all(isinstance(each, str) for each in given)
    if not listed and not isinstance(given, str):
        raise _wrong(where, "baselines must be names, `all` or `none`", given)
    try:
        return parse_baselines(given)
    except ValueError as error:
        raise ValueError(f"{where}: baselines: {error}") from error
