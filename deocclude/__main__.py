"""`python -m deocclude photo.jpg -o restored.png`: see `engines.cli.restore`; with the word `app`
first, the page in the browser: see `engines.app.commands`."""

import sys

from deocclude import stopping

PAGE = "app"


def main(command: str | None = None) -> None:
    """The command `deocclude`, or with `command` PAGE the page; SystemExit when anything failed."""
    stopping.watch()
    if code := stopping.run(_serve if command == PAGE else _restore):
        sys.exit(code)


def _restore() -> None:
    if sys.argv[1:2] == [PAGE]:
        del sys.argv[1]
        _serve()
        return
    from deocclude.engines.cli.restore import main

    main()


def _serve() -> None:
    from deocclude.engines.app.commands import main

    main()


if __name__ == "__main__":
    main()
