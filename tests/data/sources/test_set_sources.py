"""A paired set on disk as training data: split by face, frozen, recorded, continued."""

import json
import shutil

import pytest

from deocclude.data.faces.files import builtin_faces
from deocclude.data.occluders.mixture import Occluders
from deocclude.data.occluders.set_files import LAYOUTS
from deocclude.data.occluders.set_writer import write_set
from deocclude.data.pairs.tensors import load_occluded
from deocclude.engines.cli.train import overrides, parse_arguments
from deocclude.engines.evaluation.compare import compare
from deocclude.engines.evaluation.end_to_end import END_TO_END
from deocclude.engines.evaluation.segmentation import SEGMENTERS
from deocclude.engines.runs.config import ConfigError, load_config
from deocclude.engines.runs.tasks import TASKS, open_any_sources
from deocclude.engines.runs.weights import load_segmenter
from deocclude.engines.training.run import train

FACES, EACH = 24, 2
TINY = [
    "data.size=32",
    "data.workers=0",
    "training.epochs=1",
    "training.epoch_images=8",
    "training.batch_size=4",
    "training.max_minutes=null",
    "model.width=4",
]


@pytest.fixture(scope="module", params=LAYOUTS)
def made(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param) / "set"
    faces = builtin_faces("train", FACES, 32)
    write_set(faces, Occluders(32, None, "drawn", "celeba", seed=1), folder, EACH, request.param)
    return folder


def on(folder, *overrides):
    named = f"data.pairs={json.dumps(str(folder))}"
    return load_config("unetlight", "quick", [*TINY, named, *overrides], "segmentation")


def test_no_face_is_in_two_splits(made):
    sources = open_any_sources(on(made), None)
    shown = {
        split: {sources.pairs.pairs[i].image for i in sources.indices(split)}
        for split in ("train", "val", "test")
    }
    assert not shown["train"] & (shown["val"] | shown["test"])
    assert not shown["val"] & shown["test"]
    assert sum(map(len, shown.values())) == FACES
    assert sum(len(sources.indices(split)) for split in shown) == FACES * EACH
    assert sources.data.template == "celeba"  # as the set was made


def test_pairs_of_one_face_are_one_cluster(made):
    pairs = open_any_sources(on(made), None).frozen("test").pairs
    faces = {pair.image for pair in pairs}
    assert len(faces) == len({pair.image_sha256 for pair in pairs}) < len(pairs)
    assert len({(pair.kind, pair.number) for pair in pairs}) == len(pairs)


def test_training_shows_the_set_and_a_round_shows_each_pair_once(made):
    config = on(made, "data.flip=false", "data.augment=false")
    sources = open_any_sources(config, None)
    pairs = sources.training_pairs(3, made)
    names = [pairs[i][2] for i in range(pairs.images)]
    assert sorted(names) == sorted(sources.pairs.names[i] for i in sources.indices("train"))
    image, mask, name = pairs[5]
    _, occluded, true = sources.pairs.load(sources.pairs.names.index(name), 32)
    assert (image.numpy() == occluded.transpose(2, 0, 1)).all()
    assert (mask[0].numpy() == true).all()


def test_a_run_trains_is_measured_and_goes_on_with_its_own_split(made, tmp_path):
    first = train(on(made), None, tmp_path, max_minutes=1e-9, device="cpu")
    assert first.steps == 1
    split = json.loads((first.folder.path / "split.json").read_text())
    again = train(on(made), None, tmp_path, resume="latest", device="cpu")
    assert again.reason == "epochs"
    assert json.loads((again.folder.path / "split.json").read_text()) == split
    facts = json.loads((again.folder.path / "environment.json").read_text())[0]["data"]
    assert facts["pairs"] == str(made.resolve())
    load_segmenter(again.folder.best)
    report = compare(SEGMENTERS, runs_folder=tmp_path, checkpoint=[again.folder.best])
    assert "UNetLight" in report[0].markdown
    assert "here was trained on" not in report[0].markdown


def test_sets_without_clean_pictures_train_but_compare_no_restoration(tmp_path):
    faces = builtin_faces("train", FACES, 32)
    write_set(faces, Occluders(32, None, "drawn"), tmp_path / "own", 1)
    for part in ("occluded", "masks"):
        shutil.copytree(tmp_path / "own" / part, tmp_path / "foreign" / part)
    config = on(tmp_path / "foreign")
    pairs = open_any_sources(config, None).frozen("val")
    target, occluded, mask = load_occluded(pairs, range(len(pairs)))
    assert target is None
    assert occluded.shape[0] == mask.shape[0] == len(pairs) > 0
    outcome = train(config, None, tmp_path / "runs", device="cpu")
    asked = {"runs_folder": tmp_path / "runs", "checkpoint": [outcome.folder.best]}
    assert compare(SEGMENTERS, **asked)
    inpainter = load_config(
        "ablationv1",
        "quick",
        [
            *TINY[:-1],
            "training.epoch_images=4",
            "data.validation_pairs=6",
            "data.builtin_images=24",
        ],
    )
    train(inpainter, None, tmp_path / "runs", max_minutes=1e-9, device="cpu")
    with pytest.raises(ValueError, match="no clean pictures"):
        compare(END_TO_END, **asked)


def test_masks_of_which_black_means_hole_are_turned_round(tmp_path, caplog):
    write_set(builtin_faces("train", 12, 32), Occluders(32, None, "drawn"), tmp_path / "own", 1)
    shutil.copytree(tmp_path / "own" / "occluded", tmp_path / "foreign" / "occluded")
    shutil.copytree(tmp_path / "own" / "inverted", tmp_path / "foreign" / "masks")
    pairs = open_any_sources(on(tmp_path / "foreign"), None).frozen("val").pairs
    assert "use --invert-mask (data.invert_mask=true)" in caplog.text
    caplog.clear()
    sources = open_any_sources(on(tmp_path / "foreign", "data.invert_mask=true"), None)
    turned = sources.frozen("val").pairs
    assert [p.hole_ratio for p in turned] == pytest.approx([1 - p.hole_ratio for p in pairs])
    assert max(pair.hole_ratio for pair in turned) < 0.8
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_the_option_for_inverted_masks_needs_a_set(tmp_path):
    arguments = parse_arguments(TASKS["segmentation"], "", ["--pairs", "s", "--invert-mask"])
    assert overrides(arguments) == ['data.pairs="s"', "data.invert_mask=true"]
    with pytest.raises(ConfigError, match="invert_mask: true is for the masks of a paired set"):
        load_config("unet", "quick", ["data.invert_mask=true"], "segmentation")


def test_what_is_no_set_says_what_was_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match="is no paired set"):
        open_any_sources(on(tmp_path), None)
