"""Speed and memory of every system: training step and restoring, by size and precision.

    python benchmarks/systems.py --size 64 256 --precision no bf16 --batch 8 2 --threads 1
    python benchmarks/systems.py --runs occlufix facial_deocclusion --precision no bf16 fp16

Noise under random masks and random weights: speed depends on neither. Each cell is measured in a
process of its own, so that one that runs out of memory does not stop the others, and kept below
--output: the same command continues where it was stopped.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.program import again, carry_out, machine, publish
from benchmarks.systems_cell import MISSING_PRECISION, cell_config
from benchmarks.systems_cell import measure_cell as measure
from benchmarks.systems_tables import inference_table, memory_table, training_table
from benchmarks.training import LARGE, say
from deocclude import stopping
from deocclude.data.files import some_path, write_text
from deocclude.engines.inference.cost import MEASURED, measured_apart
from deocclude.engines.measures.rows import row_file
from deocclude.engines.options import DEVICE, at_least
from deocclude.engines.runs.devices import device_name
from deocclude.engines.runs.runtime import start_runtime
from deocclude.engines.runs.settings import RunConfig

SYSTEMS = ("Reconstruction", "occlufix", "vgg19_generator", "attention_gan", "facial_deocclusion")
PRECISIONS = ("no", "bf16", "fp16")


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--runs", nargs="+", default=list(SYSTEMS), metavar="RUN", help="default: the five systems")
    add("--size", type=at_least(1), nargs="+", default=[64, 256], metavar="PX",
        help="default: 64 256")  # fmt: skip
    add("--precision", nargs="+", default=["no", "bf16"], choices=PRECISIONS,
        help="default: no bf16")  # fmt: skip
    add("--batch", type=at_least(1), nargs="+", metavar="N",
        help=f"one, or one a size (default: 16 up to {LARGE} px, else 4)")  # fmt: skip
    add("--steps", type=at_least(1), default=5, help="repetitions that count (default: 5)")
    add("--warm-up", type=at_least(1), default=2, help="repetitions that do not (default: 2)")
    add("--threads", type=at_least(1), help="of PyTorch on the CPU (default: PyTorch's choice)")
    add("--device", **DEVICE)
    add("--profile", help="of the runs (default: none)")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="e.g. model.width=32")
    add("--output", type=some_path, default=Path("runs/benchmarks/systems"), metavar="DIR",
        help="for tables and cells (default: runs/benchmarks/systems)")  # fmt: skip
    add("--again", action="store_true", help="measure again what is there, after a code change")
    add("--cell", action="store_true", help=argparse.SUPPRESS)  # the first cell alone, as JSON
    return parser.parse_args(argv)


def batches(arguments: argparse.Namespace) -> dict[int, int]:
    """The batch of each size. ValueError when there are neither one nor as many as sizes."""
    sizes, given = arguments.size, arguments.batch
    if given is None:
        return {size: 16 if size <= LARGE else 4 for size in sizes}
    if len(given) not in (1, len(sizes)):
        raise ValueError(
            f"--batch: {len(given)} numbers for {len(sizes)} sizes; give one, or one a size"
        )
    return dict(zip(sizes, given * len(sizes) if len(given) == 1 else given, strict=True))


def wanted(arguments: argparse.Namespace) -> list[tuple[str, RunConfig]]:
    """The run as it was named and the configuration of every cell, by size, run and precision.

    ConfigError for a wrong run or option.
    """
    return [
        (run, cell_config(run, size, precision, batch, arguments.profile, arguments.set))
        for size, batch in batches(arguments).items()
        for run in arguments.runs
        for precision in arguments.precision
    ]


def key_of(config: RunConfig, arguments: argparse.Namespace, device: str) -> dict[str, Any]:
    """Everything that decides a cell's numbers, the code aside."""
    return {
        "config": config.model_dump(mode="json"),
        "device": device,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "repetitions": [arguments.steps, arguments.warm_up],
    }


def cell_apart(config: RunConfig, run: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """`measure_cell` in a fresh process of this script."""
    training = config.training
    same = ("device", "steps", "warm_up", "threads", "profile", "set")
    command = [*again(__file__, arguments, same), "--cell", "--runs", run]
    command += ["--size", str(config.data.size), "--batch", str(training.batch_size)]
    command += ["--precision", training.mixed_precision]
    return measured_apart(command)


def collect(arguments: argparse.Namespace, device: str) -> list[dict[str, Any]]:
    """A record of every cell, measured now or before. Failures are tried again each time."""
    asked, cells = wanted(arguments), []
    for number, (run, config) in enumerate(asked, 1):
        precision, size = config.training.mixed_precision, config.data.size
        label = {"run": config.name, "size": size, "precision": precision}
        label |= {"batch": config.training.batch_size, "threads": torch.get_num_threads()}
        key = key_of(config, arguments, device)
        file = row_file(arguments.output, f"{config.name}-{size}px-{precision}", key)
        file = file.with_suffix(".json")
        head = f"{number}/{len(asked)}  {config.name}, {size} px, {precision}:"
        if file.is_file() and not arguments.again:
            cells.append(label | json.loads(file.read_text(encoding="utf-8"))["cell"])
            say(f"{head} measured before")
            continue
        cell = cell_apart(config, run, arguments)
        if cell["status"] == MEASURED:
            write_text(file, json.dumps({"key": key, "cell": cell}, indent=1))
            say(f"{head} {cell['images_per_second']:.2f} images/s in training")
        else:
            say(f"{head} {cell['status']}: {cell['reason']}")
        cells.append(label | cell)
    return cells


def caption(cells: list[dict[str, Any]], device: torch.device) -> list[str]:
    """Device, settings, how busy the machine was, and what could not be measured."""
    lines = [
        f"{machine(device)}; random weights, noise under random masks, scheduled loss weights at "
        "their largest"
    ]
    loads = [cell["load"] for cell in cells if cell["status"] == MEASURED]
    if loads:
        lines.append(
            f"the machine's load in the minute before a cell began, the cell before it included: "
            f"{min(loads):.1f} to {max(loads):.1f}"
        )
    for cell in cells:
        if cell["status"] != MEASURED:
            place = f"{cell['run']}, {cell['size']} px, {cell['precision']}"
            lines.append(f"{place}: {cell['status']} ({cell['reason']})")
    return lines


def main(argv: list[str] | None = None) -> int:
    """The exit code: 0, or 1 with a line on what is wrong; 1 too when a cell failed, whatever the
    others gave. A precision that the device lacks is no failure."""
    return carry_out(run, parse_arguments(argv))


def run(arguments: argparse.Namespace) -> int:
    if arguments.cell:
        ((_, config),) = wanted(arguments)
        cell = measure(config, arguments.device, arguments.steps, arguments.warm_up)
        print(json.dumps(cell))
        return 0
    device = start_runtime("no", arguments.device).device
    cells = collect(arguments, device_name(device))
    tables = [training_table(cells), memory_table(cells), inference_table(cells)]
    file = arguments.output / "systems.md"
    publish(tables, "Speed and memory of the systems", caption(cells, device), file)
    frame = pd.DataFrame(cells)
    write_text(arguments.output / "systems.csv", frame.to_csv(index=False, float_format="%.6g"))
    write_text(arguments.output / "systems.json", json.dumps(cells, indent=1))
    return int(any(cell["status"] not in (MEASURED, MISSING_PRECISION) for cell in cells))


if __name__ == "__main__":
    stopping.watch()
    if code := stopping.run(main):  # no SystemExit on success: Spyder would show it as an error
        sys.exit(code)
