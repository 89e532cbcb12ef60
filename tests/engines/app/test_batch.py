"""Many photos and videos: what fails fails alone, what is done is kept; the manifest says so."""

import csv
import errno
import io
import time
import zipfile
from pathlib import PureWindowsPath
from threading import Event

import av
import numpy as np
import pytest
from app_http import giant_png
from photo_stubs import Detector, draw_photo, face_at, read_video, stub_deoccluder, write_video
from PIL import Image

from deocclude.engines.app import batch
from deocclude.engines.app.limits import Limits
from deocclude.engines.jobs.manifest import ManifestRow
from deocclude.engines.jobs.plan import Choices

FACE = face_at(20, 10, 120)
PHOTO = draw_photo((150, 170), FACE)
CHOICES = Choices(overwrite=True)
LIMITS = Limits(bytes=1_000_000, pixels=200_000, seconds=60, files=6)


def encoded(picture=PHOTO, kind="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, kind, **options)
    return file.getvalue()


def zipped(*entries):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return file.getvalue()


@pytest.fixture
def networks():
    return stub_deoccluder(Detector([FACE]))


@pytest.fixture
def sent(tmp_path):
    """Uploads as Gradio lays them down, each in a folder of its own, under the visitor's names."""

    def send(*files):
        uploads = []
        for number, (name, content) in enumerate(files):
            path = tmp_path / f"upload{number}" / name
            path.parent.mkdir()
            path.write_bytes(content)
            uploads.append(path)
        return uploads

    return send


@pytest.fixture
def run(networks, sent, tmp_path):
    """Restores files in a session's folder; the batch, the zip's names, the manifest's rows."""

    def restore(*files, limits=LIMITS, stop=None, told=lambda done, total: None):
        folder = tmp_path / "session"
        folder.mkdir()
        stop = stop or Event()
        task = batch.Task(networks, "sharp", CHOICES, folder, limits, stop, told)
        done = batch.restore_many(task, sent(*files))
        assert [path.name for path in folder.iterdir()] == ["restored.zip"]
        with zipfile.ZipFile(done.zip) as archive:
            text = archive.read("manifest.csv").decode()
            rows = list(csv.DictReader(io.StringIO(text)))
            assert str(tmp_path) not in text
            assert not any(
                str(tmp_path) in warning for row in done.rows for warning in row.warnings
            )
            return done, sorted(archive.namelist()), {row["input"]: row for row in rows}

    return restore


def test_results_and_the_manifest_come_as_a_zip(run, networks):
    told = []
    done, names, rows = run(
        ("a.png", encoded()), ("b.jpg", encoded(kind="JPEG")),
        told=lambda count, total: told.append((count, total)),
    )  # fmt: skip
    assert names == ["a.png", "b.png", "manifest.csv"]
    assert {name: (row["status"], row["by"], row["output"]) for name, row in rows.items()} == {
        "a.png": ("restored", "sharp", "a.png"), "b.jpg": ("restored", "sharp", "b.png"),
    }  # fmt: skip
    assert told == [(0, 2), (1, 2), (2, 2)]
    assert (done.cancelled, done.late, done.summary) == (
        False,
        False,
        "2 of 2 photos restored, 0 failed",
    )
    with zipfile.ZipFile(done.zip) as archive:
        result = np.asarray(Image.open(io.BytesIO(archive.read("a.png"))))
    assert (result == networks.restore(PHOTO, blend="matched").restored).all()


def test_files_of_one_name_and_zips_do_not_hide_each_other(run):
    inner = zipped(("a.png", encoded()), ("deep/a.png", encoded()))
    _, names, rows = run(
        ("a.png", encoded()), ("a.png", encoded()), ("a.jpg", encoded(kind="JPEG")),
        ("a.zip", inner), ("A.zip", inner[:50] + inner[50:]), limits=Limits(files=9),
    )  # fmt: skip
    assert len(names) == len({name.casefold() for name in names}) == 8
    assert len(rows) == 7
    assert {row["status"] for row in rows.values()} == {"restored"}
    assert {row["output"] for row in rows.values()} == set(names) - {"manifest.csv"}


def test_a_failing_file_does_not_stop_the_others(run):
    cut = encoded()[:2000]
    done, names, rows = run(
        ("cut.png", cut), ("giant.png", giant_png(60000, 60000)), ("text.png", b"text"),
        ("z.png", encoded()), ("notes.txt", b"text"),
    )  # fmt: skip
    statuses = {name: row["status"] for name, row in rows.items()}
    failed = dict.fromkeys(("cut.png", "giant.png", "text.png"), "failed")
    assert statuses == failed | {"z.png": "restored", "notes.txt": "left out"}
    assert "giant.png: 60000 x 60000 are 3600 million" in rows["giant.png"]["warnings"]
    assert names == ["manifest.csv", "z.png"]
    assert not done.cancelled


def test_what_of_a_zip_is_left_out_has_a_row(run):
    content = zipped(("../up.png", encoded()), ("in/fine.png", encoded()))
    _, names, rows = run(("my.zip", content), ("bad.zip", b"PK\x03\x04"))
    assert rows["my.zip/../up.png"]["status"] == "left out"
    assert "outside" in rows["my.zip/../up.png"]["warnings"]
    assert rows["bad.zip"]["status"] == "left out"
    assert rows["my/in/fine.png"]["status"] == "restored"
    assert names == ["manifest.csv", "my/in/fine.png"]


def test_a_file_whose_result_another_one_has_is_told(run):
    names = ("a.jpg", "a.png", "a.png.png")
    _, made, rows = run(("m.zip", zipped(*((name, encoded()) for name in names))))
    assert {row["status"] for row in rows.values()} == {"restored", "failed"}
    assert "is the result for m/a.p" in rows["m/a.png.png"]["warnings"]
    assert made == ["m/a.jpg.png", "m/a.png.png", "manifest.csv"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([("a.txt", b"text")], "no photo among the files"),
        ([("bad.zip", b"no zip")], "no photo among the files: bad.zip: "),
        ([("many.zip", zipped(*((f"{n}.png", b"") for n in range(7))))], "more than 6 files"),
        ([(f"{n}.png", b"") for n in range(7)], "7 files; this page takes at most 6 at once"),
        ([("big.zip", zipped(("a.png", bytes(1_000_001))))], "no photo among the files: big.zip"),
    ],
)
def test_where_nothing_can_be_restored_it_is_said(run, tmp_path, files, said):
    with pytest.raises(ValueError, match=said):
        run(*files)


def test_a_zip_holds_at_most_ten_times_an_upload(sent, tmp_path):
    files = sent(("a.zip", zipped(*((f"{n}.png", bytes(900)) for n in range(12)))))
    for most, left_out in ((1080, {}), (1079, {"a.zip": "a.zip: holds more than 10,790 bytes"})):
        folder = tmp_path / str(most)
        folder.mkdir()
        found = batch.gather(files, folder, Limits(bytes=most, files=12))
        assert {name: why.removesuffix(" unpacked") for name, why in found.items()} == left_out
        assert bool(list(folder.rglob("*.png"))) != bool(left_out)


@pytest.mark.parametrize("limits", [Limits(bytes=1000, files=9), Limits(bytes=600)])
def test_zips_hold_together_what_one_may(sent, tmp_path, limits):
    content = zipped(*((f"{n}.png", bytes(500)) for n in range(4)))
    files = sent(*((f"{n}.zip", content) for n in range(4)), ("a.png", b"of a visitor"))
    folder = tmp_path / "inputs"
    folder.mkdir()
    left_out = batch.gather(files, folder, limits)
    kept = [file for file in folder.rglob("*.png") if file.stat().st_size == 500]
    assert len(kept) + 1 <= limits.files
    assert 500 * len(kept) <= 10 * limits.bytes
    assert len(kept) == 4 * (4 - len(left_out)) > 0
    assert left_out


@pytest.mark.parametrize("end", ["cancelled", "late"])
def test_what_is_done_before_the_end_is_kept(run, monkeypatch, end):
    stop, clock = Event(), time.monotonic

    def told(done, total):
        if done == 2:
            stop.set()
            if end == "late":
                stop.clear()
                monkeypatch.setattr(batch.time, "monotonic", lambda: clock() + 61)

    files = [(f"{name}.png", encoded()) for name in "abcd"]
    done, names, rows = run(*files, stop=stop, told=told)
    statuses = [rows[f"{name}.png"]["status"] for name in "abcd"]
    assert statuses == ["restored", "restored", "not begun", "not begun"]
    assert names == ["a.png", "b.png", "manifest.csv"]
    assert (done.cancelled, done.late) == (end == "cancelled", end == "late")
    assert "2 not begun" in done.summary


def test_a_video_that_is_cut_short_counts_as_not_begun(run, tmp_path):
    stop = Event()
    write_video(tmp_path / "v.mp4", [PHOTO] * 6)

    def told(done, total):
        if done == 1:
            stop.set()

    files = ("a.png", encoded()), ("v.mp4", (tmp_path / "v.mp4").read_bytes())
    _, names, rows = run(*files, stop=stop, told=told)
    assert rows["v.mp4"]["status"] == "not begun"
    assert names == ["a.png", "manifest.csv"]


def test_a_full_disk_ends_it(run, monkeypatch):
    asked = []

    def full(networks, job, choices):
        asked.append(job)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(batch, "restore_file", full)
    with pytest.raises(OSError, match="No space"):
        run(("a.png", encoded()), ("b.png", encoded()))
    assert len(asked) == 1


@pytest.fixture
def clip(networks, sent, tmp_path):
    def restore(name, content, limits=LIMITS, stop=None, told=lambda done, total: None):
        folder = tmp_path / "session"
        folder.mkdir()
        (file,) = sent((name, content))
        try:
            stop = stop or Event()
            task = batch.Task(networks, "sharp", CHOICES, folder, limits, stop, told)
            return batch.restore_clip(task, file)
        finally:
            left = [path.name for path in folder.iterdir()]
            assert left in ([], [f"{name.rpartition('.')[0]}-restored.{name.rpartition('.')[2]}"])

    return restore


@pytest.fixture
def video(tmp_path):
    write_video(tmp_path / "v.mp4", [PHOTO] * 5)
    return (tmp_path / "v.mp4").read_bytes()


def test_a_video_is_restored(clip, video):
    told = []
    row, file = clip("v.mp4", video, told=lambda done, total: told.append(done))
    assert (row.input, row.output, row.status) == ("v.mp4", "v-restored.mp4", "restored")
    assert (row.frames, row.frames_restored) == (5, 5)
    assert len(read_video(file)[0]) == 5
    assert told == [0, 1, 2, 3, 4]


def test_an_animated_picture_is_restored(clip):
    frames = [Image.fromarray(PHOTO), Image.fromarray(PHOTO[::-1].copy())]
    content = io.BytesIO()
    frames[0].save(content, "GIF", save_all=True, append_images=frames[1:])
    row, file = clip("a.gif", content.getvalue())
    assert (row.frames, row.output) == (2, "a-restored.gif")
    assert file.exists()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.png", encoded(), r"a\.png: is no video or animated picture"),
        ("a.mp4", b"", r"a\.mp4: is no video that can be read"),
        ("a.mp4", b"text", r"a\.mp4: is no video that can be read"),
        ("a.mp4", b"ffconcat version 1.0\nfile a.mp4\n", r"a\.mp4: is no video that can be read"),
        ("a.mp4", b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", r"a\.mp4: is no video that can be read"),
        ("a.m3u8", b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", r"a\.m3u8: is no video or animated"),
        ("a.mp4", b"\0\0\0\x18ftypisom" + bytes(500), r"a\.mp4: cannot be read as a video"),
    ],
)  # fmt: skip
def test_what_is_no_video_is_said(clip, name, content, said):
    with pytest.raises(ValueError, match=said):
        clip(name, content)


def test_a_cancelled_video_leaves_nothing(clip, video):
    stop = Event()
    with pytest.raises(batch.Cancelled):
        clip("v.mp4", video, stop=stop, told=lambda done, total: done == 1 and stop.set())


def test_a_video_has_its_time(clip, video, monkeypatch):
    clock = time.monotonic

    def told(done, total):
        monkeypatch.setattr(batch.time, "monotonic", lambda: clock() + done * 40)

    with pytest.raises(batch.TimeIsUp, match="longer than 60 s"):
        clip("v.mp4", video, told=told)


def test_frames_of_too_many_pixels_are_refused_before_one_is_decoded(clip, video, monkeypatch):
    monkeypatch.setattr(batch, "restore_video", lambda *given: pytest.fail("read"))
    with pytest.raises(ValueError, match=r"frames of 170 x 150 pixels; this page takes at most"):
        clip("v.mp4", video, limits=Limits(pixels=170 * 150 - 1))


def test_giant_animated_pictures_are_refused_before_they_are_decoded(clip, monkeypatch):
    frames = [Image.new("L", (700, 600), n) for n in range(2)]
    content = io.BytesIO()
    frames[0].save(content, "GIF", save_all=True, append_images=frames[1:])
    monkeypatch.setattr(batch, "restore_video", lambda *given: pytest.fail("read"))
    with pytest.raises(ValueError, match=r"a\.gif: 700 x 600 are 0 million pixels"):
        clip("a.gif", content.getvalue())


def test_frames_that_grow_within_a_video_are_refused(monkeypatch):
    """What the header says is not believed."""
    with pytest.raises(ValueError, match="frames of 800 x 600"):
        batch.check_frame((600, 800, 3), LIMITS)
    batch.check_frame((200, 1000, 3), LIMITS)
    assert av.FFmpegError  # what a damaged header may raise is no word for visitors


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/../b.png", "C:\\x\\b.png", "CON.png", ""])
def test_names_stay_in_the_folder(tmp_path, name):
    place = batch.free_place(tmp_path, name)
    assert place.parent == tmp_path
    place.write_text("")
    other = batch.free_place(tmp_path, name)
    assert other.parent == tmp_path
    assert not other.exists()


def test_folders_of_windows_are_not_shown_either():
    inputs, outputs = (PureWindowsPath(r"C:\temp\many") / name for name in ("inputs", "results"))
    row = ManifestRow(
        str(inputs / "a" / "b.jpg"),
        str(outputs / "a" / "b.png"),
        warnings=[f"{inputs / 'b.jpg'}: x"],
    )
    batch.shorten(row, inputs, outputs)
    assert (row.input, row.output, row.warnings) == ("a/b.jpg", "a/b.png", ["b.jpg: x"])
