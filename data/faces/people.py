"""What a data set's file names say of the people in its pictures: age, gender, origin.

Labels as UTKFace's: gender and origin are what somebody chose for a picture, not what a person says
of themselves; ages are estimates.
"""

import re
from pathlib import PurePath
from typing import NamedTuple

AGES = ((0, 9), (10, 19), (20, 39), (40, 59), (60, None))  # years, both ends included
GENDERS = ("male", "female")
ORIGINS = ("White", "Black", "Asian", "Indian", "other")
PATTERN = "utk_<number>_<age>_<gender 0 or 1>_<origin 0 to 4>"
_NAME = re.compile(r"utk_\d+_(\d{1,3})_([01])_([0-4])")


def _band(low: int, high: int | None) -> str:
    return f"{low}+" if high is None else f"{low}–{high}"


# Every label and the groups it divides people into, in the order of tables.
GROUPINGS = {
    "age": tuple(_band(*ends) for ends in AGES),
    "gender": GENDERS,
    "origin": ORIGINS,
}


class Person(NamedTuple):
    """A group of each of GROUPINGS."""

    age: str
    gender: str
    origin: str


def person_of(name: str) -> Person | None:
    """The groups that a file's name puts a person in, `utk_00012_34_1_2.jpg`; None for a name that
    says nothing."""
    found = _NAME.fullmatch(PurePath(name).stem)
    if found is None:
        return None
    age, gender, origin = map(int, found.groups())
    band = next(_band(low, high) for low, high in AGES if high is None or age <= high)
    return Person(band, GENDERS[gender], ORIGINS[origin])
