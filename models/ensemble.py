"""Several trained inpainters as one: their mean, median, weighted mean or a learned gate.

The combination is all that an `Ensemble` owns; its members are attached afterwards and are no part
of its state. Fixed weights are stacked regression's (Breiman, Machine Learning 1996), the gate is a
mixture of experts with frozen experts (Jacobs et al., Neural Computation 1991), here per pixel.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from deocclude.data.contract import hide, hole_ratio
from deocclude.models.unet import UNet
from deocclude.names import shown

COMBINATIONS = ("mean", "median", "weights", "bins", "gate")
EDGES = (0.1, 0.2, 0.3, 0.4, 0.5)  # hole ratios between the rows of "bins", each edge the lower's
GATE_GREY = 0.5  # what hides the hole from the gate, whatever the caller's grey level
GATE_DEPTH = 3
GATE_GAIN = 4.0  # members differ by a few hundredths; this brings that to the pictures' range
TOLERANCE = 1e-4  # how far weights may be from a sum of 1


class Member(nn.Module):
    """A trained inpainter as it was trained: frozen, its own grey level in the hole, its own
    features.

    Shape: occluded (N, 3, H, W), mask (N, 1, H, W) -> prediction (N, 3, H, W), float32.

    Args:
        network: called `network(occluded, mask[, features])`.
        fill: grey level in [0, 1] that hides the hole, whatever level the caller used.
        features: `features.embed(occluded) -> (N, D)`, for a network that takes them.
        name: for errors.
    """

    def __init__(
        self,
        network: nn.Module,
        fill: float = 1.0,
        features: nn.Module | None = None,
        name: str = "",
    ) -> None:
        super().__init__()
        self.name = name or type(network).__name__
        if not 0 <= fill <= 1:
            raise ValueError(f"{self.name}: fill must lie in [0, 1], found {fill}")
        if getattr(network, "uses_features", False) and features is None:
            raise ValueError(f"{self.name}: takes features, their network is missing")
        self.network, self.fill, self.features = network, fill, features
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Member":
        """Stays in evaluation mode: a member is fixed."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, occluded: Tensor, mask: Tensor) -> Tensor:
        seen = hide(occluded, mask, self.fill)
        given = ()
        if getattr(self.network, "uses_features", False):
            given = (self.features.embed(seen),)
        prediction = self.network(seen, mask, *given)
        if prediction.shape != occluded.shape:
            raise ValueError(
                f"{self.name} answered with shape {tuple(prediction.shape)} for an input of "
                f"{tuple(occluded.shape)}; both must be equal"
            )
        return prediction.float()


class _Attached:
    """The members of an ensemble: no sub-modules, shared by every copy of it."""

    def __init__(self) -> None:
        self.networks: tuple[Callable[[Tensor, Tensor], Tensor], ...] = ()

    def __deepcopy__(self, memo: dict) -> "_Attached":
        return self


class Ensemble(nn.Module):
    """A combination of inpainters, an inpainter itself.

    Shape: occluded (N, 3, H, W), mask (N, 1, H, W) -> prediction (N, 3, H, W) in [0, 1], H and W at
    least 32. `attach` gives it its members, without which a call is a RuntimeError.

    Args:
        members: a label each, two or more; their number fixes the shapes.
        combination: "mean"; "median"; "weights", one a member; "bins", one a member for each range
            of hole ratios between `EDGES`; "gate", a small U-Net on the picture with its hole, the
            mask and all predictions, whose softmax weighs the members in every pixel. It starts as
            the plain mean.
        width: channels of the gate at full resolution.
        weights: of the members, (M,) for "weights" and (6, M) for "bins", non-negative with sum 1;
            equal ones without.
    """

    uses_mask = True
    uses_features = False

    def __init__(
        self,
        members: Sequence[str] = (),
        combination: str = "mean",
        width: int = 24,
        weights: Sequence | None = None,
    ) -> None:
        super().__init__()
        if isinstance(members, str) or len(members) < 2:
            raise ValueError(f"members: an ensemble needs two or more, found {shown(members)}")
        if combination not in COMBINATIONS:
            raise ValueError(
                f"combination: {shown(combination)} is not one of {', '.join(COMBINATIONS)}"
            )
        if weights is not None and combination not in ("weights", "bins"):
            raise ValueError(f"weights: are for 'weights' and 'bins', not for {shown(combination)}")
        self.members, self.combination = tuple(members), combination
        self.origin = f"{len(self.members)} trained members, combined by {combination}"
        count = len(self.members)
        if combination in ("weights", "bins"):
            shape = (count,) if combination == "weights" else (len(EDGES) + 1, count)
            self.register_buffer("weights", torch.full(shape, 1 / count))
            if weights is not None:
                self.set_weights(weights)
        elif combination == "gate":
            # hidden picture, mask, mean prediction, every member's difference from the mean
            self.gate = UNet(width, GATE_DEPTH, 3 + 1 + 3 + 3 * count, count, norm="none")
            nn.init.zeros_(self.gate.head.weight)
            nn.init.zeros_(self.gate.head.bias)
        self._attached = _Attached()

    def set_weights(self, weights: Sequence | Tensor) -> None:
        """Replace the fixed weights; ValueError unless non-negative rows that sum to 1."""
        if self.combination not in ("weights", "bins"):
            raise ValueError(f"weights: a combination by {shown(self.combination)} has none to set")
        try:
            given = torch.as_tensor(weights, dtype=torch.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"weights: must be numbers in rows of equal length ({error})"
            ) from None
        if given.shape != self.weights.shape:
            raise ValueError(
                f"weights: shape must be {tuple(self.weights.shape)} for "
                f"{len(self.members)} members, found {tuple(given.shape)}"
            )
        sums = given.sum(dim=-1)
        if not ((given >= 0).all() and ((sums - 1).abs() <= TOLERANCE).all()):  # NaN fails too
            raise ValueError(f"weights: must be 0 or more with sum 1, found {given.tolist()}")
        self.weights.copy_(given / sums[..., None])

    def attach(self, networks: Sequence[Callable[[Tensor, Tensor], Tensor]]) -> "Ensemble":
        """Give it its members, in the order of their labels, each `network(occluded, mask) ->
        prediction`. They follow the input's device and are shared with every copy."""
        if len(networks) != len(self.members):
            raise ValueError(
                f"{len(networks)} networks for {len(self.members)} members: "
                f"{', '.join(self.members)}"
            )
        self._attached.networks = tuple(networks)
        return self

    @property
    def attached(self) -> tuple[Callable[[Tensor, Tensor], Tensor], ...]:
        """The members, () before `attach`."""
        return self._attached.networks

    def member_parameters(self) -> int:
        """Parameters of all members, their features' included; they are none of this module's."""
        return sum(parameter_count(network) for network in self.attached)

    @torch.no_grad()
    def predictions(self, occluded: Tensor, mask: Tensor) -> Tensor:
        """Every member's answer, one after another, without gradients. (M, N, 3, H, W), float32."""
        if not self.attached:
            raise RuntimeError(
                f"the members {', '.join(self.members)} are not attached: open the ensemble's file "
                "with engines.ensemble.opening.open_inpainter, or call attach(networks)"
            )
        answers = occluded.new_empty((len(self.attached), *occluded.shape), dtype=torch.float32)
        for answer, network in zip(answers, self.attached, strict=True):
            _follow(network, occluded.device)
            answer.copy_(network(occluded, mask))
        return answers

    def combine(self, predictions: Tensor, occluded: Tensor, mask: Tensor) -> Tensor:
        """(M, N, 3, H, W), (N, 3, H, W), (N, 1, H, W) -> (N, 3, H, W)."""
        if self.combination == "mean":
            return predictions.mean(dim=0)
        if self.combination == "median":
            ordered = predictions.sort(dim=0).values
            return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
        weights = self.member_weights(predictions, occluded, mask)  # (M, N or 1, 1, H or 1, W or 1)
        return (weights * predictions).sum(dim=0).clamp(0, 1)

    def member_weights(self, predictions: Tensor, occluded: Tensor, mask: Tensor) -> Tensor:
        """What each member counts, broadcastable to `predictions`, with sum 1 over members.

        Shape: (M, 1, 1, 1, 1) for "weights", (M, N, 1, 1, 1) for "bins", (M, N, 1, H, W) for
        "gate". ValueError for "median", whose weights depend on the values themselves.
        """
        if self.combination == "mean":
            return predictions.new_full((len(predictions), 1, 1, 1, 1), 1 / len(predictions))
        if self.combination == "weights":
            return self.weights.view(-1, 1, 1, 1, 1)
        if self.combination == "bins":
            return self.weights[bin_index(mask)].T[:, :, None, None, None]
        if self.combination == "gate":
            logits = self.gate(self._gate_input(predictions, occluded, mask)).float()
            return logits.softmax(dim=1).transpose(0, 1).unsqueeze(2)
        raise ValueError("the median has no weights of its members")

    def _gate_input(self, predictions: Tensor, occluded: Tensor, mask: Tensor) -> Tensor:
        mean = predictions.mean(dim=0)
        apart = GATE_GAIN * (predictions - mean).transpose(0, 1).flatten(1, 2)
        seen = hide(occluded, mask, GATE_GREY)
        return torch.cat([seen, mask.to(seen.dtype), mean, apart], dim=1)

    @staticmethod
    def disagreement(predictions: Tensor) -> Tensor:
        """How far the members are apart: their standard deviation, averaged over the channels.

        Shape: (M, N, 3, H, W) -> (N, 1, H, W), in grey levels of [0, 1].
        """
        return predictions.std(dim=0, correction=0).mean(dim=1, keepdim=True)

    def forward(
        self, occluded: Tensor, mask: Tensor | None = None, features: Tensor | None = None
    ) -> Tensor:
        height, width = occluded.shape[-2:]
        if min(height, width) < 32:
            raise ValueError(f"input is {height} x {width}; Ensemble needs 32 x 32 or more")
        if mask is None:
            raise ValueError("mask: None, but Ensemble needs the (N, 1, H, W) mask")
        return self.combine(self.predictions(occluded, mask), occluded, mask)


def bin_index(mask: Tensor) -> Tensor:
    """The row of `EDGES` that each image's own hole ratio lies in, (N,), 0 to 5."""
    edges = torch.tensor(EDGES, dtype=torch.float64)
    ratios = hole_ratio(mask.cpu().double())  # exact at the edges; some devices have no float64
    return torch.bucketize(ratios, edges).to(mask.device)


def parameter_count(network: Callable) -> int:
    """Parameters of a member: as it says itself, or counted."""
    told = getattr(network, "parameter_count", None)
    if told is not None:
        return told
    return sum(p.numel() for p in network.parameters()) if isinstance(network, nn.Module) else 0


def _follow(network: Callable, device: torch.device) -> None:
    """Move a member to `device` unless it is there or has nothing to move."""
    if isinstance(network, nn.Module):
        first = next(network.parameters(), None)
        if first is not None and first.device != device:
            network.to(device)
