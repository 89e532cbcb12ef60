import multiprocessing
import os
import pickle
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from deocclude.data.faces.cache import SharedStore, cache_faces
from deocclude.data.faces.files import builtin_faces
from deocclude.data.masks.source import MaskGenerator
from deocclude.data.occluders.mixture import Occluders
from deocclude.data.pairs.augment import Augmentation
from deocclude.data.pairs.training import (
    CoveredFaces,
    MixedHoles,
    PositionSampler,
    TrainingPairs,
    training_loader,
)


@pytest.fixture
def pairs():
    return TrainingPairs(builtin_faces("train", 5, 32), MaskGenerator(32), seed=1, flip=True)


def sampler(start=0, stop=4, accumulate=1, rank=0, processes=1, batch=4):
    return PositionSampler(batch, start, stop, accumulate, rank, processes)


def read(pairs, sampler, workers=0):
    return list(training_loader(pairs, sampler, workers))


def test_batches_do_not_depend_on_workers(pairs):
    for mine, theirs in zip(read(pairs, sampler()), read(pairs, sampler(), 2), strict=True):
        assert torch.equal(mine.image, theirs.image)
        assert torch.equal(mine.mask, theirs.mask)
        assert mine.names == theirs.names


def test_continuing_gives_the_batches_that_were_left(pairs):
    whole, rest = read(pairs, sampler()), read(pairs, sampler(start=2))
    assert len(rest) == 2
    for mine, theirs in zip(whole[2:], rest, strict=True):
        assert torch.equal(mine.image, theirs.image)
        assert torch.equal(mine.mask, theirs.mask)


def test_processes_and_parts_share_out_the_same_batch():
    whole = list(sampler())
    shared = [list(sampler(accumulate=2, rank=rank, processes=2)) for rank in (0, 1)]
    for step, batch in enumerate(whole):
        parts = [shared[rank][2 * step + part] for part in (0, 1) for rank in (0, 1)]
        assert [position for part in parts for position in part] == batch


def test_an_uneven_share_is_refused():
    with pytest.raises(ValueError, match="multiple of 3"):
        sampler(processes=3)


def test_each_round_visits_every_face_once_in_a_new_order(pairs):
    names = [pairs[p][2] for p in range(15)]
    rounds = [names[i : i + 5] for i in (0, 5, 10)]
    assert all(sorted(r) == sorted(pairs.faces.names) for r in rounds)
    assert rounds[0] != rounds[1] or rounds[1] != rounds[2]


def test_masks_are_new_each_round_and_training_draws_all_bins(pairs):
    masks = torch.stack([pairs[p][1] for p in range(120)]).float()
    assert len({m.numpy().tobytes() for m in masks}) == 120
    bins = np.digitize(masks.mean(dim=(1, 2, 3)).numpy(), [0.1, 0.2, 0.3, 0.4, 0.5])
    assert set(bins) == set(range(6))
    assert np.bincount(bins).min() > 5


def same_picture(count=60, size=96):
    """Blobs at changing places whose picture equals their mask: uint8 (S, S, 3) and (S, S)."""
    y, x = np.mgrid[:size, :size]
    for i in range(count):
        left, top = 20 + i % 40, 25 + 7 * i % 45
        mask = ((x - left) ** 2 / 300 + (y - top) ** 2 / 90 < 1).astype(np.uint8)
        mask[top : top + 20, left : left + 8] = 1
        yield np.repeat(255 * mask[..., None], 3, 2), mask


@pytest.mark.parametrize(
    "augment",
    [None, Augmentation(rotation=0, scale=0), Augmentation(light=0, grey=0), Augmentation()],
)
@pytest.mark.parametrize("flip", [False, True])
def test_what_is_done_to_the_picture_is_done_to_its_mask(augment, flip):
    moved, pairs = 0, TrainingPairs(builtin_faces("train", 1, 32), None, 3, flip, augment)
    for position, (image, mask) in enumerate(same_picture()):
        shown, covered = pairs._varied(image, mask, position)
        assert shown.shape == (3, 96, 96)
        assert covered.shape == (1, 96, 96)
        differs = (shown > 127).numpy() != (covered > 0).numpy()
        assert differs.mean() <= 0.01
        moved += not np.array_equal(covered[0].numpy(), mask)
    changes = {(False, True): 0, (True, True): 30, (True, False): 60, (False, False): 60}
    assert moved == pytest.approx(changes[flip, augment is None], abs=15)


def test_flips_happen_in_about_half(pairs):
    faces = {name: pairs.faces[i] for i, name in enumerate(pairs.faces.names)}
    flipped = 0
    for position in range(60):
        image, _, name = pairs[position]
        original = faces[name].transpose(2, 0, 1)
        same = np.array_equal(image.numpy(), original)
        assert same or np.array_equal(image.numpy(), original[..., ::-1])
        flipped += not same
    assert 15 < flipped < 45


def test_cached_images_do_not_travel_to_workers():
    """A spawned worker gets a handle, not the pixels; a forked one shares the pages."""
    faces = cache_faces(builtin_faces("train", 8, 64), "ram", 1.0, Path())
    assert isinstance(faces.read, SharedStore)
    assert faces.read.tensor.is_shared()
    disk = TrainingPairs(builtin_faces("train", 8, 64), MaskGenerator(64), 0)
    assert len(pickle.dumps(disk)) < 20_000


def test_covered_faces_keep_target_mask_and_occluder_together():
    faces = builtin_faces("train", 5, 64)
    pairs = CoveredFaces(faces, Occluders(64, preset="blind"), seed=1, flip=True)
    originals = {name: faces[i].transpose(2, 0, 1) for i, name in enumerate(faces.names)}
    (batch,) = read(pairs, sampler(stop=1, batch=40))
    assert batch.occluded.shape == batch.image.shape == (40, 3, 64, 64)
    assert batch.mask.shape == (40, 1, 64, 64)
    flipped = 0
    for target, mask, name in zip(batch.image, batch.mask, batch.names, strict=True):
        original = originals[name.split(" (")[0]]
        mirrored = np.array_equal(target.numpy(), original[..., ::-1])
        assert mirrored or np.array_equal(target.numpy(), original)
        assert mask.any()
        flipped += mirrored
    assert 8 < flipped < 32
    change = (batch.image.int() - batch.occluded.int()).abs()
    assert (change * (1 - batch.mask.int())).sum() < 0.02 * change.sum()  # soft edges
    (again,) = read(pairs, sampler(stop=1, batch=40), workers=1)
    assert torch.equal(again.occluded, batch.occluded)


def test_a_batch_without_occluders_has_none(pairs):
    assert next(iter(training_loader(pairs, sampler(), 0))).occluded is None


def test_mixed_holes_are_irregular_or_have_an_occluders_shape():
    faces = builtin_faces("train", 5, 64)
    masks = MaskGenerator(64)
    pairs = MixedHoles(faces, masks, Occluders(64, preset="drawn"), seed=1, flip=False)
    irregular = 0
    for position in range(40):
        target, mask, name, seen = pairs[position]
        assert np.array_equal(target.numpy(), faces[faces.names.index(name)].transpose(2, 0, 1))
        assert 0.005 < mask.float().mean() < 0.8
        if np.array_equal(mask[0].numpy(), masks.draw("train", 1, position)):
            irregular += 1
            assert torch.equal(seen, target)  # nothing stands around these holes
    assert 10 < irregular < 32
    (batch,) = read(pairs, sampler(stop=1, batch=8), workers=1)
    assert torch.equal(batch.occluded[3], pairs[3][3])


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_workers_leave_signals_to_the_main_process():
    """Ctrl-C goes to a terminal's whole group, and so does a scheduler's SIGTERM."""
    pairs = TrainingPairs(builtin_faces("train", 8, 32), MaskGenerator(32), 0)
    batches = iter(training_loader(pairs, PositionSampler(2, 0, 20, 1, 0, 1), 1))
    next(batches)
    (worker,) = multiprocessing.active_children()
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(worker.pid, number)
    assert len(list(batches)) == 19
    worker.join(5)
    assert not worker.is_alive()
