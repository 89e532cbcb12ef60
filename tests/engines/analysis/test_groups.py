"""Errors by group of people: known errors come back where they were made."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from deocclude import models
from deocclude.data.builtin.faces import render_face
from deocclude.data.settings import Data, SegmentationData
from deocclude.engines.analysis.groups import (
    FALSE,
    INPAINTED,
    IOU,
    PSNR,
    inpainted_frame,
    inpainted_table,
    masks_frame,
    masks_table,
)
from deocclude.engines.cli import evaluate
from deocclude.engines.measures.rows import HOLE_COLUMNS, OCCLUDED_COLUMNS, RowWriter
from deocclude.engines.runs.finished import read_trained
from deocclude.engines.runs.pairs import below, group_by_pairs, settle_occluded

SIZE = 32
PEOPLE = [(5, 0, 0), (30, 1, 1), (30, 0, 2), (70, 1, 3), (45, 0, 4), (15, 1, 0)]
NAMES = [f"utk_{i:05}_{a}_{g}_{o}.jpg" for i, (a, g, o) in enumerate(PEOPLE)]


def inpainted(folder, name, psnr, bins=(0, 1)):
    """A row whose PSNR of each image of each bin is `psnr(image, bin)`; `bins` of the last face."""
    with RowWriter(folder / f"{name}.csv", [*HOLE_COLUMNS, *INPAINTED]) as writer:
        lines = [(n, b) for n in range(6) for b in (bins if n == 5 else (0, 1))]
        for index, (n, b) in enumerate(lines):
            writer.write([[index, NAMES[n], "m", b, 0, 0.1, psnr(n, b), 0.9, 0.05]])
        kind = "baseline" if name == "Telea" else "model"
        return writer.finish({"name": name, "kind": kind, "key": {}, "count": len(lines)})


def line(frame, row, group, metric):
    chosen = frame[frame["row"].eq(row) & frame["group"].eq(group)]
    return chosen[chosen["metric"].eq(metric)].iloc[0]


def test_a_group_is_told_beside_what_is_hard_about_it(tmp_path):
    hard = [0, 0, 0, -6, 0, 0]  # the one face of "60+" and of "Indian"
    model = inpainted(tmp_path, "net", lambda n, b: 30 + hard[n] + n - 10 * b)
    base = inpainted(tmp_path, "Telea", lambda n, b: 25 + hard[n] - 10 * b)
    frame = inpainted_frame([model, base], "Telea")
    old = line(frame, "net", "60+", PSNR)
    assert (old["people"], old["count"]) == (1, 2)
    assert old["mean"] == pytest.approx(30 - 6 + 3 - 5)  # the mean of both bins
    assert line(frame, "Telea", "60+", PSNR)["mean"] == pytest.approx(25 - 6 - 5)
    assert old["difference"] == pytest.approx(5 + 3)
    women = line(frame, "net", "female", PSNR)
    assert women["difference"] == pytest.approx(5 + (1 + 3 + 5) / 3)
    assert women["difference_low"] < women["difference"] < women["difference_high"]
    assert line(frame, "net", "everyone", PSNR)["people"] == 6
    table = inpainted_table(frame, "net", "Telea")
    shown = {row[0].text: [cell.text for cell in row] for row in table.rows}
    assert list(shown)[:3] == ["everyone", "age: 0–9", "age: 10–19"]
    assert "PSNR (dB), Telea" in table.columns
    assert shown["age: 60+"][-1] == "+8.00"  # one face: no interval
    assert shown["gender: female"][-1].startswith("+8.00 [")


def test_a_group_that_lacks_a_bin_has_no_mean_of_bins(tmp_path):
    model = inpainted(tmp_path, "net", lambda n, b: 30 - 10 * b, bins=(0,))
    frame = inpainted_frame([model], "net")
    assert np.isnan(line(frame, "net", "10–19", PSNR)["mean"])
    assert line(frame, "net", "20–39", PSNR)["mean"] == pytest.approx(25)
    shown = {row[0].text: row[3].text for row in inpainted_table(frame, "net", None).rows}
    assert (shown["age: 10–19"], shown["age: 20–39"][:5]) == ("–", "25.00")


def test_masks_are_told_by_kind_and_bare_faces_apart(tmp_path):
    with RowWriter(tmp_path / "seg.csv", [*OCCLUDED_COLUMNS, IOU, FALSE]) as writer:
        for place, kind in enumerate(("facemask", "scarf", "none")):
            for n, name in enumerate(NAMES):
                bare = kind == "none"
                iou = float("nan") if bare else (0.9, 0.7)[place] - 0.1 * PEOPLE[n][1]
                false = (0.02 if n == 3 else 0.001) if bare else float("nan")
                writer.write([[6 * place + n, name, kind, n, 0.2, iou, false]])
        seg = writer.finish({"name": "seg", "kind": "model", "key": {}, "count": 18})
    frame = masks_frame([seg], "seg")
    assert line(frame, "seg", "male", IOU)["mean"] == pytest.approx(0.8)
    assert line(frame, "seg", "female", IOU)["mean"] == pytest.approx(0.7)
    assert line(frame, "seg", "everyone", IOU)["count"] == 12
    assert line(frame, "seg", "60+", FALSE)["mean"] == pytest.approx(0.02)
    table = masks_table(frame, "seg")
    shown = {row[0].text: [cell.text for cell in row] for row in table.rows}
    assert shown["gender: female"][-3:-1] == ["3", "0.73 [0.10, 2.00]"]
    assert shown["gender: female"][-1] == "33.3"
    assert shown["gender: male"][-1] == "0.0"


@pytest.fixture
def people(tmp_path, monkeypatch):
    """A folder `labelled` with splits of built-in faces under UTKFace's names."""
    monkeypatch.delenv("DEOCCLUDE_DATA", raising=False)
    for split in ("train", "val", "test"):
        folder = tmp_path / "labelled" / split
        folder.mkdir(parents=True)
        for n, name in enumerate(NAMES):
            Image.fromarray(render_face(n, SIZE, len(split))).save(folder / name)
    return tmp_path / "labelled"


def release(path, task, kind, model, **data):
    """A weights file as it ships: it knows its folders by name only."""
    torch.manual_seed(0)
    create = models.create_inpainter if task == "inpainting" else models.create_segmenter
    also = {"faces": "labelled", "template": "utkface", "share": 0.5}
    settings = kind(faces="faces", template="ffhq", also=also, size=SIZE, **data).model_dump(
        mode="json"
    )
    config = {"task": task, "name": path.stem, "data": settings, "model": model}
    metadata = {"config": json.dumps(config), "contract": "{}", "metrics": "{}"}
    save_file(create(**model).state_dict(), path, metadata)
    return path


@pytest.fixture
def networks(tmp_path):
    generator = {"name": "vgg19_generator", "width": 4, "residual_blocks": 1}
    paint = release(tmp_path / "paint.safetensors", "inpainting", Data, generator, test_per_bin=12)
    unet = {"name": "unet", "width": 2}
    find = release(tmp_path / "find.safetensors", "segmentation", SegmentationData, unet)
    return paint, find


def test_the_second_folder_is_known_by_its_name(networks, people):
    for network in map(read_trained, networks):
        assert below(people, network)["template"] == "utkface"
        other = people.rename(people.with_name("others"))
        assert below(other, network)["template"] == "auto"
        other.rename(people)
    group = group_by_pairs([read_trained(networks[0])], people)[0]
    assert {pair.image for pair in group.pairs.pairs} <= {f"test/{name}" for name in NAMES}
    assert settle_occluded(read_trained(networks[1]), people, {})[0].eyeglasses == "redraw"


def test_both_networks_are_measured_with_one_command(networks, people, tmp_path, capsys):
    output = tmp_path / "out"
    fixed = ["--device", "cpu", "--output", str(output), "--baselines", "mean_colour"]
    named = ["--checkpoint", *map(str, networks), "--data", str(people), "--per-kind", "6"]
    assert evaluate.main(["analyse", "groups", *named, *fixed]) == 0
    text = (output / "table.md").read_text()
    assert "paint, by group of people" in text
    assert "find, by group of people" in text
    values = pd.read_csv(output / "inpainting.csv")
    assert set(values["group"]) >= {"everyone", "60+", "female", "Indian"}
    found = pd.read_csv(output / "segmentation.csv")
    bare = found[found["metric"].eq(FALSE) & found["group"].eq("everyone")]
    assert bare["people"].tolist() == [6]
    assert "table.md" in capsys.readouterr().out


def test_faces_without_labels_are_refused_with_what_is_needed(networks, people, capsys):
    for path in people.rglob("*.jpg"):
        path.rename(path.with_name(f"face_{path.stem[4:9]}.jpg"))
    for network in networks:
        options = ["--checkpoint", str(network), "--data", str(people), "--device", "cpu"]
        assert evaluate.main(["analyse", "groups", *options]) == 1
        assert "no test face says who is in it, such as 'test/face_0" in capsys.readouterr().err
