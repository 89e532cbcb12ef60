"""What the frame does for several systems: discriminators by name, composed losses, features,
weights by name."""

import math

import pytest
import torch
from system_stubs import FEW_LAYERS, NARROW, SMALL_UNET, changed, make_part, make_trainer, snapshot

from deocclude.engines.runs.config import ConfigError, load_config
from deocclude.engines.training.gan_steps import discriminator_step, generator_step, loss_inputs
from deocclude.engines.training.inpainting import load_pairs
from deocclude.losses.schedule import Schedule


@pytest.fixture
def occlufix():
    return make_trainer("occlufix", *SMALL_UNET, *FEW_LAYERS)


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
        (["losses.l1.weight=true"], ["true", "a number or a schedule"]),
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
    from deocclude.data.sources.holes import open_sources

    pairs = open_sources(occlufix.config.data, None).frozen("val")
    scores = occlufix.validate(pairs)
    target, mask, occluded = load_pairs(pairs, range(len(pairs)), occlufix.config.data.fill)
    with torch.no_grad():
        guess = occlufix.ema.module.eval()(occluded, mask)
    assert scores["loss/l1"] == pytest.approx(float((guess - target).abs().mean()), rel=1e-4)
    weights = occlufix.loss.weights(occlufix.epoch)
    total = sum(weights[name] * scores[f"loss/{name}"] for name in weights)
    assert scores["loss/total"] == pytest.approx(total, rel=1e-4)


def test_spectral_norm_does_not_iterate_in_validation():
    """Its buffers belong to training: a resumed run must find them where it left them."""
    from deocclude.data.sources.holes import open_sources

    spectral = "discriminators.dcgan.spectral_norm=true"
    trainer = make_trainer("facial_deocclusion", *NARROW, spectral)
    before = snapshot(trainer.discriminators["dcgan"])
    trainer.validate(open_sources(trainer.config.data, None).frozen("val"))
    assert not changed(trainer.discriminators["dcgan"], before)
    assert trainer.discriminators["dcgan"].training
