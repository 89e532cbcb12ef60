"""The page in the browser: pictures in, the mask shown and mended, the restored face out.

    python app.py                        on this machine only, at the address that is printed
    deocclude app --open                 the same once installed, and opens the browser
    python app.py --host 0.0.0.0         for others too: read docs/app.md first

It needs `pip install -e ".[app]"`. Uploads lie in a temporary folder of the page's own and are
deleted when the tab that sent them is closed, all of them when this program ends.
"""

import argparse
import os
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

from deocclude.data.files import some_text
from deocclude.engines.app.limits import LOCAL, Limits
from deocclude.engines.options import BACKENDS, DEVICE, at_least
from deocclude.engines.runs.chosen import choose_weights
from deocclude.engines.runs.places import RUNS
from deocclude.stopping import say_stopped

HEEDED = "GRADIO_ROOT_PATH"  # where a proxy has the page; others would open files or share it
INSTALL = 'the page needs Gradio: pip install -e ".[app]"'


def _host(text: str) -> str:
    return some_text(text).removeprefix("[").removesuffix("]")  # of IPv6, as in an address


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deocclude app", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add, limits = parser.add_argument, Limits()
    add(
        "--host",
        type=_host,
        default=os.environ.get("GRADIO_SERVER_NAME") or LOCAL[1],
        help="address to listen at: this machine alone (default: 127.0.0.1, or\n"
        "GRADIO_SERVER_NAME), or 0.0.0.0 for everybody who can reach it",
    )
    port = os.environ.get("GRADIO_SERVER_PORT") or None
    words = "default: GRADIO_SERVER_PORT, or the first free one from 7860 on"
    add("--port", type=at_least(1, 65535), default=port, help=words)
    add("--open", action="store_true", help="open the page in the browser")
    words = "offered first: sharp (default), faithful, a run, an ensemble's YAML, a file"
    add("--checkpoint", type=some_text, metavar="WEIGHTS", help=f"the inpainter {words}")
    words = "a weights file or a run (default: the one that ships)"
    add("--segmenter", type=some_text, metavar="WEIGHTS", help=words)
    add("--device", **DEVICE)
    words = "what computes the networks' answers on a CPU; onnx prepares them first"
    add("--backend", choices=BACKENDS, default="auto", help=words)
    most = {
        "--max-megabytes": (limits.bytes // 1_000_000, "one upload"),
        "--max-megapixels": (limits.pixels // 1_000_000, "one photo"),
        "--max-seconds": (int(limits.seconds), "one task, many photos or a video"),
        "--max-files": (limits.files, "one task"),
    }
    for name, (default, what) in most.items():
        words = f"of {what} (default: %(default)s)"
        add(name, type=at_least(1), default=default, metavar="N", help=words)
    return parser


def main(argv: list[str] | None = None) -> None:
    """Serve the page until Ctrl-C; SystemExit 1 for what cannot be."""
    options = build_parser().parse_args(argv)
    if find_spec("gradio") is None:
        raise SystemExit(f"error: {INSTALL}")
    limits = Limits(
        options.max_megabytes * 1_000_000,
        options.max_megapixels * 1_000_000,
        options.max_seconds,
        options.max_files,
    )
    try:
        named = {"inpainting": options.checkpoint, "segmentation": options.segmenter}
        for task, name in named.items():  # what is wrong is said before anything slow
            print(choose_weights(name, task, RUNS)[1])
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: {error}") from None
    folder = Path(tempfile.mkdtemp(prefix="deocclude-app-"))
    for name in [name for name in os.environ if name.startswith("GRADIO_") and name != HEEDED]:
        del os.environ[name]
    # Read when Gradio is imported: its temporary files, and no word to anybody.
    os.environ |= {
        "GRADIO_TEMP_DIR": str(folder),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    try:
        _serve(options, limits, folder)
    except (OSError, ValueError) as error:
        raise SystemExit(f"error: {error}") from None
    except KeyboardInterrupt as stop:
        raise SystemExit(say_stopped(stop, "the page is closed, every upload deleted")) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _serve(options: argparse.Namespace, limits: Limits, folder: Path) -> None:
    from deocclude.engines.app.models import Models
    from deocclude.engines.app.serving import Server

    models = Models(options.checkpoint, options.segmenter, options.device, options.backend)
    models.get(None, "photo")  # the first visitor waits for nothing
    with Server(models, folder, limits, options.host, options.port) as server:
        others = "" if server.local else ", open to others"
        print(f"the page: {server.address}{others}", flush=True)  # into a pipe too, at once
        print("Ctrl-C ends it", flush=True)
        if options.open:
            import webbrowser

            webbrowser.open(server.address)
        server.wait()
