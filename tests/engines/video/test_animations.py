"""Animated pictures: what is shown, for how long and how often is the same before and after."""

import numpy as np
import pytest
from PIL import Image, ImageDraw
from video_stubs import times_of

from deocclude.engines.video.files import open_reader, open_writer
from deocclude.engines.video.frames import VideoError

DURATIONS = [50, 80, 120, 80, 200]


def draw(clear):
    """A ball that crosses a picture; nothing behind it if `clear`."""
    made = []
    for number in range(5):
        picture = Image.new("RGBA", (64, 48), (30, 90, 200, 0 if clear else 255))
        pen = ImageDraw.Draw(picture)
        pen.ellipse((5 + 6 * number, 8, 25 + 6 * number, 30), fill=(220, 40 + 20 * number, 30, 255))
        made.append(picture)
    return made


def save(path, pictures, **options):
    options = {"duration": DURATIONS[: len(pictures)]} | options
    if path.suffix == ".webp":
        options["lossless"] = True
    if path.suffix == ".gif":
        options["disposal"] = 2
    pictures[0].save(path, save_all=True, append_images=pictures[1:], **options)


def shown(path):
    """(colours over white, opaque, milliseconds) of each frame."""
    made = []
    with Image.open(path) as picture:
        for number in range(picture.n_frames):
            picture.seek(number)
            frame = picture.convert("RGBA")
            white = Image.alpha_composite(Image.new("RGBA", frame.size, "white"), frame)
            opaque = np.asarray(frame)[..., 3] > 127
            made.append((np.asarray(white)[..., :3], opaque, picture.info.get("duration")))
    return made


def redraw(source, target):
    """A patch of noise in each frame; the frames that were read, the patch, what was said."""
    reader, writer, frames = open_reader(source, animated=True), None, []
    mask = np.zeros((48, 64), np.uint8)
    mask[12:28, 8:24] = 1
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    for frame in reader:
        writer = writer or open_writer(target, reader, frame.rgb.shape[:2])
        writer.write(np.where(mask[..., None] == 1, noise, frame.rgb), frame, mask)
        frames.append(frame)
    notices = [*reader.notices, *writer.close()]
    reader.close()
    return frames, mask == 1, noise, str(notices)


@pytest.mark.parametrize("clear", [False, True])
@pytest.mark.parametrize("target", ["out.gif", "out.webp", "out.png"])
@pytest.mark.parametrize("source", ["in.gif", "in.webp", "in.png"])
def test_frames_durations_and_transparency_are_kept(tmp_path, source, target, clear):
    save(tmp_path / source, draw(clear), loop=0)
    _, hole, noise, _ = redraw(tmp_path / source, tmp_path / target)
    before, after = shown(tmp_path / source), shown(tmp_path / target)
    assert [duration for *_, duration in after] == DURATIONS
    for (old, clear_before, _), (new, clear_after, _) in zip(before, after, strict=True):
        assert (clear_before == clear_after).all()
        assert (old[~hole] == new[~hole]).all()
        redrawn = hole & clear_after
        if redrawn.any():
            far = 0 if target != "out.gif" else 40
            assert np.abs(new[redrawn].astype(int) - noise[redrawn]).mean() <= far


@pytest.mark.parametrize(
    ("source", "loop", "target", "expected"),
    [("in.gif", None, "out.gif", None), ("in.gif", 3, "out.gif", 3), ("in.gif", 3, "out.webp", 4),
     ("in.webp", 2, "out.gif", 1), ("in.png", 0, "out.gif", 0), ("in.gif", 0, "out.png", 0)],
)  # fmt: skip
def test_it_is_played_as_often_as_before(tmp_path, source, loop, target, expected):
    """A GIF says how often it is repeated, the others how often it is played."""
    save(tmp_path / source, draw(False), **({} if loop is None else {"loop": loop}))
    redraw(tmp_path / source, tmp_path / target)
    with Image.open(tmp_path / target) as picture:
        assert picture.info.get("loop") == expected


def test_a_photo_in_a_gif_keeps_its_colours_outside_of_the_mask(tmp_path):
    """All 256 are taken already: what is redrawn gets the nearest of them."""
    noise = np.random.default_rng(1).integers(0, 255, (3, 48, 64, 3), np.uint8)
    save(tmp_path / "in.gif", [Image.fromarray(frame) for frame in noise])
    _, hole, _, said = redraw(tmp_path / "in.gif", tmp_path / "out.gif")
    for (old, *_), (new, *_) in zip(
        shown(tmp_path / "in.gif"), shown(tmp_path / "out.gif"), strict=True
    ):
        assert (old[~hole] == new[~hole]).all()
    assert "256 colours" in said


def test_as_a_video(tmp_path):
    save(tmp_path / "in.gif", draw(True), loop=0)
    frames, *_, said = redraw(tmp_path / "in.gif", tmp_path / "out.mp4")
    times = [float(time) for time in times_of(tmp_path / "out.mp4")]
    assert times == pytest.approx([0, 0.05, 0.13, 0.25, 0.33])
    assert "laid over white" in said
    assert "played again and again" in said
    assert (frames[0].rgb[0, 0] == 255).all()


def test_frames_without_a_duration_last_as_in_browsers(tmp_path):
    save(tmp_path / "in.gif", draw(False), duration=0)
    *_, said = redraw(tmp_path / "in.gif", tmp_path / "out.mp4")
    assert [float(time) for time in times_of(tmp_path / "out.mp4")] == [0, 0.1, 0.2, 0.3, 0.4]
    assert "5 frames are to last 10 ms or less" in said


def test_the_picture_for_programs_that_cannot_animate_stays_apart(tmp_path):
    save(tmp_path / "in.png", draw(False), default_image=True, duration=DURATIONS[1:])
    redraw(tmp_path / "in.png", tmp_path / "out.png")
    assert [duration for *_, duration in shown(tmp_path / "out.png")] == [None, *DURATIONS[1:]]
    redraw(tmp_path / "in.png", tmp_path / "out.mp4")
    assert len(times_of(tmp_path / "out.mp4")) == 4


def test_what_is_said_in_the_file_is_kept_where_the_format_can(tmp_path):
    save(tmp_path / "in.gif", draw(False), comment=b"mine")
    redraw(tmp_path / "in.gif", tmp_path / "out.gif")
    with Image.open(tmp_path / "out.gif") as picture:
        assert picture.info["comment"] == b"mine"
    *_, said = redraw(tmp_path / "in.gif", tmp_path / "out.webp")
    assert "not kept in this format: comment" in said


@pytest.mark.parametrize("name", ["in.gif", "in.png"])
def test_one_that_is_cut_off_is_read_as_far_as_it_goes(tmp_path, name):
    noise = np.random.default_rng(1).integers(0, 255, (4, 48, 64, 3), np.uint8)
    save(tmp_path / name, [Image.fromarray(frame) for frame in noise])
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) * 2 // 3])
    reader = open_reader(tmp_path / name, animated=True)
    assert 2 <= len(list(reader)) < 4
    assert "cannot be read" in reader.damage
    reader.close()
    (tmp_path / name).write_bytes(whole[:20])
    with pytest.raises(VideoError, match=name):
        list(open_reader(tmp_path / name, animated=True))
