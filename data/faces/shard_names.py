"""Which tar files a setting such as `shards/{000..099}.tar` means."""

from glob import glob
from itertools import chain, takewhile
from pathlib import Path

NEEDED = (
    'shards need webdataset: `pip install webdataset`, in a checkout `pip install -e ".[shards]"`'
)
PACKED = (".tar.gz", ".tgz")  # cannot be read from the middle
SPECIAL = "{*?["  # begins what stands for several names
NAMED = 5  # missing shards that an error names


def names_shards(faces: str) -> bool:
    """Whether a setting names tar files, or what `shard_pattern` refuses."""
    return faces.endswith((".tar", *PACKED)) or faces.startswith("pipe:") or "://" in faces


def shard_pattern(root: Path | None, faces: str) -> Path:
    """The pattern below the data folder `root` where any shard is there, else as it stands.

    FileNotFoundError when no shard is; ValueError for an address, compressed shards and what is no
    pattern.
    """
    if faces.endswith(PACKED):
        raise ValueError(f"data.faces {faces!r}: compressed; shards must be plain .tar (gunzip)")
    if faces.startswith("pipe:") or "://" in faces or "::" in faces:
        raise ValueError(
            f"data.faces {faces!r}: shards are read at any place, again and again, so they must be "
            "local files; fetch them first, then name them as DIR/{000..099}.tar"
        )
    for pattern in ([root / faces] if root is not None else []) + [Path(faces)]:
        if any_shard(pattern):
            return pattern
    where = f" (nor below {root})" if root is not None else ""
    if set(str(root or "")) & set("{}*?[]"):
        where += "; in the folder's own name, too, {} [] * ? stand for several names"
    raise FileNotFoundError(f"data.faces {faces!r}: no such shard{where}")


def any_shard(pattern: Path) -> bool:
    """Whether a pattern means a file that is there."""
    return any(path.is_file() for path in _expand(pattern))


def list_shards(pattern: Path) -> list[Path]:
    """The tar files of a pattern, in its order, each once. FileNotFoundError names missing ones."""
    found = _expand(pattern)
    home = shard_home(pattern)
    gone = [path.relative_to(home).as_posix() for path in found if not path.is_file()]
    if gone:
        named = ", ".join(gone[:NAMED]) + (", ..." if len(gone) > NAMED else "")
        raise FileNotFoundError(f"{pattern}: {len(gone)} of {len(found)} shards missing: {named}")
    return found


def shard_home(pattern: Path) -> Path:
    """The folder above all shards of a pattern."""
    plain = takewhile(lambda part: not set(part) & set(SPECIAL), pattern.parent.parts)
    return Path(*plain)


def _expand(pattern: Path) -> list[Path]:
    """What braces and wildcards stand for, each once; a name that is not there stays."""
    try:
        from webdataset.shardlists import expand_urls
    except ImportError:
        raise ValueError(f"{pattern}: {NEEDED}") from None
    try:
        names = expand_urls(pattern.as_posix())
    except (ValueError, AssertionError) as error:
        raise ValueError(f"{pattern}: no pattern of shards ({error})") from None
    found = [[name] if Path(name).is_file() else sorted(glob(name)) or [name] for name in names]
    return [Path(name) for name in dict.fromkeys(chain.from_iterable(found))]
