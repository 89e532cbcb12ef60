import json

import numpy as np
import pytest
from PIL import Image

from deocclude.data.faces.files import builtin_faces
from deocclude.data.masks.source import RATIO_BINS, MaskFolder, MaskGenerator, touches_border
from deocclude.data.pairs.holes import FrozenPairs, _combine, freeze
from deocclude.data.pairs.tensors import batches


def frozen(per_bin=4, seed=0, count=3, size=32):
    return freeze(builtin_faces("test", count, size), MaskGenerator(size, seed), "test", per_bin)


def test_pairs_fill_every_bin_half_of_them_touching_the_border():
    pairs = frozen()
    assert len(pairs) == 24
    for index, pair in enumerate(pairs.pairs):
        image, mask = pairs.load(index)
        low, high = RATIO_BINS[pair.bin]
        assert low < mask.mean() <= high
        assert pair.hole_ratio == pytest.approx(mask.mean(), abs=1e-6)
        assert touches_border(mask) == pair.border
        assert image.shape == (32, 32, 3)
    for ratio_bin in range(6):
        borders = [p.border for p in pairs.pairs if p.bin == ratio_bin]
        assert borders.count(True) == 2


def test_every_mask_of_a_folder_is_used_before_one_returns(tmp_path):
    """Also when the folder has some bins and classes only."""
    for i in range(40):
        mask = np.zeros((32, 32), np.uint8)
        mask[2 : 14 + i % 5, 2 + i // 5 : 16] = 255
        write(tmp_path / "test" / f"{i}.png", mask)
        write(tmp_path / "train" / f"{i}.png", mask.T)
    masks = MaskFolder(tmp_path, 32)
    pairs = freeze(builtin_faces("test", 3, 32), masks, "test", 12)
    assert {p.bin for p in pairs.pairs} == {bin for bin, _ in masks.cells("test")}
    assert not any(p.border for p in pairs.pairs)
    for ratio_bin in {p.bin for p in pairs.pairs}:
        used = {p.mask_sha256 for p in pairs.pairs if p.bin == ratio_bin}
        there = masks._cells["test"][ratio_bin, False]
        assert len(used) == min(12, len(there))


def test_no_image_meets_the_same_mask_twice(tmp_path, caplog):
    """A folder has a few masks a class only: no more pairs are listed than there are."""
    for split in ("train", "test"):
        for i in range(6):
            mask = np.zeros((32, 32), np.uint8)
            mask[0 if i < 2 else 2 : 14, 2 + i : 20] = 255
            write(tmp_path / split / f"{i}.png", mask if split == "test" else mask.T)
    masks = MaskFolder(tmp_path, 32)
    faces = builtin_faces("test", 4, 32)
    pairs = freeze(faces, masks, "test", 100)
    listed = [(p.image_sha256, p.mask_sha256) for p in pairs.pairs]
    assert len(set(listed)) == len(listed) == 4 * 6
    assert "4 distinct images, 24 pairs" in pairs.description
    assert "(0.2, 0.3]" in caplog.text
    few = freeze(faces, masks, "test", 4).pairs
    for ratio_bin in {p.bin for p in few}:
        assert len({p.image for p in few if p.bin == ratio_bin}) == 4
    plenty = freeze(faces, MaskGenerator(32), "test", 20)
    assert len({(p.image_sha256, p.mask_sha256) for p in plenty.pairs}) == len(plenty) == 120
    for border in (False, True):  # no image is tied to one class of masks
        assert len({p.image for p in plenty.pairs if p.border == border}) == 4


@pytest.mark.parametrize("images", [1, 2, 3, 4, 7, 12])
@pytest.mark.parametrize("rooms", [{False: 3}, {False: 4, True: 6}, {True: 12, False: 1}])
def test_combinations_come_once_each_until_all_are_used(images, rooms):
    cells = _combine(0, rooms, images, 10_000)
    assert len(set(cells)) == len(cells) == images * sum(rooms.values())
    assert cells[:5] == _combine(0, rooms, images, 5)


def test_copies_of_one_file_count_once(tmp_path):
    mask = np.zeros((32, 32), np.uint8)
    mask[4:14, 4:20] = 255
    for name in ("test/a", "test/b", "train/c"):
        write(tmp_path / f"{name}.png", mask if "test" in name else mask.T)
    assert len(freeze(builtin_faces("test", 3, 32), MaskFolder(tmp_path, 32), "test", 9)) == 3


def test_an_interrupted_save_keeps_the_last_list(tmp_path, monkeypatch):
    frozen().save(tmp_path / "pairs.json")
    before = (tmp_path / "pairs.json").read_text()

    def full(self, text, encoding):
        self.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr("deocclude.data.pairs.frozen.Path.write_text", full)
    with pytest.raises(OSError, match="No space"):
        frozen(seed=1).save(tmp_path / "pairs.json")
    assert [p.name for p in tmp_path.iterdir()] == ["pairs.json"]
    assert (tmp_path / "pairs.json").read_text() == before


def test_hash_follows_images_masks_and_size_only():
    pairs = frozen()
    assert frozen().hash == pairs.hash
    assert frozen(seed=1).hash != pairs.hash
    assert frozen(per_bin=2).hash != pairs.hash
    assert frozen(size=48).hash != pairs.hash
    assert frozen(count=2).hash != pairs.hash
    renamed = FrozenPairs(pairs.pairs, pairs.load, pairs.size, "other words")
    assert renamed.hash == pairs.hash


def test_a_saved_list_is_checked(tmp_path):
    pairs = frozen()
    pairs.save(tmp_path / "pairs.json")
    pairs.check_against(tmp_path / "pairs.json")
    assert json.loads((tmp_path / "pairs.json").read_text())["hash"] == pairs.hash
    with pytest.raises(ValueError, match="pair 0"):
        frozen(seed=1).check_against(tmp_path / "pairs.json")


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def test_batches_cover_every_pair_once():
    assert [list(part) for part in batches(range(5), 2)] == [[0, 1], [2, 3], [4]]
    assert list(batches([], 2)) == []
