"""Probabilistic PCA: the closed form, faces it may see, and what is kept of a fit."""

import numpy as np
import pytest
import torch
from PIL import Image

from deocclude.data.faces.files import builtin_faces, folder_faces
from deocclude.data.masks.source import generate_mask
from deocclude.data.seeding import keyed_rng
from deocclude.engines.inference import ppca
from deocclude.engines.inference.baselines import BaselinePool, create_baseline, identity
from deocclude.engines.inference.ppca import PPCA, FittedFaces, fit

SIZE = 32


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    return FittedFaces(builtin_faces("train", 60, SIZE), tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def held_out():
    """Pictures of built-in faces that are not trained on, and masks of all sizes."""
    faces = builtin_faces("test", 12, SIZE)
    masks = [generate_mask(SIZE, i % 6, i > 5, keyed_rng(i)) for i in range(12)]
    return np.stack([faces[i] for i in range(12)]), np.stack(masks)


@pytest.mark.parametrize("known", [3, 7])  # fewer and more than half: two ways to the equations
def test_the_posterior_mean_is_that_of_the_joint_gaussian(known):
    """mean_h + C_hk C_kk^-1 (x_k - mean_k), with C = W W' + noise I."""
    random = torch.Generator().manual_seed(0)
    mean, loadings, x = (
        torch.randn(*shape, generator=random, dtype=torch.float64)
        for shape in ((9, 2), (9, 2, 4), (9, 2))
    )
    seen = torch.zeros(9, dtype=torch.bool)
    seen[torch.randperm(9, generator=random)[:known]] = True
    answer = PPCA(mean, loadings, 0.3).posterior_mean(x.where(seen[:, None], torch.nan), seen)
    rows = loadings.flatten(0, 1)
    joint = rows @ rows.T + 0.3 * torch.eye(18, dtype=torch.float64)
    k = seen.repeat_interleave(2)
    told = torch.linalg.solve(joint[k][:, k], (x - mean).flatten()[k])
    expected = mean.flatten()[~k] + joint[~k][:, k] @ told
    torch.testing.assert_close(answer.flatten()[~k], expected)


def test_the_fit_is_the_maximum_of_the_likelihood():
    """W W' and the noise are made of the eigenvalues of the covariance of faces and mirror images
    (Tipping and Bishop 1999, section 3.2)."""
    random = np.random.default_rng(0)
    patterns = random.normal(size=(6, 8 * 8 * 3)) * np.array([60, 50, 40, 30, 3, 2])[:, None] / 4
    faces = 128 + random.normal(size=(80, 6)) @ patterns
    faces = faces.clip(0, 255).astype(np.uint8).reshape(80, 8, 8, 3)
    model = fit(faces, 5)
    both = np.concatenate([faces, faces[:, :, ::-1]]).reshape(160, -1) / 255
    values, vectors = np.linalg.eigh(np.cov(both.T, bias=True))
    noise = values[:-5].mean()
    scaled = vectors[:, -5:] * np.sqrt(values[-5:] - noise)
    rows = model.loadings.flatten(0, 1).numpy()
    np.testing.assert_allclose(model.mean.flatten(), both.mean(0), atol=1e-5)
    np.testing.assert_allclose(rows @ rows.T, scaled @ scaled.T, atol=2e-4)
    assert model.noise == pytest.approx(noise, rel=1e-3)
    again = fit(faces, 5)
    assert torch.equal(model.loadings, again.loadings)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    fit(faces, 5)
    assert torch.equal(torch.get_rng_state(), before)  # nobody else's numbers are taken


def test_known_pixels_stay_and_the_hole_is_not_looked_at(fitted, held_out):
    images, masks = held_out
    white, black = images.copy(), images.copy()
    white[masks == 1], black[masks == 1] = 255, 0
    with BaselinePool(0, fitted) as pool:
        restored, seconds = pool.restore("ppca", white, masks)
        other, _ = pool.restore("ppca", black, masks)
    assert (restored.shape, restored.dtype) == (images.shape, np.float32)
    assert restored.min() >= 0
    assert restored.max() <= 1
    known = masks == 0
    np.testing.assert_array_equal(restored[known], images[known].astype(np.float32) / 255)
    np.testing.assert_array_equal(restored, other)
    assert len(seconds) == len(images)


def test_faces_never_seen_are_nearer_than_by_their_mean_colour(fitted, held_out):
    images, masks = held_out
    hole, errors = masks == 1, {}
    errors["ppca"] = np.abs(fitted.restore(images, masks)[0] - images / 255)[hole].mean()
    for name in ("mean_colour", "telea"):
        answers = [create_baseline(name)(*pair) for pair in zip(images, masks, strict=True)]
        answers = [a / 255 if a.dtype == np.uint8 else a for a in answers]
        errors[name] = np.abs(np.stack(answers) - images / 255)[hole].mean()
    assert errors["ppca"] < 0.8 * min(errors["mean_colour"], errors["telea"])


def test_where_nothing_is_known_it_is_the_mean_face(fitted):
    image, mask = np.zeros((1, SIZE, SIZE, 3), np.uint8), np.ones((1, SIZE, SIZE), np.uint8)
    mean = fitted.model.mean.view(SIZE, SIZE, 3).numpy()
    np.testing.assert_allclose(fitted.restore(image, mask)[0][0], mean, atol=1e-5)


def test_larger_pictures_are_answered_at_64_pixels_and_joined_at_the_hole(tmp_path):
    faces = FittedFaces(builtin_faces("train", 8, 96), tmp_path)
    assert len(faces.model.mean) == ppca.SIDE**2
    image, mask = builtin_faces("test", 1, 96)[0], np.zeros((96, 96), np.uint8)
    mask[40:60, 30:70] = 1
    restored = faces.restore(image[None], mask[None])[0][0]
    edge = np.abs(restored[40, 30:70] - restored[39, 30:70]).mean()
    drawn = np.abs(faces.model.mean.view(64, 64, 3).numpy()[27, 20:47] - restored[39, 30:57]).mean()
    assert edge < 0.5 * drawn


def test_a_fit_is_kept_under_what_it_was_made_of(fitted, tmp_path, monkeypatch):
    assert fitted.model.noise > 0  # fitted by now
    assert fitted.path.is_file()
    monkeypatch.setattr(ppca, "fit", None)  # whoever fits again fails
    again = FittedFaces(builtin_faces("train", 60, SIZE), fitted.folder)
    assert torch.equal(again.model.loadings, fitted.model.loadings)
    assert identity("ppca", again) == identity("ppca", fitted)
    others = [builtin_faces("train", 59, SIZE), builtin_faces("train", 60, SIZE + 1)]
    files = sorted((tmp_path / f"{name}.png") for name in "ab")
    for file in files:
        Image.new("RGB", (SIZE, SIZE), "red").save(file)
    others.append(folder_faces(files, tmp_path, SIZE))
    found = {FittedFaces(faces, tmp_path).identity for faces in others}
    Image.fromarray(builtin_faces("train", 1, SIZE)[0]).save(files[0])
    found.add(FittedFaces(others[-1], tmp_path).identity)
    assert len(found | {fitted.identity}) == 5
    monkeypatch.setattr(ppca, "ALIKE", 1.0)
    assert FittedFaces(fitted.faces, tmp_path).identity not in found | {fitted.identity}


def test_of_many_faces_a_seeded_choice_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(ppca, "FACES", 5)
    chosen = [FittedFaces(builtin_faces("train", 40, SIZE), tmp_path) for _ in range(2)]
    assert chosen[0].faces.names == chosen[1].faces.names == sorted(set(chosen[0].faces.names))
    assert len(chosen[0].faces) == 5
    assert "of 5 training faces" in chosen[0].words
    assert len(chosen[0].model.loadings[0, 0]) == 1  # a quarter as many components


def test_faces_of_one_colour_have_an_answer(tmp_path):
    for name in "ab":
        Image.new("RGB", (SIZE, SIZE), "red").save(tmp_path / f"{name}.png")
    faces = folder_faces(sorted(tmp_path.glob("*.png")), tmp_path, SIZE)
    mask = generate_mask(SIZE, 3, False, keyed_rng(0))
    restored = FittedFaces(faces, tmp_path).restore(faces[0][None], mask[None])[0]
    np.testing.assert_allclose(restored[0] * 255, faces[0], atol=0.01)


def test_errors_say_what_is_needed(fitted, tmp_path):
    with pytest.raises(ValueError, match="at least 2 training faces are needed, found 1"):
        FittedFaces(builtin_faces("train", 1, SIZE), tmp_path)
    with pytest.raises(ValueError, match="at least 2 are needed, found 1"):
        fit(np.zeros((1, 8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match=r"squares \(N, S, S, 3\), found \(4, 8, 9, 3\)"):
        fit(np.zeros((4, 8, 9, 3), np.uint8))
    with pytest.raises(ValueError, match="components must be at least 1, found 0"):
        fit(np.zeros((4, 8, 8, 3), np.uint8), 0)
    with pytest.raises(ValueError, match="ppca is fitted to training faces, and none were given"):
        identity("ppca")
    damaged = FittedFaces(fitted.faces, tmp_path)
    damaged.path.write_bytes(b"no tensors")
    with pytest.raises(ValueError, match=r"ppca-\w+\.safetensors: is damaged .*; delete it"):
        _ = damaged.model
