"""The house's walls: who may import whom, every import in the tree against one table.

Function-level imports count too. Names here leave out the package's own name: `data.contract` is
imported as `deocclude.data.contract`, and never without that, or it would be there twice.
"""

import ast
import re
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("data", "models", "losses", "metrics", "engines")
PACKAGE = "deocclude"
ANY = "*"  # any third-party module
EVERYONES = ("names", "progress", "stopping")  # import nothing of ours; used everywhere
PLACE = re.compile(r"(?P<module>\w+(\.\w+)+):(?P<attribute>\w+)")  # imported when asked for
NETWORKS = ("timm", "segmentation_models_pytorch", "huggingface_hub")  # and where theirs lie


class Rule(NamedTuple):
    """What modules whose path starts with `prefix` may import, the standard library aside."""

    prefix: str
    ours: tuple[str, ...]
    others: tuple[str, ...]


# The rooms of engines and data. Each lists the rooms it may import, all of them above it in this
# table; docs/architecture.md says the same in words. Beside them every room of engines may import
# what engines stand on.
STAND_ON = ("models", "losses", "metrics", "data")
FILES = ("data.images", "data.image_files", "data.files")
ROOMS: dict[str, tuple[str, ...]] = {
    "data.contract": (),
    "data.seeding": (),
    "data.files": (),
    "data.yaml_files": (),
    "data.image_files": (),
    "data.images": ("data.image_files", "data.contract", "data.files"),
    "data.mask_files": (*FILES, "data.contract"),
    "data.builtin": ("data.seeding",),
    "data.faces": ("data.builtin", *FILES, "data.seeding"),
    "data.masks": (
        "data.mask_files", "data.faces", "data.images", "data.image_files", "data.seeding",
    ),
    "data.occluders.drawn": ("data.faces",),
    "data.occluders": (
        "data.occluders.drawn", "data.mask_files", "data.faces", *FILES, "data.seeding",
        "data.contract",
    ),
    "data.pairs": (
        "data.occluders", "data.masks", "data.mask_files", "data.faces", *FILES, "data.seeding",
        "data.contract",
    ),
    "data.settings": ("data.pairs", "data.occluders", "data.faces"),
    "data.sources": ("data.settings", "data.pairs", "data.occluders", "data.masks", "data.faces"),
    "data.download": ("data.faces", *FILES, "data.seeding"),
    "engines.options": (),
    "engines.graphs": (),
    "engines.runs": ("engines.graphs",),
    "engines.report": (),
    "engines.ensemble": ("engines.report", "engines.runs", "engines.graphs"),
    "engines.export": ("engines.ensemble", "engines.runs", "engines.graphs"),
    "engines.inference": (
        "engines.export", "engines.ensemble", "engines.runs", "engines.graphs",
    ),
    "engines.training": (
        "engines.inference", "engines.ensemble", "engines.report", "engines.runs",
    ),
    "engines.video": (),
    "engines.jobs": (),
    "engines.photos": (
        "engines.jobs", "engines.inference", "engines.ensemble", "engines.runs",
    ),
    "engines.moving": (
        "engines.photos", "engines.jobs", "engines.video", "engines.inference",
        "engines.ensemble", "engines.runs",
    ),
    "engines.measures": ("engines.inference", "engines.ensemble", "engines.runs"),
    "engines.evaluation": (
        "engines.measures", "engines.inference", "engines.ensemble", "engines.report",
        "engines.runs",
    ),
    "engines.analysis": (
        "engines.evaluation", "engines.measures", "engines.inference", "engines.ensemble",
        "engines.report", "engines.runs", "engines.options",
    ),
    "engines.suite": (
        "engines.evaluation", "engines.training", "engines.report", "engines.runs",
    ),
    "engines.search": ("engines.training", "engines.report", "engines.runs"),
    "engines.api": ("engines.photos", "engines.jobs", "engines.inference", "engines.runs"),
    "engines.app": (
        "engines.api", "engines.moving", "engines.photos", "engines.jobs", "engines.inference",
        "engines.runs", "engines.video", "engines.options",
    ),
    "engines.cli": ("engines",),
    "engines.release_export": ("engines.suite",),
}  # fmt: skip
# `python -m` runs these: beside their room's imports they may use what commands share, and report.
COMMANDS = ("engines.options", "engines.report")

# The first rule that fits a module counts. A name stands for itself and everything below it.
# walkthrough.py is a tutorial that shows each layer by itself, so it may import all of them.
# The other scripts at the root, and the package's own folder, hand over to engines.
RULES = (
    Rule("data.contract", (), ("numpy", "torch")),
    Rule("models", ("models", "data.contract"), (*NETWORKS, "torch", "torchvision", "safetensors")),
    Rule("losses", ("losses", "data.contract"), ("torch",)),
    Rule("metrics", ("metrics", "data.contract"), ("torch", "torchmetrics", "numpy", "pandas")),
    *(
        Rule(f"{room}.__main__", (room, *below, *COMMANDS, *STAND_ON), (ANY,))
        for room, below in ROOMS.items()
        if room.startswith("engines.")
    ),
    *(
        Rule(room, (room, *below, *(STAND_ON if room.startswith("engines") else ())), (ANY,))
        for room, below in ROOMS.items()
    ),
    Rule("walkthrough", PACKAGES, (ANY,)),
    Rule("setup", (), ("setuptools",)),
    Rule("deocclude.progress", (), ("tqdm",)),
    Rule("", ("engines", "__main__"), ()),
)


def module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(text: str, module: str, is_package: bool = False) -> list[tuple[int, str]]:
    """(line, dotted name) of every import, relative ones resolved; `from a import b` is a.b."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")
                parents = parents[: len(parents) - node.level + is_package]
                base = ".".join([*parents, *filter(None, [base])])
            found += [(node.lineno, f"{base}.{alias.name}") for alias in node.names]
    return sorted(found)


def within(name: str, allowed: tuple[str, ...]) -> bool:
    return any(name == a or name.startswith(f"{a}.") for a in allowed)


def violations(text: str, module: str, own: tuple[str, ...], is_package: bool = False) -> list[str]:
    """One line for each import that the rule of `module` does not allow; `own`: root names."""
    rule = next(r for r in RULES if not r.prefix or within(module, (r.prefix,)))
    wrong = []
    for line, name in imports(text, module, is_package):
        top, _, below = name.partition(".")
        if top == PACKAGE:
            allowed = within(below, (*rule.ours, *EVERYONES))
        elif top in own:
            allowed = False
        else:
            allowed = top in sys.stdlib_module_names or ANY in rule.others or top in rule.others
        if not allowed:
            wrong.append(f"{module}, line {line}: imports {name}")
    return wrong


def source_files() -> list[Path]:
    return sorted(ROOT.glob("*.py")) + [
        path for package in (PACKAGE, *PACKAGES) for path in sorted((ROOT / package).rglob("*.py"))
    ]


def own_names() -> tuple[str, ...]:
    """Everything at the root that Python could import as ours."""
    return (*PACKAGES, "tests", "benchmarks", "examples", *(p.stem for p in ROOT.glob("*.py")))


def rooms() -> list[Path]:
    """The folders of engines and data that hold modules."""
    inner = [*ROOT.glob("engines/**/__init__.py"), *ROOT.glob("data/**/__init__.py")]
    return sorted(file.parent for file in inner if file.parent.parent != ROOT)


def test_every_import_is_allowed():
    files = source_files()
    assert len(files) > 40
    wrong = []
    for path in files:
        text = path.read_text(encoding="utf-8")
        name = module_name(path, ROOT)
        wrong += violations(text, name, own_names(), path.name == "__init__.py")
    assert not wrong, "\n".join(wrong)


def test_the_table_itself_runs_downward():
    """A room imports only those above it in the table, so no circle of rooms is legal."""
    known: list[str] = []
    for room, below in ROOMS.items():
        if room != "engines.cli":  # the roof
            assert set(below) <= set(known), room
        known.append(room)


def test_no_modules_import_each_other_in_a_circle():
    edges: dict[str, set[str]] = {}
    files = {module_name(path, ROOT): path for path in source_files()}
    for module, path in files.items():
        found = imports(path.read_text(encoding="utf-8"), module, path.name == "__init__.py")
        names = [name.removeprefix(f"{PACKAGE}.") for _, name in found]
        parents = [name.rpartition(".")[0] for name in names]
        edges[module] = ({*names, *parents} & set(files)) - {module}
    assert sum(map(len, edges.values())) > 500
    while leaves := {module for module, others in edges.items() if not others & set(edges)}:
        edges = {module: others for module, others in edges.items() if module not in leaves}
    assert not edges, f"a circle lies among {', '.join(edges)}"


def test_every_room_has_a_rule_a_sentence_and_a_size_to_find_ones_way_in():
    folders = {p.parent.name for p in ROOT.glob("*/*.py") if not p.parent.name.startswith(".")}
    assert folders - {"tests", "benchmarks", "examples"} == {PACKAGE, *PACKAGES}
    names = [module_name(folder, ROOT) for folder in rooms()]
    loose = [module_name(p, ROOT) for top in ("data", "engines") for p in (ROOT / top).glob("*.py")]
    assert sorted([*names, *(name for name in loose if "." in name)]) == sorted(ROOMS)
    assert len([name for name in loose if name.startswith("engines.")]) <= 3
    for folder in rooms():
        tree = ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
        assert len(tree.body) == 1, f"{folder}: more than a sentence"
        assert ast.get_docstring(tree).count(".") == 1, folder
        assert 3 <= len(list(folder.glob("*.py"))) <= 18, folder


def places() -> list[tuple[str, str, str]]:
    """(file, module, attribute) of every "module:attribute" text: what is imported when asked for,
    which the rules above do not see."""
    found = []
    for path in source_files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and (match := PLACE.fullmatch(text)):
                found.append((module_name(path, ROOT), match["module"], match["attribute"]))
    return found


def test_what_is_named_to_be_imported_later_is_there_and_ours():
    assert {"models", "losses", "engines.runs.tasks"} <= {file for file, _, _ in places()}
    files = {module_name(path, ROOT): path for path in source_files()}
    for file, module, attribute in places():
        below = module.removeprefix(f"{PACKAGE}.")
        assert below != module, f"{file}: {module} is not ours"
        assert below in files, f"{file}: there is no {module}"
        body = ast.parse(files[below].read_text(encoding="utf-8")).body
        names = {getattr(each, "name", None) for each in body} | {
            target.id
            for each in body
            if isinstance(each, ast.Assign)
            for target in each.targets
            if isinstance(target, ast.Name)
        }
        assert attribute in names, f"{file}: {module} has no {attribute}"


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("data.contract", "import cv2"),
        ("data.contract", "from deocclude.data.masks.shapes import bin_of"),
        ("data.faces.files", "from deocclude.engines.runs import config"),
        ("data.faces.files", "from deocclude.data.pairs import frozen"),
        ("data.faces.files", "def f():\n    from deocclude import models"),
        ("data.faces.files", "from data.contract import hide"),
        ("models.new", "import numpy"),
        ("models.new", "from deocclude.data.images import to_tensor"),
        ("models.new", "from deocclude.data import masks"),
        ("losses.new", "from torchvision.models import vgg19"),
        ("losses.new", "from deocclude import models"),
        ("losses.new", "import torchmetrics"),
        ("metrics.new", "from deocclude import losses"),
        ("metrics.new", "import skimage"),
        ("engines.runs.new", "import evaluate"),
        ("engines.runs.new", "import deocclude"),
        ("engines.runs.new", "from deocclude.engines.training import run"),
        ("engines.training.new", "from deocclude.engines.photos.deoccluder import Deoccluder"),
        ("engines.training.new", "from deocclude.engines.evaluation import seeds"),
        ("engines.photos.new", "from deocclude.engines.measures.rows import RowResult"),
        ("engines.report.new", "from deocclude.engines.runs import weights"),
        ("engines.suite.new", "def f():\n    from tests.conftest import TINY"),
        ("engines.suite.new", "try:\n    import benchmarks.training\nexcept ImportError:\n    0"),
        ("evaluate", "from deocclude.data.masks.shapes import bin_of"),
        ("evaluate", "import torch"),
        ("walkthrough", "import evaluate"),
    ],
)
def test_a_violation_is_found(module, text):
    own = (*PACKAGES, "tests", "benchmarks", "evaluate", "walkthrough")
    assert len(violations(text, module, own)) == 1


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("data.contract", "import math\nimport numpy as np\nfrom torch import Tensor"),
        ("data.faces.files", "from deocclude.data.builtin import faces\nimport cv2, scipy"),
        ("models.new", "from deocclude.data.contract import hide\nfrom torchvision import ops"),
        ("losses.new", "from deocclude.losses.inputs import LossInputs"),
        ("metrics.new", "import pandas as pd, torchmetrics"),
        ("engines.runs.new", "from deocclude import data, models, losses, metrics\nimport yaml"),
        ("engines.ensemble.__main__", "from deocclude.engines.report.tables import Table"),
        ("engines.cli.new", "from deocclude.engines.photos.deoccluder import Deoccluder"),
        ("losses.new", "from deocclude.names import Registry"),
        ("evaluate", "from deocclude.engines.cli import evaluate"),
        ("walkthrough", "from deocclude.data.masks.shapes import bin_of\nimport torch, numpy"),
    ],
)
def test_what_is_allowed_passes(module, text):
    own = (*PACKAGES, "tests", "benchmarks", "evaluate", "walkthrough")
    assert violations(text, module, own) == []


def test_relative_imports_are_resolved():
    assert imports("from ..models import blocks", "data.faces") == [(1, "models.blocks")]
    assert imports("from . import masks", "data", is_package=True) == [(1, "data.masks")]
    assert imports("from .inputs import X", "losses.pixel") == [(1, "losses.inputs.X")]
