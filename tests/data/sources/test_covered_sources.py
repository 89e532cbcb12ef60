"""Inpainting on faces under occluders: `data.hidden_by` from the configuration to its pairs."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from deocclude.data.builtin.faces import render_face
from deocclude.data.pairs.holes import FrozenPairs
from deocclude.data.pairs.occluded import FrozenOccluded
from deocclude.data.pairs.tensors import load_pairs
from deocclude.engines.runs.config import ConfigError, load_config
from deocclude.engines.runs.folder import recorded_data
from deocclude.engines.runs.tasks import open_any_sources

COVERED = ("data.hidden_by=occluders", "data.validation_pairs=30")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A data folder: 20 faces, a cut-out for each side of the split."""
    root = tmp_path_factory.mktemp("data")
    (root / "faces").mkdir()
    for index in range(20):
        Image.fromarray(render_face(index, 64)).save(root / "faces" / f"{index:02d}.png")
    shapes = {"train": np.s_[5:35, 5:35], "val": np.s_[2:38, 15:25], "test": np.s_[15:25, 2:38]}
    for split, shape in shapes.items():
        cutout = np.zeros((40, 40, 4), np.uint8)
        cutout[shape] = (255, 0, 0, 255) if split == "train" else (0, 0, 255, 255)
        (root / "occluders" / split).mkdir(parents=True)
        Image.fromarray(cutout).save(root / "occluders" / split / "object_001.png")
    return root


def test_training_and_validation_show_occluders_and_test_pairs_holes(tiny_config):
    sources = open_any_sources(tiny_config("ablationv1", *COVERED), None)
    target, mask, name, occluded = sources.training_pairs(1, "unused")[3]
    assert name.startswith("builtin/train/")
    assert mask.any()
    assert not torch.equal(target, occluded)
    val, test = sources.frozen("val"), sources.frozen("test")
    assert isinstance(val, FrozenOccluded)
    assert isinstance(test, FrozenPairs)
    assert len(val) == 30
    assert "none" not in {pair.kind for pair in val.pairs}
    counts = [pair.kind for pair in val.pairs]
    assert max(map(counts.count, counts)) - min(map(counts.count, counts)) <= 1
    plain = open_any_sources(tiny_config("ablationv1"), None)
    assert plain.frozen("test").hash == test.hash


def test_validation_leaves_out_faces_that_only_kept_eyeglasses_cover(tiny_config, root, tmp_path):
    shutil.copytree(root, tmp_path / "data")
    for split in ("train", "val", "test"):
        place = tmp_path / "data" / "occluders" / split
        shutil.copy(place / "object_001.png", place / "eyeglasses_001.png")
    kinds = {}
    for way in ("keep", "redraw"):
        options = ("data.faces=builtin", "data.preset=photographs", f"data.eyeglasses={way}")
        sources = open_any_sources(tiny_config("ablationv1", *COVERED, *options), tmp_path / "data")
        kinds[way] = {pair.kind for pair in sources.frozen("val").pairs}
    assert kinds["redraw"] - kinds["keep"] == {"eyeglasses"}


def test_either_kind_of_pair_loads_as_target_mask_and_picture(tiny_config):
    sources = open_any_sources(tiny_config("ablationv1", *COVERED), None)
    target, mask, occluded = load_pairs(sources.frozen("test"), range(2), 0.25)
    hole = (mask > 0.5).expand_as(target)
    assert (occluded[hole] == 0.25).all()
    assert torch.equal(occluded[~hole], target[~hole])
    val = sources.frozen("val")
    target, mask, occluded = load_pairs(val, range(5), 0.25)
    face, covered, marked = val.load(4)
    np.testing.assert_array_equal(target[4].mul(255).round().movedim(0, -1), face)
    np.testing.assert_array_equal(occluded[4].mul(255).round().movedim(0, -1), covered)
    np.testing.assert_array_equal(mask[4, 0], marked)


def test_a_set_without_clean_pictures_is_refused(tiny_config):
    val = open_any_sources(tiny_config("ablationv1", *COVERED), None).frozen("val")
    bare = FrozenOccluded(val.pairs, lambda i: (None, *val.load(i)[1:]), val.size, "a set")
    with pytest.raises(ValueError, match="a set: holds no clean pictures"):
        load_pairs(bare, range(2), 1.0)


def test_the_folders_that_were_used_are_used_again(root, tmp_path, tiny_config):
    config = tiny_config(
        "ablationv1", *COVERED, "data.faces=auto", "data.occluders=auto", "data.preset=real"
    )
    sources = open_any_sources(config, root)
    made = sources.training_pairs(1, "unused")[0]
    redness = [(picture[0].int() - picture[2].int()).max() for picture in (made[0], made[3])]
    assert redness[1] > redness[0] + 40  # the cut-out of train/
    (tmp_path / "environment.json").write_text(json.dumps([{"data": sources.describe()}]))
    sources.save_split(tmp_path / "split.json")
    data = recorded_data(tmp_path, config.data)
    assert data.occluders == str((root / "occluders").resolve())
    again = open_any_sources(
        config.model_copy(update={"data": data}), None, tmp_path / "split.json"
    )
    assert again.frozen("val").hash == sources.frozen("val").hash
    for mine, other in zip(made, again.training_pairs(1, "unused")[0], strict=True):
        assert torch.equal(mine, other) if isinstance(mine, torch.Tensor) else mine == other
    drawn = open_any_sources(tiny_config("ablationv1", *COVERED), None)
    (tmp_path / "environment.json").write_text(json.dumps([{"data": drawn.describe()}]))
    assert recorded_data(tmp_path, config.data).occluders == "drawn"


def test_missing_occluders_are_said(root, tmp_path, tiny_config):
    config = tiny_config("ablationv1", *COVERED, "data.occluders=hats")
    with pytest.raises(FileNotFoundError, match=r"data\.occluders 'hats': no such folder"):
        open_any_sources(config, root)
    with pytest.raises(ConfigError, match=r"data\.hidden_by"):
        tiny_config("ablationv1", "data.hidden_by=hats")
    with pytest.raises(ConfigError, match="mixed, real, drawn, blind"):
        tiny_config("ablationv1", "data.preset=hats")
    shutil.copytree(root / "faces", tmp_path / "faces")
    real = tiny_config("ablationv1", *COVERED, "data.faces=auto", "data.preset=real")
    with pytest.raises(ValueError, match="needs a folder of cut-outs"):
        open_any_sources(real, tmp_path)


def test_the_self_supervised_run_is_as_documented():
    """L1 over the whole image, Adam 0.0/0.9, batch 4, all else as Reconstruction."""
    run, base = load_config("selfsupervised"), load_config("reconstruction")
    assert (run.data.hidden_by, run.data.preset) == ("occluders", "blind")
    assert run.losses["l1"]["weight"] == base.losses["hole_l1"]["weight"] == 3.6
    assert set(run.losses) ^ set(base.losses) == {"l1", "hole_l1"}
    assert run.training.batch_size == 4
    for optimizer in (run.training.generator, run.training.discriminator):
        assert (optimizer.betas, optimizer.lr) == ((0.0, 0.9), 1e-3)
    assert run.model == base.model


ALSO = "data.also={faces: more, template: utkface, share: 0.5}"


@pytest.mark.parametrize("task", ["inpainting", "segmentation"])
def test_more_faces_are_trained_on_and_never_tested_on(root, tmp_path, task):
    (root / "more").mkdir(exist_ok=True)
    for index in range(60):
        Image.fromarray(render_face(100 + index, 64)).save(root / "more" / f"m{index:02d}.png")
    run = "ablationv1" if task == "inpainting" else "unetlight"
    tiny = ["data.size=32", "data.faces=faces", "data.occluders=auto", ALSO]
    config = load_config(run, "quick", tiny, task)
    sources = open_any_sources(config, root)
    pairs = sources.training_pairs(1, tmp_path)
    names = [pairs[position][2].split(" (")[0] for position in range(pairs.images)]
    assert np.mean([name.startswith("m") for name in names]) == pytest.approx(0.5, abs=0.05)
    tested = {pair.image for split in ("val", "test") for pair in sources.frozen(split).pairs}
    assert not any(name.startswith("m") for name in tested)
    record = sources.describe()
    assert record["also"] == str((root / "more").resolve())
    (tmp_path / "environment.json").write_text(json.dumps([{"data": record}]))
    assert recorded_data(tmp_path, config.data).also.faces == str((root / "more").resolve())


def test_more_faces_that_cannot_be_are_refused(root, tiny_config):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_any_sources(
            tiny_config("ablationv1", "data.also={faces: nowhere, template: ffhq}"), root
        )
    for wrong, named in (("auto, template: ffhq", "auto"), ("more, template: round", "round")):
        with pytest.raises(ConfigError, match=rf"data\.also.*{named}"):
            tiny_config("ablationv1", f"data.also={{faces: {wrong}}}")
