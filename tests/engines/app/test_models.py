"""Which networks can be chosen; each is loaded once, however many ask, and few are kept."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from photo_stubs import Constant, Detector, GreenFinder, stub_deoccluder, write_release

from deocclude import models as registry
from deocclude.engines.app import models as app_models
from deocclude.engines.app import models as page_models
from deocclude.engines.app.limits import MOST_FACES
from deocclude.engines.app.models import KEPT, Models, model_names
from deocclude.engines.runs import released


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with finished runs; nothing ships."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(released, "FOLDER", tmp_path / "no weights")
    monkeypatch.setitem(registry.INPAINTERS, "constant", Constant)
    monkeypatch.setitem(registry.SEGMENTERS, "green", GreenFinder)
    for name in ("grey/001", "grey/002", "light/001"):
        file = tmp_path / "runs" / name / "best.safetensors"
        write_release(file, "inpainting", "constant", Constant())
    write_release(
        tmp_path / "runs/green/001/best.safetensors", "segmentation", "green", GreenFinder()
    )
    return tmp_path


def test_what_ships_comes_first_and_can_be_chosen():
    assert list(model_names())[:2] == ["sharp", "faithful"]
    assert list(model_names("faithful"))[:2] == ["faithful", "sharp"]


def test_the_latest_run_of_each_name_and_ensembles(folder):
    assert list(model_names()) == ["grey/002", "light/001"]
    ensembles = folder / "runs" / "ensembles"
    ensembles.mkdir()
    for name in ("two.yaml", "one.yaml", "notes.txt"):
        (ensembles / name).write_text("")
    files = [f"runs/ensembles/{name}.yaml" for name in ("one", "two")]
    shown = ["ensembles/one.yaml", "ensembles/two.yaml"]
    found = model_names("mine.safetensors")
    assert list(found) == ["mine.safetensors", "grey/002", "light/001", *shown]
    assert list(found.values())[-2:] == files


def test_a_file_is_shown_without_this_machines_folders(folder):
    file = folder / "runs/light/001/best.safetensors"
    models = Models(str(file), "green", "cpu", "torch")
    assert models.names()[0] == "001/best.safetensors"
    assert models.get("001/best.safetensors", "photo").inpainter is models.get().inpainter
    with pytest.raises(ValueError, match="not one of 001/best"):
        models.get(str(file), "photo")


def test_runs_are_seen_when_they_finish(folder):
    models = Models()
    before = models.names()
    file = folder / "runs/new/001/best.safetensors"
    write_release(file, "inpainting", "constant", Constant())
    assert models.names() == [*before, "new/001"]


def test_a_run_is_loaded_by_its_name(folder):
    models = Models(None, "green", "cpu", "torch")
    networks = models.get("light/001", "photo")
    assert isinstance(networks.inpainter.network, Constant)
    assert isinstance(networks.segmenter.network, GreenFinder)


@pytest.mark.parametrize(
    "name",
    ["grey", "grey/001", "newest", "runs/grey/002/best.safetensors", "../x", "/etc/passwd", 5],
)
def test_only_names_of_the_list_are_taken(folder, name):
    with pytest.raises(ValueError, match="not one of grey/002, light/001"):
        Models().get(name)


@pytest.fixture
def loaded(folder, monkeypatch):
    """Names of what was loaded, slowly."""
    names = []

    def load(self, name):
        names.append(name)
        time.sleep(0.1)
        return stub_deoccluder(Detector())

    monkeypatch.setattr(Models, "_load", load)
    monkeypatch.setattr(app_models, "model_names", lambda default: {each: each for each in "abcd"})
    made = []
    monkeypatch.setattr(
        page_models, "FaceDetector", lambda **options: made.append(options) or Detector()
    )
    names.append(made)
    return names


def test_networks_are_loaded_once_even_if_two_ask_at_once(loaded):
    models, together = Models(), threading.Barrier(4)

    def ask(lane):
        together.wait()
        return models.get("a", lane)

    with ThreadPoolExecutor(4) as pool:
        networks = list(pool.map(ask, ("photo", "many", "photo", None)))
    assert loaded[1:] == ["a"]
    assert len({id(each.inpainter) for each in networks}) == 1
    assert len({id(each) for each in networks}) == 4


def test_each_lane_has_its_own_detector_and_each_camera_a_new_one(loaded):
    models = Models()
    photo, many = models.get("a", "photo"), models.get("b", "many")
    assert models.get("b", "photo").detector is photo.detector
    assert many.detector is not photo.detector
    assert models.get("a").detector is not models.get("a").detector
    assert [each.get("small_faces", True) for each in loaded[0]] == [True, True, False, False]
    assert {each["choice"].most for each in loaded[0]} == {MOST_FACES}


def test_the_first_is_the_default(loaded):
    Models().get(None, "photo")
    Models().get("", "photo")
    assert loaded[1:] == ["a", "a"]


def test_few_stay_and_the_longest_unused_goes(loaded):
    models = Models()
    for name in "abc":
        models.get(name, "photo")
    assert KEPT == 3
    models.get("a", "photo")
    models.get("d", "photo")  # b goes
    for name in "acd":
        models.get(name, "photo")
    assert loaded[1:] == ["a", "b", "c", "d"]
    models.get("b", "photo")
    assert loaded[1:] == ["a", "b", "c", "d", "b"]
    assert models._kept.cache_info().currsize == KEPT


def test_what_could_not_be_loaded_is_tried_again(loaded, monkeypatch):
    models, asked = Models(), []

    def fail(self, name):
        asked.append(name)
        raise OSError("gone")

    monkeypatch.setattr(Models, "_load", fail)
    for _ in range(2):
        with pytest.raises(OSError, match="gone"):
            models.get("a", "photo")
    assert asked == ["a", "a"]
