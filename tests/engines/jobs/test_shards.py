"""Which part an input belongs to: every file in one, kin together, whatever else there is."""

import math
import os
from collections import Counter
from pathlib import Path

import pytest

from deocclude.engines.jobs.manifest import Manifest, ManifestRow
from deocclude.engines.jobs.plan import plan_jobs
from deocclude.engines.jobs.shards import WHOLE, Shard, shard_of

PARTS = [Shard(number, 3) for number in (1, 2, 3)]


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A working folder with empty files: planning goes by names."""
    monkeypatch.chdir(tmp_path)
    names = [f"photos/{n % 4}/{n}.jpg" for n in range(40)]
    names += [f"photos/{n}.png" for n in range(12)] + [f"photos/{n}.jpg" for n in range(6)]
    names += [f"photos/{n}-restored.png" for n in range(6)]  # of an earlier command
    names += ["photos/clip.mp4", *(f"photos/{n}.txt" for n in range(9)), "more/0/0.jpg", "one.jpg"]
    names += [f"masks/{n % 4}/{n}-mask.png" for n in range(30)] + ["masks/gone.png", "masks/1.png"]
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    return tmp_path


def facts(plan):
    jobs = [(str(j.source), str(j.output), str(j.mask), str(j.extras)) for j in plan.jobs]
    return Counter([*jobs, *plan.failures, *((str(p), why) for p, why in plan.left_out.items())])


@pytest.mark.parametrize(
    "words",
    [
        ["photos"],
        ["photos", "more/0", "photos/0/4.jpg", "none.jpg", "one.jpg"],
        ["photos/*/*.jpg", "photos/*"],
        ["one.jpg"],
    ],
)
@pytest.mark.parametrize("mask", [None, Path("masks"), Path()])
def test_the_parts_together_are_everything_and_nothing_twice(tree, words, mask):
    save = ("mask",)
    try:
        whole = plan_jobs(words, mask, "out", save)
    except ValueError as error:  # no mask for one.jpg: each part says so
        for shard in PARTS:
            with pytest.raises(ValueError, match=str(error).split(";")[0].split(":")[0]):
                plan_jobs(words, mask, "out", save, shard=shard)
        return
    parts = [plan_jobs(words, mask, "out", save, shard=shard) for shard in PARTS]
    assert sum(map(facts, parts), Counter()) == facts(whole)
    if words != ["one.jpg"] and mask is None:
        assert all(part.jobs for part in parts)
    unused = sum("have no photo" in line for part in parts for line in part.notices)
    assert unused >= any("have no photo" in line for line in whole.notices)


def test_a_part_stays_as_it_is_when_results_or_files_come(tree):
    before = [facts(plan_jobs(["photos"], output="out", shard=shard)) for shard in PARTS]
    for job in plan_jobs(["photos"], output="out").jobs[::2]:
        job.output.parent.mkdir(parents=True, exist_ok=True)
        job.output.touch()
    Path("photos/another.jpg").touch()
    after = [facts(plan_jobs(["photos"], output="out", shard=shard)) for shard in PARTS]
    added = sum(after, Counter()) - sum(before, Counter())
    assert [names[0] for names in added] == [str(Path("photos/another.jpg"))]
    assert all(not old - new for old, new in zip(before, after, strict=True))


def test_kin_is_in_one_part_and_the_parts_are_about_equal():
    for shard in (Shard(number, 7) for number in range(1, 8)):
        for name in ("a", "sub/a", "sub/Anna.B"):
            kin = [".jpg", ".png", "-mask.png", "_MASK.PNG", ".mask.tif", "-restored.png", ".MOV"]
            kin += [".jpg-restored.png", "-restored-overlay.png", ".jpg.png", "-overlay.webp"]
            assert len({shard.holds(f"{name}{end}") for end in kin}) == 1
    names = [f"{n // 100:03d}/{n % 100}.jpg" for n in range(4000)]
    counts = [sum(map(Shard(number, 4).holds, names)) for number in (1, 2, 3, 4)]
    assert sum(counts) == 4000
    assert max(abs(count - 1000) for count in counts) < 4 * math.sqrt(1000)
    held = [name for name in names if Shard(1, 400).holds(name)]  # on every machine
    assert held[:3] == ["004/84.jpg", "005/1.jpg", "005/16.jpg"]


def test_an_empty_part_is_no_error_and_an_empty_folder_is_one_in_every_part(tree):
    for shard in (Shard(number, 50) for number in range(1, 51)):
        plan = plan_jobs(["more"], output="out", shard=shard)
        assert (len(plan.jobs), plan.failures) == (shard.holds("0/0.jpg"), [])
    Path("empty").mkdir()
    Path("empty/notes.txt").touch()
    for shard in PARTS:
        with pytest.raises(FileNotFoundError, match="empty: no images or videos"):
            plan_jobs(["empty"], output="out", shard=shard)


@pytest.mark.parametrize("text", ["0/4", "5/4", "4", "a/b", "1/0", "", "1/4/4", "-1/4", "1.0/4"])
def test_other_words_are_no_part(text):
    with pytest.raises(ValueError, match="K/N, part K of N, K from 1 to N"):
        Shard.parse(text)


def test_a_part_has_a_manifest_of_its_own_that_is_no_input():
    assert Shard.parse("2/12") == Shard(2, 12) == shard_of("manifest-2-of-12.csv")
    assert Shard(2, 12).manifest == "manifest-2-of-12.csv"
    assert Shard(1, 1).manifest == "manifest-1-of-1.csv"
    assert (WHOLE.manifest, shard_of(WHOLE.manifest)) == ("manifest.csv", None)


def test_what_a_part_wrote_is_no_input_of_another_command(tree):
    manifest = Manifest(Path("photos/done/manifest-1-of-2.csv"))
    Path("photos/done").mkdir()
    Path("photos/done/x.png").touch()
    manifest.add(ManifestRow("y/x.jpg", "photos/done/x.png"))
    plan = plan_jobs(["photos"], output="out")
    assert "photos/done/x.png" not in {job.source.as_posix() for job in plan.jobs}
    assert not [path for path in plan.left_out if path.suffix == ".csv"]


@pytest.mark.skipif(os.name == "nt", reason="a thread's time is coarse there")
def test_setting_aside_takes_a_moment_for_many(tree):
    """20 000 jobs, half of them done: a search through a list for each would take minutes."""
    plan = plan_jobs(["photos"], output="out")
    plan.jobs = plan.jobs * (20_000 // len(plan.jobs))
    count = len(plan.jobs)
    plan.set_aside(lambda source: source.stem.endswith("1"))
    assert 0 < len(plan.done) < count
    assert len(plan.done) + len(plan.jobs) == count
    plan.refuse_existing()
    assert plan.existing == []
