"""Cut-outs from files: transparency, categories, splits, bad files."""

import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deocclude.data.images import ImageReadError
from deocclude.data.occluders.cutouts import WORKING_SIDE, category_of, open_cutouts, read_cutout
from deocclude.data.seeding import keyed_rng


def noise(seed: int, height: int = 30, width: int = 40) -> np.ndarray:
    """A cut-out with a colour pattern of its own and a transparent frame of 5 pixels."""
    rng = np.random.default_rng(seed)
    rgba = np.zeros((height, width, 4), np.uint8)
    blocks = rng.integers(60, 255, (8, 12, 3), dtype=np.uint8)
    inner = np.asarray(Image.fromarray(blocks).resize((width - 10, height - 10)))
    rgba[5:-5, 5:-5, :3] = inner
    rgba[5:-5, 5:-5, 3] = 255
    return rgba


def write(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def make_folder(root: Path, names: list[str]) -> Path:
    for number, name in enumerate(names):
        write(root / f"{name}.png", noise(number))
    return root


@pytest.mark.parametrize(
    ("path", "category"),
    [
        ("train/sunglasses_071.png", "sunglasses"),
        ("masks/12.png", "facemask"),
        ("face-mask_3.png", "facemask"),
        ("hands/sunglasses_1.png", "hand"),
        ("01_glasses.png", "eyeglasses"),
        ("scarves/a.png", "scarf"),
        ("Hats/b/c.png", "hat"),
        ("mug2.png", "cup"),
        ("phones/x.png", "phone"),
        ("banana.png", "object"),
        ("7.png", "object"),
    ],
)
def test_the_category_comes_from_folders_then_from_the_name(path, category):
    assert category_of(Path(path)) == category


def test_a_cutout_is_cropped_and_keeps_its_colour(tmp_path):
    rgba = noise(1)
    cutout = read_cutout(write(tmp_path / "a.png", rgba), "hat")
    np.testing.assert_array_equal(cutout.rgba, rgba[5:-5, 5:-5])
    assert (cutout.name, cutout.category) == ("a.png", "hat")


def test_empty_pixels_take_the_nearest_colour_so_that_edges_get_no_dark_fringe(tmp_path):
    rgba = np.zeros((20, 20, 4), np.uint8)
    rgba[::19, ::19] = (10, 200, 30, 255)
    rgba[4:8, 4:8] = (250, 10, 10, 255)
    found = read_cutout(write(tmp_path / "a.png", rgba), "object").rgba
    assert (found[..., 3] == rgba[..., 3]).all()
    assert tuple(found[10, 6]) == (250, 10, 10, 0)
    assert tuple(found[18, 18]) == (10, 200, 30, 0)


def test_a_black_background_is_removed_and_enclosed_black_stays(tmp_path):
    rgb = np.zeros((40, 40, 3), np.uint8)
    rgb[8:32, 8:32] = (200, 180, 20)
    rgb[16:24, 16:24] = 0
    found = read_cutout(write(tmp_path / "a.png", rgb), "sunglasses").rgba
    assert found.shape == (24, 24, 4)
    assert found[12, 12, 3] == 255
    assert tuple(found[12, 12, :3]) == (0, 0, 0)
    assert found[4, 4, 3] == 255


def test_an_alpha_channel_that_hides_nothing_counts_as_none(tmp_path):
    rgba = np.zeros((40, 40, 4), np.uint8)
    rgba[..., 3] = 255
    rgba[8:32, 10:30, :3] = (200, 180, 20)
    found = read_cutout(write(tmp_path / "a.png", rgba), "cup").rgba
    assert found.shape == (24, 20, 4)
    rgba[..., :3] = 90
    with pytest.raises(ImageReadError, match="no transparency and no black background"):
        read_cutout(write(tmp_path / "b.png", rgba), "cup")


def test_palette_and_grey_transparency_are_read(tmp_path):
    rgba = Image.fromarray(noise(2))
    rgba.convert("LA").save(tmp_path / "grey.png")
    palette = rgba.convert("RGB").quantize(16)
    palette.info["transparency"] = palette.getpixel((0, 0))
    palette.save(tmp_path / "palette.png")
    for name in ("grey.png", "palette.png"):
        assert read_cutout(tmp_path / name, "scarf").rgba.shape == (20, 30, 4)


def test_large_ones_are_reduced_and_thin_ones_survive(tmp_path):
    long = np.full((1, 2000, 4), 254, np.uint8)
    assert read_cutout(write(tmp_path / "a.png", long), "object").rgba.shape == (1, WORKING_SIDE, 4)
    one = np.full((1, 1, 4), 254, np.uint8)
    assert read_cutout(write(tmp_path / "b.png", one), "object").rgba.shape == (1, 1, 4)


def test_what_cannot_be_a_cutout_says_what_is_needed(tmp_path):
    photo = write(tmp_path / "photo.png", np.full((20, 20, 3), 120, np.uint8))
    with pytest.raises(ImageReadError, match=r"photo.png.*no transparency and no black background"):
        read_cutout(photo, "object")
    for name, empty in (("rgba", (20, 20, 4)), ("black", (20, 20, 3))):
        with pytest.raises(ImageReadError, match="nothing visible"):
            read_cutout(write(tmp_path / f"{name}.png", np.zeros(empty, np.uint8)), "object")
    with pytest.raises(ValueError, match=r"'spoon'.*sunglasses"):
        read_cutout(photo, "spoon")


def test_a_folder_without_splits_is_cut_by_name_and_seed(tmp_path):
    names = [f"{kind}_{i}" for kind in ("scarf", "hat") for i in range(20)]
    folder = make_folder(tmp_path, names)
    library = open_cutouts(folder)
    train, held = set(library.names("train")), set(library.names("val"))
    assert len(train | held) == 40
    assert 3 <= len(held) <= 14
    assert not train & held
    assert library.names("test") == library.names("val")
    assert library.categories("val") == ["scarf", "hat"]
    assert open_cutouts(folder).names("val") == library.names("val")
    assert any(open_cutouts(folder, s).names("val") != library.names("val") for s in range(5))


def test_new_files_never_move_what_was_trained_on_to_the_test(tmp_path):
    names = [f"sunglasses_{i:02d}" for i in range(20)]
    before = open_cutouts(make_folder(tmp_path, names[1::2])).files
    after = open_cutouts(make_folder(tmp_path, [*names, "hats/a", "00"])).files
    for split in ("train", "test"):
        assert set(before[split]) <= set(after[split])


@pytest.mark.parametrize("seed", range(12))
def test_two_files_are_one_to_train_on_and_one_to_measure_on(tmp_path, seed):
    library = open_cutouts(make_folder(tmp_path, ["hat_1", "cup_1"]), seed)
    assert len(library.files["train"]) == len(library.files["val"]) == 1


def test_given_splits_are_kept_and_a_missing_test_is_val(tmp_path):
    folder = make_folder(tmp_path, ["train/hat_1", "train/cup_1", "val/cup_2"])
    library = open_cutouts(folder)
    assert library.names("train") == ["train/cup_1.png", "train/hat_1.png"]
    assert library.names("val") == library.names("test") == ["val/cup_2.png"]
    assert library.describe()["files"]["train"] == {"cup": 1, "hat": 1}
    with pytest.raises(ValueError, match=r"'dev'.*train, val, test"):
        library.items("dev")


def test_a_missing_val_is_cut_from_train(tmp_path):
    library = open_cutouts(make_folder(tmp_path, [f"train/hat_{i}" for i in range(10)]))
    assert len(library.names("train")) + len(library.names("val")) == 10
    assert library.names("val")
    assert not set(library.names("train")) & set(library.names("val"))


def test_training_never_sees_a_copy_of_what_is_measured_on(tmp_path):
    make_folder(tmp_path, ["train/hat_1", "train/hat_2", "train/hat_3", "val/hat_9"])
    write(tmp_path / "train/hat_4.png", np.ascontiguousarray(noise(3)[:, ::-1]))
    library = open_cutouts(tmp_path)
    assert library.names("train") == [f"train/hat_{i}.png" for i in (1, 2, 3)]
    assert "train/hat_4.png" in str(library.describe())


def test_training_never_sees_what_is_measured_on_in_other_colours(tmp_path):
    make_folder(tmp_path, ["train/hat_1", "train/hat_2", "train/hat_3", "val/hat_9"])
    dyed = np.uint8(noise(3) * [0.3, 0.9, 0.5, 1.0])
    write(tmp_path / "train/hat_4.png", np.ascontiguousarray(dyed[:, ::-1]))
    assert open_cutouts(tmp_path).names("train") == [f"train/hat_{i}.png" for i in (1, 2, 3)]


def test_picks_are_a_function_of_the_generator(tmp_path):
    library = open_cutouts(make_folder(tmp_path, [f"train/hat_{i}" for i in range(8)] + ["val/a"]))
    again = pickle.loads(pickle.dumps(library))
    for index in range(10):
        first = library.pick("train", None, keyed_rng(index))
        second = again.pick("train", "hat", keyed_rng(index))
        assert first.category == "hat"
        np.testing.assert_array_equal(
            library.pick("train", None, keyed_rng(index)).rgba, first.rgba
        )
        assert second.name in library.names("train")
    with pytest.raises(ValueError, match=r"'cup'.*hat"):
        library.pick("train", "cup", keyed_rng(0))


def test_each_category_is_equally_likely_however_many_it_holds(tmp_path):
    names = [f"train/hat_{i}" for i in range(9)] + ["train/cup_1", "val/a"]
    library = open_cutouts(make_folder(tmp_path, names))
    rng = keyed_rng(0)
    cups = sum(library.pick("train", None, rng).category == "cup" for _ in range(400))
    assert 150 < cups < 250


def test_few_bad_files_are_reported_and_many_refused(tmp_path, caplog):
    folder = make_folder(tmp_path, [f"train/hat_{i:02d}" for i in range(25)] + ["val/cup"])
    (folder / "train/hat_99.png").write_bytes(b"not a picture")
    with caplog.at_level(logging.WARNING):
        assert len(open_cutouts(folder).items("train")) == 25
    assert "hat_99.png" in caplog.text
    write(folder / "train/hat_98.png", np.full((9, 9, 3), 99, np.uint8))
    with pytest.raises(ValueError, match=r"2 of 27 occluders"):
        open_cutouts(folder).items("train")


def test_a_folder_without_images_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no occluder images"):
        open_cutouts(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        open_cutouts(tmp_path / "gone")


def test_real_training_cutouts_hold_no_copy_of_the_validation(real_data):
    library = open_cutouts(real_data / "occluders")
    library.items("train")
    for number in ("014", "019"):
        assert library.twins[f"train/facemask_{number}.png"] == "val/facemask_007.png"
    for number, twin in (("071", "022"), ("027", "022"), ("028", "022"), ("100", "023")):
        assert library.twins[f"train/sunglasses_{number}.png"] == f"val/sunglasses_{twin}.png"
    assert len(library.twins) < 20


def test_the_real_cutouts_are_all_read(real_data):
    library = open_cutouts(real_data / "occluders")
    for split in ("train", "val"):
        assert {"sunglasses", "eyeglasses", "facemask", "scarf"} <= set(library.categories(split))
    for item in library.items("val"):
        assert max(item.rgba.shape) <= WORKING_SIDE
        assert item.rgba[..., 3].max() > 200


@pytest.mark.parametrize("names", [("train", "validation"), ("Training", "testing")])
def test_splits_of_cutouts_go_by_the_usual_names(tmp_path, names):
    """`validation` was ignored, and what lay in it trained on as soon as train was there."""
    train, held = names
    folder = make_folder(tmp_path, [f"{train}/hat_1", f"{train}/cup_1", f"{held}/cup_2", "extra/a"])
    library = open_cutouts(folder)
    assert library.names("train") == [f"{train}/cup_1.png", f"{train}/hat_1.png"]
    assert library.names("val") == library.names("test") == [f"{held}/cup_2.png"]
    assert library.rule.startswith("given sub-folders, ")
