"""Trained networks, made ready to be written: with features and members, which are files here."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from torch import Tensor, nn

from deocclude.engines.ensemble.opening import open_inpainter
from deocclude.engines.export.writing import Exportable
from deocclude.engines.graphs.description import Answer, Description, Mask, Picture
from deocclude.engines.runs.features import load_features
from deocclude.engines.runs.finished import read_metadata, task_of
from deocclude.engines.runs.weights import load_identity_network, load_segmenter

if TYPE_CHECKING:  # brings torchvision, for 1.6 s
    from deocclude.models.identity import IdentityNet

NAMES = {  # of inputs and outputs
    "inpainting": (("occluded", "mask"), ("prediction",)),
    "segmentation": (("image",), ("logits",)),
    "identity": (("image",), ("embedding", "logits")),
}


class WholeInpainter(nn.Module):
    """An inpainter with its members and the network of its features: (occluded, mask) alone."""

    def __init__(self, network: nn.Module, features: nn.Module | None = None) -> None:
        super().__init__()
        self.network, self.features = network, features
        self.members = nn.ModuleList(getattr(network, "attached", ()))

    def forward(self, occluded: Tensor, mask: Tensor) -> Tensor:
        given: tuple[Tensor, ...] = ()
        if self.features is not None:
            given = (cast("IdentityNet", self.features).embed(occluded),)
        return self.network(occluded, mask, *given)


class Identity(nn.Module):
    """An identity network: the embedding, and what it makes of it."""

    def __init__(self, network: "IdentityNet") -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        embedding = self.network.embed(image)
        return embedding, self.network.output(embedding)


def open_exportable(file: Path) -> Exportable:
    """The network of a weights file or an ensemble's YAML, of any task, and what the file says."""
    config, _ = read_metadata(file)
    task = task_of(config)
    inputs, outputs = NAMES[task]
    module, metadata = _open(file, task)
    module.requires_grad_(False).eval()
    return Exportable(module, inputs, outputs, describe(config, metadata, inputs, outputs))


def describe(
    config: dict[str, Any],
    metadata: dict[str, Any],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
) -> Description:
    """What the ONNX file will say of itself; no path of this machine."""
    data, release = config["data"], metadata.get("release")
    template = data.get("template")
    parts: dict[str, list] = {inputs[0]: [Picture(kind="picture")]}
    if len(inputs) > 1:
        parts[inputs[1]] = [Mask(kind="mask")]
    return Description(
        task=task_of(config),  # type: ignore[arg-type]  # checked when it was read
        name=config["name"],
        inputs=parts,
        output=Answer(name=outputs[0]),
        size=data["size"],
        fill=data.get("fill", 1.0),
        template="ffhq" if template in (None, "auto") else template,
        hides=data.get("hidden_by", "masks") != "occluders",
        source={"run": config["name"], "network": config["model"]["name"]},
        release=release,
    )


def _open(file: Path, task: str) -> tuple[nn.Module, dict[str, Any]]:
    if task == "segmentation":
        return load_segmenter(file)
    if task == "identity":
        network, metadata = load_identity_network(file)
        return Identity(cast(IdentityNet, network)), metadata
    network, metadata = open_inpainter(file, keep="memory")
    uses = getattr(network, "uses_features", False)
    return WholeInpainter(network, load_features(file) if uses else None), metadata
