"""Small ONNX files with known answers, in the interfaces of published inpainters."""

from pathlib import Path

import numpy as np

COLOUR = (0.2, 0.4, 0.6)  # what each of them draws in the hole
LAMA = """
inputs:
  image: {kind: picture, range: [0, 1]}
  mask: {kind: mask, known: 0, hole: 1}
output: {name: output, range: [0, 255]}
size: 512
"""
PIPELINE = """
inputs:
  image: {kind: picture, range: [0, 255]}
  mask: {kind: mask, known: 255, hole: 0}
output: {name: result, range: [0, 255]}
size: 128
"""
GENERATOR = """
inputs:
  input:
  - {kind: mask, known: 0.5, hole: -0.5}
  - {kind: picture, range: [-1, 1], hole: 0}
output: {name: output, range: [-1, 1]}
size: 256
"""


def save(path: Path, inputs: dict, outputs: dict, nodes: list, constants: dict) -> Path:
    """A file of these inputs and outputs, (type, shape) each, and nodes (operator, inputs, outputs,
    attributes); constants are initialisers."""
    import onnx
    from onnx import helper, numpy_helper

    def values(given: dict) -> list:
        return [helper.make_tensor_value_info(n, t, s) for n, (t, s) in given.items()]

    made = [
        helper.make_node(kind, given, output.split(), **(rest[0] if rest else {}))
        for kind, given, output, *rest in nodes
    ]
    tensors = [numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()]
    graph = helper.make_graph(made, "stub", values(inputs), values(outputs), tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, path)
    return path


def colour(low: float, high: float) -> np.ndarray:
    """COLOUR where black and white are these numbers."""
    drawn = low + (high - low) * np.array(COLOUR, np.float32)
    return drawn.reshape(1, 3, 1, 1).astype(np.float32)


def lama(path: Path, side: int = 512, batch: int | str = 1) -> Path:
    """Float pictures in [0, 1], mask 1 = hole, the answer in [0, 255]; the known part is kept."""
    from onnx import TensorProto as T

    path.with_suffix(".yaml").write_text(LAMA)
    return save(
        path,
        {"image": (T.FLOAT, [batch, 3, side, side]), "mask": (T.FLOAT, [batch, 1, side, side])},
        {"output": (T.FLOAT, [batch, 3, side, side])},
        [
            ("Mul", ["image", "white"], "scaled"),
            ("Sub", ["one", "mask"], "known"),
            ("Mul", ["scaled", "known"], "kept"),
            ("Mul", ["colour", "mask"], "drawn"),
            ("Add", ["kept", "drawn"], "output"),
        ],
        {"white": np.float32(255), "one": np.float32(1), "colour": colour(0, 255)},
    )


def pipeline(path: Path) -> Path:
    """Whole numbers in and out, any size, mask 255 = known."""
    from onnx import TensorProto as T

    path.with_suffix(".yaml").write_text(PIPELINE)
    return save(
        path,
        {"image": (T.UINT8, ["n", 3, "h", "w"]), "mask": (T.UINT8, ["n", 1, "h", "w"])},
        {"result": (T.UINT8, ["n", 3, "h", "w"])},
        [
            ("Cast", ["image"], "picture", {"to": T.FLOAT}),
            ("Cast", ["mask"], "levels", {"to": T.FLOAT}),
            ("Greater", ["levels", "half"], "known"),
            ("Where", ["known", "picture", "colour"], "whole"),
            ("Cast", ["whole"], "result", {"to": T.UINT8}),
        ],
        {"half": np.float32(127), "colour": colour(0, 255)},
    )


def generator(path: Path, side: int = 256) -> Path:
    """One input of four channels: mask - 0.5, then the picture in [-1, 1] times the mask, 1 =
    known. What it sees in the hole is added to the colour, so it must be 0."""
    from onnx import TensorProto as T

    path.with_suffix(".yaml").write_text(GENERATOR)
    return save(
        path,
        {"input": (T.FLOAT, ["n", 4, side, side])},
        {"output": (T.FLOAT, ["n", 3, side, side])},
        [
            ("Split", ["input", "parts"], "mask picture", {"axis": 1}),
            ("Sub", ["half", "mask"], "hole"),
            ("Mul", ["hole", "colour"], "drawn"),
            ("Add", ["picture", "drawn"], "output"),
        ],
        {"parts": np.array([1, 3]), "half": np.float32(0.5), "colour": colour(-1, 1)},
    )


MAKERS = {"lama": lama, "pipeline": pipeline, "generator": generator}
