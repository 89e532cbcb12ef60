"""Frozen pairs of coloured squares, and rows that miss their target by a known offset."""

import numpy as np
import torch

from data.masks import generate_mask
from data.pairs import FrozenPairs, Pair
from data.seeding import keyed_rng
from engines.evaluation import Row

SIZE = 32


def fake_pairs(per_bin=4, seed=0, bins=(0, 2, 4)):
    cells = [(bin, i) for bin in bins for i in range(per_bin)]

    def read(index):
        bin, i = cells[index]
        image = keyed_rng(seed, "image", i).integers(0, 256, (4, 4, 3), np.uint8)
        mask = generate_mask(SIZE, bin, bool(i % 2), keyed_rng(seed, "mask", bin, i))
        return image.repeat(SIZE // 4, 0).repeat(SIZE // 4, 1), mask

    pairs = [
        Pair(f"{i}.png", f"{seed}-{i}", f"{k}", f"{seed}-{k}", bin, bool(i % 2), read(k)[1].mean())
        for k, (bin, i) in enumerate(cells)
    ]
    return FrozenPairs(pairs, read, SIZE, "synthetic squares")


class Shifted:
    """Predicts the target, known to it, plus an offset; counts how often it is asked."""

    fill = 0.5
    device = torch.device("cpu")

    def __init__(self, pairs, offset):
        self.pairs, self.offset, self.asked = pairs, offset, 0

    def restore(self, occluded, mask):
        self.asked += len(occluded)
        assert (occluded[(mask > 0.5).expand_as(occluded)] == self.fill).all()
        return (occluded + self.offset).clamp(0, 1)

    def cost(self, size):
        return {"parameters": 2_500_000, "macs": 10**9, "median_ms": 1.0, "p95_ms": 2.0} | {
            "device": "a device"
        }


def shifted_row(name, pairs, offset, opened=None):
    def make():
        restorer = Shifted(pairs, offset)
        if opened is not None:
            opened.append(restorer)
        return restorer

    return Row(name, "model", f"shift {offset}", make)
