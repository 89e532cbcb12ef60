"""`python -m deocclude photo.jpg -o restored.png`: see `engines.cli.restore`."""

import sys

from deocclude import stopping


def main() -> None:
    """The command `deocclude`; SystemExit when anything failed."""
    stopping.watch()
    if code := stopping.run(_restore):
        sys.exit(code)


def _restore() -> None:
    from deocclude.engines.cli.restore import main

    main()


if __name__ == "__main__":
    main()
