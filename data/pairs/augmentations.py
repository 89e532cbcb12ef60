"""Which augmentation a run asks for: none, small changes, or what photographs do."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from deocclude.data.pairs.augment import Augmentation
from deocclude.data.pairs.photo_augment import PhotographAugmentation
from deocclude.names import shown

PHOTOGRAPHS = "photographs"
Augment = Callable[
    [np.ndarray, np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]
]  # image, mask, rng -> image, mask


def create_augmentation(value: bool | Mapping[str, Any]) -> Augment | None:
    """false: None. true: small changes. A mapping with `name: photographs`: that, with the
    mapping's options. Raises ValueError that names the key and the value."""
    if isinstance(value, Mapping):
        return PhotographAugmentation.from_options(_options(value))
    return Augmentation() if value else None


def complete_options(value: str | Mapping[str, Any]) -> dict[str, Any]:
    """The name and every option of an augmentation with options, for a run's record. Raises
    ValueError as in `create_augmentation`."""
    value = {"name": value} if isinstance(value, str) else value
    options = asdict(PhotographAugmentation.from_options(_options(value)))
    options = {k: list(v) if isinstance(v, tuple) else v for k, v in options.items()}
    return {"name": PHOTOGRAPHS, **options}


def _options(value: Mapping[str, Any]) -> dict[str, Any]:
    name = value.get("name")
    if name != PHOTOGRAPHS:
        raise ValueError(
            f"name: {shown(name)} is not one with options; valid is {PHOTOGRAPHS}, "
            f"as in {{name: {PHOTOGRAPHS}, jpeg: 0}}"
        )
    return {key: option for key, option in value.items() if key != "name"}
