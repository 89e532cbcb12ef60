"""A network in an ONNX file, asked like any other: PyTorch's tensors in and out, on the CPU."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from deocclude.engines.graphs.description import (
    Description,
    Mask,
    Picture,
    read_description,
    read_model,
)
from deocclude.engines.graphs.packages import RUNTIME, OnnxError, need

TYPES = {  # of ONNX Runtime, as PyTorch has them
    "tensor(float)": torch.float32,
    "tensor(float16)": torch.float16,
    "tensor(double)": torch.float64,
    "tensor(uint8)": torch.uint8,
    "tensor(int32)": torch.int32,
    "tensor(int64)": torch.int64,
    "tensor(bool)": torch.bool,
}
CHANNELS = {"picture": 3, "mask": 1}


def open_session(path: Path) -> Any:
    """ONNX Runtime on the CPU, with as many threads as PyTorch has. OnnxError, with its first line,
    for a file that it cannot run, such as one with an operator that it does not know."""
    runtime = need(RUNTIME)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    # Threads that wait for work by spinning take the cores from the other network's: two networks
    # in turn on two cores, 41 and 29 ms with, 21 and 16 without.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own kinds, which share no other ancestor
        first = str(error).strip().splitlines()[0]
        raise OnnxError(f"{path}: ONNX Runtime cannot run it: {first}") from error


def run_session(
    session: Any, outputs: Sequence[str], arrays: dict[str, np.ndarray], who: str
) -> list[np.ndarray]:
    """The answers to one call. OnnxError, with the first line of what `who` failed at."""
    try:
        return session.run(list(outputs), arrays)
    except Exception as error:  # as in open_session
        first = str(error).strip().splitlines()[0]
        raise OnnxError(f"{who} failed: {first}") from error


class OnnxNetwork(nn.Module):
    """What both kinds share: the session, the sizes that the file fixes, and one call of it.

    Args:
        path: the file. OnnxError where its inputs and outputs are not those of its description.
        told: its description, by default what it says.
    """

    uses_mask = True
    uses_features = False

    def __init__(self, path: Path, told: Description | None = None) -> None:
        super().__init__()
        self.path, self.told = path, told or read_description(path)
        self.origin = f"ONNX file {path.name}"
        self.session = open_session(path)
        inputs = {each.name: each for each in self.session.get_inputs()}
        if inputs.keys() != self.told.inputs.keys():
            raise OnnxError(
                f"{path}: has the inputs {', '.join(inputs)}; described are "
                f"{', '.join(self.told.inputs)}"
            )
        outputs = [each.name for each in self.session.get_outputs()]
        self.output = self.told.output.name or outputs[0]
        if self.output not in outputs:
            raise OnnxError(f"{path}: has no output {self.output!r}; valid: {', '.join(outputs)}")
        self.types = {name: self._type_of(each) for name, each in inputs.items()}
        shapes = [self._shape_of(each) for each in inputs.values()]
        self.batch = _fixed(path, "batch", [shape[0] for shape in shapes])
        self.sides = tuple(
            _fixed(path, name, [shape[axis] for shape in shapes])
            for name, axis in (("height", 2), ("width", 3))
        )
        if self.batch not in (None, 1):
            raise OnnxError(
                f"{path}: takes batches of {self.batch} alone; any number or 1 is needed"
            )

    @property
    def parameter_count(self) -> int:
        """The numbers in its initialisers that are no whole numbers, read from the file."""
        onnx = need("onnx")
        kinds = onnx.TensorProto
        counted = (kinds.FLOAT, kinds.FLOAT16, kinds.DOUBLE, kinds.INT8, kinds.UINT8)
        tensors = read_model(self.path).graph.initializer
        shapes = [tuple(each.dims) for each in tensors if each.data_type in counted]
        return sum(int(torch.Size(shape).numel()) for shape in shapes)

    def ask(self, picture: Tensor, mask: Tensor | None) -> Tensor:
        """(N, 3, H, W) in [0, 1] and (N, 1, H, W) to the output as the file has it, but for the
        channels, which come second; H and W are those that the file fixes, if it does."""
        given = {
            name: self._given(parts, self.types[name], picture, mask)
            for name, parts in self.told.inputs.items()
        }
        if self.batch is None or len(picture) == 1:
            return self._run(given)
        rows = [{name: t[i : i + 1] for name, t in given.items()} for i in range(len(picture))]
        return torch.cat([self._run(row) for row in rows])

    def _run(self, given: dict[str, Tensor]) -> Tensor:
        arrays = {name: tensor.contiguous().numpy() for name, tensor in given.items()}
        (answer,) = run_session(self.session, [self.output], arrays, f"{self.path}: ONNX Runtime")
        found = torch.from_numpy(answer)
        return found.movedim(-1, 1) if self.told.layout == "NHWC" and found.ndim == 4 else found

    def _given(
        self, parts: list, kind: torch.dtype, picture: Tensor, mask: Tensor | None
    ) -> Tensor:
        whole = torch.cat([_drawn(part, picture, mask) for part in parts], dim=1)
        if kind == torch.uint8:
            whole = whole.round().clamp(0, 255)
        elif not kind.is_floating_point and kind != torch.bool:
            whole = whole.round()
        return (whole.movedim(1, -1) if self.told.layout == "NHWC" else whole).to(kind)

    def _type_of(self, node: Any) -> torch.dtype:
        if node.type not in TYPES:
            raise OnnxError(f"{self.path}: input {node.name} is {node.type}; valid: {list(TYPES)}")
        return TYPES[node.type]

    def _shape_of(self, node: Any) -> list:
        """Batch, channels, height, width; a number where the file fixes one."""
        shape = list(node.shape)
        if len(shape) != 4:
            raise OnnxError(f"{self.path}: input {node.name} has shape {shape}, four sides needed")
        if self.told.layout == "NHWC":
            shape = [shape[0], shape[3], shape[1], shape[2]]
        wanted = sum(CHANNELS[part.kind] for part in self.told.inputs[node.name])
        if isinstance(shape[1], int) and shape[1] != wanted:
            raise OnnxError(
                f"{self.path}: input {node.name} has {shape[1]} channels; described are {wanted} "
                f"({', '.join(part.kind for part in self.told.inputs[node.name])})"
            )
        return shape

    def _fitting(self, tensor: Tensor) -> tuple[int, int]:
        """The size in which a picture is shown: its own, where the file fixes none."""
        height, width = tensor.shape[-2:]
        return self.sides[0] or height, self.sides[1] or width


class OnnxInpainter(OnnxNetwork):
    """An inpainter in an ONNX file.

    Shape: occluded (N, 3, H, W), mask (N, 1, H, W) -> prediction (N, 3, H, W) in [0, 1]. Where the
    file fixes height and width, pictures of other sizes are resized to them and the answer back; a
    pixel of which any part is hole is hole. Where it fixes a batch of 1, they go one by one.
    """

    def forward(self, occluded: Tensor, mask: Tensor, features: Tensor | None = None) -> Tensor:
        shown, hole = occluded.detach().float().cpu(), mask.detach().float().cpu()
        (*_, height, width), inner = shown.shape, self._fitting(shown)
        outer = (height, width)
        if outer != inner:
            shown = _resized(shown, inner).clamp(0, 1)
            hole = functional.interpolate(hole, inner, mode="bilinear", antialias=True)
            hole = (hole > 1e-3).float()
        answer, (low, high) = self.ask(shown, hole).float(), self.told.output.range
        if answer.shape != shown.shape:
            raise OnnxError(
                f"{self.path}: answered with shape {tuple(answer.shape)} for a picture of "
                f"{tuple(shown.shape)}"
            )
        if (low, high) != (0, 1):
            answer = (answer - low) / (high - low)
        if self.told.output.order == "BGR":
            answer = answer.flip(1)
        if outer != inner:
            answer = _resized(answer, outer)
        return answer.clamp(0, 1).to(occluded.device)


class OnnxSegmenter(OnnxNetwork):
    """A segmenter in an ONNX file: occluded (N, 3, H, W) -> logits (N, 1, H, W)."""

    def forward(self, occluded: Tensor) -> Tensor:
        shown = occluded.detach().float().cpu()
        outer, inner = tuple(shown.shape[-2:]), self._fitting(shown)
        logits = self.ask(shown if outer == inner else _resized(shown, inner).clamp(0, 1), None)
        logits = logits.float()
        if outer != inner:
            logits = functional.interpolate(logits, outer, mode="bilinear", antialias=True)
        return logits.to(occluded.device)


NETWORKS = {"inpainting": OnnxInpainter, "segmentation": OnnxSegmenter}


def open_network(path: Path, task: str) -> OnnxNetwork:
    """The network of a file, by what it was made for. OnnxError where that is another task."""
    told = read_description(path)
    if told.task != task or task not in NETWORKS:
        raise OnnxError(f"{path}: holds a network for {told.task}, one for {task} is needed here")
    masked = [name for name, parts in told.inputs.items() if any(p.kind == "mask" for p in parts)]
    if task != "inpainting" and masked:
        raise OnnxError(f"{path}: input {masked[0]} is a mask, which only inpainters take")
    return NETWORKS[task](path, told).eval()


def _drawn(part: Picture | Mask, picture: Tensor, mask: Tensor | None) -> Tensor:
    """A part of an input, in the file's own numbers."""
    if isinstance(part, Mask):
        assert mask is not None, "only an inpainter's file takes masks"
        return torch.where(mask > 0.5, float(part.hole), float(part.known))
    low, high = part.range
    drawn = picture.flip(1) if part.order == "BGR" else picture
    if (low, high) != (0, 1):
        drawn = low + (high - low) * drawn
    if part.hole is not None and mask is not None:
        drawn = torch.where(mask > 0.5, float(part.hole), drawn)
    return drawn


def _resized(picture: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(picture, size, mode="bicubic", antialias=True)


def _fixed(path: Path, name: str, sides: list) -> int | None:
    """What all inputs fix a side to; None where none does."""
    found = sorted({side for side in sides if isinstance(side, int)})
    if len(found) > 1:
        raise OnnxError(f"{path}: its inputs fix the {name} to different numbers, {found}")
    return found[0] if found else None
