"""Downloads with a stand-in for gdown: what is said, what is unpacked, what is refused."""

import io
import re
import sys
import tarfile
import zipfile
from types import SimpleNamespace

import gdown
import numpy as np
import pytest
from gdown.exceptions import DownloadError
from PIL import Image

from deocclude.data.download import sets
from deocclude.data.download.archives import ArchiveError, unpack
from deocclude.engines.runs.config import choose_profile


def png(seed=0):
    content = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(content, "png")
    return content.getvalue()


def make_zip(path, members):
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def make_tar(path, name, kind=tarfile.REGTYPE, link=""):
    with tarfile.open(path, "w:gz") as file:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, link
        content = png() if kind == tarfile.REGTYPE else b""
        info.size = len(content)
        file.addfile(info, io.BytesIO(content))
    return path


def files(folder):
    found = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return sorted(name for name in found if not name.endswith(".unpacked"))


@pytest.fixture
def drive(monkeypatch):
    """Replaces gdown.download_folder; `drive.serve` writes the files, `drive.calls` records."""

    class Drive:
        calls = ()

        def serve(self, folder):
            (folder / "a.png").write_bytes(png())

        def __call__(self, **options):
            self.calls = (*self.calls, options)
            folder = sets.Path(options["output"])
            folder.mkdir(parents=True, exist_ok=True)
            self.serve(folder)

    drive = Drive()
    monkeypatch.setattr(gdown, "download_folder", drive)
    return drive


def test_every_set_goes_to_its_folder_and_is_resumed(drive, tmp_path, capsys):
    sets.main(["all", "--yes", "--output", str(tmp_path)])
    assert [call["id"] for call in drive.calls] == [f.id for f in sets.FOLDERS.values()]
    assert all(call["resume"] for call in drive.calls)
    assert files(tmp_path) == [f"{name}/a.png" for name in sorted(sets.FOLDERS)]
    assert capsys.readouterr().out.count("1 of 1 images open") == 4


def test_several_sets_are_fetched_once_each(drive, tmp_path):
    sets.main(["masks", "faces", "masks", "--yes", "--output", str(tmp_path)])
    assert [call["id"] for call in drive.calls] == [
        sets.FOLDERS[name].id for name in ("faces", "masks")
    ]


def test_the_command_that_training_prints_is_valid():
    """`choose_profile` tells who has no data what to type."""
    _, sentence = choose_profile(None)
    module, *arguments = re.search(r"`python -m ([^`]+)`", sentence).group(1).split()
    assert module == "data.download"
    assert sets.build_parser().parse_args(arguments).sets == ["faces", "masks", "occluders"]


def test_size_and_terms_come_before_the_question(drive, tmp_path, capsys, monkeypatch):
    asked = []

    def answer(prompt):
        out = capsys.readouterr().out
        asked.append("size" in out and "non-commercial" in out)
        return "no"

    monkeypatch.setattr("builtins.input", answer)
    with pytest.raises(SystemExit, match="--yes"):
        sets.main(["faces", "--output", str(tmp_path)])
    assert asked == [True]
    assert drive.calls == ()
    monkeypatch.setattr("builtins.input", lambda prompt: "yes")
    sets.main(["faces", "--output", str(tmp_path)])
    assert len(drive.calls) == 1


def test_no_network_is_one_line_and_the_layout(drive, tmp_path, capsys):
    def serve(folder):
        raise OSError("host not found\nmany\nlines")

    drive.serve = serve
    with pytest.raises(SystemExit) as stop:
        sets.main(["all", "--yes", "--output", str(tmp_path / "sets")])
    assert str(stop.value).startswith("error: faces: no connection")
    assert "\n" not in str(stop.value)
    assert len(drive.calls) == 1
    out = capsys.readouterr().out
    for name in sets.FOLDERS:
        assert f"{tmp_path}/sets/{name}/" in out


def test_a_refused_folder_does_not_stop_the_others(drive, tmp_path, capsys):
    def serve(folder):
        if folder.name == "masks":
            raise DownloadError("Cannot retrieve the folder.\nCheck the permissions.")
        (folder / "a.png").write_bytes(png())

    drive.serve = serve
    with pytest.raises(SystemExit) as stop:
        sets.main(["all", "--yes", "--output", str(tmp_path)])
    assert stop.value.code == 1
    assert len(drive.calls) == 4
    assert "error: masks: Cannot retrieve the folder. Check the" in capsys.readouterr().out


def test_a_missing_gdown_is_named_before_anything_else(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "gdown", None)
    with pytest.raises(SystemExit) as stop:
        sets.main(["stl10", "faces", "--output", str(tmp_path)])
    assert '`pip install "gdown>=6.5"`' in stop.value.code
    assert not capsys.readouterr().out


def test_images_that_do_not_open_are_named(drive, tmp_path, capsys):
    def serve(folder):
        (folder / "good.png").write_bytes(png())
        (folder / "bad.png").write_bytes(png()[:60])

    drive.serve = serve
    with pytest.raises(SystemExit) as stop:
        sets.main(["masks", "--yes", "--output", str(tmp_path)])
    assert stop.value.code == 1
    out = capsys.readouterr().out
    assert "1 of 2 images open" in out
    assert "bad.png: cannot be read" in out


def test_a_set_without_images_is_an_error(drive, tmp_path, capsys):
    drive.serve = lambda folder: (folder / "readme.txt").write_text("moved")
    with pytest.raises(SystemExit):
        sets.main(["masks", "--yes", "--output", str(tmp_path)])
    assert "holds no image" in capsys.readouterr().out


def test_archives_are_unpacked_once_beside_themselves(drive, tmp_path, capsys):
    def serve(folder):
        make_zip(
            folder / "CelebA.zip",
            {
                "CelebA/train/a.png": png(),
                "CelebA/val/b.png": png(1),
                "__MACOSX/CelebA/train/._a.png": b"fork",
            },
        )

    drive.serve = serve
    sets.main(["faces", "--yes", "--output", str(tmp_path)])
    faces = tmp_path / "faces"
    assert files(faces) == ["CelebA.zip", "train/a.png", "val/b.png"]
    (faces / "val" / "b.png").unlink()
    sets.main(["faces", "--yes", "--output", str(tmp_path)])
    assert files(faces) == ["CelebA.zip", "train/a.png"]  # removed by hand stays removed


def test_interrupted_unpacking_is_continued(tmp_path):
    archive = make_zip(tmp_path / "set.zip", {"train/a.png": png(), "train/b.png": png(1)})
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "a.png").write_bytes(png()[:20])
    unpack(archive)
    assert (tmp_path / "train" / "a.png").read_bytes() == png()
    assert files(tmp_path) == ["set.zip", "train/a.png", "train/b.png"]


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"])
def test_tar_archives(tmp_path, suffix):
    mode = {".tgz": "gz", ".tar": ""}.get(suffix, suffix[5:])
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.png").write_bytes(png())
    with tarfile.open(tmp_path / f"set{suffix}", f"w:{mode}") as file:
        file.add(folder, arcname=".")
    unpack(tmp_path / f"set{suffix}")
    assert (tmp_path / "a.png").read_bytes() == png()


EVIL = ["../evil.png", "a/../../evil.png", "/tmp/evil.png", "..\\evil.png", "C:\\evil.png"]


@pytest.mark.parametrize("name", [*EVIL, "C:evil.png", "\\\\host\\share\\evil.png"])
@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_members_outside_the_folder_are_refused_before_anything_is_written(tmp_path, name, kind):
    folder = tmp_path / "deep" / "set"
    folder.mkdir(parents=True)
    archive = folder / f"set.{kind}"
    if kind == "zip":
        make_zip(archive, {"good.png": png(), name: png()})
    else:
        make_tar(archive, name)
    with pytest.raises(ArchiveError, match="outside the folder") as refusal:
        unpack(archive)
    assert repr(name) in str(refusal.value)
    assert files(tmp_path) == [f"deep/set/set.{kind}"]


@pytest.mark.parametrize("target", ["/etc/passwd", "../../secret", "C:\\secret", "é\0b"])
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, "zip"])
def test_links_out_of_the_folder_are_refused(tmp_path, target, kind):
    if kind == "zip":
        link = zipfile.ZipInfo("sub/link.png")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive = make_zip(tmp_path / "set.zip", {})
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr(link, target)
    else:
        archive = make_tar(tmp_path / "set.tgz", "sub/link.png", kind, target)
    with pytest.raises(ArchiveError, match=r"'sub/link\.png' links out of the folder"):
        unpack(archive)
    assert files(tmp_path) == [archive.name]


def test_links_inside_are_left_out_and_devices_refused(tmp_path):
    archive = make_tar(tmp_path / "in.tgz", "sub/link.png", tarfile.SYMTYPE, "../a.png")
    assert unpack(archive) == ["1 links left out"]
    archive = make_tar(tmp_path / "dev.tgz", "pipe", tarfile.FIFOTYPE)
    with pytest.raises(ArchiveError, match="'pipe' is a device"):
        unpack(archive)


@pytest.mark.parametrize("kept", [0, 30, 0.6])
@pytest.mark.parametrize("name", ["set.zip", "set.tgz"])
def test_broken_archives_are_named(tmp_path, name, kept):
    archive = tmp_path / name
    if name == "set.zip":
        make_zip(archive, {"a.png": png()})
    else:
        make_tar(archive, "a.png")
    content = archive.read_bytes()
    archive.write_bytes(content[: int(kept * len(content)) if kept < 1 else kept])
    with pytest.raises(ArchiveError, match=rf"{name}: is broken"):
        unpack(archive)


def test_an_archive_larger_than_the_disk_is_not_begun(tmp_path, monkeypatch):
    archive = make_zip(tmp_path / "set.zip", {"a.png": png()})
    monkeypatch.setattr(
        "deocclude.data.download.archives.shutil.disk_usage", lambda path: SimpleNamespace(free=3)
    )
    with pytest.raises(ArchiveError, match="only 3 are free"):
        unpack(archive)
    assert files(tmp_path) == ["set.zip"]


def test_a_python_without_safe_unpacking_is_told_and_nothing_unpacked(tmp_path, monkeypatch):
    archive = tmp_path / "faces.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.png", b"a")
    monkeypatch.delattr(tarfile, "data_filter")
    with pytest.raises(ArchiveError, match=r"3\.10\.12, 3\.11\.4 and later can"):
        unpack(archive)
    assert not (tmp_path / "a.png").exists()
