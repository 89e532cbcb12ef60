"""Who may import whom: every import in the tree, function-level ones too, against one table."""

import ast
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("data", "models", "losses", "metrics", "engines")
ANY = "*"  # any third-party module
NETWORKS = ("timm", "segmentation_models_pytorch", "huggingface_hub")  # and where theirs lie


class Rule(NamedTuple):
    """What modules whose path starts with `prefix` may import, the standard library aside."""

    prefix: str
    ours: tuple[str, ...]
    others: tuple[str, ...]


# The first rule that fits a module counts. A name stands for itself and everything below it.
# walkthrough.py is a tutorial that shows each layer by itself, so it may import all of them.
# The other scripts at the root are thin: engines do the work and report progress, tqdm aside.
RULES = (
    Rule("data.contract", (), ("numpy", "torch")),
    Rule("data", ("data",), (ANY,)),
    Rule("models", ("models", "data.contract"), (*NETWORKS, "torch", "torchvision", "safetensors")),
    Rule("losses", ("losses", "data.contract"), ("torch",)),
    Rule("metrics", ("metrics", "data.contract"), ("torch", "torchmetrics", "numpy", "pandas")),
    Rule("engines", PACKAGES, (ANY,)),
    Rule("walkthrough", PACKAGES, (ANY,)),
    Rule("", ("engines", "models", "losses", "data.contract"), ("tqdm",)),
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
        top = name.split(".")[0]
        if top in own:
            allowed = within(name, rule.ours)
        else:
            allowed = top in sys.stdlib_module_names or ANY in rule.others or top in rule.others
        if not allowed:
            wrong.append(f"{module}, line {line}: imports {name}")
    return wrong


def source_files() -> list[Path]:
    return sorted(ROOT.glob("*.py")) + [
        path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))
    ]


def own_names() -> tuple[str, ...]:
    """Everything at the root that Python could import as ours."""
    return (*PACKAGES, "tests", "benchmarks", "examples", *(p.stem for p in ROOT.glob("*.py")))


def test_every_import_is_allowed():
    files = source_files()
    assert len(files) > 40
    wrong = []
    for path in files:
        text = path.read_text(encoding="utf-8")
        name = module_name(path, ROOT)
        wrong += violations(text, name, own_names(), path.name == "__init__.py")
    assert not wrong, "\n".join(wrong)


def test_every_folder_with_modules_has_a_rule():
    """A new package must enter the table, or nothing would hold it."""
    folders = {p.parent.name for p in ROOT.glob("*/*.py") if not p.parent.name.startswith(".")}
    assert folders - {"tests", "benchmarks", "examples"} == set(PACKAGES)


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("data.contract", "import cv2"),
        ("data.contract", "from data.masks import bin_of"),
        ("data.faces", "from engines import config"),
        ("data.faces", "def f():\n    import models.blocks"),
        ("models.new", "import numpy"),
        ("models.new", "from data.transforms import to_tensor"),
        ("models.new", "from data import masks"),
        ("losses.new", "from torchvision.models import vgg19"),
        ("losses.new", "import models"),
        ("losses.new", "import torchmetrics"),
        ("metrics.new", "import losses"),
        ("metrics.new", "import skimage"),
        ("engines.new", "import evaluate"),
        ("engines.new", "def f():\n    from tests.conftest import TINY"),
        ("engines.new", "try:\n    import benchmarks.training\nexcept ImportError:\n    pass"),
        ("evaluate", "from data.masks import bin_of"),
        ("evaluate", "import deocclude"),
        ("evaluate", "import torch"),
        ("walkthrough", "import evaluate"),
    ],
)
def test_a_violation_is_found(module, text):
    own = (*PACKAGES, "tests", "benchmarks", "evaluate", "deocclude", "walkthrough")
    assert len(violations(text, module, own)) == 1


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("data.contract", "import math\nimport numpy as np\nfrom torch import Tensor"),
        ("data.faces", "from . import masks\nimport cv2, scipy"),
        (
            "models.new",
            "from data.contract import hide\nimport models\nfrom torchvision import ops",
        ),
        ("losses.new", "from losses.inputs import LossInputs"),
        ("metrics.new", "import pandas as pd, torchmetrics"),
        ("engines.new", "import data, models, losses, metrics, engines, yaml"),
        ("evaluate", "from engines import config\nimport models, losses\nfrom tqdm import tqdm"),
        ("walkthrough", "from data.masks import bin_of\nimport torch, numpy"),
    ],
)
def test_what_is_allowed_passes(module, text):
    own = (*PACKAGES, "tests", "benchmarks", "evaluate", "deocclude", "walkthrough")
    assert violations(text, module, own) == []


def test_relative_imports_are_resolved():
    assert imports("from ..models import blocks", "data.faces") == [(1, "models.blocks")]
    assert imports("from . import masks", "data", is_package=True) == [(1, "data.masks")]
    assert imports("from .inputs import X", "losses.pixel") == [(1, "losses.inputs.X")]
