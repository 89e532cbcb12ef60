"""Segmenters of segmentation_models_pytorch: any of its architectures on any of its encoders.

Iakubovskii 2019, https://github.com/qubvel-org/segmentation_models.pytorch.
"""

import difflib
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deocclude.models.blocks import ImageNetNormalise, pad_to_multiple
from deocclude.models.encoder_weights import load_encoder
from deocclude.names import shown

MIN_SIDE = 16
UNET_CHANNELS = (128, 64, 32, 24, 16)
# Set here, not by a run's options.
FIXED = (
    "self", "kwargs", "encoder_name", "encoder_weights", "in_channels", "classes", "activation",
    "aux_params", "decoder_channels",
)  # fmt: skip


class SMPSegmenter(nn.Module):
    """A network of segmentation_models_pytorch with one output channel.

    Shape: occluded (N, 3, H, W) in [0, 1] -> logits (N, 1, H, W), any H and W of at least 16.
    ImageNet normalisation is done inside; the picture is padded to what the encoder needs.

    Architectures that pool to one value a channel (DeepLabV3, DeepLabV3Plus, PAN, PSPNet) need two
    images in a training batch.

    Args:
        architecture: the class there, e.g. Unet, FPN or DeepLabV3Plus, in any case.
        encoder: resnet18, or tu- and a name of timm, e.g. tu-tf_efficientnet_lite0.
        pretrained: the encoder's weights: auto, true, package, false or a file (see
            `models.encoder_weights`).
        decoder_channels: a list, deepest first, for Unet (default 128, 64, 32, 24, 16),
            UnetPlusPlus and MAnet; a number for DeepLabV3, DeepLabV3Plus, PAN and UPerNet; None is
            the architecture's own.
        options: what else the architecture's class takes, e.g. {encoder_depth: 4}.

    Attributes:
        origin: where the encoder's weights came from, for the run's record.
    """

    def __init__(
        self,
        architecture: str = "Unet",
        encoder: str = "tu-tf_efficientnet_lite0",
        pretrained: str | bool | Path = "auto",
        decoder_channels: int | Sequence[int] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        build = _architecture(architecture)
        _check_encoder(encoder)
        options = dict(options or {})
        takes = inspect.signature(build.__init__).parameters
        unknown = [key for key in options if key not in takes or key in FIXED]
        if unknown:
            valid = ", ".join(key for key in takes if key not in FIXED)
            raise ValueError(f"options: {unknown} not in {build.__name__}; valid are {valid}")
        if decoder_channels is None and build.__name__ == "Unet":
            decoder_channels = UNET_CHANNELS[: options.get("encoder_depth", 5)]
        if decoder_channels is not None:
            if "decoder_channels" not in takes:
                raise ValueError(f"decoder_channels: {build.__name__} does not take it")
            options["decoder_channels"] = decoder_channels
        if build.__name__ == "DPT":  # its encoders are timm's transformers, made for one size
            options["dynamic_img_size"] = True
        self.normalise = ImageNetNormalise()
        self.network = build(encoder, encoder_weights=None, **options)

        def download() -> dict[str, Tensor]:
            weights = True if encoder.startswith("tu-") else "imagenet"
            return build(encoder, encoder_weights=weights, **options).encoder.state_dict()

        name = encoder.removeprefix("tu-").removeprefix("timm-")
        self.origin = f"encoder: {load_encoder(self.network.encoder, name, pretrained, download)}"
        self.multiple = _multiple(self.network, build.__name__)

    def forward(self, occluded: Tensor) -> Tensor:
        height, width = occluded.shape[-2:]
        if min(height, width) < MIN_SIDE:
            raise ValueError(
                f"input is {height} x {width}; this segmenter needs at least "
                f"{MIN_SIDE} x {MIN_SIDE}"
            )
        padded = pad_to_multiple(self.normalise(occluded), self.multiple)
        padded = padded.contiguous(memory_format=torch.channels_last)  # the faster order
        return self.network(padded)[..., :height, :width]


def _multiple(network: nn.Module, architecture: str) -> int:
    """What height and width must be a multiple of."""
    encoder = network.encoder
    if architecture == "DPT":  # halves its encoder's last tokens; strides are one a stage
        return 2 * max(encoder.output_strides)
    if architecture == "PAN":  # halves its encoder's last features three times more
        return 8 * encoder.output_stride
    return encoder.output_stride


def _architecture(name: str) -> type[nn.Module]:
    """The class of a name in any case. ValueError lists the valid ones."""
    import segmentation_models_pytorch as smp

    classes = smp.MODEL_ARCHITECTURES_MAPPING
    if name.lower() not in classes:
        valid = ", ".join(each.__name__ for each in classes.values())
        raise ValueError(f"architecture: {shown(name)} is not one of {valid}")
    return classes[name.lower()]


def _check_encoder(name: str) -> None:
    """Raise ValueError, with those of a similar name, when an encoder is not known."""
    import timm
    from segmentation_models_pytorch.encoders import get_encoder_names

    valid = get_encoder_names()
    if name in valid or (name.startswith("tu-") and timm.is_model(name[3:])):
        return
    everything = [*valid, *(f"tu-{each}" for each in timm.list_models())]
    close = difflib.get_close_matches(name, everything, n=5)
    hint = f"did you mean {', '.join(close)}? " if close else ""
    raise ValueError(
        f"encoder: {shown(name)} is not known; {hint}valid are {', '.join(valid)}, "
        "or tu- and any name of timm.list_models()"
    )
