"""What covers a face in a photo, removed.

    from deocclude import restore
    restore("photo.jpg").save("restored.png")

`restore`, `find_mask`, `find_faces` and `load` are the public API. `deocclude.engines`,
`deocclude.data`, `deocclude.models`, `deocclude.losses` and `deocclude.metrics` are what it is
built of: in a checkout the folders beside this one.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deocclude.engines.api import (
        Face,
        Faces,
        Restored,
        Restorer,
        find_faces,
        find_mask,
        load,
        restore,
    )

__version__ = "0.1.0"
__all__ = ["Face", "Faces", "Restored", "Restorer", "find_faces", "find_mask", "load", "restore"]

_HERE = Path(__file__).resolve().parent
if not (_HERE / "engines").is_dir():  # a checkout, where engines, data, ... lie beside this folder
    __path__.append(str(_HERE.parent))


def __getattr__(name: str) -> Any:
    """The public API, imported when it is first asked for: PyTorch takes seconds."""
    if name in __all__:
        from deocclude.engines import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
