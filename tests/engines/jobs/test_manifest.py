"""The manifest: rows, order, continuing, and a batch that survives its failures."""

import csv
import errno
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import cv2
import pytest

from deocclude.engines.jobs.manifest import (
    COLUMNS,
    STATUSES,
    Manifest,
    ManifestRow,
    failed,
    failure,
    run_jobs,
    summary,
)


@dataclass
class Job:
    source: Path


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_row_says_everything(tmp_path):
    manifest = Manifest(tmp_path / "new" / "m.csv")
    seconds = {"total": 1.5, "detect": 0.25, "paste": 0.125}
    row = ManifestRow("a,b.jpg", "out.png", "restored", 2, "haar+mediapipe", 0.25, seconds=seconds)
    row.warnings = ['one "quoted"', "two\nlines"]
    manifest.add(row)
    (kept,) = read(tmp_path / "new" / "m.csv")
    assert tuple(kept) == COLUMNS
    assert kept == dict.fromkeys(COLUMNS, "") | {
        "input": "a,b.jpg",
        "output": "out.png",
        "status": "restored",
        "faces": "2",
        "detection": "haar+mediapipe",
        "hole_ratio": "0.2500",
        "seconds": "1.500",
        "seconds_detect": "0.250",
        "seconds_paste": "0.125",
        "warnings": 'one "quoted" | two lines',
    }
    with pytest.raises(ValueError, match="'good': not one of restored"):
        ManifestRow("a", status="good")


def test_it_is_up_to_date_after_every_input_and_whole_at_the_end(tmp_path):
    path, lines = tmp_path / "m.csv", []
    manifest = Manifest(path)

    def restore(job):
        if lines:
            assert [row["input"] for row in read(path)] == [str(n) for n in range(len(lines))]
        lines.append(job)
        return ManifestRow(str(job.source), "out")

    run_jobs([Job(Path(str(n))) for n in range(3)], restore, manifest)
    manifest._cost = 1e9  # a slow disk: rows wait
    manifest.add(ManifestRow("late"))
    assert len(read(path)) == 3
    manifest.close()
    assert len(read(path)) == 4
    assert [p.name for p in tmp_path.iterdir()] == ["m.csv"]


def test_an_earlier_manifest_is_continued_and_keeps_what_it_knows(tmp_path):
    path = tmp_path / "m.csv"
    first = Manifest(path)
    for name in ("a", "b", "c"):
        first.add(ManifestRow(name, f"{name}.png", faces=1))
    first.close()
    path.write_text(path.read_text().replace(",by\n", "\n").replace(",\n", "\n"))  # an older one
    second = Manifest(path)
    second.by = "faithful"
    second.add(ManifestRow("e", "e.png"))
    second.add(failure("a", FileExistsError("a.png: exists already")))
    second.add(ManifestRow("b", status="no occluder found"))
    second.add(failure("d", FileExistsError("d.png: exists already")))
    second.close()
    rows = {row["input"]: row["status"] for row in read(path)}
    assert rows == {
        "a": "restored", "b": "no occluder found", "c": "restored", "d": "exists", "e": "restored"
    }  # fmt: skip
    assert {row["input"]: row["by"] for row in read(path) if row["by"]} == {"e": "faithful"}


@pytest.mark.parametrize("content", ["name,age\nEve,7\n", "", "\x89PNG\xff"])
def test_another_file_is_never_replaced(tmp_path, content):
    path = tmp_path / "table.csv"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(ValueError, match=r"table\.csv: exists and is no manifest"):
        Manifest(path)
    assert path.read_text(encoding="latin-1") == content


def test_a_failing_input_is_one_row_and_the_rest_goes_on(tmp_path):
    said = []

    def restore(job):
        if job.source.name == "bad":
            raise ValueError("no such thing")
        if job.source.name == "huge":
            raise MemoryError
        clean = job.source.name == "clean"
        status = "no occluder found" if clean else "restored"
        return ManifestRow(str(job.source), "" if clean else "out.png", status, warnings=["look"])

    jobs = [Job(Path(name)) for name in ("good", "bad", "huge", "clean")]
    rows = run_jobs(jobs, restore, Manifest(None, said.append))
    assert [STATUSES[row.status] for row in rows] == [False, True, True, False]
    assert said == [
        "good: look",
        "error: bad: no such thing",
        "error: huge: MemoryError",
        "clean: look",
        "clean: no occluder found: nothing was written",
    ]
    assert all(row.seconds["total"] >= 0 for row in rows)
    counts = Counter(row.status for row in rows)
    text = summary(counts, "out")
    assert failed(counts)
    assert failed({"no face found": 2, "left out": 1, "restored": 0})
    assert not failed({"no face found": 2, "no occluder found": 1})
    assert text == "1 of 4 photos restored, 2 failed, 1 without an occluder: out"


def test_a_full_disk_ends_the_folder(tmp_path):
    """Of the first photo that could not be written; an unreadable one in between does not."""
    said, seen = [], []

    def restore(job):
        seen.append(job.source.name)
        if job.source.name == "second":
            raise PermissionError(errno.EACCES, "Permission denied")
        if job.source.name == "third":
            try:
                raise OSError(errno.ENOSPC, "No space left on device")
            except OSError as error:
                raise OSError(f"out/third.png: cannot be written ({error})") from error
        return ManifestRow(str(job.source), "out.png")

    jobs = [Job(Path(name)) for name in ("first", "second", "third", "fourth", "fifth")]
    rows = run_jobs(jobs, restore, Manifest(None, said.append))
    assert seen == ["first", "second", "third"]
    assert [row.status for row in rows] == ["restored", "failed", "failed"]
    assert "No space left on device" in said[-1]


@pytest.mark.parametrize(
    "error", [TypeError("bug"), RuntimeError("bug"), cv2.error("bug"), IndexError("bug")]
)
def test_whatever_a_library_raises_costs_one_input_and_is_named(error):
    said = []

    def restore(job):
        if job.source.name == "odd":
            raise error
        return ManifestRow(str(job.source), "out.png")

    rows = run_jobs([Job(Path("odd")), Job(Path("good"))], restore, Manifest(None, said.append))
    assert [row.status for row in rows] == ["failed", "restored"]
    assert said == [f"error: odd: {type(error).__name__}: bug"]
    with pytest.raises(KeyboardInterrupt):
        run_jobs([Job(Path("a"))], _stop, Manifest(None))


def _stop(job):
    raise KeyboardInterrupt


def test_a_row_with_too_many_cells_is_refused_before_anything_is_restored(tmp_path):
    path = tmp_path / "m.csv"
    first = Manifest(path)
    first.add(ManifestRow("a", "a.png"))
    first.close()
    text = path.read_text()
    path.write_text(f"{text.rstrip()},note\n")
    with pytest.raises(ValueError, match=rf"m\.csv: line 2 has more than {len(COLUMNS)} cells"):
        Manifest(path)
    path.write_text(text + '"' + "x" * 200_000)
    with pytest.raises(ValueError, match=r"m\.csv: cannot be read as CSV"):
        Manifest(path)


def test_a_manifest_that_cannot_be_written_is_said_once(tmp_path):
    (tmp_path / "file").touch()
    said = []
    manifest = Manifest(tmp_path / "file" / "m.csv", said.append)
    manifest.add(ManifestRow("a"))
    manifest.add(ManifestRow("b"))
    assert len(said) == 1
    assert "not written yet" in said[0]
    with pytest.raises(OSError, match="file"):
        manifest.close()
