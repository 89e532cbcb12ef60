"""Videos: order, size, rate, frames without a face, early ends, sound, and nothing half-written."""

import signal

import numpy as np
import pytest
from photo_stubs import (
    Detector,
    GreenFinder,
    draw_photo,
    face_at,
    is_green,
    read_video,
    stub_deoccluder,
    write_video,
)
from PIL import Image

from deocclude.engines.jobs.manifest import STATUSES
from deocclude.engines.jobs.plan import Choices, Job
from deocclude.engines.moving.restorer import FrameRestorer
from deocclude.engines.moving.tracker import FaceTracker
from deocclude.engines.moving.video import restore_video
from deocclude.engines.video.frames import VideoError

SHAPE = (120, 160)
FACE = face_at(30, 10, 100)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def job(folder, source="in.mp4", mask=None, extras=()):
    names = {name: folder / f"out-{name}.mp4" for name in extras}
    return Job(folder / source, mask, folder / "out.mp4", names)


def covered(count=8):
    return [draw_photo(SHAPE, FACE)] * count


def brightness_steps(count):
    """Frames that tell their number: a bar at the bottom that gets brighter."""
    frames = [frame.copy() for frame in covered(count)]
    for number, frame in enumerate(frames):
        frame[-8:] = 20 * number
    return frames


def left_behind(folder):
    return [p.name for p in folder.iterdir() if p.name.startswith(".")]


def test_frames_come_in_order_at_the_same_size_and_rate(folder):
    write_video(folder / "in.mp4", brightness_steps(10), rate=12.5)
    row = restore_video(stub_deoccluder(Detector([FACE])), job(folder), Choices())
    frames, rate = read_video(folder / "out.mp4")
    assert (len(frames), rate, frames[0].shape) == (10, 12.5, (*SHAPE, 3))
    levels, before = (
        [frame[-6:-2].mean() for frame in read_video(folder / name)[0]]
        for name in ("out.mp4", "in.mp4")
    )
    np.testing.assert_allclose(levels, before, atol=6)
    assert (np.diff(levels) > 10).all()
    assert not any(is_green(frame).any() for frame in frames)
    assert (row.status, row.frames, row.frames_restored) == ("restored", 10, 10)
    assert (row.faces, row.detection) == (1, "mediapipe")
    assert 0.01 < row.hole_ratio < 0.2
    assert {"detect", "segment", "inpaint", "paste", "write"} <= row.seconds.keys()
    assert left_behind(folder) == []


def test_frames_without_a_face_pass_through_and_are_counted(folder):
    """Nor is such a frame taken for a face as a whole, as a single photo would be."""
    empty = draw_photo(SHAPE)
    empty[40:80, 60:100] = (0, 255, 0)
    write_video(folder / "in.mp4", [empty] * 4 + covered(6))
    asked = []

    def faces(image):
        asked.append(image)
        return [FACE] if len(asked) > 4 else []

    row = restore_video(stub_deoccluder(Detector(faces)), job(folder), Choices())
    green = [bool(is_green(frame).any()) for frame in read_video(folder / "out.mp4")[0]]
    assert green == [True] * 4 + [False] * 6
    assert (row.frames, row.frames_restored) == (10, 6)
    assert "no face found in 4 of 10 frames" in row.warnings
    assert "4 frames are passed through as read" in row.warnings


def test_a_lost_face_stays_for_a_moment_but_not_beyond_a_cut(folder):
    for name, lost in (("same", covered(1)[0]), ("cut", 255 - covered(1)[0])):
        asked = []

        def faces(image, asked=asked):
            asked.append(image)
            return [FACE] if len(asked) <= 3 else []

        restore = FrameRestorer(stub_deoccluder(Detector(faces)), Choices())
        results = [restore(frame) for frame in [*covered(3), lost, lost]]
        kept = 1 if name == "same" else 0
        assert [len(result.faces) for result in results] == [1, 1, 1, kept, kept]


def test_the_cascade_counts_until_mediapipe_finds_a_face():
    haar = FACE._replace(source="haar")
    answers = [[haar], [], [FACE], [FACE], [haar]]
    restore = FrameRestorer(
        stub_deoccluder(Detector(lambda image: answers.pop(0))),
        Choices(),
        tracker=FaceTracker(patience=0),
    )
    assert [len(restore(frame).faces) for frame in covered(5)] == [1, 0, 0, 1, 0]


@pytest.mark.parametrize(("shown", "faces"), [(True, 0), (False, 1)])
def test_a_video_in_which_nothing_was_restored_is_not_written(folder, shown, faces):
    write_video(folder / "in.mp4", [draw_photo(SHAPE, FACE, covered=shown)] * 3)
    deoccluder = stub_deoccluder(Detector([FACE] * faces))
    row = restore_video(deoccluder, job(folder, extras=["mask"]), Choices())
    status = "no face found" if shown else "no occluder found"
    assert (row.status, row.output, row.frames_restored) == (status, "", 0)
    assert sorted(p.name for p in folder.iterdir()) == ["in.mp4"]


@pytest.mark.parametrize("name", ["in.avi", "in.mkv"])
def test_a_video_that_ends_early_is_written_as_far_as_it_goes(folder, name):
    noisy = [np.maximum(frame, np.random.default_rng(0).integers(0, 90, (*SHAPE, 1), np.uint8))
             for frame in covered(30)]  # fmt: skip
    write_video(folder / name, noisy, codec="mjpeg")
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: int(0.6 * len(whole))])
    row = restore_video(stub_deoccluder(Detector([FACE])), job(folder, name), Choices())
    assert (row.status, STATUSES[row.status]) == ("incomplete", True)
    assert 10 < row.frames < 25
    assert len(read_video(folder / "out.mp4")[0]) == row.frames
    cut = int(0.4 * len(whole)) + 1
    assert f"cut off: {cut:,} bytes are missing at its end; {row.frames} frames came" in str(
        row.warnings
    )


def test_what_is_no_video_is_named(folder):
    write_video(folder / "cut.mp4", covered(10))
    (folder / "cut.mp4").write_bytes((folder / "cut.mp4").read_bytes()[:2000])
    (folder / "text.mp4").write_text("hello")
    (folder / "empty.mp4").touch()
    for name in ("cut.mp4", "text.mp4", "empty.mp4", "none.mp4"):
        with pytest.raises(VideoError, match=name):
            restore_video(stub_deoccluder(), job(folder, name), Choices())
    assert not (folder / "out.mp4").exists()
    assert left_behind(folder) == []


def test_existing_results_stay(folder):
    write_video(folder / "in.mp4", covered(2))
    (folder / "out.mp4").write_text("mine")
    with pytest.raises(FileExistsError, match="--overwrite"):
        restore_video(stub_deoccluder(Detector([FACE])), job(folder), Choices())
    assert (folder / "out.mp4").read_text() == "mine"
    restore_video(stub_deoccluder(Detector([FACE])), job(folder), Choices(overwrite=True))
    assert len(read_video(folder / "out.mp4")[0]) == 2
    wrong = Job(folder / "in.mp4", None, folder / "out.png")
    with pytest.raises(ValueError, match=r"cannot write '\.png'"):
        restore_video(stub_deoccluder(Detector([FACE])), wrong, Choices())


def test_nothing_half_written_stays_when_it_stops_in_the_middle(folder):
    write_video(folder / "in.mp4", covered(6))
    asked = []

    class Stopped(GreenFinder):
        def forward(self, occluded):
            asked.append(occluded)
            if len(asked) == 4:
                raise KeyboardInterrupt
            return super().forward(occluded)

    deoccluder = stub_deoccluder(Detector([FACE]), segmenter=Stopped())
    with pytest.raises(KeyboardInterrupt):
        restore_video(deoccluder, job(folder, extras=["mask"]), Choices())
    assert len(asked) == 4
    assert sorted(p.name for p in folder.iterdir()) == ["in.mp4"]


def test_extras_are_videos_of_the_same_length(folder):
    write_video(folder / "in.mp4", covered(3))
    extras = ("mask", "overlay", "side-by-side", "uncertainty")
    restore_video(stub_deoccluder(Detector([FACE])), job(folder, extras=extras), Choices())
    pictures = {name: read_video(folder / f"out-{name}.mp4")[0] for name in extras}
    assert {len(frames) for frames in pictures.values()} == {3}
    hole = pictures["mask"][0][..., 0] > 127
    assert 0.01 < hole.mean() < 0.2
    assert (pictures["overlay"][0][hole][:, 0] > 90).mean() > 0.9
    assert pictures["side-by-side"][0].shape[1] > 3 * SHAPE[1]


def test_one_mask_holds_for_every_frame_and_needs_no_segmenter(folder):
    write_video(folder / "in.mp4", covered(4))
    mask = np.zeros(SHAPE, np.uint8)
    mask[60:100, 50:120] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    deoccluder = stub_deoccluder(segmenter=None)
    row = restore_video(deoccluder, job(folder, mask=folder / "mask.png"), Choices())
    assert (row.status, row.frames_restored) == ("restored", 4)
    for frame in read_video(folder / "out.mp4")[0]:
        assert abs(frame[65:95, 60:110].mean() - 128) < 8


def test_masks_do_not_flicker(folder):
    """One frame in which the segmenter misses the occluder is bridged."""
    frames = covered(10)
    frames[6] = draw_photo(SHAPE, FACE, covered=False)
    write_video(folder / "in.mp4", frames)
    row = restore_video(stub_deoccluder(Detector([FACE])), job(folder), Choices())
    assert row.frames_restored == 10


@pytest.mark.parametrize(("name", "result"), [("in.gif", "out.gif"), ("in.webp", "out.webp")])
def test_every_frame_of_an_animated_picture_is_restored(folder, name, result):
    frames = [Image.fromarray(frame) for frame in brightness_steps(5)]
    options = {"lossless": True} if name == "in.webp" else {}
    frames[0].save(
        folder / name, save_all=True, append_images=frames[1:], duration=70, loop=0, **options
    )
    task = Job(folder / name, None, folder / result, {"mask": folder / f"mask-{result}"})
    row = restore_video(stub_deoccluder(Detector([FACE])), task, Choices())
    assert (row.status, row.frames, row.frames_restored) == ("restored", 5, 5)
    with Image.open(folder / name) as old, Image.open(folder / result) as new:
        assert (new.n_frames, new.info["loop"], new.format) == (5, 0, old.format)
        for number in range(5):
            old.seek(number)
            new.seek(number)
            before, after = (np.asarray(picture.convert("RGB")) for picture in (old, new))
            assert new.info["duration"] == 70
            assert is_green(before).any()
            assert not is_green(after).any()
            assert (before[-8:] == after[-8:]).all()
    with Image.open(folder / f"mask-{result}") as mask:
        assert mask.n_frames >= 1
        assert np.asarray(mask.convert("L")).max() == 255
    assert left_behind(folder) == []


def test_a_full_disk_is_an_error_and_nothing_half_written_stays(folder):
    """A limit of the size of files stands for it."""
    resource = pytest.importorskip("resource", reason="Windows has no such limit")
    write_video(folder / "in.mp4", covered(6))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(VideoError, match="cannot be written"):
            restore_video(stub_deoccluder(Detector([FACE])), job(folder), Choices())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert sorted(p.name for p in folder.iterdir()) == ["in.mp4"]


def test_faces_of_low_confidence_do_not_count_in_a_video():
    doubtful = FACE._replace(score=0.2)
    restore = FrameRestorer(stub_deoccluder(Detector([doubtful])), Choices())
    assert [len(restore(frame).faces) for frame in covered(3)] == [0, 0, 0]
