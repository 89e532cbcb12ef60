"""The row that is fitted to training faces: to which, once, and where there are none."""

import numpy as np
import pytest
from PIL import Image

from deocclude.data.builtin.faces import render_face
from deocclude.engines.cli import evaluate
from deocclude.engines.inference import ppca

SIZE = 32
COUNTS = {"train": 6, "val": 2, "test": 3}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A data folder below the working folder, and no other."""
    monkeypatch.delenv("DEOCCLUDE_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    number = 0
    for split, count in COUNTS.items():
        folder = tmp_path / "data" / "faces" / split
        folder.mkdir(parents=True)
        for _ in range(count):
            Image.fromarray(render_face(number, SIZE)).save(folder / f"{number}.png")
            number += 1
    return tmp_path / "data"


def run(*words):
    fixed = ["--runs", "none", "--size", str(SIZE), "--per-bin", "2", "--device", "cpu"]
    fixed += ["--lpips", "off", "--fid", "off", "--identity", "off", "--workers", "0"]
    return evaluate.main([*words, *fixed])


def test_it_is_fitted_to_training_faces_alone_and_kept(root, monkeypatch, capsys, caplog):
    fitted, fit = [], ppca.fit
    monkeypatch.setattr(ppca, "fit", lambda faces: fitted.append(faces) or fit(faces))
    assert run("--data", str(root), "--baselines", "mean_colour,ppca") == 0
    text = capsys.readouterr().out
    assert "| Probabilistic PCA " in text
    assert "of 6 training faces and their mirror images at 32 px" in text
    (faces,) = fitted
    expected = [render_face(number, SIZE) for number in range(COUNTS["train"])]
    np.testing.assert_array_equal(faces, np.stack(expected))
    with caplog.at_level("INFO"):
        assert run("--data", str(root), "--baselines", "ppca") == 0
    assert "Probabilistic PCA: already evaluated on these pairs" in caplog.text
    assert "| Probabilistic PCA " in capsys.readouterr().out
    assert len(fitted) == 1
    assert len(list(root.parent.glob("runs/.cache/ppca-*.safetensors"))) == 1
    Image.new("RGB", (SIZE, SIZE), "red").save(root / "faces" / "train" / "more.png")
    assert run("--data", str(root), "--baselines", "ppca", "--limit", "3") == 0
    assert len(fitted[-1]) == 7
    rows = list(root.parent.glob("runs/evaluation/*/rows/probabilistic-pca-*.json"))
    assert len(rows) == 2


def test_pictures_of_ones_own_have_no_such_row(root, capsys):
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[8:20, 8:20] = 255
    Image.fromarray(mask).save(root / "mask.png")
    own = ["--images", str(root / "faces" / "test"), "--masks", str(root / "mask.png")]
    assert run(*own) == 0  # with every baseline
    text = capsys.readouterr().out
    assert "| Biharmonic " in text
    assert "| Probabilistic PCA " not in text
    assert "Probabilistic PCA is left out: no training faces are known" in text
    assert run(*own, "--baselines", "ppca") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: nothing to compare: Probabilistic PCA is left out")
