"""Presets, what a draw depends on, and the command line."""

import pickle
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from deocclude.data.builtin.faces import render_face
from deocclude.data.faces.alignment import template_points
from deocclude.data.image_files import list_images
from deocclude.data.images import load_square
from deocclude.data.occluders import mixture as module
from deocclude.data.occluders.__main__ import main
from deocclude.data.occluders.cutouts import open_cutouts
from deocclude.data.occluders.drawn.kinds import KINDS
from deocclude.data.occluders.mixture import Occluders, favoured, joined, paste_anywhere
from deocclude.data.occluders.placing import Occluded
from deocclude.data.occluders.presets import PRESETS
from deocclude.data.seeding import keyed_rng

SIZE = 48


def disc(path, colour, side=40, stretch=1.0):
    """A round cut-out, `stretch` times as high as it is wide."""
    height = round(side * stretch)
    y, x = np.mgrid[:height, :side] - np.reshape([height - 1, side - 1], (2, 1, 1)) / 2
    rgba = np.zeros((height, side, 4), np.uint8)
    rgba[..., :3] = colour
    rgba[..., 3] = 255 * (np.hypot(x, y / stretch) < side / 2 - 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgba).save(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("occluders")
    for split, colour, stretch in (("train", (200, 0, 0), 1.0), ("val", (0, 200, 0), 0.85)):
        for number, category in enumerate(("facemask", "sunglasses", "object", "object")):
            shade = [c + 15 * number for c in colour]
            disc(root / split / f"{category}_{number}.png", shade, 36 + 2 * number, stretch)
    return root


@pytest.fixture(scope="module")
def library(folder):
    return open_cutouts(folder)


@pytest.fixture(scope="module")
def face():
    return render_face(0, SIZE)


def same(a, b):
    return a.kind == b.kind and np.array_equal(a.image, b.image) and np.array_equal(a.mask, b.mask)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_draw_depends_on_its_keys_only(library, face, preset):
    first = Occluders(SIZE, library, preset, seed=3)
    forward = [first.draw(face, "train", "epoch", i) for i in range(12)]
    other = pickle.loads(pickle.dumps(first))
    for i in reversed(range(12)):
        assert same(other.draw(face, "train", "epoch", i), forward[i])
    assert not same(
        Occluders(SIZE, library, preset, seed=4).draw(face, "train", "epoch", 0), forward[0]
    )
    assert len({one.image.tobytes() for one in forward}) > 8
    np.testing.assert_array_equal(face, render_face(0, SIZE))


def test_mixed_shares(library, face):
    made = Occluders(SIZE, library)
    kinds = [made.draw(face, "train", i).kind for i in range(1500)]
    count = Counter(kinds)
    real = sum(count[kind] for kind in ("facemask", "sunglasses", "object"))
    drawn = sum(count[kind] for kind in KINDS)
    both = sum(n for kind, n in count.items() if "+" in kind)
    assert real / 1500 == pytest.approx(0.57, abs=0.05)
    assert drawn / 1500 == pytest.approx(0.29, abs=0.05)
    assert both / 1500 == pytest.approx(0.09, abs=0.03)
    assert count["none"] / 1500 == pytest.approx(0.05, abs=0.02)
    assert count["facemask"] / count["sunglasses"] == pytest.approx(2, abs=0.5)
    assert count["sunglasses"] / count["object"] == pytest.approx(1, abs=0.35)
    assert all(kind in count for kind in KINDS)


def test_shares_of_every_preset_add_up():
    for name, preset in PRESETS.items():
        assert sum(preset) == pytest.approx(1), name


def test_favoured_draws_the_others_evenly():
    rng = keyed_rng(1)
    count = Counter(favoured(rng, ["facemask", "scarf", "hat"]) for _ in range(4000))
    assert count["facemask"] / 4000 == pytest.approx(0.5, abs=0.03)
    assert count["scarf"] / 4000 == pytest.approx(0.25, abs=0.03)


def test_none_is_the_face_itself(library, face):
    made = Occluders(SIZE, library).fixed(face, "val", "none", 5)
    np.testing.assert_array_equal(made.image, face)
    assert made.mask.sum() == 0
    assert made.kind == "none"


def test_fixed_gives_each_kind_and_does_not_depend_on_the_preset(library, face):
    mixed, real = Occluders(SIZE, library), Occluders(SIZE, library, "real")
    assert mixed.kinds("val") == ["sunglasses", "facemask", "object", *KINDS, "none"]
    assert real.kinds("val") == ["sunglasses", "facemask", "object", "none"]
    assert Occluders(SIZE, library, "drawn").kinds("val") == [*KINDS, "none"]
    for kind in mixed.kinds("val"):
        made = mixed.fixed(face, "val", kind, 2)
        assert made.kind == kind
        assert made.mask.any() == (kind != "none")
    assert same(mixed.fixed(face, "val", "object", 2), real.fixed(face, "val", "object", 2))
    assert not same(mixed.fixed(face, "val", "object", 2), mixed.fixed(face, "val", "object", 3))


def test_splits_never_share_a_cut_out(library, face):
    blind = Occluders(SIZE, library, "blind")
    for split, channel in (("train", 0), ("val", 1), ("test", 1)):
        for i in range(30):
            made = blind.draw(face, split, i)
            if "+" not in made.kind:
                colour = made.image[made.mask == 1].mean(axis=0)
                assert colour.argmax() == channel


def test_blind_is_a_cut_out_with_shapes_and_shadows_at_times(library, face):
    blind = Occluders(SIZE, library, "blind")
    kinds = [blind.draw(face, "train", i).kind.split("+") for i in range(600)]
    shapes = [[k for k in parts[1:] if k in ("patch", "ellipse")] for parts in kinds]
    assert all(parts[0] in ("facemask", "sunglasses", "object") for parts in kinds)
    assert np.mean([bool(s) for s in shapes]) == pytest.approx(0.5, abs=0.07)
    assert {len(s) for s in shapes} == {0, 1, 2, 3}
    assert np.mean([parts[-1] == "shadow" for parts in kinds]) == pytest.approx(0.3, abs=0.07)


def test_a_cut_out_larger_than_the_face_is_shrunk_to_a_third(library):
    face = np.zeros((24, 24, 3), np.uint8)
    made = paste_anywhere(face, library.pick("train", "object", keyed_rng(1)), keyed_rng(2))
    rows, columns = np.nonzero(made.mask)
    assert max(np.ptp(rows), np.ptp(columns)) + 1 <= 8
    assert made.image[made.mask == 0].sum() == 0


def test_without_cut_outs_drawn_kinds_stand_in_and_that_is_said(face):
    for preset in ("mixed", "blind"):
        made = Occluders(SIZE, None, preset)
        assert "drawn occluders stand in" in made.describe()["note"]
        assert made.kinds("train") == [*KINDS, "none"]
        kinds = {part for i in range(60) for part in made.draw(face, "train", i).kind.split("+")}
        assert kinds <= {*KINDS, "none"}
    assert "note" not in Occluders(SIZE, None, "drawn").describe()
    with pytest.raises(ValueError, match="'real' needs a folder of cut-outs"):
        Occluders(SIZE, None, "real")


def test_a_split_without_cut_outs_is_no_reason_to_draw_others(tmp_path, face):
    disc(tmp_path / "train" / "cup_1.png", (200, 0, 0))
    disc(tmp_path / "val" / "cup_2.png", (0, 200, 0))  # the same thing: none is left to train on
    for preset in ("real", "mixed", "blind"):
        made = Occluders(SIZE, open_cutouts(tmp_path), preset)
        with pytest.raises(ValueError, match=r"no occluders in 'train'.*1 left out"):
            [made.draw(face, "train", key) for key in range(20)]
        with pytest.raises(ValueError, match="no occluders in 'train'"):
            made.kinds("train")
        assert made.draw(face, "val", 0).kind


def test_cut_outs_of_hands_are_pasted_not_drawn(tmp_path, face):
    disc(tmp_path / "train" / "hand_1.png", (255, 0, 255))
    disc(tmp_path / "val" / "hand_2.png", (255, 255, 0), stretch=0.8)
    made = Occluders(SIZE, open_cutouts(tmp_path))
    assert made.kinds("val").count("hand") == 1
    for number in range(3):
        one = made.fixed(face, "val", "hand", number)
        red, green, blue = one.image[one.mask == 1].mean(axis=0)
        assert min(red, green) > blue + 40


def test_points_move_what_is_worn(face):
    made = Occluders(SIZE, None, "drawn")
    points = template_points("ffhq", SIZE)
    lower = {name: (x, y + 10) for name, (x, y) in points.items()}
    rows = [
        np.nonzero(made.fixed(face, "train", "sunglasses_drawn", 1, points=p).mask)[0].mean()
        for p in (None, points, lower)
    ]
    assert rows[0] == rows[1]
    assert rows[2] - rows[1] == pytest.approx(10, abs=0.7)


def test_bad_arguments_say_what_would_be_valid(library, face):
    with pytest.raises(ValueError, match="'reall' is not one of mixed, real, drawn, blind"):
        Occluders(SIZE, library, "reall")
    with pytest.raises(ValueError, match="ffhq, celeba"):
        Occluders(SIZE, library, template="lfw")
    with pytest.raises(ValueError, match="at least 16 px, found 8"):
        Occluders(8)
    made = Occluders(SIZE, library)
    with pytest.raises(ValueError, match=r"'hat' is not one of sunglasses, .*none"):
        made.fixed(face, "train", "hat")
    with pytest.raises(ValueError, match="train, val, test"):
        made.draw(face, "trian", 0)
    with pytest.raises(ValueError, match=r"found uint8 \(32, 32, 3\)"):
        made.draw(face[:32, :32], "train", 0)
    points = template_points("ffhq", SIZE)
    del points["chin"]
    with pytest.raises(ValueError, match="lack chin"):
        made.draw(face, "train", 0, points=points)


def test_a_placement_out_of_the_picture_is_tried_again(face, monkeypatch):
    calls = []

    def empty_at_first(name, picture, points, rng):
        calls.append(name)
        mask = np.zeros((SIZE, SIZE), np.uint8)
        mask[:4] = len(calls) > 2
        return picture, mask

    monkeypatch.setattr(module, "draw_shape", empty_at_first)
    made = Occluders(SIZE, None, "drawn").fixed(face, "train", "patch", 0)
    assert made.mask.any()
    assert calls == ["patch"] * 3


def test_sheets(tmp_path, folder, capsys):
    main(["--sheet", str(tmp_path / "kinds.png"), "--size", "32", "--limit", "3"])
    with Image.open(tmp_path / "kinds.png") as sheet:
        kinds = sheet.size
    command = ["--sheet", str(tmp_path / "faces.png"), "--size", "32", "--limit", "3"]
    main([*command, "--count", "9", "--preset", "real", "--occluders", str(folder)])
    with Image.open(tmp_path / "faces.png") as sheet:
        faces = sheet.size
    assert faces[0] == kinds[0]  # two kinds of four examples, or eight faces, across
    assert kinds[1] == 10 * (18 + 36)
    assert faces[1] == 2 * (18 + 36)
    assert "faces.png" in capsys.readouterr().out


def test_the_command_ends_with_one_line_for_bad_input(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    opaque = tmp_path / "opaque"
    opaque.mkdir()
    Image.new("RGB", (20, 20), "white").save(opaque / "mask_1.png")
    sheet = ["--sheet", str(tmp_path / "s.png"), "--size", "32"]
    cases = {
        "no occluder images": ["--count", "2", "--occluders", str(tmp_path / "empty")],
        "no transparency": ["--count", "2", "--preset", "real", "--occluders", str(opaque)],
        "no images": ["--faces", str(tmp_path / "empty")],
        "no such folder": ["--faces", str(tmp_path / "missing")],
        "needs a folder of cut-outs": ["--count", "2", "--preset", "real"],
        "must be 1 or more, found 0": ["--count", "0"],
    }
    for message, arguments in cases.items():
        with pytest.raises(SystemExit, match=message):
            main([*sheet, *arguments])
    assert not (tmp_path / "s.png").exists()
    with pytest.raises(SystemExit) as stop:
        main([*sheet, "--preset", "odd"])
    assert stop.value.code == 2


def test_real_cut_outs_on_real_faces(real_data):
    library = open_cutouts(real_data / "occluders")
    made = Occluders(64, library, "real")
    files = list_images(real_data / "faces256" / "test")[:40]
    ratios = [
        made.draw(load_square(path, 64), "val", i).mask.mean() for i, path in enumerate(files)
    ]
    assert min(ratios) > 0
    assert 0.05 < np.mean(ratios) < 0.35


def test_a_mixture_marks_what_both_cover():
    face = np.zeros((4, 4, 3), np.uint8)
    first, second = np.zeros((2, 4, 4), np.uint8)
    first[0], second[:, 0] = 1, 1
    made = joined(Occluded(face, first, "scarf"), Occluded(face + 9, second, "patch"))
    assert made.kind == "scarf+patch"
    np.testing.assert_array_equal(made.image, face + 9)
    np.testing.assert_array_equal(made.mask, np.maximum(first, second))
