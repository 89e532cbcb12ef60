"""Photo files in, restored photo files out: modes, transparency, metadata, pairing of names."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from data.contract import mask_warning
from data.transforms import list_images, load_mask, load_mask_levels, open_image, save_image, to_rgb
from engines.inference import Deoccluder

LOSSLESS = {
    ".png": {},
    ".bmp": {},
    ".tif": {"compression": "tiff_lzw"},
    ".tiff": {"compression": "tiff_lzw"},
    ".webp": {"lossless": True, "exact": True},
}
LOSSY = {".jpg": {"quality": 95, "subsampling": 0}, ".jpeg": {"quality": 95, "subsampling": 0}}
WITH_ALPHA = (".png", ".tif", ".tiff", ".webp")
WITH_16_BIT = (".png", ".tif", ".tiff")


@dataclass(frozen=True)
class Job:
    """One photo, the mask that goes with it, and where the result goes."""

    photo: Path
    mask: Path
    output: Path
    sheet: Path | None = None  # photo, hole and result side by side


@dataclass
class Plan:
    """What a command line asks for: the jobs, and for the rest why there is none."""

    output: Path  # the result's file or folder
    jobs: list[Job] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Photo:
    """A decoded photo: `rgb` is what people see; `pixels` is what the file holds.

    Shapes: rgb uint8 (H, W, 3), transparency over white; pixels uint8 (H, W, 3), or (H, W) uint8 or
    uint16 for a grey photo; alpha uint8 (H, W) or None. `metadata`: options for `save_image`.
    """

    rgb: np.ndarray
    pixels: np.ndarray
    alpha: np.ndarray | None
    metadata: dict
    notices: list[str]


def read_photo(path: Path) -> Photo:
    """Any image mode, upright. Raises ImageReadError or FileNotFoundError with the file's name."""
    image = open_image(path)
    notices = []
    with Image.open(path) as header:
        if getattr(header, "is_animated", False) and header.format != "MPO":
            notices.append(f"only the first of {header.n_frames} frames is restored")
    rgb = np.asarray(to_rgb(image))
    alpha = None
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        grey = image.mode in ("LA", "La", "L", "1")
        flat = image.convert("RGBA")
        alpha, pixels = np.asarray(flat)[..., 3], np.asarray(flat)[..., :3]
        pixels = pixels[..., 0] if grey else pixels
    elif image.mode == "I;16" or (image.mode == "I" and _is_16_bit(image)):
        pixels = np.asarray(image).astype(np.uint16)
    else:
        pixels = np.asarray(image.convert("L")) if image.mode in ("L", "1") else rgb
        if image.mode not in ("L", "1", "P", "RGB"):
            notices.append(f"colour mode {image.mode} is converted to 8-bit RGB")
    metadata = {}
    exif = (
        image.getexif()
    )  # written anew: the camera's thumbnail of the occluded photo stays behind
    if len(exif):
        metadata["exif"] = exif.tobytes()
    profile = image.info.get("icc_profile")
    if profile and image.mode not in (
        "CMYK",
        "LAB",
        "YCbCr",
    ):  # it describes the mode's own colours
        metadata["icc_profile"] = profile
    return Photo(rgb, pixels, alpha, metadata, notices)


def _is_16_bit(image: Image.Image) -> bool:
    low, high = image.getextrema()
    return low >= 0 and 255 < high < 2**16


def read_mask(path: Path, shape: tuple[int, int], invert: bool) -> tuple[np.ndarray, list[str]]:
    """A mask file at the photo's (height, width) as uint8 {0, 1}, and what to tell the user.

    Raises ValueError, with file and hole ratio, if nothing or everything would be redrawn.
    """
    mask = load_mask(path, invert=invert)
    notices = []
    if mask.shape != shape:
        notices.append(
            f"mask {path.name} is {mask.shape[1]} x {mask.shape[0]}, the photo {shape[1]} x "
            f"{shape[0]}: resized by nearest neighbour"
        )
        mask = load_mask(path, shape, invert)
    ratio = float(mask.mean())
    warning = mask_warning(ratio)
    if ratio in (0, 1):
        levels = load_mask_levels(path)
        raise ValueError(
            f"{path}: {warning} (hole ratio {ratio:.2f}); white, above 127 of 255, marks the hole, "
            f"this file's values go from {levels.min()} to {levels.max()}"
            + (", read inverted" if invert else "; --invert-mask reads it the other way round")
        )
    if warning:
        notices.append(f"warning: {path.name}: {warning}")
    return mask, notices


def restore_file(
    deoccluder: Deoccluder, job: Job, invert_mask: bool = False, overwrite: bool = False
) -> list[str]:
    """Restore one photo file and return what to tell the user.

    Outside the mask the output file holds the same pixels as the photo; only a lossy output format
    breaks that, which is said. Alpha, 16-bit grey and single-channel grey survive where the output
    format has them. Raises FileExistsError, ImageReadError or ValueError; nothing is written then.
    """
    check_targets(job, overwrite)
    photo = read_photo(job.photo)
    mask, notices = read_mask(job.mask, photo.rgb.shape[:2], invert_mask)
    restored = deoccluder.restore_photo(photo.rgb, mask)
    hole = mask.astype(bool)
    notices = photo.notices + notices
    if photo.alpha is not None and (clear := (photo.alpha[hole] == 0).mean()) > 0:
        notices.append(f"{clear:.0%} of the hole is transparent and stays so")
    picture, more = _encode(photo, restored, hole, job.output.suffix.lower())
    suffix = job.output.suffix.lower()
    metadata = dict(photo.metadata)
    if suffix in (".tif", ".tiff") and metadata.pop("exif", None):
        notices.append("EXIF is not kept in a TIFF file")  # Pillow cannot nest camera EXIF there
    save_image(job.output, picture, **(LOSSLESS | LOSSY)[suffix], **metadata)
    if job.sheet:
        save_image(job.sheet, side_by_side(photo.rgb, mask, restored))
    return notices + more


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
    if suffix in LOSSY:
        notices.append(
            f"warning: {suffix} is lossy: pixels outside the mask change a little; .png keeps them"
        )
    picture = Image.fromarray(pixels)
    if alpha is not None:
        picture.putalpha(Image.fromarray(alpha))
    return picture, notices


def side_by_side(image: np.ndarray, mask: np.ndarray, restored: np.ndarray) -> np.ndarray:
    """Photo, photo with its hole tinted red, and result in one picture, (H, 3 W + gaps, 3)."""
    tinted = image.copy()
    tinted[mask == 1] = tinted[mask == 1] // 2 + np.array([127, 0, 0], np.uint8)
    gap = np.full((image.shape[0], max(2, image.shape[1] // 64), 3), 255, np.uint8)
    return np.concatenate([image, gap, tinted, gap, restored], axis=1)


def check_targets(job: Job, overwrite: bool) -> None:
    """Raise ValueError or FileExistsError if a result may not be written where the job says."""
    if job.output.suffix.lower() not in LOSSLESS | LOSSY:
        raise ValueError(
            f"{job.output}: cannot write {job.output.suffix or 'a name without suffix'!r}; "
            f"use one of {', '.join([*LOSSLESS, *LOSSY])}"
        )
    for target in filter(None, (job.output, job.sheet)):
        if target.exists() and any(target.samefile(p) for p in (job.photo, job.mask) if p.exists()):
            raise ValueError(f"{target}: is an input of this command and is never overwritten")
        if target.exists() and not overwrite:
            raise FileExistsError(f"{target}: exists already; --overwrite replaces it")


def plan_jobs(photo: Path, mask: Path, output: Path | None = None, sheets: bool = False) -> Plan:
    """Pair photos, masks and outputs. `photo` and `mask` are files, or folders paired by stem.

    Raises FileNotFoundError for a path that does not exist or a folder without images, ValueError
    for a single photo with a folder of masks.
    """
    for path in (photo, mask):
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder")
    if photo.is_dir():
        return _plan_folder(
            photo, mask, output or photo.with_name(f"{photo.name}-restored"), sheets
        )
    if mask.is_dir():
        raise ValueError(f"{mask}: is a folder; give one mask file for the one photo {photo}")
    output = output or photo.with_name(f"{photo.stem}-restored.png")
    if output.is_dir():
        output = output / f"{photo.stem}.png"
    return Plan(output, [Job(photo, mask, output, _sheet(output) if sheets else None)])


def _plan_folder(photos: Path, masks: Path, output: Path, sheets: bool) -> Plan:
    if output.is_file():
        raise ValueError(f"{output}: is a file; a folder of photos needs a folder for its results")
    root = photos.resolve()
    inside = [f for f in (output.resolve(), masks.resolve()) if root in f.parents]
    files = [
        path
        for path in list_images(photos)
        if not any(path.resolve().is_relative_to(folder) for folder in inside)
    ]
    if not files:
        raise FileNotFoundError(f"{photos}: no images (jpg, png, webp, bmp) in this folder")
    plan = Plan(output)
    candidates: dict[Path, list[Path]] = {}
    if masks.is_dir():
        for path in list_images(masks):
            candidates.setdefault(path.relative_to(masks).with_suffix(""), []).append(path)
    names = {path: path.relative_to(photos) for path in files}
    outputs = {path: _output_name(name) for path, name in names.items()}
    counts = Counter(outputs.values())
    for path, name in names.items():
        found = candidates.get(name.with_suffix(""), []) if masks.is_dir() else [masks]
        if len(found) != 1:
            reason = f"{len(found)} masks" if found else "no mask"
            plan.failures.append(f"{path}: {reason} named {name.with_suffix('')}.* in {masks}")
            continue
        target = outputs[path]
        if counts[target] > 1:  # a.jpg and a.png must not end in one file
            target = target.with_name(f"{name.name}.png")
        target = output / target
        plan.jobs.append(Job(path, found[0], target, _sheet(target) if sheets else None))
    unused = set(candidates) - {name.with_suffix("") for name in names.values()}
    if unused:
        plan.notices.append(f"{len(unused)} masks in {masks} have no photo, e.g. {min(unused)}")
    return plan


def _output_name(name: Path) -> Path:
    return name if name.suffix.lower() in LOSSLESS else name.with_suffix(".png")


def _sheet(output: Path) -> Path:
    return output.with_name(f"{output.stem}-side-by-side.png")


def restore_all(
    jobs: Iterable[Job], restore: Callable[[Job], list[str]], say: Callable[[str], None]
) -> list[str]:
    """Run `restore` on each job, go on when one fails, and return one line for each failure."""
    failures = []
    for job in jobs:
        try:
            notices = restore(job)
        except (OSError, ValueError, MemoryError, torch.OutOfMemoryError) as error:
            text = str(error) or type(error).__name__
            failures.append(text if str(job.photo) in text else f"{job.photo}: {text}")
            say(f"error: {failures[-1]}")
            continue
        for notice in notices:
            say(f"{job.photo}: {notice}")
    return failures
