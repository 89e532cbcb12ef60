"""Baselines restore the hole, keep the rest, and do not peek."""

import os
import subprocess
import sys

import numpy as np
import pytest

from deocclude.engines.inference import baselines
from deocclude.engines.inference.baselines import (
    BASELINES,
    LABELS,
    NAMES,
    BaselinePool,
    create_baseline,
    identity,
    parse_baselines,
)


@pytest.fixture(scope="module")
def scene():
    ramp = np.linspace(40, 200, 32).astype(np.uint8)
    image = np.stack([np.tile(ramp, (32, 1)), np.tile(ramp, (32, 1)).T, np.full((32, 32), 90)], -1)
    mask = np.zeros((32, 32), np.uint8)
    mask[10:20, 8:18] = 1
    return image.astype(np.uint8), mask


def as_float(image):
    return image / 255 if image.dtype == np.uint8 else image


@pytest.mark.parametrize("name", BASELINES)
def test_keeps_known_pixels_and_answers_in_range(name, scene):
    image, mask = scene
    before = image.copy()
    restored = as_float(create_baseline(name)(image, mask))
    assert restored.shape == image.shape
    assert restored.min() >= 0
    assert restored.max() <= 1
    np.testing.assert_allclose(restored[mask == 0], image[mask == 0] / 255, atol=1e-6)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("name", [name for name in BASELINES if name != "occluded"])
def test_what_lies_in_the_hole_changes_nothing(name, scene):
    image, mask = scene
    white, black = image.copy(), image.copy()
    white[mask == 1], black[mask == 1] = 255, 0
    restore = create_baseline(name)
    np.testing.assert_array_equal(restore(white, mask), restore(black, mask))


def test_on_a_smooth_ramp_interpolation_beats_mean_colour_beats_nothing(scene):
    image, mask = scene
    hidden = image.copy()
    hidden[mask == 1] = 255
    error = {
        name: np.abs(as_float(create_baseline(name)(hidden, mask)) - image / 255)[mask == 1].mean()
        for name in BASELINES
    }
    assert error["biharmonic"] < 0.01
    assert error["biharmonic"] < error["telea"] < error["mean_colour"] < error["occluded"]
    assert error["navier_stokes"] < error["mean_colour"]


def test_mean_colour_is_the_mean_of_the_known_pixels():
    image, mask = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8)
    image[:2], mask[2:] = (10, 20, 30), 1
    image[2:] = 255
    restored = create_baseline("mean_colour")(image, mask)
    np.testing.assert_allclose(restored[3, 3] * 255, (10, 20, 30), atol=1e-4)


def test_registry_names_what_is_valid():
    with pytest.raises(ValueError, match=r"'tela'; valid: occluded, mean_colour, telea"):
        create_baseline("tela")
    assert set(LABELS) == {*BASELINES, "ppca"}  # which is fitted to faces, so no plain function


def test_the_radius_is_part_of_the_identity():
    assert "radius=3" in identity("telea")


def test_names_are_parsed_in_the_registrys_order():
    assert parse_baselines("telea, Mean-Colour") == ("mean_colour", "telea")
    assert parse_baselines("all") == (*BASELINES, "ppca") == NAMES
    assert parse_baselines("none") == parse_baselines([]) == ()
    with pytest.raises(ValueError, match="unknown baseline 'fast'"):
        parse_baselines("telea,fast")


def test_processes_give_what_one_process_gives(scene, monkeypatch):
    monkeypatch.setattr(baselines, "PATIENCE", 0)
    image, mask = scene
    images, masks = np.stack([image, 255 - image, image[::-1]]), np.stack([mask] * 3)
    alone, _ = BaselinePool(0).restore("telea", images, masks)
    with BaselinePool(2) as pool:
        shared, seconds = pool.restore("telea", images, masks)
        assert pool._executor is not None
    np.testing.assert_array_equal(alone, shared)
    assert alone.dtype == np.float32
    assert len(seconds) == 3
    assert min(seconds) > 0


def test_processes_are_started_only_after_some_work(scene, monkeypatch):
    image, mask = scene
    started = []

    class Executor:
        def __init__(self, *_, **__):
            started.append(len(done))

        def map(self, function, jobs, chunksize):
            return map(function, jobs)

        def shutdown(self, **_):
            pass

    def slow(job):
        done.append(job)
        return np.zeros((32, 32, 3), np.float32), 0.5

    done = []
    monkeypatch.setattr(baselines, "ProcessPoolExecutor", Executor)
    monkeypatch.setattr(baselines, "_restore_one", slow)
    batch = np.stack([image] * 4), np.stack([mask] * 4)
    with BaselinePool(2) as pool:
        for _ in range(4):
            pool.restore("telea", *batch)
    assert started == [8]  # 4 seconds of work after two batches
    with BaselinePool(0) as pool:
        for _ in range(4):
            pool.restore("telea", *batch)
    assert len(started) == 1


def test_a_process_that_dies_is_an_error_not_a_wait(scene, monkeypatch):
    monkeypatch.setattr(baselines, "PATIENCE", 0)
    monkeypatch.setattr(baselines, "_start_worker", os.abort)
    image, mask = scene
    with BaselinePool(2) as pool, pytest.raises(ChildProcessError, match="--workers 0"):
        pool.restore("telea", np.stack([image] * 3), np.stack([mask] * 3))


def test_starting_a_process_imports_no_torch():
    """A worker imports this module and, as `spawn` does it, the script that was started."""
    code = "import sys, evaluate, engines.inference.baselines; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
