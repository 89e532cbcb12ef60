"""Photos, videos and the camera restored, as `engines.cli.restore` was asked to."""

import argparse
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from deocclude.engines.inference.backends import AUTO
from deocclude.engines.inference.networks import leave_cores
from deocclude.engines.jobs.kinds import is_animated
from deocclude.engines.jobs.manifest import (
    Manifest,
    ManifestRow,
    kind_of,
    rows_beside,
    run_jobs,
    summary,
)
from deocclude.engines.jobs.plan import NETWORK, Choices, Job, Plan
from deocclude.engines.jobs.shards import WHOLE
from deocclude.engines.moving.restorer import LIVE_REST, FrameRestorer
from deocclude.engines.moving.video import restore_video
from deocclude.engines.moving.virtual_camera import VirtualCamera
from deocclude.engines.moving.webcam import LiveWindow, open_camera, run_webcam
from deocclude.engines.photos.classical import ClassicalRestorer
from deocclude.engines.photos.deoccluder import Deoccluder, load_deoccluder
from deocclude.engines.photos.detection import FINDERS, KINDS, FaceDetector
from deocclude.engines.photos.face import FaceChoice
from deocclude.engines.photos.files import restore_file
from deocclude.engines.video.files import open_reader
from deocclude.progress import Bar

MANY = 500  # pictures that save as much time as making the graphs takes: docs/onnx.md


def load(
    options: argparse.Namespace, weights: Mapping[str, Path], lasting: bool = False
) -> Deoccluder | ClassicalRestorer:
    """The networks in these weights files, by task, or the method that needs none. `lasting`: the
    work is worth the time that a faster backend takes to prepare."""
    if options.method != NETWORK:
        return ClassicalRestorer(options.method)
    deoccluder = load_deoccluder(
        weights["inpainting"],
        options.device,
        weights.get("segmentation"),
        backend=options.backend,
        make=lasting,
        say=print,
        batch=options.batch,
        flip=options.flip,
    )
    leave_cores(deoccluder.inpainter, deoccluder.segmenter)
    detector = FaceDetector(
        options.landmarker,
        kinds=KINDS if options.whole else FINDERS,
        template=deoccluder.inpainter.template,
        choice=FaceChoice(options.faces, options.min_face or 0, tuple(options.face_box or ())),
        small_faces=options.webcam is None,  # a tenth of a second that a live picture lacks
    )
    return replace(deoccluder, detector=detector)


def watch(options: argparse.Namespace, weights: Mapping[str, Path], choices: Choices) -> None:
    """Restore what the camera sees until its window is closed or, with a virtual camera, Ctrl-C."""
    virtual = options.virtual_camera
    display = LiveWindow() if virtual is None else VirtualCamera(virtual)
    camera = None
    try:
        camera = open_camera(options.webcam)  # what is not there is said before networks are read
        deoccluder = load(options, weights, lasting=True)
        assert isinstance(deoccluder, Deoccluder)
        restore = FrameRestorer(deoccluder, choices, rest=LIVE_REST)
        run_webcam(restore, options.webcam, camera, display, labelled=virtual is None)
    finally:
        if camera is not None:
            camera.release()
        display.close()


def is_lasting(options: argparse.Namespace, plan: Plan) -> bool:
    """Whether a plan is worth preparing networks for: MANY pictures, photos or frames."""
    if options.method != NETWORK or options.backend != AUTO:
        return False
    count = 0
    for job in plan.jobs:
        count += _pictures(job)
        if count >= MANY:
            return True
    return False


def _pictures(job: Job) -> int:
    """About how many pictures an input has: none of one that cannot be read, many where nobody
    knows."""
    if not job.is_video:
        return 1
    try:
        reader = open_reader(job.source, is_animated(job.source))
    except Exception:  # said when its turn comes
        return 0
    reader.close()
    return MANY if reader.expected is None else reader.expected


def restore_all(
    deoccluder: Deoccluder | ClassicalRestorer | None,
    plan: Plan,
    choices: Choices,
    manifest: Manifest,
) -> list[ManifestRow]:
    """Every job of the plan, with a progress bar, lines on the console and the manifest."""
    frames = partial(Bar, leave=False, unit="frame")

    def restore(job: Job) -> ManifestRow:
        if job.is_video:
            return restore_video(
                deoccluder, job, choices, lambda it, total, name: frames(it, total=total, desc=name)
            )
        return restore_file(deoccluder, job, choices)

    for line in plan.notices:
        print(line)
    rows = rows_beside(plan)
    for row in rows:
        if row.status == "failed":
            manifest.report(row)
    if existing := plan.existing:
        several = f"{len(existing)} results exist already, e.g. {existing[0].output}"
        one = f"{existing[0].output}: exists already"
        print(
            f"error: {several if len(existing) > 1 else one}; --overwrite replaces, "
            "--skip-existing passes over"
        )
    try:
        if plan.shard != WHOLE:  # so that what a killed part leaves undone stands in its manifest
            manifest.add(*(ManifestRow(str(job.source), status="not begun") for job in plan.jobs))
        if rows:
            manifest.add(*rows)
        what = kind_of([job.is_video for job in plan.jobs])
        with Bar(plan.jobs, what, unit=what[:-1], seen=len(plan.jobs) > 1) as bar:
            done = run_jobs(bar, restore, manifest)
        rows += done
        print(summary(Counter(row.status for row in rows), plan.output, what))
        if left := len(plan.jobs) - len(done):
            print(f"stopped: nothing more can be written there; {left} {what} were not begun")
    finally:
        manifest.close()
    return rows
