"""One photo on the page, in a real browser: the mask found, mended and redrawn, what is refused."""

import numpy as np
import pytest
from app_http import ROOT, giant_png
from app_stubs import EXAMPLES, pixels, until
from PIL import Image

import deocclude

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def restorer():
    return deocclude.load()


def found_in(restorer, photo):
    return np.asarray(restorer.find_mask(photo)) > 0


def side_by_side(path, *photos):
    sheet = Image.new("RGB", (256 * len(photos), 256))
    for number, photo in enumerate(photos):
        sheet.paste(Image.open(photo), (256 * number, 0))
    sheet.save(path)
    return path


# What is found


def test_what_covers_the_face_is_marked_over_the_photo(tab, restorer):
    said = tab.give(EXAMPLES[0])
    found = found_in(restorer, EXAMPLES[0])
    assert np.array_equal(tab.mask(), found)
    assert f"1 face found, {found.mean():.0%} of the photo marked" in said
    boxes = tab.run(
        "return ['img', 'canvas'].map((part) => Object.values("
        "document.querySelector('#brush ' + part).getBoundingClientRect().toJSON()))"
    )
    assert boxes[0] == boxes[1]
    assert boxes[0][2] > 300
    assert 0.3 < float(tab.run("return getComputedStyle(document.querySelector('#brush canvas'))"
                               ".opacity")) < 0.8  # fmt: skip


def test_an_example_does_the_same(tab, restorer):
    tab.click("#examples .gallery-item:nth-child(3)")
    assert tab.says("1 face found")
    assert np.array_equal(tab.mask(), found_in(restorer, EXAMPLES[2]))


def test_examples_have_names_for_those_who_do_not_see_them(tab):
    names = "return [...document.querySelectorAll('#examples button')].map((e) => e.ariaLabel)"
    until(lambda: tab.run(names)[:2] == ["surgical mask", "cloth mask"])


def test_a_format_that_the_browser_does_not_know_is_shown_all_the_same(tab, tmp_path):
    photo = tmp_path / "photo.tiff"
    Image.open(EXAMPLES[0]).save(photo)
    tab.give(photo)
    until(lambda: tab.run("return document.querySelector('#photo img').naturalWidth") == 256)


def test_the_buttons_stay_in_sight_while_a_photo_is_taller_than_the_window(tab, tmp_path):
    tall = tmp_path / "tall.png"
    Image.open(EXAMPLES[0]).resize((512, 1024)).save(tall)
    tab.resize(1300, 800)
    try:
        tab.give(tall)
        tab.run("window.scrollTo(0, 0)")
        bottom = "return document.querySelector('#words').getBoundingClientRect().bottom"
        assert tab.run(bottom) <= tab.run("return innerHeight")
        assert tab.run("return document.documentElement.scrollHeight > innerHeight + 50")
    finally:
        tab.resize(1300, 950)


def test_a_large_photo_is_shown_reduced(tab, restorer, tmp_path):
    photo = tmp_path / "large.jpg"
    Image.open(EXAMPLES[1]).resize((1536, 1536), Image.Resampling.LANCZOS).save(photo, quality=90)
    tab.give(photo)
    found = Image.fromarray(found_in(restorer, photo))
    reduced = np.asarray(found.convert("F").resize((1024, 1024), Image.Resampling.BOX)) >= 0.5
    assert tab.mask().shape == (1024, 1024)
    assert (tab.mask() != reduced).mean() < 0.001 < 0.1 < reduced.mean()


def test_no_face_and_a_bare_face_are_said(tab, tmp_path):
    plain = tmp_path / "plain.png"
    Image.new("RGB", (300, 200), "teal").save(plain)
    said = tab.give(plain, "No face")
    assert said.startswith("No face was found. Paint over")
    assert "no face found" not in said  # once is enough
    assert tab.marked() == 0
    assert "Nothing is marked" in tab.restore("Nothing is marked")
    tab.give(ROOT / "examples" / "originals" / "3_sunglasses.jpg", "Nothing that covers a face")
    assert tab.marked() == 0


def test_one_of_several_faces_is_chosen(tab, tmp_path):
    tab.give(side_by_side(tmp_path / "two.png", EXAMPLES[0], EXAMPLES[2]), "2 faces found")
    both = tab.mask()
    assert both[:, :256].any()
    assert both[:, 256:].any()
    boxes = "return [...document.querySelectorAll('#faces input')].map((box) => box.checked)"
    assert tab.run(boxes) == [True, True]
    tab.click("#faces label:nth-of-type(2) input")
    tab.wait("return document.querySelector('#words').innerText.includes('11%')")
    one = tab.mask()
    assert np.array_equal(one[:, :256], both[:, :256])
    assert not one[:, 256:].any()
    tab.restore()
    assert not (pixels(tab.download("#download_mask"))[:, 256:] > 0).any()


# The brush


def test_the_mouse_paints_and_erases_and_every_step_can_be_undone(tab):
    tab.give(EXAMPLES[0])
    found = tab.mask()
    tab.tool("clear")
    assert tab.marked() == 0
    tab.drag("#brush canvas", 0.25, 0.75)
    stroke = tab.mask()
    rows, columns = (np.flatnonzero(stroke.any(axis=axis)) for axis in (1, 0))
    assert 100 < rows.mean() < 156
    assert len(rows) < 20
    assert 55 < columns.min() < 64
    assert 192 < columns.max() < 201
    tab.tool("erase")
    tab.drag("#brush canvas", 0.5, 0.75)
    half = tab.mask()
    assert not half[:, 130:].any()
    assert np.array_equal(half[:, :110], stroke[:, :110])
    for expected in (stroke, np.zeros_like(stroke), found):
        tab.tool("undo")
        assert np.array_equal(tab.mask(), expected)
    assert tab.run("return document.querySelector('#brush [data-tool=undo]').disabled")
    for expected in (np.zeros_like(stroke), stroke, half):
        tab.tool("redo")
        assert np.array_equal(tab.mask(), expected)
    tab.tool("undo")
    tab.tool("paint")
    tab.drag("#brush canvas", 0.1, 0.2)
    assert tab.run("return document.querySelector('#brush [data-tool=redo]').disabled")
    assert (tab.mask() & stroke).sum() == stroke.sum() < tab.marked()


def test_a_stroke_may_begin_beside_the_picture_and_a_pinch_paints_nothing(tab):
    tab.give(EXAMPLES[0])
    tab.tool("clear")
    tab.drag("#brush canvas", -0.05, 0.2)
    rows, columns = np.nonzero(tab.mask())
    assert columns.min() == 0
    assert 40 < columns.max() < 70
    assert 110 < rows.mean() < 146
    assert tab.run("return getSelection().toString()") == ""
    tab.run("document.querySelector('#brush [data-tool=paint]').focus()")
    tab.press("Control+z")
    assert tab.marked() == 0
    box = "const box = document.querySelector('#brush canvas').getBoundingClientRect();"
    x, y = tab.run(box + "return [box.x + box.width / 2, box.y + box.height / 2]")
    fingers = {"x": x, "y": y, "scaleFactor": 2, "gestureSourceType": "touch"}
    tab.devtools("Input.synthesizePinchGesture", **fingers)
    assert tab.marked() == 0


def test_the_whole_mask_is_inverted_grown_and_shrunk(tab):
    tab.give(EXAMPLES[0])
    found = tab.mask()
    tab.tool("invert")
    assert np.array_equal(tab.mask(), ~found)
    tab.tool("invert")
    assert np.array_equal(tab.mask(), found)
    tab.tool("grow")
    grown = tab.mask()
    for step, axis in ((2, 0), (-2, 0), (2, 1), (-2, 1)):  # 1 % of 256 pixels to every side
        assert grown[np.roll(found, step, axis)].all()
    assert grown.sum() < 1.4 * found.sum()
    tab.tool("shrink")
    shrunk = tab.mask()
    assert grown[shrunk].all()
    assert abs(int(shrunk.sum()) - int(found.sum())) < 1500  # what was narrow is filled
    tab.tool("shrink")
    assert tab.marked() < found.sum()


def test_everything_can_be_done_from_the_keyboard(tab):
    focus = "const each = document.activeElement; return each.matches(arguments[0])"

    def go_to(selector):
        for _ in range(60):
            tab.press("Tab")
            if tab.run(focus, selector):
                return
        raise AssertionError(f"Tab never comes to {selector}")

    go_to("#examples .gallery-item")
    tab.press("Enter")
    tab.says("1 face found")
    found = tab.mask()
    go_to("#brush [data-tool=paint]")
    go_to("#brush canvas")
    tab.press(*["Up"] * 8, " ")
    dot = tab.mask() & ~found
    assert 20 < dot.sum() < 200
    assert found[~dot].sum() == found.sum()
    size = "return Number(document.querySelector('#brush input').value)"
    assert (tab.run(size), tab.press(*"]]]"), tab.run(size)) == (55, None, 70)
    tab.press(" ")
    larger = tab.mask() & ~found
    assert larger.sum() > 1.5 * dot.sum()
    tab.press("[", "e", " ")  # smaller, and erases
    ring = tab.mask() & ~found
    assert dot.sum() / 2 < ring.sum() < larger.sum()
    tab.press("Control+z")
    assert np.array_equal(tab.mask() & ~found, larger)
    tab.press("Control+Shift+z")
    assert np.array_equal(tab.mask() & ~found, ring)
    tab.press("Control+z", "Control+z", "Control+z")
    assert np.array_equal(tab.mask(), found)
    go_to("#restore")
    tab.press("Enter")
    tab.says("Restored in")
    go_to("#download")
    name = tab.downloaded(lambda: tab.press("Enter")).name
    assert name.startswith("1_surgical_mask-restored")


# Restoring


def test_the_untouched_mask_gives_what_the_library_gives(tab, restorer):
    tab.give(EXAMPLES[0])
    assert "by sharp: 23% of the photo was redrawn" in tab.restore()
    picture, mask = tab.download("#download"), tab.download("#download_mask")
    wanted = restorer.restore(EXAMPLES[0])
    assert np.array_equal(pixels(picture), np.asarray(wanted.image))
    hole = np.asarray(Image.open(mask).convert("L")) > 0
    assert np.array_equal(hole, np.asarray(wanted.mask) > 0)
    photo = pixels(EXAMPLES[0])
    assert np.array_equal(pixels(picture)[~hole], photo[~hole])
    assert np.abs(pixels(picture)[hole] - photo[hole].astype(float)).mean() > 20


def test_two_pictures_are_compared_with_a_slider(tab):
    tab.give(EXAMPLES[0])
    tab.restore()
    sizes = "return [...document.querySelectorAll('#slider img')].map((each) => each.naturalWidth)"
    tab.wait(sizes.replace("return", "return 0 <") + "[1]")
    assert tab.run(sizes) == [256, 256]
    handle = "#slider [data-testid=slider]"
    place = f"return document.querySelector('{handle}').getBoundingClientRect().left"
    cut = "return document.querySelectorAll('#slider img')[1].style.clipPath"
    before = tab.run(place), tab.run(cut)
    assert "50%" in before[1]
    tab.drag("#slider .wrap", 0.5, 0.25)
    assert tab.run(place) < before[0] - 200
    assert tab.run(cut) != before[1]


def test_what_was_painted_is_redrawn_and_nothing_else(tab):
    tab.give(EXAMPLES[2])
    found = tab.mask()
    tab.tool("clear")
    tab.drag("#brush canvas", 0.4, 0.6)
    painted = tab.mask()
    tab.restore()
    picture, mask = tab.download("#download"), tab.download("#download_mask")
    hole = np.asarray(Image.open(mask).convert("L")) > 0
    assert hole[painted].all()
    assert hole.sum() < 2 * painted.sum() < found.sum()
    photo = pixels(EXAMPLES[2])
    assert np.array_equal(pixels(picture)[~hole], photo[~hole])
    assert np.abs(pixels(picture)[painted] - photo[painted].astype(float)).mean() > 5


def test_choices_are_heeded(tab):
    tab.click(".label-wrap")
    tab.wait("return document.querySelector('#growth input[type=number]')")
    tab.give(EXAMPLES[0])
    found = tab.mask()
    tab.run(
        "const box = document.querySelector('#growth input[type=number]'); box.value = 8;"
        "box.dispatchEvent(new Event('input', {bubbles: true}));"
        "box.dispatchEvent(new Event('change', {bubbles: true}));"
        "box.dispatchEvent(new PointerEvent('pointerup', {bubbles: true})); box.blur()"
    )
    tab.wait("return !document.querySelector('#words').innerText.includes('23%')")
    grown = tab.mask()
    assert grown[found].all()
    assert grown.sum() > 1.1 * found.sum()
    tab.click("#model input")
    tab.press("Down", "Enter")
    tab.click("#unsure input")
    said = tab.restore()
    assert "by faithful" in said
    assert "does not mean that it is sure" in said  # instead of a picture all black
    assert not tab.run("return document.querySelector('#doubt img')?.naturalWidth")
    tab.click("#model input")
    tab.press("Up", "Enter")
    tab.click("#restore")
    tab.says("by sharp")
    tab.wait("return document.querySelector('#doubt img')?.naturalWidth")
    assert not tab.run("return document.querySelector('[aria-label=Share]')")  # with whom, indeed


# Masks and files of the visitor


def test_an_uploaded_mask_replaces_what_was_found_and_a_photograph_does_not(tab):
    own = ROOT / "examples" / "masks" / "4_scarf.png"
    upload = "input[data-testid$=upload-button]"
    tab.give(EXAMPLES[0])
    found = tab.mask()
    tab.upload(upload, EXAMPLES[3])
    assert "4_scarf.jpg: is no mask" in tab.complaint()
    assert np.array_equal(tab.mask(), found)
    tab.upload(upload, own)
    tab.says("Your mask is taken")
    assert np.array_equal(tab.mask(), np.asarray(Image.open(own).convert("L")) > 127)
    assert not np.array_equal(tab.mask(), found)
    tab.restore()
    hole = np.asarray(Image.open(tab.download("#download_mask")).convert("L")) > 0
    assert np.array_equal(hole, tab.mask())


def test_files_that_are_no_photo_are_refused_in_words(tab, tmp_path):
    photo = EXAMPLES[0].read_bytes()
    files = {
        "text.jpg": (b"no picture", "text.jpg: is no picture that can be read"),
        "half.jpg": (photo[: len(photo) // 2], "half.jpg: cannot be read"),
        "drawing.svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "drawing.svg: is no picture"),
        "giant.png": (
            giant_png(60000, 60000),
            "60000 x 60000 are 3600 million pixels; this page takes at most 4 million",
        ),
    }
    tab.give(EXAMPLES[1])
    for name, (content, words) in files.items():
        file = tmp_path / name
        file.write_bytes(content)
        tab.upload("#photo input[type=file]", file)
        assert name in tab.says(words)
        assert str(tab.page.folder) not in tab.text()
        assert tab.run("return document.querySelector('#brush .stage').hidden")
        assert name in tab.complaint()
    file = tmp_path / "large.jpg"
    file.write_bytes(photo + bytes(3_000_000))
    tab.upload("#photo input[type=file]", file)
    assert "exceed the maximum allowed size" in tab.complaint()
    tab.give(EXAMPLES[1], "1 face found")
    assert tab.marked()
    assert not any(name.endswith("large.jpg") for name in tab.files())


# Languages and screens


def in_language(visitor, *languages):
    agent = visitor.run("return navigator.userAgent")
    visitor.devtools(
        "Network.setUserAgentOverride", userAgent=agent, acceptLanguage=",".join(languages)
    )


def test_the_page_speaks_the_languages_that_it_has(visitor):
    first = visitor.handle()
    visitor.tab()
    try:
        in_language(visitor, "de-AT", "de", "en")
        visitor.enter()
        assert visitor.text("#restore") == "[3. Restore]"
        assert visitor.text("#brush [data-tool=grow]") == "[Grow]"
        assert visitor.text("#brush .hint").startswith("[Choose a photo")
        assert visitor.give(EXAMPLES[0]).startswith("[[1 face] found")
        in_language(visitor, "fr-FR", "fr")
        visitor.enter()
        assert visitor.text("#restore") == "3. Restore"
        assert visitor.text("#brush [data-tool=grow]") == "Grow"
        assert visitor.give(EXAMPLES[0]).startswith("1 face found")
        visitor.leave_it_clean()
    finally:
        visitor.close_tab()
        visitor.switch(first)


WIDTHS = "return [document.scrollingElement.scrollWidth, innerWidth]"
UNREACHABLE = """
return [...document.querySelectorAll("button, input[type=range]")].filter((each) => {
    if (!each.checkVisibility({visibilityProperty: true}) || !each.offsetWidth) return false;
    if (each.disabled || each.closest("[aria-hidden=true], .visually-hidden")) return false;
    each.scrollIntoView({block: "center", behavior: "instant"});
    const box = each.getBoundingClientRect();
    const top = document.elementFromPoint((box.left + box.right) / 2, (box.top + box.bottom) / 2);
    return box.left < 0 || box.right > innerWidth || !(each.contains(top) || top?.contains(each));
}).map((each) => each.outerHTML.slice(0, 200))"""


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_shows_everything(tab, dark):
    tab.phone(400, 850, dark)
    try:
        tab.enter()
        tab.give(EXAMPLES[2])
        tab.wait(
            "const box = document.querySelector('#brush .stage').getBoundingClientRect();"
            "return box.top >= 0 && box.bottom <= innerHeight"  # scrolled to
        )
        tab.restore()
        tab.wait("return document.querySelectorAll('#slider img').length > 1")
        assert tab.run("return getComputedStyle(document.body).colorScheme") is not None
        back = tab.run("return getComputedStyle(document.querySelector('gradio-app')).background")
        level = int(back.split("(")[1].split(",")[0])
        assert level < 60 if dark else level > 200
        width, most = tab.run(WIDTHS)
        assert width <= most == 400
        assert tab.run(UNREACHABLE) == []
        for name in ("Many photos", "Video", "Live"):
            tab.open_part(name)
            width, most = tab.run(WIDTHS)
            assert width <= most == 400
            assert tab.run(UNREACHABLE) == []
    finally:
        tab.desk()
