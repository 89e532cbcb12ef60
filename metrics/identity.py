"""Whether the restored face is still the same person to an identity network."""

from collections.abc import Callable

import torch
from torch import Tensor

from deocclude.metrics.once_per_target import OncePerTarget


class CosineSimilarity:
    """The cosine of the angle between two pictures' embeddings, 1 for equal pictures.

    Args:
        embed: pictures (N, 3, H, W) in [0, 1] to embeddings (N, D).
    """

    def __init__(self, embed: Callable[[Tensor], Tensor]):
        self.embed = embed
        self._of_target = OncePerTarget(embed)

    @torch.inference_mode()
    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """(N, 3, H, W) twice to (N,); NaN where an embedding is zero or not finite."""
        first, second = self.embed(prediction).double(), self._of_target(target).double()
        lengths = first.norm(dim=1) * second.norm(dim=1)
        cosine = (first * second).sum(1) / lengths
        return torch.where(cosine.isfinite(), cosine.clamp(-1, 1), torch.nan).float()
