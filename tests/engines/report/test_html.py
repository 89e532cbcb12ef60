"""The page as text: whole, self-contained, escaped, small, and what its scripts sort by."""

import base64
import io
import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image, features

from deocclude.engines.report.html import save_html
from deocclude.engines.report.html_pictures import (
    LARGE_FIGURE,
    Example,
    encode_figure,
    encode_pictures,
)
from deocclude.engines.report.html_tables import heads, shown
from deocclude.engines.report.tables import REFERENCE, Cell, Table

HOSTILE = '</script><script>alert("1")</script> & <b>bold</b> $title'
VOID = {"meta", "img", "input", "br", "link", "hr"}


class Page(HTMLParser):
    """Elements with their attributes, text by element, and whether every tag was closed."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.found, self.open, self.texts = [], [], []
        self.feed(text)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag, **wanted):
        return [
            attributes
            for name, attributes in self.found
            if name == tag and all(attributes.get(key) == value for key, value in wanted.items())
        ]


def noise(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def make_example(names, size=16, rank="worst", seed=0):
    mask = np.zeros((size, size), np.uint8)
    mask[4:9, 4:9] = 1
    restored = {name: noise((size, size, 3), seed + i) for i, name in enumerate(names)}
    scores = {name: {"composed/psnr": 20.0 + i, "raw/psnr": 1.0} for i, name in enumerate(names)}
    pictures = [noise((size, size, 3), 90 + seed), mask, noise((size, size, 3), 91 + seed)]
    return Example("2", rank, "folder/7.jpg", 0.25, *pictures, restored, scores)


def make_table(rows, title="PSNR (dB)"):
    return Table(title, ["", "mean", "Δ to A [95 %]"], rows, ["A note."], higher=True)


ROWS = [
    [Cell("A"), Cell(27.1, form=".2f", best=True), REFERENCE],
    [Cell(HOSTILE), Cell(None), Cell(-0.2, -0.5, 0.1, "+.2f")],
    [Cell("Telea"), Cell(math.inf, form=".2f"), Cell(-18.1, -19.0, -17.0, "+.2f")],
]


@pytest.fixture
def page(tmp_path):
    figure = tmp_path / "curves.png"
    Image.fromarray(noise((40, 60, 3))).save(figure)
    path = save_html(
        tmp_path / "report.html", HOSTILE, [f"N = 1; `code` {HOSTILE}"],
        [make_table(ROWS), make_table(ROWS), make_table(ROWS, "Cost")],
        kinds={"A": "model", HOSTILE: "model", "Telea": "baseline"}, reference="A",
        facts={"Pairs": "1"}, figures={HOSTILE: figure}, examples=[make_example(["A", HOSTILE])],
    )  # fmt: skip
    return path.read_text(encoding="utf-8")


def test_the_page_is_whole_and_needs_nothing_else(page):
    parsed = Page(page)
    assert not parsed.all("link")
    assert all("src" not in script for script in parsed.all("script"))
    addresses = [each["src"] for each in parsed.all("img") if "src" in each]
    assert addresses
    assert all(address.startswith("data:image/") for address in addresses)
    assert "http" not in re.sub(r"http-equiv", "", page)
    assert "@import" not in page
    assert "url(" not in page
    (policy,) = parsed.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy["content"].startswith("default-src 'none'")
    names = [each["id"] for _, each in parsed.found if "id" in each]
    assert len(set(names)) == len(names)


def test_what_comes_from_outside_is_escaped(page):
    parsed = Page(page)
    assert page.count("<script>") == 2
    assert page.count("</script>") == 3
    assert not parsed.all("b") or all(tag != "b" or text == "" for tag, text in parsed.texts)
    assert [text for tag, text in parsed.texts if tag == "title"] == [HOSTILE]
    assert parsed.all("tr", **{"data-row": HOSTILE})
    assert parsed.all("input", type="checkbox", value=HOSTILE)
    assert ("code", "code") in parsed.texts


def test_rows_carry_what_is_sorted_and_what_is_best(page):
    parsed = Page(page)
    cells = parsed.all("td")[:6]
    assert [cell.get("data-value") for cell in cells] == [
        "27.1",
        "0",
        None,
        "-0.2",
        "Infinity",
        "-18.1",
    ]
    assert ["data-best" in cell for cell in cells] == [True] + [False] * 5
    assert ["unclear" in cell.get("class", "") for cell in cells] == [False] * 3 + [True] + [
        False
    ] * 2
    heads = parsed.all("th", scope="col")[:3]
    assert [head["data-type"] for head in heads] == ["text", "number", "number"]
    lines = parsed.all("tr", **{"data-place": "0"})
    assert lines[0]["class"] == "model reference"
    order = [link["href"] for link in parsed.all("a") if link["href"] != "#content"]
    assert order == ["#table-0", "#table-1", "#figures", "#examples", "#table-2"]


def test_the_better_end_comes_first():
    for heading, higher, best, descending in (
        ("L1", False, None, False),
        ("PSNR", True, None, True),
        ("PSNR ↓", True, 3, False),
        ("PSNR", True, 1, True),  # the best of its line
        ("Rank", None, 1, False),
        ("Rate", None, 3, True),
        ("Cost", None, None, True),
    ):
        rows = [[Cell(f"{i}"), Cell(i, form=".1f", best=i == best)] for i in (1, 2, 3)]
        table = Table("A table", ["", heading], rows, higher=higher)
        assert heads(table)[1].descending == descending, heading


def test_a_column_is_of_numbers_unless_a_cell_has_words():
    columns = {
        True: [Cell(1.5, form=".1f"), Cell(None), REFERENCE, Cell(math.inf)],
        False: [Cell(1.5), Cell("NVIDIA H100")],
    }
    for numeric, cells in columns.items():
        table = Table("A table", ["", "value"], [[Cell("row"), cell] for cell in cells])
        assert heads(table)[1].numeric == numeric


@pytest.mark.parametrize(
    ("cell", "value", "interval"),
    [
        (Cell(27.104, form=".2f"), "27.104", ""),
        (Cell(0.31, 0.1, 0.52, "+.2f"), "0.31", "[+0.10, +0.52]"),
        (Cell(0.31, math.nan, math.nan, "+.2f"), "0.31", "[–]"),
        (Cell(41323.8, form=",.1f"), "41323.8", ""),
        (Cell(16000, form="{value:,.0f} images, 39 min"), "16000", ""),
        (Cell(-math.inf, form=".2f"), "Infinity", ""), (REFERENCE, "0", ""),
        (Cell(22.8, high=0.05, form="{value:.2f} ± {high:.2f}"), "22.8", ""),
        (Cell(None, 0.0, 1.0, ".2f"), None, ""), (Cell(math.nan, form=".2f"), None, ""),
    ],
)  # fmt: skip
def test_what_a_cell_of_numbers_is_sorted_by(cell, value, interval):
    (_, head) = heads(Table("A table", ["", "value"], [[Cell("row"), cell]]))
    view = shown(cell, head)
    assert (view.value, view.interval) == (value, interval)


def test_a_difference_is_unclear_where_its_interval_holds_zero():
    for low, high, unclear in (
        (-0.53, -0.001, False), (0.001, 0.53, False), (-0.53, 0.001, True), (0.0, 0.0, True),
        (math.nan, math.nan, False), (None, None, False),
    ):  # fmt: skip
        cell = Cell(0.0, low, high, "+.2f")
        (_, head) = heads(Table("A table", ["", "Δ to A"], [[Cell("row"), cell]]))
        assert ("unclear" in shown(cell, head).classes) == unclear, (low, high)
        assert "unclear" not in shown(cell, head._replace(text="mean")).classes


def read_content(page):
    text = re.search(
        r'<script type="application/json" id="example-data">(.*?)</script>', page, re.S
    )
    return json.loads(text[1])


def decode(address):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.split(",", 1)[1]))))


def test_the_browser_of_examples_holds_the_pictures_and_their_values(tmp_path):
    examples = [make_example(["A", "B"], rank=rank, seed=i) for i, rank in enumerate("ab")]
    examples[0].scores["A"]["composed/psnr"] = math.inf
    examples[0].scores["B"]["composed/psnr"] = math.nan
    examples[0].scores["left out"] = {"composed/psnr": 1.0}
    path = save_html(
        tmp_path / "r.html", "T", [], [make_table(ROWS)], reference="B", examples=examples
    )
    page = path.read_text(encoding="utf-8")
    content = read_content(page)
    assert [c["name"] for c in content["columns"]] == ["Input", "Target", "Mask", "A", "B"]
    assert content["reference"] == 4
    assert content["examples"][0]["scores"][3:] == [
        {"composed/psnr": "∞", "raw/psnr": 1.0},
        {"raw/psnr": 1.0},
    ]
    assert [m["column"] for m in content["metrics"]] == ["composed/psnr"]
    for example, kept in zip(examples, content["examples"], strict=True):
        shown = [example.occluded, example.target, example.mask * 255, *example.restored.values()]
        for picture, address in zip(shown, kept["pictures"], strict=True):
            np.testing.assert_array_equal(
                decode(address).astype(np.uint8) * (255 if picture.ndim == 2 else 1), picture
            )
    assert "2 of 3 rows" in page
    assert "lossless" in page


def test_pictures_are_compressed_until_they_fit_and_masks_never_are():
    pictures = [noise((64, 64, 3), i) for i in range(8)]
    mask = (pictures[0][..., 0] > 127).astype(np.uint8)
    exact, kept = encode_pictures([*pictures, mask], 10**9)
    assert kept == "lossless"
    size = sum(map(len, exact))
    smaller, kept = encode_pictures([*pictures, mask], size - 1000)
    assert "quality" in kept
    assert sum(map(len, smaller)) < size - 1000
    np.testing.assert_array_equal(decode(smaller[-1]), mask == 1)
    least, kept = encode_pictures([*pictures, mask], 10)
    assert kept.endswith("quality 80")
    assert sum(map(len, least)) < sum(map(len, smaller))


def test_without_webp_pictures_are_png_or_jpeg(monkeypatch):
    monkeypatch.setattr(features, "check", lambda name: False)
    picture = noise((32, 32, 3))
    (exact,), _ = encode_pictures([picture], 10**6)
    assert exact.startswith("data:image/png")
    (lossy,), kept = encode_pictures([picture], 10)
    assert lossy.startswith("data:image/jpeg")
    assert kept == "JPEG, quality 80"


def test_a_large_figure_is_compressed(tmp_path):
    small, large = tmp_path / "small.png", tmp_path / "large.png"
    Image.fromarray(noise((20, 30, 3))).save(small)
    Image.fromarray(noise((900, 900, 3))).save(large)
    assert large.stat().st_size > LARGE_FIGURE
    assert encode_figure(small)[0].startswith("data:image/png")
    address, size = encode_figure(large)
    assert not address.startswith("data:image/png")
    assert size == (900, 900)


def test_tables_alone_and_a_table_without_rows_make_a_page(tmp_path):
    empty = Table("Nothing", ["", "value"], [])
    page = save_html(tmp_path / "r.html", "T", [], [empty]).read_text(encoding="utf-8")
    parsed = Page(page)
    assert not parsed.all("section", id="examples")
    assert not parsed.all("section", id="figures")
    assert parsed.all("section", id="table-0")


def test_hundreds_of_rows_stay_small(tmp_path):
    rows = [
        [Cell(f"row {i}"), *(Cell(i + j / 10, form=".1f") for j in range(8))] for i in range(400)
    ]
    table = Table("PSNR", ["", *(f"{j} %" for j in range(8))], rows)
    path = save_html(tmp_path / "r.html", "T", [], [table] * 9)
    assert path.stat().st_size < 4_000_000
