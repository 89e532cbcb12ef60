"""The manifests of parts joined into one, as one command would have left it."""

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from deocclude.data.files import replacing
from deocclude.engines.jobs.manifest import (
    STATUSES,
    each_row,
    failed,
    kind_of,
    says_less,
    summary,
    write_rows,
)
from deocclude.engines.jobs.shards import WHOLE, Shard, shard_of


@dataclass
class Merged:
    """`counts`: inputs of the parts, by status. `notices`: a line for each part that is missing or
    unfinished."""

    counts: Counter[str] = field(default_factory=Counter)
    notices: list[str] = field(default_factory=list)
    summary: str = ""

    @property
    def failed(self) -> bool:
        return bool(self.notices) or failed(self.counts)


def merge(folder: Path) -> Merged:
    """Write manifest.csv in `folder` from the manifest-K-of-N.csv there.

    A manifest.csv that is there is continued. Of an input that stands in several the row of the
    file that was written last counts, unless that says less (`engines.jobs.manifest.LESS`). What
    there is is joined also where a part is missing or unfinished; the next call takes the rest in.
    FileNotFoundError without a manifest of a part, ValueError for parts of different numbers.
    """
    paths = _manifests(folder)
    parts = {shard.parts for shard in paths}
    if len(parts) > 1:
        some = "; ".join(f"{n}: {_names(paths, n)}" for n in sorted(parts))
        raise ValueError(
            f"{folder}: holds manifests of different numbers of parts ({some}); move those away "
            "that are not meant"
        )
    (count,) = parts
    earlier = folder / WHOLE.manifest
    if earlier.exists():
        paths[WHOLE] = earlier
    merged, left = Merged(), dict[Shard, list[str]]()
    best, own = dict[str, tuple[str, Shard]](), set[str]()  # rows themselves may be a million
    for shard, path in sorted(paths.items(), key=lambda item: item[1].stat().st_mtime_ns):
        for row in each_row(path):
            name, status = row["input"], sys.intern(row.get("status", ""))
            if status not in STATUSES:
                raise ValueError(f"{path}: {name}: {status!r} is none of {', '.join(STATUSES)}")
            if not says_less(status, best[name][0] if name in best else None):
                best[name] = status, shard
            if shard != WHOLE:
                own.add(name)
                if status == "not begun":
                    left.setdefault(shard, []).append(name)
    for number in range(1, count + 1):
        shard = Shard(number, count)
        if shard not in paths:
            merged.notices.append(f"part {number}/{count} is missing: no {shard.manifest}")
        elif names := left.get(shard):
            what = f"{len(names)} not begun, e.g. {names[0]}"
            merged.notices.append(f"part {number}/{count} is unfinished: {what}")
    kinds = set[bool]()

    def chosen() -> Iterator[dict[str, str]]:
        for shard, path in paths.items():
            for row in each_row(path):
                _, last = best.get(row["input"], ("", shard))  # of a part at work: newer still
                if last == shard:
                    if "output" in row:
                        kinds.add("frames" in row)
                    yield row

    with replacing(earlier) as temporary:
        write_rows(temporary, chosen())
    merged.counts = Counter(best[name][0] for name in own)
    merged.summary = summary(merged.counts, str(folder), kind_of(kinds))
    return merged


def _manifests(folder: Path) -> dict[Shard, Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    found = {path: shard_of(path.name) for path in folder.glob("manifest-*.csv")}
    named = {shard: path for path, shard in sorted(found.items()) if shard is not None}
    if not named:
        raise FileNotFoundError(
            f"{folder}: holds no manifest of a part, such as manifest-1-of-4.csv"
        )
    return named


def _names(paths: dict[Shard, Path], parts: int) -> str:
    """The first manifests of so many parts, in words."""
    names = [path.name for shard, path in paths.items() if shard.parts == parts]
    return ", ".join(names[:2]) + ", ..." * (len(names) > 2)
