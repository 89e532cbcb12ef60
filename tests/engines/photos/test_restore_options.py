"""`Deoccluder.restore` with a given mask, a tracker, bad networks; how a Deoccluder is loaded."""

import os

import numpy as np
import pytest
import torch
from restore_stubs import (
    SIZE,
    Flat,
    GreenFinder,
    Truth,
    face_at,
    grown,
    make,
    mask_of,
    photo_with,
)
from torch import nn

from deocclude.data.faces.alignment import template_points
from deocclude.data.images import to_uint8
from deocclude.engines.inference.networks import Segmenter
from deocclude.engines.photos.deoccluder import load_deoccluder
from deocclude.engines.photos.face import Face
from deocclude.engines.runs.finished import newest_checkpoint


@pytest.mark.parametrize("blend", ["matched", "feather", "poisson", "none"])
def test_a_given_mask_is_redrawn_whole_and_as_it_is(blend):
    """One part in a face's square, one outside, without a dilation unless asked for."""
    photo = photo_with((190, 220, 240, 290), (10, 420, 50, 470))
    mask, face = mask_of(photo), face_at(200, (250, 200))
    result = make(segmenter=None).restore(photo, mask, faces=[face], blend=blend)
    np.testing.assert_array_equal(result.mask, mask)
    np.testing.assert_array_equal(result.restored[mask == 0], photo[mask == 0])
    assert not mask_of(result.restored).any()
    share = 40 * 50 / (40 * 50 + 50 * 70)
    assert any(f"{share:.0%} of the mask" in notice for notice in result.notices)
    inside = make(segmenter=None).restore(photo, mask_of(photo_with((190, 220, 240, 290))), [face])
    assert inside.notices == []
    wide = make(segmenter=None).restore(photo, mask, faces=[face], dilate=5)
    np.testing.assert_array_equal(wide.mask, grown(mask, 5))


def test_a_given_mask_without_a_face_is_redrawn_from_the_whole_photo():
    photo = photo_with((150, 200, 260, 300))
    mask = mask_of(photo)
    deoccluder = make(segmenter=None)
    result = deoccluder.restore(photo, mask)
    np.testing.assert_array_equal(result.restored, deoccluder.restore_photo(photo, mask))
    np.testing.assert_array_equal(result.mask, mask)
    assert result.faces == []
    (notice,) = result.notices
    assert "no face found: the mask is redrawn" in notice
    far = deoccluder.restore(photo, mask, faces=[face_at(60, (440, 50))])
    np.testing.assert_array_equal(far.restored, result.restored)
    assert far.faces[0].notices == ["the mask does not touch this face"]
    assert any("100% of the mask" in notice for notice in far.notices)


def test_a_mask_over_a_whole_square_is_said_to_be_redrawn_from_the_photo():
    photo = photo_with((80, 120, 320, 380))
    result = make(segmenter=None).restore(photo, mask_of(photo), faces=[face_at(200, (250, 200))])
    assert result.changed
    assert not mask_of(result.restored).any()
    assert result.faces[0].notices == [
        "too much of this face is covered to align it; redrawn from the photo"
    ]
    (notice,) = result.notices
    share = 1 - 200 * 200 / (240 * 260)
    assert f"{share:.0%} of the mask lies outside" in notice
    photo = photo_with((100, 150, 300, 350))
    result = make(segmenter=None).restore(photo, mask_of(photo), faces=[face_at(200, (250, 200))])
    assert result.notices == []


@pytest.mark.parametrize("box", [(190, 220, 240, 290), (190, 100, 240, 290), (0, 0, 9, 9)])
def test_find_mask_is_what_restore_redraws(box):
    """Inside of the face's square, beyond it too, and nothing."""
    photo, face, deoccluder = photo_with(box), face_at(240, (250, 200)), make()
    found = deoccluder.find_mask(photo, [face], dilate=7)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, deoccluder.restore(photo, faces=[face], dilate=7).mask)
    with pytest.raises(ValueError, match=r"weights.segmenter"):
        make(segmenter=None).find_mask(photo, [face])


def test_bad_networks_are_no_result():
    photo, face = photo_with((190, 220, 240, 290)), face_at(240, (250, 200))
    with pytest.raises(ValueError, match="finite"):
        make(Flat(float("nan"))).restore(photo, faces=[face])
    broken = nn.Module()
    broken.forward = lambda seen: torch.full_like(seen[:, :1], float("nan"))
    with pytest.raises(ValueError, match="finite"):
        make(segmenter=broken).restore(photo, faces=[face])
    broken.forward = lambda seen: seen
    with pytest.raises(ValueError, match=r"\(1, 3, 64, 64\)"):
        make(segmenter=broken).restore(photo, faces=[face])
    with pytest.raises(ValueError, match=r"weights.segmenter"):
        make(segmenter=None).restore(photo, faces=[face])
    with pytest.raises(ValueError, match="'glue'"):
        make().restore(photo, faces=[face], blend="glue")
    with pytest.raises(ValueError, match="uint8"):
        make().restore(photo[..., 0], faces=[face])


def test_a_segmenter_resizes_and_keeps_modes():
    segmenter = nn.Sequential(GreenFinder(), nn.BatchNorm2d(1))
    segmenter.train()
    segmenter[1].eval()
    finder = Segmenter(segmenter, 32)
    aligned = torch.zeros(2, 3, 80, 80)
    aligned[1, 1, 20:60] = 1
    found = finder.probability(aligned)
    assert found.shape == (2, 1, 80, 80)
    assert found.dtype == torch.float32
    assert found[0].max() < 0.1
    np.testing.assert_allclose(found[1, 0, 24:56], 1, atol=0.05)
    np.testing.assert_allclose(found[1, 0, :16], 0, atol=0.05)
    assert segmenter[0].seen.shape[-1] == 32
    assert (segmenter[0].was_training, segmenter[0].grad) == (False, False)
    assert (segmenter.training, segmenter[0].training, segmenter[1].training) == (True, True, False)


def test_load_deoccluder_takes_each_networks_size_and_template(monkeypatch, tmp_path):
    def loader(network, **data):
        return lambda path, device: (network, {"config": {"data": data}})

    monkeypatch.setattr(
        "deocclude.engines.runs.weights.load_inpainter",
        loader(Flat(), size=48, fill=0.5, template="celeba"),
    )
    monkeypatch.setattr(
        "deocclude.engines.runs.weights.load_segmenter", loader(GreenFinder(), size=96)
    )
    deoccluder = load_deoccluder("a", "cpu", segmenter="b", dilate=4, alignment="eyes")
    inpainter, segmenter = deoccluder.inpainter, deoccluder.segmenter
    assert (inpainter.size, inpainter.template, inpainter.fill) == (48, "celeba", 0.5)
    assert (segmenter.size, segmenter.template) == (96, "ffhq")
    assert (deoccluder.dilate, deoccluder.alignment) == (4, "eyes")


def test_the_newest_run_of_each_task_is_found(tmp_path):
    for age, (name, task) in enumerate({"U/001": "segmentation", "R/001": None}.items()):
        run = tmp_path / name
        run.mkdir(parents=True)
        (run / "best.safetensors").touch()
        (run / "finished.json").write_text("{}")
        os.utime(run / "finished.json", (1000 - age, 1000 - age))
        (run / "config.yaml").write_text(f"task: {task}\n" if task else "name: R\n")
    assert newest_checkpoint(tmp_path, "segmentation") == tmp_path / "U/001/best.safetensors"
    assert newest_checkpoint(tmp_path) == tmp_path / "R/001/best.safetensors"
    assert newest_checkpoint(tmp_path / "none", "segmentation") is None


@pytest.mark.parametrize("damage", [b"task: [", b"task", b"- task", b"\xff\xfe\x00", None])
def test_a_run_with_a_damaged_config_is_passed_over(tmp_path, damage, caplog):
    for name in ("R/001", "R/002"):
        run = tmp_path / name
        run.mkdir(parents=True)
        (run / "best.safetensors").touch()
        (run / "finished.json").write_text("{}")
    (tmp_path / "R/001/config.yaml").write_text("task: inpainting\n")
    if damage is None:
        (tmp_path / "R/002/config.yaml").mkdir()
    else:
        (tmp_path / "R/002/config.yaml").write_bytes(damage)
    with caplog.at_level("WARNING"):
        assert newest_checkpoint(tmp_path) == tmp_path / "R/001/best.safetensors"
    assert f"{tmp_path / 'R/002/config.yaml'}: " in caplog.text
    assert "the run is passed over" in caplog.text


def test_at_one_size_the_face_is_composed_as_in_a_batch():
    """A picture that is its own aligned square: restore and evaluate's path agree exactly."""
    rng = np.random.default_rng(3)
    photo = rng.integers(0, 200, (SIZE, SIZE, 3), dtype=np.uint8)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[20:40, 16:50] = 1
    prediction = torch.rand(1, 3, SIZE, SIZE)
    face = Face((0, 0, SIZE, SIZE), template_points("ffhq", SIZE), "given")
    result = make(Truth(prediction)).restore(photo, mask, faces=[face])
    expected = np.where(mask[..., None] > 0, to_uint8(prediction)[0], photo)
    np.testing.assert_allclose(result.restored.astype(int), expected, atol=1)
