import json

import numpy as np
import pytest
from PIL import Image

from data.faces import builtin_faces
from data.masks import RATIO_BINS, MaskFolder, MaskGenerator, touches_border
from data.pairs import freeze, pair_folders


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


def test_hash_follows_images_masks_and_size_only():
    pairs = frozen()
    assert frozen().hash == pairs.hash
    assert frozen(seed=1).hash != pairs.hash
    assert frozen(per_bin=2).hash != pairs.hash
    assert frozen(size=48).hash != pairs.hash
    assert frozen(count=2).hash != pairs.hash
    pairs.description = "other words"
    assert pairs._digest() == pairs.hash


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


@pytest.fixture
def folders(tmp_path):
    for i, name in enumerate(("ann", "bob", "eve")):
        write(tmp_path / "images" / f"{name}.png", np.full((40, 30, 3), 50 * i, np.uint8))
        mask = np.zeros((20, 15), np.uint8)
        mask[5 : 8 + i, 4:9] = 255
        write(tmp_path / "masks" / f"{name}.png", mask)
    return tmp_path


def test_your_own_files_pair_by_stem(folders):
    pairs = pair_folders(folders / "images", folders / "masks", 32)
    assert [(p.image, p.mask) for p in pairs.pairs] == [
        (f"{n}.png", f"{n}.png") for n in ("ann", "bob", "eve")
    ]
    image, mask = pairs.load(2)
    assert image.shape == (32, 32, 3)
    assert mask.shape == (32, 32)
    assert set(np.unique(mask)) == {0, 1}
    # the mask is cropped like its image: 15 of 20 rows, of which the hole takes rows 3 to 7
    assert mask.mean() == pytest.approx(25 / 225, rel=0.15)


def test_one_mask_serves_all_and_order_pairs_by_position(folders):
    one = pair_folders(folders / "images", folders / "masks" / "bob.png", 32)
    assert {p.mask for p in one.pairs} == {"bob.png"}
    (folders / "masks" / "ann.png").rename(folders / "masks" / "zoe.png")
    ordered = pair_folders(folders / "images", folders / "masks", 32, by="order")
    assert [p.mask for p in ordered.pairs] == ["bob.png", "eve.png", "zoe.png"]
    with pytest.raises(ValueError, match=r"1 of 3.*ann\.png"):
        pair_folders(folders / "images", folders / "masks", 32)


def test_inverted_files_are_flipped(folders):
    plain = pair_folders(folders / "images", folders / "masks", 32)
    inverted = pair_folders(folders / "images", folders / "masks", 32, invert=True)
    for index in range(3):
        assert (plain.load(index)[1] + inverted.load(index)[1] == 1).all()


def test_unusable_pairs_are_named(folders):
    write(folders / "masks" / "bob.png", np.zeros((20, 15), np.uint8))
    with pytest.raises(ValueError, match=r"bob\.png.*all zero"):
        pair_folders(folders / "images", folders / "masks", 32)
    (folders / "masks" / "eve.png").unlink()
    with pytest.raises(ValueError, match="3 images but 2 masks"):
        pair_folders(folders / "images", folders / "masks", 32, by="order")
    with pytest.raises(ValueError, match="stem, order"):
        pair_folders(folders / "images", folders / "masks", 32, by="name")
    with pytest.raises(FileNotFoundError):
        pair_folders(folders / "nowhere", folders / "masks", 32)
