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
        if mask.shape != (features.shape[0], 1, *features.shape[2:]):
            raise ValueError(
                f"mask {tuple(mask.shape)} does not fit features {tuple(features.shape)}"
            )
        hole = mask.flatten(1) > 0  # (N, hw)
        windows = F.unfold(features.float(), self.patch, padding=self.patch // 2)
        windows = F.normalize(windows, dim=1).transpose(1, 2).unsqueeze(1)  # (N, 1, hw, C patch^2)
        values = features.float().flatten(2).transpose(1, 2).unsqueeze(1)
        # Without any known position all are allowed: a softmax over nothing would be NaN.
        nothing_known = hole.all(dim=1, keepdim=True)
        allowed = (~hole | nothing_known)[:, None, None, :]
        with torch.autocast(features.device.type, enabled=False):  # logits are cosines over 0.1
            borrowed = F.scaled_dot_product_attention(
                windows, windows, values, attn_mask=allowed, scale=1 / self.temperature
            )
        borrowed = borrowed.squeeze(1).transpose(1, 2).reshape(features.shape)
        replaced = (hole & ~nothing_known).view(mask.shape)
        return torch.where(replaced, borrowed.to(features.dtype), features)
