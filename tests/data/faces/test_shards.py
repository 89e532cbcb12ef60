"""Faces in tar shards: what counts as one, how they are split, in which order they are read."""

import io
import tarfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("webdataset", reason="shards need webdataset")

from deocclude.data.builtin.faces import render_face
from deocclude.data.faces.files import folder_faces
from deocclude.data.faces.shard_names import list_shards, shard_pattern
from deocclude.data.faces.shards import Order, ShardSplit, load_shard_split, split_shards
from deocclude.data.masks.source import MaskGenerator
from deocclude.data.pairs.training import PositionSampler, TrainingPairs, training_loader
from deocclude.data.seeding import keyed_rng
from deocclude.data.settings import Data
from deocclude.data.sources.holes import open_sources
from deocclude.engines.evaluation.overlap import faces_seen

SHARDS, EACH, SIZE = 4, 16, 32
PATTERN = f"{{000..{SHARDS - 1:03d}}}.tar"


def picture(number: int, side: int = 40) -> bytes:
    file = io.BytesIO()
    Image.fromarray(render_face(number, side)).save(file, "PNG")
    return file.getvalue()


def pack(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def pack_faces(folder: Path, shards: int = SHARDS, each: int = EACH, name: str = "") -> None:
    for shard in range(shards):
        numbers = range(shard * each, (shard + 1) * each)
        pack(folder / f"{name}{shard:03d}.tar", {f"{n:05d}.png": picture(n) for n in numbers})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("shards")
    pack_faces(place)
    return place


@pytest.fixture(scope="module")
def pairs(folder):
    """Training pairs of all faces, in the order for steps of eight."""
    split = split_shards(folder / PATTERN, 1, "image")
    whole = split._replace(parts={"train": np.arange(SHARDS * EACH)})
    return TrainingPairs(whole.training_faces(SIZE, None, 8), MaskGenerator(SIZE), seed=3)


def sampler(start=0, stop=SHARDS * EACH // 8, rank=0, processes=1):
    return PositionSampler(8, start, stop, 1, rank, processes)


def names(pairs, positions) -> list[str]:
    return [name for batch in training_loader(pairs, positions, 0) for name in batch.names]


def test_a_face_is_read_as_from_its_file(folder, tmp_path):
    (tmp_path / "7.png").write_bytes(picture(7))
    face = folder_faces([tmp_path / "7.png"], tmp_path, SIZE)[0]
    shards = split_shards(folder / PATTERN, 1, "image").shards
    split = ShardSplit(shards, {"val": np.array([7, 20])}, "")
    assert np.array_equal(split.faces("val", SIZE)[0], face)
    assert list(split.faces("val", SIZE).names) == ["000.tar/00007.png", "001.tar/00020.png"]


def test_a_round_shows_every_face_once_in_a_new_order(pairs):
    rounds = [names(pairs, sampler(8 * r, 8 * r + 8)) for r in (0, 1)]
    assert all(sorted(shown) == list(pairs.faces.names) for shown in rounds)
    assert rounds[0] != rounds[1]


def test_workers_and_continuing_change_nothing(pairs):
    whole = list(training_loader(pairs, sampler(stop=10), 0))
    for workers, start in ((1, 0), (2, 0), (0, 3), (2, 5)):
        again = list(training_loader(pairs, sampler(start, 10), workers))
        for mine, theirs in zip(whole[start:], again, strict=True):
            assert mine.names == theirs.names
            assert torch.equal(mine.image, theirs.image)
            assert torch.equal(mine.mask, theirs.mask)


def test_each_process_reads_shards_of_its_own(pairs):
    parts = [names(pairs, sampler(rank=rank, processes=2)) for rank in (0, 1)]
    assert sorted(parts[0] + parts[1]) == list(pairs.faces.names)
    shards = [Counter(name.split("/")[0] for name in part) for part in parts]
    assert not shards[0].keys() & shards[1].keys()
    assert [list(count.values()) for count in shards] == [[EACH, EACH]] * 2


def test_workers_of_a_process_read_shards_of_their_own_where_there_are_many():
    order = Order(np.repeat(np.arange(640), 10), 8)(keyed_rng(0, "order", 0))
    assert sorted(order) == list(range(6400))
    step, place = np.divmod(np.arange(6400), 8)
    workers = [set(order[(step % 2 == worker) & (place < 4)] // 10) for worker in (0, 1)]
    assert len(workers[0] & workers[1]) == 0
    assert 64 <= len(set(order[:256] // 10)) <= 128  # few at a time, though all are near


@pytest.mark.parametrize(("count", "batch"), [(1, 8), (7, 8), (65, 8), (100, 12), (130, 64)])
def test_any_number_of_faces_is_visited_once(count, batch):
    order = Order(np.sort(keyed_rng(1).integers(0, 5, count)), batch)(keyed_rng(2))
    assert sorted(order) == list(range(count))


def test_splits_are_disjoint_and_whole_and_are_read_back_as_they_were(folder, tmp_path):
    split = split_shards(folder / PATTERN, 1, "auto")
    assert [len(split.parts[name]) for name in ("train", "val", "test")] == [58, 3, 3]
    assert sorted(np.concatenate([*split.parts.values()])) == list(range(64))
    split.save(tmp_path / "split.json")
    again = load_shard_split(tmp_path / "split.json", folder / PATTERN)
    assert again.rule == split.rule == "seed 1, 90/5/5 by image"
    assert all(np.array_equal(again.parts[name], part) for name, part in split.parts.items())


def test_a_recorded_split_knows_its_shards(tmp_path):
    pack_faces(tmp_path, 3, 2)
    split = split_shards(tmp_path / "*.tar", 1, "image")
    split.save(tmp_path / "split.json")
    pack(tmp_path / "003.tar", {"1.png": picture(1)})  # came since: not used
    again = load_shard_split(tmp_path / "split.json", tmp_path / "*.tar")
    assert len(again.shards) == 6
    pack(tmp_path / "001.tar", {"a.png": picture(1), "b.png": picture(2)})
    with pytest.raises(ValueError, match=r"other faces are in 001\.tar"):
        load_shard_split(tmp_path / "split.json", tmp_path / "*.tar")
    (tmp_path / "001.tar").unlink()
    with pytest.raises(FileNotFoundError, match=r"no longer in .*: 001\.tar"):
        load_shard_split(tmp_path / "split.json", tmp_path / "*.tar")


def shards_of(split: ShardSplit, name: str) -> set[str]:
    return {split.shards.name(index).rpartition("/")[0] for index in split.parts[name]}


def test_names_of_shards_say_the_split_and_whole_shards_can_be_dealt_out(tmp_path, folder):
    for name in ("train", "val"):
        pack_faces(tmp_path / name, 2, 4, "a-")
    named = split_shards(tmp_path / "{train,val}" / "a-*.tar", 1, "auto")
    assert shards_of(named, "train") == {"train/a-000.tar", "train/a-001.tar"}
    held = shards_of(named, "val") | shards_of(named, "test")
    assert held == {"val/a-000.tar", "val/a-001.tar"}
    assert named.rule == "given names of shards; test is half of val, by image"
    whole = split_shards(folder / PATTERN, 1, "folder")
    assert [len(shards_of(whole, name)) for name in ("train", "val", "test")] == [2, 1, 1]
    assert whole.rule.endswith("by shard")
    with pytest.raises(ValueError, match="2 shards are too few to split 3 ways"):
        split_shards(folder / "{000,001}.tar", 1, "folder")
    (tmp_path / "val" / "a-000.tar").rename(tmp_path / "b.tar")
    with pytest.raises(ValueError, match=r"named val, but b\.tar is not"):
        split_shards(tmp_path / "{val/a-001,b}.tar", 1, "auto")
    with pytest.raises(ValueError, match="only val shards, none named train"):
        split_shards(tmp_path / "{val,val}" / "a-001.tar", 1, "auto")


def test_what_is_no_face_is_told(tmp_path, caplog):
    members = {f"./{n}.png": picture(n) for n in range(20)}
    more = {"0.json": b"{}", "0.mask.png": picture(0), "._0.png": b"", "notes": b"", "X.JPEG": b"?"}
    pack(tmp_path / "a.tar", members | more)
    with caplog.at_level("INFO"):
        sources = open_sources(Data(faces=str(tmp_path / "a.tar"), size=64), None)
    assert sources.split.shards.others == {".json": 1, ".mask.png": 1, "without an ending": 1}
    assert "1 shards, 21 images, seed 42, 90/5/5 by image: train/val/test 19/1/1" in caplog.text
    assert (
        "left out of a.tar: 3 members are none: 1 .json, 1 .mask.png, 1 without an ending; 1 of"
        in caplog.text
    )
    assert "its first face has 40 px, less than data.size 64" in caplog.text


def test_a_damaged_face_is_named_and_the_next_takes_its_place(tmp_path, caplog):
    members = {f"{n:02d}.png": picture(n) for n in range(30)}
    members["03.png"] = members["03.png"][:200]
    members["04.png"] = b"no picture"
    pack(tmp_path / "a.tar", members)
    split = split_shards(tmp_path / "a.tar", 1, "image")
    faces = split._replace(parts={"train": np.arange(30)}).training_faces(SIZE, None, 4)
    assert np.array_equal(faces[3], faces[5])
    assert np.array_equal(faces[4], faces[5])
    assert caplog.text.count("skipped in training") == 2
    assert "a.tar/03.png: cannot be read as an image" in caplog.text
    for n in range(5, 11):
        members[f"{n:02d}.png"] = b""
    pack(tmp_path / "a.tar", members)
    split = split_shards(tmp_path / "a.tar", 1, "image")
    faces = split._replace(parts={"train": np.arange(30)}).training_faces(SIZE, None, 4)
    with pytest.raises(ValueError, match=r"6 of 6 images .*limit 5%.*the file is empty"):
        faces[5]


def test_damaged_shards_are_refused(tmp_path):
    whole = pack(tmp_path / "0.tar", {f"{n}.png": picture(n) for n in range(5)})
    data = whole.read_bytes()
    for name, damaged in {
        "cut.tar": data[: len(data) // 5],
        "no_end.tar": data[: data.index(b"1.png")],
        "middle.tar": data.replace(b"3.png", b"3.jpg", 1),
        "text.tar": b"no tar file" * 200,
        "empty.tar": b"",
    }.items():
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"{name}.*damaged.*pack or fetch it anew"):
            split_shards(tmp_path / name, 1, "image")
    pack(tmp_path / "other.tar", {"1.txt": b"text"})
    with pytest.raises(ValueError, match="no images in 1 shards"):
        split_shards(tmp_path / "other.tar", 1, "image")


def test_tar_files_joined_by_cat_and_names_with_further_dots_are_said(tmp_path, caplog):
    parts = [pack(tmp_path / f"{n}.tar", {f"{n}.png": picture(n)}).read_bytes() for n in range(2)]
    (tmp_path / "joined.tar").write_bytes(b"".join(parts))
    with pytest.raises(ValueError, match="goes on after its end"):
        split_shards(tmp_path / "joined.tar", 0, "image")
    pack(tmp_path / "dots.tar", {f"face.{n}.png": picture(n) for n in range(7)})
    with pytest.raises(ValueError, match=r"7 of them are images with a further dot"):
        split_shards(tmp_path / "dots.tar", 0, "image")


def test_an_evaluation_tells_faces_that_shards_were_trained_on(folder, tmp_path):
    split = split_shards(folder / "{000..003}.tar", 0, "image")
    split.save(tmp_path / "split.json")
    trained, held = split.faces("train", 1).names[0], split.faces("test", 1).names[0]
    pairs = [SimpleNamespace(image=name, image_sha256="") for name in (trained, held)]
    member = SimpleNamespace(
        split=tmp_path / "split.json", data=SimpleNamespace(faces=str(folder / "{000..003}.tar"))
    )
    group = SimpleNamespace(
        faces=folder / "{000..003}.tar", pairs=SimpleNamespace(pairs=pairs, size=40)
    )
    assert faces_seen(member, group) == 1
    group.faces = tmp_path
    assert faces_seen(member, group) == 0


def test_names_of_shards(folder, tmp_path):
    assert shard_pattern(folder, "*.tar") == folder / "*.tar"
    assert [p.name for p in list_shards(folder / "{00{1..2},*}.tar")] == [
        "001.tar", "002.tar", "000.tar", "003.tar",
    ]  # fmt: skip
    with pytest.raises(FileNotFoundError, match=r"2 of 6 shards missing: 004\.tar, 005\.tar"):
        list_shards(folder / "{000..005}.tar")
    with pytest.raises(FileNotFoundError, match=r"'x/\{0\.\.3\}\.tar': no such shard"):
        shard_pattern(tmp_path, "x/{0..3}.tar")
    for address in ("pipe:cat 0.tar", "https://somewhere/{0..3}.tar", "a.tar::b.tar"):
        with pytest.raises(ValueError, match="must be local files; fetch them first"):
            shard_pattern(None, address)
    with pytest.raises(ValueError, match="compressed; shards must be plain"):
        shard_pattern(folder, "000.tar.gz")
    with pytest.raises(ValueError, match="no pattern of shards"):
        shard_pattern(folder, "{000..003.tar")


def test_shards_go_with_no_second_folder(folder):
    also = {"faces": "x", "template": "utkface"}
    with pytest.raises(ValueError, match="with a folder of faces, not with shards"):
        open_sources(Data(faces=str(folder / "000.tar"), also=also), None)
