"""The folders of the checkout as one package; everything else stands in pyproject.toml.

`engines` is installed as `deocclude.engines` and `evaluate.py` as `deocclude.evaluate`, so that
nothing called `data` or `models` lies beside other people's packages. pyproject.toml alone could
only list every folder by hand.
"""

from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

CODE = ("engines", "data", "models", "losses", "metrics")
FILES = {
    "ablations": ["**/*.yaml"],
    "weights": ["*"],
    "examples": ["README.md", "**/*.jpg", "**/*.png"],
}
TRAIN = sorted(script.stem for script in Path(__file__).parent.glob("train_*.py"))
SCRIPTS = ("app", *TRAIN, "evaluate")
FOLDERS = {f"deocclude.{name}": name for name in (*CODE, *FILES)}
ROOMS = [f"deocclude.{name}.{room}" for name in CODE for room in find_packages(name)]


class Package(build_py):
    """Builds the package with the scripts as modules, and examples/ without its program."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        found = super().find_package_modules(package, package_dir)
        if package == "deocclude":
            return [*found, *((package, name, f"{name}.py") for name in SCRIPTS)]
        return [module for module in found if package != "deocclude.examples"]


setup(
    packages=["deocclude", *FOLDERS, *ROOMS],
    package_dir={"deocclude": "deocclude"} | FOLDERS,
    package_data={
        "deocclude": ["py.typed"],
        "deocclude.engines.app": ["brush/*"],
        "deocclude.engines.report": ["page/*"],
    }
    | {f"deocclude.{name}": patterns for name, patterns in FILES.items()},
    cmdclass={"build_py": Package},
)
