import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from deocclude.engines.runs.folder import LOCK, OWNER, FolderLock, RunFolder, RunFolderError

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def folder(tmp_path, tiny_config):
    return RunFolder.create(tmp_path, tiny_config("ablationv1"))


def test_folders_are_numbered_and_describe_themselves(tmp_path, folder, tiny_config):
    second = RunFolder.create(tmp_path, tiny_config("ablationv1"))
    for run in (folder, second):
        run.last.mkdir()
    RunFolder.create(tmp_path, tiny_config("ablationv1"))  # has no checkpoint to continue from
    assert [folder.path.name, second.path.name] == ["001", "002"]
    assert folder.config() == tiny_config("ablationv1")
    assert (folder.path / "command.txt").read_text().strip()
    assert RunFolder.open(tmp_path, "ablationv1", "latest").path == second.path
    assert RunFolder.open(tmp_path, "ablationv1", "1").path == folder.path
    assert RunFolder.open(tmp_path, "other", str(folder.path)).path == folder.path


def test_continuing_nothing_lists_what_there_is(tmp_path, folder):
    folder.last.mkdir()
    with pytest.raises(RunFolderError, match="001"):
        RunFolder.open(tmp_path, "ablationv1", "7")
    with pytest.raises(RunFolderError, match="none"):
        RunFolder.open(tmp_path, "ablationv2", "latest")


def test_a_folder_in_use_is_refused(folder):
    folder.lock()
    assert FolderLock(folder.path).is_held()
    with pytest.raises(RunFolderError, match=f"in use by process {os.getpid()} on .* since"):
        RunFolder(folder.path).lock()
    folder.unlock()
    assert FolderLock(folder.path).holder() is None
    assert not {LOCK, OWNER} & {p.name for p in folder.path.iterdir()}
    RunFolder(folder.path).lock()


def test_a_folder_is_free_when_its_process_is_gone(folder):
    code = (
        "import os, sys; from pathlib import Path\n"
        "from deocclude.engines.runs.folder import FolderLock\n"
        "FolderLock(Path(sys.argv[1])).acquire(); os._exit(9)"
    )
    line = [sys.executable, "-c", code, str(folder.path)]
    assert subprocess.run(line, cwd=ROOT, check=False).returncode == 9
    assert (folder.path / OWNER).exists()
    lock = FolderLock(folder.path)
    assert not lock.is_held()
    assert lock.holder() is None
    folder.lock()
    assert lock.holder().startswith(f"process {os.getpid()} on")


@pytest.mark.parametrize("note", [{"pid": 1}, {"pid": 1, "started": 1.5}, None])
def test_a_lock_of_before_blocks_nobody(folder, note):
    """Which was a file with the number of a process and its start; None: cut off."""
    here = {"host": platform.node()}
    text = "" if note is None else json.dumps(note | here)
    (folder.path / OWNER).write_text(text)
    folder.lock()


def test_a_process_of_an_earlier_version_keeps_its_folder_while_it_runs(folder):
    """It has no lock but its note."""
    me = psutil.Process()
    owner = {"pid": me.pid, "host": platform.node(), "started": me.create_time()}
    (folder.path / OWNER).write_text(json.dumps(owner))
    lock = FolderLock(folder.path)
    assert lock.is_held()
    assert lock.holder() == f"process {me.pid} on {platform.node()}"
    with pytest.raises(RunFolderError, match=f"in use by process {me.pid} on .* delete .*{OWNER}"):
        folder.lock()
    (folder.path / OWNER).write_text(json.dumps(owner | {"started": owner["started"] - 100}))
    folder.lock()  # another process has its number now


def test_a_lock_that_cannot_be_noted_or_taken_off_is_free(folder, monkeypatch):
    lock = FolderLock(folder.path)
    with monkeypatch.context() as patch:
        patch.setattr(json, "dump", broken)
        with pytest.raises(OSError, match="full"):
            lock.acquire()
    assert not FolderLock(folder.path).is_held()
    lock.acquire()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", broken)
        with pytest.raises(OSError, match="full"):
            lock.release()
    assert not FolderLock(folder.path).is_held()


def broken(*given, **named):
    raise OSError("full")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no process is forked here")
def test_a_forked_worker_does_not_keep_the_folder(folder):
    """As the workers of a loader do that outlive the process for a while."""
    reading, writing = os.pipe()
    if (owner := os.fork()) == 0:
        FolderLock(folder.path).acquire()
        if os.fork() == 0:
            os.read(reading, 1)
            os._exit(0)
        os._exit(9)
    os.waitpid(owner, 0)
    try:
        assert not FolderLock(folder.path).is_held()
        folder.lock()
    finally:
        os.write(writing, b".")
        os.close(reading)
        os.close(writing)


def test_a_note_of_another_machine_counts_until_it_is_deleted(folder):
    (folder.path / OWNER).write_text(json.dumps({"pid": 1, "host": "elsewhere"}))
    with pytest.raises(RunFolderError, match=f"process 1 on elsewhere; .* delete .*{OWNER}"):
        folder.lock()
    assert FolderLock(folder.path).holder() == "process 1 on elsewhere"
    assert not FolderLock(folder.path).is_held()
    (folder.path / OWNER).unlink()
    folder.lock()


def test_locking_sweeps_up_after_a_killed_process(folder):
    (folder.path / ".last.1234").mkdir()
    (folder.path / ".last.1234" / "networks.safetensors").write_bytes(b"half")
    (folder.path / ".last.old").mkdir()
    folder.lock()
    assert {p.name for p in folder.path.glob(".*")} == {".last.old"}


def test_rewinding_forgets_what_came_later_and_half_lines(folder):
    for step in (1, 2, 3):
        folder.log({"step": step, "total": 1.0})
        folder.add_metrics({"step": step, "val/psnr": float(step)})
    with open(folder.log_file, "a") as file:
        file.write('{"step": 4, "tot')
    folder.finish({"reason": "epochs"})
    folder.rewind(2)
    folder.unlock()
    assert [json.loads(x)["step"] for x in folder.log_file.read_text().splitlines()] == [1, 2]
    assert [row["step"] for row in folder.read_metrics()] == ["1", "2"]
    assert not (folder.path / "finished.json").exists()


def test_a_new_column_keeps_the_old_rows(folder):
    folder.add_metrics({"step": 1, "a": 1.0})
    folder.add_metrics({"step": 2, "a": 2.0, "b": 3.0})
    folder.unlock()
    assert folder.read_metrics() == [
        {"step": "1", "a": "1.0", "b": ""},
        {"step": "2", "a": "2.0", "b": "3.0"},
    ]
