"""Paired sets: written, continued, protected against mixing, and read back."""

import hashlib
import logging

import numpy as np
import pytest
from PIL import Image

from deocclude.data.builtin.faces import render_face
from deocclude.data.faces.files import folder_faces
from deocclude.data.image_files import list_images
from deocclude.data.images import ImageReadError
from deocclude.data.occluders.__main__ import main
from deocclude.data.occluders.mixture import Occluders
from deocclude.data.occluders.set_files import LAYOUTS
from deocclude.data.occluders.set_writer import write_set
from deocclude.data.occluders.sets import open_set

SIZE = 32


def add_faces(folder, names, size=SIZE):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(render_face(sum(name.encode()) % 50, size)).save(path)


@pytest.fixture
def faces(tmp_path):
    """A function that lists the folder of three faces anew."""
    add_faces(tmp_path / "faces", ["ann.png", "more/ann.png", "zoe.png"])

    def listed():
        return folder_faces(list_images(tmp_path / "faces"), tmp_path / "faces", SIZE)

    return listed


def tree(folder):
    """Every file's relative path with the SHA-256 of its content."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def drawn(seed=0, preset="drawn"):
    return Occluders(SIZE, None, preset, seed=seed)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_written_is_read_back(tmp_path, faces, layout):
    rows = write_set(faces(), drawn(), tmp_path / "set", 3, layout)
    assert [row.image for row in rows] == ["ann.png"] * 3 + ["more/ann.png"] * 3 + ["zoe.png"] * 3
    pairs = open_set(tmp_path / "set")
    assert pairs.layout == layout
    assert pairs.names == [row.name for row in rows]
    assert pairs.kinds == [row.kind for row in rows]
    for i, row in enumerate(rows):
        target, occluded, mask = pairs.load(i, SIZE)
        face = faces()[i // 3]
        made = drawn().draw(face, "train", row.image, row.number)
        np.testing.assert_array_equal(target, face)
        np.testing.assert_array_equal(mask, made.mask)
        assert row.hole_ratio == pytest.approx(mask.mean(), abs=1e-6)
        if layout == "attention_gan":
            np.testing.assert_array_equal(occluded, made.image)
        else:  # JPEG
            assert np.abs(occluded.astype(int) - made.image).mean() < 6
        inverted = np.asarray(Image.open(tmp_path / "set" / "inverted" / f"{row.name}.png"))
        np.testing.assert_array_equal(inverted > 127, mask == 0)
    assert pairs.load(0, 48)[0].shape == (48, 48, 3)


def test_published_names_of_the_facial_deocclusion_layout(tmp_path, faces):
    write_set(faces(), drawn(), tmp_path / "set", 1, "facial_deocclusion")
    files = tree(tmp_path / "set")
    assert {"Mask/zoe_00_Mask.jpg", "Unmask/zoe_00.png", "masks/zoe_00.png"} <= set(files)
    assert {"Mask/more__ann_00_Mask.jpg", "Unmask/more__ann_00.png"} <= set(files)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_set_that_was_cut_off_goes_on_to_the_same_files(tmp_path, faces, layout, monkeypatch):
    write_set(faces(), drawn(), tmp_path / "whole", 4, layout)
    draw, left = Occluders.draw, [5]

    def cut_off(self, *arguments, **options):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return draw(self, *arguments, **options)

    monkeypatch.setattr(Occluders, "draw", cut_off)
    part = tmp_path / "part"
    with pytest.raises(KeyboardInterrupt):
        write_set(faces(), drawn(), part, 4, layout)
    index = (part / "index.csv").read_text(encoding="utf-8")
    (part / "index.csv").write_text(index[:-40], encoding="utf-8")  # the last line was cut off, too
    (part / LAYOUTS[layout].mask.format(pair="ann_01")).write_bytes(b"damaged")
    left[0] = 9  # 12 pairs, 5 made, one of them cut off and one damaged
    write_set(faces(), drawn(), part, 4, layout)
    assert left[0] == 0
    assert tree(part) == tree(tmp_path / "whole")


def test_what_exists_whole_is_not_made_again(tmp_path, faces, monkeypatch):
    rows = write_set(faces(), drawn(), tmp_path / "set", 2)
    monkeypatch.setattr(Occluders, "draw", None)
    assert write_set(faces(), drawn(), tmp_path / "set", 2) == rows


def test_more_faces_and_more_pairs_change_nothing_that_was_there(tmp_path, faces):
    write_set(faces(), drawn(), tmp_path / "set", 2)
    before = tree(tmp_path / "set")
    add_faces(tmp_path / "faces", ["bea.png"])
    rows = write_set(faces(), drawn(), tmp_path / "set", 3)
    after = tree(tmp_path / "set")
    assert len(rows) == 12
    assert {k: v for k, v in after.items() if k in before and k != "index.csv"} == {
        k: v for k, v in before.items() if k != "index.csv"
    }


def test_other_settings_or_other_faces_are_refused(tmp_path, faces):
    write_set(faces(), drawn(), tmp_path / "set", 1)
    before = tree(tmp_path / "set")
    with pytest.raises(ValueError, match="seed was 0, now 5"):
        write_set(faces(), drawn(seed=5), tmp_path / "set", 1)
    with pytest.raises(ValueError, match=r"layout was 'attention_gan'.*kinds was None.*'none'"):
        write_set(faces(), drawn(), tmp_path / "set", 1, "facial_deocclusion", kinds=["none"])
    add_faces(tmp_path / "faces", ["zoe.png"], size=40)
    with pytest.raises(ValueError, match=r"zoe\.png: is not the picture"):
        write_set(faces(), drawn(), tmp_path / "set", 1)
    assert tree(tmp_path / "set") == before


def test_a_folder_with_something_else_is_refused(tmp_path, faces):
    with pytest.raises(ValueError, match="holds something else"):
        write_set(faces(), drawn(), tmp_path / "faces", 1)


def test_overwrite_deletes_what_the_index_lists_and_nothing_else(tmp_path, faces):
    output = tmp_path / "set"
    write_set(faces(), drawn(), output, 2)
    (output / "masks" / "notes.txt").write_text("mine", encoding="utf-8")
    write_set(faces(), drawn(seed=1), output, 1, overwrite=True)
    write_set(faces(), drawn(seed=1), tmp_path / "fresh", 1)
    files = tree(output)
    files.pop("masks/notes.txt")
    assert files == tree(tmp_path / "fresh")


def test_kinds_are_dealt_in_turn(tmp_path, faces):
    rows = write_set(faces(), drawn(), tmp_path / "set", 4, kinds=["patch", "noise", "none"])
    assert [row.kind for row in rows] == ["patch", "noise", "none", "patch"] * 3
    with pytest.raises(ValueError, match=r"kinds hat: not among patch, blur"):
        write_set(faces(), drawn(), tmp_path / "other", 4, kinds=["patch", "hat"])


def test_bad_faces_are_skipped_and_named(tmp_path, faces, caplog):
    add_faces(tmp_path / "faces", [f"{i}.png" for i in range(20)])
    (tmp_path / "faces" / "bad.png").write_bytes(b"no picture")
    with caplog.at_level(logging.WARNING):
        rows = write_set(faces(), drawn(), tmp_path / "set", 1)
    assert len(rows) == 23
    assert "skipped 1 of 24 faces" in caplog.text
    assert "bad.png" in caplog.text
    (tmp_path / "faces" / "worse.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="2 of 25 faces cannot be read"):
        write_set(faces(), drawn(), tmp_path / "set", 1)


def test_faces_that_would_share_a_name_are_refused(tmp_path, faces):
    add_faces(tmp_path / "faces", ["more__ann.png"])
    with pytest.raises(ValueError, match="would be written under one name, 'more__ann'"):
        write_set(faces(), drawn(), tmp_path / "set", 1)


def test_unknown_layout_lists_the_valid_ones(tmp_path, faces):
    with pytest.raises(ValueError, match="'celeb' is not one of attention_gan, facial_deocclusion"):
        write_set(faces(), drawn(), tmp_path / "set", 1, "celeb")


def foreign(folder, size=64):
    """Two pairs as a set without index holds them; the true masks."""
    masks = {}
    for i, kind in enumerate(("facemask_drawn", "patch")):
        face = render_face(i, size)
        made = Occluders(size, None, "drawn").fixed(face, "train", kind, i)
        masks[f"{i:04d}"] = made.mask
        for part, suffix, picture in (
            ("Mask", "_Mask.jpg", made.image),
            ("Unmask", ".png", face),
        ):
            (folder / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(folder / part / f"{i:04d}{suffix}", quality=95)
    return masks


def test_masks_come_from_the_difference_where_a_set_has_none(tmp_path):
    true = foreign(tmp_path)
    pairs = open_set(tmp_path)
    assert pairs.names == list(true)
    assert pairs.kinds == ["unknown"] * 2
    assert pairs.describe()["masks"] == "from differences"
    for i, mask in enumerate(true.values()):
        found = pairs.load(i, 64)[2]
        assert (found & mask).sum() / (found | mask).sum() > 0.85


def test_a_picture_without_partner_is_named(tmp_path):
    foreign(tmp_path)
    (tmp_path / "Unmask" / "0001.png").unlink()
    with pytest.raises(ValueError, match=r"1 of 2 pairs.*0001_Mask\.jpg: has no partner"):
        open_set(tmp_path)


def test_a_set_without_clean_pictures_has_no_target(tmp_path):
    mask = np.zeros((40, 30), np.uint8)
    mask[:20] = 255
    for part, picture in (("occluded", np.full((40, 30, 3), 9, np.uint8)), ("masks", mask)):
        (tmp_path / part).mkdir()
        Image.fromarray(picture).save(tmp_path / part / "a.png")
    target, occluded, found = open_set(tmp_path).load(0, 30)
    assert target is None
    assert occluded.shape == (30, 30, 3)
    assert found[:15].all()
    assert not found[15:].any()
    assert not open_set(tmp_path, invert=True).load(0, 30)[2][:15].any()


def test_other_folders_are_no_set(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        open_set(tmp_path / "missing")
    (tmp_path / "photos").mkdir()
    with pytest.raises(FileNotFoundError, match=r"expected Mask/ and Unmask/.*found photos"):
        open_set(tmp_path)
    (tmp_path / "Mask").mkdir()
    (tmp_path / "Unmask").mkdir()
    with pytest.raises(FileNotFoundError, match="no pair in it"):
        open_set(tmp_path)


def test_a_damaged_picture_is_named_when_it_is_read(tmp_path, faces):
    rows = write_set(faces(), drawn(), tmp_path / "set", 1)
    (tmp_path / "set" / "occluded" / f"{rows[1].name}.png").write_bytes(b"damaged")
    pairs = open_set(tmp_path / "set")
    pairs.load(0, SIZE)
    with pytest.raises(ImageReadError, match=r"more__ann_00\.png"):
        pairs.load(1, SIZE)


def test_the_command_writes_a_set_and_says_why_it_cannot(tmp_path, faces, capsys):
    faces()
    command = ["--output", str(tmp_path / "set"), "--size", str(SIZE), "--per-image", "2"]
    with pytest.raises(SystemExit, match="needs --faces"):
        main(command)
    main([*command, "--faces", str(tmp_path / "faces"), "--kinds", "drawn"])
    assert "6 pairs of 3 faces, attention_gan layout" in capsys.readouterr().out
    assert set(open_set(tmp_path / "set").kinds) == {"patch", "blur"}
    with pytest.raises(SystemExit, match="seed was 0, now 2"):
        main([*command, "--faces", str(tmp_path / "faces"), "--kinds", "drawn", "--seed", "2"])


def test_pairs_of_foreign_sets_have_one_frame(tmp_path, caplog):
    exif = Image.Exif()
    exif[0x0112] = 6
    shown = np.zeros((36, 64), np.uint8)
    shown[10:20, 20:30] = 255
    mask, back = Image.fromarray(shown), Image.Transpose.ROTATE_90
    face = Image.fromarray(np.dstack([shown] * 3))
    for part in ("occluded", "masks", "images"):
        (tmp_path / part).mkdir()
    for name in ("a_0", "b_0", "c_0"):
        face.transpose(back).save(tmp_path / f"occluded/{name}.png", exif=exif)
        face.save(tmp_path / f"images/{name[0]}.png")
    mask.save(tmp_path / "masks/a_0.png")
    mask.transpose(back).save(tmp_path / "masks/b_0-mask.png")
    mask.resize((64, 48)).save(tmp_path / "masks/c_0.png")
    pairs = open_set(tmp_path)
    for index in range(2):
        target, occluded, hole = pairs.load(index, 36)
        np.testing.assert_array_equal(hole == 1, occluded[..., 0] > 127)
        np.testing.assert_array_equal(target, occluded)
    assert "b_0-mask.png" in caplog.text
    assert "turned like it to 64 x 36" in caplog.text
    with pytest.raises(ImageReadError, match=r"c_0\.png: is 64 x 48, its picture 64 x 36"):
        pairs.load(2, 36)
    face.resize((64, 48)).save(tmp_path / "images/a.png")
    with pytest.raises(ImageReadError, match=r"a\.png: is 64 x 48, .*a_0\.png 64 x 36"):
        pairs.load(0, 36)


def flat_set(folder, parts, shade):
    """One pair of a set without index: parts by their names below `folder`."""
    for i, part in enumerate(parts):
        (folder / part).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((32, 32), shade + i, np.uint8)).save(folder / part)


@pytest.mark.parametrize("outside", [True, False])
def test_a_set_may_lie_in_folders_of_splits(tmp_path, outside):
    """Equal names in two of them are two pairs: each has the mask of its own split."""
    for split, count in (("training", 3), ("validation", 1), ("test", 1)):
        for i in range(count):
            lies = "{split}/{part}" if outside else "{part}/{split}"
            names = [
                lies.format(split=split, part=part) + f"/{i}.png"
                for part in ("occluded", "masks", "images")
            ]
            flat_set(tmp_path, names, 10 * i + len(split))
    pairs = open_set(tmp_path)
    assert len(set(pairs.names)) == len(set(pair.image for pair in pairs.pairs)) == 5
    for pair in pairs.pairs:
        shades = [np.asarray(Image.open(p))[0, 0] for p in (pair.occluded, pair.mask, pair.target)]
        assert [int(s) - int(shades[0]) for s in shades] == [0, 1, 2]
    split = pairs.split(42)
    assert split.rule == "given sub-folders"
    assert split.counts() == "3/1/1"
    assert all("validation" in path.parts for path in split.files["val"])
