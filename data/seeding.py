"""Random generators that depend on named keys only: never on worker count, order or resume."""

import zlib

import numpy as np


def keyed_rng(*keys: int | str) -> np.random.Generator:
    """A generator for these keys, e.g. `keyed_rng(seed, "masks", epoch, position)`.

    Equal keys give equal streams on every machine and in every process. Integers must be >= 0.
    """
    entropy = [zlib.crc32(key.encode()) if isinstance(key, str) else int(key) for key in keys]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))
