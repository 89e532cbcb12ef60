"""`benchmarks/photo.py`: every stage is timed, untrained networks still have something to do."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from benchmarks import photo
from benchmarks.photo import LowerHalf, measure_photos, photo_table, stand_ins
from deocclude.engines.inference.networks import Inpainter, Segmenter
from deocclude.engines.photos.deoccluder import Deoccluder
from deocclude.engines.photos.detection import FaceDetector
from deocclude.engines.photos.restoration import STAGES


class Echo(nn.Module):
    def forward(self, occluded, mask):
        return occluded


def stub() -> Deoccluder:
    segmenter = Segmenter(LowerHalf(nn.Conv2d(3, 1, 1)), 32)
    detector = FaceDetector(kinds=("haar", "whole"))
    return Deoccluder(Inpainter(Echo(), 32), segmenter, detector)


def test_every_stage_is_timed_and_every_photo_restored():
    photos = list(stand_ins(2))
    case = measure_photos(stub(), photos, "stub")
    assert list(case.seconds) == list(STAGES)
    assert all(len(seconds) == 2 and min(seconds) > 0 for seconds in case.seconds.values())
    assert case.restored == 2
    assert sum(case.faces) >= 2
    (row,) = photo_table([case]).rows
    assert row[0].text == "stub"
    assert row[-1].text == "2 of 2"
    with pytest.raises(ValueError, match="none"):
        measure_photos(stub(), [], "stub")


def test_the_stand_in_mask_lies_on_the_lower_face():
    logits = LowerHalf(nn.Conv2d(3, 1, 1))(torch.rand(2, 3, 64, 64))
    assert logits.shape == (2, 1, 64, 64)
    assert logits[:, :, :40].max() < 0 < logits[:, :, 45:55, 20:44].min()
    assert 0.1 < (logits > 0).float().mean() < 0.3


def test_command_line(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(photo, "FaceDetector", lambda *a, **k: FaceDetector(kinds=("whole",)))
    command = ["--count", "1", "--size", "32", "--segmenter-run", "UNetLight", "--device", "cpu"]
    assert photo.main([*command, "--markdown", str(tmp_path / "table.md")]) == 0
    text = capsys.readouterr().out
    assert "Reconstruction + UNetLight, 32 px" in text
    assert (tmp_path / "table.md").read_text() in (text, text.removesuffix("\n"))
    assert photo.main(["--segmenter", "only.safetensors"]) == 1
    assert "go together" in capsys.readouterr().err
    assert np.isfinite(next(stand_ins(1))).all()


def test_weights_are_named_by_their_run_or_their_file(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert photo._label(Path("A.safetensors")) == "A"
    assert photo._label(Path("weights/net.safetensors")) == "net"
    assert photo._label(Path("runs/UNet/002/best.safetensors")) == "UNet"


def test_an_unreadable_photo_is_left_out_and_said(capsys, tmp_path):
    (tmp_path / "a.jpg").write_text("no picture")
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "b.png")
    assert len(list(photo._photos(photo.parse_arguments(["--photos", str(tmp_path)])))) == 1
    assert "left out: " in (error := capsys.readouterr().err)
    assert "a.jpg" in error


@pytest.mark.parametrize("option", ["--threads", "--count"])
def test_counts_are_1_or_more(capsys, option):
    for text, words in (("0", "at least 1"), ("-1", "at least 1"), ("two", "a whole number")):
        with pytest.raises(SystemExit):
            photo.parse_arguments([option, text])
        assert f"must be {words}, found" in capsys.readouterr().err
