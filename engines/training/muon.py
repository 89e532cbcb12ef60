"""Muon: a step that moves every direction of a weight matrix by the same amount."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

STEPS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # steepest at zero: singular values end in 0.7 to 1.2
MOMENTUM = 0.95


class Muon(torch.optim.AdamW):
    """Muon (Jordan et al. 2024) for matrices, AdamW for everything else, one learning rate.

    A convolution's weight is the matrix (out, in * kernel). Its Nesterov momentum is orthogonalised
    by Newton-Schulz and scaled to the size that AdamW's updates have (Liu et al. 2025, section
    2.2). `torch.optim.Muon` takes matrices alone, which leaves out convolutions.
    """

    def __init__(
        self,
        matrices: Iterable[nn.Parameter],
        others: Iterable[nn.Parameter],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
        fused: bool = False,
    ) -> None:
        groups = [
            {"params": list(matrices), "orthogonal": True},
            {"params": list(others), "orthogonal": False},
        ]
        groups = [group for group in groups if group["params"]]
        super().__init__(groups, lr=lr, betas=betas, weight_decay=weight_decay, fused=fused)

    @torch.no_grad()
    def step(self, closure=None):
        """One step; like AdamW's, of the parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        gradients = {}
        for group in self.param_groups:
            if not group["orthogonal"]:
                continue
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:  # AdamW's own loading looks for a step
                    state["step"] = torch.zeros((), device=weight.device)
                    state["momentum"] = torch.zeros_like(weight)
                state["momentum"].lerp_(weight.grad, 1 - MOMENTUM)
                update = orthogonal(weight.grad.lerp(state["momentum"], MOMENTUM).flatten(1))
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                size = 0.2 * max(update.shape) ** 0.5
                weight.add_(update.view(weight.shape), alpha=-group["lr"] * size)
                gradients[weight], weight.grad = weight.grad, None  # AdamW passes over it
        super().step()
        for weight, gradient in gradients.items():
            weight.grad = gradient
        return loss


def orthogonal(matrix: Tensor) -> Tensor:
    """About the nearest matrix (M, N) whose rows, or columns if these are fewer, are orthonormal.

    Newton-Schulz in bfloat16, as the method has it: singular values end near 1, not at it.
    """
    a, b, c = COEFFICIENTS
    x = matrix.bfloat16()
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(STEPS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.T if tall else x).to(matrix.dtype)


def matrices_of(network: nn.Module) -> list[nn.Parameter]:
    """The weights of convolutions and linear layers that train, but for depthwise ones and those of
    layers called `head`, whose outputs are pixels and not features."""
    return [
        layer.weight
        for name, layer in network.named_modules()
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear))
        and layer.weight.requires_grad
        and getattr(layer, "groups", 1) == 1
        and "head" not in name.split(".")
    ]
