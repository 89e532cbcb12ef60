"""`python -m data.download faces masks occluders`: see `data.download.sets`."""

import sys

from deocclude import stopping

if __name__ == "__main__":
    stopping.watch()
    from deocclude.data.download.sets import main

    if code := stopping.run(main):
        sys.exit(code)
