"""How far one set of pictures is from another: the Frechet distance between Gaussians of features.

FID is this distance for Inception's 2048 features (Heusel et al., NeurIPS 2017). It belongs to a
set, never to an image, and comes out too large for small sets: the covariance of fewer pictures
than features has no full rank.
"""

import numpy as np
from torch import Tensor


class GaussianSums:
    """Mean and covariance of features, streamed: sums in float64, no feature is kept."""

    def __init__(self):
        self.count = 0
        self._sum: np.ndarray | None = None
        self._products: np.ndarray | None = None
        self._root: np.ndarray | None = None

    def update(self, features: Tensor, repeats: Tensor | None = None) -> None:
        """Add features (N, D); `repeats` (N,) are whole numbers, how often each one counts.

        ValueError for values that are not finite, or of another length than before.
        """
        if features.ndim != 2:
            raise ValueError(f"features must be (N, D), found {tuple(features.shape)}")
        if not features.isfinite().all():
            raise ValueError("features hold values that are not finite")
        rows = features.detach().cpu().double().numpy()
        times = np.ones(len(rows)) if repeats is None else repeats.cpu().double().numpy()
        if self._sum is None:
            self._sum = np.zeros(rows.shape[1])
            self._products = np.zeros((rows.shape[1],) * 2)
        if rows.shape[1] != len(self._sum):
            raise ValueError(f"features of {rows.shape[1]} numbers after {len(self._sum)}")
        self.count += int(times.sum())
        self._root = None
        weighted = rows * times[:, None]
        self._sum += weighted.sum(0)
        self._products += weighted.T @ rows

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean (D,) and unbiased covariance (D, D). ValueError with fewer than two pictures."""
        if self.count < 2:
            raise ValueError(f"a covariance needs at least 2 pictures, found {self.count}")
        mean = self._sum / self.count
        covariance = (self._products - self.count * np.outer(mean, mean)) / (self.count - 1)
        return mean, covariance

    def root(self) -> np.ndarray:
        """The symmetric square root of the covariance, kept until the next update."""
        if self._root is None:
            values, vectors = np.linalg.eigh(self.moments()[1])
            self._root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
        return self._root


def frechet_distance(first: GaussianSums, second: GaussianSums) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)); 0 for equal sets.

    Dowson and Landau 1982. The trace of the root is taken of C2^(1/2) C1 C2^(1/2), which has the
    same eigenvalues and is symmetric.
    """
    (mean1, covariance1), (mean2, covariance2) = first.moments(), second.moments()
    root = second.root()
    product = np.linalg.eigvalsh(root @ covariance1 @ root)
    trace = np.trace(covariance1) + np.trace(covariance2) - 2 * np.sqrt(product.clip(min=0)).sum()
    return max(0.0, float(np.square(mean1 - mean2).sum() + trace))
