"""A stranger attacks a running page by HTTP. After each attack it still restores a photo, and
nothing was written outside of its temporary folder."""

import base64
import io
import json
import struct
import zipfile
from pathlib import Path

import pytest
from app_http import API, PHOTO, ROOT, giant_png, given
from PIL import Image

pytest.importorskip("gradio", reason='the page needs `pip install -e ".[app]"`')

SCRIPT = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"


@pytest.fixture
def page(served):
    """The page, which must be as it was after the attack."""
    outside = served.outside()
    yield served
    event, answer = served.restore(served.upload(PHOTO.read_bytes()))
    assert event == "complete"
    assert served.file(answer[0]["path"]) == served.restored
    assert served.outside() == outside


def refused(answer, *said):
    """What /restore or a part said, which is an error without folders of this machine."""
    event, words = answer
    assert event == "error"
    text = words["error"] or ""
    assert all(each in text for each in said), text
    for place in (str(ROOT), "/tmp", "Traceback", "object at 0x"):
        assert place not in text
    return text


# Names

NAMES = (
    "../../etc/passwd", "/etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e/x", "a\0b.jpg", "-rf",
    "..\\..\\windows\\win.ini", "C:\\windows\\win.ini", "\\\\host\\share\\a.jpg", "CON.jpg",
    "x" * 4000 + ".jpg", "é" * 300 + ".jpg", "", ".", "..", " ", "a/../../b.jpg", ".bashrc",
    "a\r\nX-Header: b.jpg", "\u202egpj.exe", "<img src=x onerror='alert(1)'>&[a](b)",
)  # fmt: skip


def test_names_stay_in_the_folder(page):
    taken = {}
    for name in NAMES:
        status, said = page.try_upload(PHOTO.read_bytes(), name)
        assert status == 200 or (status, name) == (400, ".."), name
        if status == 200:
            taken[name] = path = Path(json.loads(said)[0])
            assert path.resolve().is_relative_to(page.folder)
            assert len(path.relative_to(page.folder).parts) == 2
    assert len(taken) >= len(NAMES) - 1
    for name in ("../../etc/passwd", "x" * 4000 + ".jpg", ".bashrc", NAMES[-1]):
        event, (picture, mask, _) = page.restore(str(taken[name]))
        assert event == "complete"
        for file in (picture, mask):
            assert len(Path(file["path"]).relative_to(page.folder).parts) == 2


def test_a_zips_markup_comes_back_as_text(page):
    """In the table's cells and words, which Gradio sanitises, and escaped where it is Markdown."""
    photo = page.upload(zipped(("<b>x</b>.jpg", b"no picture")), "z.zip")
    output = page.press(page.parts["restore_many"], [[given(photo)], "sharp", "matched"], "names")
    _, table, _ = output["data"]
    ((name, status, _, notes),) = table["data"]
    assert status == "failed"
    for text in (name, notes):
        assert "<" not in text
        assert str(page.temporary) not in text


def test_a_failing_photos_markup_comes_back_as_text(page):
    session = "markup"
    photo = page.upload(PHOTO.read_bytes())
    page.press(page.parts["take_photo"], [given(photo), "sharp", 3], session)
    masked = Image.new("L", Image.open(PHOTO).size)
    masked.paste(255, (100, 120, 150, 160))
    masked = masked.resize((masked.width // 2, masked.height // 2))
    mask = page.upload(encoded(masked, "PNG"), "a_(b)*c*[d].png")
    _, words = page.press(page.parts["take_mask"], [given(mask)], session)["data"]
    assert "resized" in words
    assert "a\\_" in words
    assert "\\*c\\*" in words or "*" not in words
    assert str(page.temporary) not in words


# Files


def test_files_of_the_machine_are_not_served(page):
    photo = page.upload(PHOTO.read_bytes())
    folder = page.folder
    for path in (
        "/etc/passwd", str(ROOT / "weights/inpainter.safetensors"), "weights/inpainter.safetensors",
        str(PHOTO), "app.py", str(ROOT / "engines/app/page.py"), "/proc/self/environ", str(folder),
        f"{folder}/", f"{folder}/../../../../etc/passwd", f"{folder}/%2e%2e/%2e%2e/etc/passwd",
        f"{photo}/..", f"{photo}/../..", f"{folder}/session-", f"{folder}%00", f"{photo}%00.html",
        f"{folder}/*", "~/.bashrc", ".", "..",
    ):  # fmt: skip
        status, _, body = page.ask("GET", f"{API}/file={path}")
        assert status in (403, 404), path
        assert b"root:" not in body


def test_paths_of_the_machine_are_no_uploads(page):
    photo = page.upload(PHOTO.read_bytes())
    for file in (
        "/etc/passwd", "/etc/hostname", str(ROOT / "weights/inpainter.safetensors"), str(PHOTO),
        "/proc/self/environ", "..", "/", "", ".", "app.py", "/tmp/a\0b", "x" * 5000,
    ):  # fmt: skip
        refused(page.restore(file))
        refused(page.call(given(photo), given(file), None, "matched"))


def test_addresses_are_not_fetched(page):
    for file in (
        "http://127.0.0.1:1/x", "https://example.org/a.jpg", "file:///etc/passwd",
        "data:image/png;base64,AAAA", "//example.org/a.jpg", "ftp://example.org/a",
    ):  # fmt: skip
        status, said = page.restore(file)
        assert status == "400"
        assert "not fetched" in said["detail"]


def test_another_sessions_results_are_not_taken_as_ones_own(page):
    """Their names cannot be guessed; even who knows them cannot have them restored."""
    _, (picture, _, _) = page.call(given(page.upload(PHOTO.read_bytes())), None, None, "matched")
    folder = Path(picture["path"]).parent.name
    assert folder.startswith("session-")
    assert len(folder) >= len("session-") + 21
    refused(page.restore(picture["path"]), "belongs to another session")


def test_documents_with_scripts_are_downloads(page):
    for name in ("a.svg", "a.SVG", "a.html", "a.xhtml", "a.xml", "a.js", "a.svgz", "a"):
        path = page.upload(SCRIPT, name)
        status, headers, body = page.ask("GET", f"{API}/file={path}")
        assert (status, body) == (200, SCRIPT)
        assert headers["Content-Type"] == "application/octet-stream", name
        assert headers["Content-Disposition"].startswith("attachment"), name
        refused(page.restore(path), "is no picture")


def test_a_script_named_jpg_is_no_document(page):
    path = page.upload(SCRIPT, "a.jpg")
    _, headers, _ = page.ask("GET", f"{API}/file={path}")
    assert headers["Content-Type"] == "image/jpeg"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'self'" in headers["Content-Security-Policy"]


# Contents


def encoded(picture, kind):
    file = io.BytesIO()
    picture.save(file, kind)
    return file.getvalue()


def gif(width, height):
    size = struct.pack("<HH", width, height)
    return b"GIF89a" + size + b"\0\0\0,\0\0\0\0" + size + b"\0\x02\x02\x4c\x01\x00;"


def tiff(width, height):
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: 10}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4)


def bmp(width, height):
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + info


def webp(width, height):
    """With no picture in it: its header alone says how large it is."""
    small = encoded(Image.new("RGB", (8, 8)), "WEBP")
    at = small.index(b"\x9d\x01\x2a") + 3
    return small[:at] + struct.pack("<HH", width, height) + small[at + 4 :]


def zipped(*entries):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return file.getvalue()


BOMBS = {
    "b.png": giant_png(60000, 60000), "b.gif": gif(65535, 65535), "b.tif": tiff(60000, 60000),
    "b.bmp": bmp(60000, 60000), "b.webp": webp(16000, 16000), "png.jpg": giant_png(2001, 2000),
}  # fmt: skip


def test_giant_pictures_are_refused_by_their_headers(page):
    photo = page.upload(PHOTO.read_bytes())
    for name, content in BOMBS.items():
        bomb = page.upload(content, name)
        said = refused(page.restore(bomb), f"{name}: ")
        assert "million pixels; this page takes at most 4" in said
        refused(page.restore(photo, bomb), "million pixels")


def test_a_picture_that_would_start_a_program_is_refused(page):
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    for name in ("a.eps", "a.jpg"):
        refused(page.restore(page.upload(eps, name)), f"{name}: EPS is not taken")


def test_an_upload_of_too_many_bytes_leaves_nothing(page):
    before = set(page.folder.rglob("*"))
    status, _ = page.try_upload(bytes(3_200_000), "big.jpg")
    assert status == 413
    assert set(page.folder.rglob("*")) == before


def many(page, content, name, session):
    sent = [[given(page.upload(content, name))], "sharp", "matched"]
    return page.press(page.parts["restore_many"], sent, session)


def test_bombs_in_zips_are_refused(page):
    for name, content, said in (
        ("zeros.zip", zipped(*((f"{n}.jpg", bytes(2_000_001)) for n in range(2))), "2,000,000"),
        ("many.zip", zipped(*((f"{n}.jpg", b"") for n in range(6))), "more than 5 files"),
        ("up.zip", zipped(("../../up.jpg", PHOTO.read_bytes())), "outside"),
        ("nest.zip", zipped(("a.zip", zipped(("a.jpg", b"")))), "zip itself"),
        ("no.zip", b"PK\x03\x04 and no more", "no zip"),
    ):
        output = many(page, content, name, f"zip {name}".replace(" ", "-"))
        assert said in output["error"], (name, output)
        assert str(page.temporary) not in output["error"]


def test_a_bomb_among_photos_fails_alone(page):
    content = zipped(("bomb.png", BOMBS["b.png"]), ("fine.jpg", PHOTO.read_bytes()))
    output = many(page, content, "two.zip", "bomb-in-zip")
    rows = {row[0]: row for row in output["data"][1]["data"]}
    assert rows["two/bomb.png"][1] == "failed"
    assert "million pixels" in rows["two/bomb.png"][3]
    assert rows["two/fine.jpg"][1] == "restored"


def test_a_list_of_other_files_is_no_video(page):
    listed = b"ffconcat version 1.0\nfile a.mp4\n"
    playlist = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
    for name, content in (("a.mp4", listed), ("b.mp4", playlist), ("a.m3u8", playlist)):
        sent = [given(page.upload(content, name)), "sharp", "matched"]
        output = page.press(page.parts["restore_video"], sent, "list-of-files")
        assert "no video" in output["error"]
        assert str(page.temporary) not in output["error"]


def test_a_giant_animated_picture_is_refused(page):
    frames = [Image.new("L", (3000, 1500), n) for n in range(2)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    sent = [given(page.upload(file.getvalue(), "a.gif")), "sharp", "matched"]
    output = page.press(page.parts["restore_video"], sent, "giant")
    assert "million pixels" in output["error"]


# Values


def test_only_the_networks_of_the_list_are_taken(page):
    photo = page.upload(PHOTO.read_bytes())
    for model in (
        "/etc/passwd", "../x", "weights/inpainter.safetensors", "newest", "x" * 9000, 5, ["sharp"],
        {"a": 1},
    ):  # fmt: skip
        refused(page.restore(photo, None, model))


GARBAGE = (None, 5, -1, True, "x", "3", [], [1], ["1"], [["x"]], {}, {"path": "/etc/passwd"},
           {"mask": 5}, {"mask": "data:image/png;base64,AAAA"}, 1e300)  # fmt: skip


def test_every_part_answers_garbage(page):
    """With an error or a result, not by its end."""
    waiting = {"look", "lambda", "arrive"}  # a camera's stream lasts; without inputs
    dependencies = json.loads(page.ask("GET", "/config")[2])["dependencies"]
    asked = 0
    for each in dependencies:
        if each["api_name"] in waiting or not each["inputs"]:
            continue
        for value in GARBAGE:
            output = page.press(each["id"], [value] * len(each["inputs"]), "garbage")
            assert output is None or "error" in output or "data" in output
            said = json.dumps(output)
            assert "root:" not in said
            assert str(ROOT) not in said
            asked += 1
    assert asked > 100
    for number in (-1, 999, 10**12):
        assert page.press(number, [], "garbage") is None
    assert page.post("/queue/join", {"data": [], "fn_index": "x", "session_hash": "g"})[0] == 422
    assert page.post("/queue/join", [])[0] == 422


def test_growth_is_a_number_of_the_slider(page):
    photo = given(page.upload(PHOTO.read_bytes()))
    for growth in ([1], "x", None, float("nan"), float("inf"), 1e300, -1, {}):
        output = page.press(page.parts["take_photo"], [photo, "sharp", growth], "growth")
        # Gradio refuses it, or what the page does with a photo that cannot be shown
        assert "error" in output or "could not be done" in output["data"][2], growth


def data_url(content):
    return "data:image/png;base64," + base64.b64encode(content).decode()


def test_what_the_brush_did_not_send_is_refused(page):
    photo = given(page.upload(PHOTO.read_bytes()))
    session = "brush"
    page.press(page.parts["take_photo"], [photo, "sharp", 3], session)
    small = encoded(Image.new("RGBA", (10, 10)), "PNG")
    for mask, said in (
        (data_url(BOMBS["b.png"]), "the mask is 60000 x 60000"),
        (data_url(small), "the mask is 10 x 10"),
        (data_url(small)[:-9], "no PNG that can be read"),
        (data_url(encoded(Image.new("L", (9, 9)), "JPEG")), "no PNG that can be read"),
        ("data:image/svg+xml,<svg/>", "must be a PNG"),
        ("http://example.org/a.png", "must be a PNG"),
    ):
        data = [{"mask": mask}, "sharp", "matched", False]
        output = page.press(page.parts["restore_photo"], data, session)
        assert said in output["error"]
        assert "object at 0x" not in output["error"]


# Sessions


def test_a_stranger_without_a_sessions_name_gets_nothing_of_it(page):
    photo = given(page.upload(PHOTO.read_bytes()))
    page.press(page.parts["take_photo"], [photo, "sharp", 3], "mine")
    data = [None, "sharp", "matched", False]
    for other in ("", "Mine", "mine.", "min", "*", "../mine", None, "None"):
        output = page.press(page.parts["restore_photo"], data, other)
        assert output is None or output["error"] in ("Choose a photo first.", None), other
    output = page.press(page.parts["restore_photo"], data, "mine")
    assert output["data"][0] == {"visible": True, "__type__": "update"}


def test_a_session_that_is_left_takes_its_files_along(page):
    photo = page.upload(PHOTO.read_bytes(), "left.jpg")
    page.press(page.parts["take_photo"], [given(photo), "sharp", 3], "left")
    output = page.press(
        page.parts["restore_photo"], [None, "sharp", "matched", False], "left"
    )["data"]  # fmt: skip
    files = [Path(photo), *(Path(file["path"]) for file in output[1])]
    assert all(file.exists() for file in files)
    page.press(page.parts["leave"], [], "left")
    assert not any(file.exists() for file in files)


def test_private_parts_are_no_api(page):
    photo = given(page.upload(PHOTO.read_bytes()))
    own = {"begin", "begin_1", "cancel", "cancel_1"}  # of whoever calls them: not queued
    for name in set(page.parts) - {"restore", *own}:
        status, said = page.post(f"/run/{name}", {"data": [photo, "sharp", 3]})
        assert status != 200, (name, said)
    status, _ = page.post("/run/restore", {"data": [photo, None, "sharp", "matched"]})
    assert status != 200  # the queue holds how many run at once


def test_many_sessions(page):
    photo = page.upload(PHOTO.read_bytes())
    for number in range(20):
        page.press(page.parts["cancel"], [], f"session-{number}")
    assert page.restore(photo)[0] == "complete"
    for number in range(20):
        page.press(page.parts["leave"], [], f"session-{number}")
