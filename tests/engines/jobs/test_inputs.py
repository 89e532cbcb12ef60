"""Which files of a folder are inputs: not what is no picture, nor what an earlier command wrote."""

import os
from pathlib import Path

import pytest

from deocclude.engines.jobs.inputs import (
    OTHER,
    RAW,
    RESULT,
    files_below,
    find_inputs,
    left_out_words,
    named_results,
)
from deocclude.engines.jobs.manifest import Manifest, ManifestRow


@pytest.fixture
def touch(tmp_path, monkeypatch):
    """Make empty files in an empty working folder: planning goes by names where it can."""
    monkeypatch.chdir(tmp_path)

    def make(*names):
        for name in names:
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).touch()

    return make


def write_manifest(path, *outputs):
    manifest = Manifest(Path(path))
    for number, output in enumerate(outputs):
        manifest.add(ManifestRow(f"{number}.jpg", output))
    manifest.close()


def below(folder, *apart):
    files, left_out = files_below(Path(folder), [Path(p).resolve() for p in apart])
    return (
        [path.relative_to(folder).as_posix() for path in files],
        {path.relative_to(folder).as_posix(): why for path, why in left_out.items()},
    )


def test_what_is_left_out_of_a_folder_has_a_reason(touch):
    touch("in/a.avif", "in/b.heic", "in/c.jfif", "in/d.gif", "in/e.jp2", "in/f.jpg", "in/g.3gp")
    touch("in/notes.txt", "in/sub/x.pdf", "in/DSC_1.NEF", "in/._f.jpg", "in/sub/._x.jpg")
    Path("in/clip").write_bytes(b"\x1aE\xdf\xa3" + bytes(60))  # Matroska without a suffix
    files, left_out = below("in")
    assert files == [
        "a.avif", "b.heic", "c.jfif", "clip", "d.gif", "e.jp2", "f.jpg", "g.3gp"
    ]  # fmt: skip
    assert left_out == {"notes.txt": OTHER, "sub/x.pdf": OTHER, "DSC_1.NEF": RAW}
    lines = left_out_words({Path(name): why for name, why in left_out.items()})
    assert lines[0] == "left out, no image or video: 1 .txt, 1 .pdf; e.g. notes.txt"
    assert lines[1].startswith("left out, a camera's raw file; develop it")


def test_results_beside_their_photos_are_left_out(touch):
    touch("in/a.jpg", "in/a-restored.png", "in/a-restored-mask.png", "in/b-restored.jpg")
    touch("in/sub/a-restored.png", "in/c.png", "in/c.jpg", "in/c.jpg-restored.png", "in/clip.mp4")
    touch("in/clip-restored.mp4", "in/clip-restored-overlay.mp4", "in/a-restored-twice.png")
    files, left_out = below("in")
    assert files == [
        "a-restored-twice.png", "a.jpg", "b-restored.jpg", "c.jpg", "c.png", "clip.mp4",
        "sub/a-restored.png",
    ]  # fmt: skip
    assert set(left_out.values()) == {RESULT}
    assert len(left_out) == 5


@pytest.mark.parametrize("written", ["{out}/a.png", "{here}/{out}/a.png", "../x/{out}/a.png"])
def test_what_a_manifest_names_is_left_out_with_its_extras(touch, tmp_path, written):
    touch("in/a.jpg", "in/out/a.png", "in/out/a-mask.png", "in/out/own.png", "in/out/sub/a.png")
    write_manifest("in/out/manifest.csv", written.format(out="out", here=tmp_path / "in"))
    files, left_out = below("in")
    assert files == ["a.jpg", "out/own.png", "out/sub/a.png"]
    assert left_out == {"out/a.png": RESULT, "out/a-mask.png": RESULT}


def test_a_folder_of_results_can_be_restored_again(touch):
    touch("out/a.png", "out/b.png")
    write_manifest("out/manifest.csv", "out/a.png", "out/b.png")
    assert below("out")[0] == ["a.png", "b.png"]
    touch("out/a.jpg")  # -o was the photos' own folder
    assert below("out")[0] == ["a.jpg", "b.png"]


def test_folders_apart_are_not_looked_into(touch):
    touch("in/a.jpg", "in/out/a.png", "in/other/b.jpg")
    assert below("in", "in/out", "elsewhere")[0] == ["a.jpg", "other/b.jpg"]


def test_a_pattern_takes_images_and_videos_and_says_what_it_leaves(touch):
    touch("in/a.jpg", "in/b.HEIC", "in/notes.txt", "in/._a.jpg", "in/sub/c.jpg")
    found = find_inputs(["in/*"])
    assert sorted(path.name for path in found.paths) == ["a.jpg", "b.HEIC", "sub"]
    assert found.left_out == {Path("in/notes.txt"): OTHER}
    found = find_inputs(["in/notes.txt", "gone.jpg"])  # named, so it is tried
    assert found.paths == [Path("in/notes.txt")]
    assert found.failures == [("gone.jpg", "gone.jpg: no such file or folder")]
    with pytest.raises(FileNotFoundError, match=r"\*\.txt: matches no image or video"):
        find_inputs(["in/*.txt"])


def test_results_named_along_with_their_photos(touch):
    files = [Path(name) for name in ("a.jpg", "a-restored.png", "b-restored-mask.png", "b.tif")]
    assert named_results(files) == {files[1]: files[0], files[2]: files[3]}
    assert named_results([files[1]]) == {}


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_linked_folders_of_photos_are_looked_into(touch, tmp_path):
    touch("elsewhere/a.jpg", "in/b.jpg")
    (tmp_path / "in/album").symlink_to(tmp_path / "elsewhere")
    assert below("in")[0] == ["album/a.jpg", "b.jpg"]
