"""Time per photo by stage: detect, align, segment, inpaint, paste.

    python benchmarks/photo.py --photos DIR --checkpoint A.safetensors --segmenter B.safetensors
    python benchmarks/photo.py --size 256 --run Reconstruction --segmenter-run UNet UNetLight

Without weights the networks are built untrained: as fast as trained ones, but their masks mean
nothing, so the lower half of each face stands in for the mask. Without photos, built-in faces on
plain pictures stand in for them. The first photo is restored once before the clock runs.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.program import carry_out, machine, publish
from deocclude import models, stopping
from deocclude.data.builtin.faces import render_face
from deocclude.data.files import some_path
from deocclude.data.image_files import list_images
from deocclude.data.images import load_image
from deocclude.engines.inference.backends import AUTO, BACKENDS
from deocclude.engines.inference.networks import Inpainter, Segmenter, leave_cores
from deocclude.engines.options import DEVICE, at_least
from deocclude.engines.photos.deoccluder import Deoccluder, load_deoccluder
from deocclude.engines.photos.detection import FaceDetector
from deocclude.engines.photos.restoration import STAGES
from deocclude.engines.report.tables import Cell, Table
from deocclude.engines.runs.config import load_config
from deocclude.engines.runs.devices import resolve_device
from deocclude.progress import Bar

CANVAS, FACE = (960, 1280), 400  # pixels: a stand-in photo and its face's square


@dataclass
class PhotoCase:
    """What was measured of one pair of networks; seconds, one a photo and stage."""

    name: str
    seconds: dict[str, list[float]] = field(default_factory=lambda: {s: [] for s in STAGES})
    faces: list[int] = field(default_factory=list)
    restored: int = 0

    def totals(self) -> list[float]:
        return [sum(stages) for stages in zip(*self.seconds.values(), strict=True)]


class LowerHalf(nn.Module):
    """An untrained segmenter at work, and a mask over the lower half of the face."""

    def __init__(self, segmenter: nn.Module) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, occluded: Tensor) -> Tensor:
        logits = torch.full_like(self.segmenter(occluded), -9)
        height, width = logits.shape[-2:]
        logits[..., height * 5 // 8 : height * 15 // 16, width // 4 : width * 3 // 4] = 9
        return logits


def measure_photos(
    deoccluder: Deoccluder, photos: Iterable[np.ndarray], name: str, warm_up: bool = True
) -> PhotoCase:
    """Restore each photo, uint8 (H, W, 3), once. Raises ValueError without photos."""
    case = PhotoCase(name)
    for photo in photos:
        if warm_up:
            deoccluder.restore(photo)
            warm_up = False
        result = deoccluder.restore(photo)
        for stage, seconds in result.seconds.items():
            case.seconds[stage].append(seconds)
        case.faces.append(len(result.faces))
        case.restored += result.changed
    if not case.faces:
        raise ValueError("photos: none to measure")
    return case


def stand_ins(count: int) -> Iterator[np.ndarray]:
    """Built-in faces, each on a plain picture."""
    for index in range(count):
        photo = np.full((*CANVAS, 3), 120 + index % 50, np.uint8)
        top, left = 200, 300 + 20 * (index % 10)
        photo[top : top + FACE, left : left + FACE] = render_face(index, FACE)
        yield photo


def untrained(
    run: str, segmenter_run: str, size: int, device: str, detector: FaceDetector
) -> Deoccluder:
    """The networks of two runs with random weights."""
    networks = []
    for name, task, create in (
        (run, "inpainting", models.create_inpainter),
        (segmenter_run, "segmentation", models.create_segmenter),
    ):
        config = load_config(name, task=task)
        choice = config.model_options()
        if "pretrained" in choice:
            choice["pretrained"] = False
        networks.append(create(config.model.name, **choice).eval())
    where = resolve_device(device)
    inpainter = Inpainter(networks[0], size, device=where)
    segmenter = Segmenter(LowerHalf(networks[1]), size, device=where)
    return Deoccluder(inpainter, segmenter, detector)


def photo_table(cases: list[PhotoCase]) -> Table:
    """Median milliseconds by stage, and of the whole with its 90th percentile."""
    columns = ["networks", *STAGES, "total", "90 % below", "faces", "photos restored"]
    rows = []
    for case in cases:
        spent = [median(case.seconds[stage]) for stage in STAGES]
        totals = case.totals()
        spent += [median(totals), float(np.percentile(totals, 90))]
        texts = [case.name, *(f"{1000 * seconds:.0f}" for seconds in spent)]
        texts += [str(sum(case.faces)), f"{case.restored} of {len(totals)}"]
        rows.append([Cell(text) for text in texts])
    return Table("Milliseconds per photo, medians", columns, rows)


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--photos", type=some_path, metavar="DIR", help="default: built-in faces on plain pictures")
    add("--count", type=at_least(1), default=20, metavar="N", help="photos, at most (default: 20)")
    add("--checkpoint", type=some_path, help="an inpainter's weights")
    add("--segmenter", type=some_path, nargs="+", help="segmenters' weights, with --checkpoint")
    add("--run", default="Reconstruction", help="inpainter to build untrained")
    add("--segmenter-run", nargs="+", default=["UNet"], help="segmenters to build untrained")
    add("--size", type=int, default=256, help="px, of untrained networks (default: 256)")
    add("--landmarker", type=some_path, help="MediaPipe's model file (default: downloaded once)")
    add("--large-faces", action="store_true", help="do not look for faces below a tenth of a photo")
    add("--threads", type=at_least(1), metavar="N",
        help="of PyTorch on the CPU (default: PyTorch's choice)")  # fmt: skip
    add("--device", **DEVICE)
    add("--backend", choices=BACKENDS, default=AUTO, help="of weights files (default: auto)")
    add("--markdown", type=some_path, help="write the table here too")
    return parser.parse_args(argv)


def measure(arguments: argparse.Namespace) -> list[PhotoCase]:
    """One case for each segmenter."""
    cases = []
    with FaceDetector(arguments.landmarker, small_faces=not arguments.large_faces) as detector:
        options = {"device": arguments.device, "detector": detector}
        for name in arguments.segmenter if arguments.checkpoint else arguments.segmenter_run:
            if arguments.checkpoint:
                backend = {"backend": arguments.backend, "make": True, "say": print}
                deoccluder = load_deoccluder(
                    arguments.checkpoint, segmenter=name, **options, **backend
                )
                leave_cores(deoccluder.inpainter, deoccluder.segmenter)
                name = f"{_label(arguments.checkpoint)} + {_label(name)}"
            else:
                deoccluder = untrained(arguments.run, name, arguments.size, **options)
                name = f"{arguments.run} + {name}, {arguments.size} px"
            photos = _photos(arguments)
            cases.append(measure_photos(deoccluder, Bar(photos, name, leave=False), name))
    return cases


def _photos(arguments: argparse.Namespace) -> Iterator[np.ndarray]:
    if arguments.photos is None:
        return stand_ins(arguments.count)
    return _readable(list_images(arguments.photos)[: arguments.count])


def _readable(paths: list[Path]) -> Iterator[np.ndarray]:
    """The photos that can be read; of the others a line says why not."""
    for path in paths:
        try:
            yield load_image(path)
        except (OSError, ValueError) as error:
            print(f"left out: {error}", file=sys.stderr)


def _label(weights: Path) -> str:
    """The run that a weights file of runs/NAME/NNN/ belongs to, else the file's own name."""
    return weights.resolve().parent.parent.name if weights.parent.name.isdigit() else weights.stem


def main(argv: list[str] | None = None) -> int:
    """The exit code: 0, or 1 with a line on what is wrong."""
    return carry_out(run, parse_arguments(argv))


def run(arguments: argparse.Namespace) -> int:
    if (arguments.checkpoint is None) != (arguments.segmenter is None):
        raise ValueError("--checkpoint and --segmenter go together")
    cases = measure(arguments)
    photos = arguments.photos
    where = "built-in faces" if photos is None else f"photos from {photos.name}/"
    device = resolve_device(arguments.device)
    line = machine(device, f"backend {arguments.backend}", where)
    publish([photo_table(cases)], "Time per photo", [line], arguments.markdown)
    return 0


if __name__ == "__main__":
    stopping.watch()
    if code := stopping.run(main):  # no SystemExit on success: Spyder would show it as an error
        sys.exit(code)
