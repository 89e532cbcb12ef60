"""Restoring from Python, in three lines:

    from deocclude import restore
    restored = restore("photo.jpg")
    restored.save("restored.png")

`restored.mask` is what was redrawn; in a notebook `restored` shows itself. `find_mask(photo)` is
for those who only want to know what covers the faces; it needs no inpainter. `load()` gives
networks to keep, with both as methods.
"""

import copy
import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor, nn

from deocclude.data.images import save_image, to_rgb
from deocclude.data.mask_files.given import (
    ALPHA,
    NO_DILATION,
    erased_part,
)
from deocclude.engines.inference.networks import read_segmenter
from deocclude.engines.jobs.plan import Choices
from deocclude.engines.photos.classical import ClassicalRestorer
from deocclude.engines.photos.deoccluder import Deoccluder, load_deoccluder
from deocclude.engines.photos.detection import KINDS, FaceDetector
from deocclude.engines.photos.face import FaceBox, FaceChoice
from deocclude.engines.photos.files import all_notices, is_colourless, remove_colour
from deocclude.engines.photos.formats import (
    WITH_ALPHA,
    Metadata,
    check_suffix,
    save_options,
)
from deocclude.engines.photos.pictures import (
    File,
    Picture,
    as_picture,
    open_given,
    open_picture,
)
from deocclude.engines.photos.restoration import FaceResult
from deocclude.engines.runs.chosen import choose_weights
from deocclude.engines.runs.devices import resolve_device
from deocclude.engines.runs.places import RUNS

Boxes = FaceBox | Sequence[FaceBox]
NETWORK = "network"
SHOWN = 1024  # pixels of the longer side that a notebook shows


@dataclass(frozen=True)
class Restored:
    """A restored photo.

    `image`: as large as the photo, upright, in mode RGB, or RGBA, L or LA where the photo had
    transparency or no colour; outside of the mask its pixels are the photo's. `mask`: mode L, 255 =
    redrawn, dilation included. `faces`: what became of each face. `notices`: what to know about the
    result, as on the command line. `changed`: whether anything was redrawn. `metadata`: what
    a photo's file says beside its pixels.
    """

    image: Image.Image
    mask: Image.Image
    faces: list[FaceResult] = field(repr=False)
    notices: list[str]
    changed: bool
    metadata: Metadata = field(default_factory=Metadata, repr=False)

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
    """Loaded networks, ready for any number of photos; `load` gives one."""

    def __init__(self, networks: Deoccluder) -> None:
        self._networks = networks

    def restore(
        self,
        photo: Picture,
        mask: Picture | None = None,
        *,
        dilate: float | None = None,
        blend: str | None = None,
        grain: bool = True,
        flip: bool = False,
        whole: bool = False,
        soft_mask: bool = False,
        faces: int | str | None = None,
        min_face: float = 0,
        face_box: Boxes | None = None,
    ) -> Restored:
        """As the function `restore`, by these networks."""
        networks = copy.copy(self._networks)
        networks.flip = flip
        choice, detector = _choice(faces, min_face, face_box), networks.own_detector()
        if whole or choice != detector.choice:
            networks.detector = detector = copy.copy(detector)
            detector.kinds = KINDS if whole else detector.kinds
            detector.choice = choice
        return _restore(networks, photo, mask, dilate, blend, soft_mask, grain)

    def find_mask(self, photo: Picture, *, dilate: float | None = None) -> Image.Image:
        """As the function `find_mask`, by these networks: what `restore` would redraw."""
        finder = copy.copy(self._networks)
        finder.inpainter, finder.features, finder.hides = _Nothing(), None, False
        result = finder.restore(open_picture(photo).rgb, dilate=dilate, blend="none")
        return Image.fromarray(result.mask * np.uint8(255))


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
    dilate: float | None = None,
    flip: bool = False,
    whole: bool = False,
    soft_mask: bool = False,
    faces: int | str | None = None,
    min_face: float = 0,
    face_box: Boxes | None = None,
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
    dilate : by how many pixels of the photo the mask is grown; by default 3 % of the face's square
        for a mask that was found, 0 for your own.
    flip : restore each face mirrored too and take the mean: a little better, twice the time.
    whole : where no face is found, take the picture's centred square for one aligned face.
    faces : restore the largest face, "largest", or at most so many, the largest ones; None: all.
    min_face : leave out faces below so many pixels.
    face_box : (left, top, width, height) in pixels of the upright photo, or several of them: the
        faces there are restored and no others; where none is seen an upright one is assumed. With
        `mask`, what is white is redrawn all the same: these three say which faces are aligned.
    soft_mask : let the levels of your own mask weigh what is redrawn against the photo; not with
        `dilate`.

    The networks are loaded at the first call and kept for those that follow. Raises
    FileNotFoundError, ValueError (ImageReadError, CheckpointError and ShippedWeightsError among
    them) with the file or value that is wrong.
    """
    choice = _choice(faces, min_face, face_box)
    if method != NETWORK:
        if choice != FaceChoice():
            raise ValueError(f"method {method!r} looks for no face: leave out which to restore")
        return _restore(ClassicalRestorer(method), photo, mask, dilate, blend, soft_mask)
    inpainter = choose_weights(checkpoint, "inpainting", RUNS)[0]
    finder = choose_weights(segmenter, "segmentation", RUNS)[0] if mask is None else None
    restorer = _kept(inpainter, finder, device, landmarker)
    return restorer.restore(
        photo,
        mask,
        dilate=dilate,
        blend=blend,
        grain=grain,
        flip=flip,
        whole=whole,
        soft_mask=soft_mask,
        faces=faces,
        min_face=min_face,
        face_box=face_box,
    )


def find_mask(
    photo: Picture,
    *,
    segmenter: File | None = None,
    landmarker: File | None = None,
    device: str = "auto",
    dilate: float | None = None,
) -> Image.Image:
    """What covers the faces of a photo, as `restore` would redraw it: mode L, 255 = covered.

    Parameters and errors as of `restore`. `dilate` 0 gives what the segmenter marks itself.
    """
    file = choose_weights(segmenter, "segmentation", RUNS)[0]
    return _kept(None, file, device, landmarker).find_mask(photo, dilate=dilate)


def _choice(faces: int | str | None, min_face: float, boxes: Boxes | None) -> FaceChoice:
    """Raises ValueError, with the value, for one that has no meaning."""
    most = 1 if faces == "largest" else faces
    if not (most is None or (isinstance(most, int) and not isinstance(most, bool))):
        raise ValueError(f"faces: must be 'largest' or a number, 1 or more, found {faces!r}")
    try:
        drawn = np.atleast_2d(np.asarray([] if boxes is None else boxes, np.float64)).tolist()
    except ValueError:
        drawn = [[]]
    several: Any = () if boxes is None else tuple(map(tuple, drawn))
    return FaceChoice(most, min_face, several).check()


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
        networks = _only_segmenter(segmenter, device)
    networks.detector = FaceDetector(landmarker, template=networks.template)
    return Restorer(networks)


_cached = lru_cache(maxsize=4)(_load)


def _only_segmenter(file: Path, device: str) -> Deoccluder:
    where = resolve_device(device)
    network, data = read_segmenter(file, where, "auto")
    template = data.get("template", "ffhq")
    return Deoccluder(_Nothing(), data["size"], network, where, template=template, hides=False)


def _restore(
    networks: Deoccluder | ClassicalRestorer,
    photo: Picture,
    mask: Picture | None,
    dilate: float | None,
    blend: str | None,
    soft: bool,
    grain: bool = False,
) -> Restored:
    if soft and dilate:
        raise ValueError(NO_DILATION)
    opened = open_picture(photo)
    erased = isinstance(mask, str) and mask == ALPHA
    given = None
    if erased:
        name = str(photo) if isinstance(photo, (str, PathLike)) else "photo"
        given = erased_part(opened.alpha, name, hard=bool(dilate))
    elif mask is not None:
        given = open_given(mask, opened, soft)
    hole = given.hole if given else None
    blend = blend or Choices().blend
    result = networks.restore(opened.rgb, hole, dilate=dilate, blend=blend, grain=grain)
    if given is not None:
        given.weigh(result.restored, opened.pixels if erased else opened.rgb)
    if erased:
        opened = replace(opened, alpha=None)  # the hole in it is redrawn
    if result.changed and is_colourless(opened.rgb):
        remove_colour(result.restored, result.mask)
    return Restored(
        as_picture(opened, result),
        Image.fromarray(result.mask * np.uint8(255)),
        result.faces,
        [*opened.notices, *(given.notices if given else ()), *all_notices(result)],
        result.changed,
        opened.metadata,
    )
