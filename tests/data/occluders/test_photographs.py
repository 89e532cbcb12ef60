"""The preset `photographs`: its drawn kinds, varied cut-outs, scenes, and eyeglasses that stay."""

import hashlib
from collections import Counter

import cv2
import numpy as np
import pytest

from deocclude.data.builtin.faces import render_face
from deocclude.data.faces.alignment import template_points
from deocclude.data.faces.files import builtin_faces
from deocclude.data.image_files import list_images
from deocclude.data.images import load_square
from deocclude.data.occluders.__main__ import main
from deocclude.data.occluders.cutout_variation import bend, place_varied, recolour
from deocclude.data.occluders.cutouts import Cutout, open_cutouts
from deocclude.data.occluders.drawn.cloth import COLOURS, cloth_colour, skin_colour
from deocclude.data.occluders.drawn.kinds import KINDS, PHOTO_KINDS, draw_shape
from deocclude.data.occluders.mixture import Occluders
from deocclude.data.occluders.photographs import EYEGLASSES, GROUPS, cover, loosened, plan
from deocclude.data.occluders.presets import PRESETS
from deocclude.data.occluders.warping import Layer
from deocclude.data.pairs.occluded import freeze_occluded
from deocclude.data.seeding import keyed_rng
from tests.data.occluders.test_mixture import disc

SIZE = 64
CATEGORIES = ("facemask", "sunglasses", "eyeglasses", "scarf", "object")
TIGHT = {  # the face fills the picture
    "left_eye": (0.303, 0.294), "right_eye": (0.692, 0.294), "nose_tip": (0.489, 0.546),
    "left_mouth": (0.327, 0.693), "right_mouth": (0.671, 0.689), "chin": (0.493, 0.987),
}  # fmt: skip
BEFORE = {  # SHA-256 of draws made before this preset was added
    "mixed": "8ada3cf92b222ed8",
    "real": "8bfad613ed6fa8ef",
    "drawn": "84a1d71af2676cc1",
    "blind": "3ade37fb9b1af74d",
    "fixed": "07df8c4cfea83542",
}


def tight_points(size):
    return {name: (x * size, y * size) for name, (x, y) in TIGHT.items()}


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    root = tmp_path_factory.mktemp("occluders")
    for number, category in enumerate(CATEGORIES):
        disc(root / "train" / f"{category}_1.png", (200, 20 * number, 0), 50 + 3 * number, 0.7)
        disc(root / "val" / f"{category}_2.png", (0, 200, 20 * number), 50 + 3 * number, 0.9)
    return open_cutouts(root)


@pytest.fixture(scope="module")
def face():
    return render_face(0, SIZE)


def digest(made):
    return made.kind.encode() + made.mask.tobytes() + made.image.tobytes()


def same(a, b):
    return digest(a) == digest(b)


def test_older_presets_and_fixed_draws_are_the_same_bit_for_bit(tmp_path):
    for split, colour, stretch in (("train", (200, 0, 0), 1.0), ("val", (0, 200, 0), 0.85)):
        for number, category in enumerate(("facemask", "sunglasses", "object", "object")):
            shade = [c + 15 * number for c in colour]
            disc(tmp_path / split / f"{category}_{number}.png", shade, 36 + 2 * number, stretch)
    library, face = open_cutouts(tmp_path), render_face(0, 48)
    found = {}
    for preset in ("mixed", "real", "drawn", "blind"):
        made = Occluders(48, library, preset, seed=3)
        draws = b"".join(digest(made.draw(face, "train", i)) for i in range(40))
        found[preset] = hashlib.sha256(draws).hexdigest()[:16]
    made = Occluders(48, library)
    draws = b"".join(digest(made.fixed(face, "val", kind, 1)) for kind in made.kinds("val"))
    found["fixed"] = hashlib.sha256(draws).hexdigest()[:16]
    assert found == BEFORE


@pytest.mark.parametrize("points", ["ffhq", "tight"])
@pytest.mark.parametrize("size", [32, 200])
@pytest.mark.parametrize("kind", PHOTO_KINDS)
def test_each_kind_marks_what_it_changes(kind, size, points):
    face = render_face(1, size)
    places = tight_points(size) if points == "tight" else template_points("ffhq", size)
    marked = []
    for number in range(4):
        image, mask = draw_shape(kind, face, places, keyed_rng(number, kind))
        again, _ = draw_shape(kind, face, places, keyed_rng(number, kind))
        np.testing.assert_array_equal(image, again)
        assert image.dtype == mask.dtype == np.uint8
        assert image.shape == face.shape
        assert mask.shape == face.shape[:2]
        assert set(np.unique(mask)) <= {0, 1}
        marked.append(mask.mean())
        if kind not in ("visor", "eyeglasses_drawn"):  # haze, faint reflections
            change = np.abs(image.astype(int) - face).max(axis=2)
            beyond = change[cv2.dilate(mask, np.ones((size // 8 | 1,) * 2, np.uint8)) == 0]
            # only a soft shadow, which takes light away but does not hide
            assert beyond.size == 0 or np.percentile(beyond, 99) < 50
    assert max(marked) > 0
    assert min(marked) < 0.9
    np.testing.assert_array_equal(face, render_face(1, size))


def test_an_unknown_kind_says_which_are_known(face):
    with pytest.raises(ValueError, match=r"'fog' is not one of patch, .*facemask_photo, "):
        draw_shape("fog", face, template_points("ffhq", SIZE), keyed_rng(0))


def test_shares_of_bare_faces_groups_and_seconds(library):
    rng = keyed_rng(5)
    plans = [plan(rng, CATEGORIES, covered=True) for _ in range(3000)]
    glasses = [any(kind in EYEGLASSES for kind in kinds) for kinds in plans]
    others = [[kind for kind in kinds if kind not in EYEGLASSES] for kinds in plans]
    assert np.mean(glasses) == pytest.approx(0.1, abs=0.03)
    assert {len(kinds) for kinds in others} == {1, 2}
    assert np.mean([len(kinds) == 2 for kinds in others]) == pytest.approx(0.22, abs=0.03)
    first = Counter(next(g for g, (_, ks) in GROUPS.items() if kinds[0] in ks) for kinds in others)
    for group, (weight, _) in GROUPS.items():
        assert first[group] / 3000 == pytest.approx(weight, abs=0.03)
    bare = [plan(rng, CATEGORIES, covered=False) for _ in range(1000)]
    assert all(set(kinds) <= set(EYEGLASSES) for kinds in bare)
    assert np.mean([bool(kinds) for kinds in bare]) == pytest.approx(0.35, abs=0.05)
    alone = [kind for _ in range(300) for kind in plan(rng, [], covered=True)]
    assert set(alone) <= {*KINDS, *PHOTO_KINDS}


def test_a_tenth_of_draws_is_bare_and_no_draw_fails(library, face):
    made = Occluders(SIZE, library, "photographs")
    shares = {}
    for name, points in (("ffhq", None), ("tight", tight_points(SIZE))):
        draws = [made.draw(face, "train", name, i, points=points) for i in range(200)]
        bare = [made.leaves_bare(one.kind) for one in draws]
        empty = [not one.mask.any() for one in draws]
        shares[name] = np.mean(bare), np.mean(empty)
        assert all(empty[i] for i in range(200) if bare[i])
        for one in draws:
            assert one.image.shape == face.shape
            assert one.image.dtype == one.mask.dtype == np.uint8
            if one.kind == "none":
                np.testing.assert_array_equal(one.image, face)
    for bare, empty in shares.values():
        assert bare == pytest.approx(0.1, abs=0.045)
        assert empty - bare < 0.02  # what ended outside the picture four times


def test_the_mixed_preset_draws_both_and_keeps_eyeglasses(library, face):
    occluders = Occluders(SIZE, library, "photographs_and_drawn")
    assert occluders.leaves_bare("eyeglasses")
    made = [occluders.draw(face, "train", number) for number in range(150)]
    kinds = [one.kind for one in made]
    thin = [kind for kind in kinds if kind in ("scratches", "text", "hair", "bubbles", "stroke")]
    scenes = [kind for kind in kinds if PHOTO_KINDS.keys() & set(kind.split("+"))]
    assert len(thin) >= 3
    assert len(scenes) >= 20
    bare = [one for one in made if occluders.leaves_bare(one.kind)]
    assert 8 <= len(bare) <= 35
    assert not any(one.mask.any() for one in bare)


def test_points_far_outside_the_picture_fail_nothing(library, face):
    made = Occluders(SIZE, library, "photographs")
    for shift in (-2.0, 2.0):
        points = {k: (x + shift * SIZE, y) for k, (x, y) in tight_points(SIZE).items()}
        for i in range(60):
            made.draw(face, "train", i, points=points)


def test_kept_eyeglasses_are_seen_but_not_marked(library, face):
    keep = Occluders(SIZE, library, "photographs")
    redraw = Occluders(SIZE, library, "photographs", eyeglasses="redraw")
    kept, redrawn = (made.fixed(face, "val", "eyeglasses", 3) for made in (keep, redraw))
    np.testing.assert_array_equal(kept.image, redrawn.image)
    assert not np.array_equal(kept.image, face)
    assert not kept.mask.any()
    assert redrawn.mask.any()
    assert same(redrawn, Occluders(SIZE, library).fixed(face, "val", "eyeglasses", 3))
    mixed = Occluders(SIZE, library, eyeglasses="keep")
    assert not mixed.fixed(face, "val", "eyeglasses").mask.any()
    assert keep.fixed(face, "val", "sunglasses", 3).mask.any()
    assert keep.leaves_bare("eyeglasses_drawn+eyeglasses")
    assert not keep.leaves_bare("eyeglasses+facemask")
    assert not redraw.leaves_bare("eyeglasses")
    points = template_points("ffhq", SIZE)
    for kinds in (["eyeglasses", "facemask"], ["facemask", "eyeglasses"]):
        arguments = (face, kinds, "val", library, points)
        one = cover(*arguments, keyed_rng(7), keep.stay)
        both = cover(*arguments, keyed_rng(7), redraw.stay)
        np.testing.assert_array_equal(one.image, both.image)
        assert 0 < one.mask.sum() < both.mask.sum()
    with pytest.raises(ValueError, match="'maybe' is not one of auto, redraw, keep"):
        Occluders(SIZE, library, eyeglasses="maybe")


def test_frozen_pairs_hold_bare_faces_with_eyeglasses(library):
    faces = builtin_faces("val", 4, SIZE)
    kept = freeze_occluded(faces, Occluders(SIZE, library, "photographs"), "val", 2)
    kinds = Counter(pair.kind for pair in kept.pairs)
    assert set(kinds) == {*CATEGORIES, *KINDS, "none"}
    assert kinds["eyeglasses"] == 2
    empty = {pair.kind for pair in kept.pairs if pair.hole_ratio == 0}
    assert empty == {"eyeglasses", "none"}
    other = Occluders(SIZE, library, "photographs", eyeglasses="redraw")
    mixed = Occluders(SIZE, library)
    hashes = [freeze_occluded(faces, made, "val", 2).hash for made in (other, mixed)]
    assert hashes[0] == hashes[1] != kept.hash


def test_cut_outs_are_recoloured_with_their_own_shading(face):
    points, rgba = template_points("ffhq", SIZE), np.full((40, 60, 4), 255, np.uint8)
    rgba[20:, :, :3] = 90
    means = []
    for number in range(20):
        coloured = recolour(rgba, face, points, keyed_rng(number))
        np.testing.assert_array_equal(coloured[..., 3], rgba[..., 3])
        upper, lower = coloured[:18, :, :3].mean(), coloured[22:, :, :3].mean()
        assert upper >= lower
        means.append(tuple(coloured[..., :3].mean(axis=(0, 1)).round()))
    assert len(set(means)) == 20


def test_cloth_takes_the_colour_of_the_faces_skin(face):
    points = template_points("ffhq", SIZE)
    flat = np.full_like(face, (180, 130, 100))
    np.testing.assert_allclose(skin_colour(flat, points), (180, 130, 100))
    names = Counter()
    for number in range(300):
        colour, name = cloth_colour(flat, points, keyed_rng(number))
        names[name] += 1
        if name == "skin":
            assert np.abs(np.array(colour) - (180, 130, 100)).max() < 60
    assert set(names) == set(COLOURS)


def test_bending_keeps_the_layer_in_its_window():
    alpha = np.zeros((60, 80), np.uint8)
    alpha[15:45, 20:60] = 255
    flat = np.zeros((60, 80), np.float32)
    layer = Layer(3, 4, np.dstack([alpha] * 3), alpha, flat, flat)
    bent = bend(layer, keyed_rng(2), 0.1)
    assert (bent.left, bent.top, bent.alpha.shape) == (3, 4, alpha.shape)
    assert not np.array_equal(bent.alpha, alpha)
    assert bent.alpha.astype(float).sum() == pytest.approx(alpha.astype(float).sum(), rel=0.25)
    assert not bent.alpha[[0, -1]].any()


def test_a_varied_cut_out_is_marked_where_it_is(face):
    rgba = np.zeros((60, 90, 4), np.uint8)
    cv2.ellipse(rgba, (45, 30), (44, 29), 0, 0, 360, (0, 255, 0, 255), -1)
    points = template_points("ffhq", SIZE)
    kinds = {"facemask", "scarf", "hat", "hand", "phone", "cup", "object", "sunglasses"}
    for category in kinds:
        ratios = []
        for number in range(12):
            cutout = Cutout("one", category, rgba)
            made = place_varied(face, cutout, points, keyed_rng(number, category))
            assert made.kind == category
            assert same(made, place_varied(face, cutout, points, keyed_rng(number, category)))
            ratios.append(made.mask.mean())
        assert np.median(ratios) > 0.02, category
        assert len(set(ratios)) > 8


def test_loosened_points_stay_near():
    points = template_points("ffhq", SIZE)
    moved = [loosened(points, keyed_rng(i)) for i in range(200)]
    unit = points["right_eye"][0] - points["left_eye"][0]
    shifts = [np.subtract(m["nose_tip"], points["nose_tip"])[0] / unit for m in moved]
    assert max(np.abs(shifts)) < 0.45
    assert np.mean(np.abs(shifts) > 0.12) == pytest.approx(0.12, abs=0.07)
    assert points == template_points("ffhq", SIZE)


def test_the_sheets_of_the_preset(tmp_path):
    command = ["--size", "32", "--limit", "2", "--preset", "photographs"]
    main([*command, "--sheet", str(tmp_path / "kinds.png")])
    main([*command, "--sheet", str(tmp_path / "faces.png"), "--count", "9"])
    kinds, faces = (cv2.imread(str(tmp_path / f"{name}.png")) for name in ("kinds", "faces"))
    assert kinds.shape[0] == -(-len(PHOTO_KINDS) // 2) * (18 + 36)
    assert faces.shape[0] == 2 * (18 + 36)


def test_without_cut_outs_drawn_kinds_stand_in(face):
    made = Occluders(SIZE, None, "photographs")
    assert "drawn occluders stand in" in made.describe()["note"]
    assert made.describe()["eyeglasses"] == "keep"
    assert made.kinds("train") == [*KINDS, "none"]
    drawn = {part for i in range(150) for part in made.draw(face, "train", i).kind.split("+")}
    assert drawn <= {*KINDS, *PHOTO_KINDS, "none"}
    assert made.fixed(face, "val", "microphone", 1).kind == "microphone"
    assert PRESETS["photographs"].none == 0.1


def test_on_real_faces_and_cut_outs(real_data):
    library = open_cutouts(real_data / "occluders")
    made = Occluders(96, library, "photographs")
    files = list_images(real_data / "faces256" / "test")[:60]
    draws = [made.draw(load_square(path, 96), "train", i) for i, path in enumerate(files)]
    ratios = [one.mask.mean() for one in draws if not made.leaves_bare(one.kind)]
    assert 0.08 < np.mean(ratios) < 0.35
    assert max(ratios) < 0.9
