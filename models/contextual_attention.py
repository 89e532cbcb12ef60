"""Contextual attention: what is hidden borrows the features of what is seen."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deocclude.names import shown


class ContextualAttention(nn.Module):
    """Each hole position becomes a weighted mean of the known positions' features.

    Weights are softmax_j(cos(p_i, p_j) / temperature) over known j, where p_i is what a window of
    `patch` x `patch` around i holds, zero beyond the border (Yu et al., CVPR 2018, section 4.1).
    There a match brings its whole window along and neighbouring matches are made to agree; here it
    brings the features of its centre. Known positions stay as they are, and so does an image
    without any known position.

    Shape: features (N, C, h, w), mask (N, 1, h, w) with 1 = hole -> (N, C, h, w).

    Args:
        temperature: small numbers pick one match, large ones average. 0.1 is the attention-based
            GAN's.
        patch: side of the window that is compared, 1 or 3.
    """

    def __init__(self, temperature: float = 0.1, patch: int = 1) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature: {temperature} must be above 0")
        if patch not in (1, 3):
            raise ValueError(f"patch: {shown(patch)} is not one of 1, 3")
        self.temperature, self.patch = temperature, patch

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        windows, allowed, replaced = self._matched(features, mask)
        values = features.float().flatten(2).transpose(1, 2).unsqueeze(1)
        with torch.autocast(features.device.type, enabled=False):  # logits are cosines over 0.1
            borrowed = F.scaled_dot_product_attention(
                windows, windows, values, attn_mask=allowed, scale=1 / self.temperature
            )
        borrowed = borrowed.squeeze(1).transpose(1, 2).reshape(features.shape)
        return torch.where(replaced, borrowed.to(features.dtype), features)

    def weights(self, features: Tensor, mask: Tensor) -> Tensor:
        """How much each position, a row, would take of each known one: (N, h w, h w), rows sum to
        1. Only rows of the hole are used."""
        windows, allowed, _ = self._matched(features, mask)
        logits = windows @ windows.transpose(-2, -1) / self.temperature
        return logits.masked_fill(~allowed, -torch.inf).softmax(dim=-1).squeeze(1)

    def _matched(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Unit windows (N, 1, hw, C patch^2), which of them may be taken (N, 1, 1, hw), and where
        that is done (N, 1, h, w)."""
        if mask.shape != (features.shape[0], 1, *features.shape[2:]):
            raise ValueError(
                f"mask {tuple(mask.shape)} does not fit features {tuple(features.shape)}"
            )
        hole = mask.flatten(1) > 0  # (N, hw)
        windows = F.unfold(features.float(), self.patch, padding=self.patch // 2)
        windows = F.normalize(windows, dim=1).transpose(1, 2).unsqueeze(1)
        # Without any known position all are allowed: a softmax over nothing would be NaN.
        nothing_known = hole.all(dim=1, keepdim=True)
        allowed = (~hole | nothing_known)[:, None, None, :]
        return windows, allowed, (hole & ~nothing_known).view(mask.shape)
