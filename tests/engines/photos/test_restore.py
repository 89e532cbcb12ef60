"""`Deoccluder.restore`: faces found, masked, redrawn and put back; the networks are stubs."""

import numpy as np
import pytest
import torch
from restore_stubs import (
    GREEN,
    SIZE,
    Flat,
    GreenFinder,
    Truth,
    face_at,
    grown,
    make,
    mask_of,
    photo_with,
)

from deocclude.data.images import to_tensor, to_uint8
from deocclude.engines.inference.hole_mask import DILATION
from deocclude.engines.photos.blend import BLENDS
from deocclude.engines.photos.restoration import STAGES


@pytest.mark.parametrize("blend", BLENDS)
@pytest.mark.parametrize("degrees", [0, 25])
def test_the_occluder_goes_and_nothing_else_changes(blend, degrees):
    noise = np.random.default_rng(0).integers(80, 100, (400, 500, 3), dtype=np.uint8)
    photo = np.where(mask_of(photo_with((190, 220, 240, 290)))[..., None] > 0, GREEN, noise)
    photo = photo.astype(np.uint8)
    before = photo.copy()
    result = make().restore(photo, faces=[face_at(240, (250, 200), degrees)], blend=blend)
    np.testing.assert_array_equal(photo, before)
    np.testing.assert_array_equal(result.restored[result.mask == 0], photo[result.mask == 0])
    green = mask_of(photo)
    assert result.mask[green == 1].all()
    assert not result.mask[grown(green, DILATION * 240 + 3) == 0].any()
    if blend in ("feather", "none"):
        np.testing.assert_allclose(result.restored[green == 1], 128, atol=1)
    else:  # the colours around the mask
        assert np.abs(result.restored[green == 1].astype(int) - 90).max() < 15
    assert not mask_of(result.restored).any()
    assert result.changed
    assert tuple(result.seconds) == STAGES
    (face,) = result.faces
    assert face.restored
    assert face.aligned.shape == face.aligned_restored.shape == (SIZE, SIZE, 3)
    assert mask_of(face.aligned).any()
    assert not mask_of(face.aligned_restored).any()
    assert face.hole_ratio == pytest.approx(result.mask.sum() / 240**2, rel=0.02)


def test_feather_runs_inside_the_dilated_mask():
    photo = photo_with((180, 200, 240, 300))
    result = make(Flat(1.0)).restore(photo, faces=[face_at(240, (250, 200))], dilate=12)
    row = result.restored[210, 300:320, 0].astype(int)
    assert (np.diff(row) <= 0).all()
    assert (row[:4] == 255).all()
    assert 90 < row[9] < 250
    assert (row[14:] == 90).all()


def test_matched_takes_its_colours_from_beyond_a_rim_that_was_left_standing():
    """The occluder is two pixels wider than the mask with its dilation: "poisson" spreads it."""
    photo = photo_with((176, 196, 244, 304))
    mask = mask_of(photo_with((178, 198, 242, 302)))
    colour = {}
    for blend in ("poisson", "matched"):
        result = make(segmenter=None).restore(
            photo, mask, faces=[face_at(240, (250, 200))], blend=blend
        )
        colour[blend] = result.restored[180, 250].astype(int)
        np.testing.assert_array_equal(result.mask, mask)
    assert np.abs(colour["matched"] - 90).max() < 10
    assert np.abs(colour["poisson"] - 90).max() > 60


def test_dilation_is_in_photo_pixels_and_a_share_of_the_face_by_default():
    photo = photo_with((180, 200, 240, 300))
    face = face_at(256, (250, 200))
    areas = {}
    for dilate in (None, 0, 3, 7, 15):
        mask = make().restore(photo, faces=[face], dilate=dilate).mask
        columns = np.flatnonzero(mask.any(0))
        areas[dilate] = (columns[-1] + 1 - columns[0] - 100) / 2
    assert areas[0] == pytest.approx(0, abs=1.5)
    for dilate in (3, 7, 15):
        assert areas[dilate] - areas[0] == pytest.approx(dilate, abs=1)
    assert areas[None] - areas[0] == pytest.approx(DILATION * 256, abs=1)
    assert make(dilate=7).restore(photo, faces=[face]).mask.sum() == (
        make().restore(photo, faces=[face], dilate=7).mask.sum()
    )
    with pytest.raises(ValueError, match="dilate"):
        make().restore(photo, faces=[face], dilate=-1)


def test_a_dilation_in_percent_is_one_of_each_faces_square():
    """Two covered faces, one twice as large: the same percentage is twice as many pixels."""
    photo = photo_with((80, 70, 120, 130), (280, 310, 360, 430))
    faces = [face_at(128, (100, 100)), face_at(256, (370, 320))]
    wide = {}
    for dilate in (0, "5%", "12.5%"):
        mask = make().restore(photo, faces=faces, dilate=dilate).mask
        columns = [np.flatnonzero(part.any(0)) for part in (mask[:, :240], mask[:, 240:])]
        wide[dilate] = np.array([place[-1] - place[0] for place in columns]) / 2
    np.testing.assert_allclose(wide["5%"] - wide[0], [6.4, 12.8], atol=1.1)
    np.testing.assert_allclose(wide["12.5%"] - wide[0], [16, 32], atol=1.1)
    usual, same = (make().restore(photo, faces=faces, dilate=d) for d in (None, "3%"))
    np.testing.assert_array_equal(usual.restored, same.restored)
    kept = make(dilate="5%").restore(photo, faces=faces)
    np.testing.assert_array_equal(kept.mask, make().restore(photo, faces=faces, dilate="5%").mask)
    with pytest.raises(ValueError, match="dilate '5%': a percentage is one of each face's square"):
        make().restore(photo, mask_of(photo), faces=faces, dilate="5%")


@pytest.mark.parametrize("side", [30, 240, 3000])
def test_what_is_hidden_never_reaches_the_inpainter(side):
    rng = np.random.default_rng(1)
    shape = (max(200, side), max(220, side))
    photo = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    mask = np.zeros(shape, np.uint8)
    middle, reach = np.array(shape) // 2, max(3, side // 6)
    mask[middle[0] - reach : middle[0] + reach, middle[1] - reach : middle[1] + reach] = 1
    other = photo.copy()
    other[mask == 1] = 255 - other[mask == 1]
    seen = []
    for picture in (photo, other):
        model = Flat()
        make(model).restore(picture, mask, faces=[face_at(side, middle[::-1], 10)])
        seen.append(model.occluded)
    assert torch.equal(*seen)
    assert (seen[0].flatten(2)[:, :, model.mask.flatten(2)[0, 0] == 1] == 1).all()


@pytest.mark.parametrize("side", [50, 130, 700])
def test_a_perfect_inpainter_gives_the_photo_back(side):
    """On ramps a shift is a change of value; the face is turned by 20 degrees."""
    rows, columns = np.mgrid[0:800, 0:900] / 800
    clean = np.rint(30 + 190 * np.stack([rows, columns * 0.8, 0.5 * (rows + columns)], -1))
    clean = clean.astype(np.uint8)
    face = face_at(side, (450, 400), 20)
    seen = make().restore(clean, faces=[face]).faces[0].aligned
    photo, reach = clean.copy(), side // 8
    photo[400 - reach : 400 + reach, 440 - reach : 440 + reach] = GREEN
    result = make(Truth(to_tensor(seen)[None])).restore(photo, faces=[face], blend="none")
    error = result.restored[result.mask == 1].astype(float) - clean[result.mask == 1]
    assert np.abs(error.mean(0)).max() < 0.4
    assert np.abs(error).max() <= 3


def test_segmenter_and_inpainter_may_differ_in_size_and_template():
    segmenter, inpainter = GreenFinder(), Flat()
    deoccluder = make(inpainter, segmenter, segmenter_size=96, segmenter_template="celeba")
    photo = photo_with((190, 220, 240, 290))
    result = deoccluder.restore(photo, faces=[face_at(240, (250, 200))], blend="none")
    assert segmenter.seen.shape == (1, 3, 96, 96)
    assert inpainter.occluded.shape == (1, 3, SIZE, SIZE)
    green = mask_of(photo)
    assert result.mask[green == 1].all()
    assert not result.mask[grown(green, DILATION * 240 + 3) == 0].any()
    with pytest.raises(ValueError, match="'lfw'"):
        make(segmenter_template="lfw")


def test_pixels_beyond_the_photo_are_not_redrawn():
    photo = photo_with((0, 0, 60, 80), shape=(160, 150))
    result = make().restore(photo, faces=[face_at(200, (50, 40))])
    green = mask_of(photo)
    assert result.mask[green == 1].all()
    assert not result.mask[grown(green, DILATION * 200 + 3) == 0].any()
    far = face_at(40, (5000, 50))
    result = make().restore(photo, faces=[far, face_at(200, (50, 40))])
    assert len(result.faces) == 1
    assert any("outside of the photo" in notice for notice in result.notices)


@pytest.mark.parametrize("blend", BLENDS)
def test_what_runs_out_of_the_faces_square_is_followed(blend):
    """The square ends in column 330, the wider view in column 410; another green thing there hangs
    together with nothing and is not this face's."""
    photo = photo_with((190, 240, 260, 390), (110, 370, 150, 400))
    result = make().restore(photo, faces=[face_at(160, (250, 200))], blend=blend)
    assert result.mask[190:260, 240:390].all()
    assert not result.mask[grown(mask_of(photo_with((190, 240, 260, 390))), 8) == 0].any()
    assert not mask_of(result.restored)[190:260].any()
    (face,) = result.faces
    (notice,) = face.notices
    assert "redrawn from a wider view" in notice
    long = photo_with((190, 240, 260, 480))
    result = make().restore(long, faces=[face_at(160, (250, 200))], blend=blend)
    assert result.mask[190:260, 240:405].all()
    assert not result.mask[:, 412:].any()
    assert "runs on beyond the wider view" in result.faces[0].notices[1]


class Steps(Flat):
    """Answers one level after the other; remembers all that it was shown."""

    def __init__(self, *levels):
        super().__init__()
        self.levels, self.pictures, self.holes = levels, [], []

    def forward(self, occluded, mask):
        self.pictures.append(occluded)
        self.holes.append(mask)
        return torch.full_like(occluded, self.levels[len(self.holes) - 1])


def test_the_wider_view_goes_on_from_the_redrawn_face_without_a_seam():
    inpainter = Steps(0.3, 0.7)
    photo = photo_with((150, 240, 260, 390))
    result = make(inpainter).restore(photo, faces=[face_at(160, (250, 200))], dilate=16)
    face, wider = inpainter.holes
    assert face[0, 0, 32, 40] == 1
    column = round(32 + (265 - 282) * SIZE / 256)  # some pixels inside the face's square
    assert wider[0, 0, 32, column] == 0
    assert inpainter.pictures[1][0, 0, 32, column] == pytest.approx(0.3, abs=0.01)
    row = result.restored[200, 290:345, 0].astype(int)
    assert abs(row[0] - 0.3 * 255) < 1
    assert abs(row[-1] - 0.7 * 255) < 1
    assert -1 <= np.diff(row).min() <= np.diff(row).max() < 25  # a ramp, no step of 102


def test_what_lies_beyond_the_photo_is_hole_to_an_inpainter_that_hides_holes():
    photo = photo_with((20, 20, 60, 80), shape=(160, 150))
    for hides in (True, False):
        inpainter = Steps(0.5)
        result = make(inpainter, hides=hides).restore(photo, faces=[face_at(200, (50, 40))])
        (hole,) = inpainter.holes
        assert (hole[0, 0, :16] == hides).all()  # the photo begins at row 60 of 200
        assert (hole[0, 0, 30:, :14] == hides).all()
        assert hole[0, 0, 60, 60] == 0
        assert not result.faces[0].aligned_mask[:16].any()


def test_a_mask_that_stays_in_the_square_or_ends_with_the_photo_asks_for_no_wider_view():
    segmenter = GreenFinder()
    shown = []
    segmenter.register_forward_hook(lambda module, seen, answer: shown.append(len(seen[0])))
    near = photo_with((190, 240, 260, 325))
    assert (
        not make(segmenter=segmenter)
        .restore(near, faces=[face_at(160, (250, 200))])
        .faces[0]
        .notices
    )
    edge = photo_with((100, 100, 160, 160), shape=(160, 160))
    assert (
        not make(segmenter=segmenter).restore(edge, faces=[face_at(200, (80, 80))]).faces[0].notices
    )
    assert shown == [1, 1]


def test_several_faces_the_larger_one_last():
    photo = photo_with((180, 120, 220, 170), (180, 330, 220, 400))
    faces = [face_at(240, (350, 200)), face_at(160, (140, 200)), face_at(100, (420, 60))]
    result = make().restore(photo, faces=faces)
    assert result.mask[mask_of(photo) == 1].all()
    assert [round(SIZE / np.hypot(*f.matrix[0, :2])) for f in result.faces] == [100, 160, 240]
    assert [face.restored for face in result.faces] == [False, True, True]
    assert "nothing covers this face" in result.faces[0].notices[0]
    assert result.faces[0].hole_ratio == 0

    class Numbered(Flat):
        def forward(self, occluded, mask):
            levels = torch.arange(1, len(occluded) + 1) / 10
            return levels.view(-1, 1, 1, 1).expand_as(occluded)

    photo = photo_with((190, 220, 230, 280))  # in both squares
    faces = [face_at(240, (270, 200)), face_at(160, (240, 200))]
    result = make(Numbered()).restore(photo, faces=faces)
    assert (result.restored[193:227, 223:277] == 51).all()  # 0.2, the second and larger


def test_nothing_found_is_said_and_never_called_restored():
    photo = photo_with()
    result = make().restore(photo)
    np.testing.assert_array_equal(result.restored, photo)
    assert not result.changed
    assert not result.mask.any()
    assert any("photo is unchanged" in notice for notice in result.notices)
    assert any("no face found" in notice for notice in result.notices)
    (face,) = result.faces
    assert not face.restored
    np.testing.assert_array_equal(face.aligned_restored, face.aligned)
    empty = make().restore(photo, faces=[])
    assert not empty.changed
    assert empty.faces == []
    assert empty.notices == ["no face found: nothing was redrawn"]
    assert (empty.faceless, result.faceless) == (True, False)


def test_a_face_that_is_all_covered_is_left_alone():
    photo = photo_with((80, 130, 320, 370))
    result = make().restore(photo, faces=[face_at(200, (250, 200))])
    assert not result.changed
    assert "nothing is left" in result.faces[0].notices[0]
    with pytest.raises(ValueError, match="all one"):
        make().restore(photo, np.ones((400, 500), np.uint8))
    with pytest.raises(ValueError, match="all one"):
        make().restore(photo, mask_of(photo), dilate=500)
    with pytest.raises(ValueError, match="all zero"):
        make().restore(photo, np.zeros((400, 500), np.uint8))


def test_uncertainty_is_the_difference_from_the_mirrored_prediction():
    class Slanted(Flat):
        def forward(self, occluded, mask):
            return torch.linspace(0, 1, SIZE).expand_as(occluded)

    photo = photo_with((190, 170, 240, 200))
    result = make(Slanted()).restore(photo, faces=[face_at(240, (250, 200))], uncertainty=True)
    assert result.uncertainty.shape == (400, 500)
    assert (result.uncertainty[result.mask == 0] == 0).all()
    expected = abs(1 - 2 * (185 - 130) / 240)
    assert result.uncertainty[215, 185] == pytest.approx(expected, abs=0.02)
    assert make().restore(photo).uncertainty is None


@pytest.mark.parametrize(
    ("batch", "sizes"), [(12, [12]), (8, [8, 4]), (5, [5, 5, 2]), (1, [1] * 12)]
)
def test_the_networks_see_as_many_faces_at_once_as_asked_for(batch, sizes):
    seen = {"segmenter": [], "inpainter": []}

    class Segmenter(GreenFinder):
        def forward(self, occluded):
            seen["segmenter"].append(len(occluded))
            return super().forward(occluded)

    class Inpainter(Flat):
        def forward(self, occluded, mask):
            seen["inpainter"].append(len(occluded))
            return super().forward(occluded, mask)

    places = [(x, y) for y in (60, 180, 300) for x in (60, 180, 300, 420)]
    photo = photo_with(*[(y, x - 15, y + 20, x + 15) for x, y in places])
    deoccluder = make(Inpainter(), Segmenter(), batch=batch)
    result = deoccluder.restore(photo, faces=[face_at(100, place) for place in places])
    assert seen == {"segmenter": sizes, "inpainter": sizes}
    assert len(result.faces) == 12
    assert all(face.restored for face in result.faces)
    assert not mask_of(result.restored).any()


@pytest.mark.parametrize("given", [False, True])
def test_an_inpainter_trained_under_occluders_is_shown_them(given):
    """The photo as it is, never a hole; what is redrawn and what stays is as for any other."""
    photo = photo_with((180, 200, 240, 300))
    green = mask_of(photo)
    shown, hidden = (make(hides=hides) for hides in (False, True))
    results = [
        each.restore(photo, green if given else None, faces=[face_at(240, (250, 200))])
        for each in (shown, hidden)
    ]
    np.testing.assert_array_equal(results[0].restored, results[1].restored)
    np.testing.assert_array_equal(results[0].mask, results[1].mask)
    (picture,) = to_uint8(shown.inpainter.network.occluded)
    np.testing.assert_array_equal(picture, results[0].faces[0].aligned)
    assert mask_of(picture).mean() > 0.05
    assert not (picture == 255).all(-1).any()
    assert (to_uint8(hidden.inpainter.network.occluded) == 255).all(-1).any()
    assert torch.equal(shown.inpainter.network.mask, hidden.inpainter.network.mask)
