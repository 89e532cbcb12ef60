"""Frames that follow each other, restored: faces are looked for as often as needed and followed in
between."""

import cv2
import numpy as np

from deocclude.engines.inference.hole_mask import Dilation
from deocclude.engines.jobs.plan import Choices
from deocclude.engines.moving.flow import Flow
from deocclude.engines.moving.squares import find_works, redraw_squares
from deocclude.engines.moving.tracker import FaceTracker
from deocclude.engines.photos.blend import check_blend
from deocclude.engines.photos.deoccluder import Deoccluder
from deocclude.engines.photos.detection import NOT_IN_BOX, UNSURE_FACE
from deocclude.engines.photos.face import Face
from deocclude.engines.photos.mediapipe_faces import SURE
from deocclude.engines.photos.restoration import NO_FACE, Restoration
from deocclude.engines.photos.steps import Settings
from deocclude.engines.photos.windows import check_image

THUMBNAIL = (32, 18)
CUT = 30.0  # mean difference in levels of two thumbnails that no movement makes
NEW = 24.0  # levels by which a cell of the thumbnail beside the faces changes when something comes
LIVE_REST, LONGEST_REST = 4, 12  # frames: `rest` of what a camera sees; the longest of all


class FrameRestorer:
    """Restores frames that follow each other.

    Faces are followed from frame to frame by the picture's movement. They are looked for anew where
    that fails, at a cut, until one that is new has been found twice, where the picture beside them
    has changed, and now and then. Only faces found with confidence count: a frame is never taken
    for a face as a whole, as a single photo can be; nor are those of OpenCV's cascade, which errs
    often, once MediaPipe has found one. A face that is lost stays for some frames
    (`FaceTracker.patience`), but not beyond a cut.

    Parameters
    ----------
    rest : for how many frames at least faces are followed without looking for new ones, half as
        many where there is none; 0 looks in every frame.
    """

    def __init__(
        self,
        deoccluder: Deoccluder,
        choices: Choices,
        uncertainty: bool = False,
        tracker: FaceTracker | None = None,
        rest: int = 0,
    ) -> None:
        self.deoccluder, self.choices, self.uncertainty = deoccluder, choices, uncertainty
        self.tracker, self.rest = tracker or FaceTracker(), rest
        self.settings = Settings(
            Dilation.of(deoccluder.dilate if choices.dilate is None else choices.dilate),
            check_blend(choices.blend),
            uncertainty,
            deoccluder.alignment,
            deoccluder.batch,
        )
        self._flow = Flow()
        self._sure = False  # MediaPipe has found a face
        self._last: np.ndarray | None = None  # the frame before, as a thumbnail
        self._looked: np.ndarray | None = None  # the frame in which faces were looked for
        self._since = 0  # frames since then
        self._covered: np.ndarray | None = None  # what was redrawn in the frame before

    def __call__(self, frame: np.ndarray, mask: np.ndarray | None = None) -> Restoration:
        """Shape: frame uint8 (H, W, 3), mask uint8 (H, W) or None. A frame without a face comes
        back as it is, with a notice."""
        check_image(frame)
        deoccluder, tracker = self.deoccluder, self.tracker
        result = Restoration.begun(frame, self.uncertainty)
        with result.timing("detect"):
            faces, result.notices = self._faces(frame)
        if mask is not None:
            given = deoccluder.restore(
                frame, mask, faces, dilate=self.choices.dilate, blend=self.choices.blend,
                uncertainty=self.uncertainty,
            )  # fmt: skip
            given.notices += result.notices
            given.seconds["detect"] += result.seconds["detect"]
            return given
        networks = deoccluder.inpainter, deoccluder.check_segmenter()
        faces, left_out = deoccluder.detector.choice.pick(faces)
        result.notices += left_out
        tracks = [tracker.track_of(face) for face in faces]
        how = self.settings, result.timing
        works, left_out = find_works(*networks, frame, tracks, tracker.probability, *how)
        result.leave_out(left_out)
        for face, patch in redraw_squares(deoccluder.inpainter, works, tracker.drawn, *how):
            result.put(face, patch)
        self._covered = result.mask
        return result.concluded()

    def _faces(self, frame: np.ndarray) -> tuple[list[Face], list[str]]:
        """The faces of this frame that count, followed or found, and what to tell the user."""
        small = cv2.resize(frame, THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32)
        last, self._last = self._last, small
        if last is not None and float(np.abs(small - last).mean()) > CUT:  # another scene
            self.tracker.reset()
            self._flow.reset()
            self._looked = None
        boxes = [track.face.box for track in self.tracker.tracks]
        moves = self._flow.follow(frame, boxes, self._covered)
        faces = self.tracker.move_faces(moves)
        self._since += 1
        lost = any(move is None for move in moves)
        if not lost and not self.tracker.unsettled and not self._is_due(small, frame.shape):
            return faces, []
        self._since, self._looked = 0, small
        found, notices = self._find(frame)
        return self.tracker.smooth_faces(found), notices

    def _is_due(self, small: np.ndarray, shape: tuple[int, ...]) -> bool:
        """Whether to look for faces though all that are known are followed."""
        if not self.tracker.tracks:
            return self._looked is None or self._since >= self.rest / 2
        if self._since < self.rest or self._looked is None:
            return self._looked is None
        if self.rest == 0 or self._since >= LONGEST_REST:
            return True
        change = np.abs(small - self._looked).mean(2)
        across, down = THUMBNAIL[0] / shape[1], THUMBNAIL[1] / shape[0]
        for track in self.tracker.tracks:
            left, top, width, height = track.face.box
            columns = _cells(left * across, (left + width) * across)
            change[_cells(top * down, (top + height) * down), columns] = 0
        return bool(change.max() > NEW)

    def _find(self, frame: np.ndarray) -> tuple[list[Face], list[str]]:
        """Those of the detector's faces that count in a video, and what to tell the user."""
        detector = self.deoccluder.detector
        faces, notices = detector.detect(frame)
        self._sure |= any(face.source == "mediapipe" and face.score >= SURE for face in faces)
        unsure = ("whole", "given", "haar") if self._sure else ("whole", "given")
        trusted = bool(detector.choice.boxes)  # someone has seen a face there
        faces = [
            face
            for face in faces
            if face.source not in unsure and (trusted or not _is_doubtful(face))
        ]
        if self._sure and not faces:  # what is said is about faces that do not count
            return [], []
        untrue = (NO_FACE, UNSURE_FACE, NOT_IN_BOX)
        return faces, [text for text in notices if not text.startswith(untrue)]


def _cells(low: float, high: float) -> slice:
    """The cells of a thumbnail that an interval touches, and one more."""
    return slice(max(0, int(low)), max(0, int(high) + 2))


def _is_doubtful(face: Face) -> bool:
    return face.source == "mediapipe" and face.score < SURE
