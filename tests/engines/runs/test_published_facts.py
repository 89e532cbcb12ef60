"""What the documents of the five systems state, held against the runs as their YAMLs resolve."""

import pytest
import torchvision
from torch import nn

from deocclude.engines.runs.config import available_runs, load_config
from deocclude.models.features import layer_names


def weights(name: str, *overrides: str) -> dict[str, float]:
    """The weight of each term, the last one of a schedule."""
    found = {}
    for term, options in load_config(name, None, list(overrides)).losses.items():
        weight = options["weight"]
        found[term] = weight["end"] if isinstance(weight, dict) else weight
    return found


def adam(name: str) -> list[tuple]:
    training = load_config(name).training
    return [
        (each.name, each.lr, tuple(each.betas))
        for each in (training.generator, training.discriminator)
    ]


def test_occlufix_sees_four_channels_and_is_judged_by_six_terms_and_two_discriminators():
    config = load_config("occlufix")
    kinds = {options.get("term", name) for name, options in config.losses.items()}
    assert kinds == {"l1", "perceptual", "style", "tv", "adversarial"}
    assert {config.losses[term]["network"] for term in ("perceptual", "style")} == {"vgg16"}
    assert {each.name for each in config.discriminators.values()} == {"patch", "global"}
    assert config.data.size == 256


def test_occlufix_raises_perceptual_and_adversarial_weights_over_the_run():
    for name, options in load_config("occlufix").losses.items():
        weight = options["weight"]
        grows = isinstance(weight, dict) and weight["end"] > weight["start"]
        assert grows == (name not in ("l1", "tv")), name


def test_occlufix_without_schedule_has_the_final_weights():
    assert weights("occlufix_no_schedule") == weights("occlufix")
    for options in load_config("occlufix_no_schedule").losses.values():
        assert not isinstance(options["weight"], dict)


@pytest.mark.parametrize(
    ("name", "gone", "critics"),
    [
        ("occlufix_no_style", {"style"}, {"patch", "global"}),
        ("occlufix_no_tv", {"tv"}, {"patch", "global"}),
        ("occlufix_patch_only", {"adversarial_global"}, {"patch"}),
        ("occlufix_global_only", {"adversarial_patch"}, {"global"}),
        (
            "occlufix_l1_only",
            {"perceptual", "style", "tv", "adversarial_patch", "adversarial_global"},
            set(),
        ),
    ],
)
def test_an_ablation_of_occlufix_leaves_out_what_its_name_says(name, gone, critics):
    whole, config = load_config("occlufix"), load_config(name)
    assert whole.losses.keys() - config.losses.keys() == gone
    assert set(config.discriminators) == critics
    for term, options in config.losses.items():
        assert options == whole.losses[term]
    assert (config.model, config.data, config.training) == (
        whole.model, whole.data, whole.training,
    )  # fmt: skip


def test_the_vgg19_generators_layers_are_features_1_6_11_20_29():
    config = load_config("vgg19_generator")
    assert set(config.losses) == {"l1", "perceptual"}
    assert not config.discriminators
    features = torchvision.models.vgg19(weights=None, init_weights=False).features
    indices = layer_names(features)
    perceptual = config.losses["perceptual"]
    assert perceptual["network"] == "vgg19"
    assert [indices[layer] for layer in perceptual["layers"]] == [1, 6, 11, 20, 29]
    assert all(isinstance(features[i], nn.ReLU) for i in (1, 6, 11, 20, 29))
    assert config.training.epochs == 10  # the last epoch of the published table
    assert load_config("vgg19_generator", "small").training.epochs == 10


@pytest.mark.parametrize("blocks", [3, 9])
def test_the_number_of_residual_blocks_is_a_setting(blocks):
    run = load_config(f"vgg19_generator_{blocks}_blocks")
    assert run.model.options["residual_blocks"] == blocks
    assert run.losses == load_config("vgg19_generator").losses


def test_the_attention_gans_parts():
    config = load_config("attention_gan")
    assert {"edge", "adversarial"} < set(config.losses)
    assert config.loss_on == "composed"
    (critic,) = config.discriminators.values()
    assert (critic.name, critic.options["with_mask"]) == ("patch", True)
    assert config.features.name == "efficientnet_b0"


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("attention_gan_no_attention", "attention", False),
        ("attention_gan_plain", "gated", False),
        ("attention_gan_no_features", "use_features", False),
        ("attention_gan_same_embedding", "same_embedding", True),
    ],
)
def test_an_ablation_of_the_attention_gan_changes_one_option(name, option, value):
    whole, config = load_config("attention_gan"), load_config(name)
    assert config.model.options == {**whole.model.options, option: value}
    assert (config.losses, config.training) == (whole.losses, whole.training)
    assert (config.features is None) == (option in ("use_features", "same_embedding"))
    assert "edge" not in load_config("attention_gan_no_edge").losses


def test_the_identity_classifier_is_trained_as_stated():
    config = load_config("efficientnetb0", None, [], "identity")
    optimizer = config.training.optimizer
    assert (optimizer.name, optimizer.lr, config.training.epochs) == ("adamw", 5e-4, 40)


FACIAL = ("facial_deocclusion", "facial_deocclusion_attention", "facial_deocclusion_finetuned")


@pytest.mark.parametrize(("name", "epochs"), list(zip(FACIAL, (100, 300, 200), strict=True)))
def test_facial_deocclusions_experiments_share_loss_and_rates(name, epochs):
    assert weights(name) == {"l1": 1.2, "adversarial": 0.5, "ssim": 80.0}
    assert adam(name) == [("adam", 1e-5, (0.5, 0.999)), ("adam", 9e-6, (0.5, 0.999))]
    config = load_config(name)
    assert (config.training.epochs, config.training.batch_size) == (epochs, 8)
    assert config.model.options["attention"] == (name != "facial_deocclusion")


@pytest.mark.parametrize("name", FACIAL)
@pytest.mark.parametrize("profile", ["medium", "small", "quick"])
def test_short_profiles_raise_facial_deocclusions_rates(name, profile):
    """At the published 1e-5 nothing is learned in the 2 000 steps and fewer that they have."""
    training = load_config(name, profile).training
    assert (training.generator.lr, training.discriminator.lr) == (5e-4, 4.5e-4)


def test_attention_from_scratch_sees_as_many_images_as_base_and_fine_tuning():
    for profile in (None, "medium"):
        base, attention, tuned = (load_config(name, profile).training.epochs for name in FACIAL)
        assert attention == base + tuned
        assert attention == load_config("facial_deocclusion_long", profile).training.epochs


@pytest.mark.parametrize("profile", [None, "medium", "small", "quick"])
@pytest.mark.parametrize(
    ("name", "whole", "term"),
    [
        ("reconstruction_no_adversarial", "reconstruction", "adversarial"),
        ("facial_deocclusion_no_adversarial", "facial_deocclusion", "adversarial"),
        ("facial_deocclusion_no_ssim", "facial_deocclusion", "ssim"),
    ],
)
def test_a_run_without_a_term_has_it_in_no_profile(name, whole, term, profile):
    config, whole = load_config(name, profile), load_config(whole, profile)
    assert config.losses == {key: whole.losses[key] for key in whole.losses if key != term}
    assert config.discriminators == ({} if term == "adversarial" else whole.discriminators)
    assert (config.model, config.training) == (whole.model, whole.training)


def test_only_the_third_experiment_starts_from_the_first():
    starts = [load_config(name).init_from for name in FACIAL]
    assert starts == [None, None, "facial_deocclusion"]


def test_the_masked_experiment_judges_the_hole_only():
    config = load_config("facial_deocclusion_masked")
    assert weights("facial_deocclusion_masked") == weights("facial_deocclusion")
    assert config.loss_on == "composed"
    assert config.losses["l1"]["term"] == "hole_l1"
    assert config.losses["ssim"]["region"] == "hole"


def test_the_self_supervised_variant_is_blind_and_its_adam_has_no_momentum():
    config = load_config("selfsupervised")
    assert (config.data.hidden_by, config.data.preset) == ("occluders", "blind")
    assert "hole_l1" not in config.losses
    assert weights("selfsupervised")["l1"] == weights("reconstruction")["hole_l1"]
    assert [betas for _, _, betas in adam("selfsupervised")] == [(0.0, 0.9)] * 2
    assert config.training.batch_size == 4


def test_the_general_run_differs_from_reconstruction_in_its_pictures_only():
    general, faces = load_config("general"), load_config("reconstruction")
    assert (general.data.faces, faces.data.faces) == ("stl10", "auto")
    assert (general.losses, general.training) == (faces.losses, faces.training)


@pytest.mark.parametrize("name", sorted(available_runs()))
@pytest.mark.parametrize("profile", ["medium", "small", "quick"])
def test_every_run_resolves_under_every_profile(name, profile):
    config = load_config(name, profile)
    assert config.profile == profile
    size = 128 if profile == "medium" else 64
    assert config.data.size <= (96 if name == "general" else size)
