"""Names and what they stand for: tables that import an entry when it is asked for, and typos."""

import difflib
from collections import UserDict
from collections.abc import Iterable
from importlib import import_module
from typing import Any


class Registry(UserDict):
    """Name -> "module:attribute", as in `Registry({"unet": "deocclude.models.unet:UNet"})`.

    `table[name]` imports the module and gives the attribute. The names themselves are known
    without that: PyTorch takes seconds. An entry may also be the thing itself.
    """

    def __getitem__(self, name: str) -> Any:
        found = super().__getitem__(name)
        if isinstance(found, str):
            module, _, attribute = found.partition(":")
            found = getattr(import_module(module), attribute)
        return found


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """The end of an error about an unknown name: "; did you mean SOCLNET?", or nothing when none
    of the `valid` ones is like it. Upper and lower case count as one."""
    spelled = {each.lower(): each for each in valid}
    close = difflib.get_close_matches(name.lower(), spelled, n=1)
    return f"; did you mean {spelled[close[0]]}?" if close else ""
