"""Ctrl-C and SIGTERM in every command: one line, the signal's exit code, no traceback."""

import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from test_answer_at_once import HELP

from deocclude.engines.cli.analyses import ANALYSES

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = os.environ.get("DEOCCLUDE_ROUNDS")
INPAINTER, SEGMENTER = (
    ("--checkpoint", str(ROOT / "weights" / f"{name}.safetensors"))
    for name in ("inpainter", "segmenter")
)
EVALUATION = "deocclude.engines.evaluation"
ENSEMBLE = "deocclude.engines.ensemble.commands"
EVALUATE = "deocclude.engines.cli.evaluate"
OPEN = "deocclude.engines.training.origins:open_any_sources"

PAGE = (("app.py",), ("-m", "deocclude", "app"))
# Each command at work: its words, and the function in which the signal finds it.
WORK = [
    ("train_inpainting.py", "ablationv1", "--profile", "quick", OPEN),
    ("train_segmentation.py", "UNetLight", "--profile", "quick", OPEN),
    ("train_identity.py", "EfficientNetB0", "--profile", "quick", OPEN),
    ("deocclude.py", "photo.png", "-o", "out", "deocclude.engines.cli.photos:load"),
    ("-m", "deocclude", "photo.png", "-o", "out", "deocclude.engines.cli.photos:restore_all"),
    *((*words, "deocclude.engines.app.commands:_serve") for words in PAGE),
    ("evaluate.py", "--runs", "none", f"{EVALUATION}.compare:compare"),
    ("evaluate.py", "inpainting", "--runs", "none", f"{EVALUATION}.compare:compare"),
    ("evaluate.py", "segmentation", *SEGMENTER, f"{EVALUATION}.compare:compare"),
    ("evaluate.py", "end-to-end", *INPAINTER, f"{EVALUATE}:choose_both"),
    ("evaluate.py", "identity", f"{EVALUATE}:choose"),
    ("evaluate.py", "losses", f"{EVALUATE}:choose_with_losses"),
    *(
        ("evaluate.py", "analyse", name, *INPAINTER, "deocclude.engines.cli.analyses:import_module")
        for name in ANALYSES
    ),
    ("-m", "engines.suite", "systems", "deocclude.engines.suite.runner:plan_suite"),
    ("-m", "engines.search", "ablationv1", "deocclude.engines.search.runner:to_search"),
    ("-m", "engines.ensemble", "fit", "--members", INPAINTER[1], f"{ENSEMBLE}:members_of"),
    ("-m", "engines.ensemble", "show", INPAINTER[1], f"{ENSEMBLE}:open_inpainter"),
    ("-m", "data.occluders", "--sheet", "s.png", "deocclude.data.occluders.sheets:kinds_sheet"),
    ("-m", "data.download", "stl10", "--yes", "deocclude.data.download.sets:fetch_stl10"),
]  # fmt: skip

# Runs each line of standard input, a JSON list, in a process of its own that has PyTorch already.
INTERRUPT_EACH = """
import importlib, json, os, runpy, signal, sys, torch

root = sys.argv[1]
sys.path.insert(0, root)
for line in sys.stdin.read().splitlines():
    name, *words, where = json.loads(line)
    number = getattr(signal, name)
    module, _, function = where.partition(":")
    module = importlib.import_module(module)
    getattr(module, function)  # one that is gone would let the command do its work
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(write, 1); os.dup2(write, 2); os.close(read); os.close(write)
        setattr(module, function, lambda *_, **__: signal.raise_signal(number))
        sys.argv, code = (words[1:] if words[0] == "-m" else words), 0
        try:
            if words[0] == "-m":
                runpy.run_module(words[1], run_name="__main__", alter_sys=True)
            else:
                runpy.run_path(f"{root}/{words[0]}", run_name="__main__")
        except SystemExit as end:
            code = end.code
        sys.stdout.flush(); sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 99)
    os.close(write)
    text = open(read).read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(json.dumps({"code": code, "text": text}), flush=True)
"""
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


def run_heeding(command, **options):
    """subprocess.run of a process that heeds Ctrl-C, though a job in the background, as these tests
    may be, ignores it."""

    def heed():
        signal.signal(signal.SIGINT, signal.default_int_handler)

    heeding = heed if os.name != "nt" else None
    return subprocess.run(command, capture_output=True, text=True, preexec_fn=heeding, **options)


def environment(*folders: Path) -> dict[str, str]:
    """Of a command: this checkout, no data, no colour."""
    kept = {key: value for key, value in os.environ.items() if key != "DEOCCLUDE_DATA"}
    return kept | {"PYTHONPATH": os.pathsep.join(map(str, (*folders, ROOT)))}


def test_every_command_that_is_stopped_at_work_says_one_line(tmp_path):
    from PIL import Image

    pytest.importorskip("optuna")
    pytest.importorskip("gradio", reason="the page would say that it is missing")
    Image.new("RGB", (64, 64)).save(tmp_path / "photo.png")
    signals = itertools.cycle(("SIGINT", "SIGTERM"))
    lines = [(name, *line) for name, line in zip(signals, WORK, strict=False)]
    done = run_heeding(
        [sys.executable, "-c", INTERRUPT_EACH, str(ROOT)],
        input="\n".join(map(json.dumps, lines)),
        cwd=tmp_path,
        env=environment(),
        timeout=240,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(lines), done.stderr[-2000:]
    for (name, *words, _), answer in zip(lines, answers, strict=True):
        command = f"{name} {' '.join(words)}"
        assert answer["code"] == 128 + getattr(signal, name), f"{command}: {answer}"
        assert answer["text"].splitlines()[-1].startswith("stopped; "), f"{command}: {answer}"
        assert "Traceback" not in answer["text"], command


def test_no_command_is_forgotten():
    """`--help` is asked of every command, see test_answer_at_once."""
    options = ("--help", "--list", "usage", "  ", "inpainting")
    known = {tuple(word for word in line if word not in options) for line in HELP}
    known.discard(("evaluate.py",))
    known.discard(("-m", "engines.ensemble"))
    at_work = [line[: 3 if line[1] == "analyse" or line[0] == "-m" else 2] for line in WORK]
    missing = [each for each in known if not any(line[: len(each)] == each for line in at_work)]
    assert not missing


@pytest.mark.parametrize(
    "words",
    [
        ("train_inpainting.py", "ablationv1"),
        ("evaluate.py", "--runs", "none"),
        ("deocclude.py", "photo.png"),
        ("-m", "engines.suite", "systems"),
    ],
)
def test_a_signal_during_the_first_imports_is_one_line(tmp_path, words):
    """Third-party packages that all of these import are one that signals."""
    text = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(20)\n"
    for name in ("yaml", "psutil", "tqdm"):
        (tmp_path / f"{name}.py").write_text(text)
    script = [str(ROOT / words[0])] if words[0] != "-m" else ["-m", words[1]]
    done = run_heeding(
        [sys.executable, *script, *words[1 + (words[0] == "-m") :]],
        cwd=tmp_path,
        env=environment(tmp_path),
        timeout=60,
    )
    assert done.returncode == 130, done.stderr
    assert done.stderr.splitlines() == ["stopped; the same command goes on from here"]


def test_a_signal_in_a_destructor_is_not_lost():
    code = (
        "import signal, sys, time\nfrom deocclude import stopping\n"
        "class Odd:\n    def __del__(self): signal.raise_signal(signal.SIGTERM)\n"
        "def main():\n    Odd()\n    time.sleep(20)\n"
        "stopping.watch()\nsys.exit(stopping.run(main))"
    )
    done = run_heeding([sys.executable, "-c", code], env=environment(), timeout=60)
    said = ["stopped; the same command goes on from here"]
    assert (done.returncode, done.stderr.splitlines()) == (143, said)


@pytest.mark.slow
@pytest.mark.skipif(ROUNDS is None, reason="takes minutes: DEOCCLUDE_ROUNDS=2 asks for it")
def test_nothing_is_lost_by_kills_and_interrupts(tmp_path):
    """Signals for every long command; `python benchmarks/interrupts.py` makes it 20 of each."""
    from benchmarks import interrupts

    assert interrupts.main(["--rounds", str(ROUNDS), "--output", str(tmp_path)]) == 0
