import pytest

from deocclude.engines.runs.config import ConfigError, available_runs, load_config
from deocclude.engines.runs.tasks import ABLATIONS


def test_every_run_of_the_repository_is_valid_with_every_profile():
    profiles = sorted(p.stem for p in (ABLATIONS / "profiles").glob("*.yaml"))
    assert profiles == ["full", "medium", "quick", "small"]
    for name in available_runs():
        for profile in [None, *profiles]:
            assert load_config(name, profile).description


def test_reconstruction_has_the_published_hyperparameters():
    config = load_config("Reconstruction", "full")
    weights = {name: term["weight"] for name, term in config.losses.items()}
    assert weights == {"perceptual": 1.7, "style": 4.0, "hole_l1": 3.6, "adversarial": 4.7}
    assert config.losses["perceptual"]["layers"] == [f"relu{i}_1" for i in range(1, 5)]
    assert config.losses["style"]["layers"] == ["relu2_2", "relu3_4", "relu4_4", "relu5_2"]
    training = config.training
    assert (training.epochs, training.batch_size, training.seed) == (20, 8, 42)
    for optimizer in (training.generator, training.discriminator):
        assert (optimizer.lr, optimizer.betas) == (1e-3, (0.9, 0.999))
    assert (config.data.size, config.data.fill) == (256, 1.0)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("ablationv1", {"branches": ["light"]}),
        ("ablationv2", {"branches": ["resnet50"]}),
        ("ablationv3", {"attention": False}),
        ("reconstruction_with_mask", {"mask": True}),
    ],
)
def test_an_ablation_changes_one_field(name, change):
    whole, ablated = load_config("reconstruction"), load_config(name)
    assert ablated.model.options == {**whole.model.options, **change}
    skip = {"name", "description", "model"}
    assert ablated.model_dump(exclude=skip) == whole.model_dump(exclude=skip)


def test_names_are_case_insensitive_and_a_path_works(tmp_path):
    assert load_config("ABLATIONV2").name == "ablationv2"
    path = tmp_path / "mine.yaml"
    path.write_text("extends: ablationv1\nname: mine\ntraining: {epochs: 3}\n")
    config = load_config(path)
    assert (config.name, config.training.epochs, config.training.batch_size) == ("mine", 3, 8)


def test_a_run_without_a_name_has_its_files_name(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("extends: ablationv1\n")
    assert load_config(path).name == "mine"


def test_overrides_win_over_the_profile():
    config = load_config("reconstruction", "small", ["data.size=96", "training.epochs=5"])
    assert (config.data.size, config.training.epochs, config.profile) == (96, 5, "small")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("trainin.epochs=3", ["--set", "trainin", "training"]),
        ("training.epoch=3", ["--set", "training.epoch", "epochs"]),
        ("training.epochs=many", ["--set", "training.epochs", "many", "integer"]),
        ("training.epochs=0", ["training.epochs", "0", "greater"]),
        ("training.mixed_precision=fp8", ["fp8", "bf16"]),
        ("training.discriminator.rate=1", ["rate", "lr", "betas"]),
        ("data.size=16", ["data.size", "16", "32"]),
        ("model.branch=[light]", ["branch", "branches"]),
        ("model.name=unet2", ["unet2", "ifacenet"]),
        ("losses.l3.weight=1", ["l3", "hole_l1"]),
        ("losses.style.layer=[a]", ["style", "layer", "layers"]),
        ("losses.hole_l1.weight=null", ["hole_l1"]),
        ("training.accumulate=3", ["3", "8"]),
        ("losses.adversarial=null", ["discriminator"]),
        ("discriminator=null", ["adversarial"]),
        ("no-sign", ["no-sign", "training.epochs=3"]),
        ("losses.perceptual.weight=heavy", ["--set", "losses.perceptual", "heavy"]),
        ("losses.style.layers=[relu9_9]", ["losses.style", "relu9_9", "relu1_1"]),
        ("losses.style.network=vgg11", ["losses.style", "vgg11", "vgg16"]),
        ("training.generator.betas=[2, 3]", ["training.generator.betas", "2", "less than 1"]),
        ("data.workers=-1", ["data.workers", "-1", "auto"]),
        ("teacher.weight=x", ["teacher.weight", "did you mean weights", "sha256"]),
        ("data.also.face=x", ["data.also.face", "faces", "template", "share"]),
        ("members=[{weight: x}]", ["members.0.weight", "weights", "name"]),
    ],
)
def test_errors_name_key_value_and_what_is_valid(override, words):
    with pytest.raises(ConfigError) as caught:
        load_config("reconstruction", None, [override])
    for word in words:
        assert word in str(caught.value)


def test_errors_name_the_file(tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text("extends: reconstruction\nname: wrong\ntraining: {batchsize: 3}\n")
    with pytest.raises(ConfigError, match=r"wrong\.yaml.*batchsize.*batch_size"):
        load_config(path)
    path.write_text("extends: wrong\nname: wrong\n")
    with pytest.raises(ConfigError, match="itself"):
        load_config(path)
    path.write_text("a: [1\n")
    with pytest.raises(ConfigError, match="YAML"):
        load_config(path)


def test_a_wrong_name_lists_the_right_ones():
    with pytest.raises(ConfigError) as caught:
        load_config("ablationv9")
    for name in available_runs():
        assert name in str(caught.value)
    with pytest.raises(ConfigError, match="small"):
        load_config("reconstruction", "smal")


def test_a_loss_term_can_be_taken_out_together_with_the_discriminator():
    config = load_config("reconstruction", None, ["losses.adversarial=null", "discriminator=null"])
    assert set(config.losses) == {"perceptual", "style", "hole_l1"}


@pytest.mark.parametrize("profile", ["full", "medium", "small", "quick"])
def test_what_a_run_removes_stays_removed_under_the_profiles_it_inherits(tmp_path, profile):
    child = tmp_path / "plain.yaml"
    text = "extends: reconstruction\ndiscriminator: null\nlosses: {adversarial: null}\n"
    child.write_text(f"{text}description: without an adversarial term\n")
    config = load_config(child, profile)
    assert "adversarial" not in config.losses
    assert not config.discriminators
    # The rest of the parent's profile counts, and the run's own can have the term again.
    assert config.model_options().get("query_key_norm", False) is (profile == "medium")
    own = "{discriminator: {name: separable_patch}, losses: {adversarial: {weight: 0.3}}}"
    child.write_text(f"{text}description: with one again\nprofiles: {{medium: {own}}}\n")
    assert load_config(child, "medium").losses["adversarial"] == {"weight": 0.3}


def test_as_published_sets_the_published_model_options():
    options = load_config("reconstruction_as_published").model_options()
    assert (options["freeze"], options["attention_normalise"]) == (True, "published")
    assert "freeze" not in load_config("reconstruction").model_options()
    explicit = load_config("reconstruction_as_published", None, ["model.freeze=false"])
    assert explicit.model_options()["freeze"] is False
