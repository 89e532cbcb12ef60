import json
import os
import subprocess
import sys

import pytest

from deocclude.engines.runs.folder import LOCK, RunFolder, RunFolderError


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


def test_a_folder_in_use_is_refused_until_its_owner_is_gone(folder):
    folder.lock()
    with pytest.raises(RunFolderError, match=f"in use by process {os.getpid()}"):
        RunFolder(folder.path).lock()
    folder.unlock()
    folder.lock()
    done = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True
    )
    owner = json.loads((folder.path / LOCK).read_text())
    (folder.path / LOCK).write_text(json.dumps(owner | {"pid": int(done.stdout)}))
    RunFolder(folder.path).lock()  # the process that held it has ended
    (folder.path / LOCK).write_text(json.dumps(owner | {"started": owner["started"] - 100}))
    RunFolder(folder.path).lock()  # another process has its number now
    (folder.path / LOCK).write_text(json.dumps({"pid": 1, "host": "elsewhere"}))
    with pytest.raises(RunFolderError, match="elsewhere"):
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
