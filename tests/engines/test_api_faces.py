"""`find_faces`, which faces `restore` and `find_mask` take, and one restorer for each thread."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from api_stubs import FACE, SHAPE, ship_stand_ins
from photo_stubs import GREEN, Constant, Detector, GreenFinder, draw_photo, face_at, is_green

import deocclude
from deocclude import find_faces, find_mask, load, restore
from deocclude.engines import api
from deocclude.engines.inference.networks import Inpainter, Segmenter
from deocclude.engines.photos.deoccluder import Deoccluder
from deocclude.engines.photos.detection import FaceDetector
from deocclude.engines.runs import released

SEVERAL = [face_at(8, 14, 120), face_at(150, 4, 64), face_at(150, 80, 60)]


@pytest.fixture(autouse=True)
def made(tmp_path, monkeypatch):
    """The detectors, which know three faces."""
    return ship_stand_ins(tmp_path, monkeypatch, SEVERAL)


@pytest.fixture
def photo():
    """All three of them, covered."""
    return draw_photo((150, 230), *SEVERAL)


def test_find_faces_needs_no_network_and_says_what_it_leaves_out(photo, made):
    restorer = load(device="cpu")
    for name in released.FILES.values():
        (released.FOLDER / name).unlink()
    for find in (find_faces, restorer.find_faces):
        found = find(photo)
        assert (found, found.notices) == (SEVERAL, [])
        assert isinstance(found[0], deocclude.Face)
        large = find(photo, min_face=50)
        assert large == SEVERAL[:1]
        assert large.notices == ["2 of 3 faces left out: 2 smaller than 50 pixels"]
        assert find(photo) == found
        with pytest.raises(ValueError, match="min_face: must be 0 or more pixels, found -1"):
            find(photo, min_face=-1)
    assert len(made) == 2  # one of the restorer, one of the function, which is kept


def test_find_faces_takes_the_middle_for_a_face_only_when_asked(monkeypatch):
    monkeypatch.setattr(api, "FaceDetector", lambda *a, **k: FaceDetector(kinds=("haar",)))
    grey = np.full((96, 140, 3), 90, np.uint8)
    for find in (find_faces, load(device="cpu").find_faces):
        (middle,) = find(grey, whole=True)
        assert (middle.source, middle.box) == ("whole", (22, 0, 96, 96))
        assert find(grey) == []
        assert find(grey).notices[-1] == "no face found"


def test_the_faces_that_are_given_are_restored_and_no_others(photo, made):
    found = find_faces(photo)
    restorer = load(device="cpu")
    for chosen in (found[1:2], [found[2], found[0]], tuple(found)):
        restored = restorer.restore(photo, faces=chosen)
        assert sorted(face.face.box for face in restored.faces) == sorted(f.box for f in chosen)
        left = is_green(np.asarray(restored.image))
        for face in found:
            x, y, width, height = (round(value) for value in face.box)
            assert left[y : y + height, x : x + width].any() == (face not in chosen)
        np.testing.assert_array_equal(restorer.find_mask(photo, faces=chosen), restored.mask)
        by_functions = restore(photo, device="cpu", faces=chosen)
        np.testing.assert_array_equal(by_functions.image, restored.image)
        np.testing.assert_array_equal(find_mask(photo, device="cpu", faces=chosen), restored.mask)
    assert [detector.asked for detector in made] == [1, 0, 0, 0]  # by find_faces alone
    given = restorer.restore(photo, is_green(photo), faces=found[:1])
    assert [face.face for face in given.faces] == found[:1]
    np.testing.assert_array_equal(np.asarray(given.mask) > 0, is_green(photo))


def test_find_mask_takes_the_choices_that_restore_takes(photo):
    restorer = load(device="cpu")
    whole = restorer.restore(photo).mask
    for choice in ({"faces": 1}, {"faces": "largest"}, {"min_face": 43}, {"dilate": "8%"}):
        redrawn = np.asarray(restorer.restore(photo, **choice).mask)
        assert (redrawn != np.asarray(whole)).any()
        np.testing.assert_array_equal(restorer.find_mask(photo, **choice), redrawn)
        np.testing.assert_array_equal(find_mask(photo, device="cpu", **choice), redrawn)
    np.testing.assert_array_equal(restorer.restore(photo, dilate="3%").mask, whole)


def test_find_mask_takes_a_box_and_the_middle(monkeypatch):
    monkeypatch.setattr(api, "FaceDetector", lambda *a, **k: FaceDetector(kinds=("haar", "whole")))
    photo = np.full((96, 96, 3), 90, np.uint8)
    photo[50:70, 30:60] = GREEN
    restorer = load(device="cpu")
    for choice in ({"face_box": (20, 20, 56, 70)}, {"whole": True}):
        redrawn = restorer.restore(photo, **choice).mask
        assert np.asarray(redrawn).any()
        np.testing.assert_array_equal(restorer.find_mask(photo, **choice), redrawn)
        np.testing.assert_array_equal(find_mask(photo, device="cpu", **choice), redrawn)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"faces": []}, "faces: the list is empty"),
        ({"faces": api.Faces(notices=["no face found"])}, "faces: the list is empty"),
        ({"faces": FACE}, "faces as find_faces gives them, found \\(52"),
        ({"faces": [FACE, 7]}, "faces as find_faces gives them, found 7"),
        ({"faces": [FACE], "min_face": 5}, "leave out min_face and face_box"),
        ({"faces": [FACE], "face_box": (1, 2, 30, 40)}, "leave out min_face and face_box"),
    ],
)
def test_faces_that_cannot_be_meant_are_named(options, message):
    photo = draw_photo(SHAPE, FACE)
    for ask in (restore, find_mask):
        with pytest.raises(ValueError, match=message):
            ask(photo, device="cpu", **options)
    with pytest.raises(ValueError, match="'telea' looks for no face"):
        restore(photo, is_green(photo), method="telea", faces=[FACE])


class Meeting(Constant):
    """An inpainter that answers with the mean of what it is shown, once both threads ask it."""

    barrier = None

    def forward(self, occluded, mask, features=None):
        if self.barrier is not None:
            self.barrier.wait(timeout=20)
        return occluded.mean((1, 2, 3), keepdim=True) + torch.zeros_like(occluded)


class ThreadDetector(Detector):
    """Notes the threads in which it is asked."""

    def __init__(self, *given):
        super().__init__(*given)
        self.threads = set()

    def detect(self, image):
        self.threads.add(threading.get_ident())
        return super().detect(image)


def test_two_threads_share_networks_and_each_has_its_own_detector():
    inpainter = Inpainter(Meeting(), 64)
    detector = ThreadDetector(lambda image: [FACE] if image.shape[0] == SHAPE[0] else SEVERAL[:1])
    networks = Deoccluder(inpainter, Segmenter(GreenFinder(), 64), detector)
    one = api.Restorer(networks)
    other = one.apart()
    tasks = [
        (one, draw_photo(SHAPE, FACE), {"flip": True}),
        (other, draw_photo((160, 200), SEVERAL[0]), {"dilate": "8%", "uncertainty": True}),
    ]

    def work(task):
        restorer, photo, options = task
        return [restorer.restore(photo, **options) for _ in range(5)]

    alone = [work(task) for task in tasks]
    for each in (detector, other._networks.detector):
        each.threads.clear()
    inpainter.network.barrier = threading.Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(work, tasks))
    for before, after in zip(alone, together, strict=True):
        for expected, found in zip(before, after, strict=True):
            assert found.changed
            np.testing.assert_array_equal(found.image, expected.image)
            np.testing.assert_array_equal(found.mask, expected.mask)
            np.testing.assert_array_equal(found.uncertainty, expected.uncertainty)
    assert other._networks.inpainter is inpainter
    assert other._networks.segmenter is networks.segmenter
    threads = [each.threads for each in (detector, other._networks.detector)]
    assert [len(each) for each in threads] == [1, 1]
    assert threads[0] != threads[1]
