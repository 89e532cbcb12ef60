"""What each format of a result can hold, and how it is written: pixels, metadata, quality."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image, PngImagePlugin, TiffImagePlugin

JPEG = (".jpg", ".jpeg", ".jfif", ".jpe")
TIFF = (".tif", ".tiff")
LOSSLESS: dict[str, dict[str, Any]] = {
    ".png": {},
    ".bmp": {},
    ".tif": {"compression": "tiff_lzw"},
    ".tiff": {"compression": "tiff_lzw"},
    ".webp": {"lossless": True, "exact": True},
}
LOSSY: dict[str, dict[str, Any]] = {
    **{suffix: {"quality": 95, "subsampling": 0, "format": "JPEG"} for suffix in JPEG},
    ".avif": {"quality": 90, "subsampling": "4:4:4"},
}
WRITTEN = (*LOSSLESS, *LOSSY)
WITH_QUALITY = (*LOSSY, ".webp")
WITH_ALPHA = (".png", *TIFF, ".webp", ".avif")
WITH_16_BIT = (".png", *TIFF)
# What of a photo's metadata a format's files hold. In TIFF Pillow cannot nest a camera's EXIF.
HOLDS = {
    **dict.fromkeys(JPEG, ("exif", "icc_profile", "xmp", "dpi", "comment")),
    **dict.fromkeys((".webp", ".avif"), ("exif", "icc_profile", "xmp")),
    **dict.fromkeys(TIFF, ("icc_profile", "xmp", "dpi")),
    ".png": ("exif", "icc_profile", "xmp", "dpi", "text", "gamma"),
    ".bmp": ("dpi",),
}
NAMES = {
    "exif": "EXIF",
    "icc_profile": "the colour profile",
    "xmp": "XMP",
    "dpi": "the resolution (dpi)",
    "comment": "the comment of the JPEG file",
    "text": "the text of the PNG file",
    "gamma": "the gamma of the PNG file",
}
TIFF_XMP = 700  # TIFF tag
PNG_XMP = "XML:com.adobe.xmp"
X_DPI, Y_DPI, WIDTH, HEIGHT = 0x011A, 0x011B, 0xA002, 0xA003  # EXIF tags
MOST_DPI = 65535  # what a JPEG's header can say
OTHER_COLOURS = ("CMYK", "LAB", "YCbCr")  # modes that are converted to RGB


@dataclass(frozen=True)
class Metadata:
    """What a photo's file says beside its pixels; None or empty where it does not.

    exif: bytes, orientation and thumbnail aside. dpi: (across, down). text: a PNG's, by key.
    gamma: a PNG's, as `Image.info` has it.
    """

    exif: bytes | None = None
    icc_profile: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    comment: bytes | None = None
    text: dict[str, str] = field(default_factory=dict)
    gamma: float | None = None


def check_suffix(path: Path, valid: Sequence[str] = WRITTEN) -> str:
    """The ending of a result's name, lower case. ValueError if it is none of the valid ones."""
    suffix = path.suffix.lower()
    if suffix not in valid:
        raise ValueError(
            f"{path}: cannot write {path.suffix or 'a name without suffix'!r}; "
            f"use one of {', '.join(valid)}"
        )
    return suffix


def is_lossy(suffix: str, quality: int | None = None) -> bool:
    """Whether a file with this ending changes pixels; a WebP does once a quality is asked for."""
    return suffix in LOSSY or (suffix == ".webp" and quality is not None)


def save_options(
    suffix: str, metadata: Metadata, quality: int | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Pillow's options for a file with this ending, and a line for all that it cannot hold."""
    options = dict((LOSSLESS | LOSSY)[suffix])
    if quality is not None and suffix in WITH_QUALITY:
        options |= {"quality": quality}
        options.pop("lossless", None)
    there = [name for name in NAMES if getattr(metadata, name)]
    kept = [name for name in there if name in HOLDS[suffix]]
    lost = [NAMES[name] for name in there if name not in kept]
    by_name = {"exif", "icc_profile", "dpi", "comment", "xmp"}
    if suffix in (".png", *TIFF):
        by_name.remove("xmp")
    options |= {name: getattr(metadata, name) for name in kept if name in by_name}
    if suffix == ".png":
        options["pnginfo"] = _png_chunks(metadata)
    elif suffix in TIFF and metadata.xmp:
        directory = TiffImagePlugin.ImageFileDirectory_v2()
        directory[TIFF_XMP] = metadata.xmp
        options["tiffinfo"] = directory
    return options, [f"not kept in a {suffix} file: {', '.join(lost)}"] if lost else []


def _png_chunks(metadata: Metadata) -> PngImagePlugin.PngInfo:
    chunks = PngImagePlugin.PngInfo()
    for key, text in metadata.text.items():
        chunks.add_text(key, text)
    if metadata.xmp:
        chunks.add_itxt(PNG_XMP, metadata.xmp.decode("utf-8", "replace"))
    if metadata.gamma:
        chunks.add(b"gAMA", round(metadata.gamma * 100000).to_bytes(4, "big"))
    return chunks


def metadata_of(image: Image.Image, kind: str | None, turned: bool) -> Metadata:
    """What an upright picture says of itself, as `open_image` returns it.

    kind: Pillow's name of its file's format. turned: by a quarter, so that the file's resolution
    across is the picture's down.
    """
    info, exif = image.info, image.getexif()
    details = exif.get_ifd(ExifTags.IFD.Exif) if ExifTags.IFD.Exif in exif else {}
    for tag, length in ((WIDTH, image.width), (HEIGHT, image.height)):
        if tag in details:
            details[tag] = length
    xmp = info.get("xmp") or info.get(PNG_XMP)
    return Metadata(
        # Written anew: the camera's thumbnail of the occluded photo stays behind.
        exif=exif.tobytes() if len(exif) else None,
        # A profile describes the colours of its own mode.
        icc_profile=None if image.mode in OTHER_COLOURS else info.get("icc_profile"),
        xmp=xmp.encode() if isinstance(xmp, str) else xmp,
        dpi=_resolution(info.get("dpi") or (exif.get(X_DPI), exif.get(Y_DPI)), turned),
        comment=info.get("comment") if kind in ("JPEG", "MPO") else None,
        text={
            str(key): str(text)
            for key, text in (info if kind == "PNG" else {}).items()
            if isinstance(text, str) and key != PNG_XMP and not str(key).startswith("Raw profile")
        },
        gamma=info.get("gamma"),
    )


def _resolution(found: Any, turned: bool) -> tuple[float, float] | None:
    """A file's dpi, across and down; None of one that makes no sense."""
    try:
        across, down = map(float, found)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    if not (1 < across < MOST_DPI and 1 < down < MOST_DPI):  # 1: a TIFF that says nothing
        return None
    return (down, across) if turned else (across, down)
