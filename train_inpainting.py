"""Train an inpainter: `python train_inpainting.py Reconstruction`, `--list` for every run."""

import argparse
import json
import sys
from pathlib import Path


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
    settings = arguments.set or arguments.masks or arguments.invert_mask
    if arguments.resume is not None and (settings or arguments.profile != "auto"):
        parser.error(
            "--resume continues a run as its config.yaml says: leave out --set, --profile, "
            "--masks and --invert-mask, or start a new run"
        )
    return arguments


def overrides(arguments: argparse.Namespace) -> list[str]:
    """`--set` assignments, with the options that stand for one."""
    given = [f"data.masks={json.dumps(arguments.masks)}"] if arguments.masks else []
    given += ["data.invert_mask=true"] if arguments.invert_mask else []
    return given + arguments.set


def list_runs() -> str:
    """Every run in ablations/ with its one line."""
    from engines.config import available_runs, read_yaml

    return "\n".join(
        f"{name:30} {read_yaml(path).get('description', '')}"
        for name, path in available_runs().items()
    )


def run(arguments: argparse.Namespace) -> None:
    """Do what the arguments ask for. Imports are here so that worker processes start fast."""
    from engines.config import load_config
    from engines.datasets import choose_profile, data_root
    from engines.runtime import say
    from engines.summary import summarise_run
    from engines.training import dry_run, train

    name, profile = arguments.run or arguments.model or "Reconstruction", arguments.profile
    if arguments.resume is not None:  # the run's own record says where its data lie
        root = data_root(arguments.data) if arguments.data else None
        profile = None
    else:
        root = data_root(arguments.data)
        if profile == "auto":
            profile, reason = choose_profile(root, arguments.device)
            say(reason)
    config = load_config(name, profile, overrides(arguments))
    if arguments.dry_run:
        say(dry_run(config, root))
        return
    outcome = train(
        config, root, arguments.output, arguments.resume, arguments.max_minutes, arguments.device
    )
    if outcome.is_main:
        say(summarise_run(outcome, arguments.output, arguments.device))


def main(argv: list[str] | None = None) -> int:
    """The exit code: 0 when the run went through, 1 with one line that says why not."""
    from engines.inpainting import NonFiniteLossError
    from engines.runtime import say_progress

    arguments = parse_arguments(argv)
    say_progress()
    try:
        if arguments.list:
            print(list_runs())
        else:
            run(arguments)
    except (ValueError, OSError, NonFiniteLossError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    if code := main():  # no SystemExit on success: Spyder would show it as an error
        sys.exit(code)
