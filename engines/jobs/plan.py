"""From the words of a command line to jobs: which input, which mask, where the result goes."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from deocclude.data.image_files import image_suffixes
from deocclude.data.mask_files.pairing import masks_beside, pair_masks
from deocclude.data.mask_files.reading import check_mask
from deocclude.engines.jobs.inputs import (
    ENDING,
    Found,
    beside,
    files_below,
    find_inputs,
    left_out_words,
    named_results,
    result_names,
)
from deocclude.engines.jobs.kinds import VIDEO_SUFFIXES, is_moving, result_suffix

KEPT_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".webp")  # lossless: the result's suffix too
SAME = "same"
# --format of photos' results: what their names end with; SAME where it is one of SAME_SUFFIXES.
FORMATS = {"png": ".png", "jpg": ".jpg", "webp": ".webp", "avif": ".avif", "tif": ".tif"}
SAME_SUFFIXES = (*KEPT_SUFFIXES, ".jpg", ".jpeg", ".jfif", ".jpe", ".avif")
NETWORK = "network"
METHODS = ("telea", "navier_stokes", "biharmonic")  # that need no network
MASK = "a mask of the photo beside it, which --mask with its folder would use"
NO_MASK = "a mask is needed: without a network nothing finds what covers a face"


@dataclass(frozen=True)
class Choices:
    """How inputs are read, restored and written; `dilate`, `blend` and `grain` are those of
    `engines.photos.deoccluder.Deoccluder.restore`. `erased`: a photo's transparent part is its
    mask; `soft_mask`: levels of a mask weigh what is redrawn (data.mask_files.given)."""

    invert_mask: bool = False
    overwrite: bool = False
    dilate: float | None = None
    blend: str = "matched"
    quality: int | None = None  # 1 to 100, of lossy formats
    erased: bool = False
    soft_mask: bool = False
    grain: bool = True  # of photos: the frames of a video would flicker
    max_pixels: int | None = None  # of a photo; None: what the free memory allows


@dataclass(frozen=True)
class Job:
    """One photo or video, the mask that goes with it if one was given, and where things go."""

    source: Path
    mask: Path | None
    output: Path
    extras: dict[str, Path] = field(default_factory=dict)  # name in EXTRAS -> file

    @cached_property
    def is_video(self) -> bool:
        """Whether it moves: a video or an animated picture."""
        return is_moving(self.source)

    @property
    def targets(self) -> list[Path]:
        return [self.output, *self.extras.values()]


@dataclass
class Plan:
    """What a command line asks for: the jobs, and for the rest (input, reason) why there is none.

    `output` is the place of the results, to be shown; `folder` the one folder that holds them all,
    None when they lie beside their inputs or the result is one named file. `left_out`: files of a
    folder that are no input, with the reason. `done` and `existing`: jobs whose results are there
    already, as was asked for or not.
    """

    output: str
    folder: Path | None = None
    jobs: list[Job] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    left_out: dict[Path, str] = field(default_factory=dict)
    done: list[Job] = field(default_factory=list)
    existing: list[Job] = field(default_factory=list)

    @property
    def total(self) -> int:
        return len(self.jobs) + len(self.failures)


def set_aside(plan: Plan, is_done: Callable[[Path], bool]) -> None:
    """Move the jobs whose results are all there, or of whose input `is_done`, to `plan.done`."""
    plan.done = [
        job
        for job in plan.jobs
        if all(target.exists() for target in job.targets) or is_done(job.source)
    ]
    plan.jobs = [job for job in plan.jobs if job not in plan.done]


def refuse_existing(plan: Plan) -> None:
    """Move the jobs of which a result is there to `plan.existing`."""
    plan.existing = [job for job in plan.jobs if any(target.exists() for target in job.targets)]
    plan.jobs = [job for job in plan.jobs if job not in plan.existing]


@dataclass(frozen=True)
class Source:
    """An input file, where its result goes if no other wants that place, and what the name of its
    mask in a folder of masks must be, suffix aside."""

    path: Path
    target: Path
    stem: Path


def plan_jobs(
    inputs: Sequence[str | Path],
    mask: Path | None = None,
    output: str | Path | None = None,
    save: Sequence[str] = (),
    form: str | None = None,
) -> Plan:
    """Pair inputs, masks and outputs.

    Inputs are files, folders (searched recursively, see `engines.jobs.inputs.files_below`) and
    glob patterns. One file goes to the file `output`, or into it if that is a folder or a name
    without suffix; several, or a folder, go below the folder `output` under their mirrored names.
    Without `output` results lie beside the input, as NAME-restored. A mask folder is paired by
    name, see `data.mask_files.pairing`. `form`: the format of photos' results, SAME or of FORMATS;
    None: lossless ones of a folder keep theirs, the others are .png.

    Raises FileNotFoundError if no input or no mask is there at all, ValueError for what is no
    mask, a folder without masks of the inputs, or an output file for several inputs.
    """
    if mask is not None and not mask.exists():
        raise FileNotFoundError(f"{mask}: no such file or folder")
    plan, found = Plan("beside the inputs"), find_inputs(inputs)
    paths, plan.failures = found.paths, found.failures
    single = len(paths) == 1 and not plan.failures and not paths[0].is_dir()
    if mask is not None and mask.is_file():
        check_mask(mask)
    if output is not None:
        plan.folder = _output_folder(output, single, plan.failures)
    elif len(paths) == 1 and not single:
        plan.folder = beside(paths[0])
    avoid = [p.resolve() for p in (plan.folder, mask) if p is not None and p.is_dir()]
    suffixes = Suffixes(form, plan)
    if single and plan.folder is None:
        target = suffixes.ended(beside(paths[0]), paths[0]) if output is None else Path(output)
        sources = [Source(paths[0], target, Path(paths[0].stem))]
        plan.output = str(target)
    else:
        sources = _file_sources([p for p in paths if not p.is_dir()], plan, suffixes, found)
        several = len(paths) > 1
        for folder in (p for p in paths if p.is_dir()):
            sources += _folder_sources(folder, plan, avoid, several, suffixes, found)
        plan.output = str(plan.folder or plan.output)
    sources = _without_masks(sources, mask, found)
    plan.notices += left_out_words(found.left_out)
    plan.left_out = found.left_out
    if not sources:
        reasons = [*(reason for _, reason in plan.failures), *plan.notices]
        raise FileNotFoundError("; ".join(reasons))
    sources = list({s.path.resolve(): s for s in reversed(sources)}.values())[::-1]  # each once
    masks = _pair_masks(sources, mask, plan)
    _add_jobs([s for s in _apart(sources) if s.path in masks], masks, save, plan)
    return plan


@dataclass
class Suffixes:
    """What results' names end with; `plan` is told where that is not what was asked for."""

    form: str | None
    plan: Plan

    def ended(self, name: Path, source: Path, inside: bool = False) -> Path:
        """`name`, which has no ending, with that of the result of `source`; `inside` a folder
        lossless formats are kept."""
        return name.with_name(name.name + self.of(source, inside))

    def of(self, source: Path, inside: bool = False) -> str:
        own = source.suffix.lower()
        if is_moving(source):
            return result_suffix(source)
        if self.form == SAME and own not in SAME_SUFFIXES:
            kind = f"{own} is not written" if own else "it has no ending"
            self.plan.notices.append(f"{source}: {kind}, the result is a .png")
        kept = {None: KEPT_SUFFIXES if inside else (), SAME: SAME_SUFFIXES}.get(self.form, ())
        return source.suffix if own in kept else FORMATS.get(self.form or "png", ".png")


def _output_folder(
    output: str | Path, single: bool, failures: list[tuple[str, str]]
) -> Path | None:
    """The folder that `output` means, or None if it means the file of a single result."""
    path = Path(output)
    if path.is_dir() or (str(output).endswith(("/", os.sep)) and not path.exists()):
        return path
    if path.is_file() or path.suffix.lower() in (*image_suffixes(), *VIDEO_SUFFIXES):
        if not single:
            verb = "is" if path.is_file() else "names"
            reasons = "".join(f"; {reason}" for _, reason in failures)
            raise ValueError(f"{path}: {verb} a file; several results need a folder{reasons}")
        return None
    return None if single and path.suffix else path


def _file_sources(files: list[Path], plan: Plan, suffixes: Suffixes, found: Found) -> list[Source]:
    """Files named one by one, without those that are results for others of them. Where two have one
    name, the folders in which they lie are mirrored too."""
    results = named_results(files)
    found.left_out |= {path: f"the result for {photo}" for path, photo in results.items()}
    files = [path for path in files if path not in results]
    if plan.folder is None:
        return [Source(p, suffixes.ended(beside(p), p), Path(p.stem)) for p in files]
    names = [Path(p.name) for p in files]
    if len(set(names)) < len(names):
        common = Path(os.path.commonpath([p.resolve().parent for p in files]))
        names = [p.resolve().relative_to(common) for p in files]
    return [
        Source(path, suffixes.ended(plan.folder / name.with_suffix(""), path), Path(path.stem))
        for path, name in zip(files, names, strict=True)
    ]


def _folder_sources(
    folder: Path,
    plan: Plan,
    avoid: list[Path],
    several: bool,
    suffixes: Suffixes,
    found: Found,
) -> list[Source]:
    """Images and videos below `folder`, but not below a folder in `avoid`, under mirrored names."""
    target = plan.folder or beside(folder)
    if several and plan.folder is not None:
        target = target / folder.resolve().name
    files, left_out = files_below(folder, (*avoid, beside(folder).resolve()))
    found.left_out |= left_out
    if not files:
        plan.failures.append((str(folder), f"{folder}: no images or videos in this folder"))
    names = [path.relative_to(folder).with_suffix("") for path in files]
    return [
        Source(path, suffixes.ended(target / name, path, inside=True), name)
        for path, name in zip(files, names, strict=True)
    ]


def _apart(sources: list[Source]) -> list[Source]:
    """a.jpg and a.png must not end in one file: their results keep the whole name."""
    counts = Counter(os.path.normcase(source.target) for source in sources)
    kept = []
    for path, target, stem in ((s.path, s.target, s.stem) for s in sources):
        if counts[os.path.normcase(target)] > 1:
            end = f"-{ENDING}" if target.with_suffix("") == beside(path) else ""
            target = target.with_name(f"{path.name}{end}{target.suffix}")
        kept.append(Source(path, target, stem))
    return kept


def _without_masks(sources: list[Source], mask: Path | None, found: Found) -> list[Source]:
    """The sources but for masks: the file that `mask` names, and NAME-mask beside NAME."""
    paths = [source.path for source in sources]
    masks = dict.fromkeys(masks_beside(paths), MASK if mask is None else "a mask")
    if mask is not None and mask.is_file() and len(paths) > 1:
        masks |= {path: "the mask" for path in paths if path.resolve() == mask.resolve()}
    found.left_out |= masks
    return [source for source in sources if source.path not in masks]


def _pair_masks(sources: list[Source], mask: Path | None, plan: Plan) -> dict[Path, Path | None]:
    """Source -> its mask; a source without exactly one in a folder of masks is a failure."""
    if mask is None or not mask.is_dir():
        return {source.path: mask for source in sources}
    pairs = pair_masks([(source.path, source.stem) for source in sources], mask)
    plan.failures += [(str(path), reason) for path, reason in pairs.missing.items()]
    plan.notices += pairs.notices
    return dict(pairs.masks)


def _add_jobs(
    sources: list[Source], masks: dict[Path, Path | None], save: Sequence[str], plan: Plan
) -> None:
    """Jobs, each with its own files to write and none of them an input."""
    inputs = {path.resolve() for path in (*masks, *masks.values()) if path is not None}
    claimed: dict[str, Path] = {}
    for source in sources:
        ending = source.target.suffix if is_moving(source.path) else ".png"
        names = result_names(source.target, save, ending)[1:]
        extras = dict(zip(save, names, strict=True))
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
