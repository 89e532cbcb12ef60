"""Speed and memory of a training step, ours beside the public loop's order, in one run.

    python benchmarks/training.py
    python benchmarks/training.py --public --runs Reconstruction occlufix student_alone
    python benchmarks/training.py --loader

The headline is images a second of data + a `train_step` of ours; the split of our
step comes from hooks at its seams. `benchmarks/public_loop.py` says what the public order is. Ours
and theirs take turns on the same batches; the ratio is the median over neighbouring repetitions.
Peak memory is that of a fresh process for each case.
"""

import argparse
import json
import math
import subprocess
import sys
from pathlib import Path
from statistics import median

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.loader import LoaderCase, measure_loader
from benchmarks.program import again, carry_out, machine, publish
from benchmarks.public_loop import LOOPS
from benchmarks.steps import BESIDE, OURS, PARTS, Case, measure_case, memory_of
from deocclude import stopping
from deocclude.data.faces.cache import cache_faces
from deocclude.data.files import some_path, write_text
from deocclude.data.sources.holes import open_sources
from deocclude.data.sources.root import data_root
from deocclude.engines.options import DEVICE, at_least
from deocclude.engines.report.tables import MISSING, Cell, Table
from deocclude.engines.runs.config import ConfigError, load_config
from deocclude.engines.runs.runtime import start_runtime
from deocclude.engines.runs.settings import RunConfig

VARIANTS = ("Reconstruction", "ablationv1", "ablationv2", "ablationv3")
TARGET = 1.3  # how many times as fast as the public order ours must be, on two CPU cores
LARGE = 128  # px; above it the batch is smaller
TOLERANCE = 1e-3  # relative difference of gradients; fp32 rounding stays well below
TITLES = {
    OURS: "ours",
    "frozen": "public order, VGG frozen",
    "kept": "public order, VGG gradients kept",
}


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--sizes", type=at_least(1), nargs="+", metavar="PX", help="default: 64 256; loader: 256")
    add("--runs", nargs="+", default=list(VARIANTS), metavar="RUN", help="default: the four")
    add("--batch", type=at_least(1), help=f"default: 16 up to {LARGE} px, else 4; loader: 8")
    add("--steps", type=at_least(1), default=5, help="repetitions that count (default: 5)")
    add("--warm-up", type=at_least(1), default=1, help="repetitions that do not (default: 1)")
    add("--public", nargs="*", default=list(LOOPS), choices=LOOPS,
        help="orders to compare with (see public_loop.py; default: both; bare: none)")  # fmt: skip
    add("--threads", type=at_least(1), help="of PyTorch on the CPU (default: PyTorch's choice)")
    add("--device", **DEVICE)
    add("--precision", default="no", choices=("no", "bf16"))
    add("--data", metavar="DIR", help="data folder (default: $DEOCCLUDE_DATA, else datasets/)")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="e.g. data.masks=builtin")
    add("--memory", action=argparse.BooleanOptionalAction, default=True, help="measure it or not")
    add("--csv", type=some_path, metavar="FILE", help="write the numbers there too")
    add("--markdown", type=some_path, metavar="FILE", help="write the tables there too")
    add("--loader", action="store_true", help="measure the loader alone instead")
    add("--images", type=at_least(1), default=600, help="of the loader's measurement (600)")
    add("--memory-of", choices=(OURS, *LOOPS), help=argparse.SUPPRESS)  # one case, as JSON
    arguments = parser.parse_args(argv)
    arguments.sizes = arguments.sizes or ([256] if arguments.loader else [64, 256])
    return arguments


def configure(arguments: argparse.Namespace, run: str, size: int) -> RunConfig:
    """The run as published at this size, with random weights: speed does not depend on them."""
    batch = arguments.batch or (8 if arguments.loader else 16 if size <= LARGE else 4)
    config = load_config(run, None, [
        "downloads=false",
        "training.features_weights=random",
        f"data.size={size}",
        f"training.batch_size={batch}",
        "training.accumulate=1",
        f"training.mixed_precision={arguments.precision}",
        *arguments.set,
    ])  # fmt: skip
    if not arguments.public:
        return config
    if config.as_published:
        raise ConfigError(f"{run}: the comparison is of the corrected update; as_published is set")
    if len(config.discriminators) != 1:
        found = ", ".join(config.discriminators) or "none"
        raise ConfigError(f"{run}: the public order needs one discriminator, this run has {found}")
    return config


def measure_memory(arguments: argparse.Namespace, run: str, size: int, loop: str) -> dict:
    """`memory_of` in a fresh process of this script."""
    same = ("precision", "device", "batch", "threads", "set")
    command = [*again(__file__, arguments, same), "--memory-of", loop]
    command += ["--runs", run, "--sizes", str(size), "--public", *arguments.public]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"memory of {run}, {size} px, {loop}: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(arguments: argparse.Namespace, root: Path | None) -> list[Case]:
    """Every variant at every size."""
    wanted = [(run, size) for size in arguments.sizes for run in arguments.runs]
    configs = {case: configure(arguments, *case) for case in wanted}
    loops = [OURS, *arguments.public]
    memory = {}
    for run, size in wanted if arguments.memory else ():
        say(f"memory: {run}, {size} px")
        memory[run, size] = {n: measure_memory(arguments, run, size, n) for n in loops}
    cases = []
    count = arguments.steps + arguments.warm_up
    for (run, size), config in configs.items():
        say(f"time: {run}, {size} px, batch {config.training.batch_size}")
        runtime = start_runtime(arguments.precision, arguments.device, config.training.seed)
        sources = open_sources(config.data, root)
        faces = sources.faces("train")
        faces = faces.subset(range(min(len(faces), count * config.training.batch_size)))
        faces = cache_faces(faces, "ram", config.data.cache_gib, Path())
        case = measure_case(
            config, runtime, faces, sources, arguments.public, arguments.steps, arguments.warm_up
        )
        case.memory = memory.get((run, size), {})
        cases.append(case)
    return cases


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def records(cases: list[Case]) -> pd.DataFrame:
    """One line a case and loop, numbers in full."""
    rows = []
    for case in cases:
        for loop in (OURS, *case.loops):
            row = {"run": case.run, "size": case.size, "batch": case.batch, "loop": loop}
            names = ("images_per_second", "lowest", "highest")
            row |= dict(zip(names, case.rate(loop), strict=True))
            row |= {f"memory_{k}_mib": v for k, v in case.memory.get(loop, {}).items()}
            if loop == OURS:
                row |= {f"{part} s": median(case.parts[part]) for part in PARTS}
                row["page_faults"] = median(case.faults)
            else:
                names = ("ratio", "ratio_lowest", "ratio_highest")
                row |= dict(zip(names, case.ratio(loop), strict=True))
                row |= {f"difference_{k}": v for k, v in case.differences[loop].items()}
            rows.append(row)
    return pd.DataFrame(rows)


def speed_table(cases: list[Case]) -> Table:
    """Images a second, memory, ratio and agreement."""
    columns = ["px", "run", "loop", "images/s", "(range)", "peak MiB", "before MiB"]
    columns += ["ours is faster", "(range)", "gradients differ", "weights differ"]
    rows = []
    for case in cases:
        for loop in (OURS, *case.loops):
            rate, low, high = case.rate(loop)
            memory = case.memory.get(loop, {})
            row = [str(case.size), case.run, TITLES[loop], f"{rate:.2f}", f"{low:.2f}–{high:.2f}"]
            row += [mib(memory.get(name)) for name in ("peak", "before")]
            if loop == OURS:
                row += [MISSING] * 4
            else:
                times, low, high = case.ratio(loop)
                row += [f"{times:.2f} x", f"{low:.2f}–{high:.2f}"]
                row += [f"{value:.1e}" for value in case.differences[loop].values()]
            rows.append([Cell(text) for text in row])
    return Table("One training step, data included", columns, rows)


def mib(value: float | None) -> str:
    """A number of MiB, or why there is none."""
    if value is None:
        return MISSING
    return "not available" if math.isnan(value) else f"{value:.0f}"


def split_table(cases: list[Case]) -> Table:
    """Where our step's time goes: medians in milliseconds and their share."""
    rows = []
    for case in cases:
        spent = {part: median(case.parts[part]) for part in PARTS}
        total = sum(spent.values()) or 1.0
        texts = [f"{1000 * s:.0f} ({s / total:.0%})" for s in spent.values()]
        beside = sum(spent[part] for part in BESIDE)
        texts += [f"{beside / total:.1%}", f"{median(case.faults):.0f}"]
        rows.append([Cell(t) for t in (str(case.size), case.run, str(case.batch), *texts)])
    columns = ["px", "run", "batch", *PARTS, ", ".join(BESIDE), "page faults"]
    return Table("Our step, ms (share)", columns, rows)


def loader_table(cases: list[LoaderCase]) -> Table:
    """Images a second and worker, and each worker's own memory beside the cache."""
    rows = []
    for case in cases:
        own = ", ".join(f"{value:.0f}" for value in case.own_mib) or MISSING
        row = (case.cache, str(case.workers), str(case.images), f"{case.rate:.0f}",
               f"{case.cache_mib:.0f}", own)  # fmt: skip
        rows.append([Cell(text) for text in row])
    columns = ["cache", "workers", "images", "images/s a worker", "cache MiB", "worker's own MiB"]
    return Table("Loader alone: decode or cache, mask, batch", columns, rows)


def verdict(cases: list[Case]) -> list[str]:
    """One sentence on speed and one on agreement for each public order."""
    lines = []
    for loop in cases[0].loops:
        slowest = min(cases, key=lambda case: case.ratio(loop)[0])
        furthest = max(cases, key=lambda case: case.differences[loop]["gradients"])
        worst = furthest.differences[loop]["gradients"]
        ratio = slowest.ratio(loop)[0]
        lines.append(
            f"{TITLES[loop]}: ours is at least {ratio:.2f} x as fast ({slowest.run}, "
            f"{slowest.size} px; target {TARGET} x on two CPU cores)"
        )
        agree = "agree" if worst <= TOLERANCE else "DO NOT AGREE"
        lines.append(
            f"{TITLES[loop]}: gradients {agree} with ours after one step, largest relative "
            f"difference {worst:.1e} ({furthest.run}, {furthest.size} px)"
        )
    return lines


def caption(arguments: argparse.Namespace, root: Path | None) -> str:
    """Device, data and settings."""
    runtime = start_runtime(arguments.precision, arguments.device)
    where = "built-in faces" if root is None else f"faces from {root.name}/"
    return machine(runtime.device, f"precision {arguments.precision}", where)


def main(argv: list[str] | None = None) -> int:
    """The exit code: 0, or 1 with a line on what is wrong; 1 too when results do not agree."""
    return carry_out(run, parse_arguments(argv))


def run(arguments: argparse.Namespace) -> int:
    if arguments.memory_of:
        config = configure(arguments, arguments.runs[0], arguments.sizes[0])
        runtime = start_runtime(arguments.precision, arguments.device)
        print(json.dumps(memory_of(config, runtime, arguments.memory_of)))
        return 0
    root = data_root(arguments.data)
    if arguments.loader:
        return report_loader(arguments, root)
    cases = measure(arguments, root)
    lines = [caption(arguments, root), *verdict(cases)]
    tables = [speed_table(cases), split_table(cases)]
    publish(tables, "Training speed", lines, arguments.markdown)
    write_numbers(arguments, records(cases))
    checked = [d["gradients"] for case in cases for d in case.differences.values()]
    return int(arguments.precision == "no" and any(not d <= TOLERANCE for d in checked))


def report_loader(arguments: argparse.Namespace, root: Path | None) -> int:
    """The loader's table for each size."""
    tables, frames = [], []
    for size in arguments.sizes:
        config = configure(arguments, arguments.runs[0], size)
        cases = measure_loader(config, open_sources(config.data, root), arguments.images)
        table = loader_table(cases)
        tables.append(Table(f"{table.title}, {size} px", table.columns, table.rows))
        frames += [vars(case) | {"size": size, "rate": case.rate} for case in cases]
    publish(tables, "Loader speed", [caption(arguments, root)], arguments.markdown)
    write_numbers(arguments, pd.DataFrame(frames))
    return 0


def write_numbers(arguments: argparse.Namespace, numbers: pd.DataFrame) -> None:
    """Into the file asked for."""
    if arguments.csv:
        write_text(arguments.csv, numbers.to_csv(index=False, float_format="%.6g"))


if __name__ == "__main__":
    stopping.watch()
    if code := stopping.run(main):  # no SystemExit on success: Spyder would show it as an error
        sys.exit(code)
