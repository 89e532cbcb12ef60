"""What covers a face in a photo, removed."""

from pathlib import Path

_HERE = Path(__file__).resolve().parent
if not (_HERE / "engines").is_dir():  # a checkout: engines, data, ... lie beside this folder
    __path__.append(str(_HERE.parent))
