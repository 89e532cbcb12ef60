"""Redraw what covers a face: a photo and its mask in, the restored photo out.

    python deocclude.py photo.png --mask mask.png --checkpoint best.safetensors -o restored.png
    python deocclude.py photos/ --mask masks/ --checkpoint best.safetensors -o restored/

The mask is white where the picture is to be redrawn; outside of it not one pixel changes.
"""

import argparse
from pathlib import Path

from tqdm import tqdm

from engines.inference import load_deoccluder, newest_checkpoint
from engines.photos import plan_jobs, restore_all, restore_file

RUNS = Path("runs")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deocclude.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add = parser.add_argument
    add("photo", type=Path, help="a photo, or a folder of photos")
    add("--mask", type=Path, help="white = redraw; a file, or a folder paired with photos by stem")
    add("--checkpoint", type=Path, help="best.safetensors of a run (default: the newest in runs/)")
    add("-o", "--output", type=Path, help="file or folder for the result (default: beside PHOTO)")
    add("--invert-mask", action="store_true", help="the mask is black where to redraw")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    add("--overwrite", action="store_true", help="replace results that exist already")
    add("--save", choices=["side-by-side"], help="also save photo, mask and result in one picture")
    return parser


def main(argv: list[str] | None = None) -> None:
    """Restore what the command line names; SystemExit 1 when anything failed."""
    options = build_parser().parse_args(argv)
    if options.mask is None:
        raise SystemExit(
            "error: automatic masks are not available yet; give --mask FILE, a picture that "
            "is white where the photo is to be redrawn and black elsewhere"
        )
    try:
        plan = plan_jobs(options.photo, options.mask, options.output, options.save is not None)
        checkpoint = options.checkpoint or newest_checkpoint(RUNS)
        if checkpoint is None:
            raise SystemExit(
                f"error: no trained weights under {RUNS}/; train some with\n"
                "    python train_inpainting.py Reconstruction\n"
                "or name a file with --checkpoint"
            )
        if options.checkpoint is None:
            print(f"weights: {checkpoint} (the newest finished run; --checkpoint names another)")
        deoccluder = load_deoccluder(checkpoint, options.device)
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: {error}") from None

    for line in plan.notices + [f"error: {failure}" for failure in plan.failures]:
        print(line)
    failures = plan.failures + restore_all(
        tqdm(plan.jobs, desc="photos", disable=len(plan.jobs) < 2),
        lambda job: restore_file(deoccluder, job, options.invert_mask, options.overwrite),
        tqdm.write,
    )
    total = len(plan.jobs) + len(plan.failures)
    print(
        f"{total - len(failures)} of {total} photos restored, {len(failures)} failed: {plan.output}"
    )
    if failures:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
