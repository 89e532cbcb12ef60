"""`python -m engines.release_export`: see `engines.suite.export`."""

import sys

from deocclude import stopping

if __name__ == "__main__":
    stopping.watch()
    from deocclude.engines.suite.export import main

    if code := stopping.run(main):
        sys.exit(code)
