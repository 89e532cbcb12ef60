"""A plan carried out: photos and videos one after the other, on the console and in the manifest."""

from functools import partial

from deocclude.engines.photos.deoccluder import Deoccluder
from deocclude.engines.photos.files import restore_file
from deocclude.engines.photos.jobs import Choices, Job, Plan
from deocclude.engines.photos.manifest import Manifest, Row, failure, report, run_jobs, summary
from deocclude.engines.photos.video import restore_video
from tqdm import tqdm


def restore_all(
    deoccluder: Deoccluder, plan: Plan, choices: Choices, manifest: Manifest
) -> list[Row]:
    """Every job of the plan, with a progress bar, lines on the console and the manifest."""
    frames = partial(tqdm, leave=False, unit="frame", disable=None)  # None: none in a pipe

    def restore(job: Job) -> Row:
        if job.is_video:
            return restore_video(
                deoccluder, job, choices, lambda it, total, name: frames(it, total=total, desc=name)
            )
        return restore_file(deoccluder, job, choices)

    for line in plan.notices:
        print(line)
    rows = [failure(source, reason) for source, reason in plan.failures]
    try:
        for row in rows:
            report(row, tqdm.write)
            manifest.add(row)
        what = _kind(plan)
        bar = tqdm(plan.jobs, desc=what, disable=None if len(plan.jobs) > 1 else True)
        rows += run_jobs(bar, restore, manifest, tqdm.write)
    finally:
        manifest.close()
    print(summary(rows, plan.output, what))
    return rows


def _kind(plan: Plan) -> str:
    kinds = {job.is_video for job in plan.jobs}
    return "inputs" if len(kinds) > 1 else "videos" if True in kinds else "photos"
