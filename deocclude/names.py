"""Names and values in words: tables that import an entry when it is asked for, typos, and what was
found where something else was meant."""

import ast
import difflib
import inspect
from collections import UserDict
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any


class Registry(UserDict):
    """Name -> "module:attribute", as in `Registry({"unet": "deocclude.models.unet:UNet"})`.

    `table[name]` imports the module and gives the attribute. The names themselves are known
    without that: PyTorch takes seconds. An entry may also be the thing itself.
    """

    def __getitem__(self, name: str) -> Any:
        return imported(super().__getitem__(name))

    def parameters(self, name: str) -> list[str]:
        """The names of the options that an entry takes, read from its source where that tells:
        nothing is imported for a name that is mistyped."""
        place = self.data[name]
        told = _parameters(*place.split(":")) if isinstance(place, str) else None
        return list(inspect.signature(self[name]).parameters) if told is None else told


def imported(place: Any) -> Any:
    """What "module:attribute" names, its module imported now; the thing itself where it is one."""
    if not isinstance(place, str):
        return place
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)


@lru_cache
def _parameters(module: str, attribute: str) -> list[str] | None:
    """Parameters of a class or function as its module's file says them; None where it does not."""
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return None
    body = ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body
    kinds = {each.name: each for each in body if isinstance(each, (ast.ClassDef, ast.FunctionDef))}
    brought = [each for each in body if isinstance(each, ast.ImportFrom) and each.module]
    elsewhere = {name.name: str(each.module) for each in brought for name in each.names}
    found = kinds.get(attribute)
    while isinstance(found, ast.ClassDef):
        methods = [each for each in found.body if isinstance(each, ast.FunctionDef)]
        own = next((each for each in methods if each.name == "__init__"), None)
        if own is not None:
            return _names_of(own)[1:]  # without self
        bases = [ast.unparse(base) for base in found.bases]
        if bases == ["nn.Module"]:
            return ["args", "kwargs"]
        if len(bases) != 1:
            return None
        if bases[0] in elsewhere:
            return _parameters(elsewhere[bases[0]], bases[0])
        found = kinds.get(bases[0])
    return None if found is None else _names_of(found)


def _names_of(function: ast.FunctionDef) -> list[str]:
    given = function.args
    more = [each for each in (given.vararg, given.kwarg) if each is not None]
    return [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs, *more)]


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


def in_words(value: Any) -> str:
    """What a record says, for people: {"train": 20, "of": ["a", "b"]} as "train 20, of a, b"."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {in_words(each)}" for key, each in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(in_words, value)) or "none"
    return "none" if value is None else str(value)
