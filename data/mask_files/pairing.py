"""Which mask file belongs to which photo, by their names.

`NAME.png`, `NAME-mask.png`, `NAME_mask.png` and `NAME.mask.png` are masks of `NAME.jpg`, the word
in any case; those with the word may also lie beside the photos.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deocclude.data.image_files import every_name, holds_image, list_images
from deocclude.data.images import ImageReadError
from deocclude.data.mask_files.reading import MaskError, open_mask

WORD = re.compile(r"[-_. ]mask$", re.IGNORECASE)
LOOKED_AT = 5  # pictures of a folder of masks: when none of them is a mask, it holds none


@dataclass
class MaskPairs:
    """`masks`: photo -> its mask; `missing`: photo -> why it has none; `notices` to tell."""

    masks: dict[Path, Path] = field(default_factory=dict)
    missing: dict[Path, str] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)


def photo_stem(stem: str) -> str:
    """The name of a mask's photo: "a-mask" and "a" give "a"."""
    return WORD.sub("", stem) or stem


def masks_beside(files: Sequence[Path]) -> list[Path]:
    """Those of the files that are masks of others of them, in the same folder: by name, and by what
    they hold, as `anna_mask.jpg` may be a photo of Anna with a mask on."""
    stems = {path.with_suffix("") for path in files}
    named = [path for path in files if path.with_name(photo_stem(path.stem)) in stems]
    return [path for path in named if WORD.search(path.stem) and _is_mask(path)]


def _is_mask(path: Path) -> bool:
    try:
        open_mask(path)
    except (ImageReadError, OSError):
        return False
    return True


def match_masks(
    names: Collection[Path], masks: Iterable[tuple[Path, Path]]
) -> tuple[dict[Path, list[Path]], list[Path]]:
    """Name of a photo -> its masks; and the masks of no photo.

    `names` and the first of each of `masks` are paths without ending, relative to their folders.
    Where a photo has masks with and without the word, those with it count.
    """
    plain: dict[Path, list[Path]] = defaultdict(list)
    worded: dict[Path, list[Path]] = defaultdict(list)
    unused = []
    for name, path in masks:
        owner = name.with_name(photo_stem(name.name))
        if name in names:
            plain[name].append(path)
        elif owner in names:
            worded[owner].append(path)
        else:
            unused.append(path)
    unused += [path for name in worded for path in plain[name]]
    return plain | worded, unused


def pair_masks(
    photos: Sequence[tuple[Path, Path]],
    folder: Path,
    wanted: Callable[[str], bool] = every_name,
) -> MaskPairs:
    """Pair photos, (path, name of the mask without ending), with the masks below `folder`.

    A photo with no mask or several is missing, with the reason. ValueError where there is no pair
    at all, and where what is paired are pictures and not masks, as in a folder of photos. `wanted`:
    which masks are looked at, by their relative names, where the photos are one part of many; that
    this part has no pair is no error then.
    """
    pairs = MaskPairs()
    own = {path.resolve() for path, _ in photos}
    images = list_images(folder, wanted)
    masks = [path for path in images if path.resolve() not in own]
    stems = {stem for _, stem in photos}
    named = [(path.relative_to(folder).with_suffix(""), path) for path in masks]
    found, unused = match_masks(stems, named)
    for path, stem in photos:
        fitting = found.get(stem, [])
        if len(fitting) == 1:
            pairs.masks[path] = fitting[0]
        else:
            count = f"{len(fitting)} masks" if fitting else "no mask"
            names = f"{stem}.* or {stem}-mask.*"
            pairs.missing[path] = f"{path}: {count} named {names} in {folder}"
    if not pairs.masks and (wanted is every_name or not holds_image(folder)):
        raise ValueError(f"{folder}: {_no_pair(len(images), len(masks), pairs.missing)}")
    _check_first(list(pairs.masks.values()), folder)
    if unused and len(photos) > 1:
        first = min(path.relative_to(folder).with_suffix("") for path in unused)
        pairs.notices.append(f"{len(unused)} masks in {folder} have no photo, e.g. {first}")
    return pairs


def _no_pair(images: int, masks: int, missing: dict[Path, str]) -> str:
    names = "a mask of NAME.jpg is called NAME-mask.png, or NAME.png in a folder of its own"
    if images == 0:
        return f"no images in this folder of masks; {names}"
    if masks == 0:
        return f"holds the photos themselves and no masks; {names}"
    reason = next(iter(missing.values()))
    return f"none of its {masks} images is named as the mask of a photo ({reason})"


def _check_first(masks: list[Path], folder: Path) -> None:
    """ValueError when the first masks are pictures, all of them."""
    reason = ""
    for path in masks[:LOOKED_AT]:
        try:
            open_mask(path)
            return
        except MaskError as error:
            reason = reason or str(error)
        except (ImageReadError, OSError):
            continue  # it is said when it is that photo's turn
    if reason:
        raise ValueError(f"{folder}: holds no masks; {reason}")
