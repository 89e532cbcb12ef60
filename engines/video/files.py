"""Which reader and which writer a file of moving pictures needs."""

from pathlib import Path

from deocclude.engines.video.animations import AnimationReader, AnimationWriter
from deocclude.engines.video.frames import FrameReader, FrameWriter


def open_reader(path: Path, animated: bool) -> FrameReader:
    """The frames of an animated picture or a video. Raises VideoError."""
    if animated:
        return AnimationReader(path)
    from deocclude.engines.video.reading import VideoReader

    return VideoReader(path)


def open_writer(
    path: Path, reader: FrameReader, shape: tuple[int, int], whole: bool = True
) -> FrameWriter:
    """A writer of pictures of this (height, width) made from the reader's frames, by the suffix of
    `path`. `whole`: with the sound and all else of the file that is read. Raises VideoError."""
    if path.suffix.lower() != ".mp4":
        return AnimationWriter(path, reader.loops, reader.info if whole else {})
    from deocclude.engines.video.writing import VideoWriter

    is_video = not isinstance(reader, AnimationReader)
    writer = VideoWriter(path, shape, reader, reader.path if whole and is_video else None)
    if lost := ", ".join(reader.info):
        writer.notices.append(f"not kept in this format: {lost}")
    if reader.loops != 1:
        writer.notices.append("an .mp4 does not say that it is to be played again and again")
    return writer
