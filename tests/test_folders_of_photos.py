"""`python deocclude.py FOLDER`: every kind of file, a second command, formats and limits."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from photo_stubs import Detector, call, draw_photo, face_at, stub_deoccluder
from PIL import Image, features

from deocclude.engines.cli import photos
from deocclude.engines.cli import restore as restore_command
from deocclude.engines.jobs.manifest import Manifest, ManifestRow

FACE = face_at(20, 10, 120)
SHAPE = (150, 170)
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def restore(tmp_path, monkeypatch, capsys):
    """Run the command in an empty folder with stubs; (exit code, what was printed)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(restore_command, "choose_weights", lambda _, task, runs: (Path(task), task))
    loaded = []

    def load(*arguments, **options):
        loaded.append(1)
        return stub_deoccluder()

    monkeypatch.setattr(photos, "load_deoccluder", load)
    monkeypatch.setattr(photos, "FaceDetector", lambda *a, kinds, **k: Detector([FACE], kinds))

    def run(*arguments):
        code, text = call(restore_command.main, capsys, *arguments)
        assert "Traceback" not in text
        return code, text

    run.loaded = loaded
    return run


def save(*names, covered=True):
    for name in names:
        Path(name).parent.mkdir(exist_ok=True)
        Image.fromarray(draw_photo(SHAPE, FACE, covered=covered)).save(name)


def rows():
    with open("out/manifest.csv", newline="", encoding="utf-8") as file:
        return {row["input"]: row["status"] for row in csv.DictReader(file)}


def results():
    return sorted(p.name for p in Path("out").iterdir() if p.name != "manifest.csv")


def test_every_kind_of_picture_is_restored_and_the_rest_is_counted(restore):
    kinds = ["jpg", "png", "tif", "webp", "bmp", "jp2", "ppm", "jfif"]
    kinds += ["avif"] * features.check("avif")
    save(*(f"in/{kind}.{kind}" for kind in kinds))
    Path("in/notes.txt").write_text("three lines")
    Path("in/._jpg.jpg").write_bytes(b"\0\5\26\7")
    code, text = restore("in", "-o", "out")
    assert code == 0, text
    assert f"{len(kinds)} of {len(kinds)} photos restored, 0 failed, 1 files left out" in text
    assert "left out, no image or video: in/notes.txt" in text
    assert rows()["in/notes.txt"] == "left out"
    assert len(results()) == len(kinds)


def test_a_second_command_over_the_same_folder(restore):
    save("in/a.jpg", "in/b.jpg")
    save("in/clean.jpg", covered=False)
    assert restore("in", "-o", "out")[0] == 0
    before, loads = rows(), len(restore.loaded)
    code, text = restore("in", "-o", "out")
    assert code == 1
    assert "2 results exist already, e.g. out/a.png; --overwrite replaces" in text
    code, text = restore("in", "-o", "out", "--skip-existing")
    assert (code, "0 of 3 photos restored, 0 failed, 3 done before" in text) == (0, True), text
    assert len(restore.loaded) == loads + 1  # the first of the two looked at clean.jpg again
    assert rows() == before
    save("in/c.jpg")
    Path("out/b.png").unlink()
    code, text = restore("in", "-o", "out", "--skip-existing")
    assert (code, "2 of 4 photos restored, 0 failed, 2 done before" in text) == (0, True), text
    assert results() == ["a.png", "b.png", "c.png"]
    code, text = restore("in", "-o", "out", "--skip-existing", "--overwrite")
    assert (code, "leave one of them out" in text) == (2, True)


def test_skipping_wants_every_extra_too(restore):
    save("in/a.jpg")
    assert restore("in", "-o", "out")[0] == 0
    stamp = Path("out/a.png").stat().st_mtime_ns
    code, text = restore("in", "-o", "out", "--skip-existing", "--save", "mask")
    assert (code, "out/a.png: exists already" in text) == (1, True)  # nothing is replaced unasked
    assert Path("out/a.png").stat().st_mtime_ns == stamp


@pytest.mark.parametrize(("form", "made"), [
    (None, ["a.png", "b.tif", "c.png", "d.png"]),
    ("same", ["a.jpg", "b.tif", "c.JFIF", "d.png"]),
    ("webp", ["a.webp", "b.webp", "c.webp", "d.webp"]),
])  # fmt: skip
def test_the_format_of_a_folders_results(restore, form, made):
    save("in/a.jpg", "in/b.tif", "in/c.JFIF", "in/d.jp2")
    code, text = restore("in", "-o", "out", *(("--format", form) if form else ()))
    assert (code, results()) == (0, made), text
    assert ("in/d.jp2: .jp2 is not written, the result is a .png" in text) == (form == "same")


def test_a_quality_wants_a_format_that_has_one(restore):
    save("in/a.jpg")
    code, text = restore("in", "-o", "out", "--quality", "80")
    assert (code, "--quality: no result is a JPEG, AVIF or WebP" in text) == (1, True)
    for quality, good in (("90", True), ("20", True), ("0", False), ("101", False)):
        words = ("--format", "jpg", "--quality", quality)
        assert (restore("in", "-o", f"q{quality}", *words)[0] == 0) == good
    assert Path("q20/a.jpg").stat().st_size < Path("q90/a.jpg").stat().st_size


def test_the_limit_of_pixels_names_the_photo(restore):
    save("a.png")
    code, text = restore("a.png", "--max-pixels", "25499", "-o", "out.png")
    assert (code, "a.png: 170 x 150 are 0.0255 million pixels" in text) == (1, True), text
    assert restore("a.png", "--max-pixels", "25500", "-o", "out.png")[0] == 0
    assert restore("a.png", "--max-pixels", "none")[0] == 2


WRITER = """
import sys
from pathlib import Path
from deocclude.engines.jobs.manifest import Manifest, ManifestRow
manifest = Manifest(Path("out/manifest.csv"))
for number in range(25):
    manifest.add(ManifestRow(f"{sys.argv[1]}{number}.jpg"))
manifest.close()
"""


def test_two_commands_into_one_folder_keep_each_others_rows(restore, tmp_path):
    Manifest(Path("out/manifest.csv")).close()
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = [{str(ROOT)!r}]\n{WRITER}"]
    writers = [subprocess.Popen([*command, name], cwd=tmp_path) for name in ("a", "b")]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert len(rows()) == 50
    first, second = (Manifest(Path("out/manifest.csv")) for _ in range(2))
    first.add(ManifestRow("first.jpg"))
    second.add(ManifestRow("second.jpg"))
    first.close()
    assert {"first.jpg", "second.jpg"} < rows().keys()
    assert [p.name for p in Path("out").iterdir()] == ["manifest.csv"]


def test_the_pixels_of_a_photo_of_any_format_stay(restore):
    save("in/a.png")
    assert restore("in/a.png", "-o", "out.png", "--save", "mask")[0] == 0
    photo = draw_photo(SHAPE, FACE)
    mask = np.asarray(Image.open("out-mask.png")) > 0
    np.testing.assert_array_equal(np.asarray(Image.open("out.png"))[~mask], photo[~mask])
