"""Where the data lie: as it was named, in DEOCCLUDE_DATA, or in datasets/."""

import os
from pathlib import Path

VARIABLE = "DEOCCLUDE_DATA"


def data_root(given: str | Path | None) -> Path | None:
    """The data folder: --data, else the environment variable DEOCCLUDE_DATA, else datasets/ if
    filled.

    FileNotFoundError when a named folder does not exist, ValueError for one named by an empty text.
    """
    named, source = (os.environ.get(VARIABLE), VARIABLE) if given is None else (given, "--data")
    if named is not None:
        if not str(named).strip():
            raise ValueError(f"{source} is empty: name a data folder, or leave it out (unset it)")
        root = Path(named)
        if not root.is_dir():
            raise FileNotFoundError(f"{source} {str(root)!r}: no such folder")
        return root
    default = Path("datasets")
    return default if default.is_dir() and any(default.iterdir()) else None
