"""Many photos or a video in, a zip of results with its manifest or one video out."""

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from threading import Event

from deocclude.data.files import no_room
from deocclude.engines.app import archives
from deocclude.engines.app.limits import Limits
from deocclude.engines.app.names import numbered, safe_name
from deocclude.engines.app.photo import check_file
from deocclude.engines.jobs.kinds import HEAD, is_animated, starts_like_video
from deocclude.engines.jobs.manifest import ManifestRow, failure, summary, write_rows
from deocclude.engines.jobs.plan import Choices, Job, plan_jobs
from deocclude.engines.moving.video import restore_video
from deocclude.engines.photos.deoccluder import Deoccluder
from deocclude.engines.photos.files import restore_file

Told = Callable[[int, int | None], None]  # how much is done, and of how much
ZIPPED = 10  # times an upload's limit: what a zip may hold


class Cancelled(Exception):
    """The visitor wants no more, or has gone."""


class TimeIsUp(ValueError):
    """A task took the seconds that one may take."""


@dataclass
class Clock:
    """Ends a task when its visitor cancels it or its time is up."""

    limits: Limits
    stop: Event
    start: float = field(default_factory=time.monotonic)

    def check(self) -> None:
        """Raises Cancelled or TimeIsUp."""
        if self.stop.is_set():
            raise Cancelled
        if time.monotonic() - self.start > self.limits.seconds:
            raise TimeIsUp(f"took longer than {self.limits.seconds:g} s")


@dataclass
class Batch:
    """What became of many photos: `zip` holds the results and the manifest."""

    zip: Path
    rows: list[ManifestRow]
    summary: str
    cancelled: bool = False
    late: bool = False


def gather(files: list[tuple[Path, str]], folder: Path, limits: Limits) -> dict[str, str]:
    """Lay uploads, (file, the visitor's name of it), into an empty folder, zips unpacked each into
    a folder of its name; what all zips hold together is bounded as what one holds. Returns what was
    left out, name -> reason."""
    if len(files) > limits.files:
        raise ValueError(f"{len(files)} files; this page takes at most {limits.files} at once")
    left_out: dict[str, str] = {}
    zips = [each for each in files if _is_zip(each[1])]
    count, room = limits.files - (len(files) - len(zips)), ZIPPED * limits.bytes
    for path, name in files:
        place = free_place(folder, name)
        if not _is_zip(name):
            shutil.copyfile(path, place)
            continue
        try:
            held = archives.Limits(count, limits.bytes, room)
            found = archives.unpack(path, place.with_suffix(""), held)
        except ValueError as error:
            left_out[name] = str(error)
            continue
        left_out |= {f"{name}/{inner}": why for inner, why in found.left_out.items()}
        count -= len(found.files)
        room -= sum(file.stat().st_size for file in found.files)
    return left_out


def _is_zip(name: str) -> bool:
    return Path(name).suffix.lower() == ".zip"


def restore_many(
    networks: Deoccluder,
    files: list[tuple[Path, str]],
    folder: Path,
    choices: Choices,
    limits: Limits,
    stop: Event,
    told: Told,
    by: str,
) -> Batch:
    """Restore photos, and videos among them, into `folder`, which must be empty.

    What fails has a row that says why, and the others go on. After `stop` or `limits.seconds` what
    is done is kept, and the manifest says what was not begun. ValueError where no file can be
    restored.
    """
    inputs, outputs = folder / "inputs", folder / "results"
    inputs.mkdir()
    outputs.mkdir()
    clock = Clock(limits, stop)
    rows = [
        ManifestRow(name, status="left out", warnings=[why])
        for name, why in gather(files, inputs, limits).items()
    ]
    try:
        plan = plan_jobs([inputs], output=outputs)
    except FileNotFoundError:
        reasons = "; ".join(f"{row.input}: {row.warnings[0]}" for row in rows)
        raise ValueError(f"no photo among the files{reasons and ': '}{reasons}") from None
    rows += [
        ManifestRow(str(path), status="left out", warnings=[why])
        for path, why in plan.left_out.items()
    ]
    batch = Batch(folder / "restored.zip", rows, "")
    told(0, len(plan.jobs))
    for count, job in enumerate(_until(plan.jobs, clock, batch), 1):
        try:
            row = restore_one(networks, job, choices, clock)
        except (Cancelled, TimeIsUp) as end:
            batch.cancelled, batch.late = isinstance(end, Cancelled), isinstance(end, TimeIsUp)
            row = ManifestRow(str(job.source), status="not begun")
        except Exception as error:  # whatever one file does to a library, the others go on
            if no_room(error):
                raise
            row = failure(job.source, error)
        rows.append(row)
        told(count, len(plan.jobs))
    begun = {row.input for row in rows}
    rows += [
        ManifestRow(str(job.source), status="not begun")
        for job in plan.jobs
        if str(job.source) not in begun
    ]
    for row in rows:
        shorten(row, inputs, outputs)
    cells = (row.cells() | ({"by": by} if row.output else {}) for row in rows)
    write_rows(outputs / "manifest.csv", cells)
    archives.pack(outputs, batch.zip)
    what = "files" if any(job.is_video for job in plan.jobs) else "photos"
    line = summary(Counter(row.status for row in rows), "", what)
    batch.summary = line.rstrip(": ")
    shutil.rmtree(inputs)
    shutil.rmtree(outputs)
    return batch


def _until(jobs: Iterable[Job], clock: Clock, batch: Batch) -> Iterator[Job]:
    """The jobs for which there is time."""
    for job in jobs:
        try:
            clock.check()
        except Cancelled:
            batch.cancelled = True
            return
        except TimeIsUp:
            batch.late = True
            return
        yield job


def restore_one(
    networks: Deoccluder, job: Job, choices: Choices, clock: Clock, told: Told | None = None
) -> ManifestRow:
    """Restore one file. Raises Cancelled and TimeIsUp, of a video between two frames, and the
    errors of `restore_file`, `restore_video` and `check_file`."""
    if not job.is_video:
        check_file(job.source, clock.limits, str(job.source))
        return restore_file(networks, job, choices)
    check_video(job.source, clock.limits)

    def progress(frames: Iterable, total: int | None, name: str) -> Iterator:
        for count, frame in enumerate(frames):
            clock.check()
            check_frame(frame.rgb.shape, clock.limits)
            if told is not None:
                told(count, total)
            yield frame

    return restore_video(networks, job, choices, progress)


def check_video(path: Path, limits: Limits) -> None:
    """ValueError for frames of too many pixels, before one is decoded, and for what only its name
    says is a video: FFmpeg would take a list of other files for one, and open those."""
    if is_animated(path):
        return check_file(path, limits, str(path))
    with open(path, "rb") as file:
        head = file.read(HEAD)
    if not starts_like_video(head):
        raise ValueError(f"{path}: is no video that can be read")
    import av

    with suppress(av.FFmpegError), av.open(str(path), metadata_errors="replace") as video:
        for stream in video.streams.video:
            check_frame((stream.height, stream.width), limits)


def check_frame(shape: tuple[int, ...], limits: Limits) -> None:
    """ValueError for a frame of more pixels than a photo may have."""
    if shape[0] * shape[1] > limits.pixels:
        raise ValueError(
            f"frames of {shape[1]} x {shape[0]} pixels; this page takes at most "
            f"{limits.pixels / 1e6:.0f} million"
        )


def restore_clip(
    networks: Deoccluder,
    file: tuple[Path, str],
    folder: Path,
    choices: Choices,
    limits: Limits,
    stop: Event,
    told: Told,
) -> tuple[ManifestRow, Path]:
    """Restore one video into `folder`, which must be empty: its row, and the file, which is there
    where the row has an output. Errors as of `restore_one`; ValueError for what is no video."""
    path, name = file
    source = free_place(folder, name)
    shutil.copyfile(path, source)
    try:
        job = plan_jobs([source]).jobs[0]
        if not job.is_video:
            raise ValueError(
                f"{name}: is no video or animated picture; photos have a tab of their own"
            )
        row = restore_one(networks, job, choices, Clock(limits, stop), told)
    finally:
        source.unlink()
    shorten(row, folder, folder)
    return row, job.output


def shorten(row: ManifestRow, inputs: PurePath, outputs: PurePath) -> None:
    """Names as the visitor knows them, without the folders of this machine."""

    def shorter(text: str) -> str:
        for start in (f"{folder}{mark}" for folder in (inputs, outputs) for mark in "/\\"):
            text = text.replace(start, "")
        return text

    row.input = shorter(row.input).replace("\\", "/")
    row.output = shorter(row.output).replace("\\", "/")
    row.warnings = list(map(shorter, row.warnings))


def free_place(folder: Path, name: str) -> Path:
    """A place in the folder for a file of a visitor's name, numbered where that is taken, or where
    it would be on systems that take A for a."""
    name = wanted = safe_name(name)
    taken = {path.name.casefold() for path in folder.iterdir()}
    number = 1
    while taken & {name.casefold(), Path(name).stem.casefold()}:
        number += 1
        name = numbered(wanted, number)
    return folder / name
