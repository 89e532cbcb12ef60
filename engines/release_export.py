"""`python -m engines.release_export`: see `engines.suite.export`."""

import sys

from deocclude.engines.suite.export import main

if __name__ == "__main__":
    if code := main():
        sys.exit(code)
