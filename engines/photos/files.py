"""Photo files in, restored photo files out: modes, transparency, metadata."""

import threading
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from PIL import Image

from deocclude.data.images import (
    DAMAGE,
    is_unit_range,
    open_header,
    open_image,
    save_images,
    to_rgb,
)
from deocclude.data.mask_files.given import GivenMask, erased_part, read_given
from deocclude.data.mask_files.reading import exif_orientation
from deocclude.engines.jobs.manifest import ManifestRow
from deocclude.engines.jobs.plan import Choices, Job
from deocclude.engines.photos.classical import ClassicalRestorer
from deocclude.engines.photos.deoccluder import Deoccluder
from deocclude.engines.photos.formats import (
    WITH_16_BIT,
    WITH_ALPHA,
    WRITTEN,
    Metadata,
    check_suffix,
    is_lossy,
    metadata_of,
    save_options,
)
from deocclude.engines.photos.restoration import UNCHANGED, Restoration

BITS_PER_SAMPLE = 258  # TIFF tag
CODESTREAM = b"\xff\x51"  # JPEG 2000: the marker before the sizes
GREY_SPREAD = 4  # levels between the channels of a grey photo that a JPEG may leave
CATCHING = threading.Lock()  # warnings are caught for the process, not for a thread
UNCERTAINTY_FULL = 0.25  # of 1, that is drawn in the brightest colour


@dataclass(frozen=True)
class Photo:
    """A decoded photo: `rgb` is what people see; `pixels` is what the file holds.

    Shapes: rgb uint8 (H, W, 3), transparency over white; pixels uint8 (H, W, 3), or (H, W) uint8 or
    uint16 for a grey photo; alpha uint8 (H, W) or None.
    """

    rgb: np.ndarray
    pixels: np.ndarray
    alpha: np.ndarray | None
    metadata: Metadata
    notices: list[str]
    orientation: int = 1  # EXIF's, of the stored pixels


def read_photo(path: Path, max_pixels: int | None = None) -> Photo:
    """Any image mode, upright. Raises ImageReadError or FileNotFoundError with the file's name.

    `max_pixels` as of `open_image`.
    """
    with CATCHING, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")  # damaged EXIF
        image = open_image(path, max_pixels)
        more, kind, turned = _header(path, image)
    notices = [*dict.fromkeys(str(warning.message) for warning in caught), *more]
    if is_unit_range(image):
        notices.append("its values are floats up to 1: 0 is taken as black, 1 as white")
    rgb = np.asarray(to_rgb(image))
    alpha = None
    if (both := with_alpha(image)) is not None:
        pixels, alpha = both
    elif image.mode == "I;16" or (image.mode == "I" and _is_16_bit(image)):
        pixels = np.asarray(image).astype(np.uint16)
    else:
        pixels = np.asarray(image.convert("L")) if image.mode in ("L", "1") else rgb
        if image.mode not in ("L", "1", "P", "RGB"):
            notices.append(f"colour mode {image.mode} is converted to 8-bit RGB")
    metadata = metadata_of(image, kind, turned)
    return Photo(rgb, pixels, alpha, metadata, notices, exif_orientation(image))


def with_alpha(image: Image.Image) -> tuple[np.ndarray, np.ndarray] | None:
    """Pixels, uint8 (H, W, 3), (H, W) of a grey picture, and transparency, uint8 (H, W); None of a
    picture that has none."""
    if image.mode not in ("RGBA", "LA", "PA", "La", "RGBa") and "transparency" not in image.info:
        return None
    flat = np.asarray(image.convert("RGBA"))
    colours = 0 if image.mode in ("LA", "La", "L", "1") else slice(3)
    return flat[..., colours], flat[..., 3]


def _header(path: Path, upright: Image.Image) -> tuple[list[str], str | None, bool]:
    """What of the file does not come through (pages or views after the first, more than 8 bits of a
    colour), Pillow's name of its format, and whether its EXIF turns it by a quarter."""
    notices: list[str] = []
    with open_header(path) as header:
        kind, turned = header.format, header.size != upright.size
        frames, bits = 1, 8
        try:
            bits = _bits(header, path)
            frames = getattr(header, "n_frames", 1)
        except DAMAGE as error:
            notices.append(f"damaged after its first frame, which is restored ({error})")
        if header.info.get("depth_images") or header.info.get("aux"):
            notices.append("its further pictures (a depth map, a gain map) are not kept")
    if frames > 1 and kind == "MPO":
        notices.append("its further pictures (a gain map, another view) are not kept")
    elif frames > 1:
        notices.append(f"only the first of {frames} frames is restored")
    if bits > 8 and upright.mode in ("RGB", "RGBA", "LA"):
        notices.append(f"warning: {bits}-bit colour is cut to 8 bits")
    return notices, kind, turned


def _bits(header: Image.Image, path: Path) -> int:
    """Bits of a colour in a file, as far as its header tells."""
    if "bit_depth" in header.info:  # HEIC
        return int(header.info["bit_depth"])
    if header.format in ("AVIF", "JPEG2000"):
        with open(path, "rb") as file:
            start = file.read(4096)
        if header.format == "AVIF":  # its box pixi: version and flags, channels, bits of each
            place = start.find(b"pixi")
            return start[place + 9] if 0 <= place < len(start) - 9 else 8
        place = start.find(CODESTREAM)  # its marker SIZ: 40 bytes of sizes, then the depth
        return (start[place + 40] & 0x7F) + 1 if 0 <= place < len(start) - 40 else 8
    tiles = getattr(header, "tile", None)
    raw = str(tiles[0][3]) if tiles else ""
    if raw.endswith(";16B"):
        return 16
    return max(getattr(header, "tag_v2", {}).get(BITS_PER_SAMPLE, ()), default=8)


def _is_16_bit(image: Image.Image) -> bool:
    low, high = cast(tuple[float, float], image.getextrema())  # one band has one pair
    return low >= 0 and 255 < high < 2**16


def read_mask(job: Job, photo: Photo, choices: Choices) -> GivenMask | None:
    """What the user marked to be redrawn: a mask file, the photo's transparent part, or nothing.

    Raises MaskError or ImageReadError for what is no mask of this photo.
    """
    if choices.erased:
        return erased_part(photo.alpha, str(job.source), hard=bool(choices.dilate))
    if job.mask is None:
        return None
    return read_given(
        job.mask,
        photo.rgb.shape[:2],
        photo.orientation,
        choices.invert_mask,
        choices.soft_mask,
        choices.max_pixels,
    )


def restore_file(
    deoccluder: Deoccluder | ClassicalRestorer, job: Job, choices: Choices
) -> ManifestRow:
    """Restore one photo file and return its row of the manifest.

    Outside of what was redrawn the output file holds the same pixels as the photo; only a lossy
    output format breaks that, which is said. Alpha, 16-bit grey, single-channel grey and metadata
    survive where the output format has them; a transparent part that was redrawn is opaque. A photo
    in which nothing was restored is not written. Raises FileExistsError, ImageReadError or
    ValueError; nothing is written then.
    """
    check_targets(job, choices.overwrite)
    start = time.monotonic()
    photo = read_photo(job.source, choices.max_pixels)
    mask = read_mask(job, photo, choices)
    notices = [*photo.notices, *(mask.notices if mask else ())]
    read = time.monotonic() - start
    photo, restoration, colourless = redrawn(
        deoccluder, photo, mask, choices.erased, dilate=choices.dilate, blend=choices.blend,
        grain=choices.grain, uncertainty="uncertainty" in job.extras,
    )  # fmt: skip
    if colourless and photo.pixels.ndim == 3:
        notices.append("the photo has no colour: what is redrawn gets none either")
    row = describe(job, restoration)
    row.warnings = notices + row.warnings
    start = time.monotonic()
    if row.status == "restored":
        row.warnings += _write(job, photo, restoration, choices.quality)
    row.seconds |= {"read": read, "write": time.monotonic() - start}
    return row


def redrawn(
    restorer: Deoccluder | ClassicalRestorer,
    photo: Photo,
    given: GivenMask | None,
    erased: bool,
    **how: Any,
) -> tuple[Photo, Restoration, bool]:
    """The photo, opaque where it was `erased`; its restoration, the levels of a soft mask weighed;
    and whether what was redrawn got no colour, as the photo has none. `how`: as of
    `Deoccluder.restore`, whose errors it raises."""
    result = restorer.restore(photo.rgb, given.hole if given else None, **how)
    with result.timing("paste"):
        if given is not None:
            given.weigh(result.restored, photo.pixels if erased else photo.rgb)
        colourless = result.changed and is_colourless(photo.rgb)
        if colourless:
            remove_colour(result.restored, result.mask)
    return replace(photo, alpha=None) if erased else photo, result, colourless


def is_colourless(image: np.ndarray) -> bool:
    """Whether a picture (H, W, 3) is grey throughout, though it has three channels."""
    return all(  # a few rows first: they settle it for most photos with colour
        int(_spread(rows).max(initial=0)) <= GREY_SPREAD for rows in (image[::16], image)
    )


def _spread(image: np.ndarray) -> np.ndarray:
    """Levels between the channels, uint8; channel by channel, tenfold faster than along an axis."""
    red, green, blue = (image[..., channel] for channel in range(3))
    high = np.maximum(np.maximum(red, green), blue)
    return high - np.minimum(np.minimum(red, green), blue)


def remove_colour(image: np.ndarray, mask: np.ndarray) -> None:
    """Luma in all three channels, in place, where they differ inside the mask; grey pixels keep
    their value. Shape: image uint8 (H, W, 3), mask uint8 (H, W) {0, 1}."""
    hole = mask.astype(bool)
    pixels = image[hole]
    differs = _spread(pixels) > GREY_SPREAD
    if differs.any():
        coloured = pixels[differs]
        coloured[:] = np.asarray(Image.fromarray(coloured[None]).convert("L"))[0, :, None]
        pixels[differs] = coloured
        image[hole] = pixels


def describe(job: Job, restoration: Restoration) -> ManifestRow:
    """What a restoration says about itself, as a row of the manifest."""
    status = "restored"
    if not restoration.changed:
        status = "no face found" if restoration.faceless else "no occluder found"
        status = "nothing restored" if restoration.gave_up else status
    faces = [result.face for result in restoration.faces]
    return ManifestRow(
        str(job.source),
        output=str(job.output) if restoration.changed else "",
        status=status,
        faces=sum(face.source != "whole" for face in faces),
        detection="+".join(sorted({face.source for face in faces})),
        hole_ratio=restoration.hole_ratio,
        seconds=dict(restoration.seconds),
        warnings=all_notices(restoration),
    )


def all_notices(restoration: Restoration, numbered: bool = True) -> list[str]:
    """The photo's notices and those of its faces, numbered where there are several; not that
    nothing was redrawn, which the status of a row says."""
    numbered = numbered and len(restoration.faces) > 1
    texts = [text for text in restoration.notices if not text.startswith(UNCHANGED)]
    return texts + [
        f"face {number}: {notice}" if numbered else notice
        for number, result in enumerate(restoration.faces, 1)
        for notice in result.notices
    ]


def _write(job: Job, photo: Photo, restoration: Restoration, quality: int | None) -> list[str]:
    """The result, after its extras, and what to tell the user."""
    notices, hole = [], restoration.mask.astype(bool)
    suffix = check_suffix(job.output)
    if photo.alpha is not None:
        alpha = photo.alpha[hole]
        if clear := (alpha == 0).mean():
            notices.append(f"{clear:.0%} of the hole is transparent and stays so")
        if partly := ((alpha > 0) & (alpha < 255)).mean():
            notices.append(
                f"{partly:.0%} of the hole is partly transparent and stays so: it is redrawn as it "
                "looks over white"
            )
    picture, more = _encode(photo, restoration.restored, hole, suffix)
    options, lost = save_options(suffix, photo.metadata, quality)
    if is_lossy(suffix, quality):
        more.append(
            f"warning: {suffix} is lossy: pixels outside the mask change a little; .png keeps them"
        )
    pictures: dict[Path, tuple[np.ndarray | Image.Image, dict]] = {
        path: (draw_extra(name, photo.rgb, restoration), {}) for name, path in job.extras.items()
    }
    pictures[job.output] = (picture, options)
    save_images(pictures)
    return notices + more + lost


def _encode(
    photo: Photo, restored: np.ndarray, hole: np.ndarray, suffix: str
) -> tuple[Image.Image, list[str]]:
    """The result in the photo's own mode, as far as the file format can hold it."""
    notices = []
    pixels, alpha = photo.pixels.copy(), photo.alpha
    if pixels.ndim == 3:
        pixels[hole] = restored[hole]
    else:
        grey = np.asarray(Image.fromarray(restored).convert("L"))
        factor = 257 if pixels.dtype == np.uint16 and pixels.max() > 255 else 1
        pixels[hole] = grey[hole].astype(pixels.dtype) * factor
    if pixels.dtype == np.uint16 and suffix not in WITH_16_BIT:
        notices.append(f"warning: {suffix} holds 8 bits, the photo has 16; .png keeps them")
        pixels = np.asarray(Image.fromarray(restored).convert("L"))
    if alpha is not None and suffix not in WITH_ALPHA:
        notices.append(f"warning: {suffix} has no transparency, laid over white; .png keeps it")
        pixels, alpha = restored, None
    picture = Image.fromarray(pixels)
    if alpha is not None:
        picture.putalpha(Image.fromarray(alpha))
    return picture, notices


def draw_extra(name: str, image: np.ndarray, restoration: Restoration) -> np.ndarray:
    """A picture of engines.jobs.plan.EXTRAS as uint8 RGB, (H, W, 3); "mask" is (H, W).

    mask: white is what was redrawn. overlay: the photo with that part tinted red. side-by-side:
    photo, overlay, result. uncertainty: black (none) through red to yellow; the brightest stands
    for an uncertainty of UNCERTAINTY_FULL and more (see engines.inference.networks).
    """
    mask = restoration.mask
    if name == "mask":
        return mask * np.uint8(255)
    if name == "overlay":
        return tint(image, mask)
    if name == "side-by-side":
        gap = np.full((image.shape[0], max(2, image.shape[1] // 64), 3), 255, np.uint8)
        tinted = tint(image, mask)
        return np.concatenate([image, gap, tinted, gap, restoration.restored], axis=1)
    if name == "uncertainty":
        if restoration.uncertainty is None:
            return np.zeros_like(image)
        levels = np.rint(restoration.uncertainty / UNCERTAINTY_FULL * 255).clip(0, 255)
        colours = cv2.applyColorMap(levels.astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
        return np.ascontiguousarray(colours * mask[..., None])
    raise ValueError(f"{name!r}: no such picture to save")


def tint(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The picture with its hole tinted red."""
    tinted, hole = image.copy(), mask == 1
    tinted[hole] = tinted[hole] // 2 + np.array([127, 0, 0], np.uint8)
    return tinted


def check_targets(job: Job, overwrite: bool, suffixes: Sequence[str] = WRITTEN) -> None:
    """Raise ValueError or FileExistsError if a result may not be written where the job says."""
    check_suffix(job.output, suffixes)
    inputs = [path for path in (job.source, job.mask) if path is not None and path.exists()]
    for target in job.targets:
        if target.exists() and any(target.samefile(path) for path in inputs):
            raise ValueError(f"{target}: is an input of this command and is never overwritten")
        if target.exists() and not overwrite:
            raise FileExistsError(
                f"{target}: exists already; --overwrite replaces it, --skip-existing goes on"
            )
