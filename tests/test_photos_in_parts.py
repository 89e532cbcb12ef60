"""`python deocclude.py FOLDER --shard K/N` and `--merge`: as one command, killed, mixed up."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from photo_stubs import call
from PIL import Image

from deocclude.engines.cli import photos
from deocclude.engines.cli import restore as restore_command

METHOD = ("--method", "telea")
WORDS = ("in", "--mask", "in", *METHOD, "-o", "out")
COUNT = 12


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the command beside a folder `in` of photos with masks: (exit code, what was printed)."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        place = Path("in", "sub" * (number % 2), f"p{number}.jpg")
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8)).save(place)
        mask = np.zeros((24, 32), np.uint8)
        mask[8:14, 8:20] = 255
        Image.fromarray(mask).save(place.with_name(f"p{number}-mask.png"))
    Path("in/notes.txt").write_text("three lines")
    Path("in/torn.jpg").write_bytes(b"no picture")
    Image.fromarray(mask).save("in/torn-mask.png")
    Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8)).save("in/unmasked.png")

    def run_main(*arguments):
        code, text = call(restore_command.main, capsys, *arguments)
        assert "Traceback" not in text
        return code, text

    return run_main


def rows(path):
    """Input -> its row without what no two commands share: places and seconds."""
    with open(path, newline="", encoding="utf-8") as file:
        read = {row["input"]: row for row in csv.DictReader(file)}
    return {
        name: {k: v.replace("one", "out") for k, v in row.items() if not k.startswith("seconds")}
        for name, row in read.items()
    }


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file() and not path.name.startswith("manifest")
    }


def test_three_parts_are_one_command(run):
    code, text = run(*WORDS[:-1], "one", "--save", "mask")
    assert (code, f"{COUNT} of {COUNT + 2} photos restored, 2 failed" in text) == (1, True), text
    counts = []
    for number in (1, 2, 3):
        run(*WORDS, "--save", "mask", "--shard", f"{number}/3")
        counts.append(len(rows(f"out/manifest-{number}-of-3.csv")))
    assert all(counts)
    assert not Path("out/manifest.csv").exists()
    code, merged = run("--merge", "-o", "out")
    assert code == 1
    assert merged.strip().splitlines()[-1] == text.strip().splitlines()[-1].replace("one", "out")
    assert files("out") == files("one")
    assert rows("out/manifest.csv") == rows("one/manifest.csv")
    assert sum(counts) == len(rows("one/manifest.csv"))
    assert run("--merge", "out") == (code, merged)  # again


def test_a_killed_part_leaves_what_it_had_still_to_do(run, monkeypatch):
    for name in ("torn.jpg", "torn-mask.png", "unmasked.png", "notes.txt"):
        Path("in", name).unlink()
    real, seen = photos.restore_file, []

    def killed(*arguments):
        if len(seen) == 2:
            seen.append(Path("out/manifest-1-of-2.csv").read_bytes())
            raise KeyboardInterrupt
        seen.append(1)
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(photos, "restore_file", killed)
        code, text = run(*WORDS, "--shard", "1/2")
    assert (code, "--skip-existing goes on from here" in text) == (130, True)
    Path("out/manifest-1-of-2.csv").write_bytes(seen[2])  # as a kill leaves it
    kept = {name: row["status"] for name, row in rows("out/manifest-1-of-2.csv").items()}
    left = [name for name, status in kept.items() if status == "not begun"]
    assert list(kept.values()).count("restored") == 2
    assert left

    code, text = run("--merge", "out")
    assert code == 1
    assert f"part 1/2 is unfinished: {len(left)} not begun, e.g. {left[0]}" in text
    assert "part 2/2 is missing: no manifest-2-of-2.csv" in text
    assert f"0 failed, {len(left)} not begun, 6 files left out: out" in text

    code, text = run(*WORDS, "--shard", "1/2", "--skip-existing")
    assert (code, "2 done before" in text) == (0, True), text
    assert run(*WORDS, "--shard", "2/2")[0] == 0
    code, text = run("--merge", "out")
    assert (code, f"{COUNT} of {COUNT} photos restored, 0 failed, 12 files" in text) == (0, True)
    assert "error" not in text


def test_a_result_that_a_killed_part_could_not_note_is_done(run):
    """The kill came between the result and its row: the part that goes on finds it there."""
    run(*WORDS, "--shard", "1/1")
    path = Path("out/manifest-1-of-1.csv")
    text = path.read_text().replace(",restored,", ",not begun,", 2)
    path.write_text(text)
    assert "part 1/1 is unfinished: 2 not begun" in run("--merge", "out")[1]
    run(*WORDS, "--shard", "1/1", "--skip-existing")
    text = run("--merge", "out")[1]
    assert "unfinished" not in text
    assert f"{COUNT - 2} of {COUNT + 2} photos restored, 2 failed, 2 done before" in text


def test_the_row_that_was_written_last_counts_unless_it_says_less(run):
    run(*WORDS, "--shard", "1/1")
    run("--merge", "out")
    bad = Path("in/torn.jpg")
    Image.open("in/p0.jpg").save(bad)
    code, text = run("in/torn.jpg", "--mask", "in/torn-mask.png", *METHOD, "-o", "out")
    assert code == 0
    os.utime("out/manifest.csv", (2e9, 2e9))
    assert rows("out/manifest.csv")[str(bad)]["status"] == "restored"
    run("--merge", "out")
    assert rows("out/manifest.csv")[str(bad)]["status"] == "restored"
    code, text = run(*WORDS, "--shard", "1/1")  # all that it says is that results exist
    assert (code, "results exist already" in text) == (1, True)
    os.utime("out/manifest-1-of-1.csv", (3e9, 3e9))
    run("--merge", "out")
    assert rows("out/manifest.csv")["in/p0.jpg"]["status"] == "restored"


def test_what_cannot_be_merged_is_said(run):
    assert run("--merge", "gone") == (1, "error: gone: no such folder")
    assert "holds no manifest of a part, such as manifest-1-of-4.csv" in run("--merge", "in")[1]
    run(*WORDS, "--shard", "1/3")
    run(*WORDS, "--shard", "2/2")
    code, text = run("--merge", "-o", "out")
    assert code == 1
    assert "different numbers of parts (2: manifest-2-of-2.csv; 3: manifest-1-of-3.csv)" in text
    assert not Path("out/manifest.csv").exists()
    Path("out/manifest-2-of-2.csv").rename("out/manifest-5-of-3.csv")
    assert "'5/3': must be K/N" in run("--merge", "out")[1]
    Path("out/manifest-5-of-3.csv").write_text("a,b\n")
    Path("out/manifest-5-of-3.csv").rename("out/manifest-2-of-3.csv")
    assert "manifest-2-of-3.csv: exists and is no manifest" in run("--merge", "out")[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*WORDS, "--shard", "5/4"), "'5/4': must be K/N, part K of N, K from 1 to N"),
        (("--webcam", "--shard", "1/4"), "leave out --shard"),
        (("--merge",), "--merge: name one folder"),
        (("--merge", "out", "-o", "other"), "--merge: name one folder"),
        (("--merge", "out", "--shard", "1/4", "--flip"), "leave out flip, shard"),
        (("in", "-o", "out", "--merge"), "leave out inputs"),
    ],
)
def test_options_that_do_not_go_together(run, words, said):
    code, text = run(*words)
    assert (code, said in text) == (2, True), text


def test_a_part_wants_a_place_for_its_manifest(run):
    several = ("in/p0.jpg", "in/p2.jpg", "--mask", "in", *METHOD, "--shard", "1/2")
    code, text = run(*several)
    assert (code, "--shard: a part has a manifest; name a folder with -o" in text) == (1, True)
    code, text = run(*several, "--manifest", "part.csv")  # --merge would not find it
    assert (code, "leave out --manifest" in text) == (2, True)
