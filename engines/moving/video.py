"""Videos and animated pictures: every frame restored in order, landmarks and masks smoothed."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from deocclude.data.files import temporary_name
from deocclude.data.mask_files.given import GivenMask, read_given
from deocclude.engines.jobs.kinds import is_animated, result_suffixes
from deocclude.engines.jobs.manifest import ManifestRow
from deocclude.engines.jobs.plan import Choices, Job
from deocclude.engines.moving.pipeline import Behind, ahead
from deocclude.engines.moving.restorer import FrameRestorer
from deocclude.engines.photos.deoccluder import Deoccluder
from deocclude.engines.photos.files import all_notices, check_targets, draw_extra
from deocclude.engines.photos.restoration import NO_FACE, UNCHANGED, Restoration, timed
from deocclude.engines.video.files import open_reader, open_writer
from deocclude.engines.video.frames import Frame, FrameReader, FrameWriter

REST = 2  # frames: faces that come into a video are looked for after so many, where it changes
Progress = Callable[[Iterable, int | None, str], Iterable]


@dataclass
class Tally:
    """What the frames of one video add up to."""

    frames: int = 0
    restored: int = 0
    faceless: int = 0
    faces: int = 0  # the most in one frame
    hole: float = 0.0  # sum of hole ratios
    covered: bool = False
    sources: set[str] = field(default_factory=set)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    notices: Counter[str] = field(default_factory=Counter)
    _wordings: dict[str, str] = field(default_factory=dict)

    def add(self, result: Restoration) -> None:
        self.frames += 1
        self.restored += result.changed
        self.hole += result.hole_ratio
        self.faces = max(self.faces, len(result.faces))
        self.faceless += not result.faces
        self.covered |= result.gave_up
        self.sources |= {face.face.source for face in result.faces}
        for stage, spent in result.seconds.items():
            self.seconds[stage] += spent
        texts = dict.fromkeys(all_notices(result, numbered=False))
        texts.pop(f"{NO_FACE}: {UNCHANGED}", None)  # `faceless` counts them
        for text in texts:
            kind = re.sub(r"\d+", "#", text)  # "37% of ..." and "38% of ..." are one notice
            self.notices[self._wordings.setdefault(kind, text)] += 1

    def row(self, job: Job, reader: FrameReader) -> ManifestRow:
        """The manifest's row; `output` only if a frame was restored."""
        row = ManifestRow(str(job.source), frames=self.frames, frames_restored=self.restored)
        row.faces, row.detection = self.faces, "+".join(sorted(self.sources))
        row.hole_ratio = self.hole / max(1, self.restored)
        row.seconds = dict(self.seconds)
        row.warnings = list(reader.notices)
        row.warnings += [f"{text} (in {count} frames)" for text, count in self.notices.items()]
        if self.faceless:
            row.warnings.append(f"{NO_FACE} in {self.faceless} of {self.frames} frames")
        if reader.damage:
            row.warnings.append(f"warning: damaged: {reader.damage}; {reader.read} frames came")
        if not self.restored:
            row.status = "no occluder found" if self.faces else "no face found"
            row.status = "nothing restored" if self.covered else row.status
            return row
        row.output = str(job.output)
        row.status = "incomplete" if reader.damage else "restored"
        if self.restored < self.frames:
            row.warnings.append(f"{self.frames - self.restored} frames are passed through as read")
        return row


def restore_video(
    deoccluder: Deoccluder,
    job: Job,
    choices: Choices,
    progress: Progress = lambda frames, total, name: frames,
) -> ManifestRow:
    """Restore one video or animated picture and return its row of the manifest.

    A video becomes an .mp4 (H.264) of the same size whose frames have the times they had, with its
    sound, subtitles, chapters and metadata; the codec is lossy, so that pixels outside of the mask
    change a little. An animated picture becomes a .gif, lossless .webp, .png or .mp4, by the
    output's suffix. The one mask of a job holds for every frame. What is damaged or cut off is
    written as far as it goes, with the status "incomplete"; what has no frame that was restored is
    not written. Raises FileExistsError or ValueError (VideoError); nothing is written then.
    """
    check_targets(job, choices.overwrite, result_suffixes(job.source))
    if choices.erased:
        raise ValueError(f"{job.source}: --mask alpha takes the transparent part of photos only")
    reader = open_reader(job.source, is_animated(job.source))
    restore = FrameRestorer(deoccluder, choices, "uncertainty" in job.extras, rest=REST)
    tally, outputs, writing = Tally(), Outputs(job, reader), Behind()
    mask: GivenMask | None = None
    try:
        with closing(ahead(reader)) as frames:
            for frame in progress(frames, reader.expected, job.source.name):
                if job.mask is not None and mask is None:
                    mask = _read_mask(job, frame, reader, choices)
                result = restore(frame.rgb, mask.hole if mask else None)
                if mask is not None:
                    mask.weigh(result.restored, frame.rgb)
                tally.add(result)
                with timed(tally.seconds, "write"):  # not what the writing thread does beside
                    writing.call(outputs.write, frame, result)
        with timed(tally.seconds, "write"):
            writing.finish()
            row = tally.row(job, reader)
            row.warnings += outputs.keep() if row.output else []
        row.seconds["write"] = tally.seconds["write"]
    finally:
        writing.close()
        reader.close()
        outputs.discard()
    return row


def _read_mask(job: Job, frame: Frame, reader: FrameReader, choices: Choices) -> GivenMask:
    """The one mask of a video, as its first frame lies."""
    assert job.mask is not None
    turned, shape = reader.orientation, frame.rgb.shape[:2]
    mask = read_given(job.mask, shape, turned, choices.invert_mask, choices.soft_mask)
    reader.notices += mask.notices
    return mask


class Outputs:
    """The result's file and those of its extras, under temporary names until they are kept."""

    def __init__(self, job: Job, reader: FrameReader) -> None:
        self.job, self.reader = job, reader
        self._writers: dict[Path, FrameWriter] = {}
        self._parts: dict[Path, Path] = {}

    def write(self, frame: Frame, result: Restoration) -> None:
        """The next frame of every file."""
        for name, path in self.job.extras.items():
            picture = draw_extra(name, frame.rgb, result)
            if picture.ndim == 2:
                picture = np.repeat(picture[..., None], 3, axis=2)
            opaque = replace(frame, pixels=None, alpha=None)
            self._writer(path, picture).write(picture, opaque)
        restored, mask = result.restored, result.mask
        self._writer(self.job.output, restored).write(restored, frame, mask)

    def _writer(self, path: Path, picture: np.ndarray) -> FrameWriter:
        if path not in self._writers:
            self._parts[path] = temporary_name(path)
            whole = path == self.job.output
            shape = (picture.shape[0], picture.shape[1])
            self._writers[path] = open_writer(self._parts[path], self.reader, shape, whole)
        return self._writers[path]

    def keep(self) -> list[str]:
        """Finish every file and give it its name; what to tell the user."""
        notices = {path: writer.close() for path, writer in self._writers.items()}
        self._writers.clear()
        for path, part in self._parts.items():
            part.replace(path)
        self._parts.clear()
        return notices[self.job.output]

    def discard(self) -> None:
        """Remove what was not kept."""
        for writer in self._writers.values():
            writer.abort()
        for part in self._parts.values():
            part.unlink(missing_ok=True)
