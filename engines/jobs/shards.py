"""A folder restored in parts: which part an input belongs to, by its name alone."""

import hashlib
import re
from dataclasses import dataclass

from deocclude.data.mask_files.pairing import WORD
from deocclude.engines.jobs.inputs import ENDING, EXTRAS, MANIFEST

# Endings that names have before their last one, as in a.jpg.png. Part of what divides the inputs:
# two machines must agree on it, whatever their Pillow reads.
INNER = (
    "jpg", "jpeg", "jfif", "jpe", "png", "apng", "webp", "avif", "tif", "tiff", "bmp", "gif",
    "heic", "heif", "hif", "mp4", "m4v", "mov", "3gp", "avi", "mkv", "webm", "mpg", "mpeg", "wmv",
)  # fmt: skip
_ADDED = re.compile(rf"(?:-{ENDING}|-(?:{'|'.join(EXTRAS)})|\.(?:{'|'.join(INNER)}))$")
_FORM = re.compile(r"([1-9]\d*)/([1-9]\d*)")


@dataclass(frozen=True)
class Shard:
    """Part `number`, from 1, of `parts`; without parts it is WHOLE, everything at once.

    An input belongs to the part that a hash of its name gives. So no part needs to know the others:
    what is done already, or a file that is added between the starts of two parts, moves no other
    input, which it would if parts were cut from the sorted list. The price is that parts are only
    about equal: of n inputs a part has n / parts, give or take the square root of that.

    What counts is the name below the folder of inputs without endings and without what this program
    adds to names. Thus a.jpg, a.png, a-mask.png and a-restored.png are in one part, which alone
    decides what is a mask or a result and writes every file that could be named after them. A file
    that several links below the folder lead to may be restored once under each name.
    """

    number: int = 1
    parts: int = 0

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Of "K/N". ValueError for anything else."""
        found = _FORM.fullmatch(text.strip())
        if found is None or int(found[1]) > int(found[2]):
            raise ValueError(f"{text!r}: must be K/N, part K of N, K from 1 to N, e.g. 1/4")
        return cls(int(found[1]), int(found[2]))

    @property
    def manifest(self) -> str:
        """The file name of its manifest."""
        part = f"-{self.number}-of-{self.parts}" if self.parts else ""
        return f"manifest{part}.csv"

    def holds(self, name: str) -> bool:
        """Whether the input of this name, relative and POSIX, is in this part."""
        if self.parts < 2:
            return True
        digest = hashlib.blake2b(_group(name).encode(errors="surrogatepass"), digest_size=8)
        return int.from_bytes(digest.digest(), "big") % self.parts == self.number - 1


WHOLE = Shard()


def shard_of(manifest: str) -> Shard | None:
    """The part whose manifest a file of this name is; None for another file."""
    found = MANIFEST.fullmatch(manifest)
    return Shard.parse(f"{found[1]}/{found[2]}") if found and found[1] else None


def _group(name: str) -> str:
    """What the names of a photo, of its mask and of its results have in common."""
    folder, _, stem = name.casefold().rpartition("/")
    stem = stem.rpartition(".")[0] or stem
    while shorter := WORD.sub("", _ADDED.sub("", stem)):
        if shorter == stem:
            break
        stem = shorter
    return f"{folder}/{stem}"
