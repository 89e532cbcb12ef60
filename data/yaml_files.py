"""YAML files, read so that whatever is wrong with one is a line that names file and place."""

from pathlib import Path
from typing import Any

import yaml

DEEP = 40  # levels of keys below keys; a configuration has five
LARGE = 100_000  # values in all, those that an alias repeats counted each time


class YamlError(ValueError):
    """A file or a text that is not the YAML that was expected; the message names it."""


class _Loader(yaml.SafeLoader):
    """SafeLoader, to which two values of one key are an error: it would take the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        if odd := [key for key, _ in node.value if not isinstance(key, yaml.ScalarNode)]:
            raise yaml.constructor.ConstructorError(
                None, None, "a list or a mapping stands where a key belongs", odd[0].start_mark
            )
        keys = [key.value for key, _ in node.value]
        if twice := [key for key in keys if keys.count(key) > 1 and key != "<<"]:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {twice[0]!r} is there twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


def parse_yaml(text: str, source: str) -> Any:
    """The value of a YAML text. YamlError, naming `source`, for one that is not valid, that says a
    key twice, that holds itself, or that is deeper or larger than any configuration."""
    try:
        value = yaml.load(text, _Loader)
        _count(value, 0, 0)
    except yaml.YAMLError as error:
        raise YamlError(f"{source}: is not valid YAML: {_in_a_line(error)}") from error
    except RecursionError:
        raise YamlError(f"{source}: is not valid YAML: values lie too deep in each other") from None
    except (ValueError, OverflowError) as error:  # a date without such a day, an endless number
        raise YamlError(f"{source}: is not valid YAML: {error}") from error
    return value


def read_mapping(path: Path) -> dict[str, Any]:
    """The mapping of keys in a YAML file. YamlError when it holds something else; it names the
    file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise YamlError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise YamlError(f"{path}: is no text (UTF-8), a YAML file is needed") from None
    except IsADirectoryError:
        raise YamlError(f"{path}: is a folder, a YAML file is needed") from None
    content = parse_yaml(text, str(path))
    if content is None:
        raise YamlError(f"{path}: is empty, a mapping of keys is needed")
    if not isinstance(content, dict):
        raise YamlError(f"{path}: must hold a mapping of keys, found {type_in_words(content)}")
    return content


def type_in_words(value: Any) -> str:
    """What a YAML value is: a list, a text, a number."""
    kinds = ((bool, "true or false"), (dict, "a mapping"), (list, "a list"), (str, "a text"))
    return next((words for kind, words in kinds if isinstance(value, kind)), "a single value")


def _count(value: Any, depth: int, seen: int) -> int:
    """The values so far; YAMLError where there are too many, or too deep ones."""
    if depth > DEEP:
        raise yaml.YAMLError(f"more than {DEEP} levels of keys, or a value that holds itself")
    if seen > LARGE:
        raise yaml.YAMLError(f"more than {LARGE} values")
    children = value.values() if isinstance(value, dict) else value
    if isinstance(value, (dict, list)):
        for child in children:
            seen = _count(child, depth + 1, seen)
    return seen + 1


def _in_a_line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or " ".join(str(error).split())
    where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else ""
    return f"{what}{where}"
