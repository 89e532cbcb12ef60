"""Redraw what covers a face: photos and videos in, the restored ones out.

    python deocclude.py photo.jpg -o restored.png
    python deocclude.py photos/ clip.mp4 "more/*.jpg" -o restored/ --save overlay,side-by-side
    python deocclude.py photo.png --mask mask.png -o restored.png
    python deocclude.py photo.png --mask mask.png --method telea -o restored.png
    python deocclude.py --webcam --virtual-camera

Faces are found, a segmenter finds what covers them, an inpainter redraws it; with --mask what is
white in your own mask is redrawn instead. Outside of that not one pixel of a photo changes.
Without a face nothing is painted, a face that nothing covers stays as it is: an input in which
nothing was restored is reported and not written.

The networks are those in the project's weights/. In Python:

    from deocclude import restore
    restore("photo.jpg").save("restored.png")

Exit code: 0, also where nothing covers a face; 1 when an input failed, when something covers a face
that could not be restored, when a result exists already, or when no input shows a face; 2 for a
wrong option; 130 after Ctrl-C, 143 after SIGTERM.
"""

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from tqdm import tqdm

from deocclude.data.files import check_writable, some_path, some_text
from deocclude.data.mask_files.given import ALPHA, NO_DILATION
from deocclude.engines.inference.hole_mask import OF_FACES, Dilation
from deocclude.engines.jobs.inputs import EXTRAS
from deocclude.engines.jobs.manifest import Manifest, failed
from deocclude.engines.jobs.merging import merge
from deocclude.engines.jobs.plan import FORMATS, METHODS, NETWORK, NO_MASK, SAME, Choices, plan_jobs
from deocclude.engines.jobs.shards import WHOLE, Shard
from deocclude.engines.options import BACKENDS, DEVICE, at_least
from deocclude.engines.photos.blend import BLENDS
from deocclude.engines.photos.face import FaceBox, FaceChoice
from deocclude.engines.photos.formats import WITH_QUALITY
from deocclude.engines.runs.chosen import NEWEST, called, choose_weights
from deocclude.engines.runs.places import RUNS
from deocclude.names import did_you_mean
from deocclude.stopping import say_stopped

# What --help says of each option.
WORDS = {
    "inputs": 'photos, videos, folders, patterns such as "*.jpg"',
    "output": "file for one input, else a folder (default: beside)",
    "webcam": "live from camera N, or from a video file as if it were one; q quits",
    "virtual-camera": "with --webcam: no window, but a camera for video calls (Ctrl-C ends)",
    "mask": "your own, white = redraw: a file; a folder, where the mask of NAME.jpg is NAME.png\n"
    f"or NAME-mask.png; or {ALPHA}, the photo's own transparent part",
    "invert-mask": "the mask is black where to redraw",
    "soft-mask": "grey levels of the mask weigh what is redrawn against the photo (default: above "
    "127\nof 255 is redrawn, the rest stays)",
    "checkpoint": "the inpainter: sharp (default) or faithful (smoother), which ship; a weights "
    "file,\nan ensemble's YAML, a run's name (UNet, UNet/002) or folder, or\n"
    f"{NEWEST}, the run in runs/ that finished last",
    "segmenter": f"the segmenter: a weights file, a run or {NEWEST} (default: the one that ships)",
    "method": "with --mask: redraw without a network (default: network)",
    "landmarker": "MediaPipe's face_landmarker.task",
    "whole": "where no face is found in a photo, take its centred square for one aligned face",
    "save": f"also: {','.join(EXTRAS)}",
    "dilate": "grow the mask by PX pixels of the photo, or by N%% of each face's square, e.g. 5%%\n"
    "(default: 3 %% of the face's square for a mask that was found, 0 for your own)",
    "blend": "how the edge is joined (default: matched, a soft edge within the dilation and the\n"
    "colours of what is around; live: feather, the soft edge alone)",
    "no-grain": "leave the redrawn part of a photo as smooth as the network draws it (default: "
    "where\nthe photo is finer, it gets the grain of the skin around)",
    "faces": "restore the N largest faces of a picture, or the largest (default: all)",
    "min-face": "leave out faces below PX pixels",
    "face-box": "in pixels of the upright photo: restore the face there and no other, also one "
    "that\nis overlooked; again for each further face",
    "backend": "what computes the networks' answers on a CPU: auto (default) is ONNX Runtime where"
    "\nit is installed and the networks were prepared for it, as the camera, long videos and\n"
    "many photos do once, else PyTorch; onnx prepares them at once",
    "batch": "faces of one picture that the networks see at once (default: 8; fewer need less\n"
    "memory); the frames of a video go one by one, each smoothed by those before it",
    "flip": "restore each face mirrored too and take the mean: a little better, twice the time",
    "overwrite": "replace results that exist already",
    "skip-existing": "go on where an earlier command ended: inputs whose results exist are done",
    "format": "of photos' results: the photo's own, or this one (default: png; in a folder\n"
    "lossless formats stay)",
    "quality": "1 to 100, of jpg (default: 95), avif (90) and webp (default: lossless)",
    "max-pixels": "refuse photos with more pixels, e.g. 300e6 (default: what the free memory "
    "allows)",
    "manifest": "CSV with a row for each input; one of an earlier command is continued (default:\n"
    "manifest.csv in the output folder, where there is one)",
    "shard": "restore part K of N alone, 1/4 to 4/4, by a hash of each name: so that N processes\n"
    "or machines share the work; its manifest is manifest-K-of-N.csv",
    "merge": "join the parts' manifests in FOLDER (default: that of -o) into its manifest.csv",
}


def a_shard(text: str) -> Shard:
    try:
        return Shard.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def some_extras(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(filter(None, (name.strip() for name in text.split(",")))))
    if unknown := [name for name in names if name not in EXTRAS]:
        hint = did_you_mean(unknown[0], EXTRAS)
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(EXTRAS)}{hint}")
    return names


def a_mask(text: str) -> Path | str:
    return ALPHA if text == ALPHA else some_path(text)


def a_camera(text: str) -> int | Path:
    number = text.removeprefix("/dev/video")
    return int(number) if number.isdecimal() else some_path(text)


def some_pixels(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: must be a number, 0 or more")
    return value


def a_dilation(text: str) -> float | str:
    """Pixels, or a percentage as the text that `Dilation.of` takes."""
    try:
        grown = text if text.endswith("%") else float(text)
        Dilation.of(grown)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r}: must be a number of pixels, 0 or more, or 0% to 100% of the face's square"
        ) from None
    return grown


def most_faces(text: str) -> int:
    return 1 if text == "largest" else at_least(1)(text)


def a_face_box(text: str) -> FaceBox:
    try:
        left, top, width, height = map(float, text.split(","))
        FaceChoice(boxes=((left, top, width, height),)).check()
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r}: must be LEFT,TOP,WIDTH,HEIGHT in pixels of the photo, e.g. 120,80,200,260"
        ) from None
    return left, top, width, height


def a_count(text: str) -> int:
    value = some_pixels(text)  # 300e6 too
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: must be 1 or more")
    return int(value)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deocclude", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )

    def add(*names: str, **how: Any) -> None:
        words = {"help": WORDS.get(names[-1].lstrip("-"))}
        parser.add_argument(*names, **words | how)

    add("inputs", nargs="*", type=some_text, metavar="IN")
    add("-o", "--output", type=some_text, metavar="OUT")
    add("--webcam", nargs="?", type=a_camera, const=0, metavar="N")
    add("--virtual-camera", nargs="?", type=str, const="", metavar="NAME")
    add("--mask", type=a_mask)
    add("--invert-mask", action="store_true")
    add("--soft-mask", action="store_true")
    add("--checkpoint", type=some_text, metavar="WEIGHTS")
    add("--segmenter", type=some_text, metavar="WEIGHTS")
    add("--method", choices=(NETWORK, *METHODS), default=NETWORK)
    add("--landmarker", type=some_path, metavar="FILE")
    add("--whole", action="store_true")
    add("--save", type=some_extras, default=(), metavar="LIST")
    add("--dilate", type=a_dilation, metavar="PX")
    add("--blend", choices=BLENDS)
    add("--no-grain", dest="grain", action="store_false")
    add("--faces", type=most_faces, metavar="N")
    add("--min-face", type=some_pixels, metavar="PX")
    add("--face-box", type=a_face_box, action="append", metavar="LEFT,TOP,WIDTH,HEIGHT")
    add("--device", **DEVICE)
    add("--backend", choices=BACKENDS, default="auto")
    add("--batch", type=at_least(1), default=8, metavar="N")
    add("--flip", action="store_true")
    add("--overwrite", action="store_true")
    add("--skip-existing", action="store_true")
    add("--format", choices=(SAME, *FORMATS))
    add("--quality", type=at_least(1, 100), metavar="N")
    add("--max-pixels", type=a_count, metavar="N")
    add("--manifest", type=some_path, metavar="FILE")
    add("--shard", type=a_shard, metavar="K/N")
    add("--merge", nargs="?", type=some_path, const=True, metavar="FOLDER")
    return parser


def main(argv: list[str] | None = None) -> None:
    """Restore what the command line names; SystemExit 1 when anything failed."""
    parser = build_parser()
    options = parser.parse_args(argv)
    if options.merge is not None:
        _merge(parser, options)
        return
    options.erased = options.mask == ALPHA  # then it names no file
    for mistake in _mistakes(options):
        parser.error(mistake)
    if options.blend is None:
        options.blend = Choices().blend if options.webcam is None else "feather"
    choices = Choices(**{each.name: getattr(options, each.name) for each in fields(Choices)})
    try:
        if options.webcam is not None:
            weights = choose(options)
            from deocclude.engines.cli import photos

            photos.watch(options, weights, choices)
            return
        mask = None if options.erased else options.mask
        if options.erased and Path(ALPHA).exists():
            print(f"--mask {ALPHA}: the photos' transparent part; a file of that name: ./{ALPHA}")
        shard = options.shard or WHOLE
        plan = plan_jobs(options.inputs, mask, options.output, options.save, options.format, shard)
        path = options.manifest or (plan.folder / shard.manifest if plan.folder else None)
        if options.shard and path is None:
            raise ValueError("--shard: a part has a manifest; name a folder with -o")
        if options.method != NETWORK and (videos := [j.source for j in plan.jobs if j.is_video]):
            raise ValueError(f"{videos[0]}: --method {options.method} restores photos, not videos")
        lossy = any(job.output.suffix.lower() in WITH_QUALITY for job in plan.jobs)
        if options.quality is not None and not lossy and not options.shard:
            raise ValueError("--quality: no result is a JPEG, AVIF or WebP; see --format")
        manifest = Manifest(path, tqdm.write)
        if options.skip_existing:
            plan.set_aside(manifest.nothing_to_restore)
        elif not options.overwrite:
            plan.refuse_existing()
        # What is wrong is said before PyTorch is imported.
        written = [path] * (path is not None) + [t for job in plan.jobs for t in job.targets]
        check_writable(each.parent for each in written)
        weights = choose(options)
        manifest.by = called(weights["inpainting"]) if weights else options.method
        from deocclude.engines.cli import photos

        deoccluder = None
        if plan.jobs:
            deoccluder = photos.load(options, weights, photos.is_lasting(options, plan))
        rows = photos.restore_all(deoccluder, plan, choices, manifest)
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: {error}") from None
    except KeyboardInterrupt as stop:
        words = "what was finished is kept; --skip-existing goes on from here"
        words = words if options.webcam is None else "the camera is closed"
        raise SystemExit(say_stopped(stop, words)) from None
    if failed(Counter(row.status for row in rows)):
        raise SystemExit(1)


def _mistakes(options: argparse.Namespace) -> Iterator[str]:
    """What is wrong with options that do not go together; the first is to be told."""

    def given(*names: str) -> str:
        words = (f"--{name.replace('_', '-')}" for name in names if getattr(options, name))
        return ", ".join(words)

    live, erased, method = options.webcam is not None, options.erased, options.method
    if not live and not options.inputs:
        yield "nothing to restore: name a photo, a video or a folder, or use --webcam"
    if options.invert_mask and options.mask is None:
        yield "--invert-mask says how to read your own mask: name it with --mask"
    if options.soft_mask and options.mask is None:
        yield "--soft-mask says how to read your own mask: name it with --mask"
    if options.mask is not None and isinstance(options.dilate, str):
        yield f"--dilate {options.dilate}: {OF_FACES}"
    if options.soft_mask and options.dilate and not erased:
        yield f"--soft-mask: {NO_DILATION}"
    if erased and options.invert_mask:
        yield f"--mask {ALPHA}: the transparent part is redrawn; leave out --invert-mask"
    if options.face_box and (options.faces or options.min_face):
        yield "--face-box names the faces: leave out --faces and --min-face"
    if method != NETWORK:
        if live or options.mask is None:
            yield f"--method {method}: {NO_MASK}; name it with --mask"
        if unfit := given(
            "checkpoint", "segmenter", "landmarker", "flip", "faces", "min_face", "face_box"
        ):
            yield f"--method {method} uses no network; leave out {unfit}"
        if "uncertainty" in options.save:
            yield f"--method {method} does not say how unsure it is: --save uncertainty"
    if options.overwrite and options.skip_existing:
        yield "--overwrite and --skip-existing say opposite things; leave one of them out"
    if options.backend == "torch" and Path(options.checkpoint or "").suffix == ".onnx":
        yield f"--backend torch cannot run an ONNX file: {options.checkpoint}"
    if options.shard and options.manifest is not None:
        yield "--shard: each part writes a manifest of its own; leave out --manifest"
    if options.virtual_camera is not None and not live:
        yield "--virtual-camera sends on what a camera sees: name that with --webcam"
    if live and (
        unfit := given(
            "inputs", "output", "mask", "save", "manifest", "whole", "format", "quality",
            "max_pixels", "overwrite", "skip_existing", "shard",
        )
    ):  # fmt: skip
        yield f"--webcam shows pictures live; leave out {unfit}"


def _merge(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Join the manifests of parts; SystemExit 1 where one command would have ended with it, or
    where a part is missing or unfinished."""
    named = (options.output, options.merge)
    folders = {Path(name) for name in named if name not in (None, True)}
    if len(folders) != 1:
        parser.error("--merge: name one folder, that of the parts' results")
    given = {name: value for name, value in vars(options).items() if value not in (None, [])}
    unfit = [name for name, value in given.items() if value != parser.get_default(name)]
    if unfit := [name for name in unfit if name not in ("merge", "output")]:
        parser.error(f"--merge restores nothing; leave out {', '.join(unfit)}")
    try:
        merged = merge(folders.pop())
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: {error}") from None
    for line in merged.notices:
        print(f"error: {line}")
    print(merged.summary)
    if merged.failed:
        raise SystemExit(1)


def choose(options: argparse.Namespace) -> dict[str, Path]:
    """The weights files that the options name, by task, or those that ship; each is printed. None
    with a method that needs none. Errors as of `choose_weights`."""
    if options.method != NETWORK:
        print(f"method: {options.method}, no network is used")
        return {}
    if options.landmarker is not None and not options.landmarker.is_file():
        raise FileNotFoundError(f"--landmarker {options.landmarker}: no such file")
    named = {"inpainting": options.checkpoint, "segmentation": options.segmenter}
    if options.mask is not None and named.pop("segmentation") is not None:
        print("with --mask no segmenter is used: --segmenter is ignored")
    chosen = {task: choose_weights(name, task, RUNS) for task, name in named.items()}
    for _, line in chosen.values():
        print(line)
    return {task: file for task, (file, _) in chosen.items()}
