"""Weights that ship, made from finished runs: small, with all that is to be known of them.

    python -m engines.suite release
    python -m engines.release_export

The first trains what ablations/suites/release.yaml lists, and leaves such weights beside its
tables; the second puts those of its finished runs into weights/, where they are the default of
deocclude.py, and writes the list of SHA-256 anew.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from deocclude import stopping
from deocclude.data.files import replacing, sha256, some_path, some_text, write_text
from deocclude.data.images import load_square, to_tensor
from deocclude.engines.evaluation.suites import Suite, load_suite
from deocclude.engines.runs.finished import weights_file
from deocclude.engines.runs.folder import END, RunFolder, read_end
from deocclude.engines.runs.metadata import (
    INT8_VERSION,
    WEIGHTS_VERSION,
    opened,
    release_metadata,
    release_task,
)
from deocclude.engines.runs.recipes import pointers_of, source_name, starts
from deocclude.engines.runs.released import EXPORTED, FOLDER, SUMS
from deocclude.engines.runs.weights import (
    SCALE,
    load_inpainter,
    load_segmenter,
    to_float,
    to_int8,
)
from deocclude.engines.suite.request import SuiteJob

LIMIT = 24_000_000  # bytes of the whole folder, so that a clone stays small
# What each may change answers in [0, 1] by on average: an eighth of a grey level, int8 a whole one.
DTYPES = {"float16": 0.0005, "float32": 0.0005, "int8": 0.004}
DTYPE = "int8"  # unless another is asked for
INT8_FROM = 1024  # numbers in a weight; smaller ones are stored in half precision
EXAMPLES = sorted((FOLDER.parent / "examples").glob("*.jpg"))
LICENCE = "non-commercial research only"


def export_weights(runs: Mapping[str, Path], folder: Path, dtype: str = DTYPE) -> dict[str, Path]:
    """Write the weights of runs into `folder` as they ship, and SHA256SUMS of what lies there.

    `runs`: what ships, a key of EXPORTED -> the run's weights file. Matrices and kernels are stored
    as `dtype`, one of DTYPES, the rest in float32; `int8` as `to_int8` makes it, with its
    scales in `<name>.scale`, and weights below INT8_FROM numbers in float16. Returns the files by
    what they are. Nothing is replaced when ValueError says why not: another task's weights, an
    ensemble that points to its members, answers that `dtype` changes, more than LIMIT bytes in all.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    made: dict[str, tuple[dict[str, Tensor], dict[str, str]]] = {}
    for what, source in runs.items():
        metadata = release_metadata(source)
        if (found := release_task(metadata)) != EXPORTED[what]:
            raise ValueError(f"{source}: was trained for {found}, not for {EXPORTED[what]}")
        if pointers_of(source):
            raise ValueError(f"{source}: an ensemble; `python -m engines.ensemble pack` it first")
        with opened(source) as file:
            named = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        tensors = to_float(named, str(source))
        texts = describe(source, metadata, dtype, tensors)
        texts = {key: json.dumps(value) for key, value in texts.items()}
        made[what] = _stored(tensors, dtype), texts
    _check_size(made, folder)
    files = {what: folder / f"{what}.safetensors" for what in made}
    for what, (tensors, texts) in made.items():
        with replacing(files[what]) as temporary:
            save_file(tensors, temporary, metadata=texts)
            _compare(EXPORTED[what], runs[what], temporary, dtype)
    write_sums(folder)
    return files


def describe(
    source: Path, metadata: Mapping[str, Any], dtype: str, tensors: Mapping[str, Tensor]
) -> dict[str, Any]:
    """A run's metadata with what its folder tells beside it as "release"; no path of this machine.

    Keys of "release": version, run, licence, dtype, parameters, data, budget, device, seed, commit,
    versions; what the folder does not tell is left out.
    """
    facts = _end_of(source)
    start = (_read(source.with_name("environment.json")) or [{}])[-1]
    told = {key: start[key] for key in ("device", "seed", "commit", "versions") if key in start}
    release = {
        "version": INT8_VERSION if dtype == "int8" else WEIGHTS_VERSION,
        "run": source_name(str(source)),
        "licence": LICENCE,
        "dtype": dtype,
        "parameters": sum(tensor.numel() for tensor in tensors.values()),
        "data": start.get("data", {}),
        "budget": _budget(facts) | {"before": _before(source)},
        **told,
    }
    return _without_places(dict(metadata) | {"release": release})


def write_sums(folder: Path) -> None:
    """SHA256SUMS of the weights in a folder, as `sha256sum -c` reads it."""
    files = [path for path in sorted(folder.iterdir()) if path.suffix in (".safetensors", ".task")]
    write_text(folder / SUMS, "".join(f"{sha256(path)}  {path.name}\n" for path in files))


def export_suite(
    suite: Suite, rows: Mapping[str, list[tuple[SuiteJob, str]]], folder: Path
) -> tuple[dict[str, Path], list[str]]:
    """The weights that a suite is there for, in `folder`; the files by what they are, and a
    sentence when a run is missing or was trained otherwise than asked."""
    runs = {}
    for what, run in suite.exports:
        job, problem = rows[run.lower()][0]
        if problem or job.differences:
            why = "is missing" if problem else "was trained otherwise than asked"
            return {}, [f"no weights are exported: {job.title} {why}"]
        runs[what] = job.folder / "best.safetensors"
    if not runs:
        return {}, []
    try:
        files = export_weights(runs, folder)
    except (OSError, ValueError) as error:
        return {}, [f"weights: {error}"]
    return {f"weights {what}": path for what, path in files.items()}, []


def _stored(tensors: Mapping[str, Tensor], dtype: str) -> dict[str, Tensor]:
    """The tensors as a file keeps them; vectors and what `dtype` cannot hold stay in float32."""
    stored = dict(tensors)
    for key, tensor in tensors.items():
        if tensor.dtype != torch.float32 or tensor.ndim < 2 or dtype == "float32":
            continue
        large = key.endswith("weight") and tensor.numel() >= INT8_FROM
        if dtype == "int8" and large and tensor.isfinite().all():
            stored[key], stored[key + SCALE] = to_int8(tensor)
        elif (small := tensor.half()).isfinite().all():
            stored[key] = small
    return stored


def _check_size(made: Mapping[str, tuple[dict[str, Tensor], Any]], folder: Path) -> None:
    sizes = {
        f"{what}.safetensors": sum(t.nbytes for t in tensors.values())
        for what, (tensors, _) in made.items()
    }
    kept = folder.iterdir() if folder.is_dir() else ()
    sizes |= {path.name: path.stat().st_size for path in kept if path.name not in sizes}
    if (total := sum(sizes.values())) > LIMIT:
        listed = ", ".join(f"{name} {size / 1e6:.1f}" for name, size in sizes.items())
        raise ValueError(
            f"{folder}: would hold {total / 1e6:.1f} MB, at most {LIMIT / 1e6:.0f} ship ({listed})"
        )


@torch.inference_mode()
def _compare(task: str, source: Path, written: Path, dtype: str) -> None:
    """ValueError when what was written answers otherwise than its run on the example faces."""
    answers = []
    for path in (source, written):
        network, metadata = (load_inpainter if task == "inpainting" else load_segmenter)(path)
        if getattr(network, "uses_features", False):
            return  # its answer depends on another network, stored as precisely
        side = metadata["config"]["data"]["size"]
        picture = torch.stack([to_tensor(load_square(file, side)) for file in EXAMPLES])
        mask = torch.zeros(len(picture), 1, side, side)
        mask[..., side // 4 : side // 2, side // 4 :] = 1
        if task == "inpainting":
            answers.append(network(picture * (1 - mask) + mask, mask))
        else:  # no hole: to a segmenter that is another picture
            answers.append(network(picture).sigmoid())
    difference = float((answers[0] - answers[1]).abs().mean())
    if not difference <= DTYPES[dtype]:
        wider = "float16" if dtype == "int8" else "float32"
        raise ValueError(
            f"{source}: as {dtype} its answers differ by {difference:.4f} on average, more than "
            f"{DTYPES[dtype]}; `python -m engines.release_export --dtype {wider}` keeps them"
        )


def _budget(facts: Mapping[str, Any]) -> dict[str, Any]:
    """How long a run trained and why it ended, as its finished.json says."""
    keys = ("images", "minutes", "steps", "planned_steps", "reason", "device", "processes", "best")
    return {key: facts[key] for key in keys if key in facts}


def _before(source: Path) -> list[dict[str, Any]]:
    """The budgets of the runs that it was started from, each once, the last ones first."""
    if not source.with_name("config.yaml").is_file():
        return []
    start = getattr(RunFolder(source.parent).config(), "init_from", None)
    found: dict[str, dict[str, Any]] = {}
    for file in map(Path, starts(start)):
        for each in (
            {"run": source_name(str(file))} | _budget(_end_of(file)),
            *_before(file),
        ):
            found.setdefault(each["run"], each)
    return list(found.values())


def _end_of(weights: Path) -> dict[str, Any]:
    return read_end(weights.parent) if weights.with_name(END).is_file() else {}


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _without_places(value: Any) -> Any:
    """The same values with the name in place of every absolute path."""
    if isinstance(value, dict):
        return {key: _without_places(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_places(each) for each in value]
    if isinstance(value, str) and Path(value).is_absolute():
        return source_name(value)
    return value


@stopping.answering("the same command writes them anew")
def main(argv: list[str] | None = None) -> None:
    """Export what is named; the exit code is 1 with one line that says why nothing was exported."""
    parser = argparse.ArgumentParser(
        prog="python -m engines.release_export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--suite", type=some_path, default=Path("release"), help="whose export: counts (release)")
    for what in EXPORTED:
        add(
            f"--{what}",
            type=some_text,
            metavar="RUN",
            help="this run or weights file; what is not named stays as it is",
        )
    add("--runs-folder", type=some_path, default=Path("runs"), help="where runs lie")
    add("--output", type=some_path, default=FOLDER, help="default: the project's weights/")
    help_dtype = "of kernels and matrices (%(default)s); float16 takes twice the room"
    add("--dtype", choices=DTYPES, default=DTYPE, help=help_dtype)
    options = parser.parse_args(argv)
    given = {what: getattr(options, what.replace("-", "_")) for what in EXPORTED}
    named = {what: run for what, run in given.items() if run is not None}
    named = named or dict(load_suite(options.suite).exports)
    if not named:
        raise ValueError(f"suite {options.suite}: has no export")
    runs = {what: weights_file(run, options.runs_folder) for what, run in named.items()}
    for what, path in export_weights(runs, options.output, options.dtype).items():
        size = path.stat().st_size / 1e6
        print(f"{what:<18} {path} ({size:.1f} MB) from {runs[what]}")
