"""Poses of cut-outs on a face: one function for each kind of occluder."""

from typing import NamedTuple

import numpy as np

from deocclude.data.faces.alignment import LANDMARKS, Points
from deocclude.data.occluders.cutout_shape import body_box, fills_box, whole_box, wrist
from deocclude.data.occluders.warping import Pose


class Head(NamedTuple):
    """The face's own frame: origin between the eyes, unit = eye distance in pixels."""

    origin: np.ndarray
    unit: float
    angle: float  # roll, radians clockwise
    nose: float  # where the nose tip is across: a turned head moves it from 0
    mouth: np.ndarray
    chin: np.ndarray

    def at(self, across: float, down: float) -> np.ndarray:
        """Pixels of a point in the face's frame."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return self.origin + self.unit * np.array(
            [across * cos - down * sin, across * sin + down * cos]
        )


def find_head(points: Points) -> Head:
    """The face's frame. ValueError for missing or non-finite landmarks."""
    missing = [name for name in LANDMARKS if name not in points]
    if missing:
        raise ValueError(f"points: {', '.join(missing)} missing; needed: {', '.join(LANDMARKS)}")
    eye0, eye1, nose, mouth0, mouth1, chin = (np.array(points[k], float) for k in LANDMARKS)
    if not np.isfinite([eye0, eye1, nose, mouth0, mouth1, chin]).all():
        raise ValueError(f"points: all must be finite, found {points}")
    origin, mouth = (eye0 + eye1) / 2, (mouth0 + mouth1) / 2
    across = eye1 - eye0
    angle = float(np.arctan2(across[1], across[0]))
    # A turned head brings the eyes together but leaves the face as long as it was.
    unit = max(float(np.hypot(*across)), 0.8 * float(np.hypot(*(mouth - origin))), 2.0)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) / unit
    nose, mouth, chin = (turn @ (p - origin) for p in (nose, mouth, chin))
    return Head(origin, unit, angle, float(np.clip(nose[0], -0.5, 0.5)), mouth, chin)


def _pose_glasses(rgba: np.ndarray, head: Head, size: int, rng: np.random.Generator, width=2.25):
    wide = head.unit * width * rng.uniform(0.95, 1.07)
    high = wide * rgba.shape[0] / rgba.shape[1]
    high = np.clip(high, 0.25 * wide, 0.62 * wide) * rng.uniform(0.97, 1.08)
    down = rng.uniform(0.0, 0.1) + (rng.uniform(0.05, 0.2) if rng.random() < 0.1 else 0)
    return Pose(
        whole_box(rgba),
        tuple(head.at(0.35 * head.nose + rng.normal(0, 0.02), down)),
        wide * (1 - 0.3 * abs(head.nose)),
        high,
        head.angle + rng.normal(0, 0.035),
        turn=0.5 * head.nose,
        tilt=rng.normal(0, 0.03) - 0.15 * head.nose,
    )


def _pose_eyeglasses(rgba: np.ndarray, head: Head, size: int, rng: np.random.Generator) -> Pose:
    return _pose_glasses(rgba, head, size, rng, 2.12)


def _pose_facemask(rgba: np.ndarray, head: Head, size: int, rng: np.random.Generator) -> Pose:
    """From the nose's bridge to the chin, as wide as the cheeks."""
    box, plain = body_box(rgba), fills_box(rgba)
    top = rng.uniform(0.22, 0.42) + (rng.uniform(0.1, 0.4) if rng.random() < 0.12 else 0)
    bottom = head.chin[1] + rng.uniform(0.0, 0.18)
    wide = head.unit * rng.uniform(2.05, 2.4) * (1 - 0.25 * abs(head.nose))
    middle = 0.5 * (0.45 * head.nose + head.mouth[0])
    pose = Pose(
        box,
        tuple(head.at(middle + rng.normal(0, 0.02), (top + bottom) / 2)),
        wide,
        head.unit * (bottom - top),
        head.angle + rng.normal(0, 0.03),
        turn=0.6 * head.nose,
        tilt=rng.normal(0, 0.03),
    )
    if plain:
        return pose._replace(
            taper=rng.uniform(-0.5, -0.35),
            bow_top=-rng.uniform(0.12, 0.3),
            bow_bottom=rng.uniform(0.15, 0.35),
            height=pose.height * 0.88,
            round=rng.uniform(0.1, 0.3),
        )
    return pose._replace(taper=rng.uniform(-0.12, 0.02), bow_top=-rng.uniform(0, 0.1))


def _pose_scarf(rgba: np.ndarray, head: Head, size: int, rng: np.random.Generator) -> Pose:
    """Over the mouth and the neck, down out of the picture where it is long enough."""
    top = rng.uniform(0.45, 1.0)
    wide = head.unit * rng.uniform(2.3, 2.9)
    high = wide * min(rgba.shape[0] / rgba.shape[1], 4.0)
    high = max(high, head.unit * (head.chin[1] + 0.4 - top))
    centre = head.at(0.4 * head.mouth[0] + rng.normal(0, 0.05), top + high / head.unit / 2)
    return Pose(
        whole_box(rgba),
        tuple(centre),
        wide,
        high,
        head.angle + rng.normal(0, 0.06),
        turn=0.3 * head.nose,
        taper=rng.uniform(0.1, 0.5),
        bow_top=rng.uniform(-0.3, 0.25) * min(1.0, head.unit * 2 / high),
        round=rng.uniform(0.1, 0.35),
        tilt=rng.normal(0, 0.04),
    )


def _pose_hat(rgba: np.ndarray, head: Head, size: int, rng: np.random.Generator) -> Pose:
    """On the forehead, its lower edge above or at the brows; long hair hangs down to the cheeks."""
    wide = head.unit * rng.uniform(2.6, 3.2)
    high = wide * min(rgba.shape[0] / rgba.shape[1], 1.5)
    bottom = rng.uniform(-0.75, -0.3)
    if high > wide:
        bottom = rng.uniform(-1.8, -1.5) + high / head.unit
    return Pose(
        whole_box(rgba),
        tuple(head.at(0.2 * head.nose, bottom - high / head.unit / 2)),
        wide,
        high,
        head.angle + rng.normal(0, 0.06),
        turn=0.2 * head.nose,
        bow_bottom=-rng.uniform(0, 0.1),
        tilt=rng.normal(0, 0.03),
    )


def _sized(rgba: np.ndarray, longest: float, thinnest: float) -> tuple[float, float]:
    """Width and height with this longer side, and a shorter one of at least `thinnest`."""
    height, width = rgba.shape[:2]
    scale = longest / max(height, width)
    return max(width * scale, thinnest), max(height * scale, thinnest)


def _pose_phone(rgba: np.ndarray, head: Head, size: int, rng: np.random.Generator) -> Pose:
    """At an ear, or held up in front of the face."""
    wide, high = _sized(rgba, head.unit * rng.uniform(2.0, 2.6), 0.3 * head.unit)
    side = rng.choice([-1, 1])
    if rng.random() < 0.6:
        spot, angle = head.at(side * rng.uniform(0.75, 1.15), rng.uniform(0.5, 1.1)), 0.25
    else:
        spot, angle = head.at(rng.normal(0, 0.4), rng.uniform(0.7, 1.5)), 0.12
    return Pose(
        whole_box(rgba),
        tuple(spot),
        wide,
        high,
        side * rng.uniform(0, angle) + head.angle,
        tilt=rng.normal(0, 0.05),
    )


def _pose_cup(rgba: np.ndarray, head: Head, size: int, rng: np.random.Generator) -> Pose:
    """At the mouth."""
    wide, high = _sized(rgba, head.unit * rng.uniform(1.3, 1.9), 0.3 * head.unit)
    rim = head.mouth[1] + rng.uniform(-0.25, 0.2)
    spot = head.at(head.mouth[0] + rng.normal(0, 0.15), rim + high / head.unit / 2)
    return Pose(whole_box(rgba), tuple(spot), wide, high, head.angle + rng.normal(0, 0.12))


def _pose_object(rgba: np.ndarray, head: Head, size: int, rng: np.random.Generator) -> Pose:
    """From below up to the mouth or nose, from the side, or held before the lower face."""
    height, width = rgba.shape[:2]
    tall = height > 1.4 * width
    long = tall or width > 1.7 * height
    longest = head.unit * (rng.uniform(2.0, 2.8) if long else rng.uniform(1.4, 2.0))
    wide, high = _sized(rgba, longest, 0.12 * head.unit)
    way = rng.random()
    if tall and way < 0.6:  # from below
        top = rng.uniform(0.6, 1.1)
        spot = head.at(rng.normal(0, 0.3), top + high / head.unit / 2)
    elif way < 0.75 if tall else way < 0.25:  # from the side
        side = rng.choice([-1, 1])
        spot = head.at(side * rng.uniform(0.6, 1.0), rng.uniform(0.5, 1.5))
    else:
        spot = head.at(head.mouth[0] + rng.normal(0, 0.15), head.mouth[1] + rng.normal(0, 0.2))
    return Pose(
        whole_box(rgba),
        tuple(spot),
        wide,
        high,
        head.angle + rng.normal(0, 0.2),
        tilt=rng.normal(0, 0.05),
    )


def _pose_hand(rgba: np.ndarray, head: Head, size: int, rng: np.random.Generator) -> Pose:
    """The fingers on the face, the arm out of the picture: below, or to one side."""
    heading = wrist(rgba)
    longest = head.unit * rng.uniform(2.2, 3.0)
    wide, high = _sized(rgba, longest, 0.2 * head.unit)
    if rng.random() < 0.5:
        aim = np.pi / 2 + rng.normal(0, 0.3)
    else:
        aim = np.pi / 2 + rng.choice([-1, 1]) * rng.uniform(0.5, 1.2)
    angle = aim - heading + head.angle
    out = np.array([np.cos(aim + head.angle), np.sin(aim + head.angle)])
    tip = head.at(rng.normal(0, 0.45), rng.uniform(0.2, 1.1))
    half = 0.5 * min(wide / max(abs(np.cos(heading)), 1e-6), high / max(abs(np.sin(heading)), 1e-6))
    centre = tip + out * half
    # The cut end of the arm must not hang in the air: move on until it has left the frame.
    end = centre + out * half
    steps = [
        (limit - place) / way
        for place, way, limit in zip(end, out, np.where(out > 0, size, 0), strict=True)
        if abs(way) > 1e-3
    ]
    gap = min(steps, default=0.0)
    if gap > 0:
        grow = 1 + min(0.5, gap / (2 * half))
        wide, high, half = wide * grow, high * grow, half * grow
        centre = tip + out * (half + np.clip(gap - 2 * half * (1 - 1 / grow), 0, 0.8 * head.unit))
    return Pose(whole_box(rgba), tuple(centre), wide, high, float(angle), tilt=rng.normal(0, 0.05))


POSES = {
    "sunglasses": _pose_glasses,
    "eyeglasses": _pose_eyeglasses,
    "facemask": _pose_facemask,
    "scarf": _pose_scarf,
    "hat": _pose_hat,
    "hand": _pose_hand,
    "phone": _pose_phone,
    "cup": _pose_cup,
    "object": _pose_object,
}
