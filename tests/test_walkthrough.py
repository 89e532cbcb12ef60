"""walkthrough.py, run top to bottom as a script with --quick; the notebook made from it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import jupytext
import numpy as np
import pytest
from PIL import Image
from process_stubs import run_script

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "walkthrough.py"
NOTEBOOK = ROOT / "docs" / "walkthrough.ipynb"
SOURCE = SCRIPT.read_text(encoding="utf-8")
PICTURES = (
    "1-faces", "2-masks", "3-hide-compose", "4-losses", "5-restored", "6-photo", "7-occluders",
    "8-found", "9-table", "10-shipped",
)  # fmt: skip
ROWS = ["ablationv1", "Occluded input", "Mean colour", "Telea", "Navier-Stokes", "Biharmonic"]
HELP = """
import runpy, sys
sys.argv = [sys.argv[1], "--help"]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print(*sorted({"torch", "torchvision", "matplotlib", "numpy"} & set(sys.modules)))
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The finished process and the folder it ran in."""
    folder = tmp_path_factory.mktemp("walkthrough")
    answer = run_script(SCRIPT, "--quick", "--data", "builtin", folder=folder)
    assert answer.returncode == 0, answer.stderr[-3000:]
    return answer, folder


def test_every_picture_is_a_file_whose_path_is_printed(done):
    answer, folder = done
    said = [Path(path) for path in re.findall(r"^picture: (.*)$", answer.stdout, re.M)]
    assert [path.stem for path in said] == list(PICTURES)
    assert {path.parent for path in said} == {Path("runs/walkthrough")}
    for path in said:
        pixels = np.asarray(Image.open(folder / path).convert("RGB"))
        assert min(pixels.shape[:2]) > 150, path
        colours = np.unique(pixels.reshape(-1, 3)[::7] @ [1, 256, 65536])
        assert len(colours) > 20 or path.stem == "2-masks"
        assert pixels.std() > 15, path


def test_it_leaves_nothing_outside_its_output(done):
    _, folder = done
    assert sorted(path.name for path in folder.iterdir()) == ["runs"]
    assert [path.name for path in (folder / "runs").iterdir()] == ["walkthrough"]


@pytest.mark.parametrize("name", ["total", "hole_l1", "bce", "dice"])
def test_the_loss_goes_down(done, name):
    found = re.search(
        rf"^{name}: .*steps ([\d.]+), of the last \d+ ([\d.]+)$", done[0].stdout, re.M
    )
    first, last = map(float, found.groups())
    assert 0 < last < first


def test_the_table_has_every_row_and_a_hash(done):
    text = done[0].stdout
    for title in ("PSNR (dB)", "SSIM"):
        table = text[text.index(f"## {title}") :].split("\n\n")[1].splitlines()
        assert [line.split("|")[1].strip() for line in table[2:]] == ROWS
    assert re.search(r"SHA-256 of the pairs: [0-9a-f]{64}", text)
    assert re.search(r"N = 12 pairs of \d+ images at 32 px", text)


def test_it_counts_the_published_parameters(done):
    text = done[0].stdout
    for name, millions in (("Reconstruction", 52.71), ("ablationv1", 10.64), ("ablationv3", 51.40)):
        assert re.search(rf"^{name} +{millions:.2f} ", text, re.M), name


def test_known_pixels_are_kept(done):
    assert re.findall(r"known pixels kept.*: (\w+)", done[0].stdout) == ["True", "True"]


def test_it_ends_on_the_weights_that_ship_which_are_better_than_what_it_trained(done):
    found = dict(re.findall(r"^covered pixels, (.*): ([\d.]+) dB$", done[0].stdout, re.M))
    assert float(found["ships"]) > float(found["trained above"]) + 3
    assert float(found["ships"]) > float(found["occluded"]) + 6


def test_help_answers_before_anything_large_is_imported(tmp_path):
    answer = subprocess.run(
        [sys.executable, "-c", HELP, SCRIPT],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert answer.returncode == 0, answer.stderr
    assert "--quick" in answer.stdout
    assert answer.stdout.splitlines()[-1] == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("file", [{}, {"__file__": str(SCRIPT)}], ids=["Jupyter", "Spyder"])
def test_the_arguments_of_a_kernel_are_not_read(monkeypatch, file):
    monkeypatch.setattr(sys, "argv", ["/usr/ipykernel_launcher.py", "-f", "kernel.json"])
    names = {"__name__": "__main__", **file}
    exec(SOURCE[: SOURCE.index("import time")], names)
    assert (names["SIZE"], names["OUTPUT"]) == (64, Path("runs/walkthrough"))


def test_the_notebook_has_the_same_cells_and_no_results():
    """`jupytext --update --to notebook --output docs/walkthrough.ipynb walkthrough.py` makes it."""
    kept = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in kept["cells"]]
    made = jupytext.reads(SOURCE, "py:percent").cells
    assert cells == [(cell.cell_type, cell.source) for cell in made]
    assert not any(cell.get("outputs") for cell in kept["cells"])
    assert kept["metadata"]["kernelspec"]["name"] == "python3"


def test_it_is_made_of_cells_and_starts_no_process():
    cells = re.findall(r"^# %%.*$", SOURCE, re.M)
    assert len(cells) > 15
    assert sum("[markdown]" in cell for cell in cells) >= 9
    assert "workers=0" in SOURCE
    assert "__main__" not in re.sub(r"^#.*$", "", SOURCE, flags=re.M)
    settings = SOURCE.index("# %% Settings")
    assert settings < SOURCE.index("SIZE =") < SOURCE.index("# ## 1.")
