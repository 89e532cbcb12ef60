"""Identity networks: whose face this is, and the embedding that generators are conditioned on."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import EfficientNet_B0_Weights, efficientnet_b0

from models.blocks import ImageNetNormalise
from models.pretrained import load_backbone

HIDDEN = (512, 256)
SMALLEST = 32  # pixels: EfficientNet-B0 halves the picture five times


class IdentityNet(nn.Module):
    """EfficientNet-B0 (Tan and Le, ICML 2019) and the published head on its 1000 outputs.

    The document on the attention GAN gives the head as 1000-512-256-classes with BatchNorm,
    LeakyReLU 0.1 and dropout 0.2. It does not say in which order, nor what its 128 numbers for the
    generator are taken from: here each hidden layer is Linear, BatchNorm, LeakyReLU, dropout, and
    the embedding is the last hidden layer before its dropout.

    Args:
        classes: identities; the published system tells ten apart.
        pretrained: auto, true, false or a file (see `models.pretrained`) for EfficientNet-B0.
        slope: of the LeakyReLU.
        dropout: share, in the head and before EfficientNet's own last layer.

    Attributes:
        embedding: length of what `embed` gives.
        origin: where the initial weights came from.
    """

    def __init__(
        self,
        classes: int = 10,
        pretrained: str | bool = "auto",
        slope: float = 0.1,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if classes < 2:
            raise ValueError(f"classes: at least 2 identities are needed, found {classes}")
        self.normalise = ImageNetNormalise()
        self.backbone = efficientnet_b0(dropout=dropout)
        published = EfficientNet_B0_Weights.IMAGENET1K_V1
        self.origin = load_backbone(self.backbone, pretrained, published)
        widths = (self.backbone.classifier[-1].out_features, *HIDDEN)
        self.hidden = nn.ModuleList(
            nn.Sequential(nn.Linear(before, after), nn.BatchNorm1d(after), nn.LeakyReLU(slope))
            for before, after in zip(widths, HIDDEN, strict=False)
        )
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(HIDDEN[-1], classes)
        self.embedding = HIDDEN[-1]
        if self.origin.startswith("random"):
            self._measure_statistics()

    @torch.no_grad()
    def _measure_statistics(self, seed: int = 0) -> None:
        """BatchNorm's running statistics from one pass over seeded smooth noise.

        Those that PyTorch starts with shrink the signal layer by layer, until an untrained network
        in evaluation mode gives every picture the same embedding.
        """
        generator = torch.Generator().manual_seed(seed)
        noise = [torch.randn(16, 3, side, side, generator=generator) for side in (4, 16, 64)]
        image = sum(F.interpolate(x, 64, mode="bilinear") for x in noise).mul(0.15).add(0.5)
        norms = [m for m in self.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
        momenta = [norm.momentum for norm in norms]
        self.eval()  # neither dropout nor stochastic depth
        for norm in norms:
            norm.train().momentum = 1.0
        self.embed(image.clamp(0, 1))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked.zero_()
        self.train()

    def embed(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1], H and W of at least 32, to (N, `embedding`)."""
        if image.ndim != 4 or image.shape[1] != 3 or min(image.shape[2:]) < SMALLEST:
            raise ValueError(
                f"image must be (N, 3, H, W) with H and W of at least {SMALLEST}, "
                f"found {tuple(image.shape)}"
            )
        first, last = self.hidden
        return last(self.dropout(first(self.backbone(self.normalise(image)))))

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] to logits (N, classes)."""
        return self.output(self.dropout(self.embed(image)))
