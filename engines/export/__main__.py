"""Write a trained network as an ONNX file: `python -m engines.export RUN -o model.onnx`.

Inpainters take `occluded` and `mask` and answer with `prediction`; segmenters take `image` and
answer with `logits`, identity networks with `embedding` and `logits`. Ranges, polarity, size and
licence stand in the file's metadata. What is written is compared with PyTorch's answers.
"""

import argparse
import sys
from pathlib import Path

from deocclude import stopping

if __name__ == "__main__":  # Ctrl-C while the rest is imported
    stopping.watch()

from deocclude.data.files import check_writable, some_path, some_text
from deocclude.engines.graphs.description import SUFFIX, is_onnx
from deocclude.engines.graphs.packages import RUNTIME, WRITER, OnnxError, need
from deocclude.engines.options import add_evaluation, at_least, command_parser
from deocclude.engines.runs.console import say_progress
from deocclude.engines.runs.members import named_files
from deocclude.engines.runs.metadata import SHIPPED
from deocclude.engines.runs.released import shipped_file
from deocclude.engines.runs.tasks import SEGMENTATION

SEGMENTER = "segmenter"  # names the one that ships


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = command_parser("python -m engines.export", __doc__)
    add = parser.add_argument
    named = (
        "a run's name (UNet, UNet/002) or folder, a weights file, an ensemble's YAML, or what "
        f"ships: sharp, faithful, {SEGMENTER}"
    )
    add("network", type=some_text, metavar="RUN", help=named)
    add("-o", "--output", type=some_path, required=True, metavar="FILE.onnx")
    free = "fix height and width to N pixels (any size, where the network can; else its training's)"
    add("--size", type=at_least(32), metavar="N", help=free)
    add("--overwrite", action="store_true", help="replace that file if it exists")
    add_evaluation(parser, "runs-folder")
    return parser.parse_args(argv)


def check(arguments: argparse.Namespace) -> Path:
    """The weights file; raises, before PyTorch is imported, what would be wrong."""
    output = arguments.output
    if not is_onnx(output):
        raise OnnxError(f"{output}: an ONNX file's name ends with {SUFFIX}")
    if is_onnx(arguments.network):
        raise OnnxError(f"{arguments.network}: is an ONNX file already")
    if arguments.network == SEGMENTER:
        file = shipped_file(SEGMENTATION)
    else:
        inpainter = "sharp" if arguments.network == SHIPPED else arguments.network
        (file,) = named_files(inpainter, arguments.runs_folder)
    if output.exists() and not arguments.overwrite:
        raise OnnxError(f"{output}: exists already; --overwrite replaces it")
    check_writable([output.parent])
    need("onnx")
    need(RUNTIME)
    return file


@stopping.answering("nothing was written")
def main(argv: list[str] | None = None) -> None:
    """Write the file."""
    arguments = parse(argv)
    say_progress()
    file = check(arguments)
    need(WRITER)
    from deocclude.engines.export.opening import open_exportable
    from deocclude.engines.export.writing import TOLERANCE, write_graph

    print(f"network: {file}")
    network = open_exportable(file)
    any_size = arguments.size is None
    written = write_graph(network, arguments.output, any_size, arguments.size)
    told = written.told
    if written.why_fixed:
        print(f"height and width are fixed to {told.size}: {written.why_fixed}")
    sides = "any size" if told.any_size else f"{told.size} x {told.size}"
    print(f"{', '.join(network.inputs)} -> {', '.join(network.outputs)}; any batch, {sides}")
    print(f"as PyTorch to {written.difference:.1g} (at most {TOLERANCE:.0g} is allowed)")
    if licence := (told.release or {}).get("licence"):
        print(f"licence of these weights: {licence}")
    print(f"{arguments.output}  {arguments.output.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    sys.exit(stopping.run(main))
