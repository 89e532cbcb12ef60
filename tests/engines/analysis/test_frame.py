"""The frame of the analyses, CKA and UMAP, on small networks with built-in faces."""

import json
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from deocclude import models
from deocclude.data.faces.files import builtin_faces
from deocclude.data.masks.source import MaskGenerator
from deocclude.data.pairs.holes import freeze
from deocclude.data.settings import Data, IdentityData
from deocclude.engines.analysis import umap_report
from deocclude.engines.analysis.cka import (
    System,
    choose_drawn,
    describe,
    inner_pairs,
    left_out,
    split_batches,
)
from deocclude.engines.analysis.layers import deepest, last_tensor, stage_names, survey, watching
from deocclude.engines.analysis.umap import check_points, place
from deocclude.engines.analysis.umap_report import OCCLUDED, TRUE, Cloud
from deocclude.engines.cli import analyses, evaluate
from deocclude.engines.inference.networks import Inpainter
from deocclude.engines.report.heat_map import heat_map

SIZE = 32


def release(folder, name, model, task="inpainting", **data):
    """A finished run of a network with random weights."""
    data |= {"faces": "builtin", "size": SIZE, "template": "ffhq"}
    create = {"inpainting": models.create_inpainter, "identity": models.create_identity_network}
    torch.manual_seed(0)
    network = create[task](**model)
    kind = Data(masks="builtin", **data) if task == "inpainting" else IdentityData(**data)
    config = {"task": task, "name": name, "data": kind.model_dump(mode="json"), "model": model}
    target = folder / name / "001"
    target.mkdir(parents=True)
    metadata = {"config": json.dumps(config), "contract": "{}", "metrics": "{}"}
    save_file(network.state_dict(), target / "best.safetensors", metadata)
    (target / "finished.json").write_text("{}")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two small inpainters with the same test pairs, one with others, and an identity network."""
    folder = tmp_path_factory.mktemp("runs")
    data = {"test_per_bin": 16, "builtin_images": 400}
    release(folder, "Residual", {"name": "facial_deocclusion", "width": 2}, **data)
    generator = {"name": "vgg19_generator", "width": 4, "residual_blocks": 1}
    release(folder, "Plain", generator, **data)
    release(folder, "Other", generator, **data | {"test_per_bin": 2})
    named = {"name": "efficientnet_b0", "classes": 3, "pretrained": False}
    release(folder, "EfficientNetB0", named, "identity")
    return folder


def run(runs, analysis, *arguments):
    fixed = ["--runs-folder", str(runs), "--device", "cpu", "--batch", "6"]
    return evaluate.main(["analyse", analysis, *arguments, *fixed])


def test_every_analysis_is_listed_with_what_it_tells(capsys):
    with pytest.raises(SystemExit) as end:
        evaluate.main(["analyse", "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    text = "".join(text.split())  # however it is wrapped
    for analysis in analyses.ANALYSES.values():
        assert "".join(analysis.text.split()) in text
    with pytest.raises(SystemExit):
        evaluate.main(["analyse", "nonsense"])
    assert "nonsense" in capsys.readouterr().err


def test_cka_of_two_systems_is_written_with_its_numbers(runs, capsys):
    assert run(runs, "cka", "--runs", "Residual", "Plain") == 0
    folder = runs / "analysis" / "cka"
    text = (folder / "table.md").read_text()
    count = int(text.split("N = ")[1].split(" ")[0])
    assert f"N = {count} pairs of {count} images at 32 px" in text
    assert "SHA-256" in text
    assert "Residual = Residual/001, Plain = Plain/001" in text
    frame = pd.read_csv(folder / "cka.csv").set_index(["first", "second"])
    alike = frame.loc[("Residual: bottleneck", "Plain: residual")]
    assert -0.5 < alike["cka"] < 1
    assert f"{alike['cka']:.3f} ± {alike['error']:.3f}" in text.split("## Between systems")[1]
    assert frame["cka"].max() < 1 + 1e-9
    assert "table.md" in capsys.readouterr().out
    for name in ("layers", "systems"):
        assert (folder / "figures" / f"{name}.png").stat().st_size > 5000


def test_cka_layers_can_be_chosen_and_networks_before_training_added(runs, tmp_path):
    chosen = ["--runs", "Residual", "--layers", "down.*.layers", "bottleneck:input"]
    assert run(runs, "cka", *chosen, "--untrained", "--output", str(tmp_path)) == 0
    frame = pd.read_csv(tmp_path / "cka.csv")
    names = {*frame["first"], *frame["second"]}
    assert "Residual: down.0.layers" in names
    assert "Residual, untrained: bottleneck:input" in names
    assert "Residual: bottleneck" not in names
    pair = ("Residual: down.1.layers", "Residual, untrained: down.1.layers")
    alike = frame.set_index(["first", "second"]).loc[pair, "cka"]
    assert alike == pytest.approx(1)  # the run's weights are those of seed 0, nothing was trained


@pytest.mark.parametrize(
    ("analysis", "arguments", "message"),
    [
        ("cka", ["--runs", "Residual", "--layers", "nothing*"], "its stages: down.0"),
        ("cka", ["--runs", "Residual", "--limit", "3"], "3 images in batches"),
        ("cka", ["--runs", "Residual", "Other"], "different test pairs"),
        ("cka", ["--runs", "EfficientNetB0"], "was trained for identity"),
        ("umap", ["--runs", "Residual", "--limit", "1"], "1 images give 3 points"),
        ("umap", ["--runs", "Residual", "--network", "Nobody"], "no finished run of that name"),
        ("umap", ["--runs", "Residual", "--layer", "x", "--network", "Plain"], "its stages"),
        ("umap", ["--runs", "Residual", "--layer", "x"], "one embedding only"),
    ],
)
def test_what_cannot_be_analysed_is_said_in_one_line(runs, capsys, analysis, arguments, message):
    if analysis == "umap":
        pytest.importorskip("umap")
    assert run(runs, analysis, *arguments) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_umap_missing_says_what_to_install(runs, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "umap", None)
    assert run(runs, "umap", "--runs", "Residual") == 1
    assert "`pip install umap-learn`" in capsys.readouterr().err


@pytest.mark.parametrize("network", ["auto", "Plain", "vgg16"])
def test_umap_report_holds_every_group(runs, tmp_path, monkeypatch, network):
    """The plane itself is replaced by two of the features: umap-learn compiles for a minute."""
    monkeypatch.setattr("deocclude.engines.analysis.umap.check_umap", lambda: None)
    monkeypatch.setattr("deocclude.engines.analysis.umap.place", lambda flat, *_: flat[:, :2])
    chosen = ["--runs", "Residual", "Plain", "--network", network, "--weights", "random"]
    assert run(runs, "umap", *chosen, "--output", str(tmp_path), "--neighbours", "3") == 0
    points = pd.read_csv(tmp_path / "points.csv")
    counts = points["group"].value_counts()
    assert list(points["group"].unique()) == [TRUE, OCCLUDED, "Residual", "Plain"]
    assert counts.nunique() == 1
    text = (tmp_path / "table.md").read_text()
    words = {"auto": "EfficientNetB0 (001)", "Plain": "inpainter Plain (001)", "vgg16": "relu5_1"}
    assert words[network] in text
    assert (tmp_path / "figures" / "umap.png").stat().st_size > 5000


def cloud(shift, count=40, bins=None):
    """True faces, occluded ones far away, and restored ones at `shift` of that distance."""
    true = np.random.Generator(np.random.PCG64(0)).normal(size=(count, 4))
    away = np.array([20.0, 0, 0, 0])
    features = np.concatenate([true, true + away, true + shift * away])
    bins = np.arange(count) % 3 if bins is None else bins
    groups = [TRUE, OCCLUDED, "Restored"]
    return Cloud(groups, features, features[:, :2], "euclidean", 5, bins)


def test_distances_and_silhouettes_of_known_clouds():
    frame = umap_report.distances(cloud(0.25)).set_index("group")
    assert frame.loc[OCCLUDED, "distance"] == pytest.approx(20)
    assert frame.loc["Restored", "distance"] == pytest.approx(5)
    assert frame.loc["Restored", "difference"] == pytest.approx(-15)
    exact = cloud(0.0)
    near = umap_report.distances(exact).set_index("group")
    assert near.loc["Restored", "nearest"] == 1
    assert near.loc[OCCLUDED, "nearest"] < 0.2
    scores = umap_report.scores(exact).set_index("group")
    assert scores.loc[OCCLUDED, "features"] > 0.7
    assert abs(scores.loc["Restored", "features"]) < 0.05
    assert 0 < scores["trustworthiness"].iloc[0] <= 1


def test_figures_of_a_cloud_with_one_face_in_a_bin_and_many_groups():
    bins = np.array([0] * 39 + [5])
    single = cloud(0.1, bins=bins)
    axis = umap_report.curves(single).axes[0]
    assert [text.get_text() for text in axis.get_xticklabels()] == ["1–10", "50–60"]
    names = [TRUE, OCCLUDED, *(f"Run {i}" for i in range(40))]
    flat = np.tile(single.part(TRUE), (len(names), 1))
    many = Cloud(names, flat, flat[:, :2], "euclidean", 5, bins)
    assert len(umap_report.scatter(many).axes) == umap_report.PANELS
    assert "Run 39" in umap_report.left_out(many)[0]


def test_points_whose_distances_fill_the_memory_are_refused():
    check_points(500, 28, 15)
    with pytest.raises(ValueError, match="500 images and 198 networks give 100000 points"):
        check_points(500, 198, 15)


def test_what_umap_warns_of_is_said(monkeypatch, caplog):
    class Warns:
        def __init__(self, **_):
            pass

        def fit_transform(self, features):
            warnings.warn("Spectral initialisation failed", stacklevel=1)
            return features[:, :2]

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=Warns))
    with caplog.at_level("INFO"):
        place(np.eye(3), "cosine", 2, 0)
    assert "Spectral initialisation failed" in caplog.text


@pytest.mark.slow
def test_real_umap_is_seeded_and_keeps_neighbours(own_threads):
    pytest.importorskip("umap")
    centres = np.repeat(np.eye(3) * 30, 20, axis=0)
    flat = centres + np.random.Generator(np.random.PCG64(0)).normal(size=(60, 3))
    placed = place(flat, "euclidean", 5, 0)
    assert placed.shape == (60, 2)
    np.testing.assert_array_equal(placed, place(flat, "euclidean", 5, 0))
    own = np.repeat(np.arange(3), 20)
    gaps = np.linalg.norm(placed[:, None] - placed, axis=-1) + 1e9 * np.eye(60)
    assert (own[gaps.argmin(1)] == own).mean() > 0.95


def test_ifacenet_is_split_into_sub_encoders_and_attention():
    network = models.create_inpainter("ifacenet", pretrained=False)
    inpainter = Inpainter(network, SIZE)
    system = describe("Full", inpainter, SIZE)
    assert list(system.layers) == [
        "encoders.resnet50", "encoders.light", "attention:input", "attention", "dilations",
        "decoder",
    ]  # fmt: skip
    assert system.layers["attention:input"] == (1024, 2, 2)
    assert system.deepest == "dilations"
    assert inner_pairs(system) == [
        ("encoders.resnet50", "encoders.light"),
        ("encoders.resnet50", "attention"),
        ("encoders.light", "attention"),
        ("attention:input", "attention"),
    ]


def test_stages_leave_out_what_works_more_than_once_or_gives_no_tensor():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.shared = nn.Conv2d(3, 3, 1)
            self.maps = nn.ModuleList([nn.Conv2d(3, 4, 1, stride=2)])
            self.idle = nn.Conv2d(3, 3, 1)
            self.nothing = nn.Identity()

        def forward(self, occluded, mask):
            self.maps[0](occluded)
            return self.shared(self.shared(occluded))

    network = Twice()
    assert stage_names(network) == ["shared", "maps.0", "idle"]
    layers = survey(Inpainter(network, SIZE), SIZE, stage_names(network))
    assert layers == {"maps.0": (4, 16, 16)}
    assert deepest({"a": (2, 4, 4), "b": (2, 2, 2), "c": (3, 2, 2), "d": (7,)}) == "c"
    assert deepest({"a": (2,), "b": (3,)}) == "b"
    assert last_tensor([torch.ones(2, 3), torch.ones(2, 5)]).shape == (2, 5)
    assert last_tensor("text") is None


def test_hooks_are_gone_after_an_error():
    network = nn.Sequential(nn.Conv2d(3, 3, 1))
    with pytest.raises(RuntimeError, match="stop"), watching(network, ["0"], lambda *_: None):
        raise RuntimeError("stop")
    assert not network[0]._forward_hooks


def test_an_ensemble_has_no_layers_and_its_members_are_asked_for():
    class Combined(nn.Module):
        def forward(self, occluded, mask):
            return occluded

    with pytest.raises(ValueError, match="name the members"):
        describe("Mean", Inpainter(Combined(), SIZE), SIZE)


def test_hundreds_of_systems_give_a_legible_heat_map_and_a_remark():
    layers = {f"layer.{i}": (1, 2, 2) for i in range(30)}
    systems = [System(f"Run {i}", layers, (), "layer.29") for i in range(200)]
    drawn = choose_drawn(systems, None)
    assert sum(len(system.layers) for system in drawn) <= 40
    assert list(drawn[0].layers) == ["layer.0", "layer.29"]
    assert "36 of 6000 layers" in left_out(systems, drawn)[0]
    assert left_out(systems[:1], choose_drawn(systems[:1], None)) == []


def test_heat_map_says_values_and_marks_what_is_missing():
    values = np.array([[1.0, np.nan], [np.nan, -0.001]])
    figure = heat_map(values, ["a", "b"], ["One", "Two"], "Title")
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["One", "One", "Two", "Two", "1.00", "–", "–", "0.00"]
    with pytest.raises(ValueError, match="as many labels"):
        heat_map(values, ["a"], ["One"], "Title")


def test_batches_are_shuffled_nearly_equal_and_large_enough():
    parts = split_batches(500, 64, 0)
    assert {len(part) for part in parts} == {62, 63}
    assert sorted(np.concatenate(parts).tolist()) == list(range(500))
    assert parts[0].tolist() != list(range(63))
    with pytest.raises(ValueError, match="4 or more"):
        split_batches(12, 3, 0)


def test_one_pair_an_image_keeps_each_image_once_and_the_bins_even():
    pairs = freeze(builtin_faces("test", 24, SIZE), MaskGenerator(SIZE, 0), "test", 24)
    once = pairs.one_an_image()
    hashes = [pair.image_sha256 for pair in once.pairs]
    assert len(set(hashes)) == len(hashes) == len({p.image_sha256 for p in pairs.pairs})
    counts = np.bincount([pair.bin for pair in once.pairs])
    assert counts.max() - counts.min() <= 2
    assert once.hash != pairs.hash
    image, mask = once.load(5)
    assert once.pairs[5].hole_ratio == pytest.approx(mask.mean(), abs=1e-6)
    assert image.shape == (SIZE, SIZE, 3)
