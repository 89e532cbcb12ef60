"""From command-line words to jobs: what is found, what it is called, what is refused."""

import os
from pathlib import Path

import pytest

from deocclude.engines.jobs.plan import plan_jobs


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A working folder with empty files: planning goes by names."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "one.jpg",
        "clip.MOV",
        "photos/a.jpg",
        "photos/a.png",
        "photos/b.tif",
        "photos/notes.txt",
        "photos/._a.jpg",
        "photos/.hidden/x.jpg",
        "photos/sub/a.jpg",
        "photos/sub/clip.avi",
        "more/a.jpg",
        "odd/[1].jpg",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def outputs(plan):
    return {job.source.as_posix(): job.output.as_posix() for job in plan.jobs}


def test_a_folder_is_mirrored_recursively_without_hidden_or_other_files(tree):
    plan = plan_jobs(["photos"], output="out")
    assert outputs(plan) == {
        "photos/a.jpg": "out/a.jpg.png",
        "photos/a.png": "out/a.png.png",
        "photos/b.tif": "out/b.tif",
        "photos/sub/a.jpg": "out/sub/a.png",
        "photos/sub/clip.avi": "out/sub/clip.mp4",
    }
    assert plan.folder == Path("out")
    assert not plan.failures
    assert outputs(plan_jobs(["photos/sub"]))["photos/sub/a.jpg"] == "photos/sub-restored/a.png"


@pytest.mark.parametrize("folder", [".", "../photos"])
def test_the_default_folder_lies_beside_the_input_whatever_that_is_called(
    tree, monkeypatch, folder
):
    monkeypatch.chdir(tree / "photos")
    plan = plan_jobs([folder])
    assert plan.folder.resolve() == tree / "photos-restored"


def test_results_of_an_earlier_run_inside_the_folder_are_no_inputs(tree):
    for name in ("photos/out/a.png", "photos/sub/deep-restored/a.png"):
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).touch()
    names = outputs(plan_jobs(["photos"], output="photos/out"))
    assert "photos/out/a.png" not in names
    assert "photos/sub/deep-restored/a.png" in names  # not what this command writes to
    (tree / "photos/one-restored.png").touch()
    (tree / "photos/one.png").touch()
    plan = plan_jobs([str(p) for p in sorted((tree / "photos").glob("*.png"))])
    assert [job.source.name for job in plan.jobs] == ["a.png", "one.png"]
    photos = tree / "photos"
    assert plan.notices == [f"left out, the result for {photos}/one.png: {photos}/one-restored.png"]


def test_patterns_that_the_shell_left_alone_are_expanded(tree):
    assert set(outputs(plan_jobs(["photos/*.*"], output="out"))) == {
        "photos/a.jpg", "photos/a.png", "photos/b.tif"
    }  # fmt: skip
    found = outputs(plan_jobs(["photos/**/*.jpg"], output="out"))
    assert found == {"photos/a.jpg": "out/a.png", "photos/sub/a.jpg": "out/sub/a.png"}
    assert set(outputs(plan_jobs(["odd/[1].jpg"], output="out"))) == {"odd/[1].jpg"}
    with pytest.raises(FileNotFoundError, match=r"\*\.heic: matches no image or video"):
        plan_jobs(["photos/*.heic"])


def test_several_inputs_go_into_one_folder_and_keep_apart(tree):
    words = ["one.jpg", "more/a.jpg", "photos/sub", "photos/sub/a.jpg", "clip.MOV"]
    plan = plan_jobs(words, output="out", save=("mask",))
    assert outputs(plan) == {
        "one.jpg": "out/one.png",
        "more/a.jpg": "out/more/a.png",
        "clip.MOV": "out/clip.mp4",
        "photos/sub/a.jpg": "out/photos/sub/a.png",
        "photos/sub/clip.avi": "out/sub/clip.mp4",
    }
    extras = {job.source.name: job.extras["mask"].name for job in plan.jobs}
    assert (extras["one.jpg"], extras["clip.MOV"]) == ("one-mask.png", "clip-mask.mp4")
    plan = plan_jobs(["one.jpg", "photos/a.png", "photos/a.jpg"])  # no -o: beside each
    assert set(outputs(plan).values()) == {
        "one-restored.png", "photos/a.png-restored.png", "photos/a.jpg-restored.png"
    }  # fmt: skip
    assert plan.folder is None


@pytest.mark.parametrize(
    ("output", "made"),
    [
        (None, "clip-restored.mp4"),
        ("x.mp4", "x.mp4"),
        ("new", "new/clip.mp4"),
        ("new.d/", "new.d/clip.mp4"),
        ("more", "more/clip.mp4"),
    ],
)
def test_one_input_goes_to_a_file_or_into_a_folder(tree, output, made):
    assert list(outputs(plan_jobs(["clip.MOV"], output=output)).values()) == [made]


def test_an_output_file_for_several_inputs_is_refused(tree):
    for output, verb in (("out.png", "names"), ("one.jpg", "is")):
        with pytest.raises(ValueError, match=rf"{output}: {verb} a file; several"):
            plan_jobs(["photos"], output=output)
    with pytest.raises(ValueError, match=r"out\.png: names a file; .*; none\.jpg: no such file"):
        plan_jobs(["one.jpg", "none.jpg"], output="out.png")


def test_no_input_is_ever_a_target(tree):
    (tree / "photos/a-mask.png").touch()
    plan = plan_jobs(["photos/a.png", "photos/b.tif"], output="photos", save=("mask",))
    assert [source for source, _ in plan.failures] == ["photos/a.png"]
    assert "photos/a.png: is an input of this command and is never overwritten" in str(
        plan.failures
    )
    (tree / "m.png").touch()
    plan = plan_jobs(["one.jpg"], Path("m.png"), "m.png")
    assert "m.png: is an input" in str(plan.failures)


def test_two_results_never_share_a_file(tree):
    (tree / "photos/a-mask.png").touch()
    plan = plan_jobs(["photos/a.png", "photos/a-mask.png"], output="out", save=("mask",))
    assert [source for source, _ in plan.failures] == ["photos/a-mask.png"]
    assert "out/a-mask.png is the result for photos/a.png already" in plan.failures[0][1]


def test_what_is_missing_is_a_failure_among_others_and_an_error_alone(tree):
    plan = plan_jobs(["none.jpg", "one.jpg"], output="out")
    assert plan.failures == [("none.jpg", "none.jpg: no such file or folder")]
    assert len(plan.jobs) == 1
    (tree / "empty").mkdir()
    for word in ("none.jpg", "empty"):
        with pytest.raises(FileNotFoundError, match=word):
            plan_jobs([word])


def test_masks_are_paired_by_stem_below_each_folder(tree):
    for name in ("masks/one.png", "masks/b.png", "masks/sub/a.png", "masks/unused.png"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).touch()
    plan = plan_jobs(["one.jpg", "photos"], Path("masks"), "out")
    pairs = {job.source.as_posix(): job.mask.as_posix() for job in plan.jobs}
    assert pairs == {
        "one.jpg": "masks/one.png",
        "photos/b.tif": "masks/b.png",
        "photos/sub/a.jpg": "masks/sub/a.png",
    }
    assert sorted(source for source, _ in plan.failures) == [
        "photos/a.jpg", "photos/a.png", "photos/sub/clip.avi"
    ]  # fmt: skip
    assert "1 masks in masks have no photo, e.g. unused" in plan.notices


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_an_input_given_twice_is_restored_once(tree):
    (tree / "link.jpg").symlink_to(tree / "one.jpg")
    assert len(plan_jobs(["one.jpg", "./one.jpg", "link.jpg", "*.jpg"], output="out").jobs) == 1
