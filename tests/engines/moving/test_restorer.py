"""Frames that follow each other: what is looked for when, what is calm, and what stays as it is."""

import cv2
import numpy as np
import pytest
import torch
from photo_stubs import (
    Constant,
    Detector,
    GreenFinder,
    draw_photo,
    face_at,
    is_green,
    stub_deoccluder,
)
from torch import nn

from deocclude.data.faces.alignment import template_points
from deocclude.engines.jobs.plan import Choices
from deocclude.engines.moving.restorer import LONGEST_REST, FrameRestorer
from deocclude.engines.moving.tracker import FaceTracker
from deocclude.engines.photos.face import Face

SHAPE = (240, 320)
FACE = face_at(90, 40, 150)
GREEN = (0, 255, 0)


def restorer(faces=(FACE,), rest=0, blend="feather", tracker=None, uncertainty=False, **options):
    detector = faces if isinstance(faces, Detector) else Detector(faces)
    deoccluder = stub_deoccluder(detector, **options)
    choices = Choices(blend=blend)
    return FrameRestorer(deoccluder, choices, uncertainty, tracker=tracker, rest=rest)


def moving(count, step=2.0):
    """A face that moves to the right, and where it is."""
    places = [face_at(40 + step * number, 40, 150) for number in range(count)]
    return [draw_photo(SHAPE, place) for place in places], places


def noisy(frame, number, sigma=3.0):
    noise = np.random.default_rng(number).normal(0, sigma, frame.shape)
    return (frame + noise).clip(0, 255).astype(np.uint8)


def test_a_face_at_rest_is_looked_for_now_and_then():
    detector = Detector([FACE])
    restore = restorer(detector, rest=4)
    frame = draw_photo(SHAPE, FACE)
    results = [restore(noisy(frame, number, 1)) for number in range(2 * LONGEST_REST + 1)]
    assert detector.asked == 3
    assert all(result.changed for result in results)
    always = restorer(detector, rest=0)
    for number in range(5):
        always(noisy(frame, number, 1))
    assert detector.asked == 3 + 5


def test_a_moving_face_is_followed_without_looking():
    pictures, places = moving(LONGEST_REST)
    detector = Detector([places[0]])
    restore = restorer(detector, rest=LONGEST_REST)
    for picture, place in zip(pictures, places, strict=True):
        result = restore(picture)
        (face,) = result.faces
        for name, point in face.face.points.items():
            assert np.abs(np.subtract(point, place.points[name])).max() < 1
        assert is_green(result.restored).sum() < 0.02 * is_green(picture).sum()
    assert detector.asked == 1


def test_what_comes_into_the_picture_is_looked_for_and_counts_when_found_twice():
    both = [face_at(10, 40, 120), face_at(190, 40, 120)]
    alone, together = draw_photo(SHAPE, both[0]), draw_photo(SHAPE, *both)
    detector = Detector(lambda image: both[: 1 + bool((image[:, 200:] != alone[:, 200:]).any())])
    restore = restorer(detector, rest=3)
    counts = [len(restore(frame).faces) for frame in [alone] * 6 + [together] * 4]
    assert counts[:6] == [1] * 6
    assert counts[-2:] == [2, 2]
    assert detector.asked <= 4  # at first, when it came, once more, and one that says so


def test_where_nobody_is_there_every_second_frame_is_looked_at():
    detector = Detector([], kinds=("mediapipe",))
    restore = restorer(detector, rest=4)
    for _ in range(9):
        restore(draw_photo(SHAPE))
    assert detector.asked == 5


def test_a_cut_is_looked_at_anew():
    detector = Detector([FACE])
    restore = restorer(detector, rest=LONGEST_REST)
    for _ in range(3):
        restore(draw_photo(SHAPE, FACE))
    detector.faces = []
    assert not restore(255 - draw_photo(SHAPE, FACE)).faces
    assert detector.asked == 2


@pytest.mark.parametrize("blend", ["feather", "matched", "poisson", "none"])
def test_nothing_changes_outside_of_the_mask(blend):
    pictures, places = moving(6, 7.3)
    asked = iter(places)
    restore = restorer(Detector(lambda image: [next(asked)]), blend=blend)
    for picture in pictures:
        frame = noisy(picture, 1)
        result = restore(frame)
        outside = result.mask == 0
        assert 0.01 < result.hole_ratio < 0.3
        np.testing.assert_array_equal(result.restored[outside], frame[outside])


@pytest.mark.parametrize("side", [60, 100, 150, 220])
def test_a_frame_is_restored_as_a_photo_is(side):
    face = face_at(60, 10, side)
    photo = draw_photo(SHAPE, face)
    alone = stub_deoccluder(Detector([face]), size=256).restore(photo)
    frame = restorer([face], size=256)(photo)
    assert (alone.mask & frame.mask).sum() > 0.95 * (alone.mask | frame.mask).sum()
    both = (alone.mask & frame.mask).astype(bool)
    apart = np.abs(alone.restored[both].astype(int) - frame.restored[both])
    assert apart.mean() < 2
    assert (frame.faces[0].restored, frame.changed) == (True, True)


def test_a_frames_mask_grows_by_pixels_or_by_a_share_of_each_square_as_a_photos_does():
    photo, deoccluder = draw_photo(SHAPE, FACE), stub_deoccluder(Detector([FACE]), size=256)
    (face,) = deoccluder.restore(photo).faces
    pixels = 0.08 * 256 / np.hypot(*face.matrix[0, :2])
    masks = {}
    for dilate in (None, "3%", "8%", pixels):
        masks[dilate] = FrameRestorer(deoccluder, Choices(dilate=dilate))(photo).mask
        alone = deoccluder.restore(photo, dilate=dilate).mask
        assert (alone & masks[dilate]).sum() > 0.95 * (alone | masks[dilate]).sum()
    np.testing.assert_array_equal(masks[None], masks["3%"])
    np.testing.assert_array_equal(masks[pixels], masks["8%"])
    assert masks["8%"].sum() > 1.3 * masks["3%"].sum()


def test_matched_takes_the_colours_that_are_around():
    """Skin is lighter than what this inpainter draws."""
    photo = draw_photo(SHAPE, FACE)
    levels = {}
    for blend in ("feather", "matched", "poisson"):
        result = restorer(blend=blend, size=256, level=0.2)(photo)
        core = cv2.erode(result.mask, np.ones((9, 9), np.uint8)).astype(bool)
        levels[blend] = result.restored[core].mean()
    assert levels["feather"] == pytest.approx(51, abs=2)
    assert levels["matched"] > 120
    assert levels["poisson"] > 100


def test_networks_of_other_sizes_and_templates_see_squares_of_their_own():
    seen = []

    class Finder(GreenFinder):
        def forward(self, occluded):
            seen.append(occluded.shape[-1])
            return super().forward(occluded)

    photo = draw_photo(SHAPE, FACE)
    restore = restorer(segmenter=Finder(), segmenter_size=96, segmenter_template="celeba")
    for _ in range(2):
        result = restore(photo)
        assert is_green(result.restored).sum() < 0.02 * is_green(photo).sum()
    assert set(seen) == {96}
    assert result.faces[0].aligned.shape == (64, 64, 3)


@pytest.mark.parametrize("template", ["celeba", "utkface", "ffhq"])
def test_a_face_leaves_the_frame(template):
    """Where one of its squares lies outside it is left out, and the rest goes on."""
    counts, left_out = [], 0
    for number in range(0, 80, 4):
        face = face_at(200 + 3.0 * number, 40, 150)
        result = restorer([face], segmenter_template=template)(draw_photo(SHAPE, covered=False))
        counts.append(len(result.faces))
        left_out += result.left_out
    assert (counts[0], counts[-1]) == (1, 0)
    assert left_out == counts.count(0)


def test_a_bare_face_and_one_that_is_all_covered_stay():
    for green, words in (((0, 0, 0, 0), "nothing covers"), ((0, 240, 0, 320), "nothing is left")):
        photo = draw_photo(SHAPE, FACE, covered=False)
        photo[green[0] : green[1], green[2] : green[3]] = GREEN
        result = restorer()(photo)
        assert not result.changed
        np.testing.assert_array_equal(result.restored, photo)
        assert words in " ".join(result.faces[0].notices)


def test_a_mask_must_be_seen_twice_and_is_kept_once_when_it_is_gone():
    """With 0.6 of the past."""
    covered, free = draw_photo(SHAPE, FACE), draw_photo(SHAPE, FACE, covered=False)
    restore = restorer()
    changed = [restore(f).changed for f in (free, covered, covered, covered, free, free)]
    assert changed == [False, False, True, True, False, False]


class Trembling(nn.Module):
    """Another picture at every call."""

    def forward(self, occluded, mask, features=None):
        return torch.rand(()) * 0.5 + torch.zeros_like(occluded)


def test_what_is_redrawn_is_calm_while_the_face_is_at_rest():
    photo = draw_photo(SHAPE, FACE)
    changes = {}
    for share in (0.0, 0.6):
        torch.manual_seed(0)
        restore = restorer(tracker=FaceTracker(drawn=share), inpainter=Trembling())
        results = [restore(noisy(photo, n)) for n in range(30)]
        core = cv2.erode(results[-1].mask, np.ones((9, 9), np.uint8)).astype(bool)
        levels = [result.restored[core].mean() for result in results[5:]]
        changes[share] = np.abs(np.diff(levels)).mean()
    assert changes[0.6] < 0.5 * changes[0.0]


def test_a_face_that_changes_is_not_smeared():
    """In another light nothing of the past is mixed in."""

    class Copy(nn.Module):
        def forward(self, occluded, mask, features=None):
            known = (occluded * (1 - mask)).sum((2, 3), keepdim=True)
            return known / (1 - mask).sum((2, 3), keepdim=True) + torch.zeros_like(occluded)

    photo = draw_photo(SHAPE, FACE)
    dark = np.where(is_green(photo)[..., None], photo, photo // 2)
    restore, alone = restorer(inpainter=Copy()), restorer(inpainter=Copy())
    for _ in range(4):
        restore(photo)
    core = cv2.erode(alone(dark).mask, np.ones((9, 9), np.uint8)).astype(bool)
    apart = restore(dark).restored[core].mean() - alone(dark).restored[core].mean()
    assert abs(apart) < 3


def test_a_neighbours_mask_is_hidden_too():
    """Of two faces that stand close neither shows the other's occluder to the inpainter."""
    shown = []

    class Looking(Constant):
        def forward(self, occluded, mask, features=None):
            shown.append((occluded * (1 - mask)).numpy())
            return super().forward(occluded, mask)

    faces = [face_at(10, 40, 150), face_at(120, 50, 150)]
    restore = restorer(faces, inpainter=Looking())
    result = restore(draw_photo(SHAPE, *faces))
    assert len(result.faces) == 2
    pictures = np.concatenate(shown)
    green = pictures[:, 1] - np.maximum(pictures[:, 0], pictures[:, 2])
    assert (green > 0.5).sum() < 0.002 * green.size
    assert len(pictures) == 2


def test_uncertainty_lies_in_the_mask_alone():
    result = restorer(uncertainty=True)(draw_photo(SHAPE, FACE))
    assert result.uncertainty is not None
    assert result.uncertainty.shape == SHAPE
    assert not result.uncertainty[result.mask == 0].any()


def test_a_square_follows_what_is_covered_but_does_not_jump():
    """Alignments differ in which landmarks count; the choice of the first frame is kept for a
    while, then another that lasts is taken."""
    points = dict(template_points("ffhq", 100))
    points["left_mouth"] = (points["left_mouth"][0] + 20, points["left_mouth"][1] + 12)
    face = Face((10, 10, 80, 90), points, "mediapipe")
    free = draw_photo(SHAPE, covered=False)
    covered = free.copy()
    for name in ("left_mouth", "right_mouth"):
        x, y = map(round, points[name])
        covered[y - 12 : y + 12, x - 12 : x + 12] = GREEN
    restore = restorer([face], size=64)
    matrices = [restore(frame).faces[0].matrix for frame in [free] * 3 + [covered] * 30]
    changes = [n for n in range(1, 33) if not np.allclose(matrices[n], matrices[n - 1], atol=1e-3)]
    assert len(changes) == 1
    assert 10 <= changes[0] <= 16
