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
from deocclude.engines.app.names import free_name
from deocclude.engines.app.photo import check_file
from deocclude.engines.jobs.kinds import HEAD, is_animated, starts_like_video
from deocclude.engines.jobs.manifest import ManifestRow, failure, rows_beside, summary, write_rows
from deocclude.engines.jobs.plan import Choices, Job, plan_jobs
from deocclude.engines.moving.video import restore_video
from deocclude.engines.photos.deoccluder import Deoccluder
from deocclude.engines.photos.files import restore_file

Told = Callable[[int, int | None], None]
ZIPPED = 10  # times an upload's limit: what a zip may hold


class Cancelled(Exception):
    """The visitor wants no more, or has gone."""


class TimeIsUp(ValueError):
    """A task took the seconds that one may take."""


@dataclass
class Task:
    """What is asked for: `networks`, their name `by`, `choices`; `folder`, which is empty, takes
    the results; `told` is how much is done, of how much (None: nobody knows). It ends when its
    visitor sets `stop` or its time is up."""

    networks: Deoccluder
    by: str
    choices: Choices
    folder: Path
    limits: Limits
    stop: Event
    told: Told
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
    summary: str = ""
    cancelled: bool = False
    late: bool = False


def gather(files: list[Path], folder: Path, limits: Limits) -> dict[str, str]:
    """Lay uploads into an empty folder, zips unpacked each into a folder of its name; what all zips
    hold together is bounded as what one holds. Returns what was left out, name -> reason."""
    if len(files) > limits.files:
        raise ValueError(f"{len(files)} files; this page takes at most {limits.files} at once")
    left_out: dict[str, str] = {}
    zips = [path for path in files if path.suffix.lower() == ".zip"]
    count, room = limits.files - (len(files) - len(zips)), ZIPPED * limits.bytes
    for path in files:
        place = free_place(folder, path.name)
        if path not in zips:
            shutil.copyfile(path, place)
            continue
        try:
            held = archives.ZipLimits(count, limits.bytes, room)
            found = archives.unpack(path, place.with_suffix(""), held)
        except ValueError as error:
            left_out[path.name] = str(error)
            continue
        left_out |= {f"{path.name}/{inner}": why for inner, why in found.left_out.items()}
        count -= len(found.files)
        room -= sum(file.stat().st_size for file in found.files)
    return left_out


def restore_many(task: Task, files: list[Path]) -> Batch:
    """Restore photos, and videos among them.

    What fails has a row that says why, and the others go on. Where the task ends before its time
    what is done is kept, and the manifest says what was not begun. ValueError where no file can be
    restored.
    """
    inputs, outputs = task.folder / "inputs", task.folder / "results"
    inputs.mkdir()
    outputs.mkdir()
    left_out = gather(files, inputs, task.limits)
    try:
        plan = plan_jobs([inputs], output=outputs)
    except FileNotFoundError:
        reasons = "; ".join(f"{name}: {why}" for name, why in left_out.items())
        raise ValueError(f"no photo among the files{reasons and ': '}{reasons}") from None
    rows = [ManifestRow(name, status="left out", warnings=[why]) for name, why in left_out.items()]
    rows += rows_beside(plan)
    batch, jobs = Batch(task.folder / "restored.zip", rows), plan.jobs
    task.told(0, len(jobs))
    for count, job in enumerate(jobs, 1):
        try:
            task.check()
            row = restore_one(task, job)
        except (Cancelled, TimeIsUp) as end:
            batch.cancelled, batch.late = isinstance(end, Cancelled), isinstance(end, TimeIsUp)
            left = jobs[count - 1 :]
            rows += [ManifestRow(str(each.source), status="not begun") for each in left]
            break
        except Exception as error:  # whatever one file does to a library, the others go on
            if no_room(error):
                raise
            row = failure(job.source, error)
        rows.append(row)
        task.told(count, len(jobs))
    for row in rows:
        shorten(row, inputs, outputs)
    write_rows(outputs / "manifest.csv", (row.cells(task.by) for row in rows))
    archives.pack(outputs, batch.zip)
    what = "files" if any(job.is_video for job in jobs) else "photos"
    batch.summary = summary(Counter(row.status for row in rows), what=what)
    shutil.rmtree(inputs)
    shutil.rmtree(outputs)
    return batch


def restore_one(task: Task, job: Job, frames_told: bool = False) -> ManifestRow:
    """Restore one file. Raises Cancelled and TimeIsUp, of a video between two frames, and the
    errors of `restore_file`, `restore_video` and `check_file`."""
    if not job.is_video:
        check_file(job.source, task.limits, str(job.source))
        return restore_file(task.networks, job, task.choices)
    check_video(job.source, task.limits)

    def progress(frames: Iterable, total: int | None, name: str) -> Iterator:
        for count, frame in enumerate(frames):
            task.check()
            check_frame(frame.rgb.shape, task.limits)
            if frames_told:
                task.told(count, total)
            yield frame

    return restore_video(task.networks, job, task.choices, progress)


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


def restore_clip(task: Task, path: Path) -> tuple[ManifestRow, Path]:
    """Restore one video: its row, and the file, which is there where the row has an output. Errors
    as of `restore_one`; ValueError for what is no video."""
    source = free_place(task.folder, path.name)
    shutil.copyfile(path, source)
    try:
        job = plan_jobs([source]).jobs[0]
        if not job.is_video:
            raise ValueError(
                f"{path.name}: is no video or animated picture; photos have a tab of their own"
            )
        row = restore_one(task, job, frames_told=True)
    finally:
        source.unlink()
    shorten(row, task.folder, task.folder)
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
    taken = {path.name.casefold() for path in folder.iterdir()}
    return folder / free_name(
        name, lambda each: bool(taken & {each.casefold(), Path(each).stem.casefold()})
    )
