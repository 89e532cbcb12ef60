"""Which files move: videos and animated pictures, told by what is in them, not by their names."""

from pathlib import Path

from PIL import Image

from deocclude.data.images import DAMAGE, open_header

# What says "video" where there is no file to look into, or nothing that can be read in it.
VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".vob",
    ".ogv", ".flv", ".f4v", ".wmv", ".asf", ".mxf", ".m2ts",
)  # fmt: skip
SOUND_SUFFIXES = (".m4a", ".m4b", ".mka", ".weba", ".wma", ".oga", ".opus", ".mp3", ".aac")
ANIMATED_SUFFIXES = (".gif", ".webp", ".png", ".apng")  # what an animated picture's result can be
VIDEO_OUTPUT = ".mp4"
STILL_OUTPUT = ".png"

HEAD = 65536  # bytes in which a container says what it is
STARTS = (
    b"\x1aE\xdf\xa3",  # Matroska, WebM
    b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3",  # MPEG programme stream, MPEG video
    b"\x00\x00\x00\x01\x67", b"\x00\x00\x00\x01\x27", b"\x00\x00\x00\x01\x40\x01",  # H.264, H.265
    b"\x06\x0e\x2b\x34\x02\x05\x01\x01",  # MXF
    b".RMF", b"DKIF", b"YUV4MPEG2 ", b"nut/multimedia container", b"\x1f\x07\x00",  # last: DV
)  # fmt: skip
ATOMS = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")  # QuickTime before it had ftyp
# Major brands of ISO files that hold pictures, raw pictures or sound.
NO_VIDEO_BRANDS = (
    b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"mif2", b"msf1", b"miaf",
    b"avif", b"avis", b"jp2 ", b"jpx ", b"jpm ", b"crx ", b"M4A ", b"M4B ", b"M4P ", b"F4A ",
    b"F4B ", b"aax ",
)  # fmt: skip
ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
ASF_VIDEO = bytes.fromhex("c0ef19bc4d5bcf11a8fd00805f5c442b")  # a stream of pictures
OGG_VIDEO = (b"\x80theora", b"OVP80", b"BBCD\x00")  # Theora, VP8, Dirac


def is_video(path: Path, head: bytes | None = None) -> bool:
    """Whether a file is a video: by its first bytes, whatever its name (`head`, where they are read
    already). A file with a video's name that is empty, damaged or missing is one, so that whoever
    reads it says so."""
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return True
    return suffix not in SOUND_SUFFIXES and starts_like_video(_head(path) if head is None else head)


def starts_like_video(head: bytes) -> bool:
    """Whether a file that begins with these bytes (HEAD of them are enough) is a video."""
    if head[4:8] == b"ftyp":
        return head[8:12] not in NO_VIDEO_BRANDS
    if head[:4] == b"OggS":
        return any(mark in head for mark in OGG_VIDEO)
    if head[:3] == b"FLV":
        return bool(head[4:5]) and bool(head[4] & 1)
    if head[:4] == b"RIFF":
        return head[8:12] == b"AVI "
    if head[:16] == ASF:
        return ASF_VIDEO in head
    # A transport stream: packets of 188 bytes, in a camera's files each after 4 bytes of time.
    packets = (head[0:377:188], head[4:389:192])
    return head.startswith(STARTS) or head[4:8] in ATOMS or b"GGG" in packets


def is_animated(path: Path) -> bool:
    """Whether a file is a GIF, WebP, APNG or AVIF picture of several frames; not the pages of a
    TIFF, nor the views of an MPO."""
    return animated_format(path) is not None


def animated_format(path: Path, head: bytes | None = None) -> str | None:
    """Pillow's name of an animated picture's format; None for any other file."""
    head = _head(path, 32) if head is None else head
    formats: tuple[str, ...] = ("GIF", "PNG", "AVIF")
    if head[:4] == b"RIFF" and head[12:16] == b"VP8X" and head[20] & 2:  # its flag for motion
        formats = ("WEBP",)
    elif not head.startswith((b"GIF8", b"\x89PNG")) and head[4:8] != b"ftyp":
        return None
    Image.init()
    try:
        with open_header(path, tuple(name for name in formats if name in Image.OPEN)) as picture:
            return picture.format if getattr(picture, "is_animated", False) else None
    except DAMAGE:
        return None  # whoever reads it says so


def is_moving(path: Path) -> bool:
    """Whether `engines.moving.video.restore_video` is to restore a file, frame by frame."""
    head = _head(path)  # once: a folder's files may be many and far away
    return animated_format(path, head) is not None or is_video(path, head)


def result_suffix(path: Path) -> str:
    """The ending of the result's file if nobody asks for another: a video's is .mp4, an animated
    picture's that of its own format (.png for AVIF, which has no lossless one), a still one's .png.
    """
    if kind := animated_format(path):
        own = {"GIF": ".gif", "WEBP": ".webp"}.get(kind, STILL_OUTPUT)
        return ".apng" if path.suffix.lower() == ".apng" and own == STILL_OUTPUT else own
    return VIDEO_OUTPUT if is_video(path) else STILL_OUTPUT


def result_suffixes(path: Path) -> tuple[str, ...]:
    """Every ending that the result of something that moves may have."""
    return (VIDEO_OUTPUT, *ANIMATED_SUFFIXES) if is_animated(path) else (VIDEO_OUTPUT,)


def _head(path: Path, size: int = HEAD) -> bytes:
    """A file's first bytes; none of what is no file or cannot be read."""
    try:
        if not path.is_file():  # a pipe would wait
            return b""
        with open(path, "rb") as file:
            return file.read(size)
    except OSError:
        return b""
