"""Train an inpainter: `python train_inpainting.py Reconstruction`, `--list` for every run."""

import argparse
import json
import sys
from pathlib import Path

from engines.checkpoint import CheckpointError
from engines.config import ConfigError, available_runs, load_config, read_yaml
from engines.datasets import choose_profile, data_root
from engines.inpainting import NonFiniteLossError
from engines.runtime import say_progress
from engines.summary import summarise_run
from engines.training import dry_run, train


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("run", nargs="?", help="a run's name (any case) or a YAML path; default Reconstruction")
    add("--model", metavar="RUN", help="the same, as an option")
    add("--list", action="store_true", help="print every run and what it changes, and stop")
    add("--dry-run", action="store_true", help="print config, parameters and data, and stop")
    add("--profile", default="auto", help="auto, quick, small, full (default: auto)")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="e.g. training.epochs=3")
    add("--data", metavar="DIR", help="data folder (default: $DEOCCLUDE_DATA, else datasets/)")
    add(
        "--masks", metavar="DIR", help="a folder of masks, white = hole (default: see README, Data)"
    )
    add("--invert-mask", action="store_true", help="black means hole in the mask files")
    add("--output", type=Path, default=Path("runs"), metavar="DIR", help="default: runs")
    add(
        "--resume",
        nargs="?",
        const="latest",
        metavar="RUN",
        help="continue latest, a number, a path",
    )
    add("--max-minutes", type=float, metavar="M", help="stop at a checkpoint after M minutes")
    add("--device", default="auto", choices=("auto", "cpu"))
    arguments = parser.parse_args(argv)
    if arguments.run and arguments.model and arguments.run.lower() != arguments.model.lower():
        parser.error(f"two runs named: {arguments.run!r} and --model {arguments.model!r}")
    if arguments.max_minutes is not None and not arguments.max_minutes > 0:
        parser.error(f"--max-minutes {arguments.max_minutes}: must be above 0")
    return arguments


def overrides(arguments: argparse.Namespace) -> list[str]:
    """`--set` assignments, with the options that stand for one."""
    given = [f"data.masks={json.dumps(arguments.masks)}"] if arguments.masks else []
    given += ["data.invert_mask=true"] if arguments.invert_mask else []
    return given + arguments.set


def list_runs() -> str:
    """Every run in ablations/ with its one line."""
    return "\n".join(
        f"{name:30} {read_yaml(path).get('description', '')}"
        for name, path in available_runs().items()
    )


def main(argv: list[str] | None = None) -> int:
    """The exit code: 0 when the run went through, 1 with one line that says why not."""
    arguments = parse_arguments(argv)
    say_progress()
    if arguments.list:
        print(list_runs())
        return 0
    try:
        root = data_root(arguments.data)
        profile = arguments.profile
        if profile == "auto":
            profile, reason = choose_profile(root, arguments.device)
            print(reason, flush=True)
        name = arguments.run or arguments.model or "Reconstruction"
        config = load_config(name, profile, overrides(arguments))
        if arguments.dry_run:
            print(dry_run(config, root))
            return 0
        outcome = train(
            config,
            root,
            arguments.output,
            arguments.resume,
            arguments.max_minutes,
            arguments.device,
        )
        if outcome.is_main:
            print(summarise_run(outcome, root, arguments.output, arguments.device))
    except (
        ConfigError,
        CheckpointError,
        FileNotFoundError,
        NonFiniteLossError,
        ValueError,
    ) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
