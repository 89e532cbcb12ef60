"""A running page, one for all tests of a process that ask it by HTTP."""

import json

import pytest
from app_http import PHOTO, serving

LIMITS = ("--max-megabytes", "2", "--max-megapixels", "4", "--max-files", "5")


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    """The page, with `restored`, what it makes of PHOTO, and `parts`, its functions' numbers."""
    pytest.importorskip("gradio", reason='the page needs `pip install -e ".[app]"`')
    with serving(tmp_path_factory.mktemp("page"), *LIMITS) as page:
        page.restored = page.file(page.restore(page.upload(PHOTO.read_bytes()))[1][0]["path"])
        page.parts = {
            each["api_name"]: each["id"]
            for each in json.loads(page.ask("GET", "/config")[2])["dependencies"]
        }
        yield page
        assert "a visitor's request failed" not in page.said  # a defect of ours
