"""Every long command killed and interrupted at random moments, and continued: is anything lost?

    python benchmarks/interrupts.py --rounds 20 --output /somewhere/empty
    python benchmarks/interrupts.py --commands training photos --signals SIGKILL --rounds 5

Each command runs once undisturbed. Then it is started again and again in a folder of its own and
sent the signal after a random time, until it has got `rounds` of them; whenever it comes to its
end, that end is compared with the undisturbed one, bit for bit but for times. Counted too:
tracebacks, exit codes that do not belong to the signal, and temporary files that are left. Tiny
networks on built-in faces and on examples/, on the CPU with one thread; nothing is downloaded.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from deocclude import stopping
from deocclude.engines.cli.restore import build_parser

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.executable
TINY = [
    "data.size=32", "data.builtin_images=24", "data.validation_pairs=6", "data.test_per_bin=1",
    "training.epochs=4", "training.epoch_images=24", "training.batch_size=4",
    "training.max_minutes=null", "training.mixed_precision=no", "training.log_steps=1",
    "training.checkpoint_minutes=0.002", "data.workers=2",
]  # fmt: skip
RUN = "vgg19_generator_pixel_only"
OTHER = "UNetLight"
NARROW = ["model.width=8"]
TIMES = ("seconds", "minutes", "images_per_second", "time", "started", "written", "now")
SLOWEST = 600.0  # seconds that a command may take to its end


def sets(*more: str) -> list[str]:
    """The settings as options."""
    return [part for text in (*TINY, *more) for part in ("--set", text)]


@dataclass
class Command:
    """A command: its words in a folder, the words that go on with it, and what its end is."""

    start: Callable[[Path], list[str]]
    end: Callable[[Path], dict]
    again: Callable[[Path], list[str]] | None = None
    prepare: Callable[[Path], None] = lambda folder: None

    def words(self, folder: Path) -> list[str]:
        """What a user would type now."""
        return (self.again or self.start)(folder)


def train(folder: Path) -> list[str]:
    """Training, continued where there is a checkpoint."""
    words = [PYTHON, str(ROOT / "train_inpainting.py")]
    saved = [*folder.glob("runs/*/*/last"), *folder.glob("runs/*/*/.last.old")]
    if saved:
        return [*words, "--resume", str(saved[0].parent), "--device", "cpu"]
    shutil.rmtree(folder / "runs", ignore_errors=True)  # a folder without a checkpoint
    return [*words, RUN, "--profile", "quick", "--device", "cpu", *sets(*NARROW)]


def suite(folder: Path) -> list[str]:
    """Two runs and their table."""
    text = f"name: two\nruns: [{RUN}, vgg19_generator]\nbaselines: mean_colour\n"
    (folder / "two.yaml").write_text(text)
    words = [PYTHON, "-m", "engines.suite", str(folder / "two.yaml"), "--profile", "quick"]
    return [*words, "--device", "cpu", *sets(*NARROW, "training.epochs=2")]


def search(folder: Path) -> list[str]:
    """Three trials."""
    words = [PYTHON, "-m", "engines.search", RUN, "--profile", "quick", "--trials", "3"]
    return [*words, "--epochs", "2", "--device", "cpu", *sets(*NARROW)]


def evaluate(folder: Path) -> list[str]:
    """A trained run beside every baseline."""
    words = [PYTHON, str(ROOT / "evaluate.py"), "--per-bin", "4", "--workers", "2"]
    return [*words, "--fid", "off", "--lpips", "off", "--identity", "off", "--device", "cpu"]


def photos(folder: Path) -> list[str]:
    """A folder of photos."""
    words = [PYTHON, str(ROOT / "deocclude.py"), "photos", "-o", "out", "--save", "mask"]
    skip = [option for option in ("--skip-existing",) if option in build_parser().format_help()]
    return [*words, "--device", "cpu", *skip]


def lay_out_photos(folder: Path) -> None:
    """The example faces twice."""
    faces = sorted((ROOT / "examples").rglob("*.jpg")) + sorted((ROOT / "examples").rglob("*.png"))
    for number, face in enumerate(faces[:6] * 2):
        target = folder / "photos" / f"{number % 2}" / f"{number}{face.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(face, target)


def runs_end(folder: Path) -> dict:
    """Weights, metrics and logs of every run below a folder."""
    found: dict = {}
    for run in sorted(path.parent for path in folder.glob("**/config.yaml")):
        name = run.parent.name
        for file in ("last/networks.safetensors", "best.safetensors"):
            if (run / file).is_file():
                tensors = load_file(run / file)
                found[f"{name}/{file}"] = {key: each.numpy() for key, each in tensors.items()}
        if (run / "metrics.csv").is_file():
            found[f"{name}/metrics"] = without_times(pd.read_csv(run / "metrics.csv"))
        lines = (run / "log.jsonl").read_text().splitlines()
        found[f"{name}/log"] = without_times(pd.DataFrame([json.loads(line) for line in lines]))
    return found


def without_times(frame: pd.DataFrame) -> dict:
    """Columns of a table, those aside that say how long something took."""
    kept = [name for name in frame if not any(part in name.lower() for part in TIMES)]
    return {name: frame[name].to_numpy() for name in kept}


def rows_end(folder: Path) -> dict:
    """Every row's values, and the table's."""
    return {
        path.relative_to(folder).as_posix(): without_times(pd.read_csv(path))
        for path in sorted(folder.glob("runs/evaluation/**/*.csv"))
    }


def suite_end(folder: Path) -> dict:
    """Its runs, and its table."""
    return runs_end(folder) | {
        path.name: without_times(pd.read_csv(path))
        for path in sorted(folder.glob("runs/suites/**/summary.csv"))
    }


def search_end(folder: Path) -> dict:
    """The weights and the score of every trial that is done, and the best."""
    (summary,) = folder.glob("runs/search/*/summary.csv")
    frame = pd.read_csv(summary)
    done = frame[frame["state"].str.lower().isin(["complete", "pruned"])]
    kept = [c for c in without_times(done) if c not in ("trial", "remark", "run", "number")]
    (best,) = folder.glob("runs/search/*/best.yaml")
    weights = [line for line in best.read_text().splitlines() if "weight:" in line]
    values = {name: done[name].to_numpy() for name in kept if name != "best_epoch"}
    return values | {"epochs": done["best_epoch"].tolist(), "best": weights}


def photos_end(folder: Path) -> dict:
    """Every picture, and what the manifest says of each input."""
    frame = pd.read_csv(folder / "out" / "manifest.csv").sort_values("input")
    found = {name: frame[name].to_numpy() for name in ("input", "output", "status", "hole_ratio")}
    pictures = sorted((folder / "out").rglob("*.png"))
    return found | {
        path.relative_to(folder).as_posix(): np.asarray(Image.open(path)) for path in pictures
    }


def lay_out_run(folder: Path) -> None:
    """A finished run to evaluate."""
    subprocess.run(train(folder), cwd=folder, env=environment(), check=True, capture_output=True)


COMMANDS = {
    "training": Command(train, runs_end),
    "suite": Command(suite, suite_end),
    "search": Command(search, search_end),
    "evaluation": Command(evaluate, rows_end, prepare=lay_out_run),
    "photos": Command(photos, photos_end, prepare=lay_out_photos),
}


def environment() -> dict[str, str]:
    """Of every process: one thread, this checkout."""
    kept = {key: value for key, value in os.environ.items() if key != "DEOCCLUDE_DATA"}
    return kept | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


@dataclass
class Count:
    """What happened to one command under one signal."""

    command: str
    signal: str
    sent: int = 0
    ends: int = 0
    equal: int = 0
    tracebacks: int = 0
    codes: list[int] = field(default_factory=list)  # that do not belong to the signal
    left: list[str] = field(default_factory=list)
    differ: list[str] = field(default_factory=list)


def equals(one: object, other: object) -> bool:
    """Whether two ends, or parts of them, are the same, bit for bit."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equals(one[k], other[k]) for k in one)
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        same = pd.Series(one.ravel()).equals(pd.Series(other.ravel()))  # NaN equals NaN
        return one.shape == other.shape and same
    return one == other


def launch(words: list[str], folder: Path) -> subprocess.Popen:
    """The command in a process group of its own, as a terminal has it."""
    with open(folder / "said.txt", "ab") as said:
        said.write(f"\n$ {' '.join(words)}\n".encode())
        said.flush()
        return subprocess.Popen(
            words, cwd=folder, env=environment(), stdout=said, stderr=said, start_new_session=True
        )


def torment(name: str, number: signal.Signals, rounds: int, whole: Path, output: Path) -> Count:
    """Send a command `rounds` signals, and compare each end that it comes to."""
    command, count = COMMANDS[name], Count(name, number.name)
    expected, dice = command.end(whole), random.Random(f"{name} {number.name}")
    typical = float((whole / "seconds").read_text())
    while True:
        folder = output / f"{name}-{number.name}-{count.ends}"
        copy_prepared(name, output, folder)
        while True:
            process = launch(command.words(folder), folder)
            wait = None if count.sent >= rounds else dice.uniform(0.05, 1.1) * typical
            try:
                code = process.wait(wait or SLOWEST)
            except subprocess.TimeoutExpired:
                if wait is None:
                    raise
                os.killpg(process.pid, number)
                code = process.wait(SLOWEST)
                count.sent += 1
                if code not in (0, -number, 128 + number):
                    count.codes.append(code)
                if code != 0:
                    continue
            if code != 0 and wait is not None and code in (-number, 128 + number):
                continue
            if code != 0:
                count.codes.append(code)
            break
        count.ends += 1
        found = command.end(folder)
        same = equals(found, expected)
        count.equal += same
        if not same:
            keys = [k for k in {*found, *expected} if not equals(found.get(k), expected.get(k))]
            count.differ += keys
        said = (folder / "said.txt").read_text(errors="replace")
        said += "".join(p.read_text(errors="replace") for p in folder.glob("runs/suites/*/logs/*"))
        count.tracebacks += said.count("Traceback")
        known = [*folder.rglob(".*"), *folder.rglob("*.partial*")]
        count.left += [str(p.relative_to(folder)) for p in known if p.name != ".cache"]
        print(count, flush=True)
        if count.sent >= rounds:
            return count


def copy_prepared(name: str, output: Path, folder: Path) -> None:
    """A folder with what the command needs before it starts."""
    prepared = output / f"{name}-prepared"
    if not prepared.exists():
        prepared.mkdir(parents=True)
        COMMANDS[name].prepare(prepared)
    shutil.copytree(prepared, folder)


def undisturbed(name: str, output: Path) -> Path:
    """The folder of a run to the end, with the seconds that it took."""
    folder = output / f"{name}-whole"
    copy_prepared(name, output, folder)
    start = time.monotonic()
    code = launch(COMMANDS[name].words(folder), folder).wait(SLOWEST)
    if code:
        raise RuntimeError(f"{name}: exit code {code}, see {folder / 'said.txt'}")
    (folder / "seconds").write_text(f"{time.monotonic() - start:.2f}")
    return folder


def main(argv: list[str] | None = None) -> int:
    """The exit code: 0 when nothing was lost, 1 else."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--commands", nargs="+", choices=COMMANDS, default=[*COMMANDS])
    add("--signals", nargs="+", default=["SIGKILL", "SIGINT"], help="(SIGKILL SIGINT)")
    add("--rounds", type=int, default=20, help="signals of each kind for each command (20)")
    add("--output", type=Path, required=True, help="an empty folder")
    arguments = parser.parse_args(argv)
    output = arguments.output.resolve()
    counts = []
    for name in arguments.commands:
        whole = undisturbed(name, output)
        for each in arguments.signals:
            counts.append(torment(name, signal.Signals[each], arguments.rounds, whole, output))
    print("| command | signal | sent | ends | equal | tracebacks | other exit codes | left |")
    print("|---|---|---|---|---|---|---|---|")
    for c in counts:
        cells = (c.command, c.signal, c.sent, c.ends, c.equal, c.tracebacks, len(c.codes))
        print(f"| {' | '.join(map(str, cells))} | {len(c.left)} |")
    good = all(c.equal == c.ends and not (c.tracebacks or c.codes or c.left) for c in counts)
    return int(not good)


if __name__ == "__main__":
    stopping.watch()
    sys.exit(stopping.run(main))
