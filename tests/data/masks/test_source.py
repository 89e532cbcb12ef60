import json
import pickle
import warnings

import numpy as np
import pytest
from PIL import Image

from deocclude.data.masks.shapes import HoleArea, _grow
from deocclude.data.masks.source import (
    KINDS,
    RATIO_BINS,
    MaskFolder,
    MaskGenerator,
    MaskSpec,
    bin_of,
    generate_mask,
    touches_border,
)
from deocclude.data.seeding import keyed_rng

CELLS = [(bin, border) for bin in range(len(RATIO_BINS)) for border in (False, True)]


def write_mask(path, ratio, border=False, side=40, offset=0):
    """A square hole of about this ratio, in the corner or in the middle; `offset` varies it."""
    mask = np.zeros((side, side), np.uint8)
    hole = round(side * ratio**0.5)
    start = 0 if border else max(1, (side - hole) // 2)
    mask[start : start + hole, start : start + hole] = 255
    mask[side // 2, side // 2] = 128 + offset % 128  # still a hole, another file content
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path)


@pytest.fixture
def mask_folder(tmp_path):
    ratios = [0.05, 0.15, 0.25, 0.35, 0.45, 0.55]
    for index in range(96):
        border, ratio = index % 2 == 0, ratios[index // 2 % 6]
        write_mask(tmp_path / f"{index:03d}.png", ratio, border, offset=index)
    return tmp_path


def test_bins_are_open_below_and_closed_above():
    assert bin_of(0.01) is None
    assert bin_of(0.1) == 0
    assert bin_of(0.1 + 1e-9) == 1
    assert bin_of(0.6) == 5
    assert bin_of(0.61) is None
    assert bin_of(0.0) is None


@pytest.mark.parametrize("size", [16, 32, 33, 64, 256, (32, 200), (97, 41)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_ratio_and_border_are_as_asked(size, kind):
    shape = (size, size) if isinstance(size, int) else size
    for bin, border in CELLS:
        for index in range(12):
            rng = keyed_rng(7, kind, bin, int(border), index)
            mask = generate_mask(size, bin, border, rng, (kind,))
            assert mask.shape == shape
            assert mask.dtype == np.uint8
            assert set(np.unique(mask)) == {0, 1}
            assert bin_of(float(mask.mean())) == bin
            assert bin_of(float(mask.mean(dtype=np.float32))) == bin
            assert touches_border(mask) == border


def test_growing_ends_on_the_exact_area_inside_the_box():
    for start in (None, (20, 20)):
        mask = np.zeros((40, 40), np.uint8)
        if start:
            mask[start] = 1
        _grow(mask, HoleArea(2, 2, 37, 37), 900, keyed_rng(0))
        assert mask.sum() == 900
        assert not touches_border(mask)


def test_same_keys_same_mask_other_keys_other_mask():
    a, b = MaskGenerator(64, seed=3), MaskGenerator(64, seed=3)
    np.testing.assert_array_equal(a.draw("train", 2, 17), b.draw("train", 2, 17))
    np.testing.assert_array_equal(a.fixed("val", 5, 2, True), b.fixed("val", 5, 2, True))
    drawn = {a.draw("train", epoch, i).tobytes() for epoch in range(4) for i in range(25)}
    assert len(drawn) == 100
    other = MaskGenerator(64, seed=4)
    assert not np.array_equal(a.draw("train", 0), other.draw("train", 0))
    assert not np.array_equal(a.draw("train", 0), a.draw("test", 0))
    assert not np.array_equal(a.fixed("val", 0, 3, True), a.fixed("test", 0, 3, True))


def test_training_draws_every_cell_about_equally():
    masks = MaskGenerator(32)
    drawn = [masks.draw("train", index) for index in range(1200)]
    counts = {cell: 0 for cell in CELLS}
    for mask in drawn:
        counts[bin_of(mask.mean()), touches_border(mask)] += 1
    assert min(counts.values()) > 60
    assert max(counts.values()) < 150
    everywhere = np.mean(drawn, axis=0)
    assert everywhere.min() > 0.03
    assert everywhere.max() < 0.6


def test_spec_survives_json_and_gives_the_mask_back():
    masks = MaskGenerator((48, 64))
    bin, border, key = json.loads(json.dumps(masks.spec("test", 11, 4, False)))
    again = masks.load(MaskSpec(bin, border, tuple(key)))
    np.testing.assert_array_equal(again, masks.fixed("test", 11, 4, False))
    json.dumps(masks.describe())


def test_impossible_arguments_are_named():
    with pytest.raises(ValueError, match=r"at least 16 px.*8"):
        MaskGenerator(8)
    with pytest.raises(ValueError, match=r"bin: must be 0 to 5, found 6"):
        MaskGenerator(32).fixed("val", 0, 6, True)
    with pytest.raises(ValueError, match="train, val, test, found 'valid'"):
        MaskGenerator(32).draw("valid", 0)
    with pytest.raises(ValueError, match="squares"):
        generate_mask(32, 0, True, keyed_rng(0), ("squares",))


def test_folder_bins_and_draws_by_measured_ratio(mask_folder):
    masks = MaskFolder(mask_folder, 64)
    assert sum(len(names) for names in masks.names.values()) == 96
    assert set(masks.cells("train")) == set(CELLS)
    for index in range(40):
        mask = masks.draw("train", index)
        assert mask.shape == (64, 64)
        assert set(np.unique(mask)) <= {0, 1}
    for split in ("train", "val", "test"):
        for bin, border in masks.cells(split):
            mask = masks.fixed(split, 0, bin, border)
            assert bin_of(mask.mean()) == bin
            assert touches_border(mask) == border
    json.dumps(masks.describe())


def test_folder_is_the_same_in_another_process_and_order_of_calls(mask_folder):
    one, two = MaskFolder(mask_folder, 32), MaskFolder(mask_folder, 32)
    two.draw("train", 99)
    spawned = pickle.loads(pickle.dumps(one))
    assert not spawned._bits
    for index in range(20):
        np.testing.assert_array_equal(one.draw("train", index), two.draw("train", index))
        np.testing.assert_array_equal(one.draw("train", index), spawned.draw("train", index))
    bin, border = one.cells("test")[0]
    np.testing.assert_array_equal(
        one.load(one.spec("test", 3, bin, border)), two.fixed("test", 3, bin, border)
    )


def test_splits_are_disjoint_at_every_size_and_keep_copies_together(mask_folder):
    for path in sorted(mask_folder.glob("*.png")):
        (mask_folder / f"copy_{path.name}").write_bytes(path.read_bytes())
    small, large = MaskFolder(mask_folder, 32), MaskFolder(mask_folder, 64)
    origin = {s: {n.removeprefix("copy_") for n in small.names[s]} for s in small.names}
    assert not origin["train"] & origin["val"]
    assert not origin["train"] & origin["test"]
    assert not origin["val"] & origin["test"]
    assert [len(origin[s]) for s in ("train", "val", "test")] == [76, 10, 10]
    assert set(small.names["test"]) == set(large.names["test"])
    other = MaskFolder(mask_folder, 32, seed=1)
    assert set(other.names["test"]) != set(small.names["test"])


def test_given_split_folders_are_kept(tmp_path):
    for split, count in (("train", 6), ("val", 2), ("test", 3)):
        for index in range(count):
            write_mask(tmp_path / split / f"{index}.png", 0.3, offset=index + len(split) * 10)
    names = MaskFolder(tmp_path, 32).names
    assert [len(names[split]) for split in ("train", "val", "test")] == [6, 2, 3]
    assert all(name.startswith("test/") for name in names["test"])


def test_a_missing_val_folder_is_taken_out_of_train(tmp_path):
    for split, count in (("train", 20), ("test", 3)):
        for index in range(count):
            write_mask(tmp_path / split / f"{index}.png", 0.3, offset=index + 30 * len(split))
    write_mask(tmp_path / "test" / "leak.png", 0.3, offset=30 * len("train"))
    write_mask(tmp_path / "loose.png", 0.3)
    with (
        pytest.warns(UserWarning, match=r"1 files outside .*loose\.png"),
        pytest.warns(UserWarning, match="1 files of train are also in val or test"),
    ):
        names = MaskFolder(tmp_path, 32).names
    assert [len(names[split]) for split in ("train", "val", "test")] == [17, 2, 4]
    assert "train/0.png" not in names["train"] + names["val"]


def test_empty_cell_lists_those_that_exist(tmp_path):
    for index in range(30):
        write_mask(tmp_path / f"{index}.png", 0.25, border=True, offset=index)
    masks = MaskFolder(tmp_path, 32)
    with pytest.raises(
        ValueError, match=r"no test mask .*\(0.4, 0.5\] clear of.*exist: \(0.2, 0.3\] border"
    ):
        masks.fixed("test", 0, 4, False)
    for index in range(20):
        mask = masks.draw("train", index)
        assert bin_of(mask.mean()) == 2
        assert touches_border(mask)


def test_missing_and_empty_folder_say_what_was_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere: no such folder; expected mask files"):
        MaskFolder(tmp_path / "nowhere", 32)
    (tmp_path / "notes.txt").write_text("no mask")
    with pytest.raises(FileNotFoundError, match="no mask file found; expected mask files"):
        MaskFolder(tmp_path, 32)
    write_mask(tmp_path / "test" / "a.png", 0.2)
    with pytest.raises(FileNotFoundError, match="has test/, but no images in train"):
        MaskFolder(tmp_path, 32)


def test_corrupt_files_are_named_and_skipped_up_to_five_percent(mask_folder):
    good = (mask_folder / "000.png").read_bytes()
    (mask_folder / "broken.png").write_bytes(good[: len(good) // 2])
    with pytest.warns(UserWarning, match=r"1 of 97 mask files that cannot be read.*broken\.png"):
        masks = MaskFolder(mask_folder, 32)
    assert masks.corrupt == ["broken.png"]
    assert masks.describe()["corrupt"] == ["broken.png"]
    for index in range(5):
        (mask_folder / f"bad{index}.png").write_text("not a picture")
    with pytest.raises(ValueError, match=r"6 of 102 mask files cannot be read \(limit 5%\)"):
        MaskFolder(mask_folder, 32)


def test_unusable_ratios_are_counted_and_left_out(mask_folder):
    write_mask(mask_folder / "large.png", 0.8)
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(mask_folder / "zero.png")
    with pytest.warns(UserWarning, match=r"2 of 98 .*1 all zero \(ratio 0\).* 1 above") as caught:
        masks = MaskFolder(mask_folder, 32)
    assert set(masks.left_out) == {"large.png", "zero.png"}
    assert masks.describe()["left_out"] == 2
    assert not any("--invert-mask" in str(item.message) for item in caught)


def test_inverted_set_is_reported_with_its_ratio_and_can_be_flipped(tmp_path):
    for index in range(30):
        write_mask(tmp_path / f"{index}.png", (0.75, 0.85, 0.95)[index % 3], offset=index)
    with pytest.raises(ValueError, match=r"ratio of the set is 0\.8\d.*--invert-mask.*No usable"):
        MaskFolder(tmp_path, 40)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        masks = MaskFolder(tmp_path, 40, invert=True)
    assert masks.draw("train", 0).mean() < 0.3


def test_all_zero_set_is_an_error(tmp_path):
    for index in range(3):
        Image.fromarray(np.zeros((40 + index, 40), np.uint8)).save(tmp_path / f"{index}.png")
    with pytest.raises(ValueError, match=r"3 all zero \(ratio 0\).*No usable mask"):
        MaskFolder(tmp_path, 32)


def test_splits_of_masks_go_by_the_usual_names(tmp_path):
    for index in range(12):
        place = ("Training", "validation", "testing")[min(index // 4, 2)]
        write_mask(tmp_path / place / f"{index}.png", 0.15, offset=index)
    write_mask(tmp_path / "extra" / "a.png", 0.15, offset=99)
    with pytest.warns(UserWarning, match="1 files outside Training, testing, validation"):
        masks = MaskFolder(tmp_path, 32)
    assert sorted(masks.names["val"]) == [f"validation/{i}.png" for i in range(4, 8)]
    assert masks.describe()["files"] == {"train": 4, "val": 4, "test": 4}
    assert masks.rule == "given sub-folders"
