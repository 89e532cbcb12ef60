"""How fast frames that follow each other are restored, and how calm they are.

    python benchmarks/frames.py
    python benchmarks/frames.py --video clip.mp4 --threads 2
    python benchmarks/frames.py --size 640x480 1280x720 --frames 150 --markdown frames.md

Each video is decoded from its file and restored as `--webcam` does it, every frame of it: decoding,
networks and drawing in a pipeline. Frames a second are those of the whole; latency is what passes
from a decoded frame to the drawn one, by stage. Flicker: by how many levels (of 255) redrawn pixels
change from one frame to the next where the picture itself is still, beside the same of frames
restored one by one. Without --video an example face on grey, at rest for the first half and
then turning, nearing and moving aside, with a camera's noise, stands for one.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.program import carry_out, machine, publish
from deocclude import stopping
from deocclude.data.files import some_path, some_text
from deocclude.data.images import load_image
from deocclude.engines.inference.backends import AUTO, BACKENDS
from deocclude.engines.inference.networks import leave_cores
from deocclude.engines.jobs.plan import Choices
from deocclude.engines.moving.pipeline import Behind, ahead
from deocclude.engines.moving.restorer import LIVE_REST, FrameRestorer
from deocclude.engines.moving.webcam import label
from deocclude.engines.options import at_least
from deocclude.engines.photos.deoccluder import Deoccluder, load_deoccluder
from deocclude.engines.photos.detection import FaceDetector
from deocclude.engines.photos.restoration import STAGES, Restoration
from deocclude.engines.report.tables import Cell, Table
from deocclude.engines.runs.chosen import choose_weights
from deocclude.engines.runs.places import RUNS
from deocclude.engines.video.reading import VideoReader

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "1_surgical_mask.jpg"
NOISE = 2.0  # levels: standard deviation of the made clip's noise
STILL = 8  # levels: a pixel that changes by less from frame to frame is still
AT_REST = 0.99  # of a frame's pixels still: so is the face
WARM_UP = 5  # frames that do not count
Restore = Callable[[np.ndarray], Restoration]


@dataclass
class Measured:
    """One video: seconds of each frame by stage, of the whole, and how much still pixels change."""

    name: str
    stages: dict[str, list[float]] = field(default_factory=dict)
    latency: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)  # frames/s of each run
    faces: float = 0.0  # a frame
    flicker: dict[str, float] = field(default_factory=dict)


def made_clip(path: Path, size: tuple[int, int], frames: int) -> None:
    """Write the clip that stands for a video, at 30 frames/s."""
    width, height = size
    face, rng = load_image(EXAMPLE), np.random.default_rng(0)
    middle = np.array(face.shape[1::-1]) / 2
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "14"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            seconds = max(0, number - frames // 2) / 30
            turn, near, aside = (np.sin(2 * np.pi * seconds / period) for period in (3.0, 4.0, 2.5))
            scale = 0.55 * height / face.shape[0] * (1 + 0.1 * near)
            matrix = cv2.getRotationMatrix2D(middle.tolist(), 4 * turn, scale)
            matrix[:, 2] += (width * (0.5 + 0.08 * aside), height * 0.52) - middle
            flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
            frame = cv2.warpAffine(
                face, matrix, size, flags=flags, borderMode=cv2.BORDER_CONSTANT,
                borderValue=(128, 128, 128),
            )  # fmt: skip
            noisy = (frame + rng.normal(0, NOISE, frame.shape)).clip(0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noisy)))
        container.mux(stream.encode(None))


def restore_all(
    path: Path, restore: Restore, frames: int
) -> Iterator[tuple[np.ndarray, Restoration, float]]:
    """Each frame of a video as it came, restored, and when it was decoded."""

    def decoded() -> Iterator[tuple[np.ndarray, float]]:
        with closing(VideoReader(path)) as reader:
            for frame in islice(reader, frames):
                yield frame.rgb, time.perf_counter()

    with closing(ahead(decoded(), depth=2)) as source:
        for frame, _ in source:
            taken = time.perf_counter()
            yield frame, restore(frame), taken


def measure(
    path: Path, name: str, restore: Callable[[], Restore], frames: int, runs: int
) -> Measured:
    """The video restored `runs` times, from the beginning each time."""
    measured = Measured(name, {stage: [] for stage in STAGES})
    for _ in range(runs):
        drawn: list[float] = []
        taken: list[float] = []
        drawing, draw = Behind(), partial(_draw, drawn)
        for _, result, began in restore_all(path, restore(), frames):
            drawing.call(draw, result)
            taken.append(began)
            if len(taken) > WARM_UP:
                measured.faces += len(result.faces)
                for stage, seconds in result.seconds.items():
                    measured.stages[stage].append(seconds)
        drawing.finish()
        drawing.close()
        if len(taken) <= WARM_UP:
            raise ValueError(f"{path}: has {len(taken)} frames, more than {WARM_UP} are needed")
        measured.rates.append((len(drawn) - WARM_UP) / (drawn[-1] - drawn[WARM_UP - 1]))
        measured.latency += [d - t for d, t in zip(drawn, taken, strict=True)][WARM_UP:]
    measured.faces /= len(measured.latency)
    return measured


def _draw(drawn: list[float], result: Restoration) -> None:
    label(result, 0.0)
    drawn.append(time.perf_counter())


def flicker(path: Path, restore: Restore, frames: int) -> float:
    """Mean change in levels of redrawn pixels from frame to frame where the video is still."""
    changes: list[float] = []
    before: tuple[np.ndarray, Restoration] | None = None
    for frame, result, _ in restore_all(path, restore, frames):
        if before is not None:
            still = cv2.absdiff(frame, before[0]).mean(2) < STILL
            at_rest = still.mean() > AT_REST  # else what is flat seems still where it moves
            still &= (result.mask & before[1].mask).astype(bool)
            if at_rest and still.sum() > 100:
                changes.append(cv2.absdiff(result.restored, before[1].restored)[still].mean())
        before = frame, result
    return float(np.mean(changes)) if changes else float("nan")


def tables(cases: list[Measured]) -> list[Table]:
    """Rates and latency; flicker."""
    columns = ["video", "frames/s", "latency", *STAGES, "faces"]
    rows = []
    for case in cases:
        spent = [case.latency, *(case.stages[stage] for stage in STAGES)]
        texts = [case.name, f"{np.median(case.rates):.1f}"]
        texts += ["{:.0f} ({:.0f})".format(*np.quantile(s, [0.5, 0.95]) * 1000) for s in spent]
        rows.append([Cell(text) for text in [*texts, f"{case.faces:.1f}"]])
    title = "Milliseconds a frame: medians (95th percentile)"
    found = [Table(title, columns, rows)]
    if any(case.flicker for case in cases):
        rows = []
        for case in cases:
            live, alone = case.flicker["live"], case.flicker["alone"]
            texts = (case.name, f"{live:.2f}", f"{alone:.2f}", f"{live / alone:.2f}")
            rows.append([Cell(text) for text in texts])
        columns = ["video", "followed", "frame by frame", "ratio"]
        found.append(
            Table("Flicker: levels by which still pixels in the hole change", columns, rows)
        )
    return found


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--video", type=some_path, nargs="+", metavar="FILE", help="default: a clip made here")
    add("--size", type=_size, nargs="+", default=[(640, 480), (1280, 720)], help="of made clips")
    add("--frames", type=at_least(WARM_UP + 1), default=150, metavar="N", help="at most (150)")
    add("--runs", type=at_least(1), default=5, metavar="N", help="rates are medians of so many (5)")
    add("--checkpoint", type=some_text, help="the inpainter (default: the one that ships)")
    add("--segmenter", type=some_text, help="the segmenter (default: the one that ships)")
    add("--backend", choices=BACKENDS, default=AUTO, help="of the networks (default: auto)")
    add("--threads", type=at_least(1), metavar="N", help="of the networks (default: all cores)")
    add("--no-flicker", action="store_true", help="rates only")
    add("--markdown", type=some_path, help="write the tables here too")
    return parser.parse_args(argv)


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and min(int(width), int(height)) >= 64):
        raise argparse.ArgumentTypeError(f"{text!r}: must be WIDTHxHEIGHT, e.g. 640x480")
    return int(width) // 2 * 2, int(height) // 2 * 2


def measure_all(arguments: argparse.Namespace) -> list[Measured]:
    """Every video."""
    files = {
        task: choose_weights(named, task, RUNS)[0]
        for task, named in (
            ("inpainting", arguments.checkpoint), ("segmentation", arguments.segmenter)
        )
    }  # fmt: skip
    deoccluder = load_deoccluder(
        files["inpainting"], "cpu", files["segmentation"], backend=arguments.backend, make=True,
        say=print,
    )  # fmt: skip
    leave_cores(deoccluder.inpainter, deoccluder.segmenter)
    detector = FaceDetector(template=deoccluder.inpainter.template, small_faces=False)
    deoccluder = replace(deoccluder, detector=detector)
    with tempfile.TemporaryDirectory() as folder:
        videos = {path.name: path for path in arguments.video or ()}
        for width, height in () if videos else arguments.size:
            name = f"{width} x {height}"
            videos[name] = Path(folder, f"{name}.mp4")
            made_clip(videos[name], (width, height), arguments.frames)
        return [_measured(deoccluder, path, name, arguments) for name, path in videos.items()]


def _measured(
    deoccluder: Deoccluder, path: Path, name: str, arguments: argparse.Namespace
) -> Measured:
    def live() -> Restore:
        return FrameRestorer(deoccluder, Choices(blend="feather"), rest=LIVE_REST)

    case = measure(path, name, live, arguments.frames, arguments.runs)
    if not arguments.no_flicker:
        case.flicker["live"] = flicker(path, live(), arguments.frames)
        case.flicker["alone"] = flicker(path, deoccluder.restore, arguments.frames)
    return case


def main(argv: list[str] | None = None) -> int:
    """The exit code: 0, or 1 with a line on what is wrong."""
    return carry_out(run, parse_arguments(argv))


def run(arguments: argparse.Namespace) -> int:
    if arguments.threads is not None:
        cv2.setNumThreads(arguments.threads)
    cases = measure_all(arguments)
    more = f"backend {arguments.backend}", f"{arguments.frames} frames at most"
    line = machine("cpu", *more, f"{arguments.runs} runs")
    publish(tables(cases), "Frames that follow each other", [line], arguments.markdown)
    return 0


if __name__ == "__main__":
    stopping.watch()
    if code := stopping.run(main):  # no SystemExit on success: Spyder would show it as an error
        sys.exit(code)
