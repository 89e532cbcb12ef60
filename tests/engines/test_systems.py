"""What the frame does for several systems: discriminators by name, composed losses, features,
weights by name."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from data.contract import hide
from engines.checkpoint import load_checkpoint, load_inpainter, save_release
from engines.config import ConfigError, load_config
from engines.feature_network import load_features
from engines.inference import Deoccluder, load_deoccluder
from engines.inpainting import (
    Part,
    build_trainer,
    discriminator_step,
    generator_step,
    load_pairs,
    loss_inputs,
    validate,
)
from engines.runtime import start_runtime
from engines.training import dry_run, train
from losses import Schedule
from models import create_identity_network, create_inpainter

TINY = [
    "data.size=32",
    "data.builtin_images=16",
    "data.validation_pairs=6",
    "data.test_per_bin=1",
    "data.workers=0",
    "training.epochs=2",
    "training.epoch_images=8",
    "training.batch_size=4",
    "training.max_minutes=null",
    "training.mixed_precision=no",
    "training.features_weights=random",
    "training.log_steps=1",
]
SMALL_UNET = ["model.width=4", "model.depth=2"]
FEW_LAYERS = ["losses.perceptual.layers=[relu1_1]", "losses.style.layers=[relu1_1]"]
SMALL_GAN = ["model.width=4", "model.grid=4", "discriminators.patch.widths=[4, 8]"]
NARROW = ["model.width=4", "discriminators.dcgan.widths=[4, 8]"]


def tiny(name: str, *overrides: str):
    return load_config(name, "quick", [*TINY, *overrides])


def make_trainer(name: str, *overrides: str):
    config = tiny(name, *overrides)
    return build_trainer(config, start_runtime("no", "cpu", 0), 16)


@pytest.fixture
def occlufix():
    return make_trainer("occlufix", *SMALL_UNET, *FEW_LAYERS)


def make_part(count: int = 4) -> Part:
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(count, 3, 32, 32, generator=generator)
    mask = torch.zeros(count, 1, 32, 32)
    mask[..., 8:24, 8:20] = 1
    return Part(target, mask, hide(target, mask), [str(i) for i in range(count)])


def snapshot(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in network.state_dict().items()}


def changed(network: torch.nn.Module, before: dict[str, torch.Tensor]) -> bool:
    return any(not torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_each_discriminator_takes_a_step_of_its_own(occlufix):
    """Every network changes in its own step only."""
    part, critics = make_part(), occlufix.discriminators
    occlufix.step = occlufix.epoch_steps  # where both adversarial weights are above 0
    assert set(critics) == {"patch", "global"}
    before = {name: snapshot(net) for name, net in occlufix.trained().items()}
    predictions, terms = generator_step(occlufix, [part])
    assert changed(occlufix.generator, before["generator"])
    for name, critic in critics.items():
        assert not changed(critic, before[f"discriminator.{name}"])
        assert all(p.grad is None for p in critic.parameters())
    assert {"adversarial_patch", "adversarial_global"} <= terms.keys()
    after = snapshot(occlufix.generator)
    losses = discriminator_step(occlufix, [part], predictions)
    assert set(losses) == {"discriminator.patch", "discriminator.global"}
    assert not changed(occlufix.generator, after)
    assert all(changed(c, before[f"discriminator.{name}"]) for name, c in critics.items())


def test_an_adversarial_term_listens_to_its_own_discriminator(occlufix):
    """Silencing one discriminator changes its own term and no other."""
    part = make_part()

    @torch.no_grad()
    def terms() -> dict[str, float]:
        inputs = loss_inputs(occlufix, occlufix.discriminators, part.occluded, part)
        return {name: float(value) for name, value in occlufix.loss(inputs, 1.0)[1].items()}

    first = terms()
    with torch.no_grad():
        for parameter in occlufix.discriminators["global"].parameters():
            parameter.zero_()
    second = terms()
    assert second.pop("adversarial_global") == pytest.approx(math.log(2))
    assert first.pop("adversarial_global") != pytest.approx(math.log(2), abs=1e-3)
    assert first == second


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["losses.adversarial_patch=null"], ["patch", "no adversarial"]),
        (["discriminators.global=null"], ["global", "patch"]),
        (["losses.adversarial_patch.discriminator=null"], ["must name", "patch, global"]),
        (["losses.adversarial_global.discriminator=patch"], ["global", "nothing"]),
        (["discriminators.global.name=locla"], ["locla", "patch"]),
        (["losses.style.weight.unit=years"], ["years", "share"]),
        (["losses.style.weight.begin=0.7"], ["beyond the end"]),
        (["init_from=7"], ["init_from"]),
        (["init_from=''"], ["init_from"]),
        (["discriminators.a/b={name: patch}"], ["a/b"]),
        (["losses.a/b={weight: 1, term: l1}"], ["a/b"]),
        (["losses.l1.weight=.nan"], ["nan", "finite"]),
        (["losses.l1.weight=true"], ["True", "a number or a schedule"]),
        (["losses.style.weight={start: 0, end: 1, units: share}"], ["units", "unit"]),
        (["loss_on=hole"], ["composed"]),
    ],
)
def test_what_does_not_fit_together_is_named(overrides, words):
    with pytest.raises(ConfigError) as caught:
        load_config("occlufix", None, overrides)
    for word in words:
        assert word in str(caught.value)


def test_two_kinds_for_one_discriminator_are_an_error():
    both = ["losses.adversarial_global.discriminator=patch", "discriminators.global=null"]
    assert set(load_config("occlufix", None, both).discriminators) == {"patch"}
    with pytest.raises(ConfigError, match="another term of kind"):
        load_config("occlufix", None, [*both, "losses.adversarial_global.kind=hinge"])


def test_a_single_discriminator_may_be_written_as_before():
    """Runs recorded with the key `discriminator` still open, under the same network's name."""
    config = load_config("reconstruction")
    assert set(config.discriminators) == {"discriminator"}
    again = type(config).model_validate(config.model_dump(mode="json"))
    assert again == config
    for given in (["discriminator=null"], ["discriminators.discriminator=null"]):
        assert not load_config(
            "reconstruction", None, [*given, "losses.adversarial=null"]
        ).discriminators
    narrow = load_config("reconstruction", None, ["discriminators.discriminator.widths=[4, 8]"])
    assert narrow.discriminators["discriminator"].options["widths"] == [4, 8]
    with pytest.raises(ConfigError, match=r"discriminators: \{discriminator: null\}"):
        load_config("reconstruction", None, ["losses.adversarial=null"])
    old = config.model_dump(mode="json")
    old["discriminator"] = old.pop("discriminators")["discriminator"]
    assert type(config).model_validate(old) == config


def test_a_run_says_what_a_profile_changes_for_it(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "extends: occlufix\nprofiles:\n  small: {training: {generator: {lr: 0.5}}}\n",
        encoding="utf-8",
    )
    assert load_config(path, "small").training.generator.lr == 0.5
    assert load_config(path, "small").data.size == 64
    assert load_config(path, "small", ["training.generator.lr=0.25"]).training.generator.lr == 0.25
    assert (
        load_config(path, "full").training.generator.lr
        == load_config("occlufix").training.generator.lr
    )
    path.write_text("extends: occlufix\nprofiles:\n  tiny: {data: {size: 64}}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="tiny"):
        load_config(path, "small")


def test_a_schedule_in_shares_goes_with_the_length_of_the_run():
    schedule = Schedule(0.0, 1.0, begin=0.25, warmup=0.5, unit="share")
    assert [schedule.over(8)(e) for e in (0, 2, 4, 6, 8)] == [0, 0, 0.5, 1, 1]
    assert schedule.over(100)(50) == schedule.over(8)(4)
    with pytest.raises(ValueError, match="over"):
        schedule(1.0)
    trainer = make_trainer("occlufix", *SMALL_UNET, *FEW_LAYERS, "training.epochs=4")
    weights = [trainer.loss.weights(e)["style"] for e in (0, 1, 2, 4)]
    assert weights == pytest.approx([10, 55, 100, 100])


def test_a_composed_loss_asks_nothing_outside_the_hole():
    """The known pixels of the prediction get no gradient; with loss_on prediction they do."""
    part = make_part()
    for loss_on, expected in (("composed", 0.0), ("prediction", None)):
        trainer = make_trainer("facial_deocclusion", *NARROW, f"loss_on={loss_on}")
        grads = []

        def keep(_, __, answer, grads=grads) -> None:
            answer.register_hook(grads.append)

        trainer.generator.register_forward_hook(keep)
        generator_step(trainer, [part])
        outside = (grads[0] * (1 - part.mask)).abs().sum()
        assert (grads[0] * part.mask).abs().sum() > 0
        assert (outside == 0) if expected == 0.0 else (outside > 0)


def test_validation_terms_are_those_of_the_loss(occlufix):
    """val/loss/... of a batch equals the loss of the released weights' prediction, by hand."""
    from engines.datasets import open_sources

    pairs = open_sources(occlufix.config.data, None).frozen("val")
    scores = validate(occlufix, pairs)
    target, mask, occluded = load_pairs(pairs, range(len(pairs)), occlufix.config.data.fill)
    with torch.no_grad():
        guess = occlufix.ema.module.eval()(occluded, mask)
    assert scores["loss/l1"] == pytest.approx(float((guess - target).abs().mean()), rel=1e-4)
    weights = occlufix.loss.weights(occlufix.epoch)
    total = sum(weights[name] * scores[f"loss/{name}"] for name in weights)
    assert scores["loss/total"] == pytest.approx(total, rel=1e-4)


@pytest.fixture(scope="module")
def base_run(tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    train(tiny("facial_deocclusion", *NARROW), None, runs, device="cpu")
    return runs


def test_init_from_takes_the_base_weights_by_name(base_run):
    """Facial Deocclusion's third experiment: the shared part is the base run's, the rest is new."""
    config = tiny("facial_deocclusion_finetuned", *NARROW, "training.epochs=1")
    trainer = build_trainer(config, start_runtime("no", "cpu", 1), 16, base_run)
    base, _ = load_inpainter(base_run / "facial_deocclusion" / "001" / "best.safetensors")
    mine = trainer.generator.state_dict()
    for key, value in base.state_dict().items():
        torch.testing.assert_close(mine[key], value, rtol=0, atol=0)
    new = sorted(mine.keys() - base.state_dict().keys())
    assert new
    said = trainer.origins()["init_from"]
    assert f"{len(base.state_dict())} tensors by name" in said
    assert "16 images, ended by epochs" in said
    assert f"{len(new)} missing there" in said
    for key, value in trainer.ema.module.state_dict().items():
        torch.testing.assert_close(value, mine[key], rtol=0, atol=0)


def test_init_from_reports_what_does_not_fit(base_run):
    wider = ["model.width=8", "discriminators.dcgan.widths=[4, 8]", "training.epochs=1"]
    with pytest.raises(ValueError, match="no tensor has a name"):
        build_trainer(
            tiny("occlufix", *SMALL_UNET, *FEW_LAYERS, "init_from=facial_deocclusion"),
            start_runtime("no", "cpu", 0), 16, base_run,
        )  # fmt: skip
    with pytest.raises(ValueError, match=r"bottleneck.bias \(128,\), not \(256,\)"):
        build_trainer(
            tiny("facial_deocclusion_finetuned", *wider),
            start_runtime("no", "cpu", 0), 16, base_run,
        )  # fmt: skip
    for missing in ("nobody", "nobody.safetensors"):
        gone = tiny("facial_deocclusion_finetuned", *NARROW, f"init_from={missing}")
        with pytest.raises(FileNotFoundError, match="nobody"):
            train(gone, None, base_run, device="cpu")
        with pytest.raises(FileNotFoundError, match="nobody"):
            dry_run(gone, None, base_run)
    assert not (base_run / "facial_deocclusion_finetuned").exists()


def test_a_start_from_an_unfinished_run_is_said(base_run, tmp_path, caplog):
    shutil.copytree(base_run / "facial_deocclusion", tmp_path / "facial_deocclusion")
    record = tmp_path / "facial_deocclusion" / "001" / "finished.json"
    facts = json.loads(record.read_text(encoding="utf-8"))
    record.write_text(json.dumps(facts | {"reason": "max_minutes"}), encoding="utf-8")
    config = tiny("facial_deocclusion_finetuned", *NARROW)
    build_trainer(config, start_runtime("no", "cpu", 0), 16, tmp_path)
    assert "was stopped (max_minutes) after 4 steps" in caplog.text


def test_spectral_norm_does_not_iterate_in_validation():
    """Its buffers belong to training: a resumed run must find them where it left them."""
    from engines.datasets import open_sources

    spectral = "discriminators.dcgan.spectral_norm=true"
    trainer = make_trainer("facial_deocclusion", *NARROW, spectral)
    before = snapshot(trainer.discriminators["dcgan"])
    validate(trainer, open_sources(trainer.config.data, None).frozen("val"))
    assert not changed(trainer.discriminators["dcgan"], before)
    assert trainer.discriminators["dcgan"].training


def test_a_start_from_weights_is_recorded_and_not_repeated(base_run):
    config = tiny("facial_deocclusion_finetuned", *NARROW)
    done = train(config, None, base_run, device="cpu", max_minutes=1e-4)
    record = json.loads((done.folder.path / "environment.json").read_text())[-1]
    assert "tensors by name" in record["weights"]["init_from"]
    stopped = load_checkpoint(done.folder.last)[0]
    again = train(config, None, base_run, resume="latest", device="cpu")
    assert again.steps > done.steps
    finished = load_checkpoint(again.folder.last)[0]
    assert any(
        not torch.equal(stopped["generator"][k], finished["generator"][k])
        for k in stopped["generator"]
    )
    record = json.loads((again.folder.path / "environment.json").read_text())[-1]
    assert "init_from" not in record["weights"]


@pytest.fixture(scope="module")
def conditioned(tmp_path_factory):
    """A finished run of a generator that takes features, from a network with random weights."""
    runs = tmp_path_factory.mktemp("conditioned")
    config = tiny("attention_gan", *SMALL_GAN, "features.weights=random", "features.classes=3")
    return train(config, None, runs, device="cpu")


def test_the_weights_file_brings_its_features_network(conditioned):
    best = conditioned.folder.best
    with safe_open(best, framework="pt") as file:
        names = list(file.keys())
    assert any(name.startswith("features/") for name in names)
    deoccluder = load_deoccluder(best, "cpu")
    network = load_features(best)
    part = make_part(2)
    expected = deoccluder.inpainter(part.occluded, part.mask, network.embed(part.occluded))
    given = deoccluder.restore_batch(part.occluded, part.mask)
    torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-5)
    elsewhere = deoccluder.inpainter(part.occluded, part.mask, torch.zeros(2, network.embedding))
    assert not torch.allclose(given, elsewhere, atol=1e-4), "the features change nothing"


def test_a_pipeline_without_the_features_network_is_refused():
    with pytest.raises(ValueError, match="features"):
        Deoccluder(create_inpainter("attention_gan", width=4, grid=4), 32)
    with pytest.raises(ValueError, match="takes features"):
        make_trainer("attention_gan", *SMALL_GAN, "features=null")
    with pytest.raises(ValueError, match="takes no features"):
        make_trainer("occlufix", *SMALL_UNET, *FEW_LAYERS, "features={weights: random}")


@pytest.fixture
def identity_file(tmp_path) -> Path:
    """A weights file of an identity run."""
    torch.manual_seed(3)
    network = create_identity_network("efficientnet_b0", classes=3, pretrained=False)
    model = {"name": "efficientnet_b0", "classes": 3}
    folder = tmp_path / "EfficientNetB0" / "001"
    folder.mkdir(parents=True)
    metadata = {"config": {"task": "identity", "model": model}}
    save_release(folder / "best.safetensors", network, metadata)
    return folder / "best.safetensors"


@pytest.mark.parametrize("fate", ["gone", "damaged"])
def test_a_run_with_features_continues_without_the_file_they_came_from(
    identity_file, tmp_path, fate
):
    """The features network lies in the checkpoint; whoever trained it is no longer needed."""
    config = tiny("attention_gan", *SMALL_GAN, f"features.weights={identity_file}")
    whole = train(config, None, tmp_path / "whole", device="cpu")
    stopped = train(config, None, tmp_path / "parts", device="cpu", max_minutes=1e-4)
    assert stopped.steps < whole.steps
    assert str(tmp_path) not in json.dumps(load_inpainter(whole.folder.best)[1])
    if fate == "gone":
        identity_file.unlink()
    else:
        identity_file.write_bytes(b"damaged")
    ended = train(config, None, tmp_path / "parts", resume="latest", device="cpu")
    mine, theirs = load_checkpoint(ended.folder.last)[0], load_checkpoint(whole.folder.last)[0]
    for network in ("features", "generator", "ema", "discriminator.patch"):
        for key, value in theirs[network].items():
            assert torch.equal(mine[network][key], value), f"{network} {key}"
