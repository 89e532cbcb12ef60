"""What every inpainter of the registry must do, whatever is inside."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import l1_loss

from deocclude import models
from deocclude.data.contract import compose, hide
from deocclude.engines.inference.networks import Inpainter
from deocclude.engines.runs.config import available_runs, load_config
from deocclude.models.coarse_to_fine import CoarseToFine
from deocclude.models.ensemble import Ensemble, Member

VIT = {"encoder": "vit", "layers": 4, "heads": 2, "hidden": 32, "width": 8}
VARIANTS = {  # small where there is an option for it; at least one of each name in the registry
    "ifacenet": ("ifacenet", {"pretrained": False}),
    "ifacenet light": ("ifacenet", {"branches": ["light"], "attention": False}),
    "ifacenet mask": ("ifacenet", {"branches": ["light"], "mask": True}),
    "occlufix": ("occlufix", {"width": 8}),
    "occlufix vit": ("occlufix", VIT),
    "vgg19_generator": ("vgg19_generator", {"width": 8, "residual_blocks": 2}),
    "attention_gan": ("attention_gan", {"embedding": 16}),
    "attention_gan plain": (
        "attention_gan",
        {"attention": False, "gated": False, "use_features": False},
    ),
    "facial_deocclusion": ("facial_deocclusion", {"width": 8}),
    "student": ("student", {"width": 8}),
    "coarse_to_fine": (
        "coarse_to_fine",
        {"coarse_widths": [8, 8], "coarse_residual": [], "widths": [8, 8], "fold": 2},
    ),
    "student separable": ("student", {"width": 8, "fold": 1, "separable": True}),
    "facial_deocclusion attention": ("facial_deocclusion", {"width": 8, "attention": True}),
    "ensemble gate": ("ensemble", {"members": ["a", "b"], "combination": "gate", "width": 8}),
}
every = pytest.mark.parametrize("variant", VARIANTS)


def create(variant: str) -> nn.Module:
    torch.manual_seed(0)
    name, options = VARIANTS[variant]
    model = models.create_inpainter(name, **options)
    if isinstance(model, CoarseToFine):  # both heads start at 0 and pass no gradient on
        nn.init.normal_(model.coarse.network.head.weight, std=0.1)
        nn.init.normal_(model.fine.network.head.weight, std=0.1)
    return with_members(model) if isinstance(model, Ensemble) else model


def with_members(ensemble: Ensemble) -> Ensemble:
    """The same with untrained members, always the same ones; its gate no longer the plain mean."""
    nn.init.normal_(ensemble.gate.head.weight, generator=torch.Generator().manual_seed(3))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        return ensemble.attach(
            [Member(models.create_inpainter("occlufix", width=8)) for _ in ensemble.members]
        )


def batch(count: int = 2, height: int = 64, width: int = 64):
    """Smooth pictures, the same with a grey hole, and the hole."""
    generator = torch.Generator().manual_seed(1)
    small = torch.rand(count, 3, 4, 4, generator=generator)
    target = nn.functional.interpolate(small, (height, width), mode="bilinear")
    mask = torch.zeros(count, 1, height, width)
    mask[..., height // 4 : height // 2, width // 3 : width // 2] = 1
    return target, mask, hide(target, mask)


def features_for(model: nn.Module, count: int):
    if not model.uses_features:
        return None
    return torch.randn(count, model.embedding, generator=torch.Generator().manual_seed(2))


def test_every_name_has_a_variant():
    assert {name for name, _ in VARIANTS.values()} == set(models.INPAINTERS)


@every
def test_what_it_uses_is_declared(variant):
    model = create(variant)
    assert isinstance(model.uses_mask, bool)
    assert isinstance(model.uses_features, bool)
    assert isinstance(model.origin, str)
    assert model.origin


@every
def test_forward_and_backward_reach_every_parameter(variant):
    model = create(variant)
    if hasattr(model, "attention") and hasattr(model.attention, "gamma"):
        nn.init.ones_(model.attention.gamma)  # it starts at 0 and passes no gradient on then
    target, mask, occluded = batch()
    prediction = model(occluded, mask, features_for(model, 2))
    assert prediction.shape == target.shape
    l1_loss(prediction, target).backward()
    silent = [
        name
        for name, p in model.named_parameters()
        if p.requires_grad and (p.grad is None or not 0 < p.grad.abs().max() < torch.inf)
    ]
    assert silent == []


@every
@pytest.mark.parametrize(("height", "width"), [(61, 47), (32, 32), (50, 96)])
def test_any_size_and_a_batch_of_one(variant, height, width):
    model = create(variant).eval()
    _, mask, occluded = batch(1, height, width)
    with torch.no_grad():
        prediction = model(occluded, mask, features_for(model, 1))
    assert prediction.shape == (1, 3, height, width)
    assert prediction.min() >= 0
    assert prediction.max() <= 1


@every
def test_a_batch_of_one_trains(variant):
    model = create(variant)
    _, mask, occluded = batch(1)
    model(occluded, mask, features_for(model, 1)).mean().backward()


@every
def test_too_small_a_picture_is_an_error_that_names_its_size(variant):
    model = create(variant).eval()
    _, mask, occluded = batch(1, 31, 64)
    with pytest.raises(ValueError, match="31 x 64"):
        model(occluded, mask, features_for(model, 1))


@every
def test_the_answer_spans_the_pictures_range(variant):
    """Neither a constant nor a picture in [-1, 1] that was cut off at 0."""
    model = create(variant).eval()
    _, mask, occluded = batch()
    with torch.no_grad():
        prediction = model(occluded, mask, features_for(model, 2))
    assert prediction.std() > 1e-3
    assert (prediction <= 0).float().mean() < 0.2
    assert (prediction >= 1).float().mean() < 0.2


@every
def test_saved_and_loaded_it_answers_the_same(variant, tmp_path):
    model = create(variant).eval()
    save_file({k: t.contiguous() for k, t in model.state_dict().items()}, tmp_path / "w")
    torch.manual_seed(5)
    name, options = VARIANTS[variant]
    other = models.create_inpainter(name, **options)
    if isinstance(other, Ensemble):
        with_members(other)
    other.load_state_dict(load_file(tmp_path / "w"))
    _, mask, occluded = batch()
    features = features_for(model, 2)
    with torch.no_grad():
        first, second = model(occluded, mask, features), other.eval()(occluded, mask, features)
    assert torch.equal(first, second)


@every
def test_the_mask_counts_exactly_where_it_is_declared(variant):
    model = create(variant).eval()
    _, mask, occluded = batch()
    with torch.no_grad():
        one = model(occluded, mask, features_for(model, 2))
        other = model(occluded, mask.roll(20, dims=-1), features_for(model, 2))
    assert torch.equal(one, other) is not model.uses_mask


@every
def test_features_count_exactly_where_they_are_declared(variant):
    model = create(variant).eval()
    _, mask, occluded = batch()
    features = features_for(model, 2)
    with torch.no_grad():
        if features is None:
            ignored = model(occluded, mask, torch.ones(2, 16))
            assert torch.equal(model(occluded, mask), ignored)
            return
        one, other = model(occluded, mask, features), model(occluded, mask, -features)
    assert not torch.equal(one, other)
    with pytest.raises(ValueError, match="features"):
        model(occluded, mask)


@every
def test_two_steps_on_one_batch_lower_the_loss(variant):
    model = create(variant)
    target, mask, occluded = batch(4)
    features = features_for(model, 4)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = l1_loss(model(occluded, mask, features), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[2] < losses[0]


class Embedding(nn.Module):
    """Mean colours as an embedding, and how often it was asked."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.seen = size, []

    def embed(self, occluded):
        self.seen.append(occluded)
        return occluded.mean(dim=(1, 2, 3))[:, None].expand(-1, self.size)


@every
def test_the_pipeline_gives_it_what_it_uses(variant):
    model = create(variant).eval()
    _, mask, occluded = batch()
    embedder = Embedding(model.embedding) if model.uses_features else None
    prediction = Inpainter(model, 64, features=embedder).restore(occluded, mask)
    with torch.no_grad():
        features = embedder.embed(occluded) if embedder else None
        expected = model(occluded, mask, features)
    torch.testing.assert_close(prediction, expected)
    if embedder is not None:
        assert torch.equal(embedder.seen[0], occluded)
    restored = compose(prediction, occluded, mask)
    assert torch.equal(restored * (1 - mask), occluded * (1 - mask))


@pytest.mark.parametrize("run", available_runs())
def test_every_run_gives_its_inpainter_what_that_takes(run):
    config = load_config(run, "small")
    options = config.model_options()
    if config.model.takes("pretrained"):
        options["pretrained"] = False
    with torch.device("meta"):
        model = models.create_inpainter(config.model.name, **options)
    assert model.uses_features is (config.features is not None)
    if config.features is not None:
        network = models.create_identity_network(
            config.features.name, **{**config.features.options, "classes": 2, "pretrained": False}
        )
        assert network.embedding == model.embedding
