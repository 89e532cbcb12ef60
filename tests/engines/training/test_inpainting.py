from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from deocclude.data.contract import hide
from deocclude.data.sources.holes import open_sources
from deocclude.engines.runs.runtime import start_runtime
from deocclude.engines.training.gan_steps import Part, discriminator_step, generator_step
from deocclude.engines.training.inpainting import Trainer, build_trainer
from deocclude.engines.training.trainer import NonFiniteLossError, learning_rate_factor
from deocclude.models import ifacenet


@pytest.fixture
def make_trainer(tiny_config) -> Callable[..., Trainer]:
    def make(*overrides: str, name: str = "ablationv1") -> Trainer:
        config = tiny_config(name, *overrides)
        runtime = start_runtime(config.training.mixed_precision, "cpu", 0)
        return build_trainer(config, runtime, 24)

    return make


def make_part(seed: int = 0, count: int = 4) -> Part:
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(count, 3, 32, 32, generator=generator)
    mask = (torch.rand(count, 1, 32, 32, generator=generator) > 0.6).float()
    return Part(target, mask, hide(target, mask), [f"{seed}/{i}" for i in range(count)])


def gradients(network: torch.nn.Module) -> dict[str, torch.Tensor | None]:
    return {
        name: None if p.grad is None else p.grad.clone() for name, p in network.named_parameters()
    }


def test_generator_step_leaves_the_discriminator_alone(make_trainer):
    """Defect 1 of the public code, corrected: no gradient and no weight of the critic changes."""
    trainer = make_trainer()
    part = make_part()
    predictions, _ = generator_step(trainer, [part])
    discriminator_step(trainer, [part], predictions)
    before = gradients(trainer.discriminators["discriminator"])
    weights = {
        k: v.clone() for k, v in trainer.discriminators["discriminator"].state_dict().items()
    }
    assert all(g is not None for g in before.values())
    generator_step(trainer, [make_part(1)])
    for name, gradient in gradients(trainer.discriminators["discriminator"]).items():
        torch.testing.assert_close(gradient, before[name], rtol=0, atol=0)
    for name, value in trainer.discriminators["discriminator"].state_dict().items():
        torch.testing.assert_close(value, weights[name], rtol=0, atol=0)
    assert all(p.requires_grad for p in trainer.discriminators["discriminator"].parameters())


def test_discriminator_step_leaves_the_generator_alone(make_trainer):
    trainer = make_trainer()
    part = make_part()
    predictions, _ = generator_step(trainer, [part])
    before = gradients(trainer.generator)
    weights = {k: v.clone() for k, v in trainer.generator.state_dict().items()}
    discriminator_step(trainer, [part], predictions)
    for name, gradient in gradients(trainer.generator).items():
        torch.testing.assert_close(gradient, before[name], rtol=0, atol=0)
    for name, value in trainer.generator.state_dict().items():
        torch.testing.assert_close(value, weights[name], rtol=0, atol=0)


def discriminator_gradient(trainer: Trainer) -> torch.Tensor:
    """What the critic's update sees in a whole training step, flattened."""
    part = make_part()
    predictions, _ = generator_step(trainer, [part])
    discriminator_step(trainer, [part], predictions)
    critic = trainer.discriminators["discriminator"]
    return torch.cat([g.flatten() for g in gradients(critic).values()])


def own_gradient(trainer: Trainer) -> torch.Tensor:
    """The gradient of the critic's own loss, computed apart."""
    part = make_part()
    critic = trainer.discriminators["discriminator"]
    with torch.no_grad():
        prediction = trainer.generator(part.occluded, part.mask)
    logits_real, logits_fake = critic(part.target), critic(prediction)
    loss = torch.nn.functional.softplus(-logits_real).mean() / 2
    loss = loss + torch.nn.functional.softplus(logits_fake).mean() / 2
    found = torch.autograd.grad(loss, list(critic.parameters()))
    return torch.cat([g.flatten() for g in found])


def test_corrected_critic_sees_its_own_gradient_only(make_trainer):
    trainer = make_trainer()
    expected = own_gradient(trainer)
    torch.testing.assert_close(discriminator_gradient(trainer), expected, rtol=1e-3, atol=1e-7)


def test_published_critic_also_sees_the_generators_gradient(make_trainer, monkeypatch):
    """Defect 1 reproduced: the leak is there, and as large as the generator's adversarial term."""
    monkeypatch.setattr(ifacenet, "FEATURES", 512)  # as published too
    trainer = make_trainer("as_published=true")
    own = own_gradient(trainer)
    seen = discriminator_gradient(trainer)
    leak = (seen - own).norm() / own.norm()
    assert leak > 1, leak


def test_accumulated_parts_give_the_gradient_of_the_whole_batch(make_trainer):
    whole, parts = make_trainer(), make_trainer("training.accumulate=2")
    for name, critic in parts.trained().items():
        critic.load_state_dict(whole.trained()[name].state_dict())
    batch = make_part()
    halves = [Part(*(field[i : i + 2] for field in batch[:4])) for i in (0, 2)]
    for trainer, given in ((whole, [batch]), (parts, halves)):
        predictions, _ = generator_step(trainer, given)
        discriminator_step(trainer, given, predictions)
    for network in ("generator", "discriminator"):
        expected = gradients(whole.trained()[network])
        for name, gradient in gradients(parts.trained()[network]).items():
            torch.testing.assert_close(gradient, expected[name], rtol=1e-3, atol=1e-6)


def test_training_lowers_the_loss_of_a_batch(make_trainer):
    trainer = make_trainer(
        "losses.adversarial=null", "discriminator=null", "training.learning_rate.warmup_steps=0"
    )
    part = make_part()
    first = float(trainer.train_step([part])["total"])
    for _ in range(15):
        last = float(trainer.train_step([part])["total"])
    assert last < 0.97 * first


def test_a_non_finite_loss_names_the_batch_and_touches_no_weight(make_trainer):
    trainer = make_trainer()
    part = make_part()
    part.target[1, 0, 3, 3] = float("nan")
    weights = {k: v.clone() for k, v in trainer.generator.state_dict().items()}
    with pytest.raises(NonFiniteLossError, match=r"step 0.*0/0, 0/1, 0/2, 0/3"):
        trainer.train_step([part])
    for name, value in trainer.generator.state_dict().items():
        torch.testing.assert_close(value, weights[name], rtol=0, atol=0)


def test_ema_follows_the_weights_with_a_warmed_up_decay(make_trainer):
    trainer = make_trainer("training.ema_decay=0.9")
    start = [p.clone() for p in trainer.ema.module.parameters()]
    trainer.train_step([make_part()])
    now = list(trainer.generator.parameters())
    # AveragedModel copies at its first update; the second one averages with decay 2/11
    for average, value in zip(trainer.ema.module.parameters(), now, strict=True):
        torch.testing.assert_close(average, value)
    assert any(not torch.equal(a, b) for a, b in zip(start, now, strict=True))
    before = [p.clone() for p in now]
    trainer.train_step([make_part(1)])
    for average, old, new in zip(
        trainer.ema.module.parameters(), before, trainer.generator.parameters(), strict=True
    ):
        torch.testing.assert_close(average, old.lerp(new, 9 / 11), rtol=1e-4, atol=1e-6)


def test_learning_rate_warms_up_and_falls_to_its_floor(tiny_config):
    rate = tiny_config(
        "ablationv1",
        "training.learning_rate={schedule: cosine, warmup_steps: 10, floor: 0.1}",
    ).training.learning_rate
    values = [learning_rate_factor(step, 110, rate) for step in range(111)]
    assert values[0] == pytest.approx(0.1)
    assert values[9] == values[10] == 1
    assert values[60] == pytest.approx(0.55)
    assert values[110] == pytest.approx(0.1)
    assert all(a >= b for a, b in pairwise(values[10:]))


def test_validation_scores_the_ema_and_leaves_training_as_it_was(make_trainer):
    trainer = make_trainer()
    pairs = open_sources(trainer.config.data, None).frozen("val")
    trainer.generator.train()
    scores = trainer.validate(pairs)
    assert scores == trainer.validate(pairs)
    with torch.no_grad():
        for parameter in trainer.ema.module.parameters():
            parameter.zero_()
    grey = trainer.validate(pairs)  # an untrained, then an all-grey prediction
    assert grey["composed/psnr"] != scores["composed/psnr"]
    assert grey["composed/psnr"] > grey["raw/psnr"]
    assert trainer.generator.training


def test_a_precision_that_would_be_full_is_refused(make_trainer):
    """Accelerate takes fp16 on a CPU and then computes in float32."""
    with pytest.raises(ValueError, match=r"fp16.*valid here are no, bf16"):
        make_trainer("training.mixed_precision=fp16")


def test_mixed_precision_trains_on_the_cpu(make_trainer):
    trainer = make_trainer("training.mixed_precision=bf16")
    terms = trainer.train_step([make_part()])
    assert all(torch.isfinite(value) for value in terms.values())
    assert all(p.dtype == torch.float32 for p in trainer.generator.parameters())


def test_an_unknown_device_is_refused_by_name():
    with pytest.raises(ValueError, match="cuda:7"):
        start_runtime("no", "cuda:7")


def test_real_faces_can_be_trained_on(real_data: Path, tiny_config):
    config = tiny_config("ablationv1", "data.faces=auto", "data.size=64", "data.train_images=8")
    sources = open_sources(config.data, real_data)
    assert sources.folder is not None
    assert "celeba" in sources.folder.name  # of the folders there, the nearest from above
    faces = sources.training_faces(Path("unused"))
    assert len(faces) == 8
    assert faces[0].shape == (64, 64, 3)


def test_a_penalty_every_eighth_step_moves_the_critic(make_trainer):
    rest = "discriminators={discriminator: {name: patch, widths: [4, 8], with_mask: true}}"
    matching, region = "losses.feature_matching={weight: 1.0}", "losses.adversarial.region=hole"
    plain, punished = (
        make_trainer(rest, matching, region, f"losses.adversarial.r1={r1}") for r1 in (0, 10)
    )
    first = {k: v.clone() for k, v in plain.trained()["discriminator"].state_dict().items()}
    punished.generator.load_state_dict(plain.generator.state_dict())
    part = make_part()
    for step, equal in ((0, False), (1, True), (8, False)):
        found = []
        for trainer in (plain, punished):
            trainer.step, critic = step, trainer.discriminators["discriminator"]
            critic.load_state_dict(first)
            predictions, terms = generator_step(trainer, [part])
            assert terms["feature_matching"] > 0
            discriminator_step(trainer, [part], predictions)
            found.append(gradients(critic)["features.0.weight"])
        assert torch.allclose(*found, rtol=1e-3, atol=1e-7) == equal, step
