"""Restoring from Python, in three lines, run in the project's folder:

    from deocclude import restore
    restored = restore("photo.jpg")
    restored.save("restored.png")

`restored.mask` is what was redrawn; in a notebook `restored` shows itself. `find_mask(photo)` is
for those who only want to know what covers the faces; it needs no inpainter.
"""

import copy
import io
from dataclasses import dataclass, field
from functools import lru_cache
from os import PathLike
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from torch import Tensor, nn

from deocclude.data.images import save_image, to_rgb
from deocclude.engines.photos.classical import ClassicalRestorer
from deocclude.engines.photos.deoccluder import Deoccluder, load_deoccluder
from deocclude.engines.photos.detection import KINDS, FaceDetector
from deocclude.engines.photos.files import (
    LOSSLESS,
    LOSSY,
    WITHOUT_EXIF,
    Photo,
    all_notices,
    is_colourless,
    read_mask,
    read_photo,
    remove_colour,
)
from deocclude.engines.photos.jobs import Choices
from deocclude.engines.photos.restoration import FaceResult, Restoration
from deocclude.engines.runs.chosen import choose_weights

Picture = str | PathLike | Image.Image | np.ndarray
RUNS = Path("runs")
NETWORK = "network"
SHOWN = 1024  # pixels of the longer side that a notebook shows
WITH_ALPHA = ("RGBA", "LA", "PA", "La", "RGBa")
ARRAYS = "uint8 (H, W, 3), (H, W, 4) or (H, W)"


@dataclass(frozen=True)
class Restored:
    """A restored photo.

    `image`: as large as the photo, upright, in mode RGB, or RGBA, L or LA where the photo had
    transparency or no colour; outside of the mask its pixels are the photo's. `mask`: mode L, 255 =
    redrawn, dilation included. `faces`: what became of each face. `notices`: what to know about the
    result, as on the command line. `changed`: whether anything was redrawn. `metadata`: colour
    profile and EXIF of a photo file, as Pillow's options.
    """

    image: Image.Image
    mask: Image.Image
    faces: list[FaceResult] = field(repr=False)
    notices: list[str]
    changed: bool
    metadata: dict = field(default_factory=dict, repr=False)

    def save(self, path: str | PathLike, overwrite: bool = False) -> Path:
        """Write the image, whole or not at all; its suffix says the format. Returns the path.

        FileExistsError where something lies and `overwrite` is not given; ValueError for a suffix
        that cannot be written.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix not in LOSSLESS | LOSSY:
            valid = ", ".join(LOSSLESS | LOSSY)
            raise ValueError(f"{path}: cannot write {suffix or 'a name without suffix'!r}; {valid}")
        if path.exists() and not overwrite:
            raise FileExistsError(f"{path}: exists already; overwrite=True replaces it")
        picture = to_rgb(self.image) if suffix in LOSSY else self.image
        metadata = dict(self.metadata)
        if suffix in WITHOUT_EXIF:
            metadata.pop("exif", None)
        save_image(path, picture, **(LOSSLESS | LOSSY)[suffix] | metadata)
        return path

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        small, file = self.image.copy(), io.BytesIO()
        small.thumbnail((SHOWN, SHOWN))
        small.save(file, "png")
        return file.getvalue()


def restore(
    photo: Picture,
    mask: Picture | None = None,
    *,
    checkpoint: str | PathLike | None = None,
    segmenter: str | PathLike | None = None,
    landmarker: str | PathLike | None = None,
    method: str = NETWORK,
    device: str = "auto",
    blend: str | None = None,
    dilate: float | None = None,
    flip: bool = False,
    whole: bool = False,
) -> Restored:
    """Find what covers the faces of a photo and redraw it.

    Parameters
    ----------
    photo : a file, a PIL picture of any mode (its EXIF rotation is applied), or an array uint8
        (H, W, 3), (H, W, 4) or (H, W).
    mask : your own, 255 (or True) = redraw, as large as the photo; a file is resized to it. Then no
        segmenter is used.
    checkpoint, segmenter : other weights than those that ship: a file, a run's name or folder, or
        "newest"; see engines.runs.chosen.
    landmarker : another file of MediaPipe's face_landmarker.task.
    method : "network", or one of engines.photos.classical.METHODS, which need a mask and no weights.
    device : "auto", "cpu", "cuda", "cuda:1", "mps".
    blend, dilate : how the edge is joined and by how many pixels the mask is grown; by default as
        on the command line.
    flip : restore each face mirrored too and take the mean: a little better, twice the time.
    whole : where no face is found, take the picture's centred square for one aligned face.

    The networks are loaded at the first call and kept for those that follow. Raises
    FileNotFoundError, ValueError (ImageReadError, CheckpointError and ShippedWeightsError among
    them) with the file or value that is wrong.
    """
    if method == NETWORK:
        files = choose_weights(checkpoint, "inpainting", RUNS)[0], None
        if mask is None:
            files = files[0], choose_weights(segmenter, "segmentation", RUNS)[0]
        stamps = tuple(file and file.stat().st_mtime_ns for file in files)
        restorer = copy.copy(_networks(files, stamps, device, _text(landmarker)))
        restorer.flip = flip
        if whole:
            restorer.detector = copy.copy(restorer.detector)
            restorer.detector.kinds = KINDS
    else:
        restorer = ClassicalRestorer(method)
    opened = _open(photo)
    hole, notices = (None, []) if mask is None else _read_hole(mask, opened.rgb.shape[:2])
    result = restorer.restore(opened.rgb, hole, dilate=dilate, blend=blend or Choices().blend)
    if result.changed and is_colourless(opened.rgb):
        remove_colour(result.restored, result.mask)
    return Restored(
        _picture(opened, result),
        Image.fromarray(result.mask * np.uint8(255)),
        result.faces,
        [*opened.notices, *notices, *all_notices(result)],
        result.changed,
        opened.metadata,
    )


def find_mask(
    photo: Picture,
    *,
    segmenter: str | PathLike | None = None,
    landmarker: str | PathLike | None = None,
    device: str = "auto",
    dilate: float | None = None,
) -> Image.Image:
    """What covers the faces of a photo, as `restore` would redraw it: mode L, 255 = covered.

    Parameters and errors as of `restore`. `dilate` 0 gives what the segmenter marks itself.
    """
    file, _ = choose_weights(segmenter, "segmentation", RUNS)
    finder = _segmenter(file, file.stat().st_mtime_ns, device, _text(landmarker))
    result = finder.restore(_open(photo).rgb, dilate=dilate, blend="none")
    return Image.fromarray(result.mask * np.uint8(255))


class _Nothing(nn.Module):
    """Stands where an inpainter would: it answers with what it is shown."""

    def forward(self, occluded: Tensor, mask: Tensor) -> Tensor:
        return occluded


@lru_cache(maxsize=2)
def _networks(
    files: tuple[Path, Path | None], stamps: tuple, device: str, landmarker: str | None
) -> Deoccluder:
    """`stamps`: when each file was written, so that another one of that name is loaded anew."""
    deoccluder = load_deoccluder(files[0], device, files[1])
    deoccluder.detector = FaceDetector(landmarker, template=deoccluder.template)
    return deoccluder


@lru_cache(maxsize=2)
def _segmenter(file: Path, stamp: int, device: str, landmarker: str | None) -> Deoccluder:
    from deocclude.engines.runs.devices import resolve_device
    from deocclude.engines.runs.weights import load_segmenter

    where = resolve_device(device)
    network, metadata = load_segmenter(file, where)
    data = metadata["config"]["data"]
    template = data.get("template", "ffhq")
    detector = FaceDetector(landmarker, template=template)
    size = data["size"]
    return Deoccluder(
        _Nothing(), size, network, where, template=template, hides=False, detector=detector
    )


def _text(path: str | PathLike | None) -> str | None:
    return None if path is None else str(path)


def _open(photo: Picture) -> Photo:
    if isinstance(photo, (str, PathLike)):
        read = read_photo(Path(photo))
        if read.pixels.dtype != np.uint8:
            read.notices.append("16-bit grey is cut to 8 bits")
        return read
    if isinstance(photo, np.ndarray):
        fits = photo.ndim == 2 or (photo.ndim == 3 and photo.shape[2] in (3, 4))
        if photo.dtype != np.uint8 or not fits or photo.size == 0:
            found = f"{photo.dtype} {photo.shape}"
            raise ValueError(f"photo: an array must be {ARRAYS}, found {found}")
        photo = Image.fromarray(photo)
    if not isinstance(photo, Image.Image):
        kind = type(photo).__name__
        raise ValueError(f"photo: must be a file, a PIL picture or an array {ARRAYS}, found {kind}")
    upright = ImageOps.exif_transpose(photo)
    rgb, pixels, alpha = np.asarray(to_rgb(upright)), None, None
    if upright.mode in WITH_ALPHA or "transparency" in upright.info:
        flat = np.asarray(upright.convert("RGBA"))
        alpha, pixels = flat[..., 3], flat[..., :3]
        pixels = pixels[..., 0] if upright.mode in ("LA", "La", "L", "1") else pixels
    elif upright.mode in ("1", "L", "I", "F") or upright.mode.startswith("I;16"):
        pixels = rgb[..., 0]
    return Photo(rgb, rgb if pixels is None else pixels, alpha, {}, [])


def _read_hole(mask: Picture, shape: tuple[int, int]) -> tuple[np.ndarray, list[str]]:
    """A mask as uint8 {0, 1} of the photo's (height, width), and what to tell the user."""
    if isinstance(mask, (str, PathLike)):
        return read_mask(Path(mask), shape, invert=False)
    array = np.asarray(mask.convert("L") if isinstance(mask, Image.Image) else mask)
    if array.shape != shape or array.dtype not in (np.uint8, bool):
        raise ValueError(
            f"mask: must be bool or uint8 {shape} like the photo, found {array.dtype} {array.shape}"
        )
    if array.dtype == np.uint8:
        array = array > (127 if array.max(initial=0) > 1 else 0)  # {0, 1} as well as {0, 255}
    return array.astype(np.uint8), []


def _picture(photo: Photo, result: Restoration) -> Image.Image:
    """The restored photo in the photo's own mode, as of `Restored`."""
    hole = result.mask.astype(bool)
    pixels = photo.pixels if photo.pixels.dtype == np.uint8 else photo.rgb[..., 0]
    pixels = pixels.copy()
    pixels[hole] = result.restored[hole] if pixels.ndim == 3 else result.restored[hole][:, 0]
    if photo.alpha is not None:
        pixels = np.dstack([pixels, photo.alpha])
    return Image.fromarray(pixels)
