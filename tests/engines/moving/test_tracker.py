"""Faces from frame to frame: what is smoothed, matched, held and forgotten."""

import numpy as np
import pytest

from deocclude.engines.moving.tracker import FaceTracker
from deocclude.engines.photos.face import Face, add_new, box_overlap


def face(left, top=0.0, side=100.0, **points):
    points = points or {"left_eye": (left + 30, top + 40), "right_eye": (left + 70, top + 40)}
    return Face((left, top, side, side), points, "mediapipe")


def test_landmarks_and_box_are_averaged_over_time():
    tracker = FaceTracker(landmarks=0.75)
    assert tracker.smooth_faces([face(0)]) == [face(0)]
    (moved,) = tracker.smooth_faces([face(8)])
    assert moved.box == (2, 0, 100, 100)
    assert moved.points["left_eye"] == (32, 40)
    (again,) = tracker.smooth_faces([face(8)])
    assert again.box[0] == pytest.approx(3.5)


def test_trembling_is_damped_and_nothing_smooths_at_zero():
    places = 50 + np.random.default_rng(0).normal(0, 3, 200)
    tracker, raw = FaceTracker(landmarks=0.8), FaceTracker(landmarks=0)
    smooth = [tracker.smooth_faces([face(x)])[0].points["left_eye"][0] for x in places]
    assert np.std(np.diff(smooth[20:])) < 0.3 * np.std(np.diff(places))
    assert np.mean(smooth) == pytest.approx(80, abs=1)
    assert [raw.smooth_faces([face(x)])[0].points["left_eye"][0] for x in places] == [
        pytest.approx(x + 30) for x in places
    ]


def test_a_track_follows_its_own_face_when_the_order_changes():
    tracker = FaceTracker()
    low, high = np.zeros((4, 4), np.float32), np.ones((4, 4), np.float32)
    faces = tracker.smooth_faces([face(0), face(300)])
    for one, probability in zip(faces, (low, high), strict=True):
        assert tracker.track_of(one).smooth_probability(probability, 0.5) is probability
    faces = tracker.smooth_faces([face(302), face(1)])  # the detector's order is not ours
    assert [round(f.box[0]) for f in faces] == [0, 301]
    tracks = [tracker.track_of(one) for one in faces]
    second = [track.smooth_probability(high, 0.5) for track in tracks]
    assert [p.mean() for p in second] == [0.5, 1]
    assert second[0].dtype == np.float32
    third = tracks[0].smooth_probability(np.zeros((8, 8), np.float32), 0.5)
    assert third.shape == (8, 8)  # another segmenter: nothing to average with


def test_faces_move_and_those_that_do_not_count_wait():
    tracker = FaceTracker()
    tracker.smooth_faces([face(0)])
    assert not tracker.unsettled
    tracker.smooth_faces([face(0), face(300)])
    assert tracker.unsettled  # the second one must be found again
    right = np.array([[1.0, 0, 10], [0, 1, 0]])
    (only,) = tracker.move_faces([right, right])
    assert only.box == (10, 0, 100, 100)
    tracker.smooth_faces([face(10), face(310)])
    assert [f.box[0] for f in tracker.move_faces([right, None])] == [20, 310]
    assert not tracker.unsettled


def test_a_lost_face_is_held_and_then_forgotten():
    tracker = FaceTracker(patience=2)
    for _ in range(2):
        tracker.smooth_faces([face(0), face(300)])
    for _ in range(2):
        assert len(tracker.smooth_faces([face(0)])) == 2
    assert len(tracker.smooth_faces([face(0)])) == 1
    assert tracker.smooth_faces([]) == [face(0)]
    tracker.reset()
    assert tracker.smooth_faces([]) == []


def test_a_far_jump_is_another_face():
    tracker = FaceTracker(patience=0)
    tracker.smooth_faces([face(0)])
    assert tracker.smooth_faces([face(200)]) == []
    assert tracker.smooth_faces([face(200)]) == [face(200)]


def test_what_is_seen_in_one_frame_only_is_no_face():
    tracker, true = FaceTracker(patience=3), face(0)
    answers = [[true], [true], [true, face(300)], [true], [face(300), true], [face(300), true]]
    counts = [len(tracker.smooth_faces(found)) for found in [*answers, [true], [true]]]
    assert counts == [1, 1, 1, 1, 1, 2, 2, 2]
    tracker.reset()  # a new scene shows its faces at once, but does not hold what is seen once
    assert [len(tracker.smooth_faces(found)) for found in ([true], [])] == [1, 0]


def test_bad_weights_are_refused():
    with pytest.raises(ValueError, match="landmarks"):
        FaceTracker(landmarks=1)
    with pytest.raises(ValueError, match="probability"):
        FaceTracker(probability=-0.1)
    with pytest.raises(ValueError, match="drawn"):
        FaceTracker(drawn=1.5)


def test_overlap_and_parts_of_known_faces():
    assert box_overlap((0, 0, 10, 10), (5, 0, 10, 10)) == pytest.approx(1 / 3)
    assert box_overlap((0, 0, 10, 10), (10, 0, 10, 10)) == 0
    inner, beside = face(20, 20, 40), face(90, 0, 100)
    assert add_new([face(0)], [inner, beside]) == [face(0), beside]
    assert add_new([], [inner, face(0)]) == [face(0)]
