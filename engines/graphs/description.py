"""What an ONNX file says of itself, or a YAML beside it says of it: inputs, ranges, polarity.

Files that `python -m engines.export` wrote say it in their own metadata, under the key KEY, as
JSON. For any other `model.onnx` it stands in `model.yaml`, which comes first where both are there:

    inputs:
      image: {kind: picture, range: [0, 1]}      # what black and white are
      mask: {kind: mask, known: 0, hole: 1}
    output: {name: output, range: [0, 255]}
    size: 512

An input that is several things, one after the other along its channels, is a list of them.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from deocclude.data.faces.alignment import TEMPLATES
from deocclude.data.files import sha256
from deocclude.data.yaml_files import read_mapping
from deocclude.engines.graphs.packages import OnnxError, need
from deocclude.names import did_you_mean, shown

KEY = "deocclude"  # of metadata_props
SUFFIX, BESIDE = ".onnx", (".yaml", ".yml")
Range = tuple[float, float]


def _two_apart(value: Range) -> Range:
    if value[0] == value[1]:
        raise ValueError(f"{shown(value)} must be two different numbers: black, white")
    return value


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _known_template(value: str) -> str:
    if value not in TEMPLATES:
        raise ValueError(f"{shown(value)} is not one of {', '.join(TEMPLATES)}")
    return value


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Picture(_Strict):
    """Three channels of the occluded picture. `range`: what black and white are there; `hole`: the
    number that stands in the hole, by default whatever the occluded picture has."""

    kind: Literal["picture"]
    range: Annotated[Range, AfterValidator(_two_apart)] = (0, 1)
    hole: float | None = None
    order: Literal["RGB", "BGR"] = "RGB"


class Mask(_Strict):
    """One channel: what a known pixel and one of the hole are there."""

    kind: Literal["mask"]
    known: float = 0
    hole: float = 1


Part = Annotated[Picture | Mask, Field(discriminator="kind")]


class Answer(_Strict):
    """An output, the first one where it is not named. `range`: what black and white are there."""

    name: str | None = None
    range: Annotated[Range, AfterValidator(_two_apart)] = (0, 1)
    order: Literal["RGB", "BGR"] = "RGB"


class Description(_Strict):
    """How a file is asked.

    inputs: by the file's own names, what each is. size: side of the square that it is shown, where
    the file itself does not fix one. fill: the grey level that hides the hole. template: how faces
    are aligned. hides: False for a network that is shown what covers the face. The others are for
    the reader: where it came from, on which terms, and what wrote it.
    """

    task: Literal["inpainting", "segmentation", "identity"] = "inpainting"
    name: str | None = None
    inputs: dict[str, Annotated[list[Part], BeforeValidator(_listed), Field(min_length=1)]]
    output: Answer = Answer()
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    size: Annotated[int, Field(ge=32, le=8192)] = 256
    fill: Annotated[float, Field(ge=0, le=1)] = 1.0
    template: Annotated[str, AfterValidator(_known_template)] = "ffhq"
    hides: bool = True
    any_size: bool | None = None
    source: dict[str, Any] | None = None
    release: dict[str, Any] | None = None
    versions: dict[str, str] | None = None


def is_onnx(path: str | Path) -> bool:
    """Whether a file is an ONNX file, by its suffix."""
    return Path(path).suffix.lower() == SUFFIX


def described_in(path: Path) -> Path | None:
    """The YAML beside an ONNX file, None where there is none."""
    beside = (path.with_suffix(suffix) for suffix in BESIDE)
    return next((file for file in beside if file.is_file()), None)


def read_description(path: Path) -> Description:
    """What the YAML beside a file, or else its own metadata, say. FileNotFoundError or OnnxError
    names the file, the key, and what would be valid."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such ONNX file")
    if (beside := described_in(path)) is not None:
        return _validated(read_mapping(beside), str(beside))
    text = {each.key: each.value for each in read_model(path).metadata_props}.get(KEY)
    if text is None:
        raise OnnxError(
            f"{path}: does not say how it is asked; {path.with_suffix('.yaml').name} beside it can "
            "(docs/onnx.md has three to copy)"
        )
    try:
        content = json.loads(text)
    except ValueError as error:
        raise OnnxError(f"{path}: {KEY} in its metadata is no JSON ({error})") from error
    return _validated(content, f"{path}: {KEY} in its metadata")


def read_model(path: Path) -> Any:
    """The file's graph, an onnx.ModelProto; tensors in files of their own are not read."""
    onnx = need("onnx")
    try:
        return onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's, which is no ValueError
        raise OnnxError(f"{path}: is no ONNX file, or only a part of one ({error})") from error


def config_of(path: Path) -> dict[str, Any]:
    """The configuration that stands for an ONNX file, as a weights file has one: its name, its
    task, and the data fields that say how it is asked."""
    told = read_description(path)
    data: dict[str, Any] = {"faces": "auto", "size": told.size, "template": told.template}
    if told.task == "inpainting":
        hidden_by = "masks" if told.hides else "occluders"
        data |= {"masks": "auto", "fill": told.fill, "hidden_by": hidden_by}
    else:
        data["occluders"] = "auto"
    model = {"name": "onnx"}
    return {"name": told.name or path.stem, "task": told.task, "model": model, "data": data}


def identity_of(path: Path) -> str:
    """SHA-256 of a file, of those that hold its tensors, and of the YAML beside it, each named."""
    external = {
        entry.value
        for tensor in read_model(path).graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
    files = {"onnx": path} | {name: path.parent / name for name in sorted(external)}
    if (beside := described_in(path)) is not None:
        files["yaml"] = beside
    return " ".join(f"{name} {sha256(file)}" for name, file in files.items())


def _validated(content: Any, source: str) -> Description:
    try:
        return Description.model_validate(content)
    except ValidationError as error:
        lines = [_explain(dict(each), source) for each in error.errors()]
        raise OnnxError("\n".join(lines)) from error


def _explain(error: Mapping[str, Any], source: str) -> str:
    """One line: the file, the key, its value, and what would be valid."""
    key = ".".join(str(part) for part in error["loc"])
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        valid = _valid_keys(error["loc"][:-1])
        hint = did_you_mean(str(error["loc"][-1]), valid)
        return f"{source}: unknown key {key!r}; valid are {', '.join(valid)}{hint}"
    if error["type"] == "missing":
        return f"{source}: {key!r} is missing"
    if error["type"].startswith("union_tag"):
        return f"{source}: {key} = {shown(error['input'])}: needs kind: picture or kind: mask"
    return f"{source}: {key} = {shown(error['input'])}: {message}"


def _valid_keys(above: tuple[int | str, ...]) -> list[str]:
    kinds: dict[str, type[_Strict]] = {"picture": Picture, "mask": Mask, "output": Answer}
    kind: type[_Strict] = kinds.get(str(above[-1]), Description) if above else Description
    return list(kind.model_fields)
