"""From the words of a command line to jobs: which input, which mask, where the result goes."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from deocclude.data.image_files import every_name, image_suffixes
from deocclude.data.mask_files.pairing import masks_beside, pair_masks
from deocclude.data.mask_files.reading import check_mask
from deocclude.engines.jobs.inputs import (
    ENDING,
    beside,
    extra_file,
    files_below,
    find_inputs,
    left_out_words,
    named_results,
)
from deocclude.engines.jobs.kinds import VIDEO_SUFFIXES, is_moving, result_suffix
from deocclude.engines.jobs.shards import WHOLE, Shard

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
    dilate: float | str | None = None
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
    shard: Shard = WHOLE  # which part of what the words mean this is

    def _move(self, to: list[Job], fits: Callable[[Job], bool]) -> None:
        jobs, self.jobs = self.jobs, []
        for job in jobs:
            (to if fits(job) else self.jobs).append(job)

    def set_aside(self, is_done: Callable[[Path], bool]) -> None:
        """Move the jobs whose results are all there, or of whose input `is_done`, to `done`."""
        self._move(
            self.done, lambda job: all(t.exists() for t in job.targets) or is_done(job.source)
        )

    def refuse_existing(self) -> None:
        """Move the jobs of which a result is there to `existing`."""
        self._move(self.existing, lambda job: any(t.exists() for t in job.targets))


@dataclass(frozen=True)
class Source:
    """An input file, where its result goes if no other wants that place (`place`: without its
    ending), what the name of its mask in a folder of masks must be, suffix aside, and the name by
    which it belongs to a part. `inside`: it was found in a folder."""

    path: Path
    place: Path
    stem: Path
    name: str
    inside: bool = False
    ending: str | None = None  # None: not settled yet, as that looks into the file

    @property
    def target(self) -> Path:
        return self.place.with_name(self.place.name + (self.ending or ""))


def plan_jobs(
    inputs: Sequence[str | Path],
    mask: Path | None = None,
    output: str | Path | None = None,
    save: Sequence[str] = (),
    form: str | None = None,
    shard: Shard = WHOLE,
) -> Plan:
    """Pair inputs, masks and outputs.

    Inputs are files, folders (searched recursively, see `engines.jobs.inputs.files_below`) and
    glob patterns. One file goes to the file `output`, or into it if that is a folder or a name
    without suffix; several, or a folder, go below the folder `output` under their mirrored names.
    Without `output` results lie beside the input, as NAME-restored. A mask folder is paired by
    name, see `data.mask_files.pairing`. `form`: the format of photos' results, SAME or of FORMATS;
    None: lossless ones of a folder keep theirs, the others are .png. `shard`: the part of it that
    is planned, which may be empty. What belongs to no part by its name, words that mean nothing and
    what is left out of patterns or of several inputs, is in the first one.

    Raises FileNotFoundError if no input or no mask is there at all, ValueError for what is no
    mask, a folder without masks of the inputs, or an output file for several inputs.
    """
    if mask is not None and not mask.exists():
        raise FileNotFoundError(f"{mask}: no such file or folder")
    found = find_inputs(inputs)
    paths, plan = found.paths, Plan("beside the inputs", shard=shard)
    plan.failures, plan.left_out = found.failures, found.left_out
    alone = len(paths) == 1 and not plan.failures
    single = alone and not paths[0].is_dir()
    # Of one folder only the part's own files are looked at. With several words any two files may
    # have to do with each other, so the names of all are.
    mixed = mask is not None and mask.resolve() in paths[0].resolve().parents
    only_part = shard != WHOLE and alone and not single and not mixed
    wanted = shard.holds if only_part else every_name
    if mask is not None and mask.is_file():
        check_mask(mask)
    if output is not None:
        plan.folder = _output_folder(output, single, plan.failures)
    elif len(paths) == 1 and not single:
        plan.folder = beside(paths[0])
    avoid = [p.resolve() for p in (plan.folder, mask) if p is not None and p.is_dir()]
    if single and plan.folder is None:
        source = Source(paths[0], beside(paths[0]), Path(paths[0].stem), paths[0].name)
        if output is not None:
            named = Path(output)
            source = replace(source, place=named.with_suffix(""), ending=named.suffix)
        sources = [_ended(source, form, plan.notices)]
        plan.output = str(sources[0].target)
    else:
        sources = _file_sources([p for p in paths if not p.is_dir()], plan)
        for folder in (p for p in paths if p.is_dir()):
            sources += _folder_sources(folder, plan, avoid, len(paths) > 1, wanted)
        plan.output = str(plan.folder or plan.output)
    sources = _without_masks(sources, mask, plan)
    left_out = left_out_words(plan.left_out)
    if not sources and (not only_part or plan.failures):
        raise FileNotFoundError("; ".join([*(reason for _, reason in plan.failures), *left_out]))
    real = RealPaths()
    sources = list({real(s.path): s for s in reversed(sources)}.values())[::-1]  # each once
    masks, missing, notices = _pair_masks(sources, mask, wanted)
    if only_part or shard.number == 1:
        plan.notices += left_out + notices
    else:
        plan.left_out, plan.failures = {}, []
    taken = [_ended(each, form, plan.notices) for each in sources if shard.holds(each.name)]
    plan.failures += [(str(s.path), missing[s.path]) for s in taken if s.path in missing]
    read = {real(path) for path in (*masks, *masks.values()) if path is not None}
    _add_jobs([s for s in _apart(taken) if s.path in masks], masks, save, plan, read)
    return plan


class RealPaths(dict):
    """Path -> real path, as `Path.resolve` has it; each folder is looked up once."""

    def __call__(self, path: Path) -> str:
        folder, name = os.path.split(path)
        if folder not in self:
            self[folder] = os.path.realpath(folder)
        joined = os.path.join(self[folder], name)
        return os.path.realpath(joined) if os.path.islink(joined) else joined


def _ended(source: Source, form: str | None, notices: list[str]) -> Source:
    """The source with the ending of its result, where that is not settled; `notices` are told where
    it is not what was asked for. Of a folder lossless formats are kept."""
    if source.ending is not None:
        return source
    path, own = source.path, source.path.suffix.lower()
    if is_moving(path):
        return replace(source, ending=result_suffix(path))
    if form == SAME and own not in SAME_SUFFIXES:
        kind = f"{own} is not written" if own else "it has no ending"
        notices.append(f"{path}: {kind}, the result is a .png")
    kept = {None: KEPT_SUFFIXES if source.inside else (), SAME: SAME_SUFFIXES}.get(form, ())
    other = FORMATS.get(form or "png", ".png")
    return replace(source, ending=path.suffix if own in kept else other)


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


def _file_sources(files: list[Path], plan: Plan) -> list[Source]:
    """Files named one by one, without those that are results for others of them. Where two have one
    name, the folders in which they lie are mirrored too."""
    results = named_results(files)
    plan.left_out |= {path: f"the result for {photo}" for path, photo in results.items()}
    files = [path for path in files if path not in results]
    if plan.folder is None:
        return [
            Source(p, beside(p), Path(p.stem), Path(os.path.abspath(p)).as_posix()) for p in files
        ]
    names = [Path(p.name) for p in files]
    if len(set(names)) < len(names):
        common = Path(os.path.commonpath([p.resolve().parent for p in files]))
        names = [p.resolve().relative_to(common) for p in files]
    return [
        Source(path, plan.folder / name.with_suffix(""), Path(path.stem), name.as_posix())
        for path, name in zip(files, names, strict=True)
    ]


def _folder_sources(
    folder: Path, plan: Plan, avoid: list[Path], several: bool, wanted: Callable[[str], bool]
) -> list[Source]:
    """Images and videos below `folder`, but not below a folder in `avoid`, under mirrored names."""
    target, before = plan.folder or beside(folder), Path()
    if several:
        before = Path(folder.resolve().name)
        target = target / before if plan.folder is not None else target
    apart = (*avoid, beside(folder).resolve())
    files, left_out = files_below(folder, apart, wanted)
    plan.left_out |= left_out
    if not files and (wanted is every_name or not files_below(folder, apart)[0]):
        plan.failures.append((str(folder), f"{folder}: no images or videos in this folder"))
    names = [path.relative_to(folder) for path in files]
    places = [name.with_suffix("") for name in names]
    return [
        Source(path, target / place, place, (before / name).as_posix(), inside=True)
        for path, name, place in zip(files, names, places, strict=True)
    ]


def _apart(sources: list[Source]) -> list[Source]:
    """a.jpg and a.png must not end in one file: their results keep the whole name."""
    counts = Counter(os.path.normcase(source.target) for source in sources)

    def whole(source: Source) -> Source:
        end = f"-{ENDING}" if source.place == beside(source.path) else ""
        return replace(source, place=source.place.with_name(f"{source.path.name}{end}"))

    return [whole(s) if counts[os.path.normcase(s.target)] > 1 else s for s in sources]


def _without_masks(sources: list[Source], mask: Path | None, plan: Plan) -> list[Source]:
    """The sources but for masks: the file that `mask` names, and NAME-mask beside NAME."""
    paths = [source.path for source in sources]
    masks = dict.fromkeys(masks_beside(paths), MASK if mask is None else "a mask")
    if mask is not None and mask.is_file() and len(paths) > 1:
        masks |= {path: "the mask" for path in paths if path.resolve() == mask.resolve()}
    plan.left_out |= masks
    return [source for source in sources if source.path not in masks]


def _pair_masks(
    sources: list[Source], mask: Path | None, wanted: Callable[[str], bool]
) -> tuple[dict[Path, Path | None], dict[Path, str], list[str]]:
    """Source -> its mask; source -> the reason, where a folder has not exactly one; notices."""
    if mask is None or not mask.is_dir():
        return {source.path: mask for source in sources}, {}, []
    pairs = pair_masks([(source.path, source.stem) for source in sources], mask, wanted)
    return dict(pairs.masks), pairs.missing, pairs.notices


def _add_jobs(
    sources: list[Source],
    masks: dict[Path, Path | None],
    save: Sequence[str],
    plan: Plan,
    read: set[str],
) -> None:
    """Jobs, each with its own files to write and none of them an input (`read`: real paths)."""
    claimed: dict[str, Path] = {}
    real = RealPaths()
    for source in sources:
        ending = source.target.suffix if save and is_moving(source.path) else ".png"
        extras = {name: extra_file(source.target, name, ending) for name in save}
        job = Job(source.path, masks[source.path], source.target, extras)
        reasons = []
        for target in job.targets:
            other = claimed.setdefault(os.path.normcase(target), source.path)
            if real(target) in read:
                reasons.append(f"{target}: is an input of this command and is never overwritten")
            elif other != source.path:
                reasons.append(f"{source.path}: {target} is the result for {other} already")
        if reasons:
            plan.failures.append((str(source.path), reasons[-1]))
        else:
            plan.jobs.append(job)
