"""What the file of an ensemble says, and whether its members belong together; no network is made.

A YAML file points to its members:

    name: best_three
    combination: weights                 # mean, median, weights or bins
    weights: [0.5, 0.3, 0.2]             # a row for each range of hole ratios with bins
    members:
    - weights: ../occlufix/001/best.safetensors   # relative to this file
      sha256: 5f1c...                    # checked where it stands
    keep: memory                         # or disk: one member at a time
    fitted: {...}                        # on which pairs, for the reader; not looked at

A safetensors file of the ensemble model points to them too, in its metadata "members" (what
training a gate writes), or holds their tensors as parts "members/0", "members/1", ...
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deocclude.data.files import sha256, write_text
from deocclude.engines.graphs.description import is_onnx
from deocclude.engines.runs.config import read_yaml
from deocclude.engines.runs.metadata import WEIGHTS, check_config, release_metadata, release_task
from deocclude.names import shown

SUFFIXES = (".yaml", ".yml")
KEEP = ("memory", "disk")
FIXED = ("mean", "median", "weights", "bins")  # what a YAML file can state
KEYS = ("name", "combination", "weights", "members", "keep", "fitted")
MODEL = "ensemble"


@dataclass(frozen=True)
class Pointer:
    """Where a member lies and, if it was written down, what its file must be."""

    path: Path
    sha256: str | None = None


@dataclass(frozen=True)
class MemberFile:
    """A member's weights file, looked into: its digest, its run's configuration, its label."""

    path: Path
    sha256: str
    config: dict[str, Any]
    label: str

    @property
    def fill(self) -> float:
        return self.config["data"]["fill"]


@dataclass(frozen=True)
class Recipe:
    """An ensemble as its YAML file states it."""

    name: str
    members: tuple[Pointer, ...]
    combination: str = "mean"
    weights: list | None = None
    keep: str = "memory"


def is_recipe(path: str | Path) -> bool:
    """Whether a file is an ensemble's YAML, by its suffix."""
    return Path(path).suffix.lower() in SUFFIXES


def read_recipe(path: Path) -> Recipe:
    """FileNotFoundError or ValueError names the file, what is wrong there and what would be
    valid."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such ensemble file")
    content = read_yaml(path)
    if unknown := [key for key in content if key not in KEYS]:
        raise ValueError(f"{path}: {shown(unknown[0])} is no key of an ensemble: {', '.join(KEYS)}")
    entries = content.get("members")
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{path}: members must be a list of weights files, found {shown(entries)}")
    combination, keep = content.get("combination", "mean"), content.get("keep", "memory")
    if combination not in FIXED:
        hint = "; a gate lives in its own run's weights file" if combination == "gate" else ""
        raise ValueError(
            f"{path}: combination {shown(combination)} is not one of {', '.join(FIXED)}{hint}"
        )
    if keep not in KEEP:
        raise ValueError(f"{path}: keep {shown(keep)} is not one of {', '.join(KEEP)}")
    if combination in ("weights", "bins") and content.get("weights") is None:
        raise ValueError(f"{path}: combination {shown(combination)} needs its weights")
    pointers = tuple(_pointer(entry, path) for entry in entries)
    name = str(content.get("name") or path.stem)
    return Recipe(name, pointers, combination, content.get("weights"), keep)


def _pointer(entry: Any, source: Path) -> Pointer:
    """An entry of "members", its path taken from where `source` lies."""
    valid = (
        isinstance(entry, dict)
        and entry.keys() <= {"weights", "sha256", "config"}
        and isinstance(entry.get("weights"), str)
        and isinstance(entry.get("sha256"), str | None)
    )
    if not valid:
        raise ValueError(
            f"{source}: a member must be {{weights: FILE, sha256: 'DIGEST'}}, found {shown(entry)}"
        )
    return Pointer((source.parent / entry["weights"]).resolve(), entry.get("sha256"))


def write_recipe(
    path: Path,
    members: Sequence[MemberFile],
    name: str,
    combination: str,
    weights: list | None = None,
    keep: str = "memory",
    fitted: dict[str, Any] | None = None,
) -> None:
    """An ensemble's YAML, whole or not at all. `fitted`: where its weights came from."""
    content: dict[str, Any] = {"name": name, "combination": combination}
    if weights is not None:
        content["weights"] = weights
    entries = pointer_records(members, path.parent)
    content["members"] = [{k: v for k, v in entry.items() if k != "config"} for entry in entries]
    content["keep"] = keep
    if fitted is not None:
        content["fitted"] = fitted
    write_text(path, yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=100))


def pointer_records(members: Sequence[MemberFile], folder: Path) -> list[dict[str, Any]]:
    """What a file in `folder` writes down of the members it points to: the metadata "members"."""
    return [
        {
            "weights": _relative(m.path, folder),
            "sha256": m.sha256,
            "config": without_paths(m.config),
        }
        for m in members
    ]


def without_paths(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration without the place on this machine where its features came from."""
    features = config.get("features")
    if features is None or not Path(features.get("weights", "")).is_absolute():
        return config
    file = Path(features["weights"])
    return config | {"features": features | {"weights": "/".join(file.parts[-3:-1])}}


def _relative(path: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
    except ValueError:  # another drive
        return path.resolve().as_posix()


def pointers_of(path: Path) -> tuple[Pointer, ...]:
    """The members that an ensemble's file points to; () for any other weights file."""
    if is_onnx(path):
        return ()
    if is_recipe(path):
        return read_recipe(path).members
    entries = release_metadata(path).get("members") or ()
    return tuple(_pointer(entry, path) for entry in entries if "weights" in entry)


def member_digests(path: Path) -> tuple[str, ...]:
    """SHA-256 of each member's file, also of those whose tensors the ensemble's own file holds; ()
    for any other weights file."""
    pointers = pointers_of(path)
    if pointers or is_recipe(path) or is_onnx(path):
        return tuple(pointer.sha256 or sha256(pointer.path) for pointer in pointers)
    return tuple(entry["sha256"] for entry in release_metadata(path).get("members") or ())


def home_of(path: Path) -> Path:
    """The folder whose environment.json and split.json tell of a weights file's faces: its own, or
    its first member's where it has none."""
    own = path.parent
    recorded = any((own / name).is_file() for name in ("environment.json", "split.json"))
    if not is_recipe(path) and recorded:
        return own
    pointers = pointers_of(path)
    return pointers[0].path.parent if pointers else own


def recipe_config(path: Path) -> dict[str, Any]:
    """The configuration that stands for an ensemble's YAML: its model, and its first member's
    data. Reads no weights."""
    recipe = read_recipe(path)
    configs = [
        _config_of(pointer.path, f"member {number} of {path}")
        for number, pointer in enumerate(recipe.members, start=1)
    ]
    check_splits([pointer.path for pointer in recipe.members], str(path))
    labels = [config["name"] for config in configs]
    return ensemble_config(recipe.name, recipe.combination, labels, configs[0]["data"])


def ensemble_config(
    name: str, combination: str, labels: Sequence[str], data: dict[str, Any]
) -> dict[str, Any]:
    """What an ensemble without a run of its own states where a run states its configuration."""
    return {
        "name": name,
        "description": f"{len(labels)} trained inpainters, combined by {combination}",
        "task": "inpainting",
        "as_published": False,
        "model": {"name": MODEL, "members": list(labels), "combination": combination},
        "features": None,
        "data": data,
    }


def members_of(files: Sequence[Path | Pointer], source: str = "") -> tuple[MemberFile, ...]:
    """Look into every member and check that they fit together.

    FileNotFoundError or ValueError names the member, and `source`, when a file is missing, is not
    as recorded, is no inpainter, is an ensemble itself, comes twice, or was trained at another
    size, on faces aligned otherwise, or on another contract (faces under occluders).
    """
    if len(files) < 2:
        raise ValueError(
            f"{source or 'members'}: an ensemble needs two or more, found {len(files)}"
        )
    of = f" of {source}" if source else ""
    pointers = [file if isinstance(file, Pointer) else Pointer(Path(file)) for file in files]
    members = [_looked_into(p, f"member {i}{of}") for i, p in enumerate(pointers, start=1)]
    first = members[0]
    for number, member in enumerate(members, start=1):
        words = f"member {number}{of}, {member.path}"
        if member.sha256 in (other.sha256 for other in members[: number - 1]):
            raise ValueError(f"{words}: holds the same weights as an earlier one; name each once")
        hidden_by = member.config["data"].get("hidden_by", "masks")
        if hidden_by == "occluders":
            raise ValueError(
                f"{words}: was trained on faces under {hidden_by}, it is not told where the hole "
                "is; members must be trained with data.hidden_by=masks"
            )
        for key, fallback in (("size", None), ("template", "ffhq")):
            own, other = (m.config["data"].get(key, fallback) for m in (member, first))
            if own != other:
                raise ValueError(
                    f"{words}: was trained with data.{key}={own}, member 1 "
                    f"({first.label}) with {other}; members must agree"
                )
    return _labelled_apart(members)


def check_splits(files: Sequence[Path], source: str = "members") -> None:
    """ValueError when members were trained on different splits of the faces: one's training
    pictures could be among another's validation or test pairs."""
    splits = [home_of(file) / "split.json" for file in files]
    found = {path.read_text(encoding="utf-8"): path for path in splits if path.is_file()}
    if len(found) > 1:
        raise ValueError(
            f"{source}: the members were trained on different splits of the faces, so one's "
            "validation or test pairs may hold another's training pictures: "
            f"{', '.join(map(str, found.values()))}"
        )


def _looked_into(pointer: Pointer, words: str) -> MemberFile:
    path = pointer.path
    config = _config_of(path, words)
    found = sha256(path)
    if pointer.sha256 is not None and found != pointer.sha256:
        raise ValueError(
            f"{words}: {path} has SHA-256 {found[:12]}..., recorded is {pointer.sha256[:12]}...: "
            "it was trained anew or replaced; combine the members again, or bring the old file back"
        )
    return MemberFile(path, found, config, config["name"])


def _config_of(path: Path, words: str) -> dict[str, Any]:
    """A member's configuration, or an error that says why the file cannot be a member."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{words}: {path} is not there; move it back, or correct where it is named"
        )
    if is_recipe(path):
        raise ValueError(f"{words}: {path} is an ensemble; name its members instead")
    metadata = release_metadata(path)
    config = metadata.get("config")
    if isinstance(config, dict) and release_task(metadata) != "inpainting":
        raise ValueError(
            f"{words}: {path} was trained for {release_task(metadata)}; an inpainter is needed"
        )
    check_config(metadata, f"{words}: {path}")
    if metadata["config"]["model"]["name"] == MODEL:
        raise ValueError(f"{words}: {path} is an ensemble; name its members instead")
    return metadata["config"]


def _labelled_apart(members: list[MemberFile]) -> tuple[MemberFile, ...]:
    """Names that occur twice get their run's number, else their place in the list."""
    for naming in (lambda i, m: f"{m.label}/{m.path.parent.name}", lambda i, m: f"{m.label}#{i}"):
        names = [member.label for member in members]
        twice = {name for name in names if names.count(name) > 1}
        members = [
            MemberFile(m.path, m.sha256, m.config, naming(i, m)) if m.label in twice else m
            for i, m in enumerate(members, start=1)
        ]
    return tuple(members)


def starts(init_from: Any) -> list[str]:
    """The runs or files that `init_from` names."""
    found: list[str] = []
    each_start(init_from, found.append)
    return found


def each_start(init_from: Any, change: Callable[[str], Any]) -> Any:
    """`init_from` with every run or file of it changed; None stays None."""
    if isinstance(init_from, Mapping):
        return {part: each_start(start, change) for part, start in init_from.items()}
    if isinstance(init_from, list | tuple):
        return tuple(change(start) for start in init_from)
    return None if init_from is None else change(init_from)


def source_name(source: str) -> str:
    """What goes into a record that others read: `name/001` for the weights file of a run; a file's
    or folder's own name where it is absolute."""
    path = Path(source)
    if path.name == WEIGHTS:
        return f"{path.parent.parent.name}/{path.parent.name}"
    return path.name if path.is_absolute() else source
