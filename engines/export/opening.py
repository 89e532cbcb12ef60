"""Trained networks, made ready to be written: with features and members, which are files here."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from torch import Tensor, nn

from deocclude.engines.ensemble.opening import open_inpainter
from deocclude.engines.export.writing import Exportable
from deocclude.engines.graphs.description import Answer, Description, Mask, Picture
from deocclude.engines.graphs.packages import OnnxError
from deocclude.engines.runs.finished import read_metadata
from deocclude.engines.runs.tasks import TASKS, task_of
from deocclude.engines.runs.weights import load_features, load_identity_network, load_segmenter
from deocclude.names import imported

if TYPE_CHECKING:  # brings torchvision, for 1.6 s
    from deocclude.models.identity import IdentityNet


# Module, names of its inputs and of its outputs, and the weights file's metadata.
Opened = tuple[nn.Module, tuple[str, ...], tuple[str, ...], dict[str, Any]]


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
    task = TASKS[task_of(config)]
    if task.exporter is None:
        raise OnnxError(f"{file}: networks for {task.name} are not written as ONNX files")
    module, inputs, outputs, metadata = imported(task.exporter)(file)
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


def exported_inpainter(file: Path) -> Opened:
    network, metadata = open_inpainter(file, keep="memory")
    features = load_features(file) if getattr(network, "uses_features", False) else None
    return WholeInpainter(network, features), ("occluded", "mask"), ("prediction",), metadata


def exported_segmenter(file: Path) -> Opened:
    network, metadata = load_segmenter(file)
    return network, ("image",), ("logits",), metadata


def exported_identity_network(file: Path) -> Opened:
    network, metadata = load_identity_network(file)
    module = Identity(cast("IdentityNet", network))
    return module, ("image",), ("embedding", "logits"), metadata
