"""Segmentation runs: the same engine as inpainting, its own step, data and scores."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deocclude.data.builtin.faces import render_face
from deocclude.data.faces.alignment import template_points
from deocclude.data.pairs.occluded import freeze_occluded
from deocclude.data.pairs.tensors import load_occluded
from deocclude.data.sources.covered import open_segmentation_sources
from deocclude.data.sources.holes import open_sources
from deocclude.engines.inference.networks import Segmenter
from deocclude.engines.runs.config import ConfigError, load_config
from deocclude.engines.runs.metadata import CheckpointError
from deocclude.engines.runs.runtime import start_runtime
from deocclude.engines.runs.weights import (
    load_checkpoint,
    load_inpainter,
    load_release,
    load_segmenter,
)
from deocclude.engines.training import fit as fit_module
from deocclude.engines.training.run import dry_run, train
from deocclude.engines.training.segmentation import build_segmentation_trainer
from deocclude.engines.training.trainer import NonFiniteLossError

TINY = [
    "data.size=32",
    "data.builtin_images=24",
    "data.validation_per_kind=1",
    "data.test_per_kind=1",
    "data.workers=0",
    "training.epochs=2",
    "training.epoch_images=12",
    "training.batch_size=4",
    "training.max_minutes=null",
    "training.log_steps=1",
    "model.width=4",
]


def tiny(*overrides: str, name: str = "unet"):
    return load_config(name, "quick", [*TINY, *overrides], "segmentation")


def make_trainer(*overrides: str):
    config = tiny(*overrides)
    return build_segmentation_trainer(config, start_runtime("no", "cpu", 0), 24)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run of two epochs of three steps."""
    return train(tiny(), None, tmp_path_factory.mktemp("segmentation"), device="cpu")


def batch_of(trainer, count: int = 4):
    sources = open_segmentation_sources(trainer.config.data, None)
    pairs = sources.training_pairs(0, Path())
    images, masks, names = zip(*(pairs[i] for i in range(count)), strict=True)
    batch = type("Batch", (), {})()
    batch.image, batch.mask, batch.names = torch.stack(images), torch.stack(masks), list(names)
    return batch


def test_a_run_leaves_everything_behind(whole):
    path = whole.folder.path
    assert (whole.reason, whole.steps, whole.images) == ("epochs", 6, 24)
    for name in ("config.yaml", "metrics.csv", "best.safetensors", "figures/epoch_002.png"):
        assert (path / name).stat().st_size, name
    facts = json.loads((path / "environment.json").read_text())[0]
    assert facts["data"]["occluders"] == "drawn"
    assert facts["weights"] == {"segmenter": "random initialisation (no pretrained part)"}
    assert json.loads((path / "finished.json").read_text())["best"]["metric"] == "iou"
    network, metadata = load_segmenter(path / "best.safetensors")
    assert metadata["config"]["task"] == "segmentation"
    assert metadata["config"]["data"]["template"] == "ffhq"
    assert 0 <= metadata["metrics"]["iou"] <= 1
    assert any(key.startswith("iou/") for key in metadata["metrics"])
    assert network(torch.rand(1, 3, 40, 40)).shape == (1, 1, 40, 40)


def test_weights_of_the_other_task_are_refused_by_name(whole):
    with pytest.raises(CheckpointError, match=r"segmentation.*inpainting is needed"):
        load_inpainter(whole.folder.best)
    state, metadata = load_release(whole.folder.best)
    assert state
    assert metadata


@pytest.mark.parametrize("stop_at", [2, 3, 4])
def test_a_stopped_and_continued_run_ends_with_the_same_weights(
    whole, tmp_path, monkeypatch, stop_at
):
    original = fit_module.Fit._stop_reason

    def stop(self):
        return "max_minutes" if self.trainer.step == stop_at else original(self)

    with monkeypatch.context() as patch:
        patch.setattr(fit_module.Fit, "_stop_reason", stop)
        first = train(tiny(), None, tmp_path, device="cpu")
    assert (first.reason, first.steps) == ("max_minutes", stop_at)
    second = train(tiny(), None, tmp_path, resume="latest", device="cpu")
    assert second.steps == 6
    mine, theirs = (load_checkpoint(r.folder.last)[0] for r in (second, whole))
    assert mine.keys() == theirs.keys() == {"segmenter", "ema"}
    for network in mine:
        for name, value in mine[network].items():
            assert torch.equal(value, theirs[network][name]), f"{network} {name}"


def test_two_parts_give_the_step_of_one_batch():
    """BatchNorm's statistics are those of a part: they are held still here."""
    changed = []
    for parts in (1, 2):
        trainer = make_trainer("training.clip_gradients=null")
        network = trainer.network
        network.eval()
        batch = batch_of(trainer)
        size = 4 // parts
        pieces = []
        for start in range(0, 4, size):
            piece = type("Batch", (), {})()
            piece.image = batch.image[start : start + size]
            piece.mask = batch.mask[start : start + size]
            piece.names = batch.names[start : start + size]
            pieces.append(trainer.to_part(piece))
        trainer.train_step(pieces)
        changed.append([p.grad.clone() for p in network.parameters() if p.grad is not None])
    for one, two in zip(*changed, strict=True):
        assert torch.allclose(one, two, atol=1e-5)


def test_steps_on_one_batch_lower_the_loss():
    trainer = make_trainer(
        "training.optimizer.lr=0.01", "training.learning_rate={schedule: constant, warmup_steps: 0}"
    )
    trainer.network.train()
    part = trainer.to_part(batch_of(trainer))
    totals = [float(trainer.train_step([part])["total"]) for _ in range(12)]
    assert totals[-1] < 0.8 * totals[0]


def test_a_non_finite_loss_names_the_batch():
    trainer = make_trainer()
    part = trainer.to_part(batch_of(trainer))
    part.occluded[:] = float("nan")
    with pytest.raises(NonFiniteLossError, match="builtin/train"):
        trainer.train_step([part])


def test_a_perfect_answer_scores_one(monkeypatch):
    trainer = make_trainer()
    sources = open_segmentation_sources(trainer.config.data, None)
    pairs = sources.frozen("val")
    _, _, mask = load_occluded(pairs, range(len(pairs)))
    answers = iter(mask.split(32))
    monkeypatch.setattr(Segmenter, "logits", lambda *_: (next(answers) - 0.5) * 20)
    scores = trainer.validate(pairs)
    assert scores["iou"] == scores["dice"] == scores["accuracy"] == scores["boundary_f"] == 1
    assert "iou/none" not in scores
    assert scores["false_positive"] == 0


def test_validation_tells_what_is_marked_on_faces_with_kept_eyeglasses(tmp_path):
    for split, height in (("train", 30), ("val", 12)):
        (tmp_path / "occluders" / split).mkdir(parents=True)
        for kind in ("eyeglasses", "scarf"):
            cutout = np.full((height, 40, 4), (90, 20, 20, 255), np.uint8)
            cutout[3:-3, 3:-3, 3] = 0
            height += 7
            Image.fromarray(cutout).save(tmp_path / "occluders" / split / f"{kind}_1.png")
    trainer = make_trainer("data.preset=photographs")
    found = {}
    for way in ("auto", "redraw"):
        options = ("data.preset=photographs", "data.faces=builtin", "data.occluders=auto")
        data = tiny(*options, f"data.eyeglasses={way}").data
        pairs = open_segmentation_sources(data, tmp_path).frozen("val")
        found[way] = trainer.validate(pairs)
    assert "iou/eyeglasses" not in found["auto"]
    assert 0 <= found["auto"]["false_positive/eyeglasses"] <= 1
    assert "false_positive/eyeglasses" not in found["redraw"]
    assert {"iou/eyeglasses", "iou/scarf"} <= set(found["redraw"])
    assert not any(name.endswith("/none") for scores in found.values() for name in scores)


def test_validation_leaves_modes_and_weights_as_they_are():
    trainer = make_trainer()
    trainer.network.train()
    trainer.train_step([trainer.to_part(batch_of(trainer))])
    networks = (trainer.network, trainer.ema)
    modes = [module.training for network in networks for module in network.modules()]
    before = [{k: v.clone() for k, v in network.state_dict().items()} for network in networks]
    sources = open_segmentation_sources(trainer.config.data, None)
    first = trainer.validate(sources.frozen("val"))
    assert [m.training for network in networks for m in network.modules()] == modes
    for network, values in zip(networks, before, strict=True):
        for name, value in network.state_dict().items():
            assert torch.equal(value, values[name]), name
    assert trainer.validate(sources.frozen("val")) == pytest.approx(first, nan_ok=True)


def test_frozen_occluded_pairs_are_reproducible_and_hashed(tmp_path):
    data = tiny().data
    sources = open_segmentation_sources(data, None)
    one, two = sources.frozen("test"), open_segmentation_sources(data, None).frozen("test")
    assert one.hash == two.hash
    assert one.hash != sources.frozen("val").hash
    target, occluded, mask = one.load(3)
    again = two.load(3)
    for mine, other in zip((target, occluded, mask), again, strict=True):
        assert np.array_equal(mine, other)
    one.save(tmp_path / "pairs.json")
    two.check_against(tmp_path / "pairs.json")
    with pytest.raises(ValueError, match="pair 0 was"):
        sources.frozen("val").check_against(tmp_path / "pairs.json")
    none = [i for i, pair in enumerate(one.pairs) if pair.kind == "none"]
    assert none
    target, occluded, mask = one.load(none[0])
    assert np.array_equal(target, occluded)
    assert not mask.any()


def test_an_unknown_kind_lists_the_valid_ones():
    sources = open_segmentation_sources(tiny().data, None)
    with pytest.raises(ValueError, match=r"hat-trick.*scratches"):
        freeze_occluded(sources.faces("val"), sources.occluders, "val", 1, kinds=["hat-trick"])


def test_training_pairs_depend_on_their_position_only():
    sources = open_segmentation_sources(tiny().data, None)
    ahead = sources.training_pairs(5, Path())
    behind = sources.training_pairs(5, Path())
    wanted = [ahead[i] for i in range(6)]
    for position in (5, 0, 3):
        image, mask, name = behind[position]
        assert torch.equal(image, wanted[position][0])
        assert torch.equal(mask, wanted[position][1])
        assert name == wanted[position][2]
    assert not torch.equal(sources.training_pairs(6, Path())[0][0], wanted[0][0])


def test_the_template_is_told_by_the_pictures_aspect(tmp_path):
    for shape, expected in (((109, 89), "celeba"), ((96, 96), "ffhq")):
        folder = tmp_path / expected / "faces"
        folder.mkdir(parents=True)
        for index in range(8):
            picture = Image.fromarray(render_face(index, 128)).resize(shape[::-1])
            picture.save(folder / f"{index}.png")
        sources = open_sources(load_config("ablationv1").data, tmp_path / expected)
        assert sources.data.template == expected
    given = load_config("ablationv1", None, ["data.template=ffhq"]).data
    assert open_sources(given, tmp_path / "celeba").data.template == "ffhq"


def test_built_in_faces_bring_their_own_landmarks():
    faces = open_segmentation_sources(tiny().data, None).faces("train")
    points, template = faces.points_of(3), template_points("ffhq", 32)
    assert points.keys() == template.keys()
    assert points != template
    assert np.allclose(points["left_eye"], template["left_eye"], atol=4)
    kept = faces.subset([3])
    assert kept.points_of(0) == points


def test_wrong_names_say_where_the_right_ones_are():
    with pytest.raises(ConfigError, match=r"SOCLNET is trained by train_segmentation\.py"):
        load_config("SOCLNET")
    with pytest.raises(ConfigError, match=r"Reconstruction is trained by train_inpainting\.py"):
        load_config("Reconstruction", task="segmentation")
    for wrong in ("data.preset=reel", "data.template=oval", "data.masks=builtin"):
        with pytest.raises(ConfigError, match=wrong.partition("=")[0].replace(".", r"\.")):
            tiny(wrong)
    with pytest.raises(ConfigError, match="lovasz"):
        tiny("losses.hole_l1={weight: 1.0}")


def test_a_yaml_of_the_other_task_is_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("extends: unet\ndescription: mine\n")
    assert load_config(path, task="segmentation").name == "mine"
    path.write_text("task: segmentation\nname: mine\ndescription: mine\n")
    with pytest.raises(ConfigError, match=r"train_segmentation\.py"):
        load_config(path)


@pytest.mark.parametrize("name", ["SOCLNET", "SOCLNET-no-attention", "UNet"])
def test_dry_run_counts_parameters_without_a_download(name, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a dry run must not download")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    text = dry_run(load_config(name, "quick", task="segmentation"), None)
    assert "segmenter: " in text
    assert "M parameters" in text
    assert "template: ffhq" in text


def test_a_missing_occluder_folder_is_named():
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_segmentation_sources(tiny("data.occluders=nowhere").data, None)
