"""A visit's files go when it ends, nobody else's do, and names that users gave are safe."""

import os
import stat
import threading
import time

import pytest

from deocclude.engines.app.names import MOST, safe_name
from deocclude.engines.app.sessions import Sessions


@pytest.fixture
def sessions(tmp_path):
    return Sessions(tmp_path / "app")


def uploaded(sessions, name="0123/photo.jpg", text="photo"):
    path = sessions.folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_a_session_is_a_folder_of_its_own_that_nobody_can_guess(sessions):
    one, two = sessions.open("a"), sessions.open("b")
    assert sessions.open("a") is one
    assert one.folder != two.folder
    assert one.folder.parent == sessions.folder
    assert "a" not in one.folder.name.removeprefix("session-").split("-")
    assert len(one.folder.name) >= len("session-") + 21
    assert stat.S_IMODE(one.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(sessions.folder.stat().st_mode) == 0o700


def test_closing_removes_folder_and_uploads_and_stops(sessions):
    session = sessions.open("a")
    upload = uploaded(sessions)
    assert session.saw(upload) == upload
    session.place("x.png").write_text("result")
    assert not session.stop.is_set()
    sessions.close("a")
    assert session.stop.is_set()
    assert list(sessions.folder.iterdir()) == []
    sessions.close("a")  # nothing more to do
    assert sessions.open("a") is not session


def test_a_file_that_another_living_session_saw_stays_until_that_ends(sessions):
    upload = uploaded(sessions)
    for name in "ab":
        sessions.open(name).saw(upload)
    sessions.close("a")
    assert upload.exists()
    sessions.close("b")
    assert not upload.exists()


def test_the_same_photo_uploaded_anew_survives_who_saw_the_old_one(sessions):
    upload = uploaded(sessions)
    sessions.open("a").saw(upload)
    upload.unlink()
    other = uploaded(sessions, "0123/other.tmp")
    os.utime(other, (1, 1))
    other.rename(upload)
    sessions.close("a")
    assert upload.exists()


def test_nothing_outside_of_the_folder_is_ever_removed(sessions, tmp_path):
    outside = tmp_path / "app-of-others.jpg"
    outside.write_text("keep me")
    (sessions.folder / "0123").mkdir()
    link = sessions.folder / "0123" / "link.jpg"
    link.symlink_to(outside)
    session = sessions.open("a")
    (session.folder / "folder").symlink_to(tmp_path)
    for path in (outside, link, sessions.folder / ".." / outside.name, sessions.folder):
        with pytest.raises(ValueError, match="was not uploaded here"):
            session.saw(path)
    sessions.close("a")
    sessions.sweep(-60)
    sessions.close_all()
    assert outside.read_text() == "keep me"


def test_a_session_cannot_claim_anothers_results(sessions):
    result = sessions.open("a").place("result.png")
    result.write_text("a's")
    with pytest.raises(ValueError, match="belongs to another session"):
        sessions.open("b").saw(result)
    sessions.open("a").saw(result)
    sessions.close("b")
    assert result.exists()


def test_running_work_keeps_its_files_to_its_end(sessions):
    session = sessions.open("a")
    upload = uploaded(sessions)
    session.saw(upload)
    with session.working(), session.working():
        sessions.close("a")
        assert session.stop.is_set()
        session.place("late.png").write_text("late")
        assert upload.exists()
        sessions.open("b").saw(upload)
        sessions.close("b")
        assert upload.exists()
    assert list(sessions.folder.iterdir()) == []
    with pytest.raises(ValueError, match="has ended"):
        session.place("later.png")


def test_stopping_alone_ends_no_session(sessions):
    session = sessions.open("a")
    session.stop.set()
    with session.working():
        pass
    assert session.folder.is_dir()


def test_closing_all_waits_for_work_that_ends_and_not_for_other(sessions):
    stopped, stubborn = sessions.open("a"), sessions.open("b")
    ready, free = threading.Barrier(3), threading.Event()

    def work(session, ends):
        with session.working():
            ready.wait()
            ends.wait()

    threads = [
        threading.Thread(target=work, args=pair)
        for pair in ((stopped, stopped.stop), (stubborn, free))
    ]
    for thread in threads:
        thread.start()
    ready.wait()
    began = time.monotonic()
    sessions.close_all(patience=0.5)
    assert 0.4 < time.monotonic() - began < 5
    assert list(sessions.folder.iterdir()) == []
    free.set()
    for thread in threads:
        thread.join()


def test_many_threads_at_once_leave_nothing(sessions):
    upload = uploaded(sessions)
    errors = []

    def visit(number):
        try:
            for turn in range(20):
                name = f"{number}-{turn}"
                session = sessions.open(name)
                with session.working():
                    session.place("a.png").write_text(name)
                    session.place("a.png").write_text(name)
                    if upload.exists():
                        session.saw(upload)
                sessions.close(name)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert list(sessions.folder.iterdir()) == []


def test_the_sweep_takes_what_is_old_and_nobodys(sessions):
    own = uploaded(sessions, "0/own.webp")
    sessions.keep()
    session = sessions.open("a")
    claimed, old, half = (uploaded(sessions, name) for name in ("1/c.jpg", "2/o.jpg", "tmpabc"))
    result = session.place("result.png")
    result.write_text("result")
    session.saw(claimed)
    assert sessions.sweep(60) == []
    assert sessions.sweep(-60) == [old, half]
    assert not old.parent.exists()
    assert all(path.exists() for path in (own, claimed, result))
    sessions.open("b").saw(own)
    sessions.close("b")
    assert own.exists()


def test_the_sweep_clears_what_a_killed_server_left(sessions):
    left = sessions.open("a").place("result.png")
    left.write_text("result")
    assert Sessions(sessions.folder).sweep(-60) == [left]
    assert list(sessions.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("photo.jpg", "photo.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\photo.jpg", "photo.jpg"),
        (".bashrc", "bashrc"),
        ("...", "file"),
        ("", "file"),
        ("a\n\0b\u202egpj.exe", "abgpj.exe"),
        ("CON", "_CON"),
        ("com1.tar.gz", "_com1.tar.gz"),
        ("LPT¹ .jpg", "_LPT¹.jpg"),
        ("console.jpg", "console.jpg"),
        ("photo.jpg. . ", "photo.jpg"),
        ('a<b>:"|?*.jpg', "a_b______.jpg"),
        ("e\u0301.jpg", "é.jpg"),
        ("a/b/", "file"),
        ("\udcff.jpg", "jpg"),
    ],
)
def test_names_are_made_safe(given, name):
    assert safe_name(given) == name


@pytest.mark.parametrize("given", ["ä" * 300 + ".jpeg", "a." + "ü" * 300, "x" * 300])
def test_names_are_bounded_and_keep_their_ending(given):
    name = safe_name(given)
    assert MOST - 2 < len(name.encode()) <= MOST
    assert name.endswith(".jpeg") == given.endswith(".jpeg")


def test_places_are_unique_whatever_their_case_and_stay_inside(sessions):
    session = sessions.open("a")
    paths = [session.place(name) for name in ("a.png", "A.png", "../a.png", "a-2.png", ".", "n")]
    assert [path.name for path in paths] == [
        "a.png",
        "A-2.png",
        "a-3.png",
        "a-2-2.png",
        "file",
        "n",
    ]
    assert {path.parent for path in paths} == {session.folder}
