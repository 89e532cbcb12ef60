"""Faces from frame to frame: landmarks, masks and what is redrawn, without a flicker."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from deocclude.engines.moving.flow import moved
from deocclude.engines.photos.face import Face, box_overlap

STILL, OTHER = 1.0, 5.0  # levels by which a face's known pixels differ at rest, and in another pose
CELLS = 32  # a side: the known pixels are compared in so many cells, where noise averages out


@dataclass
class Track:
    """One face over time: what was smoothed so far, how often it was looked for and not seen,
    whether it was seen twice in a row, and whether it counts.

    In the pixels of its square: `probability` that a pixel covers the face, `drawn`, the redrawn
    picture, and `cells`, the known colours beside it. `hidden`: the landmarks that are covered,
    None before the first mask; `otherwise`: for how many frames they have been others that another
    alignment suits.
    """

    face: Face
    counts: bool
    probability: np.ndarray | None = None
    drawn: np.ndarray | None = None
    cells: np.ndarray | None = None
    hidden: set[str] | None = None
    otherwise: int = 0
    missed: int = 0
    confirmed: bool = False

    def smooth_probability(self, probability: np.ndarray, share: float) -> np.ndarray:
        """Moved towards the past by its `share`. Shape: float32 (S, S)."""
        past = self.probability
        if past is not None and past.shape == probability.shape:
            probability = np.float32(share) * past + np.float32(1 - share) * probability
        self.probability = probability
        return probability

    def smooth_drawn(
        self, drawn: np.ndarray, view: np.ndarray, known: np.ndarray, share: float
    ) -> np.ndarray:
        """The redrawn square moved towards the past, the less the more the face has changed.

        What the camera's noise changes in it is averaged away; a face that turns or speaks is not
        smeared. Shape: drawn float32 (S, S, 3), view uint8 (S, S, 3), known uint8 (S, S) {0, 1}.
        """
        weight = cv2.resize(known.astype(np.float32), (CELLS, CELLS), interpolation=cv2.INTER_AREA)
        sums = cv2.resize(
            (view * known[..., None]).astype(np.float32), (CELLS, CELLS),
            interpolation=cv2.INTER_AREA,
        )  # fmt: skip
        cells = np.dstack([sums / np.maximum(weight, 1e-6)[..., None], weight])
        if self.drawn is not None and self.cells is not None and self.drawn.shape == drawn.shape:
            both = (cells[..., 3] > 0.5) & (self.cells[..., 3] > 0.5)
            change = np.abs(cells - self.cells)[both][:, :3].mean() if both.any() else OTHER
            share *= float(np.clip((OTHER - change) / (OTHER - STILL), 0, 1))
            drawn = np.float32(share) * self.drawn + np.float32(1 - share) * drawn
        self.drawn, self.cells = drawn, cells
        return drawn


class FaceTracker:
    """Exponential moving averages of landmarks, mask probability and redrawn picture, one for each
    face.

    A face that is found continues the track whose box it overlaps most. A new face counts when it
    is found a second time in a row, since false ones often are for once only; those of the first
    frame of a scene count at once.

    Parameters
    ----------
    landmarks, probability, drawn : weight of the past in [0, 1); 0 smooths nothing.
    overlap : boxes with less intersection over union belong to different faces.
    patience : how many times in a row a face that was seen twice may not be found and stays.
    """

    def __init__(
        self,
        landmarks: float = 0.5,
        probability: float = 0.6,
        drawn: float = 0.6,
        overlap: float = 0.3,
        patience: int = 3,
    ) -> None:
        weights = {"landmarks": landmarks, "probability": probability, "drawn": drawn}
        for name, value in weights.items():
            if not 0 <= value < 1:
                raise ValueError(f"{name}: weight of the past must lie in [0, 1), found {value}")
        self.landmarks, self.probability, self.drawn = landmarks, probability, drawn
        self.overlap, self.patience = overlap, patience
        self.tracks: list[Track] = []
        self._begins = True

    def reset(self) -> None:
        """Forget every face: a new scene, a new video."""
        self.tracks, self._begins = [], True

    def smooth_faces(self, found: list[Face]) -> list[Face]:
        """Those faces of the next frame that count, smoothed, and lost ones that stay."""
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
        return [track.face for track in self.tracks if track.counts]

    def move_faces(self, moves: Sequence[np.ndarray | None]) -> list[Face]:
        """The faces that count where similarities (2, 3), one for each track, take them; one
        without a similarity stays where it is."""
        for track, move in zip(self.tracks, moves, strict=True):
            track.face = track.face if move is None else moved(track.face, move)
        return [track.face for track in self.tracks if track.counts]

    def track_of(self, face: Face) -> Track:
        """The track of a face that was answered, a new one of a face that is none's."""
        return next((t for t in self.tracks if t.face is face), Track(face, True))

    @property
    def unsettled(self) -> bool:
        """Whether a face waits to be found again before it counts, or has just been missed."""
        return any(not track.counts or track.missed for track in self.tracks)


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
