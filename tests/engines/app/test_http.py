"""What programs get from a running page is what Python gives, bit for bit; see docs/app.md."""

import json

import numpy as np
import pytest
from app_http import API, PHOTO, given
from PIL import Image, ImageDraw

from deocclude.engines.api import load

pytest.importorskip("gradio", reason='the page needs `pip install -e ".[app]"`')
gradio_client = pytest.importorskip("gradio_client")


@pytest.fixture(scope="module")
def page(served):
    return served


@pytest.fixture(scope="module")
def client(page, tmp_path_factory):
    got = tmp_path_factory.mktemp("got")
    client = gradio_client.Client(
        f"http://127.0.0.1:{page.port}", verbose=False, download_files=got
    )
    yield client
    client.close()


@pytest.fixture(scope="module")
def sharp():
    return load(device="cpu")


@pytest.fixture(scope="module")
def mask(tmp_path_factory):
    path = tmp_path_factory.mktemp("mask") / "mask.png"
    picture = Image.new("L", Image.open(PHOTO).size)
    width, height = picture.size
    box = (width * 0.35, height * 0.5, width * 0.65, height * 0.75)
    ImageDraw.Draw(picture).ellipse(box, fill=255)
    picture.save(path)
    return path


def equal(file, picture):
    return np.array_equal(np.asarray(Image.open(file)), np.asarray(picture))


def test_gradios_client_gets_what_python_gives(client, sharp):
    picture, mask, notices = client.predict(gradio_client.handle_file(PHOTO), api_name="/restore")
    wanted = sharp.restore(PHOTO)
    assert wanted.changed
    assert equal(picture, wanted.image)
    assert equal(mask, wanted.mask)
    assert notices.splitlines() == wanted.notices


def test_with_a_mask_and_another_network_and_blend(client, mask):
    picture, marked, _ = client.predict(
        gradio_client.handle_file(PHOTO), gradio_client.handle_file(mask), "faithful", "feather",
        api_name="/restore",
    )  # fmt: skip
    wanted = load("faithful", device="cpu").restore(PHOTO, mask, blend="feather")
    assert equal(picture, wanted.image)
    assert equal(marked, wanted.mask)


def test_by_plain_http(page, sharp, mask, tmp_path):
    photo, marked = page.upload(PHOTO.read_bytes()), page.upload(mask.read_bytes(), "m.png")
    event, (picture, redrawn, notices) = page.restore(photo, marked, "sharp")
    wanted = sharp.restore(PHOTO, mask)
    assert event == "complete"
    assert notices == "\n".join(wanted.notices)
    for file, image in ((picture, wanted.image), (redrawn, wanted.mask)):
        address = file["url"].removeprefix(f"http://127.0.0.1:{page.port}")
        status, headers, body = page.ask("GET", address)
        assert (status, headers["Content-Type"]) == (200, "image/png")
        (tmp_path / "got.png").write_bytes(body)
        assert equal(tmp_path / "got.png", image)
    assert picture["orig_name"] == "photo-restored.png"


def test_where_nothing_is_redrawn_there_is_no_picture(page, tmp_path):
    Image.new("RGB", (80, 60), "gray").save(tmp_path / "grey.png")
    photo = page.upload((tmp_path / "grey.png").read_bytes(), "grey.png")
    event, (picture, mask, notices) = page.restore(photo)
    assert (event, picture) == ("complete", None)
    assert not np.asarray(Image.open(mask["path"])).any()
    assert "no face" in notices


def test_a_mask_of_another_size_is_said_without_folders(page, mask, tmp_path):
    picture = Image.open(mask)
    picture.resize((picture.width // 2, picture.height // 2)).save(tmp_path / "half.png")
    half = page.upload((tmp_path / "half.png").read_bytes(), "half.png")
    event, (_, _, notices) = page.restore(page.upload(PHOTO.read_bytes()), half)
    assert event == "complete"
    assert "mask half.png is " in notices
    assert str(page.temporary) not in notices


def test_what_is_wrong_is_said(page, tmp_path):
    photo = page.upload(PHOTO.read_bytes())
    text = page.upload(b"no picture", "text.jpg")
    for asked, said in (
        ([given(text), None, "sharp", "matched"], "text.jpg: is no picture that can be read"),
        ([None, None, "sharp", "matched"], "photo: missing"),
        ([given(photo), given(photo), "sharp", "matched"], "photo.jpg: is no mask"),
        ([given(photo), None, "blunt", "matched"], "not in the list of choices: ['sharp', "),
        ([given(photo), None, ["sharp"], "matched"], "network ['sharp']: not one of sharp, "),
        ([given(photo), None, "sharp", "glue"], "not in the list of choices: ['matched', "),
    ):
        event, answer = page.call(*asked)
        assert event == "error"
        assert said in answer["error"]


def test_restore_is_all_that_is_public(page):
    info = json.loads(page.ask("GET", f"{API}/info")[2])
    assert (list(info["named_endpoints"]), info["unnamed_endpoints"]) == (["/restore"], {})
    (restore,) = info["named_endpoints"].values()
    names = {
        each["parameter_name"]: each["parameter_has_default"] for each in restore["parameters"]
    }
    assert names == {"photo": False, "mask": True, "model": True, "blend": True}
    assert len(restore["returns"]) == 3
