"""A run's folder: it describes itself and belongs to one process group at a time."""

import csv
import json
import logging
import os
import platform
import shlex
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import yaml
from filelock import FileLock, Timeout

from deocclude.data.files import replacing, unwritable, write_text
from deocclude.data.settings import FaceData
from deocclude.engines.runs.config import read_yaml, validate
from deocclude.engines.runs.metadata import WEIGHTS
from deocclude.engines.runs.places import places, say_place
from deocclude.engines.runs.settings import AnyRun

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

logger = logging.getLogger(__name__)

LOCK, OWNER = "in_use.lock", "in_use.json"
END = "finished.json"
LEAST_STEPS = 100  # of a run that its budget stopped inside its first epoch


class RunFolderError(ValueError):
    """A run folder that cannot be used; the message says which and why."""


class FolderLock:
    """One process at a time in a folder.

    `in_use.lock` is the system's lock: it is free when its process has ended, however that went.
    `in_use.json` says whose it is. A network's file system may keep locks within each machine, so
    a note of another machine counts until somebody deletes it. That of an earlier version of this
    program, which had no other lock, counts while its process runs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = FileLock(folder / LOCK, thread_local=False)

    def acquire(self) -> None:
        """RunFolderError says which process has the folder."""
        try:
            self._lock.acquire(timeout=0.5)  # `is_held` of another process has it for a moment
        except Timeout:
            raise RunFolderError(f"{self.folder}: in use by {said(self._owner())}") from None
        try:
            self._sign()
        except BaseException:
            self._lock.release()
            raise

    def _sign(self) -> None:
        """Write whose the folder is, unless the note that is there counts."""
        path = self.folder / OWNER
        try:
            with open(path, "x", encoding="utf-8") as file:
                json.dump(this_process(), file)
        except FileExistsError:
            owner = self._owner()
            if _is_elsewhere(owner) or _runs_without_lock(owner):
                raise RunFolderError(
                    f"{self.folder}: in use by {said(owner)}; if that one is gone, delete {path}"
                ) from None
            write_text(path, json.dumps(this_process()))

    def release(self) -> None:
        """Nothing where this process does not have the folder."""
        if not self._lock.is_locked:
            return
        try:
            (self.folder / OWNER).unlink(missing_ok=True)
            with suppress(OSError):  # Windows: a file that is open goes when it is released
                (self.folder / LOCK).unlink()
        finally:
            self._lock.release()

    def is_held(self) -> bool:
        """Whether a process has the folder now, as far as the system knows."""
        if _runs_without_lock(self._owner()):
            return True
        if not (self.folder / LOCK).exists():
            return False
        try:
            with FileLock(self.folder / LOCK).acquire(blocking=False):
                return False
        except Timeout:
            return True
        except OSError:  # another account's
            return (self.folder / OWNER).exists()

    def holder(self) -> str | None:
        """Which process has the folder, in words; None when none has."""
        owner = self._owner()
        return said(owner) if _is_elsewhere(owner) or self.is_held() else None

    def _owner(self) -> dict[str, Any]:
        try:
            return json.loads((self.folder / OWNER).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}


def this_process() -> dict[str, Any]:
    """Which process this is, for those that find it at work."""
    since = time.strftime("%Y-%m-%dT%H:%M:%S")
    return {"pid": os.getpid(), "host": platform.node(), "since": since}


def said(owner: dict[str, Any]) -> str:
    """A process that `this_process` described, in words."""
    if not owner:
        return "another process"
    since = f" since {owner['since']}" if "since" in owner else ""
    return f"process {owner.get('pid')} on {owner.get('host')}{since}"


def _is_elsewhere(owner: dict[str, Any]) -> bool:
    return owner.get("host", platform.node()) != platform.node()


def _runs_without_lock(owner: dict[str, Any]) -> bool:
    """Whether a note is that of an earlier version, which says when its process started, and that
    very process still runs on this machine."""
    if "started" not in owner or _is_elsewhere(owner):
        return False
    try:
        return abs(psutil.Process(owner.get("pid", -1)).create_time() - owner["started"]) < 1
    except psutil.AccessDenied:
        return True
    except (psutil.NoSuchProcess, ValueError):
        return False


class RunFolder:
    """runs/<name>/<NNN>/ with config, environment, log, metrics, figures and weights."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last = path / "last"
        self.best = path / "best.safetensors"
        self.figures = path / "figures"
        self.metrics = path / "metrics.csv"
        self.log_file = path / "log.jsonl"
        self._lock = FolderLock(path)
        self._writer: SummaryWriter | None = None
        self._rows: list[dict[str, Any]] = []  # of metrics.csv, once written
        self._purge_step: int | None = None

    @classmethod
    def create(cls, root: Path, config: AnyRun) -> "RunFolder":
        """The next free number below `root`/<name>, with the resolved config and the command."""
        parent = root / config.name
        parent.mkdir(parents=True, exist_ok=True)
        number = max((int(p.name) for p in parent.iterdir() if p.name.isdigit()), default=0) + 1
        while True:
            path = parent / f"{number:03d}"
            try:
                path.mkdir()
                break
            except FileExistsError:  # another process took it in between
                number += 1
        folder = cls(path)
        folder.figures.mkdir()
        write_text(path / "config.yaml", dump_config(config))
        write_text(path / "command.txt", shlex.join(sys.argv) + "\n")
        return folder

    @classmethod
    def open(cls, root: Path, name: str, which: str) -> "RunFolder":
        """An existing run: a path, a number, or "latest" of this name, in one of the `places` of
        `root`. RunFolderError lists what there is.
        """
        if which != "latest" and can_continue(Path(which)):
            return cls(Path(which))
        listed = []
        for parent in [place / name for place in places(root)]:
            there = sorted(p.name for p in parent.glob("[0-9]*") if can_continue(p))
            wanted = there[-1] if which == "latest" and there else which.zfill(3)
            if wanted in there:
                say_place(parent / wanted, root)
                return cls(parent / wanted)
            listed.append(
                f"no run {which!r} to continue in {parent}; there are {', '.join(there) or 'none'}"
            )
        raise RunFolderError("; ".join(listed))

    def config(self) -> AnyRun:
        path = self.path / "config.yaml"
        return validate(read_yaml(path), str(path))

    def lock(self) -> None:
        """Claim the folder. RunFolderError when another process has it."""
        self._lock.acquire()
        self._sweep()

    def _sweep(self) -> None:
        """Remove what a killed process left half-written."""
        for path in self.path.glob(".*"):
            if path.name != ".last.old":
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def unlock(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._lock.release()

    def write_environment(self, facts: dict[str, Any]) -> None:
        """environment.json; a continued run keeps the earlier records in a list."""
        path = self.path / "environment.json"
        earlier = _starts(path) if path.exists() else []
        write_text(path, json.dumps([*earlier, facts | {"commit": _commit()}], indent=1))

    def origins(self) -> dict[str, str]:
        """Where the initial weights of each network came from, as the run's first start noted."""
        return _starts(self.path / "environment.json")[0]["weights"]

    def log(self, record: dict[str, Any]) -> None:
        """One line of log.jsonl; numbers go to TensorBoard as well."""
        try:
            with open(self.log_file, "a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise unwritable(self.log_file, error) from error
        for key, value in record.items():
            if isinstance(value, (int, float)) and key not in ("step", "epoch"):
                self._scalars().add_scalar(key, value, record["step"])

    def _scalars(self) -> "SummaryWriter":
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter  # slow to import, one writer a run

            folder = str(self.path / "tensorboard")
            self._writer = SummaryWriter(folder, purge_step=self._purge_step)
        return self._writer

    def add_metrics(self, row: dict[str, Any]) -> None:
        """One more row of metrics.csv, with new columns where it has some."""
        self._rows = [*(self._rows or self.read_metrics()), row]
        self._write_metrics(self._rows)
        for key, value in row.items():
            if isinstance(value, (int, float)) and key not in ("step", "epoch"):
                self._scalars().add_scalar(f"epoch/{key}", value, row["step"])

    def _write_metrics(self, rows: list[dict[str, Any]]) -> None:
        columns = list(dict.fromkeys(key for r in rows for key in r))
        try:
            with (
                replacing(self.metrics) as temporary,
                open(temporary, "w", newline="", encoding="utf-8") as file,
            ):
                writer = csv.DictWriter(file, columns)
                writer.writeheader()
                writer.writerows(rows)
        except PermissionError:  # Windows, while a spreadsheet has it open
            logger.warning("%s is open elsewhere; written at the next epoch", self.metrics)

    def read_metrics(self) -> list[dict[str, Any]]:
        if not self.metrics.exists():
            return []
        with open(self.metrics, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def rewind(self, step: int) -> None:
        """Forget what was logged after `step`, so that continuing writes it once."""
        if self.log_file.exists():
            lines = self.log_file.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if _complete(line) and json.loads(line)["step"] <= step]
            write_text(self.log_file, "".join(f"{line}\n" for line in kept))
        self._rows = [row for row in self.read_metrics() if int(row["step"]) <= step]
        self._write_metrics(self._rows)
        (self.path / END).unlink(missing_ok=True)
        self._purge_step = step + 1

    def finish(self, facts: dict[str, Any]) -> None:
        """finished.json: the run may be evaluated."""
        write_text(self.path / END, json.dumps(facts, indent=1))


def read_end(run: Path) -> dict[str, Any]:
    """What finished.json says of how a run ended. RunFolderError names one that is damaged."""
    mark = run / END
    try:
        facts = json.loads(mark.read_text(encoding="utf-8"))
    except ValueError:
        facts = None
    if not isinstance(facts, dict):
        raise RunFolderError(f"{mark}: is damaged, it does not say how the run ended")
    return facts


def no_result(run: Path) -> str:
    """Why the weights of a run that has ended are no result; empty for a finished run.

    It counts once a whole epoch was validated, or when its budget of minutes ended it after
    LEAST_STEPS steps, or where a finished.json of before does not tell. A damaged one is no proof.
    """
    try:
        facts = read_end(run)
        steps, best, reason = facts["steps"], facts["best"]["step"], facts["reason"]
        begun = best > 0 or (reason == "max_minutes" and steps >= LEAST_STEPS)
    except RunFolderError:
        return f"its {END} is damaged"
    except (OSError, LookupError, TypeError):
        return ""
    if begun:
        return ""
    if reason in ("epochs", "early_stop"):
        return f"no epoch of it had a finite validation score, in {steps} steps"
    planned = facts.get("planned_steps", "?")
    return f"it was stopped ({reason}) after {steps} of {planned} steps, inside its first epoch"


def stopped_early(run: Path) -> str:
    """What to say of a run that somebody stopped, though its weights count; empty for others."""
    try:
        facts = read_end(run)
    except (OSError, RunFolderError):
        return ""
    if facts.get("reason") != "interrupted":
        return ""
    steps, planned = facts.get("steps", "?"), facts.get("planned_steps", "?")
    return f"was stopped (interrupted) after {steps} of {planned} steps"


def has_ended(run: Path) -> bool:
    """Whether a folder has a mark that its run has ended, and weights."""
    return (run / END).is_file() and (run / WEIGHTS).is_file()


def _starts(record: Path) -> list[dict[str, Any]]:
    """Each start of a run as environment.json has it. RunFolderError names a damaged one."""
    try:
        starts = json.loads(record.read_text(encoding="utf-8"))
    except ValueError:
        starts = None
    if not isinstance(starts, list) or not starts or not isinstance(starts[0], dict):
        raise RunFolderError(f"{record}: is damaged, a list of the run's starts belongs there")
    return starts


def can_continue(path: Path) -> bool:
    """Whether a run lies here that has reached a checkpoint."""
    saved = any((path / name).is_dir() for name in ("last", ".last.old"))
    return saved and (path / "config.yaml").is_file()


def dump_config(config: AnyRun) -> str:
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def _complete(line: str) -> bool:
    try:
        return "step" in json.loads(line)
    except json.JSONDecodeError:
        return False


def _commit() -> str:
    """The checkout's commit, "-dirty" when files differ, "unknown" outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():  # installed: git would tell of whose repository this lies in
        return "unknown"
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def recorded_data(run: Path, data: FaceData) -> Any:
    """`data` with the folders that this run really used, from its environment.json."""
    record = run / "environment.json"
    if not record.is_file():
        return data
    try:
        return data.model_copy(update=_used(_starts(record)[0]["data"], data))
    except (LookupError, TypeError, AttributeError) as error:
        raise RunFolderError(
            f"{record}: damaged, it does not say which data the run used; without that file those "
            "in its config.yaml count"
        ) from error


def _used(facts: dict[str, Any], data: FaceData) -> dict[str, Any]:
    """The fields of `data` that name what a run really used, from the record of its start."""
    used = {"faces": facts["faces"]} if "faces" in facts else {}
    if "masks" in facts:
        masks = facts["masks"]
        generated = masks["source"] == "generated"
        used["masks"] = "builtin" if generated else str(Path(masks["folder"]).resolve())
    for name in ("occluders", "pairs"):
        if name in facts:
            used[name] = facts[name]
    if "also" in facts and data.also is not None:
        used["also"] = data.also.model_copy(update={"faces": facts["also"]})
    return used
