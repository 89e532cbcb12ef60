"""Running pages: one for all tests of a process that ask it by HTTP, one for those in a browser."""

import json
import signal

import chromium
import pytest
from app_http import PHOTO, serving
from app_stubs import GERMAN, Visitor, write_camera

LIMITS = ("--max-megabytes", "2", "--max-megapixels", "4", "--max-files", "5")


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    """The page, with `restored`, what it makes of PHOTO, and `parts`, its functions' numbers."""
    pytest.importorskip("gradio", reason='the page needs `pip install -e ".[app]"`')
    with serving(tmp_path_factory.mktemp("page"), *LIMITS, end=signal.SIGINT) as page:
        page.restored = page.file(page.restore(page.upload(PHOTO.read_bytes()))[1][0]["path"])
        page.parts = {
            each["api_name"]: each["id"]
            for each in json.loads(page.ask("GET", "/config")[2])["dependencies"]
        }
        yield page
        assert "a visitor's request failed" not in page.said  # a defect of ours


@pytest.fixture(scope="session")
def visitor(tmp_path_factory):
    """A browser whose camera sees PHOTO, and a page that speaks something like German too."""
    pytest.importorskip("gradio", reason='the page needs `pip install -e ".[app]"`')
    if reason := chromium.missing():
        pytest.skip(reason)
    folder, downloads = (tmp_path_factory.mktemp(name) for name in ("page", "downloads"))
    script, camera = folder / "german.py", write_camera(folder / "camera.y4m", PHOTO)
    script.write_text(GERMAN)
    with (
        serving(folder, *LIMITS[:4], script=script) as page,
        Visitor(1300, 950, camera=camera, downloads=downloads) as visitor,
    ):
        visitor.page, visitor.examples = page, frozenset(page.folder.rglob("*"))
        yield visitor
        assert "Traceback" not in page.said, page.said


@pytest.fixture
def tab(visitor):
    """The same, as a new visit, that asks nothing of others and complains of nothing."""
    visitor.enter()
    yield visitor
    visitor.leave_it_clean()
