"""The page as text: whole, self-contained, escaped, small, and what its scripts sort by."""

import base64
import io
import json
import math
import re
from html.parser import HTMLParser
from string import Template

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
from deocclude.engines.report.html_tables import holds_zero, sort_value, table_html
from deocclude.engines.report.tables import Cell, Table

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


def make_table(rows, title="PSNR (dB) (higher is better)"):
    return Table(title, ["", "mean", "Δ to A [95 %]"], rows, ["A note."])


ROWS = [
    [Cell("A"), Cell("27.10", True), Cell("reference")],
    [Cell(HOSTILE), Cell("–"), Cell("-0.20 [-0.50, +0.10]")],
    [Cell("Telea"), Cell("∞"), Cell("-18.10 [-19.00, -17.00]")],
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
    for title, best, first in (
        ("L1 (lower is better)", None, "ascending"),
        ("PSNR (higher is better)", None, "descending"),
        ("Ranks", 1, "ascending"),
        ("Cost", None, "descending"),
    ):
        rows = [[Cell(f"{i}"), Cell(f"{i}.0", i == best)] for i in (1, 2, 3)]
        text = table_html(Table(title, ["", "value"], rows), "table", Template("$head"))
        assert Page(text).all("th", scope="col")[1]["data-first"] == first, title


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("27.10", 27.1), ("+0.31 [+0.10, +0.52]", 0.31), ("-2", -2), ("−2", -2), ("1e-05", 1e-5),
        ("41,323.8", 41323.8), ("16,000 images, 39 min", 16000), ("85 %", 85), ("∞", math.inf),
        ("reference", 0), ("22.80 ± 0.05", 22.8), ("–", None), ("", None), ("NVIDIA H100", None),
        ("3D", None), ("001/002", None),
    ],
)  # fmt: skip
def test_the_number_of_a_cell(text, value):
    assert sort_value(text) == value


def test_a_rounded_end_keeps_its_side_of_zero():
    assert not holds_zero("[-0.53, -0.00]")
    assert not holds_zero("[+0.00, +0.53]")
    assert holds_zero("[-0.53, +0.00]")
    assert holds_zero("[+0.00, +0.00]")
    assert not holds_zero("[–]")


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
    rows = [[Cell(f"row {i}"), *(Cell(f"{i}.{j}") for j in range(8))] for i in range(400)]
    table = Table("PSNR", ["", *(f"{j} %" for j in range(8))], rows)
    path = save_html(tmp_path / "r.html", "T", [], [table] * 9)
    assert path.stat().st_size < 4_000_000
