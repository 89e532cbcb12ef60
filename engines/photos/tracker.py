"""Faces from frame to frame: landmarks and masks that do not flicker."""

from dataclasses import dataclass

import numpy as np

from deocclude.engines.photos.face import Face, box_overlap


@dataclass
class Track:
    """One face over time: what was smoothed so far, for how many frames it was not seen, whether it
    was seen twice in a row, and whether it counts."""

    face: Face
    counts: bool
    probability: np.ndarray | None = None
    missed: int = 0
    confirmed: bool = False


class FaceTracker:
    """Exponential moving averages of landmarks and mask probability, one for each face.

    A face of this frame continues the track whose box it overlaps most. A new face counts from the
    second frame in a row on, since false ones often last for one only; those of the first frame
    of a scene count at once.

    Parameters
    ----------
    landmarks, probability : weight of the past in [0, 1); 0 smooths nothing.
    overlap : boxes with less intersection over union belong to different faces.
    patience : for how many frames a face that was seen twice in a row stays when it is not found.
    """

    def __init__(
        self,
        landmarks: float = 0.5,
        probability: float = 0.6,
        overlap: float = 0.3,
        patience: int = 3,
    ) -> None:
        for name, value in (("landmarks", landmarks), ("probability", probability)):
            if not 0 <= value < 1:
                raise ValueError(f"{name}: weight of the past must lie in [0, 1), found {value}")
        self.landmarks, self.probability = landmarks, probability
        self.overlap, self.patience = overlap, patience
        self.tracks: list[Track] = []
        self._begins = True

    def reset(self) -> None:
        """Forget every face: a new scene, a new video."""
        self.tracks, self._begins = [], True

    def smooth_faces(self, faces: list[Face]) -> list[Face]:
        """Those faces of the next frame that count, smoothed, and lost ones that stay."""
        found = [face for face in faces if face.source != "whole"]
        pairs = sorted(
            (
                (-box_overlap(track.face.box, face.box), t, f)
                for t, track in enumerate(self.tracks)
                for f, face in enumerate(found)
            ),
        )
        track_of: dict[int, int] = {}
        for negative, t, f in pairs:
            if -negative >= self.overlap and f not in track_of and t not in track_of.values():
                track_of[f] = t
        for t, track in enumerate(self.tracks):
            track.missed = 0 if t in track_of.values() else track.missed + 1
        new = []
        for f, face in enumerate(found):
            if f in track_of:
                track = self.tracks[track_of[f]]
                track.face = _mix(track.face, face, self.landmarks)
                track.counts = track.confirmed = True
            else:
                new.append(Track(face, counts=self._begins))
        self._begins = False
        kept = [t for t in self.tracks if t.missed <= (self.patience if t.confirmed else 0)]
        self.tracks = kept + new
        counted = [track.face for track in self.tracks if track.counts]
        return counted or [face for face in faces if face.source == "whole"]

    def smooth_probabilities(
        self, faces: list[Face], probabilities: list[np.ndarray]
    ) -> list[np.ndarray]:
        """The mask probabilities of faces that `smooth_faces` answered, in the same order."""
        smoothed = []
        for face, probability in zip(faces, probabilities, strict=True):
            track = next((track for track in self.tracks if track.face is face), None)
            if track is not None:
                past = track.probability
                if past is not None and past.shape == probability.shape:
                    share = np.float32(self.probability)
                    probability = share * past + (1 - share) * probability
                track.probability = probability
            smoothed.append(probability)
        return smoothed


def _mix(past: Face, now: Face, share: float) -> Face:
    """The present face moved towards the past one; landmarks of only one of them stay as they are
    now."""

    def mean(a: tuple, b: tuple) -> tuple:
        return tuple(share * x + (1 - share) * y for x, y in zip(a, b, strict=True))

    points = {
        name: mean(past.points[name], point) if name in past.points else point
        for name, point in now.points.items()
    }
    return now._replace(box=mean(past.box, now.box), points=points)
