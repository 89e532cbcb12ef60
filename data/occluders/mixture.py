"""What covers a face: real cut-outs and drawn kinds, mixed by a preset, drawn by named keys.

`python -m data.occluders --help` draws sheets of them and writes paired sets.
"""

from collections.abc import Callable, Iterable, Sequence

import cv2
import numpy as np
from numpy.random import Generator

from deocclude.data.faces.alignment import LANDMARKS, Points, template_points
from deocclude.data.faces.layout import check_split
from deocclude.data.occluders.cutouts import Cutout, CutoutLibrary
from deocclude.data.occluders.drawn.kinds import DRAWN, KINDS, PHOTO_KINDS, draw_shape
from deocclude.data.occluders.photographs import EYEGLASSES, cover, loosened, plan
from deocclude.data.occluders.placing import NONE, Occluded, bare, joined, place_cutout
from deocclude.data.occluders.presets import EYEGLASSES_MODES, PRESETS, Preset
from deocclude.data.seeding import keyed_rng

FAVOURED = {"facemask": 2.0, "facemask_drawn": 3.0, "sunglasses_drawn": 2.0}  # others weigh 1
TRIES = 4  # a placement that ends outside of the picture, or hides all of it, is drawn again
LARGEST = 0.75  # share of the picture that an occluder may hide


class Occluders:
    """Occluders for faces of one size.

    Args:
        size: side of the faces in px.
        cutouts: real occluders; without them all presets but "real" use drawn ones in their place.
        preset: one of PRESETS.
        template: where the features lie when a face comes without points.
        seed: first of the keys of every draw.
        eyeglasses: clear ones count as occluders under "redraw"; under "keep" they are drawn, their
            masks are empty. "auto" keeps them under the presets of photographs only.

    Raises ValueError for an unknown preset, template or way with eyeglasses, and for "real"
    without cut-outs; drawing raises one for a split that the folder of cut-outs has nothing for.
    """

    def __init__(
        self,
        size: int,
        cutouts: CutoutLibrary | None = None,
        preset: str = "mixed",
        template: str = "ffhq",
        seed: int = 0,
        eyeglasses: str = "auto",
    ) -> None:
        if preset not in PRESETS:
            raise ValueError(f"occluder preset {preset!r} is not one of {', '.join(PRESETS)}")
        if preset == "real" and cutouts is None:
            raise ValueError(
                "occluder preset 'real' needs a folder of cut-outs; without one, choose mixed, "
                "drawn or blind"
            )
        if eyeglasses not in EYEGLASSES_MODES:
            raise ValueError(
                f"eyeglasses {eyeglasses!r} is not one of {', '.join(EYEGLASSES_MODES)}"
            )
        if size < 16:
            raise ValueError(f"size: occluders need faces of at least 16 px, found {size}")
        self.size, self.cutouts, self.preset = size, cutouts, preset
        self.template, self.seed = template, seed
        self._points = template_points(template, size)
        keep = eyeglasses == "keep" or (eyeglasses == "auto" and PRESETS[preset].photographs > 0)
        self.stay = (NONE, *EYEGLASSES) if keep else (NONE,)  # kinds that leave the mask empty

    def kinds(self, split: str) -> list[str]:
        """What `fixed` takes: categories of the split's cut-outs, drawn kinds, "none"."""
        check_split(split)
        shares = PRESETS[self.preset]
        kinds = []
        if self.cutouts and (shares.real or shares.both or shares.blind or shares.photographs):
            kinds += self.cutouts.require(split)
        if shares.drawn or shares.both or shares.blind or shares.photographs:
            kinds += KINDS
        return [*kinds, NONE]

    def check_kinds(self, kinds: Iterable[str], split: str) -> None:
        """ValueError unless all of them are among `kinds(split)`."""
        valid = self.kinds(split)
        if unknown := [kind for kind in kinds if kind not in valid]:
            raise ValueError(f"kinds {', '.join(unknown)}: not among {', '.join(valid)}")

    def draw(
        self, face: np.ndarray, split: str, *keys: int | str, points: Points | None = None
    ) -> Occluded:
        """A random occluder, a pure function of (seed, split, keys, face, points).

        Args:
            face: uint8 (size, size, 3).
            split: whose cut-outs may be used.
            points: where the features are, in px; None means the template.

        The kind of several is joined: "sunglasses+scratches".
        """
        check_split(split)
        points = self._check(face, points)
        rng = keyed_rng(self.seed, "occluders", self.preset, split, *keys)
        shares = PRESETS[self.preset]
        # Once, not at every try: placements that fail must not change how often what is drawn.
        case = Preset._fields[rng.choice(len(shares), p=np.array(shares) / sum(shares))]
        if shares.photographs and case in ("photographs", "none"):
            categories = self.cutouts.require(split) if self.cutouts else []
            kinds, points = plan(rng, categories, covered=case != "none"), loosened(points, rng)
            return self._retry(
                lambda: cover(face, kinds, split, self.cutouts, points, rng, self.stay)
            )
        if case == "blind":
            shapes = int(rng.integers(1, 4)) if rng.random() < 0.5 else 0
            shadow = rng.random() < 0.3
            return self._retry(lambda: self._blind(face, split, rng, shapes, shadow))
        return self._retry(lambda: self._mixture(face, split, case, points, rng))

    def fixed(
        self,
        face: np.ndarray,
        split: str,
        kind: str,
        *keys: int | str,
        points: Points | None = None,
    ) -> Occluded:
        """One occluder of this kind, the same whatever the preset; "none" leaves the face bare.

        Eyeglasses that are kept are in the picture, their mask is empty. Under "photographs" its
        own drawn kinds, PHOTO_KINDS, may be asked for too. Raises ValueError unless `kind` is one
        of them or of `kinds(split)`.
        """
        valid = self.kinds(split)
        if PRESETS[self.preset].photographs:
            valid += PHOTO_KINDS
        if kind not in valid:
            raise ValueError(f"occluder kind {kind!r} is not one of {', '.join(valid)}")
        points = self._check(face, points)
        rng = keyed_rng(self.seed, "fixed occluders", split, kind, *keys)
        return self._retry(lambda: self._one(face, split, kind, points, rng))

    def leaves_bare(self, kind: str) -> bool:
        """Whether an empty mask is right for this kind, joined by + of several."""
        return all(part in self.stay for part in kind.split("+"))

    def describe(self) -> dict:
        """Settings, for the run's record."""
        record = {
            "preset": self.preset,
            "shares": {k: v for k, v in PRESETS[self.preset]._asdict().items() if v},
            "size": self.size,
            "template": self.template,
            "seed": self.seed,
            "eyeglasses": "keep" if len(self.stay) > 1 else "redraw",
            "drawn kinds": list(KINDS) if self.preset != "real" else [],
            "cut-outs": self.cutouts.describe() if self.cutouts else None,
        }
        if self.cutouts is None and self.preset not in ("real", "drawn"):
            record["note"] = "no folder of cut-outs: drawn occluders stand in for real ones"
        return record

    def _check(self, face: np.ndarray, points: Points | None) -> Points:
        if face.shape != (self.size, self.size, 3) or face.dtype != np.uint8:
            raise ValueError(
                f"face: must be uint8 ({self.size}, {self.size}, 3), found {face.dtype} "
                f"{tuple(face.shape)}"
            )
        if points is None:
            return self._points
        missing = [name for name in LANDMARKS if name not in points]
        if missing:
            raise ValueError(f"points: lack {', '.join(missing)}; needed: {', '.join(LANDMARKS)}")
        return points

    def _retry(self, make: Callable[[], Occluded]) -> Occluded:
        for _ in range(TRIES):
            made = make()
            marked = cv2.countNonZero(made.mask)
            if self.leaves_bare(made.kind) or 0 < marked <= LARGEST * made.mask.size:
                break
        return made

    def _mixture(
        self, face: np.ndarray, split: str, case: str, points: Points, rng: Generator
    ) -> Occluded:
        if case == "none":
            return bare(face)
        real = self._real_kind(split, rng) if case != "drawn" else None
        if real is None:
            return self._one(face, split, favoured(rng, list(KINDS)), points, rng)
        first = self._one(face, split, real, points, rng)
        if case == "real":
            return first
        second = self._one(first.image, split, list(KINDS)[rng.integers(len(KINDS))], points, rng)
        return joined(first, second)

    def _real_kind(self, split: str, rng: Generator) -> str | None:
        """A category of the split's cut-outs; None without a folder of them."""
        return favoured(rng, self.cutouts.require(split)) if self.cutouts else None

    def _one(
        self, face: np.ndarray, split: str, kind: str, points: Points, rng: Generator
    ) -> Occluded:
        if kind == NONE:
            return bare(face)
        if kind in DRAWN:
            made = Occluded(*draw_shape(kind, face, points, rng), kind)
        else:
            made = place_cutout(face, self.cutouts.pick(split, kind, rng), points, rng)
        return made.unmarked(self.stay)

    def _blind(
        self, face: np.ndarray, split: str, rng: Generator, shapes: int, shadow: bool
    ) -> Occluded:
        """System A's self-supervision: one real occluder at a random place, with p 0.5 one to three
        rectangles or ellipses, with p 0.3 a shadow."""
        if self.cutouts is None:
            made = self._one(face, split, favoured(rng, list(KINDS)), self._points, rng)
        else:
            made = paste_anywhere(face, self.cutouts.pick(split, None, rng), rng)
            made = made.unmarked(self.stay)
        for _ in range(shapes):
            kind = "patch" if rng.random() < 0.5 else "ellipse"
            made = joined(made, self._one(made.image, split, kind, self._points, rng))
        if shadow:
            made = joined(made, self._one(made.image, split, "shadow", self._points, rng))
        return made


def favoured(rng: Generator, kinds: Sequence[str]) -> str:
    """One of the kinds, evenly but for those in FAVOURED."""
    weights = np.array([FAVOURED.get(kind, 1.0) for kind in kinds])
    return kinds[rng.choice(len(kinds), p=weights / weights.sum())]


def paste_anywhere(face: np.ndarray, cutout: Cutout, rng: Generator) -> Occluded:
    """A cut-out at a random place, shrunk to a third of the face when it is larger than it."""
    size = face.shape[0]
    height, width = cutout.rgba.shape[:2]
    if max(height, width) > size:
        scale = size / 3 / max(height, width)
        height, width = max(1, round(height * scale)), max(1, round(width * scale))
    rgba = cv2.resize(cutout.rgba, (width, height), interpolation=cv2.INTER_AREA)
    left, top = (int(rng.integers(0, size - side + 1)) for side in (width, height))
    image, mask = face.copy(), np.zeros((size, size), np.uint8)
    window = (slice(top, top + height), slice(left, left + width))
    alpha = rgba[..., 3].astype(np.float32) / 255
    alpha[alpha < 0.04] = 0
    colour = np.ascontiguousarray(rgba[..., :3])
    under = np.ascontiguousarray(image[window])
    image[window] = cv2.blendLinear(colour, under, alpha, 1 - alpha)
    mask[window] = alpha > 0
    return Occluded(image, mask, cutout.category)
