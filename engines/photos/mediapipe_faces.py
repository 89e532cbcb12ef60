"""MediaPipe's Face Landmarker, asked until it finds the faces: small, cut off, turned, unsure; and
asked again about those that it is least sure of, which may be a cup or a pattern."""

import math
import os
import threading
import weakref
import zipfile
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from deocclude.data.faces.alignment import invert
from deocclude.engines.photos.face import Face, FaceBox, add_new, box_overlap, shared_area
from deocclude.engines.photos.landmarker import landmarker_file

# Of the 478 landmarks: the two irises, the nose tip, the corners of the mouth, the chin.
INDICES = {
    "left_eye": 468,
    "right_eye": 473,
    "nose_tip": 1,
    "left_mouth": 61,
    "right_mouth": 291,
    "chin": 152,
}
LONGEST = 1280  # pixels; a longer photo is reduced, the model itself works at 256
# The confidences asked for. Below the first, what covers a face decides which way round it seems
# to stand, so a turned view that is sure counts before an unturned one that is less sure.
CONFIDENCES = (0.8, 0.7, 0.5)
SURE, UNSURE = 0.5, 0.2
TURNS = (0, 1, 3, 2)  # quarters, counterclockwise, the likely ones first
# Faces below LEAST_SEEN of a view's longer side are overlooked (of 200 at a tenth 180 are found, at
# an eighth all), so overlapping square tiles are looked at too: of FIRST_TILE of the photo's longer
# side, of half of that and so on, see `tile_sides`. Below SMALLEST_TILE pixels they show nothing
# new. LARGEST_WHOLE: faces up to this share of a tile lie in one of them as a whole.
LEAST_SEEN, LARGEST_WHOLE = 0.1, 1 / 3
FIRST_TILE, SMALLEST_TILE = 0.375, 100
# The first COARSE sizes cost little. Finer ones go down to FINEST_TILE or so, where a face is small
# for the networks too, as long as a photo has no more than MOST_TILES of them, which take 0.4 s.
COARSE, FINEST_TILE, MOST_TILES = 2, 300, 256
# In a crowd some faces seem to stand sideways: unless turned, it shows this many times their area.
CROWD = 1.25
# A face that fills the picture, or leaves it, is found with a border of this share around it.
PADDINGS = (0.25, 0.5)
# And then with others, also mirrored: of 7 photographs of masked people in which nothing else finds
# a face, all of them in profile, these find one in 3, of which 1 is found again as below.
LAST_PADDINGS, BLACK, WHITE = (0.5, 1.0), (0, 0, 0), (255, 255, 255)
MIRRORED = {
    "left_eye": "right_eye", "right_eye": "left_eye", "left_mouth": "right_mouth",
    "right_mouth": "left_mouth",
}  # fmt: skip
# A face of the lowest confidences counts when it is found again in crops of these multiples of its
# box, each also mirrored. Of 12 crops true faces (8 of 90 photographs of masked people) are found
# in 5 to 12, drawn cups in 0 to 2, coloured noise in 0 to 9: what has nothing of a face in it goes,
# most of the rest too.
AGAIN, AGAIN_SIZE, AGAIN_SAME = (1.5, 2.0, 1.75, 2.3, 1.3, 2.6), 256, 0.5
AGAIN_ASKED, AGAIN_COUNT = 0.1, 4
# One of the finer tiles, of which there are many, is asked for at SURE and must be found in the
# second number of crops before it is missed in the third: of 130 true ones, masked, 126 are, of 17
# patterns in 18 pictures of objects 5, all of them the same pale disc.
FINE_FOUND, FINE_MISSED = 6, 4
# A face in a box drawn by hand is looked for in squares of these multiples of it, and must share
# IN_BOX_LEAST with it (intersection over union): people draw around a head or around its features.
AROUND_BOX, IN_BOX_LEAST = (1.5, 2.0, 3.0), 0.25

DETECTOR = "face_detector.tflite"  # the first of the landmarker's two stages, in its model file
MOST_ANSWERS = 1000  # more than the detector has anchors: no view's answer is cut off

View = tuple[np.ndarray, np.ndarray]  # a picture, and the map from the photo to it, (2, 3)


class MediaPipeFaces:
    """One Face Landmarker, kept for many photos.

    `model` as in `engines.photos.landmarker.landmarker_file`, whose errors it raises;
    ImportError without mediapipe, before anything is downloaded.
    """

    def __init__(self, model: str | os.PathLike[str] | None, small_faces: bool = True) -> None:
        import mediapipe

        self._mediapipe = mediapipe
        self.model = landmarker_file(model)
        self.small_faces = small_faces
        self._tasks: dict = {}  # confidence -> FaceLandmarker, DETECTOR -> FaceDetector
        # Left open until the interpreter ends, they would complain on the error stream.
        self._finalizer = weakref.finalize(self, _close_all, self._tasks)

    def detect(self, image: np.ndarray, least: float = 0) -> list[Face]:
        """Faces of a photo uint8 (H, W, 3), the largest first; `score` is the confidence asked.
        Those below `least` pixels need not be looked for.

        The whole picture says first which way round the faces stand: a tile that shows a part of a
        turned face is easily taken for an upright one.
        """
        whole = _reduced(image)
        padded = [_padded(whole, share) for share in PADDINGS]
        turns, faces = self._largest([whole, *padded])
        if faces:
            faces = add_new(faces, self._ask_new(_turned(whole, turns), faces))
        if self.small_faces:
            photo = image, np.eye(2, 3)
            coarse, fine, last = tile_sides(image.shape[:2], least)
            faces = self._add_tiles(faces, _turned(photo, turns), coarse)
            if turns:
                unturned = self._add_tiles([], photo, coarse)
                if _area(unturned) > CROWD * _area(faces):
                    turns, faces = 0, unturned
            if not faces:
                faces = self._add_tiles([], photo, last)
                fine = [side for side in fine if side not in last]
        for view in (*padded, whole, *(_last_views(whole) if self.small_faces else ())):
            faces = faces or add_new([], self._ask(view, UNSURE))
        if self.small_faces:
            faces = [f for f in faces if f.score > SURE or self._is_found_again(image, f)]
            small = self._add_tiles(faces, _turned(photo, turns), fine)[len(faces) :]
            faces += [f for f in small if self._is_found_again(image, f, fine=True)]
        return sorted(faces, key=lambda face: -face.box[2] * face.box[3])

    def detect_in(self, image: np.ndarray, box: FaceBox) -> Face | None:
        """The face that fits a box drawn by hand best, also one of low confidence; None without."""
        for confidence in (*CONFIDENCES, UNSURE, AGAIN_ASKED):
            for turns in TURNS:
                seen = [
                    face
                    for multiple in AROUND_BOX
                    for face in self._ask(_turned(_cut(image, box, multiple), turns), confidence)
                    if box_overlap(face.box, box) > IN_BOX_LEAST
                ]
                if seen:
                    return max(seen, key=lambda face: box_overlap(face.box, box))
        return None

    def _largest(self, views: list[View]) -> tuple[int, list[Face]]:
        """By how many quarters to turn the photo, and the faces that a view then shows."""
        for confidence in CONFIDENCES if self.small_faces else (SURE,):
            for view in views:
                for turns in TURNS:
                    if faces := add_new([], self._ask(_turned(view, turns), confidence)):
                        return turns, faces
        return 0, []

    def _is_found_again(self, image: np.ndarray, face: Face, fine: bool = False) -> bool:
        """Whether crops around a face, and their mirror images, show one at the same place."""
        found, missed = 0, 0
        confidence = SURE if fine else AGAIN_ASKED
        enough, too_many = (FINE_FOUND, FINE_MISSED) if fine else (AGAIN_COUNT, 2 * len(AGAIN))
        for view in _crops_around(face):
            picture = _warped(image, view, AGAIN_SIZE)
            seen = self._ask((picture, view), confidence)
            if any(box_overlap(other.box, face.box) > AGAIN_SAME for other in seen):
                found += 1
            else:
                missed += 1
            if found == enough or missed == too_many:
                break
        return found == enough

    def close(self) -> None:
        _close_all(self._tasks)

    def _add_tiles(self, faces: list[Face], view: View, sides: list[int]) -> list[Face]:
        picture, matrix = view
        for side in sides:
            found = []
            for top in _starts(picture.shape[0], side):
                for left in _starts(picture.shape[1], side):
                    tile = picture[top : top + side, left : left + side]
                    place = matrix - [[0, 0, left], [0, 0, top]]
                    found += self._ask_new((tile, place), faces)
            faces = add_new(faces, found)
        return faces

    def _ask_new(self, view: View, known: list[Face]) -> list[Face]:
        """As `_ask` at SURE, where the detector alone sees more in the view than known faces: it
        takes 2 ms, landmarks 8 ms a face."""
        picture, matrix = view
        corners = _box_around(np.array([[0, 0], [1, 1]]) * picture.shape[1::-1], matrix)
        if any(shared_area(corners, face.box) for face in known):
            seen = []
            for found in self._answer(DETECTOR, picture).detections:
                box = found.bounding_box
                left, top = box.origin_x, box.origin_y
                places = np.array([[left, top], [left + box.width, top + box.height]])
                seen.append(Face(_box_around(places, matrix), {}, "mediapipe", SURE))
            if len(add_new(known, seen)) == len(known):
                return []
        return self._ask(view, SURE)

    def _ask(self, view: View, confidence: float) -> list[Face]:
        """Faces of a view, in the photo's pixels."""
        picture, matrix = view
        answer = self._answer(confidence, picture)
        size, back = (picture.shape[1], picture.shape[0]), invert(matrix)
        faces = []
        for marks in answer.face_landmarks:
            places = np.array([(mark.x, mark.y) for mark in marks]) * size
            box = _box_around(places, matrix)
            places = places @ back[:, :2].T + back[:, 2]
            points = {name: tuple(places[i].tolist()) for name, i in INDICES.items()}
            if np.linalg.det(matrix[:, :2]) < 0:  # seen in a mirror
                points = {MIRRORED.get(name, name): place for name, place in points.items()}
            if np.isfinite(places).all() and min(box[2:]) > 1:
                faces.append(Face(box, points, "mediapipe", confidence))
        return faces

    def _answer(self, task: float | str, picture: np.ndarray) -> Any:
        if task not in self._tasks:
            self._tasks[task] = self._open(task)
        with quiet_stderr():  # it now and then writes of its memory
            return self._tasks[task].detect(self._picture(picture))

    def _picture(self, picture: np.ndarray) -> Any:
        return self._mediapipe.Image(
            image_format=self._mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(picture)
        )

    def _open(self, task: float | str) -> Any:
        """The landmarker of a confidence, or the DETECTOR alone."""
        from mediapipe.tasks.python import BaseOptions, vision

        # Handed over as bytes: MediaPipe cannot open every path on Windows.
        if task == DETECTOR:
            with zipfile.ZipFile(self.model) as bundle:
                base = BaseOptions(model_asset_buffer=bundle.read(DETECTOR))
            options = vision.FaceDetectorOptions(base_options=base, min_detection_confidence=SURE)
            create = vision.FaceDetector.create_from_options
        else:
            options = vision.FaceLandmarkerOptions(
                base_options=BaseOptions(model_asset_buffer=self.model.read_bytes()),
                num_faces=MOST_ANSWERS,
                min_face_detection_confidence=task,
                min_face_presence_confidence=task,
            )
            create = vision.FaceLandmarker.create_from_options
        with quiet_stderr():  # it writes of its delegates when it starts
            opened = create(options)
            opened.detect(self._picture(np.zeros((32, 32, 3), np.uint8)))
        return opened


def _close_all(tasks: dict) -> None:
    with quiet_stderr():  # the detector's own writes of its end
        while tasks:
            tasks.popitem()[1].close()


def tile_sides(shape: tuple[int, int], least: float = 0) -> tuple[list[int], list[int], list[int]]:
    """Sides in pixels of the tiles that a photo of (height, width) is looked at in: coarse ones,
    fine ones, and those for a photo in which nothing is found. `least`: of the faces asked for."""

    def is_worth(side: int) -> bool:
        return side >= SMALLEST_TILE and least <= LARGEST_WHOLE * side

    first = FIRST_TILE * max(shape)
    coarse = [round(first / 2**halving) for halving in range(COARSE)]
    last = round(first / 2**COARSE)
    fine: list[int] = []
    while (fine or coarse)[-1] > 1.5 * FINEST_TILE:
        side = max(round((fine or coarse)[-1] / 2), FINEST_TILE)
        if math.prod(len(_starts(length, side)) for length in shape) > MOST_TILES:
            break
        fine.append(side)
    return (
        list(filter(is_worth, coarse)), list(filter(is_worth, fine)), list(filter(is_worth, [last]))
    )  # fmt: skip


def smallest_seen(shape: tuple[int, int]) -> float:
    """Below how many pixels a face of a photo of (height, width) may be overlooked."""
    coarse, fine, _ = tile_sides(shape)
    return LEAST_SEEN * min([max(shape), *coarse, *fine])


def _crops_around(face: Face) -> Iterator[np.ndarray]:
    """Maps (2, 3) from the photo to squares around a face, turned upright by quarters."""
    left, top, width, height = face.box
    across = np.subtract(face.points["right_eye"], face.points["left_eye"])
    quarter = np.rint(np.arctan2(across[1], across[0]) / (np.pi / 2)) * (np.pi / 2)
    cos, sin = np.cos(quarter), np.sin(quarter)
    for multiple in AGAIN:
        scale = AGAIN_SIZE / (multiple * max(width, height))
        linear = scale * np.array([[cos, sin], [-sin, cos]])
        shift = AGAIN_SIZE / 2 - linear @ (left + width / 2, top + height / 2)
        upright = np.column_stack([linear, shift])
        yield upright
        yield np.array([[-1], [1]]) * upright + [[0, 0, AGAIN_SIZE], [0, 0, 0]]


def _box_around(places: np.ndarray, matrix: np.ndarray) -> FaceBox:
    """The photo's box around places (n, 2) of a view with the map `matrix`."""
    back = invert(matrix)
    places = places @ back[:, :2].T + back[:, 2]
    (left, top), (right, bottom) = places.min(0).tolist(), places.max(0).tolist()
    return left, top, right - left, bottom - top


def _cut(image: np.ndarray, box: FaceBox, multiple: float) -> View:
    """A square around a box, black beyond the photo, at most LONGEST pixels wide."""
    left, top, width, height = box
    side = multiple * max(width, height)
    scale = min(1.0, LONGEST / side) if side > AGAIN_SIZE else AGAIN_SIZE / side
    corner = np.array([left + width / 2, top + height / 2]) - side / 2
    matrix = np.column_stack([scale * np.eye(2), -scale * corner])
    return _warped(image, matrix, max(1, round(side * scale))), matrix


def _warped(image: np.ndarray, matrix: np.ndarray, side: int) -> np.ndarray:
    """A square view of `side` pixels by its map (2, 3), black beyond the photo. Of the photo only
    what the view shows is handed on: OpenCV refuses sides of 32 768 pixels."""
    corners = np.array([[0, 0], [side, 0], [side, side], [0, side]])
    left, top, width, height = _box_around(corners, matrix)
    rows = slice(max(0, math.floor(top) - 2), max(0, math.ceil(top + height) + 2))
    columns = slice(max(0, math.floor(left) - 2), max(0, math.ceil(left + width) + 2))
    part = image[rows, columns]
    if part.size == 0:
        return np.zeros((side, side, *image.shape[2:]), image.dtype)
    moved = matrix.copy()
    moved[:, 2] += moved[:, :2] @ (columns.start, rows.start)
    method = cv2.INTER_AREA if abs(np.linalg.det(matrix[:, :2])) < 1 else cv2.INTER_LINEAR
    return cv2.warpAffine(part, moved, (side, side), flags=method)


def _area(faces: list[Face]) -> float:
    return sum(face.box[2] * face.box[3] for face in faces)


def _reduced(image: np.ndarray) -> View:
    height, width = image.shape[:2]
    scale = LONGEST / max(height, width)
    if scale >= 1:
        return image, np.eye(2, 3)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    picture = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return picture, np.array([[size[0] / width, 0, 0], [0, size[1] / height, 0]])


def _last_views(view: View) -> Iterator[View]:
    """A face that nothing else shows: with a bright border, or one that goes on, also mirrored."""
    for share in LAST_PADDINGS:
        for border in (WHITE, None):
            picture, matrix = _padded(view, share, border)
            yield picture, matrix
            mirror = np.array([[-1, 0, picture.shape[1]], [0, 1, 0]], np.float64)
            yield picture[:, ::-1], mirror @ np.vstack([matrix, [0, 0, 1]])


def _padded(view: View, share: float, colour: tuple[int, int, int] | None = BLACK) -> View:
    """With a border of one colour; None: its own border goes on."""
    picture, matrix = view
    border = round(max(picture.shape[:2]) * share)
    kind = cv2.BORDER_REPLICATE if colour is None else cv2.BORDER_CONSTANT
    wide = cv2.copyMakeBorder(picture, border, border, border, border, kind, value=colour or BLACK)
    return wide, matrix + np.array([[0, 0, border], [0, 0, border]])


def _turned(view: View, turns: int) -> View:
    """A picture turned by 0 to 3 quarters, counterclockwise."""
    picture, matrix = view
    height, width = picture.shape[:2]
    turn = {
        0: [[1, 0, 0], [0, 1, 0]],
        1: [[0, 1, 0], [-1, 0, width]],
        2: [[-1, 0, width], [0, -1, height]],
        3: [[0, -1, height], [1, 0, 0]],
    }[turns]
    full = np.vstack([matrix, [0, 0, 1]])
    return np.rot90(picture, turns), np.array(turn, np.float64) @ full


def _starts(length: int, side: int) -> list[int]:
    """Where tiles of `side` begin so that they cover `length` and overlap by a third or more."""
    if length <= side:
        return [0]
    count = math.ceil((length - side) / (side * 2 / 3)) + 1
    return [round(i * (length - side) / (count - 1)) for i in range(count)]


class _ErrorStream:
    """The process's, as native code sees it: turned off while any thread is inside `quiet_stderr`.
    A lock that its holder may take again, as collecting garbage in between may close a library."""

    def __init__(self) -> None:
        self._lock, self._inside = threading.RLock(), 0
        self._kept: int | None = None  # where it leads, while it is turned off

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._turn_off()

    def __exit__(self, *error: object) -> None:
        with self._lock:
            if self._inside == 1 and self._kept is not None:
                os.dup2(self._kept, 2)
                os.close(self._kept)
                self._kept = None
            self._inside -= 1

    def _turn_off(self) -> None:
        try:
            self._kept = os.dup(2)
        except OSError:  # no console at all, as under pythonw
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)


_STDERR = _ErrorStream()


def quiet_stderr() -> _ErrorStream:
    """Keep what native code writes to the error stream away from the user."""
    return _STDERR
