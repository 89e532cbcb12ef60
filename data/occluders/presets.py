"""How often what covers a face, by the name of a preset."""

from typing import NamedTuple

EYEGLASSES_MODES = ("auto", "redraw", "keep")


class Preset(NamedTuple):
    """How often what is drawn; the shares are divided by their sum."""

    real: float  # one cut-out
    drawn: float  # one drawn kind
    both: float  # a cut-out and a drawn kind over it
    none: float  # the bare face
    blind: float = 0.0  # what system A trains its blind variant on
    photographs: float = 0.0  # scenes of `data.occluders.photographs`


PRESETS = {
    "mixed": Preset(real=0.57, drawn=0.29, both=0.09, none=0.05),
    "real": Preset(real=1.0, drawn=0.0, both=0.0, none=0.0),
    "drawn": Preset(real=0.0, drawn=1.0, both=0.0, none=0.0),
    "blind": Preset(real=0.0, drawn=0.0, both=0.0, none=0.0, blind=1.0),
    "photographs": Preset(real=0.0, drawn=0.0, both=0.0, none=0.1, photographs=0.9),
    # With more of the thin and faint drawn kinds, and of faces that nothing covers.
    "photographs_and_drawn": Preset(real=0.12, drawn=0.18, both=0.05, none=0.13, photographs=0.52),
}
