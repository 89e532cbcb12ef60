"""Your own images and masks: who is paired with whom, and which files are left out."""

import numpy as np
import pytest
from PIL import Image

from deocclude.data.pairs.folders import pair_folders


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


def test_masks_with_nothing_to_redraw_are_skipped_and_named(folders, caplog):
    write(folders / "masks" / "bob.png", np.zeros((20, 15), np.uint8))
    pairs = pair_folders(folders / "images", folders / "masks", 32)
    assert [p.image for p in pairs.pairs] == ["ann.png", "eve.png"]
    assert pairs.load(1)[0].max() == 100  # eve's own pixels, not bob's
    assert "skipped 1 masks" in caplog.text
    assert "bob.png: the mask is all zero" in caplog.text
    with pytest.raises(ValueError, match=r"no usable pair among 1: .*bob\.png.*all zero"):
        pair_folders(folders / "images" / "bob.png", folders / "masks" / "bob.png", 32)
    with pytest.raises(ValueError, match=r"no usable pair among 3: .*bob\.png.*all zero"):
        pair_folders(folders / "images", folders / "masks" / "bob.png", 32)


def test_a_few_files_that_cannot_be_read_are_skipped_more_are_an_error(tmp_path, caplog):
    for i in range(20):
        mask = np.zeros((32, 32), np.uint8)
        mask[4:12, 4 : 12 + i % 3] = 255
        write(tmp_path / "images" / f"{i:02}.png", np.full((32, 32, 3), i, np.uint8))
        write(tmp_path / "masks" / f"{i:02}.png", mask)
    (tmp_path / "masks" / "07.png").write_bytes(b"no picture")
    pairs = pair_folders(tmp_path / "images", tmp_path / "masks", 32)
    assert [pairs.load(i)[0][0, 0, 0] for i in range(19)] == [i for i in range(20) if i != 7]
    assert "skipped 1 of 20 images or masks" in caplog.text
    assert "07.png" in caplog.text
    (tmp_path / "images" / "03.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"2 of 20 images or masks cannot be read .*03\.png"):
        pair_folders(tmp_path / "images", tmp_path / "masks", 32)
    with pytest.raises(ValueError, match=r"no usable pair among 20: .*07\.png"):
        pair_folders(tmp_path / "images", tmp_path / "masks" / "07.png", 32)


def test_equal_names_in_two_sub_folders(tmp_path):
    mask = np.zeros((32, 32), np.uint8)
    for i, part in enumerate(("left", "right")):
        mask[4:12, 4 : 12 + i] = 255
        write(tmp_path / "images" / part / "a.png", np.full((32, 32, 3), 90 * i, np.uint8))
        write(tmp_path / "masks" / part / "a.png", mask)
        write(tmp_path / "flat" / "a.png", mask)
    pairs = pair_folders(tmp_path / "images", tmp_path / "masks", 32)
    assert [(p.image, p.mask) for p in pairs.pairs] == [("left/a.png",) * 2, ("right/a.png",) * 2]
    assert pairs.pairs[0].mask_sha256 != pairs.pairs[1].mask_sha256
    with pytest.raises(ValueError, match=r"left.a\.png and .*right.a\.png share the name 'a'"):
        pair_folders(tmp_path / "images", tmp_path / "flat", 32)
    assert len(pair_folders(tmp_path / "images", tmp_path / "flat" / "a.png", 32)) == 2


def test_a_wrong_pairing_is_named(folders):
    (folders / "masks" / "eve.png").unlink()
    with pytest.raises(ValueError, match="3 images but 2 masks"):
        pair_folders(folders / "images", folders / "masks", 32, by="order")
    with pytest.raises(ValueError, match="stem, order"):
        pair_folders(folders / "images", folders / "masks", 32, by="name")
    with pytest.raises(FileNotFoundError):
        pair_folders(folders / "nowhere", folders / "masks", 32)
