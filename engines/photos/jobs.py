"""From the words of a command line to jobs: which input, which mask, where the result goes."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from glob import glob, has_magic
from pathlib import Path

from deocclude.data.image_files import image_suffixes, list_images

PHOTO_SUFFIXES = image_suffixes()
VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".mts"
)  # fmt: skip
KEPT_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".webp")  # lossless: the result's suffix too
EXTRAS = ("mask", "overlay", "side-by-side", "uncertainty")
VIDEO_OUTPUT = ".mp4"
NETWORK = "network"
METHODS = ("telea", "navier_stokes", "biharmonic")  # that need no network
NO_MASK = "a mask is needed: without a network nothing finds what covers a face"


@dataclass(frozen=True)
class Choices:
    """How inputs are read, restored and written; `dilate` and `blend` are those of
    `engines.photos.deoccluder.Deoccluder.restore`."""

    invert_mask: bool = False
    overwrite: bool = False
    dilate: float | None = None
    blend: str = "matched"


@dataclass(frozen=True)
class Job:
    """One photo or video, the mask that goes with it if one was given, and where things go."""

    source: Path
    mask: Path | None
    output: Path
    extras: dict[str, Path] = field(default_factory=dict)  # name in EXTRAS -> file

    @property
    def is_video(self) -> bool:
        return is_video(self.source)

    @property
    def targets(self) -> list[Path]:
        return [self.output, *self.extras.values()]


@dataclass
class Plan:
    """What a command line asks for: the jobs, and for the rest (input, reason) why there is none.

    `output` is the place of the results, to be shown; `folder` the one folder that holds them all,
    None when they lie beside their inputs or the result is one named file.
    """

    output: str
    folder: Path | None = None
    jobs: list[Job] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return len(self.jobs) + len(self.failures)


@dataclass(frozen=True)
class Source:
    """An input file, where its result goes if no other wants that place, and what the name of its
    mask in a folder of masks must be, suffix aside."""

    path: Path
    target: Path
    stem: Path


def is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


def plan_jobs(
    inputs: Sequence[str | Path],
    mask: Path | None = None,
    output: str | Path | None = None,
    save: Sequence[str] = (),
) -> Plan:
    """Pair inputs, masks and outputs.

    Inputs are files, folders (searched recursively, hidden files aside) and glob patterns. One
    file goes to the file `output`, or into it if that is a folder or a name without suffix;
    several, or a folder, go below the folder `output` under their mirrored names. Without `output`
    results lie beside the input, as NAME-restored. A mask folder is paired by stem.

    Raises FileNotFoundError if no input or no mask is there at all, ValueError for a single file
    with a folder of masks or an output file for several inputs.
    """
    if mask is not None and not mask.exists():
        raise FileNotFoundError(f"{mask}: no such file or folder")
    plan = Plan("beside the inputs")
    paths = _find(inputs, plan)
    single = len(paths) == 1 and not plan.failures and not paths[0].is_dir()
    if single and mask is not None and mask.is_dir():
        raise ValueError(f"{mask}: is a folder; give one mask file for the one input {paths[0]}")
    if output is not None:
        plan.folder = _output_folder(output, single, plan.failures)
    elif len(paths) == 1 and not single:
        plan.folder = _beside(paths[0])
    avoid = [p.resolve() for p in (plan.folder, mask) if p is not None and p.is_dir()]
    if single and plan.folder is None:
        target = _beside(paths[0]) if output is None else Path(output)
        sources = [Source(paths[0], target, Path())]
        plan.output = str(target)
    else:
        sources = _file_sources([p for p in paths if not p.is_dir()], plan)
        several = len(paths) > 1
        for folder in (p for p in paths if p.is_dir()):
            sources += _folder_sources(folder, plan, avoid, several)
        plan.output = str(plan.folder or plan.output)
    if not sources:
        raise FileNotFoundError("; ".join(reason for _, reason in plan.failures))
    sources = list({s.path.resolve(): s for s in reversed(sources)}.values())[::-1]  # each once
    masks = _pair_masks(sources, mask, plan)
    _add_jobs([s for s in _apart(sources) if s.path in masks], masks, save, plan)
    return plan


def _find(words: Sequence[str | Path], plan: Plan) -> list[Path]:
    """The files and folders that the words name, each once; the rest are failures of the plan."""
    found: dict[Path, Path] = {}
    for word in map(str, words):
        matches = [Path(word)] if Path(word).exists() else []
        if not matches and has_magic(word):
            deep = "**" in word  # such a pattern looks into the folders by itself
            matches = [Path(p) for p in sorted(glob(word, recursive=True))]
            matches = [p for p in matches if _is_known(p) or (p.is_dir() and not deep)]
        if not matches:
            reason = "matches no image or video" if has_magic(word) else "no such file or folder"
            plan.failures.append((word, f"{word}: {reason}"))
        for match in matches:
            found.setdefault(match.resolve(), match)
    if not found:
        raise FileNotFoundError("; ".join(reason for _, reason in plan.failures) or "no input")
    return list(found.values())


def _is_known(path: Path) -> bool:
    return path.suffix.lower() in PHOTO_SUFFIXES + VIDEO_SUFFIXES and path.is_file()


def _output_folder(
    output: str | Path, single: bool, failures: list[tuple[str, str]]
) -> Path | None:
    """The folder that `output` means, or None if it means the file of a single result."""
    path = Path(output)
    if path.is_dir() or (str(output).endswith(("/", os.sep)) and not path.exists()):
        return path
    if path.is_file() or path.suffix.lower() in PHOTO_SUFFIXES + VIDEO_SUFFIXES:
        if not single:
            verb = "is" if path.is_file() else "names"
            reasons = "".join(f"; {reason}" for _, reason in failures)
            raise ValueError(f"{path}: {verb} a file; several results need a folder{reasons}")
        return None
    return None if single and path.suffix else path


def _beside(path: Path) -> Path:
    """Where a result goes when nothing is said: NAME-restored beside the file or the folder."""
    if path.is_dir():
        place = path if path.name not in ("", "..") else path.resolve()
        return place.with_name(f"{place.name}-restored")
    return path.with_name(f"{path.stem}-restored{_suffix(path)}")


def _suffix(path: Path) -> str:
    return VIDEO_OUTPUT if is_video(path) else ".png"


def _file_sources(files: list[Path], plan: Plan) -> list[Source]:
    """Files named one by one. Where two of them have one name, the folders in which they lie are
    mirrored too."""
    if plan.folder is None:
        results = {name: p for p in files for name in _targets(_beside(p), EXTRAS)}
        plan.notices += [
            f"{path}: is the result for {results[path]}, not taken as an input"
            for path in files
            if path in results
        ]
        return [Source(p, _beside(p), Path(p.stem)) for p in files if p not in results]
    names = [Path(p.name) for p in files]
    if len(set(names)) < len(names):
        common = Path(os.path.commonpath([p.resolve().parent for p in files]))
        names = [p.resolve().relative_to(common) for p in files]
    return [
        Source(path, plan.folder / name.with_suffix(_suffix(path)), Path(path.stem))
        for path, name in zip(files, names, strict=True)
    ]


def _folder_sources(folder: Path, plan: Plan, avoid: list[Path], several: bool) -> list[Source]:
    """Images and videos below `folder`, but not below a folder in `avoid`, under mirrored names."""
    root = folder.resolve()
    inside = [path for path in (*avoid, _beside(folder).resolve()) if root in path.parents]
    target = plan.folder or _beside(folder)
    if several and plan.folder is not None:
        target = target / root.name
    sources = []
    for path in sorted(folder.rglob("*"), key=lambda p: p.relative_to(folder).as_posix()):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        if hidden or not _is_known(path):
            continue
        if not any(path.resolve().is_relative_to(other) for other in inside):
            kept = name.suffix.lower() in KEPT_SUFFIXES
            result = name if kept else name.with_suffix(_suffix(path))
            sources.append(Source(path, target / result, name.with_suffix("")))
    if not sources:
        reason = (
            f"no images or videos ({', '.join(PHOTO_SUFFIXES + VIDEO_SUFFIXES)}) in this folder"
        )
        plan.failures.append((str(folder), f"{folder}: {reason}"))
    return sources


def _apart(sources: list[Source]) -> list[Source]:
    """a.jpg and a.png must not end in one file: their results keep the whole name."""
    counts = Counter(os.path.normcase(source.target) for source in sources)
    kept = []
    for path, target, stem in ((s.path, s.target, s.stem) for s in sources):
        if counts[os.path.normcase(target)] > 1:
            end = "-restored" if target == _beside(path) else ""
            target = target.with_name(f"{path.name}{end}{_suffix(path)}")
        kept.append(Source(path, target, stem))
    return kept


def _pair_masks(sources: list[Source], mask: Path | None, plan: Plan) -> dict[Path, Path | None]:
    """Source -> its mask; a source without exactly one in a folder of masks is a failure."""
    if mask is None or not mask.is_dir():
        return {source.path: mask for source in sources}
    candidates: dict[Path, list[Path]] = {}
    for path in list_images(mask):
        candidates.setdefault(path.relative_to(mask).with_suffix(""), []).append(path)
    pairs: dict[Path, Path | None] = {}
    for source in sources:
        found = candidates.get(source.stem, [])
        if len(found) == 1:
            pairs[source.path] = found[0]
        else:
            count = f"{len(found)} masks" if found else "no mask"
            reason = f"{source.path}: {count} named {source.stem}.* in {mask}"
            plan.failures.append((str(source.path), reason))
    unused = set(candidates) - {source.stem for source in sources}
    if unused:
        plan.notices.append(f"{len(unused)} masks in {mask} have no photo, e.g. {min(unused)}")
    return pairs


def _add_jobs(
    sources: list[Source], masks: dict[Path, Path | None], save: Sequence[str], plan: Plan
) -> None:
    """Jobs, each with its own files to write and none of them an input."""
    inputs = {path.resolve() for path in (*masks, *masks.values()) if path is not None}
    claimed: dict[str, Path] = {}
    for source in sources:
        extras = dict(zip(save, _targets(source.target, save, source.path)[1:], strict=True))
        job = Job(source.path, masks[source.path], source.target, extras)
        reason = ""
        for target in job.targets:
            other = claimed.setdefault(os.path.normcase(target), source.path)
            if target.resolve() in inputs:
                reason = f"{target}: is an input of this command and is never overwritten"
            elif other != source.path:
                reason = f"{source.path}: {target} is the result for {other} already"
        if reason:
            plan.failures.append((str(source.path), reason))
        else:
            plan.jobs.append(job)


def _targets(output: Path, extras: Sequence[str], source: Path | None = None) -> list[Path]:
    """The result's file and those of its extras."""
    suffix = _suffix(source if source is not None else output)
    return [output, *(output.with_name(f"{output.stem}-{name}{suffix}") for name in extras)]
