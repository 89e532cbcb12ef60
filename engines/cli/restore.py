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
from pathlib import Path

from tqdm import tqdm

from deocclude.data.files import check_writable, some_path, some_text
from deocclude.data.mask_files.given import ALPHA, NO_DILATION
from deocclude.engines.cli import values
from deocclude.engines.inference.hole_mask import OF_FACES
from deocclude.engines.jobs.inputs import EXTRAS
from deocclude.engines.jobs.manifest import Manifest, failed
from deocclude.engines.jobs.merging import merge
from deocclude.engines.jobs.plan import (
    FORMATS,
    METHODS,
    NETWORK,
    NO_MASK,
    SAME,
    Choices,
    plan_jobs,
)
from deocclude.engines.jobs.shards import WHOLE
from deocclude.engines.options import DEVICE, at_least
from deocclude.engines.photos.blend import BLENDS
from deocclude.engines.photos.formats import WITH_QUALITY
from deocclude.engines.runs.chosen import NEWEST, called, choose_weights
from deocclude.engines.runs.places import RUNS
from deocclude.stopping import say_stopped


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deocclude", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add = parser.add_argument
    inputs = 'photos, videos, folders, patterns such as "*.jpg"'
    add("inputs", nargs="*", type=some_text, metavar="IN", help=inputs)
    add(
        "-o",
        "--output",
        type=some_text,
        metavar="OUT",
        help="file for one input, else a folder (default: beside)",
    )
    add(
        "--webcam",
        nargs="?",
        type=values.camera,
        const=0,
        metavar="N",
        help="live from camera N, or from a video file as if it were one; q quits",
    )
    add(
        "--virtual-camera",
        nargs="?",
        type=str,
        const="",
        metavar="NAME",
        help="with --webcam: no window, but a camera for video calls (Ctrl-C ends)",
    )
    add(
        "--mask",
        type=values.mask,
        help="your own, white = redraw: a file; a folder, where the mask of NAME.jpg is NAME.png\n"
        f"or NAME-mask.png; or {ALPHA}, the photo's own transparent part",
    )
    add("--invert-mask", action="store_true", help="the mask is black where to redraw")
    add(
        "--soft-mask",
        action="store_true",
        help="grey levels of the mask weigh what is redrawn against the photo (default: above 127\n"
        "of 255 is redrawn, the rest stays)",
    )
    add(
        "--checkpoint",
        type=some_text,
        metavar="WEIGHTS",
        help="the inpainter: sharp (default) or faithful (smoother), which ship; a weights file,\n"
        "an ensemble's YAML, a run's name (UNet, UNet/002) or folder, or\n"
        f"{NEWEST}, the run in runs/ that finished last",
    )
    segmenter = f"the segmenter: a weights file, a run or {NEWEST} (default: the one that ships)"
    add("--segmenter", type=some_text, metavar="WEIGHTS", help=segmenter)
    add(
        "--method",
        choices=(NETWORK, *METHODS),
        default=NETWORK,
        help="with --mask: redraw without a network (default: network)",
    )
    add("--landmarker", type=some_path, metavar="FILE", help="MediaPipe's face_landmarker.task")
    add(
        "--whole",
        action="store_true",
        help="where no face is found in a photo, take its centred square for one aligned face",
    )
    add("--save", type=values.extras, default=(), metavar="LIST", help=f"also: {','.join(EXTRAS)}")
    add(
        "--dilate",
        type=values.dilation,
        metavar="PX",
        help="grow the mask by PX pixels of the photo, or by N%% of each face's square, e.g. 5%%\n"
        "(default: 3 %% of the face's square for a mask that was found, 0 for your own)",
    )
    add(
        "--blend",
        choices=BLENDS,
        help="how the edge is joined (default: matched, a soft edge within the dilation and the\n"
        "colours of what is around; live: feather, the soft edge alone)",
    )
    add(
        "--no-grain",
        dest="grain",
        action="store_false",
        help="leave the redrawn part of a photo as smooth as the network draws it (default: where\n"
        "the photo is finer, it gets the grain of the skin around)",
    )
    add(
        "--faces",
        type=values.most_faces,
        metavar="N",
        help="restore the N largest faces of a picture, or the largest (default: all)",
    )
    add("--min-face", type=values.pixels, metavar="PX", help="leave out faces below PX pixels")
    add(
        "--face-box",
        type=values.face_box,
        action="append",
        metavar="LEFT,TOP,WIDTH,HEIGHT",
        help="in pixels of the upright photo: restore the face there and no other, also one that\n"
        "is overlooked; again for each further face",
    )
    add("--device", **DEVICE)
    add(
        "--backend",
        choices=("auto", "torch", "onnx"),
        default="auto",
        help="what computes the networks' answers on a CPU: auto (default) is ONNX Runtime where\n"
        "it is installed and the networks were prepared for it, as the camera, long videos and\n"
        "many photos do once, else PyTorch; onnx prepares them at once",
    )
    add(
        "--batch",
        type=at_least(1),
        default=8,
        metavar="N",
        help="faces of one picture that the networks see at once (default: 8; fewer need less\n"
        "memory); the frames of a video go one by one, each smoothed by those before it",
    )
    add(
        "--flip",
        action="store_true",
        help="restore each face mirrored too and take the mean: a little better, twice the time",
    )
    add("--overwrite", action="store_true", help="replace results that exist already")
    add(
        "--skip-existing",
        action="store_true",
        help="go on where an earlier command ended: inputs whose results exist are done",
    )
    add(
        "--format",
        choices=(SAME, *FORMATS),
        help="of photos' results: the photo's own, or this one (default: png; in a folder\n"
        "lossless formats stay)",
    )
    add(
        "--quality",
        type=values.percent,
        metavar="N",
        help="1 to 100, of jpg (default: 95), avif (90) and webp (default: lossless)",
    )
    add(
        "--max-pixels",
        type=values.count,
        metavar="N",
        help="refuse photos with more pixels, e.g. 300e6 (default: what the free memory allows)",
    )
    add(
        "--manifest",
        type=some_path,
        metavar="FILE",
        help="CSV with a row for each input; one of an earlier command is continued (default:\n"
        "manifest.csv in the output folder, where there is one)",
    )
    add(
        "--shard",
        type=values.shard,
        default=WHOLE,
        metavar="K/N",
        help="restore part K of N alone, 1/4 to 4/4, by a hash of each name: so that N processes\n"
        "or machines share the work; its manifest is manifest-K-of-N.csv",
    )
    add(
        "--merge",
        nargs="?",
        type=some_path,
        const=True,
        metavar="FOLDER",
        help="join the parts' manifests in FOLDER (default: that of -o) into its manifest.csv",
    )
    return parser


def main(argv: list[str] | None = None) -> None:
    """Restore what the command line names; SystemExit 1 when anything failed."""
    parser = build_parser()
    options = parser.parse_args(argv)
    if options.merge is not None:
        _merge(parser, options)
        return
    if options.webcam is None and not options.inputs:
        parser.error("nothing to restore: name a photo, a video or a folder, or use --webcam")
    if options.invert_mask and options.mask is None:
        parser.error("--invert-mask says how to read your own mask: name it with --mask")
    _check_mask(parser, options)
    if options.face_box and (options.faces or options.min_face):
        parser.error("--face-box names the faces: leave out --faces and --min-face")
    if options.method != NETWORK:
        _check_method(parser, options)
    if options.overwrite and options.skip_existing:
        parser.error("--overwrite and --skip-existing say opposite things; leave one of them out")
    if options.backend == "torch" and Path(options.checkpoint or "").suffix == ".onnx":
        parser.error(f"--backend torch cannot run an ONNX file: {options.checkpoint}")
    files = (
        "inputs", "output", "mask", "save", "manifest", "whole", "format", "quality", "max_pixels",
        "overwrite", "skip_existing",
    )  # fmt: skip
    unfit = [f"--{name.replace('_', '-')}" for name in files if getattr(options, name)]
    unfit += ["--shard"] * (options.shard != WHOLE)
    if options.shard != WHOLE and options.manifest is not None:
        parser.error("--shard: each part writes a manifest of its own; leave out --manifest")
    if options.virtual_camera is not None and options.webcam is None:
        parser.error("--virtual-camera sends on what a camera sees: name that with --webcam")
    if options.webcam is not None and unfit:
        parser.error(f"--webcam shows pictures live; leave out {', '.join(unfit)}")
    blend = options.blend or (Choices().blend if options.webcam is None else "feather")
    choices = Choices(
        options.invert_mask,
        options.overwrite,
        options.dilate,
        blend,
        quality=options.quality,
        max_pixels=options.max_pixels,
        erased=options.erased,
        soft_mask=options.soft_mask,
        grain=options.grain,
    )
    try:
        if options.webcam is not None:
            weights = choose(options)
            from deocclude.engines.cli import photos

            photos.watch(options, weights, choices)
            return
        mask = None if options.erased else options.mask
        if options.erased and Path(ALPHA).exists():
            print(f"--mask {ALPHA}: the photos' transparent part; a file of that name: ./{ALPHA}")
        plan = plan_jobs(
            options.inputs, mask, options.output, options.save, options.format, options.shard
        )
        path = options.manifest or (plan.folder / options.shard.manifest if plan.folder else None)
        if options.shard != WHOLE and path is None:
            raise ValueError("--shard: a part has a manifest; name a folder with -o")
        if options.method != NETWORK and (videos := [j.source for j in plan.jobs if j.is_video]):
            raise ValueError(f"{videos[0]}: --method {options.method} restores photos, not videos")
        lossy = any(job.output.suffix.lower() in WITH_QUALITY for job in plan.jobs)
        if options.quality is not None and not lossy and options.shard == WHOLE:
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


def _check_mask(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End the process when options on masks do not go together; `options.erased`: the mask is the
    photo's transparent part, and `options.mask` then names no file."""
    options.erased = options.mask == ALPHA
    if options.soft_mask and options.mask is None:
        parser.error("--soft-mask says how to read your own mask: name it with --mask")
    if options.mask is not None and isinstance(options.dilate, str):
        parser.error(f"--dilate {options.dilate}: {OF_FACES}")
    if options.soft_mask and options.dilate and not options.erased:
        parser.error(f"--soft-mask: {NO_DILATION}")
    if options.erased and options.invert_mask:
        parser.error(f"--mask {ALPHA}: the transparent part is redrawn; leave out --invert-mask")


def _check_method(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End the process when what was asked for needs a network and --method rules that out."""
    if options.webcam is not None or options.mask is None:
        parser.error(f"--method {options.method}: {NO_MASK}; name it with --mask")
    networks = ("checkpoint", "segmenter", "landmarker", "flip", "faces", "min_face", "face_box")
    if unfit := [f"--{name.replace('_', '-')}" for name in networks if getattr(options, name)]:
        parser.error(f"--method {options.method} uses no network; leave out {', '.join(unfit)}")
    if "uncertainty" in options.save:
        parser.error(f"--method {options.method} does not say how unsure it is: --save uncertainty")


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
