"""The weights that ship: found from any folder, checked, and every way in which they can be bad."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from photo_stubs import Detector, call, draw_photo, face_at
from PIL import Image
from release_stubs import ship, write_sums, write_weights
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from deocclude.data.files import sha256
from deocclude.engines.cli import evaluate, photos
from deocclude.engines.cli import restore as restore_command
from deocclude.engines.inference.networks import read_inpainter, read_segmenter
from deocclude.engines.runs import released
from deocclude.engines.runs.chosen import called, choose_weights
from deocclude.engines.runs.finished import read_trained
from deocclude.engines.runs.metadata import FAITHFUL, SHARP, CheckpointError
from deocclude.engines.runs.places import RUNS
from deocclude.engines.runs.released import (
    FILES,
    FOLDER,
    INPAINTERS,
    SUMS,
    ShippedWeightsError,
    read_sums,
    shipped_file,
)
from deocclude.engines.runs.weights import load_inpainter, save_release

FACE = face_at(30, 20, 110)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return ship(tmp_path_factory.mktemp("project") / "weights")


@pytest.fixture
def weights(whole, tmp_path, monkeypatch):
    """A copy of a whole weights/ folder, and an empty working folder."""
    folder = tmp_path / "project" / "weights"
    shutil.copytree(whole, folder)
    monkeypatch.setattr(released, "FOLDER", folder)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return folder


def test_both_are_found_from_any_folder(weights):
    for task, name in FILES.items():
        assert shipped_file(task) == weights / name
    assert read_inpainter(shipped_file("inpainting"), "cpu").size == 64
    assert read_segmenter(shipped_file("segmentation"), "cpu").size == 64


def test_the_checkout_lists_what_it_ships():
    """As `sha256sum -c SHA256SUMS` would say."""
    for name, digest in read_sums(FOLDER).items():
        assert sha256(FOLDER / name) == digest
    shipped = [path for path in FOLDER.iterdir() if path.suffix in (".safetensors", ".task")]
    assert {path.name for path in shipped} == read_sums(FOLDER).keys()
    assert sum(path.stat().st_size for path in shipped) <= 24_000_000


def ship_faithful(weights):
    file = write_weights(weights / INPAINTERS[FAITHFUL], "inpainting")
    write_sums(weights)
    return file


def test_the_second_inpainter_is_found_by_its_name_where_it_ships(weights):
    with pytest.raises(
        ShippedWeightsError, match=r"ships no faithful inpainter, only sharp; .*inpainter-faith"
    ):
        choose_weights(FAITHFUL, "inpainting", RUNS)
    assert choose_weights(SHARP, "inpainting", RUNS) == choose_weights(None, "inpainting", RUNS)
    file = ship_faithful(weights)
    assert choose_weights(FAITHFUL, "inpainting", RUNS) == (
        file, f"inpainter: {file} (faithful, ships with the project)"
    )  # fmt: skip
    with pytest.raises(CheckpointError, match="holds a network for inpainting, one for segm"):
        choose_weights(FAITHFUL, "segmentation", RUNS)
    with pytest.raises(FileNotFoundError, match="did you mean faithful"):
        choose_weights("faithfull", "inpainting", RUNS)
    change(file)
    with pytest.raises(ShippedWeightsError, match="git checkout weights/inpainter-faithful"):
        choose_weights(FAITHFUL, "inpainting", RUNS)
    file.unlink()  # but listed
    with pytest.raises(ShippedWeightsError, match="the weights that ship are missing"):
        choose_weights(FAITHFUL, "inpainting", RUNS)


def test_a_run_of_the_same_name_comes_second_and_that_is_said(weights, caplog):
    run = write_weights(Path("runs/faithful/001/best.safetensors"), "inpainting", None)
    (run.parent / "finished.json").write_text("{}")
    file = ship_faithful(weights)
    assert choose_weights(FAITHFUL, "inpainting", RUNS)[0] == file
    assert f"for the run of that name give {run.parent.resolve()}" in caplog.text
    assert choose_weights("faithful/001", "inpainting", RUNS)[0] == run
    assert choose_weights("Faithful", "inpainting", RUNS)[0] == run
    assert [called(path) for path in (file, run)] == ["faithful", "faithful/001"]


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def change(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def point(path):
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")


def remake(**options):
    """Other weights in the file's place, rightly listed."""

    def damage(path):
        write_weights(path, options.get("task", "inpainting"), options.get("version", 1))
        write_sums(path.parent)

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (Path.unlink, r"are missing; `git checkout weights/inpainter\.safetensors` restores it"),
        (cut, r"only a part of it \([\d,]+ bytes\): SHA-256 [0-9a-f]{64}, expected [0-9a-f]{64}"),
        (change, r"SHA-256 [0-9a-f]{64}, expected [0-9a-f]{64}; `git checkout weights/inpainter"),
        (point, r"is a git-lfs pointer.*`git lfs pull`"),
        (remake(version=3), r"weights version 3, newer than this project's 2; .*git pull"),
        (remake(version=0), r"weights version 0, older than this project's 2; .*git checkout"),
        (remake(version=None), r"does not say that it was made to ship"),
        (remake(task="segmentation"), r"was made for segmentation, not for inpainting"),
        (lambda path: path.with_name(SUMS).unlink(), r"list of SHA-256 is missing; `git checkout"),
        (lambda path: path.with_name(SUMS).write_text(""), r"not listed in SHA256SUMS"),
        (lambda path: path.with_name(SUMS).write_text("x"), r"'x' is not a SHA-256 and a file"),
    ],
)
def test_bad_weights_are_one_line_that_says_what_to_do(weights, capsys, damage, message):
    damage(weights / FILES["inpainting"])
    with pytest.raises(CheckpointError, match=message):
        shipped_file("inpainting")
    Image.fromarray(draw_photo((150, 170), FACE)).save("photo.png")
    code, text = call(restore_command.main, capsys, "photo.png", "--device", "cpu")
    assert (code, text.splitlines()[-1].startswith("error: ")) == (1, True)
    assert "Traceback" not in text
    assert not Path("photo-restored.png").exists()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "is truncated or is no safetensors file"),
        (point, "is a git-lfs pointer"),
        (remake(version=9), "weights version 9, newer"),
    ],
)
def test_a_named_file_that_is_bad_says_so_too(weights, damage, message):
    damage(weights / FILES["inpainting"])
    with pytest.raises(CheckpointError, match=message):
        load_inpainter(weights / FILES["inpainting"])


def test_weights_of_an_old_run_still_load(tmp_path):
    """Without the keys that came later: task, template, hidden_by, release."""
    path = write_weights(tmp_path / "Old" / "001" / "best.safetensors", "inpainting", None)
    network, metadata = load_inpainter(path)
    assert "release" not in metadata
    metadata["config"].pop("task")
    save_release(path, network, {"config": metadata["config"]})
    inpainter = read_inpainter(path, "cpu")
    assert (inpainter.template, inpainter.hides) == ("ffhq", True)
    assert read_trained(path).task == "inpainting"


def test_half_precision_is_loaded_as_float32(tmp_path):
    path = write_weights(tmp_path / "w.safetensors", "inpainting")
    whole, _ = load_inpainter(path)
    with safe_open(path, "pt") as file:
        texts = file.metadata()
    half = {key: t.half() if t.ndim > 1 else t for key, t in load_file(path).items()}
    save_file(half, path, texts)
    network, _ = load_inpainter(path)
    assert {tensor.dtype for tensor in network.parameters()} == {torch.float32}
    occluded, mask = torch.rand(1, 3, 64, 64), torch.zeros(1, 1, 64, 64)
    torch.testing.assert_close(network(occluded, mask), whole(occluded, mask), atol=2e-3, rtol=0)


def test_evaluate_has_rows_of_what_ships(weights, tmp_path, capsys):
    common = ["--device", "cpu", "--runs-folder", "runs"]
    fixed = [*common, "--lpips", "off", "--fid", "off", "--identity", "off", "--workers", "0"]
    words = ["--baselines", "occluded", "--limit", "4", *fixed, "--checkpoint"]
    assert evaluate.main([*words, "faithful"]) == 1
    assert "faithful: this version ships no faithful inpainter" in capsys.readouterr().err
    ship_faithful(weights)
    assert evaluate.main([*words, "faithful", "shipped"]) == 0
    out = capsys.readouterr().out
    assert out.index("| faithful") < out.index("| sharp")
    words = ["segmentation", "--checkpoint", "shipped", "--limit", "4", *common]
    assert evaluate.main(words) == 0
    assert "| shipped" in capsys.readouterr().out
    words = ["end-to-end", "--checkpoint", "shipped", "--limit", "4", "--dilate", "0", *common]
    assert evaluate.main(words) == 0
    assert "shipped" in capsys.readouterr().out
    (weights / FILES["segmentation"]).unlink()
    assert evaluate.main(words) == 1
    assert "the weights that ship are missing" in capsys.readouterr().err
    assert evaluate.main(["identity", "--checkpoint", "shipped", *common]) == 1
    assert "shipped: ships for inpainting and segmentation, not for" in capsys.readouterr().err


def test_what_ships_restores_from_another_folder(weights, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(photos, "FaceDetector", lambda *a, **k: Detector([FACE]))
    photo = draw_photo((150, 170), FACE)
    Image.fromarray(photo).save("photo.png")
    mask = np.zeros((150, 170), np.uint8)
    mask[60:90, 60:100] = 255
    Image.fromarray(mask).save("mask.png")
    code, text = call(
        restore_command.main, capsys, "photo.png", "--mask", "mask.png", "--device", "cpu"
    )
    assert (code, f"inpainter: {weights / FILES['inpainting']} (sharp, ships" in text) == (0, True)
    restored = np.asarray(Image.open("photo-restored.png"))
    np.testing.assert_array_equal(restored[mask == 0], photo[mask == 0])
    assert (restored[mask > 0] != photo[mask > 0]).any()
