"""Discriminators: images in, real-or-fake logits out.

Real and generated images go through in one pass, so none of these has statistics over the batch:
where a published discriminator has BatchNorm, these have instance normalisation or none.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as normalise_spectrum

from deocclude.models.blocks import SeparableConv2d, initialise
from deocclude.names import shown

SLOPE = 0.2  # of every LeakyReLU
POOLED = 4  # side of the feature map that DCGAN's last convolution sees


class _Discriminator(nn.Module):
    """`features`, layers each followed by a LeakyReLU, and `judge`, which gives the logits."""

    uses_mask = False
    features: nn.Sequential
    judge: nn.Module

    def answer(self, encoded: Tensor) -> Tensor:
        """Logits of what `features` makes of pictures."""
        return self.judge(encoded)

    def seen(self, image: Tensor, mask: Tensor | None = None) -> list[Tensor]:
        """What each layer of `features` makes of images (N, 3, H, W): a (N, C, h, w) each."""
        found, answer = [], self._input(image, mask)
        for layer in self.features:
            answer = layer(answer)
            if isinstance(layer, nn.LeakyReLU):
                found.append(answer)
        return found

    def forward(self, image: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.answer(self.features(self._input(image, mask)))

    def _input(self, image: Tensor, mask: Tensor | None) -> Tensor:
        return image


def _check_initialisation(named: str) -> None:
    if named not in ("he", "torch"):
        raise ValueError(f"initialisation: {shown(named)} is not one of he, torch")


class SeparablePatchDiscriminator(_Discriminator):
    """Patch discriminator of depthwise-separable convolutions (the De-Occlusion Face Model's).

    Shape: (N, in_channels, H, W) -> logits (N, 1, H / 16, W / 16). 0.183 M parameters.

    Args:
        initialisation: torch (PyTorch's default, from which it takes long to leave chance) or he
            (see `models.blocks.initialise`).
    """

    def __init__(
        self,
        in_channels: int = 3,
        widths: tuple[int, ...] = (64, 128, 256, 512),
        initialisation: str = "torch",
    ) -> None:
        super().__init__()
        _check_initialisation(initialisation)
        layers: list[nn.Module] = []
        for before, after in pairwise((in_channels, *widths)):
            layers += [SeparableConv2d(before, after, stride=2), nn.LeakyReLU(SLOPE, inplace=True)]
        layers += [SeparableConv2d(widths[-1], 1)]
        self.layers = nn.Sequential(*layers)
        if initialisation == "he":
            initialise(self, SLOPE)

    @property
    def features(self) -> nn.Sequential:
        return self.layers[:-1]

    @property
    def judge(self) -> nn.Module:
        return self.layers[-1]


class _ConvDiscriminator(_Discriminator):
    """4 x 4 convolutions and LeakyReLU 0.2, normalised except for the first and the last.

    Raises ValueError for a norm or initialisation that is not known, for no widths, and when the
    mask that `with_mask` demands is not given.
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        strides: tuple[int, ...],
        last_padding: int,
        with_mask: bool,
        norm: str,
        spectral_norm: bool,
        initialisation: str,
    ) -> None:
        super().__init__()
        if norm not in ("instance", "none"):
            raise ValueError(f"norm: {shown(norm)} is not one of instance, none")
        _check_initialisation(initialisation)
        if not widths or min(widths) < 1:
            raise ValueError(f"widths: {tuple(widths)} must be one or more numbers of at least 1")
        self.uses_mask = with_mask
        channels = (4 if with_mask else 3, *widths)
        layers: list[nn.Module] = []
        for index, ((before, after), stride) in enumerate(
            zip(pairwise(channels), strides, strict=True)
        ):
            layers.append(nn.Conv2d(before, after, kernel_size=4, stride=stride, padding=1))
            if norm == "instance" and index:
                layers.append(nn.InstanceNorm2d(after, affine=True))
            layers.append(nn.LeakyReLU(SLOPE, inplace=True))
        self.features = nn.Sequential(*layers)
        self.judge = nn.Conv2d(widths[-1], 1, kernel_size=4, padding=last_padding)
        if initialisation == "he":
            initialise(self, SLOPE)
        if spectral_norm:
            for layer in [*self.features, self.judge]:
                if isinstance(layer, nn.Conv2d):
                    normalise_spectrum(layer)

    def _input(self, image: Tensor, mask: Tensor | None) -> Tensor:
        if min(image.shape[-2:]) < 32:
            height, width = image.shape[-2:]
            raise ValueError(
                f"image is {height} x {width}; the discriminator needs 32 x 32 or more"
            )
        if self.uses_mask:
            if mask is None:
                raise ValueError("mask: None, but with_mask is set; give the (N, 1, H, W) mask")
            image = torch.cat([image, mask.to(image.dtype)], dim=1)
        return image


class PatchDiscriminator(_ConvDiscriminator):
    """PatchGAN (Isola et al., CVPR 2017, appendix 6.1.2): one logit for each 70 x 70 pixels.

    C64-C128-C256-C512, stride 2 except for the last, and a convolution to one channel; 2.767 M
    parameters. BatchNorm there is instance normalisation here.

    Shape: (N, 3, H, W) -> logits (N, 1, H / 8 - 2, W / 8 - 2), H and W at least 32.

    Args:
        with_mask: the mask (N, 1, H, W) is a fourth input channel; otherwise it is not looked at.
        norm: instance or none.
        spectral_norm: every convolution has spectral norm 1 (Miyato et al., ICLR 2018).
        initialisation: he (see `models.blocks.initialise`) or torch (PyTorch's default).
    """

    def __init__(
        self,
        with_mask: bool = False,
        widths: tuple[int, ...] = (64, 128, 256, 512),
        norm: str = "instance",
        spectral_norm: bool = False,
        initialisation: str = "he",
    ) -> None:
        strides = (*[2] * (len(widths) - 1), 1)
        super().__init__(widths, strides, 1, with_mask, norm, spectral_norm, initialisation)


class GlobalDiscriminator(_ConvDiscriminator):
    """DCGAN's discriminator (Radford et al., ICLR 2016): one logit for the whole image.

    64-128-256-512 at stride 2, then a 4 x 4 convolution to one number; 2.765 M parameters. DCGAN is
    for 64 px; the features of larger images are averaged to the 4 x 4 grid that it has there.
    BatchNorm there is nothing here by default: instance normalisation would take away each image's
    own statistics, which this discriminator is there to judge.

    Shape: (N, 3, H, W) -> logits (N, 1), H and W at least 32.

    Args: as for `PatchDiscriminator`.
    """

    def __init__(
        self,
        with_mask: bool = False,
        widths: tuple[int, ...] = (64, 128, 256, 512),
        norm: str = "none",
        spectral_norm: bool = False,
        initialisation: str = "he",
    ) -> None:
        strides = (2,) * len(widths)
        super().__init__(widths, strides, 0, with_mask, norm, spectral_norm, initialisation)
        self.pool = nn.AdaptiveAvgPool2d(POOLED)

    def answer(self, encoded: Tensor) -> Tensor:
        return self.judge(self.pool(encoded)).flatten(1)
