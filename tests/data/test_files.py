"""Files whole or not at all, what killed processes leave, and folders that cannot be written."""

import errno
import os
import subprocess
import sys

import pytest

from deocclude.data import files
from deocclude.data.files import (
    check_writable,
    no_room,
    replacing,
    sweep,
    temporary_name,
    write_text,
)


def gone() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_the_next_writer_removes_what_killed_processes_of_this_machine_left(tmp_path):
    ours = f".part-{files.MACHINE}-{gone()}-0123abcd"
    (tmp_path / f"{ours}.csv").write_text("half")
    (tmp_path / ours / "deep").mkdir(parents=True)  # of a checkpoint
    kept = [
        f".part-{files.MACHINE}-{os.getpid()}-0123abcd.png",  # being written
        ".part-ffff-1-0123abcd.png",  # of another machine
        ".part-of-a-song.mp4",
        ".deadbeef.jpg",
        "a.png",
    ]
    for name in kept:
        (tmp_path / name).write_text("whole")
    write_text(tmp_path / "new.txt", "text")
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, "new.txt"])


def test_a_temporary_name_is_hidden_has_the_suffix_and_does_not_grow(tmp_path):
    name = temporary_name(tmp_path / f"{'n' * 250}.png").name
    assert name.startswith(".")
    assert name.endswith(".png")
    assert len(name) < 60
    sweep(tmp_path / "nowhere")


def test_errors_of_writing_name_the_file_and_leave_nothing(tmp_path):
    path = tmp_path / "table.md"

    def fill():
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match=r"table\.md: cannot be written \(No space") as error:
        fill()
    assert no_room(error.value)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot be written \("):
        write_text(tmp_path / "file" / "table.md", "text")


def test_a_full_disk_is_known_by_its_cause():
    error = ValueError("out.png: cannot be written")
    error.__cause__ = OSError(errno.EDQUOT, "Disk quota exceeded")
    assert no_room(error)
    assert not no_room(OSError(errno.EACCES, "Permission denied"))
    assert not no_room(ValueError("no such mask"))


def test_a_folder_is_tried_without_being_made(tmp_path):
    check_writable([tmp_path / "new" / "deeper", tmp_path])
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=r"file: cannot be written \(Not a directory\)"):
        check_writable([tmp_path, tmp_path / "file"])


def test_a_full_folder_is_said(tmp_path, monkeypatch):
    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"out: cannot be written \(No space left on device\)"):
        check_writable([tmp_path / "out"])
