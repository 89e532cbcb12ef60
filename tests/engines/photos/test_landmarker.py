"""MediaPipe's model file: given, cached, downloaded, refused."""

import shutil
import urllib.error

import pytest
import torch

from deocclude.engines.photos import landmarker
from deocclude.engines.photos.landmarker import LandmarkerError, cache_file, landmarker_file
from deocclude.engines.runs import released

CONTENT = b"a model"


@pytest.fixture
def home(monkeypatch, tmp_path):
    """An empty cache, a model whose SHA-256 is that of CONTENT, and none that ships."""
    monkeypatch.setattr(released, "FOLDER", tmp_path / "weights")
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    source = tmp_path / "source.task"
    source.write_bytes(CONTENT)
    monkeypatch.setattr(landmarker, "SHA256", landmarker.sha256(source))
    monkeypatch.setattr(landmarker, "URL", source.as_uri())
    return tmp_path


def test_a_given_file_is_used_and_checked(home):
    assert landmarker_file(home / "source.task") == home / "source.task"
    assert not cache_file().exists()
    wrong = home / "wrong.task"
    wrong.write_bytes(b"something else")
    with pytest.raises(LandmarkerError, match=rf"wrong\.task.*{landmarker.SHA256}"):
        landmarker_file(wrong)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.task"):
        landmarker_file(home / "nowhere.task")


def test_the_one_that_ships_is_used_before_the_cache_and_the_network(home, monkeypatch):
    shipped = home / "weights" / released.LANDMARKER
    shipped.parent.mkdir()
    shutil.copy(home / "source.task", shipped)
    monkeypatch.setattr(landmarker, "URL", "file:///not/there")
    assert landmarker_file() == shipped
    assert not cache_file().exists()
    shipped.write_bytes(CONTENT[:3])
    with pytest.raises(LandmarkerError, match=r"expected.*git checkout weights/face_landmarker"):
        landmarker_file()


def test_the_checkout_holds_the_published_file(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert landmarker_file() == released.FOLDER / released.LANDMARKER
    assert released.read_sums(released.FOLDER)[released.LANDMARKER] == landmarker.SHA256


def test_it_is_downloaded_once(home, monkeypatch):
    found = landmarker_file()
    assert found == cache_file()
    assert found.read_bytes() == CONTENT
    monkeypatch.setattr(landmarker, "URL", "file:///not/there")
    assert landmarker_file() == found


def test_a_damaged_cache_is_replaced(home):
    cache_file().parent.mkdir(parents=True)
    cache_file().write_bytes(CONTENT[:3])
    assert landmarker_file().read_bytes() == CONTENT


def test_a_wrong_download_never_enters_the_cache(home, monkeypatch):
    (home / "source.task").write_bytes(b"a login page")
    with pytest.raises(LandmarkerError, match="hash"):
        landmarker_file()
    assert list(cache_file().parent.iterdir()) == []


def test_without_a_network_it_says_what_to_do(home, monkeypatch):
    def refuse(*args, **kwargs):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    with pytest.raises(LandmarkerError, match=r"no route.*--landmarker") as caught:
        landmarker_file()
    assert str(cache_file()) in str(caught.value)
    assert landmarker.URL in str(caught.value)


def test_the_published_file_has_the_expected_hash(real_data, tmp_path):
    model = real_data.parent / "models" / "face_landmarker.task"
    if not model.is_file():
        pytest.skip("the landmarker model is not here")
    copy = shutil.copy(model, tmp_path / "renamed.task")
    assert landmarker_file(copy) == copy
