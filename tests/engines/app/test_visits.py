"""What is kept of a visit and when it goes; what visitors are told, and what they are not."""

import logging
import re
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from types import SimpleNamespace

import pytest
from photo_stubs import Detector, draw_photo, face_at, stub_deoccluder
from PIL import Image

from deocclude.engines.app import sessions as page_sessions
from deocclude.engines.app.limits import MOST_FACES, Limits
from deocclude.engines.app.names import PROJECT, without_folders
from deocclude.engines.app.sessions import DAY, Sessions
from deocclude.engines.app.texts import TEXTS

gr = pytest.importorskip("gradio", reason='the page needs `pip install -e ".[app]"`')

from deocclude.engines.app.handlers import Handlers, listed, told  # noqa: E402

FACE = face_at(20, 10, 120)
SAY = TEXTS["en"]


class Networks:
    """In the place of Models."""

    def names(self):
        return ["sharp"]

    def get(self, name=None, lane=None):
        return stub_deoccluder(Detector([FACE]))


def asked(session):
    return SimpleNamespace(session_hash=session, headers={})


@pytest.fixture
def handlers(tmp_path):
    return Handlers(Networks(), Sessions(tmp_path / "app"), Limits())


@pytest.fixture
def upload(handlers):
    """A photo where Gradio lays it."""

    def lay(name="photo.png"):
        path = handlers.sessions.folder / "0123" / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(draw_photo((150, 170), FACE)).save(path)
        return path

    return lay


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(page_sessions.time, "monotonic", lambda: now[0])
    return now


def test_programs_are_swept_when_idle_and_tabs_after_a_day(handlers, upload, monkeypatch, clock):
    handlers.arrive(asked("tab"))
    for session in ("tab", "program", "busy"):
        handlers.take_photo(upload(f"{session}.png"), "sharp", 3.0, asked(session))
    clock[0] += 601
    handlers.cancel(asked("busy"))
    handlers.sessions.end_idle(600)
    left = {path.stem for path in handlers.sessions.folder.glob("0123/*")}
    assert left == {"tab", "busy"}
    clock[0] += DAY
    handlers.sessions.end_idle(600)
    assert list(handlers.sessions.folder.iterdir()) == []


def test_events_of_one_visit_at_once_have_one_visit(handlers, monkeypatch):
    named, gate = page_sessions.secrets.token_urlsafe, Barrier(2)

    def together(length):
        with suppress(BrokenBarrierError):
            gate.wait(0.3)  # where two are in here, both go on
        return named(length)

    monkeypatch.setattr(page_sessions.secrets, "token_urlsafe", together)
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(handlers.visit, [asked("a")] * 2)
    assert first is second


def test_a_tab_that_is_closed_ends_its_task_and_takes_its_files(handlers, upload):
    handlers.take_photo(upload(), "sharp", 3.0, asked("a"))
    visit = handlers.visit(asked("a"))
    handlers.leave(asked("a"))
    assert visit.stop.is_set()
    assert list(handlers.sessions.folder.iterdir()) == []
    handlers.leave(asked("a"))  # nothing more to do
    handlers.leave(asked("unknown"))


def test_a_photo_that_is_gone_is_no_missing_one(handlers, upload):
    for value, words in ((None, "no_photo"), ({"mask": "data:"}, "gone")):
        with pytest.raises(gr.Error, match=re.escape(SAY[words])):
            handlers.restore_photo(value, "sharp", "matched", False, asked("new"))
    path = upload()
    handlers.take_photo(path, "sharp", 3.0, asked("a"))
    path.unlink()
    with pytest.raises(gr.Error, match=re.escape(SAY["gone"])):
        handlers.restore_photo(None, "sharp", "matched", False, asked("a"))


def test_a_disk_without_room_for_results_is_said(handlers, upload, monkeypatch):
    def full(name):
        raise OSError(28, "No space left on device", str(handlers.sessions.folder / name))

    path = upload()
    handlers.take_photo(path, "sharp", 3.0, asked("a"))
    monkeypatch.setattr(handlers.visit(asked("a")), "place", full)
    for restore in (
        lambda: handlers.restore_photo(None, "sharp", "matched", False, asked("a")),
        lambda: handlers.restore(str(path), None, "sharp", request=asked("a")),
    ):
        with pytest.raises(gr.Error, match="No space left") as caught:
            restore()
        assert str(handlers.sessions.folder) not in caught.value.message


def test_programs_get_the_largest_faces_of_a_crowd(handlers, upload, monkeypatch):
    crowd = [face_at(x, 20, 20) for x in range(MOST_FACES + 3)]
    networks = stub_deoccluder(Detector(crowd))
    monkeypatch.setattr(handlers.models, "get", lambda name, lane: networks)
    _, _, notices = handlers.restore(str(upload()), None, "sharp", request=asked("a"))
    assert "faces left out: 3 beyond" in notices


def test_of_cameras_that_were_looked_at_only_the_last_is_kept(handlers):
    frame = draw_photo((150, 170), FACE)
    for session in ("a", "b", "b"):
        assert handlers.look(frame, "sharp", asked(session))[0].shape == frame.shape
    assert handlers.visit(asked("a")).live is None
    assert handlers.visit(asked("b")).live is not None


def test_another_sessions_files_are_not_taken(handlers, upload):
    handlers.take_photo(upload(), "sharp", 3.0, asked("a"))
    result = handlers.visit(asked("a")).place("result.png")
    upload().rename(result)
    with pytest.raises((gr.Error, ValueError), match="belongs to another session"):
        handlers.restore(str(result), None, "sharp", request=asked("b"))
    with pytest.raises((gr.Error, ValueError), match="was not uploaded here"):
        handlers.restore(__file__, None, "sharp", request=asked("b"))


def test_what_is_wrong_with_a_file_is_said_and_a_defect_only_logged(caplog):
    folder = tempfile.gettempdir()
    for error in (ValueError, OSError):
        with pytest.raises(gr.Error, match=r"^'This could not be done: a\.png: bad'$"), told(SAY):
            raise error(f"{folder}/b/c/a.png: bad")
    assert not caplog.records
    caplog.set_level(logging.ERROR)
    with pytest.raises(gr.Error) as caught, told(SAY):
        raise KeyError(f"{folder}/secret")
    assert caught.value.message == SAY["defect"]
    assert "secret" in caplog.text


def test_names_in_words_are_no_markup():
    name = "<img src=x>_*[a](b)`c`#$~|!.png: is resized"
    words = listed("Taken.", [name])
    line = words.splitlines()[-1].removeprefix("- ")
    assert re.sub(r"\\(.)", r"\1", line) == name
    assert not re.search(r"(?<!\\)[<>*_\[\]()`#$~|!]", line)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/tmp/deocclude-app-x/ab12/photo.jpg: is no picture", "photo.jpg: is no picture"),
        ("[Errno 28] No space: '/var/x/s/photo a.jpg'", "[Errno 28] No space: 'photo a.jpg'"),
        (f"{Path.home()}/x y.png (bad)", "x y.png (bad)"),
        (f"not one of sharp, {PROJECT}/runs/e/a.yaml", "not one of sharp, a.yaml"),
        (f"({tempfile.gettempdir()}/x.png)", "(x.png)"),
        (r"C:\Users\Jane\AppData\x.png: bad", "x.png: bad"),
        (r"\\host\share\a.jpg", "a.jpg"),
        ("weights/inpainter.safetensors: missing", "weights/inpainter.safetensors: missing"),
        ("my/in/a.png and 3/4 of 60 / 2", "my/in/a.png and 3/4 of 60 / 2"),
        ("see https://example.org/a/b", "see https://example.org/a/b"),
    ],
)
def test_folders_of_this_machine_are_not_shown(text, shown):
    assert without_folders(text) == shown


def test_a_task_that_waits_for_others_can_be_cancelled(handlers, upload):
    visitor, told = asked("waiting"), lambda *_, **__: None
    handlers.cancel(visitor)  # of a task before
    for cancelled in (False, True):
        handlers.begin(visitor)
        if cancelled:
            handlers.cancel(visitor)
        _, table, line = handlers.restore_many([upload()], "sharp", "none", visitor, told)
        assert (SAY["cancelled"] in line) == cancelled
        assert table[0][1] == ("not begun" if cancelled else "restored")
