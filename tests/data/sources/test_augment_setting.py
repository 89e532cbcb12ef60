"""`data.augment` of a run: true, false, photographs, or those with options."""

import numpy as np
import pytest
import yaml

from deocclude.data.pairs.augment import Augmentation
from deocclude.data.pairs.augmentations import create_augmentation
from deocclude.data.pairs.photo_augment import PhotographAugmentation
from deocclude.data.seeding import keyed_rng
from deocclude.engines.runs.config import ConfigError, load_config, validate
from deocclude.engines.runs.tasks import open_any_sources


def load(*overrides):
    return load_config("soclnet", "quick", list(overrides), task="segmentation")


@pytest.mark.parametrize(
    ("setting", "made"),
    [
        ("true", Augmentation()),
        ("false", None),
        ("photographs", PhotographAugmentation()),
        ("{name: photographs, rotation: 5, jpeg: 0, blur_sigma: [1, 2]}",
         PhotographAugmentation(rotation=5, jpeg=0, blur_sigma=(1, 2))),
    ],
)  # fmt: skip
def test_a_setting_makes_its_augmentation_and_survives_the_runs_record(setting, made):
    config = load(f"data.augment={setting}")
    assert create_augmentation(config.data.augment) == made
    record = yaml.safe_load(yaml.safe_dump(config.model_dump(mode="json")))
    again = validate(record, "record")
    assert again == config
    assert create_augmentation(again.data.augment) == made


def test_an_option_is_laid_over_a_mapping(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("extends: soclnet\ndata: {augment: {name: photographs, noise: 0.5}}\n")
    config = load_config(path, "quick", ["data.augment.jpeg=0"], task="segmentation")
    made = create_augmentation(config.data.augment)
    assert made == PhotographAugmentation(noise=0.5, jpeg=0)
    assert load().data.augment is True


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("augment=photos", r"data\.augment: 'photos' is not one of true, false, photographs"),
        ("augment={jpeg: 0}", r"data\.augment: name: null .*photographs"),
        ("augment={name: photographs, jpeg: 2}", r"data\.augment: jpeg: 2 must be a share"),
        ("augment={name: photographs, jpg: 0}", r"data\.augment: jpg: unknown key.*jpeg"),
    ],
)
def test_a_wrong_setting_is_said_with_its_key(setting, says):
    with pytest.raises(ConfigError, match=says):
        load(f"data.{setting}")


def test_training_pairs_are_augmented_as_set():
    same = ("data.faces=builtin", "data.occluders=drawn", "data.size=64", "data.flip=false")
    pairs = {}
    for setting in ("false", "photographs"):
        config = load(*same, "data.builtin_images=20", f"data.augment={setting}")
        pairs[setting] = open_any_sources(config, None).training_pairs(3, "unused")
    augment = PhotographAugmentation()
    for position in range(4):
        image, mask, _ = pairs["false"][position]
        image, mask = image.numpy().transpose(1, 2, 0).copy(), mask.numpy()[0]
        aim = augment(image, mask, keyed_rng(3, "augment", position))
        shown, covered, _ = pairs["photographs"][position]
        np.testing.assert_array_equal(shown.numpy().transpose(1, 2, 0), aim[0])
        np.testing.assert_array_equal(covered.numpy()[0], aim[1])
