"""A run trained on faces under occluders, from its training to its tables and to a photo."""

import json

import numpy as np
import pytest
from photo_stubs import Detector
from PIL import Image

from deocclude.data.builtin.faces import render_face
from deocclude.engines.cli import evaluate, photos
from deocclude.engines.cli import restore as restore_command
from deocclude.engines.inference.networks import read_inpainter
from deocclude.engines.runs.config import load_config
from deocclude.engines.training.run import train
from deocclude.models.ifacenet import IFACENET

SEGMENTER = [
    "data.size=32",
    "data.builtin_images=24",
    "data.workers=0",
    "data.validation_per_kind=1",
    "data.test_per_kind=1",
    "training.epochs=1",
    "training.epoch_images=8",
    "training.batch_size=4",
    "training.mixed_precision=no",
    "training.max_minutes=null",
]
COVERED = ("data.hidden_by=occluders", "data.validation_pairs=8", "name=Blind")


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tiny_config):
    """Finished runs `Blind`, shown occluders, `ablationv1`, shown holes, and a segmenter."""
    output = tmp_path_factory.mktemp("covered") / "runs"
    segmenter = load_config("unetlight", "quick", SEGMENTER, "segmentation")
    short = ("training.epochs=1", "training.epoch_images=4")
    for config in (tiny_config("ablationv1", *COVERED), tiny_config("ablationv1", *short)):
        train(config, None, output, device="cpu")
    train(segmenter, None, output, device="cpu")
    return output


@pytest.fixture
def run_evaluate(runs, capsys, monkeypatch):
    monkeypatch.delenv("DEOCCLUDE_DATA", raising=False)

    def run(*arguments):
        code = evaluate.main([*arguments, "--runs-folder", str(runs), "--device", "cpu"])
        return code, capsys.readouterr().out

    return run


def test_it_continues_on_the_same_pairs_and_says_what_it_is_shown(runs, tiny_config):
    folder = runs / "Blind" / "001"
    (start,) = json.loads((folder / "environment.json").read_text())
    assert start["data"]["occluders"] == "drawn"
    assert start["data"]["masks"]["source"] == "generated"
    assert (folder / "figures" / "epoch_002.png").is_file()
    outcome = train(tiny_config("ablationv1", *COVERED), None, runs, resume="001", device="cpu")
    assert outcome.steps == 6
    blind, other = (read_inpainter(runs / name / "001" / "best.safetensors", "cpu")
                    for name in ("Blind", "ablationv1"))  # fmt: skip
    assert (blind.hides, other.hides) == (False, True)


def test_the_table_with_holes_is_the_one_of_all(run_evaluate):
    code, text = run_evaluate("--lpips", "off", "--baselines", "occluded", "--workers", "0")
    assert code == 0
    assert text.count("SHA-256 of the pairs") == 1
    assert "| Blind" in text
    assert "| ablationv1" in text
    assert "Blind was trained on faces under occluders (blind), not on holes" in text


def test_end_to_end_it_has_a_blind_column_of_its_own(run_evaluate, runs):
    code, text = run_evaluate("end-to-end", "--dilate", "0")
    assert code == 0
    assert "Blind was trained on faces under occluders (blind), not on holes; with every" in text
    assert "ablationv1 was trained" not in text
    values = {}
    for info in runs.glob("evaluation/*/rows/*.json"):
        facts = json.loads(info.read_text())
        if facts.get("inpainter") in ("Blind", "ablationv1"):
            table = np.genfromtxt(info.with_suffix(".csv"), delimiter=",", names=True)
            values[facts["inpainter"], facts["mask"]] = table
    hole = "holel1"
    blind, true = values["Blind", "blind"], values["Blind", "true mask"]
    np.testing.assert_allclose(blind[hole], true[hole], rtol=1e-4)  # one prediction, its mask part
    other = values["ablationv1", "blind"][hole], values["ablationv1", "true mask"][hole]
    assert not np.allclose(*other, rtol=1e-4, equal_nan=True)


def test_a_photo_is_shown_as_it_is(runs, tmp_path, monkeypatch):
    photo, mask = render_face(3, 96), np.zeros((96, 96), np.uint8)
    photo[40:60, 30:60] = (10, 200, 30)
    mask[40:60, 30:60] = 255
    Image.fromarray(photo).save(tmp_path / "photo.png")
    Image.fromarray(mask).save(tmp_path / "mask.png")
    seen, plain = [], IFACENET.forward

    def watch(network, occluded, *arguments):
        seen.append(occluded.clone())
        return plain(network, occluded, *arguments)

    monkeypatch.setattr(IFACENET, "forward", watch)
    monkeypatch.setattr(photos, "FaceDetector", lambda *_, **__: Detector([]))
    monkeypatch.chdir(tmp_path)
    weights = str(runs / "Blind" / "001" / "best.safetensors")
    words = ["photo.png", "--mask", "mask.png", "-o", "out.png", "--checkpoint", weights]
    restore_command.main([*words, "--device", "cpu"])
    assert seen
    for picture in seen:
        red, green, _ = picture.unbind(1)
        assert ((green - red) > 0.5).any()
    with Image.open(tmp_path / "out.png") as image:
        restored = np.asarray(image)
    np.testing.assert_array_equal(restored[mask == 0], photo[mask == 0])
    assert not np.array_equal(restored, photo)
