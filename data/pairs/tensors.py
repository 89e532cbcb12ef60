"""Frozen pairs as tensors in the contract's form."""

from collections.abc import Iterator, Sequence, Sized

import torch
from torch import Tensor

from deocclude.data.contract import check_pair, hide
from deocclude.data.images import to_tensor
from deocclude.data.pairs.holes import FrozenPairs
from deocclude.data.pairs.occluded import FrozenOccluded


def batches(pairs: Sized, size: int) -> Iterator[range]:
    """The places of all pairs, `size` at a time; the last batch may have fewer."""
    for first in range(0, len(pairs), size):
        yield range(first, min(first + size, len(pairs)))


def load_pairs(
    pairs: FrozenPairs | FrozenOccluded, indices: Sequence[int], fill: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Target, mask and occluded image of some pairs, as an inpainter is trained on them.

    Shape: (N, 3, H, W), (N, 1, H, W), (N, 3, H, W). A pair of image and mask gets a hole of grey
    level `fill`; one of face and occluder shows the occluder. ValueError where a set on disk has
    no clean pictures.
    """
    if isinstance(pairs, FrozenOccluded):
        target, occluded, mask = load_occluded(pairs, indices)
        if target is None:
            raise ValueError(f"{pairs.description}: holds no clean pictures to restore")
        check_pair(target, mask)
        return target, mask, occluded
    images, masks = zip(*(pairs.load(i) for i in indices), strict=True)
    target, mask = (torch.stack([to_tensor(one) for one in part]) for part in (images, masks))
    check_pair(target, mask)
    return target, mask, hide(target, mask, fill)


def load_occluded(
    pairs: FrozenOccluded, indices: Sequence[int]
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Target (None where one is missing), occluded image and mask of some pairs, in the contract's
    form."""
    targets, images, masks = zip(*(pairs.load(i) for i in indices), strict=True)
    occluded, mask = (torch.stack([to_tensor(one) for one in part]) for part in (images, masks))
    check_pair(occluded, mask)
    if any(target is None for target in targets):
        return None, occluded, mask
    return torch.stack([to_tensor(target) for target in targets]), occluded, mask
