"""The packages of the extra `onnx`, or the sentence that says what is missing."""

import os
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

RUNTIME, WRITER = "onnxruntime", "onnxscript"
INSTALL = '`pip install -e ".[onnx]"`'


class OnnxError(ValueError):
    """An ONNX file that cannot be written, read or run; the message says why."""


def has_runtime() -> bool:
    """Whether ONNX Runtime is installed; it is not imported."""
    return find_spec(RUNTIME) is not None


def need(name: str) -> ModuleType:
    """A package of the extra. OnnxError where it is not installed, or cannot be imported."""
    # ONNX Runtime would send its maker how it is used, and keep a number of this machine.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        return import_module(name)
    except Exception as error:  # native libraries raise what they like
        if find_spec(name) is None:
            raise OnnxError(f"{name} is not installed, ONNX files need it: {INSTALL}") from error
        raise OnnxError(f"{name} is installed and cannot be imported ({error})") from error
