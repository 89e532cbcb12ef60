"""The page in a real browser: two visitors at once, many photos, a video, the camera."""

import csv
import io
import re
import zipfile

import av
import numpy as np
import pytest
from app_stubs import EXAMPLES, pixels, read_url, until
from PIL import Image
from video_stubs import write_clip

pytestmark = pytest.mark.slow


def own_copy(folder, number):
    """An example as a file that is no example of the page: other bytes, another name."""
    path = folder / f"photo{number}.png"
    Image.open(EXAMPLES[number]).save(path)
    return path


def check_download(visitor, photo):
    """The result that this tab downloads is of this photo."""
    picture, mask = visitor.download("#download"), visitor.download("#download_mask")
    hole = np.asarray(Image.open(mask).convert("L")) > 0
    assert 0.05 < hole.mean() < 0.5
    assert np.array_equal(pixels(picture)[~hole], pixels(photo)[~hole])
    assert not np.array_equal(pixels(picture)[hole], pixels(photo)[hole])
    assert picture.name.startswith(photo.stem)


def test_two_visitors_have_each_their_own_files_until_they_leave(visitor, tmp_path):
    photos = [own_copy(tmp_path, 0), own_copy(tmp_path, 2)]
    tabs = [visitor.handle(), visitor.tab("window")]
    for handle, photo in zip(tabs, photos, strict=True):
        visitor.switch(handle)
        visitor.enter()
        visitor.give(photo)
    for handle in tabs:  # both at once
        visitor.switch(handle)
        visitor.click("#restore")
    for handle, photo in zip(tabs, photos, strict=True):
        visitor.switch(handle)
        visitor.says("Restored in")
        check_download(visitor, photo)
    names = {name.split("/")[-1] for name in visitor.files()}
    assert {f"photo{n}{ending}" for n in (0, 2) for ending in (".png", "-mask.png")} < names
    assert len({name.split("/")[0] for name in visitor.files(".jpg")}) == 2  # folders of sessions
    visitor.close_tab()
    visitor.switch(tabs[0])
    until(lambda: not any("photo2" in name for name in visitor.files()))
    kept = {"photo0.png", "photo0-mask.png", "photo0-restored.png", "before.jpg", "after.jpg"}
    until(lambda: {name.split("/")[-1] for name in visitor.files()} == kept)
    visitor.restore()
    check_download(visitor, photos[0])
    visitor.click("#examples .gallery-item:nth-child(3)")
    visitor.says("13% of the photo marked")
    visitor.enter()  # the page anew: another visit
    until(lambda: visitor.files() == set())


def manifest_of(bundle):
    with zipfile.ZipFile(bundle) as files:
        rows = list(csv.DictReader(io.TextIOWrapper(files.open("manifest.csv"), "utf-8")))
        pictures = {n: Image.open(files.open(n)).size for n in files.namelist() if "csv" not in n}
    return rows, pictures


def test_many_photos_come_back_in_a_zip_with_a_manifest(tab, tmp_path):
    packed, broken = tmp_path / "two.zip", tmp_path / "broken.jpg"
    with zipfile.ZipFile(packed, "w") as file:
        file.write(EXAMPLES[3], "folder/scarf.jpg")
        file.write(EXAMPLES[4], "microphone.jpg")
    broken.write_bytes(b"no picture")
    tab.open_part("Many photos")
    tab.click("#start")
    assert tab.complaint() == "Choose files first."
    tab.upload("#files input[type=file]", EXAMPLES[0], EXAMPLES[1], packed, broken)
    tab.wait("return document.querySelectorAll('#files .file').length == 4")
    tab.click("#start")
    said = tab.says("restored", "#many_words")
    assert said.startswith("4 of 5 photos restored, 1 failed."), said
    cells = "[...document.querySelectorAll('#table .virtual-row')].map((row) => row.innerText)"
    table = tab.wait(f"const rows = {cells}; return rows.length === 5 && rows")
    assert sum("restored" in row for row in table) == 4
    assert ["no picture that can be read" in row for row in table if "broken.jpg" in row] == [True]
    rows, pictures = manifest_of(tab.download("#zip"))
    assert sorted(row["status"] for row in rows) == ["failed", *["restored"] * 4]
    assert set(pictures) == {row["output"] for row in rows if row["output"]}
    assert set(pictures.values()) == {(256, 256)}
    assert any(name.startswith("two/folder/scarf") for name in pictures)


def test_what_was_done_before_a_cancel_is_kept(tab, tmp_path):
    packed = tmp_path / "many.zip"
    with zipfile.ZipFile(packed, "w") as file:
        for number in range(60):
            file.write(EXAMPLES[number % 6], f"{number}.jpg")
    tab.open_part("Many photos")
    tab.upload("#files input[type=file]", packed)
    tab.wait("return document.querySelectorAll('#files .file').length")
    tab.click("#start")
    tab.wait("return /[2-9] of 60/.test(document.body.innerText)")  # the bar
    tab.click("#cancel")
    assert "not begun" in tab.says("Cancelled", "#many_words")
    rows, pictures = manifest_of(tab.download("#zip"))
    states = [row["status"] for row in rows]
    assert len(states) == 60
    assert 2 <= states.count("restored") == len(pictures) < 50
    assert states.count("restored") + states.count("not begun") == 60


def test_a_video_comes_back_as_a_video(tab, tmp_path):
    clip = tmp_path / "clip.mp4"
    write_clip(clip, [pixels(EXAMPLES[0])] * 12)
    tab.open_part("Video")
    tab.upload("#video input[type=file]", clip)
    tab.wait("return document.querySelector('#video video')")
    tab.click("#start_video")
    assert tab.says("frames", "#video_words").startswith("12 frames, 12 of them restored")
    tab.wait("return document.querySelector('#restored_video video')?.readyState > 1")
    tab.run("document.querySelector('#restored_video video').play()")
    tab.wait("return document.querySelector('#restored_video video').currentTime > 0.1")
    with av.open(str(tab.download("#download_video"))) as file:
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    assert len(frames) == 12
    original = pixels(EXAMPLES[0]).astype(float)
    differences = np.abs(frames[5] - original).mean(axis=2)
    assert differences[170:230, 110:160].mean() > 25 > 8 > differences[:100].mean()


def test_a_cancelled_video_is_not_kept(tab, tmp_path):
    clip = tmp_path / "long.mp4"
    write_clip(clip, [pixels(EXAMPLES[0])] * 200)
    tab.open_part("Video")
    tab.upload("#video input[type=file]", clip)
    tab.wait("return document.querySelector('#video video')")
    tab.click("#start_video")
    tab.wait("return /[2-9] of 200/.test(document.body.innerText)")
    tab.click("#cancel_video")
    tab.says("Cancelled; nothing was kept", "#video_words")
    assert not any(name.startswith("session") for name in tab.files(".mp4"))


def test_the_camera_s_picture_is_restored_as_it_comes(tab):
    tab.open_part("Live")
    tab.wait("return document.querySelector('#camera [title=\"grant webcam access\"] button')")
    tab.run("document.querySelector('#camera [title=\"grant webcam access\"] button').click()")
    tab.wait("return document.querySelector('#camera video')?.videoWidth")
    tab.run("document.querySelector('#camera .button-wrap button').click()")
    said = tab.says("pictures a second", "#live_words")
    assert 0.1 < float(re.search(r"([\d.]+) pictures", said)[1]) < 60
    shown = "return document.querySelector('#live img')?.naturalWidth"
    assert tab.wait(shown) == 640
    before = np.zeros((480, 640, 3))
    before[:, 80:560] = np.asarray(Image.open(EXAMPLES[0]).resize((480, 480)))[:, ::-1]  # a mirror

    def differences():
        drawn = tab.run(
            "const from = document.querySelector('#live img');"
            "const to = document.createElement('canvas'); to.width = 640; to.height = 480;"
            "to.getContext('2d').drawImage(from, 0, 0); return to.toDataURL()"
        )
        return np.abs(read_url(drawn)[..., :3].astype(float) - before).mean(axis=2)

    until(lambda: differences()[:180].mean() < 10)  # the camera's first picture may be black
    assert differences()[320:430, 270:370].mean() > 25
    tab.run("document.querySelector('#camera .button-wrap button').click()")
