"""A foreign inpainter, `--checkpoint model.onnx`: rows of tables, and restored photos."""

import json

import numpy as np
import pandas as pd
import pytest
from onnx_stubs import COLOUR, LAMA, MAKERS, lama, pipeline
from PIL import Image

from deocclude import restore
from deocclude.data.builtin.faces import render_face
from deocclude.engines.cli import evaluate
from deocclude.engines.cli import restore as restoring

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

PHOTO = (200, 150, 100)  # not grey: what is drawn into a grey photo becomes grey
every = pytest.mark.parametrize("name", MAKERS)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data folder of drawn faces, of which the last are held out."""
    folder = tmp_path_factory.mktemp("data")
    for part, count in (("train", 2), ("val", 2), ("test", 6)):
        (folder / "faces" / part).mkdir(parents=True)
        for index in range(count):
            face = Image.fromarray(render_face(index, 64))
            face.save(folder / "faces" / part / f"{part}{index}.png")
    return folder


def table(path, data, output, *more: str) -> list[dict]:
    """What evaluate.py knows of each row, in the table's order."""
    words = ["--checkpoint", str(path), "--data", str(data), "--size", "64", "--per-bin", "1"]
    words += ["--runs", "none", "--baselines", "occluded,mean_colour", "--output", str(output)]
    words += ["--lpips", "off", "--fid", "off", "--identity", "off", "--device", "cpu", *more]
    assert evaluate.main(words) == 0
    infos = [json.loads(file.read_text()) for file in (output / "rows").glob("*.json")]
    return [info for info in infos if info.get("by_image")]


@every
def test_it_is_a_row_with_its_costs_and_no_training(name, data, tmp_path, capsys):
    infos = {row["name"]: row for row in table(MAKERS[name](tmp_path / "x.onnx"), data, tmp_path)}
    row = infos["x"]
    assert row["kind"] == "model"
    assert row["training"] is None
    assert row["cost"]["parameters"] == {"lama": 5, "pipeline": 4, "generator": 4}[name]
    assert row["cost"]["macs"] is None
    assert row["cost"]["median_ms"] > 0
    said = capsys.readouterr().out
    assert "| x" in said
    values = (tmp_path / "rows").glob("x-*.csv")
    assert len(list(values)) == 1


def test_the_known_part_and_the_colour_score_as_they_must(data, tmp_path):
    """Both keep the picture and draw one colour, each in its own numbers and polarity."""
    for name in ("lama", "pipeline"):
        path = lama(tmp_path / "lama.onnx", 64) if name == "lama" else pipeline(tmp_path / "p.onnx")
        table(path, data, tmp_path)
    one, other, nothing = (
        pd.read_csv(next((tmp_path / "rows").glob(f"{slug}-*.csv")))
        for slug in ("lama", "p", "occluded-input")
    )
    np.testing.assert_allclose(one["raw/l1"], one["composed/l1"], atol=1e-6)
    np.testing.assert_allclose(one["composed/l1"], other["composed/l1"], atol=1 / 255)
    assert (one["composed/l1"] < nothing["composed/l1"]).all()  # white, further off than a colour


def test_another_yaml_is_another_row(data, tmp_path):
    path = lama(tmp_path / "x.onnx", 64)
    assert len(table(path, data, tmp_path)) == 3
    assert len(table(path, data, tmp_path)) == 3
    path.with_suffix(".yaml").write_text(LAMA.replace("hole: 1", "hole: 0.5"))
    assert len(table(path, data, tmp_path)) == 4


@every
def test_a_photo_is_restored_by_it(name, tmp_path):
    photo = np.full((300, 260, 3), PHOTO, np.uint8)
    mask = np.zeros((300, 260), np.uint8)
    mask[120:200, 60:180] = 255
    path = MAKERS[name](tmp_path / "x.onnx")
    restored = restore(photo, mask, checkpoint=path, device="cpu", blend="none", grain=False)
    image = np.asarray(restored.image)
    drawn = image[140:180, 80:160].reshape(-1, 3)
    assert np.abs(drawn - 255 * np.array(COLOUR)).max() <= 2
    assert (image[mask == 0] == PHOTO).all()


def test_the_command_takes_it_and_names_a_wrong_yaml(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = lama(tmp_path / "x.onnx")
    Image.fromarray(np.full((80, 80, 3), PHOTO, np.uint8)).save("photo.png")
    hole = np.zeros((80, 80), np.uint8)
    hole[20:40, 20:40] = 255
    Image.fromarray(hole).save("hole.png")
    words = ["photo.png", "--mask", "hole.png", "--checkpoint", str(path), "-o", "out.png"]
    restoring.main([*words, "--device", "cpu", "--blend", "none"])
    assert "inpainter: " in capsys.readouterr().out
    drawn = np.asarray(Image.open("out.png"))[25:35, 25:35].reshape(-1, 3)
    assert np.abs(drawn - 255 * np.array(COLOUR)).max() <= 2
    path.with_suffix(".yaml").write_text(LAMA + "polarity: black\n")
    with pytest.raises(SystemExit, match="unknown key 'polarity'; valid are"):
        restoring.main([*words, "--overwrite"])


def test_without_a_yaml_it_is_said_what_is_needed(tmp_path, data, capsys):
    path = lama(tmp_path / "x.onnx", 64)
    path.with_suffix(".yaml").unlink()
    assert evaluate.main(["--checkpoint", str(path), "--data", str(data)]) == 1
    assert "x.yaml beside it can" in capsys.readouterr().err
