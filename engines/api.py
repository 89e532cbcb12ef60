"""Restoring from Python, in three lines:

    from deocclude import restore
    restored = restore("photo.jpg")
    restored.save("restored.png")

`restored.mask` is what was redrawn; in a notebook `restored` shows itself. `find_mask(photo)` is
for those who only want to know what covers the faces; it needs no inpainter. `find_faces(photo)`
says where faces are, and `restore(photo, faces=...)` restores those you pick. `load()` gives
networks to keep, with all three as methods.
"""

import copy
import io
from dataclasses import dataclass, field, replace
from functools import lru_cache
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor, nn

from deocclude.data.images import save_image, to_rgb
from deocclude.data.mask_files.given import ALPHA, NO_DILATION, erased_part
from deocclude.engines.inference.networks import Inpainter, read_segmenter
from deocclude.engines.jobs.plan import NETWORK, Choices
from deocclude.engines.photos.classical import ClassicalRestorer
from deocclude.engines.photos.deoccluder import Deoccluder, load_deoccluder
from deocclude.engines.photos.detection import KINDS, FaceDetector
from deocclude.engines.photos.face import Boxes, Face, FaceChoice, Faces, Wanted, wanted
from deocclude.engines.photos.files import all_notices, redrawn
from deocclude.engines.photos.formats import WITH_ALPHA, Metadata, check_suffix, save_options
from deocclude.engines.photos.pictures import File, Picture, as_picture, open_given, open_picture
from deocclude.engines.photos.restoration import FaceResult
from deocclude.engines.runs.chosen import choose_weights
from deocclude.engines.runs.places import RUNS

Grown = float | str | None
SHOWN = 1024  # pixels of the longer side that a notebook shows


@dataclass(frozen=True)
class Restored:
    """A restored photo.

    `image`: as large as the photo, upright, in mode RGB, or RGBA, L or LA where the photo had
    transparency or no colour; outside of the mask its pixels are the photo's. `mask`: mode L, 255 =
    redrawn, dilation included. `faces`: what became of each face. `notices`: what to know about the
    result, as on the command line. `changed`: whether anything was redrawn. `metadata`: what
    a photo's file says beside its pixels. `uncertainty`: how unsure the inpainter is of what was
    redrawn, float32 (H, W) in [0, 1], 0 outside the mask; None unless it was asked for.
    """

    image: Image.Image
    mask: Image.Image
    faces: list[FaceResult] = field(repr=False)
    notices: list[str]
    changed: bool
    metadata: Metadata = field(default_factory=Metadata, repr=False)
    uncertainty: np.ndarray | None = field(default=None, repr=False, compare=False)

    def save(self, path: File, overwrite: bool = False, quality: int | None = None) -> Path:
        """Write the image, whole or not at all; its suffix says the format. Returns the path.

        `quality`: 1 to 100, of JPEG, AVIF and WebP (which is lossless without). Metadata are kept
        as far as the format holds them.

        FileExistsError where something lies and `overwrite` is not given; ValueError for a suffix
        that cannot be written.
        """
        path = Path(path)
        suffix = check_suffix(path)
        if path.exists() and not overwrite:
            raise FileExistsError(f"{path}: exists already; overwrite=True replaces it")
        picture = self.image if suffix in WITH_ALPHA else to_rgb(self.image)
        options, _ = save_options(suffix, self.metadata, quality)
        save_image(path, picture, **options)
        return path

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        small, file = self.image.copy(), io.BytesIO()
        small.thumbnail((SHOWN, SHOWN))
        small.save(file, "png")
        return file.getvalue()


class Restorer:
    """Loaded networks, ready for any number of photos; `load` gives one.

    One Restorer serves one thread at a time; `apart` gives one for another.
    """

    def __init__(self, networks: Deoccluder) -> None:
        self._networks = networks

    def restore(
        self,
        photo: Picture,
        mask: Picture | None = None,
        *,
        dilate: Grown = None,
        blend: str | None = None,
        grain: bool = True,
        flip: bool = False,
        whole: bool = False,
        soft_mask: bool = False,
        faces: Wanted = None,
        min_face: float = 0,
        face_box: Boxes | None = None,
        uncertainty: bool = False,
    ) -> Restored:
        """As the function `restore`, by these networks."""
        networks, given = self._asked(faces, min_face, face_box, whole)
        inpainter = replace(networks.inpainter, flip=flip)
        return _restore(
            replace(networks, inpainter=inpainter), photo, mask, soft_mask, blend, dilate=dilate,
            faces=given, grain=grain, uncertainty=uncertainty,
        )  # fmt: skip

    def find_mask(
        self,
        photo: Picture,
        *,
        dilate: Grown = None,
        whole: bool = False,
        faces: Wanted = None,
        min_face: float = 0,
        face_box: Boxes | None = None,
    ) -> Image.Image:
        """As the function `find_mask`, by these networks: what `restore` would redraw."""
        finder, given = self._asked(faces, min_face, face_box, whole)
        mask = finder.find_mask(open_picture(photo).rgb, given, dilate=dilate)
        return Image.fromarray(mask * np.uint8(255))

    def find_faces(self, photo: Picture, *, whole: bool = False, min_face: float = 0) -> Faces:
        """As the function `find_faces`, by this one's detector: those that `restore` looks at."""
        return _find_faces(self._networks.detector, photo, whole, min_face)

    def apart(self) -> "Restorer":
        """One for another thread: the same networks, not loaded again, and its own detector.

        One Restorer serves one thread at a time, as face detectors do.
        """
        return Restorer(replace(self._networks, detector=self._networks.detector.anew()))

    def _asked(
        self, faces: Wanted, min_face: float, boxes: Boxes | None, whole: bool
    ) -> tuple[Deoccluder, list[Face] | None]:
        """A copy of the networks that looks for these faces, or the faces where they are given."""
        choice, given = wanted(faces, min_face, boxes)
        detector = _looking_for(self._networks.detector, choice, whole)
        return replace(self._networks, detector=detector), given


def load(
    checkpoint: File | None = None,
    segmenter: File | None = None,
    *,
    landmarker: File | None = None,
    device: str = "auto",
    backend: str = "auto",
) -> Restorer:
    """Load the networks now, to keep them as long as you like.

    The functions `restore` and `find_mask` load and keep theirs by themselves; their parameters and
    errors are these. `backend`: "torch"; "onnx", ONNX Runtime on the CPU, for which the networks
    are prepared once; "auto" takes the latter where they are prepared.
    """
    inpainter = choose_weights(checkpoint, "inpainting", RUNS)[0]
    finder = choose_weights(segmenter, "segmentation", RUNS)[0]
    return _load(inpainter, finder, device, landmarker, backend=backend)


def restore(
    photo: Picture,
    mask: Picture | None = None,
    *,
    checkpoint: File | None = None,
    segmenter: File | None = None,
    landmarker: File | None = None,
    method: str = NETWORK,
    device: str = "auto",
    blend: str | None = None,
    grain: bool = True,
    dilate: Grown = None,
    flip: bool = False,
    whole: bool = False,
    soft_mask: bool = False,
    faces: Wanted = None,
    min_face: float = 0,
    face_box: Boxes | None = None,
    uncertainty: bool = False,
) -> Restored:
    """Find what covers the faces of a photo and redraw it.

    Parameters
    ----------
    photo : a file, a PIL picture of any mode (its EXIF rotation is applied), or an array uint8
        (H, W, 3), (H, W, 4) or (H, W).
    mask : your own, 255 (or True) = redraw, as large as the photo; a file or picture of the same
        proportions is resized to it. "alpha" takes the photo's transparent part, which is opaque in
        the result. Then no segmenter is used.
    checkpoint, segmenter : other weights than those that ship: a file, a run's name or folder, or
        "newest"; of the inpainters that ship "sharp" is the default, "faithful" the other one; see
        deocclude.engines.runs.chosen.
    landmarker : another file of MediaPipe's face_landmarker.task.
    method : "network", or one that needs a mask and no weights: "telea", "navier_stokes",
        "biharmonic".
    device : "auto", "cpu", "cuda", "cuda:1", "mps".
    blend : how the edge is joined: "matched" (as on the command line), "feather", "poisson",
        "none".
    grain : give what is redrawn the grain of the skin around, where the photo is finer than what
        the network draws; False: as smooth as the network draws it.
    dilate : by how many pixels of the photo the mask is grown, or for one that is found by how much
        of each face's square, "0%" to "100%"; by default "3%", and 0 for your own mask.
    flip : restore each face mirrored too and take the mean: a little better, twice the time.
    whole : where no face is found, take the picture's centred square for one aligned face.
    faces : restore the largest face, "largest", or at most so many, the largest ones; None: all.
        Or some of those that `find_faces` gives: exactly these, without looking for any.
    min_face : leave out faces below so many pixels.
    face_box : (left, top, width, height) in pixels of the upright photo, or several of them: the
        faces there are restored and no others; where none is seen an upright one is assumed. With
        `mask`, what is white is redrawn all the same: these three say which faces are aligned.
    soft_mask : let the levels of your own mask weigh what is redrawn against the photo; not with
        `dilate`.
    uncertainty : also say how unsure the inpainter is, `Restored.uncertainty`; up to twice the
        time. No `method` but "network" tells.

    The networks are loaded at the first call and kept for those that follow. Raises
    FileNotFoundError, ValueError (ImageReadError, CheckpointError and ShippedWeightsError among
    them) with the file or value that is wrong.
    """
    choice, given = wanted(faces, min_face, face_box)
    if method != NETWORK:
        if choice != FaceChoice() or given is not None:
            raise ValueError(f"method {method!r} looks for no face: leave out which to restore")
        how = {"dilate": dilate, "uncertainty": uncertainty}
        return _restore(ClassicalRestorer(method), photo, mask, soft_mask, blend, **how)
    inpainter = choose_weights(checkpoint, "inpainting", RUNS)[0]
    finder = choose_weights(segmenter, "segmentation", RUNS)[0] if mask is None else None
    return _kept(inpainter, finder, device, landmarker).restore(
        photo, mask, dilate=dilate, blend=blend, grain=grain, flip=flip, whole=whole,
        soft_mask=soft_mask, faces=faces, min_face=min_face, face_box=face_box,
        uncertainty=uncertainty,
    )  # fmt: skip


def find_mask(
    photo: Picture,
    *,
    segmenter: File | None = None,
    landmarker: File | None = None,
    device: str = "auto",
    dilate: Grown = None,
    whole: bool = False,
    faces: Wanted = None,
    min_face: float = 0,
    face_box: Boxes | None = None,
) -> Image.Image:
    """What covers the faces of a photo, as `restore` would redraw it: mode L, 255 = covered.

    Parameters and errors as of `restore`. `dilate` 0 gives what the segmenter marks itself.
    """
    file = choose_weights(segmenter, "segmentation", RUNS)[0]
    return _kept(None, file, device, landmarker).find_mask(
        photo, dilate=dilate, whole=whole, faces=faces, min_face=min_face, face_box=face_box
    )


def find_faces(
    photo: Picture,
    *,
    landmarker: File | None = None,
    whole: bool = False,
    min_face: float = 0,
) -> Faces:
    """The faces of a photo that `restore` would look at, the largest first; no network is loaded.

    Each has `box`, (left, top, width, height) in pixels of the upright photo, `points`, `source`
    and `score`; see `Face`. `notices` of the list says what to know about them, and why there are
    none. Give some of them to `restore` or `find_mask` as `faces`. Parameters and errors as of
    `restore`; where `whole` takes the picture for a face, it is one as the weights that ship have
    them.
    """
    detector = _kept_detector(None if landmarker is None else fspath(landmarker))
    return _find_faces(detector, photo, whole, min_face)


def _find_faces(detector: FaceDetector, photo: Picture, whole: bool, min_face: float) -> Faces:
    detector = _looking_for(detector, FaceChoice(least=min_face).check(), whole)
    found, notices = detector.detect(open_picture(photo).rgb)
    kept, left_out = detector.choice.pick(found)
    return Faces(kept, [*notices, *left_out])


def _looking_for(detector: FaceDetector, choice: FaceChoice, whole: bool) -> FaceDetector:
    """The detector, or where that would find others a copy of it, which shares what is opened."""
    if whole or choice != detector.choice:
        detector = copy.copy(detector)
        detector.kinds = KINDS if whole else detector.kinds
        detector.choice = choice
    return detector


class _Nothing(nn.Module):
    """Stands where an inpainter would: it answers with what it is shown."""

    def forward(self, occluded: Tensor, mask: Tensor) -> Tensor:
        return occluded


def _kept(
    inpainter: Path | None, segmenter: Path | None, device: str, landmarker: File | None
) -> Restorer:
    """As `_load`, once for the same files: another file of that name is loaded anew."""
    written = tuple(file and file.stat().st_mtime_ns for file in (inpainter, segmenter))
    return _cached(
        inpainter, segmenter, device, None if landmarker is None else fspath(landmarker), written
    )


def _load(
    inpainter: Path | None,
    segmenter: Path | None,
    device: str,
    landmarker: File | None,
    written: tuple[int | None, ...] = (),
    backend: str = "auto",
) -> Restorer:
    """Networks from one or both of these files; without an inpainter they only find masks.

    `written`: when each file was, for the cache.
    """
    if inpainter is not None:
        networks = load_deoccluder(inpainter, device, segmenter, backend=backend)
    else:
        assert segmenter is not None  # nothing is asked of no network
        finder = read_segmenter(segmenter, device, backend="auto")
        nothing = Inpainter(_Nothing(), finder.size, template=finder.template, hides=False)
        networks = Deoccluder(nothing, finder)
    detector = FaceDetector(landmarker, template=networks.inpainter.template)
    return Restorer(replace(networks, detector=detector))


_cached = lru_cache(maxsize=4)(_load)


@lru_cache(maxsize=4)
def _kept_detector(landmarker: str | None) -> FaceDetector:
    return FaceDetector(landmarker)


def _restore(
    restorer: Deoccluder | ClassicalRestorer,
    photo: Picture,
    mask: Picture | None,
    soft: bool,
    blend: str | None,
    **how: Any,
) -> Restored:
    """`how`: as of `Deoccluder.restore`."""
    if soft and how["dilate"]:
        raise ValueError(NO_DILATION)
    opened = open_picture(photo)
    erased = isinstance(mask, str) and mask == ALPHA
    given = None
    if erased:
        name = str(photo) if isinstance(photo, (str, PathLike)) else "photo"
        given = erased_part(opened.alpha, name, hard=bool(how["dilate"]))
    elif mask is not None:
        given = open_given(mask, opened, soft)
    how["blend"] = blend or Choices().blend
    opened, result, _ = redrawn(restorer, opened, given, erased, **how)
    return Restored(
        as_picture(opened, result),
        Image.fromarray(result.mask * np.uint8(255)),
        result.faces,
        [*opened.notices, *(given.notices if given else ()), *all_notices(result)],
        result.changed,
        opened.metadata,
        result.uncertainty,
    )
