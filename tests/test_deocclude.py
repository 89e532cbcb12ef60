"""`python deocclude.py --mask`: files and folders, modes and metadata, bad input, exit codes."""

import re

import numpy as np
import pytest
import torch
from photo_stubs import Constant, Detector, call, write_weights
from PIL import Image

from deocclude.engines.cli import photos
from deocclude.engines.cli import restore as restore_command
from deocclude.engines.inference.networks import Inpainter
from deocclude.engines.photos.deoccluder import Deoccluder

SIZE = 32


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Call main in an empty folder with a tiny model; return (exit code, what was printed)."""
    monkeypatch.chdir(tmp_path)
    loaded = []

    def load(checkpoint, device="auto", segmenter=None, **options):
        loaded.append(checkpoint)
        return Deoccluder(Inpainter(Constant(), SIZE))

    monkeypatch.setattr(photos, "load_deoccluder", load)
    monkeypatch.setattr(photos, "FaceDetector", lambda *a, **k: Detector())
    write_weights(tmp_path / "best.safetensors", "inpainting", "ifacenet", torch.nn.Linear(1, 1))

    def run_main(*arguments, checkpoint=("--checkpoint", "best.safetensors")):
        return call(restore_command.main, capsys, *arguments, *checkpoint)

    run_main.loaded = loaded
    return run_main


def noise(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def write_mask(path, shape, name="mask.png"):
    mask = np.zeros(shape, np.uint8)
    height, width = shape
    mask[height // 3 : max(height // 2, height // 3 + 1), width // 4 : width // 2] = 255
    path.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path / name)
    return mask > 0


def pixels(path):
    return np.asarray(Image.open(path))


@pytest.mark.parametrize("shape", [(32, 32), (100, 100), (61, 140), (200, 40), (19, 23)])
@pytest.mark.parametrize("suffix", [".png", ".webp", ".bmp", ".tif"])
def test_outside_the_mask_the_file_is_equal_bit_for_bit(run, tmp_path, shape, suffix):
    photo, hole = noise((*shape, 3)), write_mask(tmp_path, shape)
    Image.fromarray(photo).save("photo.png")
    code, text = run("photo.png", "--mask", "mask.png", "-o", f"restored{suffix}")
    assert (code, "1 of 1 photos restored" in text) == (0, True)
    restored = pixels(f"restored{suffix}")
    np.testing.assert_array_equal(restored[~hole], photo[~hole])
    assert abs(restored[hole].mean() - 128) < 20


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "I;16", "P"])
def test_mode_and_transparency_survive(run, tmp_path, mode):
    hole = write_mask(tmp_path, (50, 70))
    if mode == "I;16":
        image = Image.fromarray(np.random.default_rng(0).integers(0, 2**16, (50, 70), np.uint16))
    elif mode == "1":
        image = Image.fromarray(noise((50, 70)) > 127)
    else:
        data = noise((50, 70, {"L": 1, "LA": 2, "RGBA": 4}.get(mode, 3)))
        image = Image.fromarray(data[..., 0] if mode == "L" else data).convert(mode)
    image.save("photo.png")
    code, _ = run("photo.png", "--mask", "mask.png", "-o", "restored.png")
    assert code == 0
    restored = Image.open("restored.png")
    assert restored.mode == {"1": "L", "P": "RGB"}.get(mode, mode)
    before, after = np.asarray(image.convert(restored.mode)), np.asarray(restored)
    np.testing.assert_array_equal(after[~hole], before[~hole])
    if "A" in mode:
        np.testing.assert_array_equal(after[..., -1], before[..., -1])
        before, after = before[..., :-1], after[..., :-1]
    assert (after[hole] != before[hole]).mean() > 0.9
    middle = 128 * 257 if mode == "I;16" else 128
    assert abs(after[hole].mean() / middle - 1) < 0.15


def test_transparent_palette_photo(run, tmp_path):
    hole = write_mask(tmp_path, (50, 70))
    image = Image.new("P", (70, 50), 0)
    image.putpalette([255, 0, 0, 0, 90, 0])
    image.paste(1, (20, 20, 40, 40))
    image.save("photo.png", transparency=1)
    code, text = run("photo.png", "--mask", "mask.png", "-o", "restored.png")
    assert code == 0
    assert "of the hole is transparent" in text
    before, after = np.asarray(image.convert("RGB")), pixels("restored.png")
    np.testing.assert_array_equal(after[~hole][:, :3], before[~hole])
    assert (after[20:40, 20:40, 3] == 0).all()
    assert (after[..., 3] == 0).sum() == 400


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_colours_below_full_transparency_survive(run, tmp_path, suffix):
    photo, hole = noise((50, 70, 4)), write_mask(tmp_path, (50, 70))
    photo[..., 3] = np.where(photo[..., 3] > 127, 255, 0)
    Image.fromarray(photo).save("photo.png")
    assert run("photo.png", "--mask", "mask.png", "-o", f"out{suffix}")[0] == 0
    np.testing.assert_array_equal(pixels(f"out{suffix}")[~hole], photo[~hole])


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".jpg"])
def test_camera_exif_never_stops_a_photo(run, tmp_path, suffix):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 1, "camera"
    exif.get_ifd(0x8769)[0x9003] = "2020:01:01 00:00:00"
    exif.get_ifd(0x8825)[2] = (1.0, 2.0, 3.0)
    Image.fromarray(noise((40, 40, 3))).save("photo.jpg", exif=exif)
    write_mask(tmp_path, (40, 40))
    code, text = run("photo.jpg", "--mask", "mask.png", "-o", f"out{suffix}")
    assert code == 0, text
    kept = Image.open(f"out{suffix}").getexif()
    assert ("not kept in a .tif file: EXIF" in text) == (suffix == ".tif") == (0x010F not in kept)


def test_lossy_or_poorer_output_formats_are_said(run, tmp_path):
    write_mask(tmp_path, (50, 70))
    Image.fromarray(noise((50, 70, 4))).save("photo.png")
    code, text = run("photo.png", "--mask", "mask.png", "-o", "restored.jpg")
    assert code == 0
    assert "lossy" in text
    assert "no transparency" in text
    assert text.count(".png keeps") == 2
    assert Image.open("restored.jpg").mode == "RGB"


def test_exif_rotation_applied_once_and_other_metadata_kept(run, tmp_path):
    upright = noise((40, 60, 3))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "camera"
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(upright)))
    stored.save("photo.png", exif=exif, icc_profile=b"profile")
    hole = write_mask(tmp_path, (40, 60))
    assert run("photo.png", "--mask", "mask.png", "-o", "restored.png")[0] == 0
    restored = Image.open("restored.png")
    np.testing.assert_array_equal(np.asarray(restored)[~hole], upright[~hole])
    assert dict(restored.getexif()) == {0x010F: "camera"}
    assert restored.info["icc_profile"] == b"profile"


def test_cmyk_is_converted_and_its_profile_dropped(run, tmp_path):
    write_mask(tmp_path, (40, 40))
    Image.new("RGB", (40, 40), (200, 90, 30)).convert("CMYK").save("p.jpg", icc_profile=b"cmyk")
    code, text = run("p.jpg", "--mask", "mask.png", "-o", "restored.png")
    assert code == 0
    assert "CMYK" in text
    assert "icc_profile" not in Image.open("restored.png").info


def test_every_frame_of_an_animated_photo_is_restored(run, tmp_path):
    hole = write_mask(tmp_path, (40, 40))
    first, *rest = [Image.fromarray(noise((40, 40, 3), seed)) for seed in range(3)]
    first.save("photo.webp", save_all=True, append_images=rest, lossless=True)
    code, text = run("photo.webp", "--mask", "mask.png", "-o", "restored.webp")
    assert code == 0, text
    with Image.open("restored.webp") as restored:
        assert restored.n_frames == 3
        for index, frame in enumerate((first, *rest)):
            restored.seek(index)
            after, before = np.asarray(restored.convert("RGB")), np.asarray(frame)
            np.testing.assert_array_equal(after[~hole], before[~hole])
            assert (after[hole] != before[hole]).mean() > 0.9


def test_mask_of_another_size_is_resized_with_a_notice(run, tmp_path):
    photo = noise((80, 80, 3))
    Image.fromarray(photo).save("photo.png")
    hole = write_mask(tmp_path, (40, 40)).repeat(2, 0).repeat(2, 1)
    code, text = run("photo.png", "--mask", "mask.png", "-o", "restored.png")
    assert code == 0
    assert "40 x 40, the photo 80 x 80" in text
    np.testing.assert_array_equal(pixels("restored.png")[~hole], photo[~hole])


@pytest.mark.parametrize(
    ("value", "message"),
    [(0, "one value only, 0"), (1, "one value only, 1"), (255, "one value only, 255")],
)
def test_a_mask_without_hole_or_without_known_pixels_is_an_error(run, tmp_path, value, message):
    Image.fromarray(noise((40, 40, 3))).save("photo.png")
    Image.new("L", (40, 40), value).save("mask.png")
    code, text = run("photo.png", "--mask", "mask.png", "-o", "restored.png")
    assert code == 1
    assert re.search(rf"mask\.png: .*{message}", text)
    assert not (tmp_path / "restored.png").exists()


def test_inverted_polarity_warns_and_the_option_flips_it(run, tmp_path):
    photo, hole = noise((60, 60, 3)), write_mask(tmp_path, (60, 60))
    Image.fromarray(photo).save("photo.png")
    Image.fromarray(np.where(hole, 0, 255).astype(np.uint8)).save("inverted.png")
    code, text = run("photo.png", "--mask", "inverted.png", "-o", "wrong.png")
    assert code == 0
    assert "warning" in text
    assert f"{1 - hole.mean():.0%}" in text
    assert "--invert-mask" in text
    code, text = run("photo.png", "--mask", "inverted.png", "--invert-mask", "-o", "right.png")
    assert "warning" not in text
    np.testing.assert_array_equal(pixels("right.png")[~hole], photo[~hole])


def test_existing_results_and_inputs_are_never_overwritten(run, tmp_path):
    write_mask(tmp_path, (40, 40))
    Image.fromarray(noise((40, 40, 3))).save("photo.png")
    arguments = ("photo.png", "--mask", "mask.png", "-o", "out.png")
    (tmp_path / "out.png").write_text("mine")
    code, text = run(*arguments)
    assert (code, "--overwrite" in text) == (1, True)
    assert (tmp_path / "out.png").read_text() == "mine"
    assert run(*arguments, "--overwrite")[0] == 0
    assert pixels("out.png").shape == (40, 40, 3)
    for own in ("photo.png", "mask.png"):
        before = (tmp_path / own).read_bytes()
        code, text = run("photo.png", "--mask", "mask.png", "-o", own, "--overwrite")
        assert (code, "never overwritten" in text) == (1, True)
        assert (tmp_path / own).read_bytes() == before


def test_side_by_side_shows_photo_hole_and_result(run, tmp_path):
    hole = write_mask(tmp_path, (40, 60))
    photo = noise((40, 60, 3))
    Image.fromarray(photo).save("photo.png")
    arguments = ("photo.png", "--mask", "mask.png", "-o", "out.png", "--save", "side-by-side")
    assert run(*arguments)[0] == 0
    sheet = pixels("out-side-by-side.png")
    np.testing.assert_array_equal(sheet[:, :60], photo)
    np.testing.assert_array_equal(sheet[:, -60:], pixels("out.png"))
    assert (sheet[:, 62:122][~hole] == photo[~hole]).all()
    assert (sheet[:, 62:122][hole][:, 0] >= 127).all()


def test_default_output_is_beside_the_photo(run, tmp_path):
    write_mask(tmp_path, (40, 40))
    Image.fromarray(noise((40, 40, 3))).save("photo.bmp")
    assert run("photo.bmp", "--mask", "mask.png")[0] == 0
    assert (tmp_path / "photo-restored.png").exists()
    (tmp_path / "results").mkdir()
    assert run("photo.bmp", "--mask", "mask.png", "-o", "results")[0] == 0
    assert (tmp_path / "results" / "photo.png").exists()


@pytest.fixture
def folder(tmp_path):
    for name in ("a.jpg", "a.png", "b.png", "sub/c.bmp"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise((40, 50, 3))).save(path)
    for name in ("a.png", "b.png", "c.png"):
        target = tmp_path / "masks" / ("sub" if name == "c.png" else "")
        write_mask(target, (40, 50), name)
    return tmp_path


def produced(path):
    return sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())


def test_folder_is_paired_by_stem(run, folder):
    code, text = run("photos", "--mask", "masks", "-o", "out")
    assert (code, "4 of 4 photos restored, 0 failed: out" in text) == (0, True)
    assert produced(folder / "out") == [
        "a.jpg.png", "a.png.png", "b.png", "manifest.csv", "sub/c.bmp"
    ]  # fmt: skip


def test_one_mask_serves_a_folder_and_results_inside_it_are_no_photos(run, folder):
    arguments = ("photos", "--mask", "masks/a.png", "-o", "photos/done")
    for options in ([], ["--overwrite"]):
        code, text = run(*arguments, *options)
        assert (code, "4 of 4" in text) == (0, True)
    assert run("photos", "--mask", "masks/a.png", "-o", ".")[0] == 0  # above the photos


def test_a_failing_file_is_reported_and_the_rest_goes_on(run, folder):
    photos = folder / "photos"
    (photos / "a.png").write_bytes((photos / "a.png").read_bytes()[:100])
    (photos / "d.png").write_bytes((photos / "b.png").read_bytes())
    write_mask(folder / "masks", (40, 50), "e.png")
    write_mask(folder / "masks", (40, 50), "b.bmp")
    code, text = run("photos", "--mask", "masks", "-o", "out")
    assert (code, "2 of 5 photos restored, 3 failed" in text) == (1, True)
    assert "a.png: cannot be read" in text
    assert "d.png: no mask named d.*" in text
    assert "b.png: 2 masks named b.*" in text
    assert "1 masks in masks have no photo, e.g. e" in text
    assert produced(folder / "out") == ["a.jpg.png", "manifest.csv", "sub/c.bmp"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.png", "--mask", "masks/a.png"), "none.png: no such file"),
        (("photos/a.png", "--mask", "none.png"), "none.png: no such file"),
        (("photos/a.png", "--mask", "photos"), "photos: holds no masks"),
        (("photos/a.png", "--mask", "masks/a.png", "-o", "x.gif"), ".png, .bmp"),
        (("photos", "--mask", "masks", "-o", "masks/a.png"), "is a file"),
        (("masks/empty", "--mask", "masks/a.png"), "masks/empty: no images"),
        (("photos", "--mask", "masks", "-o", "all.png"), "all.png: names a file; several results"),
    ],
)
def test_bad_command_lines_end_with_one_message(run, folder, arguments, message):
    (folder / "masks" / "empty").mkdir()
    code, text = run(*arguments)
    assert (code, message in text, "error: " in text) == (1, True, True), text
    assert "Traceback" not in text


def test_newest_is_a_finished_run(run, folder):
    arguments = ("photos/b.png", "--mask", "masks/b.png", "-o", "out.png")
    newest = ("--checkpoint", "newest")
    weights = folder / "runs" / "reconstruction" / "001" / "best.safetensors"
    weights.parent.mkdir(parents=True)
    (folder / "best.safetensors").rename(weights)
    assert run(*arguments, checkpoint=newest)[0] == 1  # not finished
    assert run.loaded == []
    (weights.parent / "finished.json").write_text("{}")
    code, text = run(*arguments, checkpoint=newest)
    assert (code, "runs/reconstruction/001/best.safetensors" in text) == (0, True)
    assert run.loaded[0].resolve() == weights


@pytest.mark.parametrize("method", ["telea", "navier_stokes", "biharmonic"])
def test_a_method_needs_a_mask_and_no_weights(run, folder, method):
    arguments = ("photos/b.png", "--method", method, "-o", "out.png")
    code, text = run(*arguments, checkpoint=())
    assert (code, "a mask is needed" in text, "--mask" in text) == (2, True, True)
    code, text = run(*arguments, "--mask", "masks/b.png", checkpoint=())
    assert (code, f"method: {method}, no network" in text, run.loaded) == (0, True, [])
    before, after = pixels("photos/b.png"), pixels("out.png")
    hole = pixels("masks/b.png") > 0
    np.testing.assert_array_equal(after[~hole], before[~hole])
    assert (after[hole] != before[hole]).any()


@pytest.mark.parametrize(
    "more", [("--checkpoint", "x"), ("--flip",), ("--save", "uncertainty"), ("--segmenter", "x")]
)
def test_a_method_takes_nothing_that_networks_are_for(run, folder, more):
    words = ("photos/b.png", "--mask", "masks/b.png", "--method", "telea")
    code, text = run(*words, *more, checkpoint=())
    assert (code, more[-1 if "uncertainty" in more else 0] in text) == (2, True)


def test_a_method_is_for_photos(run, folder):
    (folder / "clip.mp4").touch()
    code, text = run("clip.mp4", "--mask", "masks/b.png", "--method", "telea", checkpoint=())
    assert (code, "restores photos, not videos" in text) == (1, True)


def test_unreadable_checkpoint_ends_with_one_message(run, folder, monkeypatch):
    def load(checkpoint, device="auto", segmenter=None, **options):
        raise ValueError(f"{checkpoint}: truncated")

    monkeypatch.setattr(photos, "load_deoccluder", load)
    code, text = run("photos", "--mask", "masks")
    assert (code, text.splitlines()[-1]) == (1, "error: best.safetensors: truncated")


def test_a_place_that_cannot_be_written_to_is_one_line(run, folder):
    (folder / "file").touch()
    code, text = run("photos/b.png", "--mask", "masks/b.png", "-o", "file/out.png")
    assert (code, text) == (1, "error: file: cannot be written (Not a directory)")
