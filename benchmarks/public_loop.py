"""One training step in the order in which the De-Occlusion Face Model's public code does it.

Written from a description of that order, nothing is copied. The arithmetic of the two updates is
that of `engines.training.gan_steps` with the corrected order of clearing gradients, so
that both give the same weights; what differs is what is done again or done for nothing:

- one VGG pass for the perceptual and one for the style term, of the prediction and of the target;
- five discriminator passes: D(fake) for the generator's loss with gradients for D too, which are
  cleared; D(real) and D(fake) for its own loss; both once more, forward only, for values to log;
- L1, PSNR and SSIM of every batch on the CPU.

There is no EMA in it, and the optimizers are the project's fused ones: ours wins nothing there.
"""

if __name__ == "__main__":
    raise SystemExit("a part of `python benchmarks/training.py`, which is the program")


import copy

import torch
from torch import Tensor, nn

from deocclude import models
from deocclude.engines.training.gan_steps import Part
from deocclude.engines.training.inpainting import Trainer
from deocclude.engines.training.trainer import create_optimizer, learning_rate_factor
from deocclude.losses.adversarial import Adversarial, discriminator_loss
from deocclude.losses.inputs import LossInputs
from deocclude.metrics.image import l1, psnr, ssim
from deocclude.models.features import VGGFeatures

LOOPS = ("frozen", "kept")  # whether the VGG's own weights ask for gradients


class PublicLoop:
    """Networks that start as a trainer's do, updated in the public order.

    Args:
        trainer: gives configuration, weights, loss terms and, with "frozen", the VGG itself.
        loop: "kept": the VGG is not frozen, so that the target's features keep their graph and the
            backward pass goes through it, for gradients that nobody uses; "frozen": it is, the
            target's passes leave no graph and the comparison is the more lenient one.
    """

    def __init__(self, trainer: Trainer, loop: str) -> None:
        if loop not in LOOPS:
            raise ValueError(f"public loop {loop!r} is not one of {', '.join(LOOPS)}")
        config, self.runtime = trainer.config, trainer.runtime
        self.training = config.training
        options = config.model_options()
        if "pretrained" in options:
            options["pretrained"] = False  # the weights are the trainer's
        self.generator = models.create_inpainter(config.model.name, **options)
        ((role, critic),) = config.discriminators.items()
        self.discriminator = models.create_discriminator(critic.name, **critic.options)
        self._start_as(self.generator, trainer.generator)
        self._start_as(self.discriminator, trainer.discriminators[role])
        self.generator_optimizer = create_optimizer(self.training.generator, self.generator)
        self.discriminator_optimizer = create_optimizer(
            self.training.discriminator, self.discriminator
        )
        self.terms, self.weights = trainer.loss.terms, trainer.loss.weights(0.0)
        self.kind = trainer.loss.games([role])[role].kind
        self.role = role
        self.steps, self.total_steps = 0, trainer.total_steps
        self.extractors = {
            name: net if loop == "frozen" else copy.deepcopy(net).requires_grad_(True)
            for name, net in trainer.extractors.items()
        }

    def _start_as(self, mine: nn.Module, given: nn.Module) -> None:
        given = self.runtime.unwrap(given)
        mine.load_state_dict(given.state_dict())
        wanted = dict(given.named_parameters())
        for key, parameter in mine.named_parameters():
            parameter.requires_grad_(wanted[key].requires_grad)
        mine.to(self.runtime.device)
        if self.training.channels_last:
            mine.to(memory_format=torch.channels_last)

    def step(self, part: Part) -> dict[str, float]:
        """One update of both networks. Returns the values that the loop would log."""
        critic = self.discriminator
        self._set_learning_rates()
        with self.runtime.autocast():
            fake = self.generator(part.occluded, part.mask)
        fake = fake.float()
        self.generator_optimizer.zero_grad(set_to_none=True)
        with self.runtime.autocast():
            total = self.generator_loss(fake, part)
        total.backward()
        self.generator_optimizer.step()

        # corrected: what the generator's backward pass left in the discriminator is cleared here
        self.discriminator_optimizer.zero_grad(set_to_none=True)
        with self.runtime.autocast():
            loss = discriminator_loss(self.kind, critic(part.target), critic(fake.detach()))
        loss.backward()
        self.discriminator_optimizer.step()
        with self.runtime.autocast():
            again = discriminator_loss(self.kind, critic(part.target), critic(fake.detach()))
        for net in self.extractors.values():
            net.zero_grad(set_to_none=True)
        logged = {"total": total.item(), "discriminator": loss.item(), "after": again.item()}
        return logged | measure(fake.detach().cpu(), part.target.cpu())

    def _set_learning_rates(self) -> None:
        rate = self.training.learning_rate
        factor = learning_rate_factor(self.steps, self.total_steps, rate)
        self.steps += 1
        for optimizer, options in (
            (self.generator_optimizer, self.training.generator),
            (self.discriminator_optimizer, self.training.discriminator),
        ):
            for group in optimizer.param_groups:
                group["lr"] = options.lr * factor

    def generator_loss(self, fake: Tensor, part: Part) -> Tensor:
        """The weighted terms; each feature term runs its own passes."""
        total = 0.0
        for name, term in self.terms.items():
            if not self.weights[name]:
                continue
            found, wanted = {}, {}
            if hasattr(term, "layers"):
                net = self.extractors[term.network]
                found = {term.network: features_of(net, fake, term.layers)}
                wanted = {term.network: features_of(net, part.target, term.layers)}
            logits = {self.role: self.discriminator(fake)} if isinstance(term, Adversarial) else {}
            inputs = LossInputs(fake, part.target, part.mask, logits, found, wanted)
            total = total + self.weights[name] * term(inputs)
        return total


def features_of(net: VGGFeatures, image: Tensor, layers: list[str]) -> dict[str, Tensor]:
    """Only these layers, no deeper than they need."""
    left = {index: name for index, name in net.wanted.items() if name in layers}
    x, found = net.normalise(image), {}
    for index, layer in enumerate(net.features[: max(left) + 1]):
        x = layer(x)
        if index in left:
            found[left[index]] = x
    return found


@torch.no_grad()
def measure(prediction: Tensor, target: Tensor) -> dict[str, float]:
    """L1, PSNR and SSIM of a batch."""
    return {f.__name__: f(prediction, target).mean().item() for f in (l1, psnr, ssim)}


@torch.no_grad()
def gradient_difference(ours: nn.Module, theirs: nn.Module) -> float:
    """|a - b| / |b| over all gradients as one vector.

    ValueError when a parameter has a gradient in one of the two only.
    """
    pairs = []
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        if (a.grad is None) != (b.grad is None):
            raise ValueError(f"only one of the two loops gave {name} a gradient")
        if a.grad is not None:
            pairs.append((a.grad, b.grad))
    return _relative(pairs)


@torch.no_grad()
def weight_difference(ours: nn.Module, theirs: nn.Module) -> float:
    """|a - b| / |b| over all weights as one vector.

    One by one they may differ by a whole step: Adam's first one is the learning rate times the
    gradient's sign, also where the gradient is nothing but rounding.
    """
    return _relative(list(zip(ours.parameters(), theirs.parameters(), strict=True)))


def _relative(pairs: list[tuple[Tensor, Tensor]]) -> float:
    difference = sum((a.double() - b.double()).square().sum() for a, b in pairs)
    return float((difference / sum(b.double().square().sum() for _, b in pairs)).sqrt())
