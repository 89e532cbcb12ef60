"""Cells that keep their numbers, tables made of frames, and what a report leaves."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from deocclude.engines.report.figures import NothingToDraw
from deocclude.engines.report.report import Drawing, write_report
from deocclude.engines.report.tables import Cell, Table, column, pivot, table_of
from deocclude.engines.report.writers import to_markdown

FRAME = pd.DataFrame(
    {
        "row": ["a", "b", "a", "b"],
        "place": ["eyes", "eyes", "hair", "hair"],
        "mean": [0.301, 0.299, 0.5, math.nan],
        "low": [0.2, math.nan, 0.4, math.nan],
        "high": [0.4, 0.4, 0.6, math.nan],
        "loss": [0.0, -0.1, math.inf, 0.2],
    }
)


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (Cell("words"), "words"), (Cell(None), "–"), (Cell(math.nan, 1.0, 2.0, ".1f"), "–"),
        (Cell(-math.inf, form="+.2f"), "∞"), (Cell(np.int64(3), form=".0f"), "3"),
        (Cell(0.5, 0.25, 0.75, "+.2f"), "+0.50 [+0.25, +0.75]"),
        (Cell(0.5, math.nan, 0.75, ".1f"), "0.5 [–]"),
        (Cell(0.5, math.nan, 0.75, "{value:.1f} [{low:.1f}, {high:.2f}]"), "0.5 [–, 0.75]"),
        (Cell(0.5, high=0.05, form="{value:.1f} ± {high:.2f}"), "0.5 ± 0.05"),
    ],
)  # fmt: skip
def test_what_a_cell_says(cell, text):
    assert cell.text == text


def test_a_column_follows_the_names_and_marks_all_that_print_as_the_best():
    eyes = FRAME[FRAME["place"].eq("eyes")]
    cells = column(eyes, ["b", "nobody", "a"], ".1f", interval=True, higher=True)
    assert [cell.text for cell in cells] == ["0.3", "–", "0.3 [0.2, 0.4]"]
    assert [cell.best for cell in cells] == [False, False, True]
    assert [c.best for c in column(eyes, ["b", "a"], ".1f", higher=True)] == [True, True]
    assert [c.best for c in column(eyes, ["b", "a"], ".3f", higher=False)] == [True, False]
    percent = column(eyes, ["a"], ".0f", interval=True, times=100)
    assert percent[0].text == "30 [20, 40]"


def test_a_frame_as_a_table():
    table = pivot(FRAME, "row", "place", form=".1f", title="Values", higher=True)
    assert table.heading == "Values (higher is better)"
    assert table.columns == ["", "eyes", "hair"]
    assert [[c.text for c in row] for row in table.rows] == [["a", "0.3", "0.5"], ["b", "0.3", "–"]]
    quiet = pivot(
        FRAME, "row", "place", form="+.1f", title="Losses", of="loss", heads={"hair": "Hair"},
        higher=False, say=False,
    )  # fmt: skip
    assert quiet.heading == "Losses"
    assert quiet.columns == ["", "Hair"]
    assert [row[1].best for row in quiet.rows] == [False, True]
    assert table_of("Names alone", ["a"], []).rows == [[Cell("a")]]


class Pairs:
    def save(self, path):
        path.write_text(json.dumps({"hash": "1"}))


def nothing():
    raise NothingToDraw("no value")


def test_a_report_is_its_files(tmp_path, caplog):
    tables = [Table(name, ["", "value"], [[Cell("a"), Cell(1.0, form=".1f")]]) for name in "AB"]
    drawings = {
        "shown": Drawing(Figure, "What is shown"),
        "beside": Drawing(Figure()),
        "empty": Drawing(nothing, "Nothing"),
    }
    report = write_report(
        tmp_path / "new", "Title", ["A line."], tables, {"values": FRAME}, headline=1,
        drawings=drawings, pairs=Pairs(), measured=tmp_path / "rows",
    )  # fmt: skip
    assert list(report.files) == [
        "table.md", "table.tex", "values.csv", "pairs.json", "shown.png", "beside.png",
        "report.html", "values of each image",
    ]  # fmt: skip
    assert all(path.is_file() for name, path in report.files.items() if "of each" not in name)
    assert "empty.png is left out: no value" in caplog.text
    assert report.markdown == to_markdown(tables, "Title", ["A line."])
    assert report.headline == to_markdown(tables[:1], "Title", ["A line."])
    page = report.files["report.html"].read_text(encoding="utf-8")
    assert page.count("<figure>") == 1
    assert page.index('<h2 id="table-0-title">A') < page.index("<figure>") < page.index(">B <")
    bare = write_report(tmp_path, "T", ["A line."], tables, {}, latex=False, page=False)
    assert list(bare.files) == ["table.md"]
