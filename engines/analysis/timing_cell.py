"""One cell of `evaluate.py analyse timing`, alone in its process; prints its record as JSON.

python -m engines.analysis.timing_cell --checkpoint FILE --size 64 --batch 8
"""

import argparse
import json
import sys
import time
from typing import Any

import psutil
import torch

from deocclude.data.files import some_path
from deocclude.engines.inference.cost import (
    MEASURED,
    TOO_LARGE,
    call_seconds,
    latency,
    model_parameters,
    multiply_accumulates,
    noise,
)
from deocclude.engines.options import DEVICE, at_least
from deocclude.engines.runs.devices import device_name, resolve_device
from deocclude.engines.runs.memory import free, held_mib, peak_mib

WARM_UP = 2  # calls that do not count


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--checkpoint", type=some_path, required=True, help="a weights file or an ensemble's")
    add("--size", type=at_least(32), default=64, help="side of the pictures (64)")
    add("--batch", type=at_least(1), default=1, help="pictures at once (1)")
    add("--device", **DEVICE)
    add("--threads", type=at_least(1), help="of PyTorch on the CPU (PyTorch's choice)")
    add("--repeats", type=at_least(1), default=20, help="calls that count (20)")
    add("--seconds", type=float, default=5.0, help="no call is begun after so many (5)")
    return parser.parse_args(argv)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Time, memory and size of `Inpainter.restore` on noise, as one flat record.

    `peak_mib` is what was held at most during the calls, reading the file left out, and on a CPU
    with Python and its libraries; `own_mib` is the same without what was held before the network
    was there. `cores` is CPU seconds over seconds of the clock: on a CPU, fewer than the threads
    means that other programs had the rest. `status` is MEASURED; TOO_LARGE comes with a `reason`
    and without numbers.
    """
    from deocclude.engines.inference.networks import read_inpainter

    load = psutil.getloadavg()[0]
    device = resolve_device(arguments.device)
    free(device)
    before = held_mib(device)
    inpainter = read_inpainter(arguments.checkpoint, device)
    given = [part.to(device) for part in noise(arguments.batch, arguments.size)]
    try:
        free(device)
        clock, used = time.perf_counter(), time.process_time()
        seconds = call_seconds(
            lambda: inpainter.restore(*given),
            device, WARM_UP, arguments.repeats, arguments.seconds,
        )  # fmt: skip
        cores = (time.process_time() - used) / (time.perf_counter() - clock)
        peak = peak_mib(device)
        macs = multiply_accumulates(inpainter.restore, arguments.size)
    except (torch.OutOfMemoryError, MemoryError) as error:
        return {"status": TOO_LARGE, "reason": str(error).partition("\n")[0]}
    times = latency(seconds)
    features = 0 if inpainter.features is None else model_parameters(inpainter.features)
    return {
        "status": MEASURED,
        "parameters": model_parameters(inpainter.network) + features,
        "features_parameters": features,
        "macs": macs,
        **times,
        "images_per_second": 1000 * arguments.batch / times["median_ms"],
        "calls": len(seconds),
        "peak_mib": peak,
        "own_mib": peak - before,
        "cores": cores,
        "load": load,
        "device": device_name(device),
    }


def main(argv: list[str] | None = None) -> int:
    """The exit code: 0, or 1 with a line on what is wrong."""
    arguments = parse_arguments(argv)
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    try:
        print(json.dumps(measure(arguments)))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
