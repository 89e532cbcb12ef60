"""`evaluate.py --holes occluders`: holes in the shape of held-out occluders, a column a kind."""

import json
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from deocclude.data.builtin.faces import render_face
from deocclude.data.settings import Data
from deocclude.data.sources.holes import open_sources
from deocclude.engines.cli import evaluate
from deocclude.engines.evaluation.inpainting import _grown
from deocclude.engines.inference.hole_mask import DILATION
from deocclude.engines.runs.finished import read_trained
from deocclude.engines.runs.pairs import frozen_holes, group_by_pairs

SIZE = 64


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A data folder: 12 faces, cut-outs of three kinds for training and for testing."""
    root = tmp_path_factory.mktemp("data")
    (root / "faces" / "train").mkdir(parents=True)
    (root / "faces" / "test").mkdir()
    for index in range(12):
        split = "train" if index < 2 else "test"
        Image.fromarray(render_face(index, SIZE)).save(root / "faces" / split / f"{index:02d}.png")
    for split, number in (("train", 1), ("val", 2)):
        (root / "occluders" / split).mkdir(parents=True)
        for kind in ("facemask", "eyeglasses", "scarf"):
            cutout = np.zeros((40, 60, 4), np.uint8)
            cutout[5:35, 5 * number : 60 - 5 * number] = (0, 0, 255, 255)
            Image.fromarray(cutout).save(root / "occluders" / split / f"{kind}_00{number}.png")
    return root


def data(**fields):
    return Data(**{"size": SIZE, "test_per_bin": 5} | fields)


def test_holes_are_grown_masks_of_held_out_occluders_evenly_by_kind(root):
    pairs = frozen_holes(data(), root, grow=_grown)
    assert Counter(pair.bin for pair in pairs.pairs) == {"facemask": 5, "scarf": 5}
    faces = {
        kind: {p.image for p in pairs.pairs if p.bin == kind} for kind in ("facemask", "scarf")
    }
    assert faces["facemask"] == faces["scarf"]  # no kind has easier ones
    assert len(faces["scarf"]) == 5
    sources = open_sources(data(hidden_by="occluders", preset="mixed"), root)
    test = sources.faces("test")
    for index in (0, 7):
        face, hole = pairs.load(index)
        place = test.names.index(pairs.pairs[index].image)
        np.testing.assert_array_equal(face, test[place])
        number = int(pairs.pairs[index].mask.rpartition("/")[2])
        mask = sources.occluders.fixed(face, "test", pairs.pairs[index].bin, number).mask
        np.testing.assert_array_equal(hole, _grown(mask))
        assert 0 < mask.sum() < hole.sum()
        assert not (hole < mask).any()
    assert DILATION * SIZE > 1


def test_they_are_frozen_and_others_stay_as_they_are(root):
    pairs = frozen_holes(data(), root, grow=_grown)
    assert frozen_holes(data(), root, grow=_grown).hash == pairs.hash
    assert frozen_holes(data(), root, grow=lambda mask: mask).hash != pairs.hash
    plain = frozen_holes(data(), root)
    assert plain.hash == open_sources(data(), root).frozen("test").hash
    assert {pair.bin for pair in plain.pairs} == set(range(6))
    few = pairs.limited(4)
    assert Counter(pair.bin for pair in few.pairs) == {"facemask": 2, "scarf": 2}
    assert few.template == pairs.template == "ffhq"
    assert few.training().names == plain.training().names == ["train/00.png", "train/01.png"]


def test_runs_of_either_training_share_them(root, tmp_path):
    trained = []
    for name, hidden_by in (("holes", "masks"), ("covered", "occluders")):
        own = data(faces=str(root / "faces"), hidden_by=hidden_by)
        config = {"name": name, "data": own.model_dump(mode="json"), "model": {"name": "ifacenet"}}
        file = tmp_path / f"{name}.safetensors"
        save_file({"value": torch.zeros(1)}, file, {"config": json.dumps(config)})
        trained.append(read_trained(file))
    (group,) = group_by_pairs(trained, root, grow=_grown)
    assert [member.name for member in group.members] == ["holes", "covered"]
    assert group.pairs.hash == frozen_holes(data(), root, grow=_grown).hash


def test_a_table_has_a_column_for_each_kind(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("DEOCCLUDE_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    words = ["--runs", "none", "--holes", "occluders", "--baselines", "occluded,telea"]
    words += ["--size", "32", "--per-bin", "2", "--lpips", "off", "--fid", "off", "--workers", "0"]
    assert evaluate.main([*words, "--identity", "off", "--device", "cpu"]) == 0
    (table,) = tmp_path.glob("runs/evaluation/*/table.md")
    text = table.read_text(encoding="utf-8")
    heads = next(line for line in text.splitlines() if "mean of bins |" in line).split("|")
    kinds = ["facemask drawn", "hand drawn", "sunglasses drawn"]
    assert [head.strip() for head in heads[2:6]] == [*kinds, "mean of bins"]
    assert "N = 6 pairs of 2 images at 32 px (built-in faces (test), drawn occluders" in text
    assert "Columns are bins: kinds of occluder, whose shape the holes have" in text
    assert "dilated by 3% of the side" in text
    assert {path.name for path in (table.parent / "figures").iterdir()} == {"examples.png"}
    assert "sunglasses drawn" in (table.parent / "report.html").read_text(encoding="utf-8")
    assert "telea" in capsys.readouterr().out.lower()


def test_own_pictures_come_with_their_own_holes(capsys):
    with pytest.raises(SystemExit):
        evaluate.parse(["--holes", "occluders", "--images", "a", "--masks", "b"])
    assert "--holes occluders makes holes itself" in capsys.readouterr().err
