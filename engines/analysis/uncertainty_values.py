"""An inpainter's doubt and its error in the holes of frozen pairs, by hole and by sampled pixel.

One pass over the pairs. A pixel is kept with the same probability wherever it lies, so that memory
stays flat and statistics of the sample are those of all hole pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd
from torch import Tensor

from deocclude.data.contract import compose
from deocclude.data.pairs.holes import FrozenPairs
from deocclude.data.pairs.tensors import load_pairs
from deocclude.data.seeding import keyed_rng
from deocclude.engines.inference.networks import Inpainter
from deocclude.engines.report.tables import bin_names
from deocclude.metrics.correlation import spearman
from deocclude.progress import Bar

UNCERTAINTY, DEPTH = "uncertainty", "depth"
DIGITS = 6  # of an uncertainty: what differs less is the noise of float32, and no order


@dataclass(frozen=True)
class Measured:
    """What one inpainter did on all pairs.

    `doubt` is what is taken for its uncertainty, of engines.inference.networks; `again`: it was
    measured with its own before. `images`: a line a pair: index, image, bin ("0" to "5",
    "outside"), hole_ratio, pixels, and means over its hole: uncertainty, depth (pixels to the
    nearest known one), l1, rmse; then uncertainty_rho, depth_rho: Spearman's coefficient with the
    error over its hole's pixels. `pixels`: a line a sampled pixel: image (a number), uncertainty,
    depth, error, squared (means over channels). `total`: how many hole pixels there are.
    """

    name: str
    doubt: str
    images: pd.DataFrame
    pixels: pd.DataFrame
    total: int
    again: bool = False


def measure(
    inpainter: Inpainter,
    name: str,
    pairs: FrozenPairs,
    batch: int,
    pixels: int,
    seed: int = 0,
    doubt: str | None = None,
) -> Measured:
    """Restore every pair and compare doubt and error in its hole.

    About `pixels` hole pixels are sampled, by `seed` and the pair alone. `doubt`: another one than
    the inpainter's own, see `engines.inference.networks.Inpainter`. ValueError for a
    prediction that is not finite and for pairs without a hole.
    """
    expected = sum(pair.hole_ratio for pair in pairs.pairs) * pairs.size**2
    if not expected:
        raise ValueError(f"{pairs.description}: no pair has a hole, there is no error to predict")
    share = min(1.0, pixels / expected)
    lines, samples, total = [], [], 0
    numbers = {key: i for i, key in enumerate(dict.fromkeys(p.image for p in pairs.pairs))}
    bar = Bar(total=len(pairs), desc=name, unit="image")
    for index, values in _holes(inpainter, name, pairs, batch, doubt):
        pair = pairs.pairs[index]
        lines.append({"index": index, "image": pair.image, "bin": pair.bin} | _line(pair, values))
        chosen = keyed_rng(seed, "pixels", index).random(len(values["error"])) < share
        samples.append(_sample(values, chosen, numbers[pair.image]))
        total += len(chosen)
        bar.update()
    bar.close()
    images = pd.DataFrame(lines)
    images["bin"] = bin_names(images)
    sampled = pd.concat(samples, ignore_index=True)
    if sampled.empty:
        raise ValueError(f"none of {total} hole pixels was sampled; ask for more than {pixels}")
    known = doubt or inpainter.doubt
    return Measured(name, known, images, sampled, total, again=doubt is not None)


def doubt_and_error(
    inpainter: Inpainter,
    name: str,
    pairs: FrozenPairs,
    indices: list[int],
    doubt: str | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Occluded, composed, target (N, 3, S, S), doubt and mask (N, 1, S, S) of some pairs, on the
    CPU. ValueError for values that are not finite."""
    target, mask, occluded = load_pairs(pairs, indices, inpainter.fill)
    both = inpainter.restore_with_doubt(occluded, mask, doubt)
    prediction, unsure = (part.cpu() for part in both)
    if not (prediction.isfinite().all() and unsure.isfinite().all()):
        raise ValueError(f"{name}: its prediction holds values that are not finite")
    return occluded, compose(prediction, occluded, mask), target, unsure, mask


def _holes(
    inpainter: Inpainter, name: str, pairs: FrozenPairs, batch: int, kind: str | None
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Of each pair its hole's pixels: uncertainty, depth, error, squared error, each (n,)."""
    for start in range(0, len(pairs), batch):
        indices = list(range(start, min(start + batch, len(pairs))))
        _, composed, target, doubt, mask = doubt_and_error(inpainter, name, pairs, indices, kind)
        apart = (composed - target).double()
        error, squared = apart.abs().mean(1).numpy(), apart.square().mean(1).numpy()
        for place, index in enumerate(indices):
            hole = mask[place, 0].numpy() > 0.5
            maps = {
                UNCERTAINTY: doubt[place, 0].numpy().astype(np.float64).round(DIGITS),
                DEPTH: depth(hole),
                "error": error[place],
                "squared": squared[place],
            }
            yield index, {key: values[hole] for key, values in maps.items()}


def depth(hole: np.ndarray) -> np.ndarray:
    """Pixels to the nearest known one: float32 (H, W), 0 outside the hole."""
    if hole.all():
        return np.full(hole.shape, np.float32(max(hole.shape)))
    return cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def _line(pair, values: dict[str, np.ndarray]) -> dict[str, float]:
    count = len(values["error"])
    known = {"hole_ratio": pair.hole_ratio, "pixels": count}
    if not count:
        return known
    return known | {
        UNCERTAINTY: float(values[UNCERTAINTY].mean()),
        DEPTH: float(values[DEPTH].mean()),
        "l1": float(values["error"].mean()),
        "rmse": float(np.sqrt(values["squared"].mean())),
        f"{UNCERTAINTY}_rho": spearman(values[UNCERTAINTY], values["error"]),
        f"{DEPTH}_rho": spearman(values[DEPTH], values["error"]),
    }


def _sample(values: dict[str, np.ndarray], chosen: np.ndarray, image: int) -> pd.DataFrame:
    frame = pd.DataFrame({key: v[chosen].astype(np.float32) for key, v in values.items()})
    frame.insert(0, "image", np.int32(image))
    return frame
