"""Linear centred kernel alignment: whether two layers tell the same pictures apart.

CKA is HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) of the Gram matrices of two layers' features
(Kornblith et al., ICML 2019). HSIC is estimated without bias (Song et al., JMLR 2012, equation 5)
batch by batch and averaged before the ratio is taken (Nguyen et al., ICLR 2021, section 3.1), so
that any number of pictures fits into memory and small batches do not raise the values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

LEAST = 4  # pictures a batch, below which the unbiased estimate does not exist


@dataclass(frozen=True)
class Similarity:
    """CKA of every two layers.

    Attributes:
        names: the L layers.
        values: (L, L), symmetric, 1 on the diagonal; NaN where a layer is constant.
        errors: (L, L), standard error by the jackknife over batches; NaN with fewer than two.
        batches: how many there were.
        count: pictures in all.
        reasons: why a layer has no values, by its name.
    """

    names: tuple[str, ...]
    values: np.ndarray
    errors: np.ndarray
    batches: int
    count: int
    reasons: Mapping[str, str]


def centred_gram(features: Tensor) -> Tensor:
    """Inner products of pictures' features, U-centred: (n, ...) to (n, n), float64 on the CPU.

    The mean inner product of two of these matrices is the unbiased HSIC (Székely and Rizzo, Annals
    of Statistics 2014, proposition 1). Features that agree to rounding in all pictures give zeros.
    ValueError for fewer than 4 pictures and for values that are not finite.
    """
    count = len(features)
    if count < LEAST:
        raise ValueError(f"features of {count} pictures; unbiased CKA needs at least {LEAST}")
    flat = features.detach().flatten(1)
    flat = flat if flat.dtype == torch.float64 else flat.float()
    if not flat.isfinite().all():
        raise ValueError("features hold values that are not finite")
    size = flat.abs().amax()
    flat = flat - flat.mean(0)  # changes no U-centred value and keeps the sums small
    if flat.abs().amax() <= 8 * torch.finfo(flat.dtype).eps * size:
        return torch.zeros(count, count, dtype=torch.float64)
    gram = (flat @ flat.T).double().cpu().fill_diagonal_(0)
    rows = gram.sum(1) / (count - 2)
    gram = gram - rows[:, None] - rows + gram.sum() / ((count - 1) * (count - 2))
    return gram.fill_diagonal_(0)


class LinearCKA:
    """CKA of `names` over batches of the same pictures.

    `update` takes the features of a batch, `update_grams` their `centred_gram`s; `compute` gives
    the result. Kept of each batch: L x L numbers.
    """

    def __init__(self, names: Sequence[str]) -> None:
        if len(set(names)) != len(names) or not names:
            raise ValueError(f"layers need names of their own, found {', '.join(names) or 'none'}")
        self.names = tuple(names)
        self._hsic: list[np.ndarray] = []
        self._counts: list[int] = []

    def update(self, features: Mapping[str, Tensor]) -> None:
        """Add a batch, {name: (n, ...)}, the same n pictures in every layer."""
        self.update_grams({name: centred_gram(features[name]) for name in self.names})

    def update_grams(self, grams: Mapping[str, Tensor]) -> None:
        """Add a batch, {name: (n, n)}. ValueError when layers disagree about n."""
        sizes = {name: len(grams[name]) for name in self.names}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"a batch must hold the same pictures in every layer, found {sizes}")
        count = sizes[self.names[0]]
        flat = torch.stack([grams[name].double().flatten() for name in self.names])
        self._hsic.append((flat @ flat.T / (count * (count - 3))).numpy())
        self._counts.append(count)

    def compute(self) -> Similarity:
        """CKA over all batches so far. ValueError without any."""
        if not self._hsic:
            raise ValueError("no batch was added")
        hsic = np.stack(self._hsic)
        values = _ratio(hsic.mean(0))
        errors = np.full_like(values, np.nan)
        if (batches := len(hsic)) > 1:
            without = [_ratio((hsic.sum(0) - one) / (batches - 1)) for one in hsic]
            errors = np.sqrt((batches - 1) * np.var(without, axis=0))
        reasons = {
            name: "its features are the same for all pictures of every batch"
            for name, value in zip(self.names, np.diag(values), strict=True)
            if np.isnan(value)
        }
        return Similarity(self.names, values, errors, batches, sum(self._counts), reasons)


def _ratio(hsic: np.ndarray) -> np.ndarray:
    """HSIC (L, L) to CKA; NaN for a layer with itself at zero."""
    own = np.diag(hsic)
    scale = np.sqrt(np.where(own > 0, own, np.nan))
    return hsic / scale[:, None] / scale
