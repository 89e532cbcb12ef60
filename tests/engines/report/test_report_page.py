"""The page in a real browser: sorted, filtered, compared, with mouse, touch and keyboard."""

from contextlib import ExitStack

import chromium
import numpy as np
import pytest
from chromium import KEYS, Chromium
from PIL import Image

from deocclude.engines.evaluation.examples import RANKS
from deocclude.engines.report.html import save_html
from deocclude.engines.report.html_pictures import Example
from deocclude.engines.report.tables import Cell, Table

NAMES = ["Alpha", "Beta 10", "Beta 9", "Telea"]
ORDER = (
    "return [...document.querySelectorAll('#table-0 tbody tr')]"
    ".filter((line) => !line.hidden).map((line) => line.dataset.row)"
)


def flat(level, size=16):
    return np.full((size, size, 3), level, np.uint8)


def example(bin, rank):
    mask = np.zeros((16, 16), np.uint8)
    mask[4:9, 4:9] = 1
    scores = {name: {"composed/psnr": 20.0 + i} for i, name in enumerate(NAMES)}
    restored = {name: flat(40 * i + 40) for i, name in enumerate(NAMES)}
    return Example(bin, rank, f"{bin}-{rank}.png", 0.2, flat(255), mask, flat(0), restored, scores)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    if reason := chromium.missing():
        pytest.skip(reason)
    values = [27.1, 9.0, np.inf, None]
    rows = [[Cell(name), Cell(v, form=".2f")] for name, v in zip(NAMES, values, strict=True)]
    others = Table("By occluder", ["", "mean"], [[Cell("scarf"), Cell(1.0, form=".1f")]])
    kinds = dict.fromkeys(NAMES, "model") | {"Telea": "baseline"}
    path = save_html(
        tmp_path_factory.mktemp("page") / "report.html", "Page", ["N = 1"],
        [Table("PSNR", ["", "mean"], rows, higher=True), others], kinds=kinds,
        reference="Beta 10", examples=[example(b, r) for b in "13" for r in RANKS],
    )  # fmt: skip
    with ExitStack() as stack:
        try:
            browser = stack.enter_context(Chromium())
        except RuntimeError as error:  # such as a driver of another version
            pytest.skip(f"Chromium does not start: {error}")
        browser.page = path
        yield browser


@pytest.fixture
def browser(page):
    page.open(page.page)
    page.run("localStorage.clear()")
    page.open(page.page)
    page.run("document.documentElement.style.scrollBehavior = 'auto'")  # clicks do not wait
    yield page
    assert page.errors() == []


def read(browser, expression):
    return browser.run(f"return {expression}")


def test_headings_sort_numbers_and_names_and_restore_the_order(browser):
    heading = "#table-0 thead th:nth-child({}) button"
    browser.click(heading.format(2))
    assert browser.run(ORDER) == ["Beta 9", "Alpha", "Beta 10", "Telea"]
    assert read(browser, "document.querySelector('#table-0 thead th:nth-child(2)').ariaSort") == (
        "descending"
    )
    browser.click(heading.format(2))
    assert browser.run(ORDER) == ["Beta 10", "Alpha", "Beta 9", "Telea"]  # – stays last
    browser.click(heading.format(2))
    assert browser.run(ORDER) == NAMES
    browser.click(heading.format(1))
    assert browser.run(ORDER) == ["Alpha", "Beta 9", "Beta 10", "Telea"]


def test_rows_are_filtered_by_text_and_by_boxes(browser):
    tiles = "[...document.querySelectorAll('.tile')].filter((t) => !t.hidden).length"
    browser.type("#filter", "beta, TEL")
    assert browser.run(ORDER) == ["Beta 10", "Beta 9", "Telea"]
    assert read(browser, "document.getElementById('shown').textContent") == "3 of 4 rows"
    assert read(browser, tiles) == 3 + 3  # input, target and mask stay
    browser.click("#reset")
    browser.type("#filter", "none of them")
    assert browser.run(ORDER) == []
    assert read(browser, "document.querySelector('.empty').hidden") is False
    assert read(browser, "document.querySelector('#table-1 .empty').hidden") is True
    browser.click("#reset")
    assert browser.run(ORDER) == NAMES
    browser.click("#menu summary")
    browser.click("[data-choose=baseline]")
    assert browser.run(ORDER) == ["Telea"]
    assert browser.run(ORDER.replace("table-0", "table-1")) == ["scarf"]  # not what is compared


def test_the_divider_follows_mouse_touch_and_keys(browser):
    share = "Number(document.getElementById('split').value)"
    browser.drag("#split", 0.5, 0.25)
    assert read(browser, share) == pytest.approx(25, abs=1)
    browser.drag("#split", 0.25, 0.75, touch=True)
    assert read(browser, share) == pytest.approx(75, abs=1)
    browser.type("#split", KEYS["Home"])
    browser.type("#split", KEYS["Right"])
    assert read(browser, share) == pytest.approx(2)
    said = read(browser, "document.getElementById('split').getAttribute('aria-valuetext')")
    assert said == "2 % Input, 98 % Beta 10"
    clip = read(browser, "getComputedStyle(document.getElementById('left-picture')).clipPath")
    assert "98%" in clip


def test_pairs_and_pictures_are_chosen(browser):
    pair = "document.getElementById('pair').textContent"
    assert "3-median.png" in read(browser, pair)
    browser.click("#bins label:nth-child(1)")
    browser.click("#ranks label:nth-child(3)")
    assert "1-best.png" in read(browser, pair)
    browser.click("#next")
    assert "3-worst.png" in read(browser, pair)
    browser.click("#strip .tile:nth-child(6)")
    tags = "[...document.querySelectorAll('.tag')].map((tag) => tag.textContent)"
    assert read(browser, tags) == ["Input", "Beta 922.0 dB"]
    browser.click("#swap")
    assert read(browser, tags) == ["Beta 922.0 dB", "Input"]
    first = "document.querySelector('#scores tbody tr').innerText.split(/\\s+/)"
    browser.click("#strip .tile:nth-child(4)")
    assert read(browser, first) == ["PSNR", "(dB)", "↑", "22.00", "20.00", "-2.00"]


def test_two_pictures_stand_side_by_side_or_subtracted(browser, tmp_path):
    browser.click("#strip .tile:nth-child(4)")  # grey 40 on the right
    browser.run(
        "const left = document.getElementById('left'); left.value = 1;"
        "left.dispatchEvent(new Event('change'))"
    )
    browser.click(".modes label:nth-child(3)")
    box = "document.getElementById('stage').getBoundingClientRect()"
    browser.run("document.getElementById('stage').scrollIntoView({block: 'center'})")
    x, y = read(browser, f"[{box}.left + 40, {box}.top + 40]")
    shown = Image.open(browser.screenshot(tmp_path / "difference.png")).convert("RGB")
    assert shown.getpixel((round(x), round(y))) == pytest.approx((160, 160, 160), abs=3)
    browser.click(".modes label:nth-child(2)")
    assert read(browser, f"{box}.width / {box}.height") == pytest.approx(2, abs=0.01)
    assert read(browser, "document.getElementById('split').disabled") is True


def test_the_theme_changes_and_is_kept(browser):
    paper = "getComputedStyle(document.body).backgroundColor"
    browser.click("#theme")
    light = read(browser, paper)
    browser.click("#theme")
    assert read(browser, paper) != light
    assert read(browser, "document.getElementById('theme').textContent") == "Theme: dark"
    for _ in range(50):  # what is kept is written in its own time
        browser.open(browser.page)
        theme = read(browser, "document.documentElement.dataset.theme")
        if theme == "dark":
            break
    assert theme == "dark"


def test_a_narrow_window_scrolls_only_inside_tables(browser):
    browser.resize(420, 800)
    try:
        assert read(browser, "document.documentElement.scrollWidth <= innerWidth")
    finally:
        browser.resize(1440, 1000)
