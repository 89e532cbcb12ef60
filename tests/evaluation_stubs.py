"""Frozen pairs of coloured squares, rows that miss their target by a known offset, and measured
rows with known values."""

import numpy as np
import torch

from deocclude.data.masks.source import generate_mask
from deocclude.data.pairs.holes import FrozenPairs, Pair
from deocclude.data.seeding import keyed_rng
from deocclude.engines.measures.rows import Row, RowWriter

SIZE = 32
INFO = {"kind": "model", "measures": {}, "training": None, "pairs": "made up"}
COST = {"parameters": 1, "macs": 1, "median_ms": 1.0, "p95_ms": 1.0, "images_per_second": 1.0}


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


class Knows:
    """Knows the targets of the pairs, asked in their order, and answers what `change` makes of
    them."""

    fill, device = 0.5, torch.device("cpu")

    def __init__(self, pairs, change):
        self.pairs, self.change, self.asked = pairs, change, 0

    def restore(self, occluded, mask):
        images = [self.pairs.load(i)[0] for i in range(self.asked, self.asked + len(mask))]
        self.asked += len(mask)
        return self.change(torch.from_numpy(np.stack(images)).movedim(-1, 1) / 255)


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


def result(folder, name, psnr, ssim, l1, pairs="one", images=4, noise=0.0):
    """A measured row whose every image of bins 0 and 1 has these values, plus noise."""
    columns = [
        f"{view}/{metric}"
        for view in ("composed", "composed_hole", "raw", "raw_hole")
        for metric in ("psnr", "ssim", "l1", "mse")
    ]
    rng = np.random.default_rng(list(name.encode()))
    with RowWriter(folder / f"{name}.csv", ["index", "image", "bin", *columns]) as writer:
        for index in range(2 * images):
            offsets = noise * rng.normal(size=3)
            values = [psnr + offsets[0], ssim + offsets[1] / 100, l1 + offsets[2] / 100, l1**2]
            writer.write([[index, f"{index % images}.png", index // images, *values * 4]])
        key = {"pairs": pairs, "size": 32}
        info = {**INFO, "name": name, "key": key, "count": 2 * images}
        return writer.finish({**info, "cost": {**COST, "device": "a device"}})


def texts(table, column):
    return [row[table.columns.index(column)].text for row in table.rows]
