"""Photos as they come: no face, many, tiny, huge, turned, grey, broken. None may end in a wrong
result, a half-written one or a traceback."""

import csv
import struct
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from photo_stubs import (
    GREEN,
    Constant,
    Detector,
    call,
    draw_photo,
    face_at,
    is_green,
    stub_deoccluder,
    write_video,
)
from PIL import Image

from deocclude.engines.cli import photos
from deocclude.engines.cli import restore as restore_command

FACE = face_at(20, 10, 120)
SHAPE = (150, 170)


@pytest.fixture
def restore(tmp_path, monkeypatch, capsys):
    """Run the command in an empty folder with stubs; (exit code, what was printed)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(restore_command, "choose_weights", lambda _, task, runs: (Path(task), task))

    def run(*arguments, faces=(FACE,), **options):
        monkeypatch.setattr(photos, "load_deoccluder", lambda *a, **k: stub_deoccluder(**options))
        monkeypatch.setattr(photos, "FaceDetector", lambda *a, kinds, **k: Detector(faces, kinds))
        code, text = call(restore_command.main, capsys, *arguments)
        assert "Traceback" not in text
        return code, text

    return run


def pixels(name):
    with Image.open(name) as image:
        return np.asarray(image)


def save(name, picture, **options):
    Image.fromarray(picture).save(name, **options)


def green_left(restored, photo):
    """The share of the occluder that is still to be seen."""
    return (is_green(restored) & is_green(photo)).sum() / is_green(photo).sum()


def manifest(path="out/manifest.csv"):
    with open(path, newline="", encoding="utf-8") as file:
        return {row["input"]: row for row in csv.DictReader(file)}


def test_without_a_face_nothing_is_painted_and_that_is_said(restore, tmp_path):
    """A blank picture, a drawing and a cup: in each of them the segmenter would mark something."""
    blank, drawing, cup = (np.full((150, 150, 3), 200, np.uint8) for _ in range(3))
    cv2.circle(drawing, (75, 75), 50, (20, 20, 20), 2)
    cv2.ellipse(cup, (75, 80), (60, 40), 0, 0, 360, (240, 240, 235), -1)
    pictures = {"blank.png": blank, "drawing.png": drawing, "cup.png": cup}
    for name, picture in pictures.items():
        picture[60:80, 60:100] = GREEN
        save(name, picture)
    code, text = restore(*pictures, "-o", "out", "--save", "mask", faces=())
    assert code == 1
    assert "0 of 3 photos restored, 0 failed, 3 without a face" in text
    for name in pictures:
        assert text.count(f"{name}: no face found: nothing was redrawn") == 1
        row = manifest()[name]
        assert (row["faces"], row["status"], row["output"]) == ("0", "no face found", "")
        assert "nothing was redrawn" in row["warnings"]
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["manifest.csv"]
    save("mask.png", is_green(blank))
    code, text = restore("blank.png", "--mask", "mask.png", "-o", "masked.png", faces=())
    assert (code, "no face found: the mask is redrawn" in text) == (0, True)
    np.testing.assert_array_equal((pixels("masked.png") != blank).any(-1), is_green(blank))


def test_a_faceless_photo_among_others_is_no_failure(restore):
    save("cup.png", np.full((150, 150, 3), 200, np.uint8))
    save("clean.png", draw_photo(SHAPE, FACE, covered=False))

    def faces(image):
        return [FACE] if image.shape[:2] == SHAPE else []

    code, text = restore("cup.png", "clean.png", "-o", "out", faces=faces)
    assert (code, "1 without an occluder, 1 without a face" in text) == (0, True)


def test_a_photo_without_a_face_is_taken_as_a_whole_where_that_is_asked_for(restore):
    photo = draw_photo((150, 150))
    photo[60:80, 60:100] = GREEN
    save("whole.png", photo)
    code, text = restore("whole.png", "-o", "out/", "--whole", faces=())
    assert (code, "no face found: the whole picture" in text) == (0, True)
    assert not is_green(pixels("out/whole.png")).any()
    row = manifest()["whole.png"]
    assert (row["faces"], row["detection"], row["status"]) == ("0", "whole", "restored")


def test_a_photo_with_nothing_on_its_face_is_reported_and_not_written(restore, tmp_path):
    save("clean.png", draw_photo(SHAPE, FACE, covered=False))
    for faces in ((FACE,), ()):
        arguments = ("clean.png", "-o", "out/", "--save", "mask,overlay", "--whole")
        code, text = restore(*arguments, faces=faces)
        assert code == 0  # nothing to do is no failure
        assert "nothing covers this face" in text
        assert "clean.png: no occluder found: nothing was written" in text
        assert "0 of 1 photos restored, 0 failed, 1 without an occluder" in text
        assert [p.name for p in (tmp_path / "out").iterdir()] == ["manifest.csv"]
        row = manifest()["clean.png"]
        assert (row["status"], row["output"]) == ("no occluder found", "")
    save("covered.png", draw_photo(SHAPE, FACE))
    assert restore("clean.png", "covered.png", "-o", "out")[0] == 0  # one was


@pytest.mark.parametrize("batch", [1, 5])
def test_many_faces_are_all_restored(restore, batch):
    faces = [face_at(5 + 70 * (n % 4), 5 + 70 * (n // 4), 64) for n in range(12)]
    photo = draw_photo((220, 290), *faces)
    save("crowd.png", photo)
    code, _ = restore("crowd.png", "-o", "out/", faces=faces, batch=batch)
    assert code == 0
    assert not is_green(pixels("out/crowd.png")).any()
    assert manifest()["crowd.png"]["faces"] == "12"


@pytest.mark.parametrize("side", [30, 4000])
def test_tiny_and_huge_faces(restore, side):
    face = face_at(10, 10, side)
    photo = draw_photo((side + 20, side + 30), face)
    save("photo.bmp", photo)
    code, _ = restore("photo.bmp", "-o", "restored.bmp", faces=[face])
    assert code == 0
    restored = pixels("restored.bmp")
    changed = (restored != photo).any(axis=2)
    assert green_left(restored, photo) < 0.08
    assert 0.02 < changed.mean() < 0.25
    assert not changed[: side // 2].any()


def test_a_turned_photo_is_restored_upright(restore):
    upright = draw_photo(SHAPE, FACE)
    exif = Image.Exif()
    exif[0x0112] = 6
    save("turned.png", np.ascontiguousarray(np.rot90(upright)), exif=exif)
    assert restore("turned.png", "-o", "out.png")[0] == 0
    restored = pixels("out.png")
    assert not is_green(restored).any()
    np.testing.assert_array_equal(restored[:60], upright[:60])
    assert 0x0112 not in Image.open("out.png").getexif()


@pytest.mark.parametrize("mode", ["L", "LA", "I;16", "RGBA", "P", "CMYK"])
def test_grey_transparent_palette_and_cmyk(restore, mode):
    """A grey photo has no green: there the mask is given."""
    photo = Image.fromarray(draw_photo(SHAPE, FACE))
    grey = mode in ("L", "LA", "I;16")
    if mode == "I;16":
        photo = Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 257)
    elif mode == "RGBA":
        photo.putalpha(
            Image.fromarray(np.tile(np.linspace(235, 255, 170).astype(np.uint8), (150, 1)))
        )
    else:
        photo = photo.convert(mode)
    name = "photo.tif" if mode == "CMYK" else "photo.png"
    photo.save(name)
    save("mask.png", is_green(draw_photo(SHAPE, FACE)).astype(np.uint8) * 255)
    code, text = restore(name, "-o", "out.png", *(["--mask", "mask.png"] if grey else []))
    assert code == 0, text
    restored = Image.open("out.png")
    assert restored.mode == {"P": "RGB", "CMYK": "RGB"}.get(mode, mode)
    assert ("CMYK" in text) == (mode == "CMYK")
    before, after = np.asarray(photo.convert(restored.mode)), np.asarray(restored)
    np.testing.assert_array_equal(before[:60], after[:60])
    assert (before != after).any()
    if "A" in mode:
        np.testing.assert_array_equal(before[..., -1], after[..., -1])
    if not grey:
        assert green_left(after, before) < 0.08


@pytest.mark.parametrize("channels", [1, 3])
def test_a_photo_without_colour_gets_none(restore, monkeypatch, channels):
    """Grey in one or three channels: the inpainter answers in colour all the same."""
    grey = np.asarray(Image.fromarray(draw_photo(SHAPE, FACE)).convert("L"))
    photo = np.repeat(grey[..., None], 3, axis=2)
    save("grey.png", photo if channels == 3 else grey)
    save("mask.png", is_green(draw_photo(SHAPE, FACE)).astype(np.uint8) * 255)
    colour = torch.tensor([0.9, 0.5, 0.1])[:, None, None]
    monkeypatch.setattr(Constant, "forward", lambda self, x, mask: colour + 0 * x)
    options = ("-o", "out.png", "--save", "side-by-side")
    code, text = restore("grey.png", "--mask", "mask.png", *options)
    assert (code, "no colour" in text) == (0, channels == 3)
    shown, restored = pixels("out-side-by-side.png")[:, -SHAPE[1] :], pixels("out.png")
    assert restored.ndim == (3 if channels == 3 else 2)
    restored = restored if channels == 3 else np.repeat(restored[..., None], 3, axis=2)
    np.testing.assert_array_equal(shown, restored)
    assert (restored == restored[..., :1]).all()
    hole = pixels("mask.png") > 0
    assert (restored[hole] != photo[hole]).any()
    np.testing.assert_array_equal(restored[~hole], photo[~hole])


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_an_animated_picture_stays_one(restore, suffix):
    frames = [Image.fromarray(draw_photo(SHAPE, FACE)), Image.new("RGB", SHAPE[::-1])]
    options = {".webp": {"lossless": True}}.get(suffix, {})
    frames[0].save(f"a{suffix}", save_all=True, append_images=frames[1:], **options)
    code, text = restore(f"a{suffix}", "-o", "out/")
    assert (code, "only the first" in text) == (0, False), text
    with Image.open(f"out/a{suffix}") as image:
        assert (image.n_frames, image.size) == (2, SHAPE[::-1])


def test_broken_files_are_named_and_the_rest_goes_on(restore, tmp_path):
    (tmp_path / "in").mkdir()
    save("in/good.png", draw_photo(SHAPE, FACE))
    save("in/cut.jpg", draw_photo(SHAPE, FACE))
    for name in ("in/cut.jpg", "in/cut.png"):
        source = tmp_path / (name if name.endswith("jpg") else "in/good.png")
        whole = source.read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    (tmp_path / "in/empty.png").touch()
    (tmp_path / "in/text.jpg").write_text("not a picture")
    (tmp_path / "in/video.mp4").write_text("not a video")
    code, text = restore("in", "-o", "out")
    assert (code, "1 of 6 inputs restored, 5 failed: out" in text) == (1, True)
    rows = manifest()
    assert rows.pop("in/good.png")["status"] == "restored"
    for name, row in rows.items():
        assert (row["status"], row["output"]) == ("failed", "")
        assert f"error: {name}: cannot be read as" in text
        assert "cannot be read as" in row["warnings"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["good.png", "manifest.csv"]


def test_a_tiff_that_is_cut_after_its_first_page_is_restored_and_that_is_said(restore, tmp_path):
    pages = [Image.fromarray(draw_photo(SHAPE, FACE)).rotate(n) for n in range(4)]
    pages[0].save("pages.tif", save_all=True, append_images=pages[1:])
    whole = (tmp_path / "pages.tif").read_bytes()
    for share in (0.3, 0.5, 0.7):
        (tmp_path / "cut.tif").write_bytes(whole[: int(share * len(whole))])
        code, text = restore("cut.tif", "-o", "out.png", "--overwrite")
        assert (code, "damaged after its first frame" in text) == (0, True), text
        assert not is_green(pixels("out.png")).any()


def test_an_error_of_a_library_costs_one_photo(restore, monkeypatch):
    for name in ("a.png", "b.png"):
        save(name, draw_photo(SHAPE, FACE))

    def forward(self, x, mask, asked=[]):  # noqa: B006 (counts its calls)
        asked.append(1)
        if len(asked) == 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return 0 * x

    monkeypatch.setattr(Constant, "forward", forward)
    code, text = restore("a.png", "b.png", "-o", "out")
    assert (code, "1 of 2 photos restored, 1 failed" in text) == (1, True)
    assert "error: a.png: RuntimeError: DefaultCPUAllocator" in text


def test_nothing_stays_of_a_result_that_cannot_be_written(restore, tmp_path):
    photo = np.tile(draw_photo(SHAPE, FACE), (1, 100, 1))  # 17000 pixels wide
    save("wide.png", photo)
    for _ in range(2):  # the second time nothing "exists already"
        code, text = restore("wide.png", "-o", "out.webp", "--save", "mask,overlay")
        assert (code, "out.webp: cannot be written" in text) == (1, True), text
        assert [p.name for p in tmp_path.iterdir()] == ["wide.png"]


def test_a_face_that_cannot_be_placed_is_a_failure(restore):
    save("photo.png", draw_photo(SHAPE, FACE))
    far = face_at(20, 10, 120)
    far = far._replace(points={k: (x + 5000, y) for k, (x, y) in far.points.items()})
    code, text = restore("photo.png", "-o", "out/", faces=[far])
    assert (code, "a face was left out" in text) == (1, True)
    assert manifest()["photo.png"]["status"] == "nothing restored"


def test_a_decompression_bomb_is_refused_unopened(restore, tmp_path):
    """A file of a few hundred bytes that claims 40 000 x 40 000 pixels."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    code, text = restore("bomb.png", "-o", "out.png", "--max-pixels", "500e6")
    assert (code, "bomb.png: 40000 x 40000 are 1600 million pixels, more" in text) == (1, True)
    assert not (tmp_path / "out.png").exists()


def test_a_limit_of_pillows_is_none_of_ours(restore, monkeypatch):
    save("large.png", draw_photo(SHAPE, FACE))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert restore("large.png", "-o", "out/")[0] == 0
    assert manifest()["large.png"]["warnings"] == ""


def test_a_video_that_ends_early_gives_exit_code_1(restore, tmp_path):
    noise = np.random.default_rng(0).integers(0, 80, (*SHAPE, 1), np.uint8)
    write_video(
        tmp_path / "v.avi", [np.maximum(draw_photo(SHAPE, FACE), noise)] * 20, codec="mjpeg"
    )
    whole = (tmp_path / "v.avi").read_bytes()
    (tmp_path / "v.avi").write_bytes(whole[: len(whole) // 2])
    code, text = restore("v.avi", "-o", "out/")
    assert (code, "1 incomplete" in text) == (1, True)
    row = manifest()["v.avi"]
    assert (row["status"], row["output"]) == ("incomplete", "out/v.mp4")
    assert 0 < int(row["frames_restored"]) < 20


@pytest.mark.parametrize("given", [True, False])
def test_a_mask_that_covers_everything_is_an_error(restore, tmp_path, given):
    save("photo.png", np.full((*SHAPE, 3), GREEN, np.uint8))
    save("mask.png", np.full(SHAPE, 255, np.uint8))
    arguments = ["--mask", "mask.png"] if given else []
    code, text = restore("photo.png", "-o", "out/", *arguments)
    assert code == 1
    assert ("one value only, 255" if given else "nothing is left to restore it from") in text
    assert given or manifest()["photo.png"]["status"] == "nothing restored"
    assert not (tmp_path / "out/photo.png").exists()


@pytest.mark.parametrize(("segmenter", "inpainter"), [(32, 96), (128, 48)])
def test_segmenter_and_inpainter_of_different_sizes(restore, segmenter, inpainter):
    photo = draw_photo(SHAPE, FACE)
    save("photo.png", photo)
    options = {"size": inpainter, "segmenter_size": segmenter}
    assert restore("photo.png", "-o", "out.png", **options)[0] == 0
    restored = pixels("out.png")
    assert green_left(restored, photo) < 0.08
    np.testing.assert_array_equal(restored[:60], photo[:60])


def test_a_prediction_that_is_not_finite_is_a_failure(restore, tmp_path):
    save("photo.png", draw_photo(SHAPE, FACE))
    code, text = restore("photo.png", "-o", "out.png", level=float("nan"))
    assert (code, "not finite" in text) == (1, True)
    assert not (tmp_path / "out.png").exists()
