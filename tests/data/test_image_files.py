"""Which files are images: by name, by content, and which are never looked at."""

import os

import pytest
from PIL import Image, features

from deocclude.data.image_files import (
    count_words,
    is_image,
    is_raw,
    list_images,
    visible_files,
)


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def names_below(folder, files):
    return [path.relative_to(folder).as_posix() for path in files]


def test_images_are_found_below_sorted_by_their_path(tmp_path):
    touch(tmp_path, "b.png", "sub/a.JPG", "a.webp", "notes.txt", "sub/c.bmp", "IMG_1.HEIC")
    touch(tmp_path, "photo.jfif", "scan.tif", "x.jp2", "x.avif", "x.gif", "raw.cr2")
    found = names_below(tmp_path, list_images(tmp_path))
    assert found == [
        "IMG_1.HEIC", "a.webp", "b.png", "photo.jfif", "scan.tif", "sub/a.JPG", "sub/c.bmp",
        "x.avif", "x.gif", "x.jp2",
    ]  # fmt: skip
    with pytest.raises(FileNotFoundError, match="nowhere"):
        list_images(tmp_path / "nowhere")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "GIF", "WEBP", "BMP", "PPM", "AVIF"])
def test_an_image_of_any_name_is_told_by_its_content(tmp_path, kind):
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    path = tmp_path / "IMG_0001"
    Image.new("RGB", (16, 16), "red").save(path, kind)
    assert is_image(path)
    path.write_bytes(path.read_bytes()[:3])
    assert not is_image(path)


@pytest.mark.parametrize(
    "content", [b"", b"P1 is what he said", b"\x89PNG", b"%PDF-1.4", b"\0" * 64, b"<svg/>"]
)
def test_what_is_no_image_is_none(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    assert not is_image(path)


def test_raw_data_and_folders_are_no_images(tmp_path):
    Image.new("RGB", (16, 16)).save(tmp_path / "x.tif")
    (tmp_path / "x.tif").rename(tmp_path / "x.NEF")
    (tmp_path / "folder.d").mkdir()
    assert is_raw(tmp_path / "x.NEF")
    assert not is_image(tmp_path / "x.NEF")
    assert not is_image(tmp_path / "folder.d")


def test_what_systems_hide_or_make_is_never_looked_at(tmp_path):
    touch(tmp_path, "a.jpg", "._a.jpg", "train/._b.jpg", "train/b.jpg", ".cache/c.jpg")
    touch(tmp_path, "@eaDir/a.jpg/SYNOPHOTO_THUMB_XL.jpg", "sub/__MACOSX/d.jpg")
    assert names_below(tmp_path, visible_files(tmp_path)) == ["a.jpg", "train/b.jpg"]


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_linked_folders_are_followed_once(tmp_path):
    touch(tmp_path, "set/a.jpg", "elsewhere/b.jpg")
    (tmp_path / "set/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set/again").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set/loop").symlink_to(tmp_path / "set")
    assert names_below(tmp_path / "set", list_images(tmp_path / "set")) == ["a.jpg", "again/b.jpg"]


def test_a_count_says_what_there_was(tmp_path):
    touch(tmp_path, "a.txt", "b.TXT", "c.pdf", "README")
    assert count_words(visible_files(tmp_path)) == "2 .txt, 1 without an ending, 1 .pdf"
