"""`--flip` of evaluate.py and deocclude.py."""

import json

import numpy as np
import pytest
import torch
from photo_stubs import Detector, write_weights
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from deocclude.data.settings import Data
from deocclude.engines.cli import evaluate, photos
from deocclude.engines.cli import restore as restore_command
from deocclude.engines.inference.networks import Inpainter
from deocclude.engines.measures.inpainting import model_row
from deocclude.engines.photos.deoccluder import Deoccluder

SIZE = 32


class Leaning(nn.Module):
    """Grey, darker on the left than on the right, whichever way round its input is."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.3))

    def forward(self, occluded, mask):
        ramp = torch.linspace(-1, 1, occluded.shape[-1])
        return (0.5 + self.scale * ramp).expand_as(occluded)


@pytest.fixture
def loaded(monkeypatch):
    """How each network was opened."""
    calls = []

    def load(checkpoint, device="cpu", segmenter=None, **options):
        calls.append(options.get("flip"))
        inpainter = Inpainter(Leaning(), SIZE, flip=options.get("flip", False))
        return Deoccluder(inpainter) if "batch" in options else inpainter

    monkeypatch.setattr("deocclude.engines.inference.networks.read_inpainter", load)
    monkeypatch.setattr(photos, "load_deoccluder", load)
    return calls


@pytest.fixture
def weights(tmp_path):
    folder = tmp_path / "runs" / "Alpha" / "001"
    folder.mkdir(parents=True)
    data = Data(faces="builtin", masks="builtin", size=SIZE, test_per_bin=2)
    config = {"name": "Alpha", "data": data.model_dump(mode="json"), "model": {"name": "ifacenet"}}
    metadata = {"config": json.dumps(config), "contract": "{}", "metrics": "{}"}
    save_file({"value": torch.zeros(1)}, folder / "best.safetensors", metadata)
    (folder / "finished.json").write_text("{}")
    return folder / "best.safetensors"


def test_evaluate_adds_a_row_that_shares_no_values(loaded, weights, tmp_path, capsys):
    runs = tmp_path / "runs"
    fixed = ["--runs-folder", str(runs), "--device", "cpu", "--lpips", "off", "--workers", "0"]
    fixed += ["--fid", "off"]
    fixed += ["--baselines", "none", "--limit", "6"]
    assert evaluate.main(fixed) == 0
    assert "+ flip" not in capsys.readouterr().out
    assert evaluate.main(["--flip", *fixed]) == 0
    table = capsys.readouterr().out.split("## ")[1]
    names = [line.split("|")[1].strip() for line in table.splitlines() if "|" in line]
    assert names[2:] == ["Alpha", "Alpha + flip"]
    assert len(list(runs.glob("evaluation/*/rows/*.csv"))) == 2
    assert True in loaded
    plain, flipped = (model_row("Alpha", weights, flip=flip) for flip in (False, True))
    assert plain.identity != flipped.identity
    occluded, mask = torch.rand(2, 3, SIZE, SIZE), torch.ones(2, 1, SIZE, SIZE)
    torch.testing.assert_close(
        flipped.open().restore(occluded, mask), torch.full_like(occluded, 0.5)
    )
    assert plain.open().restore(occluded, mask).std() > 0.1


@pytest.mark.parametrize("flip", [False, True])
def test_deocclude_restores_both_ways(loaded, tmp_path, monkeypatch, flip):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(photos, "FaceDetector", lambda *a, **k: Detector())
    write_weights(tmp_path / "best.safetensors", "inpainting", "ifacenet", torch.nn.Linear(1, 1))
    photo = np.full((64, 64, 3), 127, np.uint8)
    mask = np.zeros((64, 64), np.uint8)
    mask[24:40, 4:60] = 255
    Image.fromarray(photo).save("photo.png")
    Image.fromarray(mask).save("mask.png")
    words = ["photo.png", "--mask", "mask.png", "-o", "out.png", "--checkpoint", "best.safetensors"]
    restore_command.main(words + ["--flip"] * flip)
    assert loaded == [flip]
    inside = np.asarray(Image.open("out.png"))[mask > 0]
    assert (np.ptp(inside) < 3) == flip  # the photo around it is mid grey
