"""What `python -m data.occluders` does: draw sheets of occluders, or write a paired set."""

import argparse
import sys

from deocclude import stopping

if __name__ == "__main__":  # Ctrl-C while the rest is imported
    stopping.watch()

from deocclude.data.faces.alignment import TEMPLATES, guess_template
from deocclude.data.faces.files import Faces, builtin_faces, folder_faces
from deocclude.data.faces.layout import SPLITS, face_images, given_splits
from deocclude.data.files import check_writable, some_path
from deocclude.data.images import open_image, save_image
from deocclude.data.occluders.cutouts import open_cutouts
from deocclude.data.occluders.drawn.kinds import KINDS, PHOTO_KINDS
from deocclude.data.occluders.mixture import Occluders
from deocclude.data.occluders.presets import PRESETS
from deocclude.data.occluders.set_files import LAYOUTS
from deocclude.data.occluders.set_writer import write_set
from deocclude.data.occluders.sheets import kinds_sheet, occluded_sheet

DESCRIPTION = """Draw a sheet of the drawn kinds (--sheet FILE; with --preset photographs of its
own ones), of occluded faces (--sheet
FILE --count 64), or write a paired set (--output DIR): occluded pictures, masks, inverted masks and
clean pictures."""
BUILTIN = 64  # built-in faces of a sheet


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m data.occluders", description=DESCRIPTION)
    what = parser.add_mutually_exclusive_group(required=True)
    add = what.add_argument
    add("--sheet", type=some_path, metavar="FILE", help="picture to draw a sheet into")
    add("--output", type=some_path, metavar="DIR", help="folder of the paired set")
    add = parser.add_argument
    add("--faces", type=some_path, metavar="DIR", help="aligned faces (default: built-in ones)")
    add("--occluders", type=some_path, metavar="DIR",
        help="RGBA cut-outs (default: drawn kinds only)")  # fmt: skip
    add("--split", choices=SPLITS, default="train", help="whose cut-outs to use (default: train)")
    add("--preset", choices=[*PRESETS], default="mixed", help="(default: mixed)")
    add("--size", type=int, default=256, help="side of the pictures in px (default: 256)")
    add("--seed", type=int, default=0, help="(default: 0)")
    add("--template", choices=["auto", *TEMPLATES], default="auto",
        help="how the faces are aligned (default: by the size of the first)")  # fmt: skip
    add("--limit", type=int, metavar="N", help="use the first N faces only")
    sheet = parser.add_argument_group("sheets")
    sheet.add_argument("--count", type=int, metavar="N", help="draw N occluded faces instead")
    add = parser.add_argument_group("paired sets").add_argument
    add("--per-image", type=int, default=20, help="pairs a face (default: 20)")
    add("--layout", choices=[*LAYOUTS], default="attention_gan", help="(default: attention_gan)")
    add("--kinds", metavar="A,B,...",
        help="give every face these kinds in turn, instead of the preset; `drawn` means all "
        "twenty")  # fmt: skip
    add("--overwrite", action="store_true", help="delete an older set in the folder first")
    return parser


def main(argv: list[str] | None = None) -> None:
    """Do what the command line says; SystemExit 1 with one line when it cannot be done."""
    options = build_parser().parse_args(argv)
    try:
        _run(options)
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: {error}") from None
    except KeyboardInterrupt as stop:
        raise SystemExit(stopping.say_stopped(stop, stopping.AGAIN)) from None


def _run(options: argparse.Namespace) -> None:
    for name in ("count", "limit"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name}: must be 1 or more, found {value}")
    check_writable([options.output or options.sheet.parent])
    faces, template = _faces(options)
    cutouts = open_cutouts(options.occluders) if options.occluders else None
    occluders = Occluders(options.size, cutouts, options.preset, template, options.seed)
    if note := occluders.describe().get("note"):
        print(note)
    if options.output:
        kinds = options.kinds.split(",") if options.kinds else None
        kinds = [*KINDS] if kinds == ["drawn"] else kinds
        rows = write_set(
            faces, occluders, options.output, options.per_image, options.layout, options.split,
            kinds, options.overwrite,
        )  # fmt: skip
        images = len({row.image for row in rows})
        print(f"{options.output}: {len(rows)} pairs of {images} faces, {options.layout} layout")
        return
    if options.count:
        sheet = occluded_sheet(faces, occluders, options.split, options.count)
    else:
        photographs = options.preset == "photographs"
        preset, kinds = ("photographs", PHOTO_KINDS) if photographs else ("drawn", KINDS)
        occluders = Occluders(
            options.size, None, preset, template, options.seed, eyeglasses="redraw"
        )
        sheet = kinds_sheet(faces, occluders, options.split, kinds=tuple(kinds))
    save_image(options.sheet, sheet)
    print(f"{options.sheet}: {sheet.shape[1]} x {sheet.shape[0]} px")


def _faces(options: argparse.Namespace) -> tuple[Faces, str]:
    """The faces and the template that they are aligned to."""
    if options.faces is None:
        if options.output:
            raise ValueError("--output needs --faces, a folder of aligned faces")
        template = "ffhq" if options.template == "auto" else options.template
        return builtin_faces("train", options.limit or BUILTIN, options.size), template
    files = face_images(options.faces)
    if not files:
        raise FileNotFoundError(f"{options.faces}: no images (jpg, png, webp, bmp)")
    parts = [part.folder.name for part in given_splits(options.faces).values()]
    if len(parts) > 1:
        print(f"{len(files)} faces, of {', '.join(parts)} together; --faces names one of them")
    template = options.template
    if template == "auto":
        template = guess_template(*open_image(files[0]).size)
    return folder_faces(files[: options.limit], options.faces, options.size), template


if __name__ == "__main__":
    if code := stopping.run(main):
        sys.exit(code)
