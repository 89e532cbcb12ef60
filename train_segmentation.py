"""Train a segmenter: `python train_segmentation.py SOCLNET`, `--list` for every run."""

import sys

from deocclude import stopping


def main(argv: list[str] | None = None) -> int:
    """The exit code. The import is here so that worker processes start fast."""
    from deocclude.engines.cli.train import train_command

    return train_command("segmentation", __doc__, argv)


if __name__ == "__main__":
    stopping.watch()
    if code := stopping.run(main):  # no SystemExit on success: Spyder would show it as an error
        sys.exit(code)
