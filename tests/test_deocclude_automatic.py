"""`python deocclude.py` without a mask: released networks, many inputs, extras, the manifest."""

import csv
import json
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from photo_stubs import (
    Constant,
    Detector,
    GreenFinder,
    call,
    draw_photo,
    face_at,
    is_green,
    read_video,
    write_release,
    write_video,
)
from PIL import Image
from release_stubs import write_sums

from deocclude import models
from deocclude.engines.cli import photos
from deocclude.engines.cli import restore as restore_command
from deocclude.engines.runs import released

FACE = face_at(20, 10, 120)
SHAPE = (150, 170)
INPAINTER, SEGMENTER = "runs/grey/001/best.safetensors", "runs/green/002/best.safetensors"


@pytest.fixture
def folder(tmp_path, tmp_path_factory, monkeypatch):
    """An empty working folder with two finished runs, of different sizes, that also ship, and a
    known detector."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(models.INPAINTERS, "constant", Constant)
    monkeypatch.setitem(models.SEGMENTERS, "green", GreenFinder)
    monkeypatch.setattr(photos, "FaceDetector", lambda *a, **k: Detector([FACE]))
    write_release(tmp_path / INPAINTER, "inpainting", "constant", Constant(), size=64)
    write_release(tmp_path / SEGMENTER, "segmentation", "green", GreenFinder(), size=96)
    weights = tmp_path_factory.mktemp("project") / "weights"
    weights.mkdir()
    for source, task in ((INPAINTER, "inpainting"), (SEGMENTER, "segmentation")):
        shutil.copy(tmp_path / source, weights / released.FILES[task])
    write_sums(weights)
    monkeypatch.setattr(released, "FOLDER", weights)
    return tmp_path


@pytest.fixture
def run(capsys):
    return lambda *arguments: call(restore_command.main, capsys, *arguments, "--device", "cpu")


def save(path, covered=True):
    path.parent.mkdir(parents=True, exist_ok=True)
    photo = draw_photo(SHAPE, FACE, covered=covered)
    Image.fromarray(photo).save(path)
    return photo


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return {row["input"]: row for row in csv.DictReader(file)}


def test_a_photo_in_and_the_restored_photo_out(run, folder):
    photo = save(folder / "photo.png")
    code, text = run("photo.png")
    assert code == 0
    files = {"inpainter": "inpainter.safetensors", "segmenter": "segmenter.safetensors"}
    for what, file in files.items():
        shipped = released.FOLDER / file
        which = "sharp, " if what == "inpainter" else ""
        assert f"{what}: {shipped} ({which}ships with the project)" in text
    assert "1 of 1 photos restored, 0 failed: photo-restored.png" in text
    restored = pixels("photo-restored.png")
    changed = (restored != photo).any(axis=2)
    assert not is_green(restored).any()
    assert is_green(photo).mean() <= changed.mean() < 2 * is_green(photo).mean()
    assert not (folder / "manifest.csv").exists()


def test_folders_patterns_and_videos_in_one_command(run, folder):
    save(folder / "in/a.png")
    save(folder / "in/sub/b.bmp")
    save(folder / "in/clean.png", covered=False)
    save(folder / "more/c.png")
    write_video(folder / "clip.avi", [draw_photo(SHAPE, FACE)] * 5, codec="mjpeg")
    code, text = run("in", "more/*.png", "clip.avi", "-o", "out")
    assert (code, "4 of 5 inputs restored, 0 failed, 1 without an occluder: out" in text) == (
        0,
        True,
    )
    out = folder / "out"
    made = sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file())
    assert made == ["c.png", "clip.mp4", "in/a.png", "in/sub/b.bmp", "manifest.csv"]
    kept = rows("out/manifest.csv")
    assert {name: row["status"] for name, row in kept.items()} == {
        "in/a.png": "restored",
        "in/sub/b.bmp": "restored",
        "in/clean.png": "no occluder found",
        "more/c.png": "restored",
        "clip.avi": "restored",
    }
    assert (kept["clip.avi"]["frames"], kept["clip.avi"]["frames_restored"]) == ("5", "5")
    for row in kept.values():
        assert (row["faces"], row["detection"]) == ("1", "mediapipe")
        stages = sum(float(row[f"seconds_{stage}"]) for stage in ("detect", "segment", "paste"))
        assert 0 < stages <= float(row["seconds"])
    assert 0.02 < float(kept["in/a.png"]["hole_ratio"]) < 0.2
    assert float(kept["in/clean.png"]["hole_ratio"]) == 0
    assert (kept["clip.avi"]["by"], kept["in/clean.png"]["by"]) == ("sharp", "")
    assert len(read_video("out/clip.mp4")[0]) == 5


def test_extra_pictures(run, folder):
    photo = save(folder / "photo.png")
    extras = ("mask", "overlay", "side-by-side", "uncertainty")
    assert run("photo.png", "-o", "out/", "--save", ",".join(extras))[0] == 0
    mask, overlay, sheet, doubt = (pixels(f"out/photo-{name}.png") for name in extras)
    restored = pixels("out/photo.png")
    hole = mask == 255
    assert set(np.unique(mask)) == {0, 255}
    np.testing.assert_array_equal((restored != photo).any(axis=2) & ~hole, False)
    np.testing.assert_array_equal(overlay[~hole], photo[~hole])
    assert (overlay[hole][:, 0] >= 127).all()
    np.testing.assert_array_equal(sheet[:, -SHAPE[1] :], restored)
    assert doubt.shape == photo.shape
    assert not doubt[~hole].any()


def test_dilation_and_blending(run, folder):
    save(folder / "photo.png")
    holes = {}
    for pixels_more in (0, 4, 12):
        out = f"{pixels_more}.png"
        assert run("photo.png", "-o", out, "--dilate", pixels_more, "--save", "mask")[0] == 0
        holes[pixels_more] = (pixels(f"{pixels_more}-mask.png") > 0).sum()
    assert holes[0] < holes[4] < holes[12]
    for name, words in {"usual": (), "3": ("--dilate", "3%"), "9": ("--dilate", "9%")}.items():
        assert run("photo.png", "-o", f"share-{name}.png", *words, "--save", "mask")[0] == 0
        holes[name] = (pixels(f"share-{name}-mask.png") > 0).sum()
    assert holes[0] < holes["usual"] == holes["3"] < holes["9"]
    results = {}
    for blend in ("feather", "poisson", "none"):
        assert run("photo.png", "-o", f"{blend}.png", "--blend", blend)[0] == 0
        results[blend] = pixels(f"{blend}.png").astype(int)
    assert (results["feather"] != results["none"]).any()
    assert (results["poisson"] != results["none"]).any()


def test_what_is_redrawn_has_the_photos_grain_or_none(run, folder):
    photo = save(folder / "photo.png").astype(int)
    noise = np.random.default_rng(0).normal(0, 4, photo.shape).round()
    photo = np.where(is_green(photo)[..., None], photo, photo + noise).clip(0, 255)
    Image.fromarray(photo.astype(np.uint8)).save("photo.png")
    assert run("photo.png", "-o", "grained.png", "--save", "mask")[0] == 0
    assert run("photo.png", "-o", "plain.png", "--no-grain")[0] == 0
    hole = pixels("grained-mask.png") > 0
    grained, plain = (pixels(name).astype(int) for name in ("grained.png", "plain.png"))
    np.testing.assert_array_equal(grained[~hole], plain[~hole])
    assert (grained - plain)[hole].std() == pytest.approx(4, rel=0.4)


@pytest.mark.parametrize(
    ("inpainter", "segmenter", "said"),
    [
        ("newest", "newest", "the run that finished last"),
        ("GREY", "green/002", "as named"),
        ("runs/grey", "runs/green/002", "as named"),
        (INPAINTER, SEGMENTER, "as named"),
    ],
)
def test_runs_are_named_instead_of_what_ships(run, folder, inpainter, segmenter, said):
    save(folder / "photo.png")
    for name in released.FILES.values():
        (released.FOLDER / name).unlink()
    code, text = run("photo.png", "--checkpoint", inpainter, "--segmenter", segmenter)
    assert code == 0
    assert f"inpainter: {INPAINTER} ({said})" in text
    assert f"segmenter: {SEGMENTER} ({said})" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--checkpoint", "grey/003"], r"grey/003: no finished run .* finished: green/002, grey/0"),
        (["--segmenter", "grey"], "holds a network for inpainting, one for segmentation is needed"),
        (["--segmenter", "mean.yaml"], "mean.yaml: is an ensemble's YAML"),
        (["--checkpoint", "none.safetensors"], "none.safetensors: no such weights file"),
    ],
)
def test_weights_that_are_not_there_or_do_something_else(run, folder, arguments, message):
    save(folder / "photo.png")
    (folder / "mean.yaml").write_text("members: [{weights: a}]")
    code, text = run("photo.png", *arguments)
    assert code == 1
    assert re.search(f"error: .*{message}", text), text


def test_newest_without_a_run_says_what_trains_one(run, folder):
    save(folder / "photo.png")
    (folder / "runs").rename(folder / "elsewhere")
    code, text = run("photo.png", "--checkpoint", "newest")
    assert (code, "newest: no finished inpainter below runs; finished: none" in text) == (1, True)
    assert "python -m engines.suite release" in text


def test_a_run_that_was_stopped_after_a_step_is_not_finished(run, folder, caplog):
    save(folder / "photo.png")
    shutil.copytree(folder / "runs/grey/001", folder / "runs/grey/002")
    facts = {"reason": "interrupted", "steps": 1, "planned_steps": 900, "best": {"step": 0}}
    (folder / "runs/grey/002/finished.json").write_text(json.dumps(facts))
    with caplog.at_level("WARNING"):
        code, text = run("photo.png", "--checkpoint", "newest")
    assert re.search(r"grey.002: passed over.*interrupted.*1 of 900 steps", caplog.text)
    assert (code, f"inpainter: {INPAINTER} (" in text) == (0, True)
    code, text = run("photo.png", "--checkpoint", "grey", "--overwrite")
    assert (code, f"inpainter: {INPAINTER} (" in text) == (0, True)
    code, text = run("photo.png", "--checkpoint", "grey/002")
    assert (code, "after 1 of 900 steps, inside its first epoch; name its folder" in text) == (
        1,
        True,
    )
    code, text = run("photo.png", "--checkpoint", "runs/grey/002", "--overwrite")
    assert (code, "runs/grey/002/best.safetensors (as named)" in text) == (0, True)


def test_with_a_mask_no_segmenter_is_needed(run, folder):
    save(folder / "photo.png")
    (released.FOLDER / released.FILES["segmentation"]).unlink()
    code, text = run("photo.png")
    assert (code, "weights that ship are missing" in text) == (1, True)
    assert "git checkout weights/segmenter.safetensors" in text
    Image.fromarray(is_green(pixels("photo.png"))).save("mask.png")
    code, text = run("photo.png", "--mask", "mask.png")
    assert (code, "segment" in text) == (0, False)


def test_named_weights_are_used_and_checked(run, folder):
    save(folder / "photo.png")
    write_release(folder / "dark.safetensors", "inpainting", "constant", Constant(0.1), size=32)
    words = ("--checkpoint", "dark.safetensors", "--blend", "feather", "-o", "dark.png")
    assert run("photo.png", *words)[0] == 0
    hole = is_green(pixels("photo.png"))
    assert abs(pixels("dark.png")[hole].mean() - 25) < 8
    code, text = run("photo.png", "--segmenter", INPAINTER, "-o", "wrong.png")
    assert (code, "holds a network for inpainting" in text) == (1, True)
    code, text = run("photo.png", "--segmenter", "none.safetensors", "-o", "wrong.png")
    assert (code, "none.safetensors: no such weights file" in text) == (1, True)
    assert not (folder / "wrong.png").exists()


def test_a_second_run_keeps_results_and_what_the_manifest_knows(run, folder):
    save(folder / "in/a.png")
    assert run("in", "-o", "out")[0] == 0
    first = rows("out/manifest.csv")["in/a.png"]
    save(folder / "in/b.png")
    code, text = run("in", "-o", "out")
    assert (code, "out/a.png: exists already; --overwrite" in text) == (1, True)
    kept = rows("out/manifest.csv")
    assert kept["in/a.png"] == first
    assert kept["in/b.png"]["status"] == "restored"
    assert run("in", "-o", "out", "--overwrite")[0] == 0
    assert rows("out/manifest.csv")["in/a.png"]["status"] == "restored"


def test_the_manifest_has_a_name_of_its_own_and_spares_other_files(run, folder):
    save(folder / "a.png")
    (folder / "table.csv").write_text("mine,too\n")
    code, text = run("a.png", "--manifest", "table.csv")
    assert (code, "table.csv: exists and is no manifest" in text) == (1, True)
    assert (folder / "table.csv").read_text() == "mine,too\n"
    assert not (folder / "a-restored.png").exists()
    assert run("a.png", "--manifest", "new/m.csv")[0] == 0
    assert list(rows("new/m.csv")) == ["a.png"]


def test_stopping_keeps_what_was_finished(run, folder, monkeypatch):
    save(folder / "in/a.png")
    save(folder / "in/b.png")
    asked = []

    def faces(image):
        asked.append(image)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return [FACE]

    monkeypatch.setattr(photos, "FaceDetector", lambda *a, **k: Detector(faces))
    code, text = run("in", "-o", "out")
    assert (code, "stopped" in text) == (130, True)
    assert list(rows("out/manifest.csv")) == ["in/a.png"]
    assert sorted(p.name for p in (folder / "out").iterdir()) == ["a.png", "manifest.csv"]


def test_webcam(run, folder, monkeypatch):
    calls = []

    def watched(restore, source, camera, display, labelled):
        calls.append((source, camera.number, labelled))
        if source == 9:
            raise KeyboardInterrupt

    class Camera:
        def __init__(self, number):
            self.number = number

        def release(self):
            pass

    monkeypatch.setattr(photos, "run_webcam", watched)
    monkeypatch.setattr(photos, "open_camera", Camera)
    monkeypatch.setattr(photos, "LiveWindow", lambda: SimpleNamespace(close=lambda: None))
    assert run("--webcam", "--backend", "torch")[0] == 0
    assert run("--webcam", "2", "--backend", "torch")[0] == 0
    assert run("--webcam", "clip.mp4", "--backend", "torch")[0] == 0
    assert run("--webcam", "/dev/video4", "--backend", "torch")[0] == 0
    clip = Path("clip.mp4")
    assert calls == [(0, 0, True), (2, 2, True), (clip, clip, True), (4, 4, True)]
    code, text = run("--webcam", "9", "--backend", "torch")
    assert (code, "the camera is closed" in text) == (130, True), text
    monkeypatch.setitem(sys.modules, "pyvirtualcam", SimpleNamespace())
    assert run("--webcam", "--virtual-camera", "--backend", "torch")[0] == 0
    assert calls[-1] == (0, 0, False)
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    code, text = run("--webcam", "--virtual-camera")
    assert (code, 'pip install -e ".[camera]"' in text) == (1, True), text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing to restore: name a photo"),
        (("a.png", "--save", "mask,glow"), "'glow' is none of mask, overlay"),
        (("a.png", "--blend", "magic"), "invalid choice: 'magic'"),
        (("a.png", "--dilate", "-1"), "'-1': must be a number of pixels, 0 or more"),
        (("a.png", "--batch", "0"), "--batch: must be at least 1, found 0"),
        (("a.png", "--dilate", "abc"), "'abc': must be a number"),
        (("a.png", "--dilate", "nan"), "'nan': must be a number"),
        (("a.png", "--dilate", "101%"), "'101%': must be a number of pixels, 0 or more, or 0%"),
        (("a.png", "--dilate=-1%"), "'-1%': must be"),
        (("a.png", "--dilate", "%"), "'%': must be"),
        (("a.png", "--mask", "m.png", "--dilate", "5%"), "--dilate 5%: a percentage is one of"),
        (("a.png", "--batch", "two"), "--batch: must be a whole number, found 'two'"),
        (("a.png", "--invert-mask"), "name it with --mask"),
        (("a.png", "--virtual-camera"), "name that with --webcam"),
        (("--webcam", "--mask", "m.png", "-o", "x"), "leave out --output, --mask"),
        (("--webcam", "--quality", "80"), "leave out --quality"),
        (("a.png", "--checkpoint", "m.onnx", "--backend", "torch"), "cannot run an ONNX file"),
        (("a", "-o", "b", "--shard", "1/2", "--manifest", "m.csv"), "leave out --manifest"),
    ],
)
def test_wrong_options_are_named(run, folder, arguments, message):
    code, text = run(*arguments)
    assert (code, message in text) == (2, True), text
