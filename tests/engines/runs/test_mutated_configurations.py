"""Files and `--set` made by mutation of those in ablations/: each is a run, or a line that names
the file or the key. Never a traceback.

A few hundred cases; DEOCCLUDE_CASES=10000 makes as many of each kind.
"""

import contextlib
import io
import math
import os
import re
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from deocclude import losses, models
from deocclude.engines.cli import evaluate
from deocclude.engines.evaluation.suites import load_suite
from deocclude.engines.runs.config import ConfigError, check_config, load_config, read_yaml
from deocclude.engines.runs.recipes import read_recipe, recipe_config
from deocclude.engines.runs.tasks import ABLATIONS
from deocclude.engines.search import __main__ as search_command
from deocclude.engines.suite.request import check_request

CASES = int(os.environ.get("DEOCCLUDE_CASES", "60"))
FOLDERS = {
    "inpainting": (ABLATIONS, ABLATIONS / "release"),
    "segmentation": (ABLATIONS / "segmentation",),
    "identity": (ABLATIONS / "identity",),
}
RUNS = [
    (task, path)
    for task, folders in FOLDERS.items()
    for folder in folders
    for path in sorted(folder.glob("*.yaml"))
    if read_yaml(path).get("task", "inpainting") == task
]
SUITES = sorted((ABLATIONS / "suites").glob("*.yaml"))
RECIPE = {
    "name": "three",
    "combination": "weights",
    "weights": [0.5, 0.3, 0.2],
    "members": [{"weights": f"{name}.safetensors", "sha256": name * 64} for name in "abc"],
    "keep": "memory",
}
# What no line for people has.
PYTHON = re.compile(
    r"<class|<function| object at 0x|PosixPath|Traceback|pydantic|\bNone\b|NoneType|datetime\."
    r"|Error\(|has no attribute|unhashable|not subscriptable|__init__"
)
BROKEN = ["a: [1", "a: b: c", "\tname: x", "- 1\n- 2", "", "---\n---\n", "a: &a [*a]",
    "&a {b: *a}", "a: 1\na: 2", "x: !!python/object:os.system {}", "? [1]\n: 2", "a: 2020-13-45",
    "\x00", "\ufeff", "a: " + "[" * 2000, "9" * 5000, "a: !!binary x"]  # fmt: skip

TEXT = st.text("abeü🙂 .:/-_0#'\"", max_size=8)  # none of which makes a word of Python
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([10**6, 10**12, -(10**9), 10**50, 2**63]),
    st.sampled_from([0.0, -1.5, 0.5, 1e-300, 1e300, math.nan, math.inf, -math.inf]),
    st.sampled_from(
        ["", " ", "auto", "none", "true", "no", "ü🙂", "a\nb", "../..", "1e3", "x" * 300]
    ),
    TEXT,
    st.dates(),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "weight", "start", "size", "x", "1"]), inner, max_size=3
        )
    ),
    max_leaves=5,
)


def places(content, path=()):
    """The path of every value in nested mappings and lists."""
    children = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in children:
        yield (*path, key)
        if isinstance(value, (dict, list)):
            yield from places(value, (*path, key))


def mutated(draw, content):
    """`content` with one to three of its values or keys changed."""
    for _ in range(draw(st.integers(1, 3))):
        found = list(places(content))
        if not found:
            break
        path = draw(st.sampled_from(found))
        node = content
        for key in path[:-1]:
            node = node[key]
        key, value = path[-1], draw(values)
        how = draw(
            st.sampled_from(["replace", "rename", "remove", "wrap", "nest", "borrow", "add"])
        )
        if how == "rename" and isinstance(node, dict):
            node[draw(st.sampled_from([f"{key}s", "", "x", 1, None, f"{key}"[:-1], "ü"]))] = (
                node.pop(key)
            )
        elif how == "remove":
            del node[key]
        elif how == "wrap":
            node[key] = [node[key]]
        elif how == "nest":
            node[key] = {"name": node[key]}
        elif how == "borrow":  # a value of another key
            other = content
            for step in draw(st.sampled_from(found)):
                if not isinstance(other, (dict, list)):
                    break
                try:
                    other = other[step]
                except (LookupError, TypeError):
                    break
            node[key] = yaml.safe_load(yaml.safe_dump(other))
        elif how == "add" and isinstance(node, dict):
            node[
                draw(st.sampled_from(["extends", "profiles", "discriminator", "features", "x"]))
            ] = value
        else:
            node[key] = value
    return content


def as_bytes(draw, content) -> bytes:
    """The file of a mutated mapping: now and then no mapping, no YAML, no text."""
    if draw(st.integers(0, 9)) == 0:
        return (
            draw(st.sampled_from(BROKEN)).encode()
            if draw(st.booleans())
            else draw(st.binary(max_size=40))
        )
    text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
    if draw(st.integers(0, 9)) == 0:
        cut = draw(st.integers(0, len(text)))
        text = (
            text[:cut]
            + draw(st.sampled_from(["", "\t", "&x ", "*x", ": ", "- ", "'", "{", "\n\n"]))
            + text[cut:]
        )
    return text.encode()


def said(error: Exception, *names: str) -> None:
    """Check what a user would read: lines without Python's words, of which one names something."""
    text = str(error)
    assert text.strip(), repr(error)
    assert not PYTHON.search(text), text
    assert len(text) < 20_000, text[:400]
    named = any(name in text for name in names) or re.match("[a-z_]+:? ", text)
    assert named, text


def make_networks(config) -> None:
    """What a start makes of a configuration, without weights and memory."""
    create = {
        "inpainting": models.create_inpainter,
        "segmentation": models.create_segmenter,
        "identity": models.create_identity_network,
    }[config.task]
    options = {"classes": 3} if config.task == "identity" else config.model_options()
    if config.model.takes("pretrained"):
        options["pretrained"] = False
    with torch.device("meta"):
        create(config.model.name, **options)
        for each in getattr(config, "discriminators", {}).values():
            models.create_discriminator(each.name, **each.options)
    losses.create_loss(config.losses, config.TERMS)


KEYS = ("model", "losses", "data", "training", "features", "discriminator", "name", "task",
    "extends", "teacher", "init_from", "members", "description", "profile", "mutated", "--set",
    "as_published", "loss_on", "downloads", "inpainter", "segmenter", "network")  # fmt: skip
MANY = settings(
    max_examples=CASES,
    deadline=None,
    phases=[Phase.generate],  # the message says it all; smaller cases take minutes to find
    derandomize=CASES < 1000,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@given(data=st.data())
@MANY
def test_a_mutated_run_is_a_run_or_a_line(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    task, source = data.draw(st.sampled_from(RUNS))
    content = mutated(data.draw, read_yaml(source))
    path = folder / "mutated.yaml"
    path.write_bytes(as_bytes(data.draw, content))
    profile = data.draw(st.sampled_from([None, "quick", "small"]))
    try:
        config = load_config(path, profile, (), task)
        make_networks(config)
        yaml.safe_dump(config.model_dump(mode="json"))
    except (ValueError, OSError) as error:
        said(error, *KEYS)


@given(data=st.data())
@MANY
def test_a_mutated_set_is_a_run_or_a_line(data):
    task, source = data.draw(st.sampled_from(RUNS))
    keys = [".".join(map(str, path)) for path in places(read_yaml(source))]
    keys += [
        "data.size",
        "training.seed",
        "data.workers",
        "data.augment",
        "model.pretrained",
        "",
        "=",
        "a.b",
    ]
    given_ = []
    for _ in range(data.draw(st.integers(1, 3))):
        value = data.draw(values)
        text = (
            yaml.safe_dump(value, default_flow_style=True, width=10**6)
            .strip()
            .removesuffix("\n...")
        )
        text = data.draw(st.sampled_from([text, text, text, "[", "{a", "a: b: c", "&a [*a]", "\t"]))
        given_.append(f"{data.draw(st.sampled_from(keys))}={text}")
    try:
        config = load_config(source, "quick", given_, task)
        make_networks(config)
    except (ValueError, OSError) as error:
        said(error, *KEYS)


@given(data=st.data())
@MANY
def test_a_mutated_suite_is_a_suite_or_a_line(tmp_path_factory, data):
    content = mutated(data.draw, read_yaml(data.draw(st.sampled_from(SUITES))))
    path = tmp_path_factory.getbasetemp() / "mutated.yaml"
    path.write_bytes(as_bytes(data.draw, content))
    try:
        suite = load_suite(path)
        check_request(suite.runs, lambda run, task: check_config(run, ["quick"], [], task))
        assert suite.folder
        assert suite.parts()
    except (ValueError, OSError) as error:
        said(error, "mutated", "run")


@given(data=st.data())
@MANY
def test_a_mutated_ensemble_is_one_or_a_line(tmp_path_factory, data):
    content = mutated(data.draw, yaml.safe_load(yaml.safe_dump(RECIPE)))
    path = tmp_path_factory.getbasetemp() / "mutated.yaml"
    path.write_bytes(as_bytes(data.draw, content))
    try:
        read_recipe(path)
        recipe_config(path)  # whose members are not there
    except (ValueError, OSError) as error:
        said(error, "mutated")
    else:
        pytest.fail("an ensemble of members that are not there")


words = st.one_of(
    st.sampled_from(
        ["none", "all", "0", "-1", "3", "1e9", "nan", "x", "", "off", "auto", "shipped"]
    ),
    TEXT,
)
OPTIONS = ["--runs", "--all-runs", "--suite", "--checkpoint", "--data", "--limit", "--output",
    "--runs-folder", "--batch", "--device", "--baselines", "--reference", "--images", "--masks",
    "--pair-by-order", "--invert-mask", "--size", "--per-bin", "--per-kind", "--workers", "--flip",
    "--lpips", "--lpips-weights", "--identity", "--fid", "--inception-weights", "--dilate",
    "--epochs", "--export", "--fold-seeds", "--layers", "--stages", "--seed", "--network",
    "--sizes", "--batches", "--bandwidth", "--template", "--pixels", "--neighbours", "--metric",
]  # fmt: skip
ANALYSES = ("cka", "umap", "timing", "errors", "uncertainty", "groups")
COMMANDS = [
    *([each] for each in ("inpainting", "segmentation", "end-to-end", "identity", "losses")),
    *(["analyse", each] for each in ANALYSES),
]


def ends(check, arguments) -> None:
    """A command line is taken, refused by argparse, or ends in a line."""
    told, code, line = io.StringIO(), 0, "taken"
    try:
        with contextlib.redirect_stderr(told), contextlib.redirect_stdout(told):
            check(arguments)
    except SystemExit as end:
        code = end.code
    except (ValueError, OSError) as error:
        line = str(error)
    assert code in (0, 2), arguments
    assert line.strip(), arguments
    assert not PYTHON.search(told.getvalue() + line), told.getvalue() + line


@given(data=st.data())
@MANY
def test_mutated_options_of_evaluate_are_taken_or_a_line(data):
    arguments = list(data.draw(st.sampled_from(COMMANDS)))
    for option in data.draw(st.lists(st.sampled_from(OPTIONS), max_size=3)):
        arguments += [option, *data.draw(st.lists(words, max_size=2))]

    def check(argv):
        options = evaluate.parse(argv)
        options.check(options)

    ends(check, arguments)


@given(data=st.data())
@MANY
def test_mutated_options_of_the_search_are_taken_or_a_line(data):
    options = ["--objective", "--terms", "--low", "--high", "--step", "--train-images",
        "--profile", "--set", "--data", "--trials", "--max-minutes", "--name", "--seed",
    ]  # fmt: skip
    arguments = [data.draw(st.sampled_from(["Reconstruction", "occlufix", "x"]))]
    for option in data.draw(st.lists(st.sampled_from(options), max_size=3)):
        arguments += [option, *data.draw(st.lists(words, max_size=2))]
    ends(lambda argv: search_command.check(search_command.parse(argv)), arguments)


@pytest.mark.parametrize("text", BROKEN)
def test_what_is_no_configuration_is_a_line_that_names_the_file(tmp_path, text):
    path = tmp_path / "odd.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"odd\.yaml") as caught:
        load_config(path)
    assert len(str(caught.value).splitlines()) == 1
    assert not PYTHON.search(str(caught.value))


def test_a_folder_or_a_picture_in_place_of_a_configuration(tmp_path):
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(ConfigError, match="is a folder, a YAML file is needed"):
        read_yaml(tmp_path / "folder.yaml")
    Path(tmp_path / "picture.yaml").write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF")
    with pytest.raises(ConfigError, match=r"picture\.yaml: is no text"):
        load_config(tmp_path / "picture.yaml")
