"""In which group a kind of occluder is reported: real cut-outs, drawn ones, unknown, nothing."""

import numpy as np
import pandas as pd

from deocclude.data.occluders.drawn.kinds import KINDS
from deocclude.data.occluders.photographs import EYEGLASSES
from deocclude.data.occluders.placing import NONE
from deocclude.data.occluders.sets import UNKNOWN

REAL, DRAWN, UNOCCLUDED = "real", "drawn", NONE
OCCLUDED = (REAL, DRAWN, UNKNOWN)
GROUPS = (*OCCLUDED, UNOCCLUDED)
WITHOUT_GLASSES = "real without eyeglasses"  # part of REAL: clear ones may be meant to stay


def group_of(kind: str) -> str:
    """The group of a kind; several ("scarf+patch") are drawn only when all of them are."""
    if kind in (UNOCCLUDED, UNKNOWN):
        return kind
    return DRAWN if all(part in KINDS for part in kind.split("+")) else REAL


def groups_of(frame: pd.DataFrame) -> np.ndarray:
    """The group of each line, by its `kind` and `hole_ratio`: eyeglasses that are kept, without a
    hole, leave a face unoccluded."""
    kept = frame["kind"].isin([*EYEGLASSES]) & frame["hole_ratio"].eq(0)
    groups = np.array([group_of(kind) for kind in frame["kind"]], dtype=object)
    return np.where(kept, UNOCCLUDED, groups).astype(str)


def without_glasses(frame: pd.DataFrame) -> np.ndarray | None:
    """Which lines are of real occluders other than clear eyeglasses; None where that is all or none
    of the real ones."""
    real = groups_of(frame) == REAL
    others = real & ~frame["kind"].isin([*EYEGLASSES]).to_numpy()
    return others if 0 < others.sum() < real.sum() else None
