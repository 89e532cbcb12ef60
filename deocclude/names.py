"""Names and values in words: tables that import an entry when it is asked for, typos, and what was
found where something else was meant."""

import difflib
from collections import UserDict
from collections.abc import Iterable, Mapping
from importlib import import_module
from itertools import islice
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


def shown(value: Any, limit: int = 80) -> str:
    """A value as a YAML file would say it, for an error: 'text', null, true, 3, [1, 2], {size: 64};
    at most `limit` characters."""
    text = _flow(value, 4)
    return text if len(text) <= limit else f"{text[: limit - 4]} ..."


def _flow(value: Any, depth: int) -> str:
    if isinstance(value, str):
        return repr(value if len(value) <= 200 else f"{value[:200]} ...")
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int) and abs(value) >= 10**40:
        return "a number of more than 40 digits"
    many = isinstance(value, (Mapping, list, tuple, set, frozenset))
    if many and depth == 0:
        return "..."
    if isinstance(value, Mapping):
        listed = (
            f"{_key(key)}: {_flow(each, depth - 1)}" for key, each in islice(value.items(), 20)
        )
        return f"{{{', '.join(listed)}}}"
    if many:
        return f"[{', '.join(_flow(each, depth - 1) for each in islice(value, 20))}]"
    return str(value)


def _key(key: Any) -> str:
    return key[:40] if isinstance(key, str) else _flow(key, 1)
