"""A metric costs a function and a line of the table: files, tables and end to end have it, and what
was measured before stays."""

import os
import subprocess
import sys
from pathlib import Path

from evaluation_stubs import fake_pairs, shifted_row

from deocclude.engines.measures.inpainting import evaluate_rows
from deocclude.metrics import table

ROOT = Path(__file__).resolve().parents[3]
STUBS = (ROOT, ROOT / "tests", ROOT / "tests" / "engines" / "measures")
# The table with one line more, and the function, before anything else of ours is imported.
WITH_ANOTHER = """
import sys, types
from pathlib import Path

file, folder = map(Path, sys.argv[1:])
table = types.ModuleType("deocclude.metrics.table")
sys.modules[table.__name__] = table
line = '    "worst": Metric("Worst error", 3, False),'
lines = file.read_text(encoding="utf-8").replace("METRICS = {", "METRICS = {\\n" + line)
exec(lines, table.__dict__)

from deocclude.metrics import image

def worst(prediction, target, mask=None):
    error = (prediction - target).abs()
    return (error if mask is None else error * mask).amax((1, 2, 3))

image.FUNCTIONS["worst"] = worst

from evaluation_stubs import fake_pairs, shifted_row
from test_end_to_end import CELLS, Flat, read, row

from deocclude.data.pairs.occluded import FrozenOccluded, OccludedPair
from deocclude.engines.evaluation.end_to_end_tables import end_to_end_tables
from deocclude.engines.evaluation.inpainting import find_inpainted
from deocclude.engines.evaluation.summaries import summarise_cases
from deocclude.engines.measures.end_to_end import TRUE_MASK, Case, evaluate_cases
from deocclude.engines.report.writers import to_markdown

pairs = fake_pairs()
rows = [shifted_row(name, pairs, by) for name, by in (("near", 0.02), ("far", 0.2))]
tables = find_inpainted(rows, pairs, folder).tables
listed = [
    OccludedPair(f"{n}.png", f"{n}", kind, n, f"{i}", f"{i}", float(read(i)[2].mean()))
    for i, (kind, n) in enumerate(CELLS)
]
covered = FrozenOccluded(listed, read, 32, "black boxes")
cases = evaluate_cases([Case(row("Flat", Flat()), TRUE_MASK)], covered, folder)
tables += end_to_end_tables(summarise_cases(cases), 32)
(folder / "table.md").write_text(to_markdown(tables, "All", []), encoding="utf-8")
"""


def test_a_metric_costs_a_function_and_a_line(tmp_path):
    pairs = fake_pairs()
    (measured,) = evaluate_rows([shifted_row("near", pairs, 0.02)], pairs, tmp_path)
    before = {path: path.read_bytes() for path in measured.path.parent.iterdir()}
    subprocess.run(
        [sys.executable, "-c", WITH_ANOTHER, table.__file__, tmp_path],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, STUBS))},
        check=True,
    )
    assert {path: path.read_bytes() for path in before} == before
    (added,) = measured.path.parent.glob("near-worst-*.csv")
    columns, first, *_ = added.read_text(encoding="utf-8").splitlines()
    assert columns == "index,composed/worst,composed_hole/worst,raw/worst,raw_hole/worst"
    _, composed, hole, *_ = map(float, first.split(","))
    assert composed == hole > 0.02  # outside the hole nothing is wrong
    written = (tmp_path / "table.md").read_text(encoding="utf-8")
    for heading in ("## Worst error, composed, whole image", "## Worst error, composed, hole only"):
        assert f"{heading} (lower is better)" in written
    ranks = written.partition("## Ranks")[2].partition("##")[0]
    detail = written.partition("## Every inpainter with every mask")[2].partition("\n\n|")[2]
    assert "| Worst error" in ranks
    assert "Worst error, hole" in detail.partition("\n")[0]
