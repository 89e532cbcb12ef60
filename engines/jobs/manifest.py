"""What became of each input: one row each, printed as it comes and kept in a CSV file."""

import csv
import hashlib
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from filelock import BaseFileLock, FileLock

from deocclude.data.files import no_room, replacing
from deocclude.engines.jobs.plan import Job, Plan

STAGES = ("read", "detect", "align", "segment", "inpaint", "paste", "write")
COLUMNS = (
    "input",
    "output",
    "status",
    "faces",
    "detection",
    "hole_ratio",
    "frames",
    "frames_restored",
    "seconds",
    *(f"seconds_{stage}" for stage in STAGES),
    "warnings",
    "by",  # the inpainter or method; the last, as older manifests lack it
)
# Every status an input can end with, and whether it makes the exit code 1.
STATUSES = {
    "restored": False,
    "no occluder found": False,  # nothing to restore, so nothing was written
    "no face found": False,  # likewise; the exit code is 1 when that is all there is to say
    "nothing restored": True,  # something covers the face and too little is left to restore it from
    "incomplete": True,  # a video that ends early; what could be read was written
    "exists": True,  # the result was there already and --overwrite was not given
    "skipped": False,  # likewise, as --skip-existing asks
    "left out": False,  # a file of a folder that is no photo or video, or a result
    "not begun": True,  # of a part of many: what it has still to do, or had when it was killed
    "failed": True,
}
# What a summary calls those of a status, beside the restored and the failed.
TOLD = {
    "skipped": "done before",
    "incomplete": "incomplete",
    "not begun": "not begun",
    "no occluder found": "without an occluder",
    "no face found": "without a face",
    "left out": "files left out",
}
# What such a row says is less than any other, which it does not replace.
LESS = ("exists", "skipped", "not begun")
LONGEST_WAIT = 60.0  # seconds until a lock that another command holds is an error (an OSError)
QUICK = 0.02  # seconds; a manifest that is written in less is written after every input


@dataclass
class ManifestRow:
    """One input: `status` is a key of STATUSES; `hole_ratio` is the share of the picture redrawn.

    `seconds`: stage -> seconds, "total" among them. Counts are None where they mean nothing.
    """

    input: str
    output: str = ""  # empty when nothing was written
    status: str = "restored"
    faces: int | None = None
    detection: str = ""
    hole_ratio: float | None = None
    frames: int | None = None
    frames_restored: int | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"status {self.status!r}: not one of {', '.join(STATUSES)}")

    def cells(self, by: str = "") -> dict[str, str]:
        """Column -> text of the CSV file, where there is any; warnings are joined by " | ". `by`:
        who made the output, if there is one."""
        cells = {name: getattr(self, name) for name in COLUMNS if name in self.__dict__}
        seconds = {f"seconds_{stage}": self.seconds.get(stage) for stage in STAGES}
        for name, value in {**seconds, "seconds": self.seconds.get("total")}.items():
            cells[name] = None if value is None else f"{value:.3f}"
        if self.hole_ratio is not None:
            cells["hole_ratio"] = f"{self.hole_ratio:.4f}"
        cells["warnings"] = " | ".join(" ".join(text.split()) for text in self.warnings)
        cells["by"] = by if self.output else ""
        return {name: str(cell) for name, cell in cells.items() if cell not in (None, "")}


class Manifest:
    """A CSV file with one row for each input, replaced as a whole whenever one is finished.

    A manifest of an earlier command is continued, and so is one that another command writes at the
    same time: rows of other inputs stay, the row of the same input is replaced, unless all there is
    to say is that its result exists already. `path` None keeps nothing. Raises ValueError for an
    existing file that is no manifest.
    """

    def __init__(self, path: Path | None, say: Callable[[str], None] = print) -> None:
        self.path = path
        self._say = say
        self.by = ""  # what redraws: the name of the inpainter, or the method
        self._known = read_rows(path) if path is not None and path.exists() else {}
        self._rows: dict[str, dict[str, str]] = {}  # of this command
        self._cost = self._written = 0.0
        self._complained = False

    def add(self, *rows: ManifestRow) -> None:
        """Keep rows and write the file; writing takes a few percent of the time at most."""
        for row in rows:
            begins = row.status == "not begun"  # also what an earlier command had done
            if begins or not says_less(row.status, self._known.get(row.input, {}).get("status")):
                self._rows[row.input] = row.cells(self.by)
        quick = self._cost < QUICK
        if quick or time.monotonic() - self._written >= 20 * self._cost:
            try:
                self._write()
            except OSError as error:  # e.g. a spreadsheet on Windows has it open
                if not self._complained:
                    self._say(f"warning: {self.path}: not written yet ({error})")
                self._complained = True

    def report(self, row: ManifestRow) -> None:
        """Say everything that is worth a line: failures, nothing found, warnings."""
        if row.status in ("failed", "exists"):
            self._say(f"error: {row.warnings[0]}")
            return
        for text in row.warnings:
            self._say(f"{row.input}: {text}")
        if not row.output and not any(text.startswith(row.status) for text in row.warnings):
            self._say(f"{row.input}: {row.status}: nothing was written")

    def nothing_to_restore(self, source: Path) -> bool:
        """Whether an earlier command found no face in an input, or nothing that covers one."""
        status = self._known.get(str(source), {}).get("status")
        return status in ("no occluder found", "no face found")

    def close(self) -> None:
        """Write what is not written yet. Raises OSError."""
        if self._rows:
            self._write()

    def _write(self) -> None:
        if self.path is None:
            return
        start = time.monotonic()
        with _lock(self.path):
            if self.path.exists():
                self._known = read_rows(self.path)  # as another command may have left it
            with replacing(self.path) as temporary:
                write_rows(temporary, (self._known | self._rows).values())
        self._written = time.monotonic()
        self._cost = self._written - start


def _lock(path: Path) -> BaseFileLock:
    """Held while a manifest is read and written again. It lies apart, among temporary files, so
    that nothing is left beside the results."""
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]
    return FileLock(Path(tempfile.gettempdir(), f"deocclude-{name}.lock"), timeout=LONGEST_WAIT)


def says_less(status: str, known: str | None) -> bool:
    """Whether a row of this status would replace one of the same input that says more than it. Of
    what had not begun the result may be there: of a process that was killed before it noted that.
    """
    return status in LESS and known not in (None, "not begun")


def write_rows(path: Path, rows: Iterable[dict[str, str]]) -> None:
    with open(path, "w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def read_rows(path: Path) -> dict[str, dict[str, str]]:
    """Input -> the cells of its row that are not empty; errors as of `each_row`."""
    return {row["input"]: row for row in each_row(path)}


def each_row(path: Path) -> Iterator[dict[str, str]]:
    """The cells of each row that are not empty. ValueError for what is no manifest."""
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        reader = csv.DictReader(file)
        try:
            known = tuple(reader.fieldnames or ()) in (COLUMNS, COLUMNS[:-1])
            for row in reader if known else ():
                if None in row:
                    raise ValueError(
                        f"{path}: line {reader.line_num} has more than "
                        f"{len(reader.fieldnames or ())} cells; mend it or name another file"
                    )
                yield {"input": ""} | {name: text for name, text in row.items() if text}
        except csv.Error as error:
            raise ValueError(
                f"{path}: cannot be read as CSV ({error}); name another file"
            ) from None
        if not known:
            raise ValueError(
                f"{path}: exists and is no manifest of this program; name another file"
            )


def rows_beside(plan: Plan) -> list[ManifestRow]:
    """The rows of all that a plan has no job for."""
    rows = [failure(source, reason) for source, reason in plan.failures]
    rows += [ManifestRow(str(job.source), status="exists") for job in plan.existing]
    rows += [ManifestRow(str(job.source), status="skipped") for job in plan.done]
    return rows + [
        ManifestRow(str(path), status="left out", warnings=[reason])
        for path, reason in plan.left_out.items()
    ]


def run_jobs(
    jobs: Iterable[Job], restore: Callable[[Job], ManifestRow], manifest: Manifest
) -> list[ManifestRow]:
    """Run `restore` on each job, report and record it, and go on when one fails; unless it could
    not be written for want of room, as the next ones could not."""
    rows, full = [], False
    for job in jobs:
        start = time.monotonic()
        try:
            row = restore(job)
        except Exception as error:  # whatever one input does to a library, the others go on
            row, full = failure(job.source, error), no_room(error)
        row.seconds["total"] = time.monotonic() - start
        manifest.report(row)
        rows.append(row)
        manifest.add(row)
        if full:
            break
    return rows


def failure(source: str | Path, error: Exception | str) -> ManifestRow:
    """The row of an input that could not be restored; the message names the input, and the kind of
    an error that is not one of this project's own."""
    text = " ".join(str(error).split())
    if isinstance(error, Exception) and not (text and isinstance(error, OSError | ValueError)):
        text = f"{type(error).__name__}{text and ': '}{text}"
    text = text if str(source) in text else f"{source}: {text}"
    status = "exists" if isinstance(error, FileExistsError) else "failed"
    return ManifestRow(str(source), status=status, warnings=[text])


def failed(counts: Mapping[str, int]) -> bool:
    """Whether a command ends with exit code 1, by how many inputs have each status."""
    seen = {status for status, count in counts.items() if count} - {"skipped", "left out"}
    return any(STATUSES[status] for status in seen) or seen == {"no face found"}


def summary(counts: Mapping[str, int], where: str = "", what: str = "photos") -> str:
    """One line, e.g. "3 of 5 photos restored, 1 failed, 1 without an occluder: out", by how many
    inputs have each status."""
    counts = Counter(counts)
    failed = sum(counts[status] for status in ("failed", "exists", "nothing restored"))
    total = counts.total() - counts["left out"]
    parts = [f"{counts['restored']} of {total} {what} restored", f"{failed} failed"]
    parts += [f"{counts[status]} {words}" for status, words in TOLD.items() if counts[status]]
    return ", ".join(parts) + (where and f": {where}")


def kind_of(moving: Collection[bool]) -> str:
    """What inputs are, by whether each of them is a video."""
    return "inputs" if len({*moving}) > 1 else "videos" if True in moving else "photos"
