"""Which reader and which writer a file of moving pictures needs."""

from pathlib import Path

from deocclude.engines.video.animations import AnimationReader, AnimationWriter
from deocclude.engines.video.frames import FrameReader, FrameWriter
from deocclude.engines.video.reading import VideoReader
from deocclude.engines.video.writing import VideoWriter


def open_reader(path: Path, animated: bool) -> FrameReader:
    """The frames of an animated picture or a video. Raises VideoError."""
    return AnimationReader(path) if animated else VideoReader(path)


def open_writer(
    path: Path, reader: FrameReader, shape: tuple[int, int], whole: bool = True
) -> FrameWriter:
    """A writer of pictures of this (height, width) made from the reader's frames, by the suffix of
    `path`. `whole`: with the sound and all else of the file that is read. Raises VideoError."""
    if path.suffix.lower() != ".mp4":
        loops, info = getattr(reader, "loops", 0), getattr(reader, "info", {})
        return AnimationWriter(path, loops, info if whole else None)
    writer = VideoWriter(
        path,
        shape,
        reader.rate,
        reader.tick,
        reader.pixel,
        reader.tags,
        reader.origin,
        reader.path if whole and isinstance(reader, VideoReader) else None,
    )
    if lost := ", ".join(getattr(reader, "info", {})):
        writer.notices.append(f"not kept in this format: {lost}")
    if getattr(reader, "loops", 1) != 1:
        writer.notices.append("an .mp4 does not say that it is to be played again and again")
    return writer
