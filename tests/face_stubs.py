"""Pictures of a data folder: small, and each another."""

import numpy as np
from PIL import Image


def write_images(folder, count, size=(40, 50), start=0):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(start, start + count):
        rng = np.random.default_rng(i)
        small = rng.integers(0, 256, (5, 4, 3), dtype=np.uint8)
        Image.fromarray(small).resize(size).save(folder / f"{i:04d}.png")
    return folder
