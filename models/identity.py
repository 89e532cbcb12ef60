"""Identity networks: whose face this is, and the embedding that generators are conditioned on."""

from torch import Tensor, nn
from torchvision.models import EfficientNet_B0_Weights, efficientnet_b0

from deocclude.models.blocks import ImageNetNormalise
from deocclude.models.pretrained import load_backbone

HIDDEN = (512, 256)
SMALLEST = 32  # pixels: EfficientNet-B0 halves the picture five times


class IdentityNet(nn.Module):
    """EfficientNet-B0 (Tan and Le, ICML 2019) and the published head on its 1000 outputs.

    The document on the attention GAN gives the head as 1000-512-256-classes with BatchNorm,
    LeakyReLU 0.1 and dropout 0.2. It does not say in which order, nor what its 128 numbers for the
    generator are taken from: here each hidden layer is Linear, BatchNorm, LeakyReLU, dropout, and
    the embedding is the last hidden layer before its dropout. Untrained, it is nearly the same for
    every picture: the running statistics that BatchNorm starts with shrink the signal.

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
