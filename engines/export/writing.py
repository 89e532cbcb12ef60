"""A network's graph as ONNX, and whether ONNX Runtime answers as PyTorch does.

The graph is traced with a batch of three, for numbers that are 0, 1 or 2 are easily taken for
constants, and asked at other batches before it counts as written.
"""

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deocclude.data.builtin.faces import render_face
from deocclude.data.contract import hide
from deocclude.data.files import replacing
from deocclude.data.images import to_tensor
from deocclude.engines.graphs.asking import open_session, run_session
from deocclude.engines.graphs.description import KEY, Description
from deocclude.engines.graphs.packages import RUNTIME, WRITER, OnnxError, need

TRACED = 3  # pictures in the batch that is traced
BATCHES = (1, 2, 5)
TOLERANCE = 1e-4  # of the answer's largest number, at least of 1
DYNAMIC = {0: "batch", 2: "height", 3: "width"}


class ParityError(OnnxError):
    """A graph that answers otherwise than the network it was made of."""


@dataclass(frozen=True)
class Exportable:
    """A network as it is written: `module(*inputs) -> outputs`, its names, what is said of it.

    inputs: names; `image` or `occluded`, and `mask`. outputs: names, the first is what counts.
    """

    module: nn.Module
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    told: Description


@dataclass(frozen=True)
class Written:
    """What was written: the description in the file, the largest difference that was found, and
    why height and width are fixed, where any size was asked for."""

    told: Description
    difference: float
    why_fixed: str = ""


def write_graph(
    network: Exportable, path: Path, any_size: bool = True, size: int | None = None
) -> Written:
    """Write a network as an ONNX file, whole or not at all, and check it: see `check_parity`.

    Batches are of any size. Height and width too where `any_size` is asked for and the network
    allows it; else they are `size`, by default the description's. OnnxError names the operator that
    ONNX does not have, ParityError by how much the answers differ.
    """
    need(WRITER)
    size = size or network.told.size
    why = padding_by_size(network.module) if any_size else ""
    if any_size and not why:
        try:
            model = trace(network, size, any_size=True)
        except OnnxError as error:
            why = str(error)
    if not any_size or why:
        model = trace(network, size, any_size=False)
    free = any_size and not why
    told = network.told.model_copy(
        update={"size": size, "any_size": free, "versions": versions(model)}
    )
    _describe(model, told)
    with replacing(path) as temporary:
        temporary.write_bytes(model.SerializeToString())
        difference = check_parity(network, temporary, size, free, name=str(path))
    return Written(told, difference, why)


def trace(network: Exportable, size: int, any_size: bool) -> Any:
    """The graph, an onnx.ModelProto. OnnxError names the operator that cannot be exported."""
    free = torch.export.Dim.DYNAMIC
    sides = DYNAMIC if any_size else {0: "batch"}
    given = examples(network.inputs, TRACED, (size, size))
    try:
        with quietly(), torch.no_grad():
            program = torch.onnx.export(
                network.module,
                given,
                dynamo=True,
                input_names=network.inputs,
                output_names=network.outputs,
                dynamic_shapes=tuple(dict.fromkeys(sides, free) for _ in given),
                verbose=False,
            )
    except Exception as error:  # of many kinds, by the step that failed
        raise OnnxError(f"cannot be exported: {cause_of(error)}") from error
    assert program is not None
    model = program.model_proto
    _name_sides(model, sides)
    _forget_origins(model)
    return model


def check_parity(
    network: Exportable, path: Path, size: int, any_size: bool, name: str = ""
) -> float:
    """The largest difference between a file's answers and the network's: on noise in batches of 1,
    2 and 5, on a drawn face, and where any size goes at another one.

    ParityError where it is more than 1e-4, of the answer's largest number if that is above 1.
    """
    session, worst = open_session(path), 0.0
    trials = [(f"a batch of {n}", examples(network.inputs, n, (size, size))) for n in BATCHES]
    trials.append(("a drawn face", faces(network.inputs, size)))
    if any_size:
        other = (size + 32, size + 64)
        trials.append((f"{other[0]} x {other[1]}", examples(network.inputs, 2, other)))
    for words, given in trials:
        with torch.inference_mode():
            expected = network.module(*given)
        wanted = expected if isinstance(expected, tuple) else (expected,)
        arrays = {key: t.numpy() for key, t in zip(network.inputs, given, strict=True)}
        who = f"{name or path}: ONNX Runtime, for {words},"
        answers = run_session(session, network.outputs, arrays, who)
        for key, one, other_one in zip(network.outputs, wanted, answers, strict=True):
            difference = float((one - torch.from_numpy(other_one)).abs().max())
            limit = TOLERANCE * max(1.0, float(one.abs().max()))
            if not difference <= limit:
                raise ParityError(
                    f"{name or path}: {key} differs from PyTorch's by {difference:.2g} for "
                    f"{words}, at most {limit:.2g} is allowed"
                )
            worst = max(worst, difference)
    return worst


def examples(inputs: Sequence[str], count: int, size: tuple[int, int]) -> tuple[Tensor, ...]:
    """Noise, the same every time: pictures (N, 3, H, W), and masks (N, 1, H, W) if these go in."""
    generator = torch.Generator().manual_seed(0)
    picture = torch.rand(count, 3, *size, generator=generator)
    mask = (torch.rand(count, 1, *size, generator=generator) > 0.7).float()
    return (picture, mask)[: len(inputs)]


def faces(inputs: Sequence[str], size: int) -> tuple[Tensor, ...]:
    """Two drawn faces, their lower half hidden where a mask goes in."""
    picture = torch.stack([to_tensor(render_face(index, size)) for index in range(2)])
    mask = torch.zeros(2, 1, size, size)
    mask[..., size // 2 : size * 7 // 8, size // 4 : size * 3 // 4] = 1
    return (hide(picture, mask), mask) if len(inputs) > 1 else (picture,)


def padding_by_size(module: nn.Module) -> str:
    """Why a network is not traced for any size: its padding depends on it, and what PyTorch writes
    of that took six minutes for a U-Net on EfficientNet-Lite0."""
    found = {type(each).__name__ for each in module.modules()}
    same = sorted(name for name in found if name.endswith("Same"))
    return f"the padding of {same[0]} depends on the size" if same else ""


def versions(model: Any) -> dict[str, str]:
    """What wrote the file."""
    names = ("onnx", WRITER, RUNTIME)
    opset = next(each.version for each in model.opset_import if each.domain in ("", "ai.onnx"))
    found = {"torch": torch.__version__} | {name: need(name).__version__ for name in names}
    return found | {"opset": str(opset)}


def cause_of(error: BaseException) -> str:
    """What PyTorch's exporter stumbled over, in a line: the operator where it names one."""
    told: list[BaseException] = []
    each: BaseException | None = error
    while each is not None and each not in told:
        told.append(each)
        each = each.__cause__ or each.__context__
    texts = [re.sub(r"\x1b\[[0-9;]*m", "", str(one)) for one in told]
    for text in texts:
        if "data-dependent" in text:
            code = re.search(r'File "[^"]*[\\/]([^"\\/]+)", line (\d+), in .*\n\s*(.+)', text)
            where = f": {code[3].strip()} ({code[1]}, line {code[2]})" if code else ""
            return f"its control flow depends on values{where}"
    for text in reversed(texts):
        if operator := re.search(r"\b(aten|torchvision|prims)[.:]+(\w+)", text):
            return f"ONNX has no operator for {operator[1]}.{operator[2]}"
    lines = [line for line in texts[-1].splitlines() if line.strip()]
    first = lines[0].partition(" - got ")[0].strip() if lines else "no reason given"
    return f"{type(told[-1]).__name__}: {first}"


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Without what PyTorch's exporter prints on its way."""
    loggers = [logging.getLogger(name) for name in ("torch", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    said = io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _name_sides(model: Any, sides: dict[int, str]) -> None:
    """Call the free sides batch, height and width, in every input and in pictures that come out;
    what the exporter inferred of the rest under its own names is dropped."""
    del model.graph.value_info[:]
    for node in (*model.graph.input, *model.graph.output):
        found = node.type.tensor_type.shape.dim
        for axis, name in sides.items():
            if axis < len(found):
                found[axis].dim_param = name


def _forget_origins(model: Any) -> None:
    """Drop what the exporter notes of each node: lines of code, with this machine's folders."""
    graphs = [model.graph]
    for graph in (*graphs, *model.functions):
        for node in graph.node:
            graphs += [each.g for each in node.attribute if each.HasField("g")]
    for graph in (*graphs, *model.functions):
        del graph.metadata_props[:]
        for part in graph.node:
            part.doc_string = ""
            del part.metadata_props[:]
    for part in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        del part.metadata_props[:]


def _describe(model: Any, told: Description) -> None:
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, told.model_dump_json(exclude_none=True)
    model.producer_name = "deocclude"
    model.doc_string = f"{told.name}: {told.task}; see {KEY} in its metadata"
