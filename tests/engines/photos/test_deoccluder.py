"""Photos of any size through a model of one size: alignment, leaks, untouched pixels."""

import os

import numpy as np
import pytest
import torch
from photo_stubs import Detector, stub_deoccluder
from PIL import Image
from torch import nn

from deocclude.data.contract import compose, hide
from deocclude.data.images import to_tensor, to_uint8
from deocclude.engines.inference.networks import Inpainter
from deocclude.engines.photos.deoccluder import (
    Deoccluder,
    load_deoccluder,
)
from deocclude.engines.photos.face import FaceChoice, place_in
from deocclude.engines.photos.windows import choose_window, shrink
from deocclude.engines.runs.devices import resolve_device
from deocclude.engines.runs.finished import newest_checkpoint

SIZE = 64
SHAPES = [(64, 64), (256, 256), (37, 37), (300, 200), (200, 300), (480, 90), (50, 70), (9, 300)]


class Grey(nn.Module):
    """Answers mid grey and remembers what it was shown."""

    def forward(self, occluded, mask):
        self.occluded, self.mask, self.was_training = occluded, mask, self.training
        self.grad = torch.is_grad_enabled()
        return torch.full_like(occluded, 0.5)


class Fixed(nn.Module):
    """Answers one given picture."""

    def __init__(self, picture):
        super().__init__()
        self.picture = picture

    def forward(self, occluded, mask):
        return self.picture


def noise_photo(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def box_mask(shape, top=0.4, bottom=0.6, left=0.4, right=0.6):
    mask = np.zeros(shape, np.uint8)
    height, width = shape
    rows = slice(int(top * height), max(int(bottom * height), int(top * height) + 1))
    columns = slice(int(left * width), max(int(right * width), int(left * width) + 1))
    mask[rows, columns] = 1
    return mask


@pytest.mark.parametrize("shape", SHAPES)
def test_only_the_hole_changes(shape):
    photo, mask = noise_photo(shape), box_mask(shape)
    before = photo.copy()
    restored = Deoccluder(Inpainter(Grey(), SIZE)).restore_photo(photo, mask)
    assert restored.dtype == np.uint8
    assert restored.shape == photo.shape
    np.testing.assert_array_equal(restored[mask == 0], photo[mask == 0])
    np.testing.assert_array_equal(photo, before)
    inside = restored[mask == 1].astype(int)
    assert abs(inside.mean() - 128) < 12


def ramp_photo(shape):
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]].astype(float)
    ramps = [rows / shape[0], columns / shape[1], (rows + columns) / sum(shape)]
    return np.rint(30 + 190 * np.stack(ramps, -1)).astype(np.uint8)


@pytest.mark.parametrize("shape", [(64, 64), (256, 256), (40, 40), (300, 200), (200, 300)])
def test_prediction_and_photo_are_aligned(shape):
    """A model that knows the truth must give it back. On a ramp, a shift is a change of value.

    At 256 px and size 64 a shift of half a model pixel would be 2 photo pixels, 1.5 grey levels.
    """
    photo, mask = ramp_photo(shape), box_mask(shape)
    top, left, height, width = choose_window(mask)
    truth = Image.fromarray(photo[top : top + height, left : left + width])
    truth = truth.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    model = Fixed(to_tensor(np.asarray(truth))[None])
    restored = Deoccluder(Inpainter(model, SIZE)).restore_photo(photo, mask)
    error = restored[mask == 1].astype(float) - photo[mask == 1]
    assert np.abs(error.mean(axis=0)).max() < 0.3
    assert np.abs(error).max() <= 2


def test_whole_photo_window_is_aligned():
    photo, mask = ramp_photo((400, 100)), box_mask((400, 100), 0.1, 0.9)
    assert choose_window(mask) == (0, 0, 400, 100)
    truth = np.asarray(Image.fromarray(photo).resize((16, 64), Image.Resampling.BICUBIC))
    truth = np.pad(truth, ((0, 0), (24, 24), (0, 0)), mode="symmetric")
    restored = Deoccluder(Inpainter(Fixed(to_tensor(truth)[None]), SIZE)).restore_photo(photo, mask)
    error = restored[mask == 1].astype(float) - photo[mask == 1]
    assert np.abs(error.mean(axis=0)).max() < 0.3


def test_at_the_models_own_size_it_is_plain_compose():
    photo, mask = noise_photo((SIZE, SIZE)), box_mask((SIZE, SIZE))
    prediction = to_tensor(noise_photo((SIZE, SIZE), seed=1))[None]
    restored = Deoccluder(Inpainter(Fixed(prediction), SIZE)).restore_photo(photo, mask)
    image, hole = to_tensor(photo)[None], to_tensor(mask)[None]
    np.testing.assert_array_equal(restored, to_uint8(compose(prediction, image, hole))[0])


@pytest.mark.parametrize("shape", SHAPES)
def test_the_occluder_never_reaches_the_model(shape):
    """Two photos that differ only under the mask look equal to the model, fill included."""
    photo, mask = noise_photo(shape), box_mask(shape)
    other = photo.copy()
    other[mask == 1] = 255 - other[mask == 1]
    seen = []
    for picture in (photo, other):
        model = Grey()
        Deoccluder(Inpainter(model, SIZE, fill=0.25)).restore_photo(picture, mask)
        seen.append(model)
        assert (model.occluded.movedim(1, -1)[model.mask[:, 0] == 1] == 0.25).all()
    assert torch.equal(seen[0].occluded, seen[1].occluded)
    assert seen[0].occluded.shape == (1, 3, SIZE, SIZE)


def test_no_colour_bleeds_out_of_the_hole():
    """Around the hole of a flat photo the model sees the flat colour: no halo of any fill."""
    photo, mask = np.full((250, 250, 3), 90, np.uint8), box_mask((250, 250))
    photo[mask == 1] = 255
    small, hole = shrink(photo, mask, (SIZE, SIZE))
    assert set(np.unique(small[hole == 0])) == {90}


def test_every_hole_pixel_is_covered():
    mask = np.zeros((500, 333), np.uint8)
    mask[7::86, 7::71] = 1
    _, hole = shrink(np.zeros((500, 333, 3), np.uint8), mask, (SIZE, 43))
    rows, columns = np.nonzero(mask)
    for end in (0, 1):  # both ends of a hole pixel that straddles two small ones
        assert hole[((rows + end) * SIZE - end) // 500, ((columns + end) * 43 - end) // 333].all()
    assert hole.mean() < 0.05


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ((90, 110), (50, 0, 100, 100)),  # inside the centred square
        ((20, 60), (14, 0, 100, 100)),  # moved up, with a margin of 6
        ((150, 200), (100, 0, 100, 100)),  # at the border there is no margin to keep
        ((40, 160), (0, 0, 200, 100)),  # longer than the short side: everything
    ],
)
def test_window_follows_the_hole(rows, expected):
    mask = np.zeros((200, 100), np.uint8)
    mask[slice(*rows), 30:50] = 1
    assert choose_window(mask) == expected
    top, left, height, width = expected
    assert choose_window(mask.T) == (left, top, width, height)


def test_batch_runs_in_evaluation_mode_and_leaves_modes_alone():
    model = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3))
    model.forward = lambda occluded, mask: model[1](model[0](occluded))
    model.train()
    model[0].eval()  # frozen
    before = model[1].running_mean.clone()
    occluded, mask = torch.rand(2, 3, 8, 8), torch.ones(2, 1, 8, 8)
    prediction = Inpainter(model, 8).restore(occluded, mask)
    assert prediction.dtype == torch.float32
    assert not prediction.requires_grad
    assert torch.equal(model[1].running_mean, before)
    assert (model.training, model[0].training, model[1].training) == (True, False, True)


def test_batch_is_float32_for_a_half_precision_model_and_checks_the_shape():
    half = nn.Module()
    half.forward = lambda occluded, mask: occluded.bfloat16()
    image, mask = torch.rand(1, 3, 8, 8), torch.zeros(1, 1, 8, 8)
    assert Inpainter(half, 8).restore(image, mask).dtype == torch.float32
    half.forward = lambda occluded, mask: occluded[..., :4]
    with pytest.raises(ValueError, match=r"\(1, 3, 8, 4\)"):
        Inpainter(half, 8).restore(hide(image, mask), mask)


@pytest.mark.parametrize(
    ("image", "mask", "message"),
    [
        (np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8), "image"),
        (np.zeros((8, 8, 3), np.float32), np.zeros((8, 8), np.uint8), "float32"),
        (np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9), np.uint8), r"\(8, 9\)"),
        (np.zeros((8, 8, 3), np.uint8), np.full((8, 8), 255, np.uint8), "0 .known. and 1"),
        (np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8), "all zero.*0.00"),
        (np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), np.uint8), "all one.*1.00"),
    ],
)
def test_bad_photo_or_mask_is_refused(image, mask, message):
    with pytest.raises(ValueError, match=message):
        Deoccluder(Inpainter(Grey(), SIZE)).restore_photo(image, mask)


def test_a_prediction_that_is_not_finite_is_no_result():
    model = Fixed(torch.full((1, 3, SIZE, SIZE), float("nan")))
    with pytest.raises(ValueError, match="finite"):
        Deoccluder(Inpainter(model, SIZE)).restore_photo(noise_photo((80, 80)), box_mask((80, 80)))


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="size"):
        Inpainter(Grey(), 0)
    with pytest.raises(ValueError, match="fill"):
        Inpainter(Grey(), 8, fill=255)
    with pytest.raises(ValueError, match="nonsense"):
        resolve_device("nonsense")
    with pytest.raises(ValueError, match="cuda:77"):
        resolve_device("cuda:77")
    assert resolve_device("cpu") == torch.device("cpu")


def test_size_and_fill_come_from_the_checkpoint(monkeypatch, tmp_path):
    metadata = {"config": {"data": {"size": 48, "fill": 0.5}}}
    calls = []

    def load_inpainter(path, device):
        calls.append((path, device))
        return Grey(), metadata

    monkeypatch.setattr("deocclude.engines.runs.weights.load_inpainter", load_inpainter)
    deoccluder = load_deoccluder(tmp_path / "best.safetensors", "cpu")
    assert (deoccluder.inpainter.size, deoccluder.inpainter.fill) == (48, 0.5)
    assert calls == [(tmp_path / "best.safetensors", torch.device("cpu"))]


def test_the_newest_finished_run_is_found(tmp_path):
    assert newest_checkpoint(tmp_path / "runs") is None
    for age, (name, files) in enumerate(
        {
            "a/003": ["best.safetensors"],  # still running, or stopped
            "a/004": ["finished.json"],
            "b/001": ["best.safetensors", "finished.json"],
            "a/002": ["best.safetensors", "finished.json"],
        }.items()
    ):
        (tmp_path / name).mkdir(parents=True)
        for file in files:
            (tmp_path / name / file).write_text("{}")
            os.utime(tmp_path / name / file, (1000 - age, 1000 - age))
    assert newest_checkpoint(tmp_path) == tmp_path / "b/001/best.safetensors"


def test_an_inpainter_trained_under_occluders_sees_what_the_mask_covers():
    photo, mask = noise_photo((SIZE, SIZE)), box_mask((SIZE, SIZE))
    deoccluder = Deoccluder(Inpainter(Grey(), SIZE, hides=False))
    restored = deoccluder.restore_photo(photo, mask)
    np.testing.assert_array_equal(to_uint8(deoccluder.inpainter.network.occluded[0]), photo)
    np.testing.assert_array_equal(restored[mask == 0], photo[mask == 0])
    assert (deoccluder.inpainter.network.mask > 0.5).any()


@pytest.mark.parametrize(("told", "hides"), [({}, True), ({"hidden_by": "occluders"}, False)])
def test_the_weights_file_says_what_the_inpainter_is_shown(monkeypatch, told, hides):
    data = {"size": SIZE, "fill": 0.0} | told
    loaded = Grey(), {"config": {"data": data}}
    monkeypatch.setattr("deocclude.engines.runs.weights.load_inpainter", lambda *_: loaded)
    deoccluder = load_deoccluder("best.safetensors", "cpu")
    picture, mask = torch.rand(1, 3, 8, 8) / 2 + 0.5, torch.ones(1, 1, 8, 8)
    assert deoccluder.inpainter.show(picture, mask).any() != hides


def test_only_the_chosen_faces_are_redrawn_and_the_rest_is_counted():
    """With a mask all of it is redrawn, aligned to the chosen face or not."""
    photo = np.full((120, 300, 3), 90, np.uint8)
    photo[50:90, 20:60] = photo[60:80, 220:240] = (0, 255, 0)
    faces = [place_in((10.0, 20.0, 80.0, 90.0)), place_in((210.0, 40.0, 40.0, 50.0))]
    deoccluder = stub_deoccluder(Detector(faces))
    assert len(deoccluder.restore(photo).faces) == 2
    deoccluder.detector.choice = FaceChoice(most=1)
    result = deoccluder.restore(photo)
    assert [face.face for face in result.faces] == faces[:1]
    assert "1 of 2 faces left out: 1 beyond the largest" in result.notices
    assert not result.mask[:, 200:].any()
    mask = np.zeros((120, 300), np.uint8)
    mask[60:80, 220:240] = 1
    assert (deoccluder.restore(photo, mask).mask == mask).all()
