"""One photo on its way: the page gives what the Python API gives, with the mask that is painted."""

import numpy as np
import pytest
from app_http import giant_png
from photo_stubs import Detector, draw_photo, face_at, is_green, stub_deoccluder
from PIL import Image

from deocclude.data.images import ImageReadError
from deocclude.engines.api import Restorer
from deocclude.engines.app import photo as photos
from deocclude.engines.app.editor import mask_url
from deocclude.engines.app.limits import MOST_FACES, Limits

FACES = [face_at(8, 14, 120), face_at(150, 4, 64)]
SHAPE = (150, 230)
LIMITS = Limits(bytes=10_000_000, pixels=4_000_000)


def restorer(*faces, **options):
    return Restorer(stub_deoccluder(Detector(faces, kinds=("mediapipe",)), **options))


@pytest.fixture
def path(tmp_path):
    """A photo of two faces, each covered."""
    path = tmp_path / "photo.png"
    Image.fromarray(draw_photo(SHAPE, *FACES)).save(path)
    return path


def opened(path, *faces, **options):
    networks = restorer(*faces, **options)
    one = photos.open_photo(networks, path, LIMITS)
    photos.find(networks, one, one.chosen, None)
    return networks, one


def restored(networks, one, value=None, blend="matched"):
    return photos.restore(networks, one, value, blend, unsure=False).restored


def same(one, other):
    return np.array_equal(np.asarray(one), np.asarray(other))


def test_a_photo_is_opened_with_its_faces_and_what_covers_them(path):
    _, one = opened(path, *FACES)
    assert (one.path, one.shape, one.orientation) == (path, SHAPE, 1)
    assert (one.faces, one.chosen, one.found) == (FACES, [1, 2], True)
    green = is_green(np.asarray(Image.open(path)))
    assert one.mask[green].all()
    assert one.mask.sum() < 2 * green.sum()
    assert (one.shown == one.mask).all()
    assert one.picture().startswith("data:image/jpeg;base64,")


@pytest.mark.parametrize("sent", [False, True])
def test_an_untouched_mask_gives_what_python_gives(path, sent):
    networks, one = opened(path, *FACES)
    value = {"mask": mask_url(one.shown)} if sent else None
    result = restored(networks, one, value, "feather")
    wanted = networks.restore(path, blend="feather")
    assert wanted.changed
    assert same(result.image, wanted.image)
    assert same(result.mask, wanted.mask)
    assert result.notices == wanted.notices


def test_chosen_faces_and_growth(path):
    networks, one = opened(path, *FACES)
    photos.find(networks, one, [2, 7, 0, -1], 10.0)
    assert (one.chosen, one.dilate) == ([2], "10%")
    assert not one.mask[:, :140].any()
    wanted = networks.restore(path, faces=[FACES[1]], dilate="10%")
    result = restored(networks, one)
    assert same(result.image, wanted.image)
    assert same(result.mask, wanted.mask)
    photos.find(networks, one, [], None)
    assert not one.mask.any()
    assert photos.restore(networks, one, None, "matched", unsure=False) is None


def test_a_search_that_fails_changes_nothing(path, monkeypatch):
    networks, one = opened(path, *FACES)
    before = one.mask

    def fail(*given, **options):
        raise ValueError("no more memory")

    monkeypatch.setattr(networks, "find_mask", fail)
    with pytest.raises(ValueError, match="no more memory"):
        photos.find(networks, one, [2], 10.0)
    assert (one.chosen, one.growth, one.found) == ([1, 2], None, True)
    assert same(one.mask, before)


def test_of_a_crowd_the_largest_faces_are_taken(path):
    crowd = [face_at(x, 20, 20 + x / 9) for x in range(MOST_FACES + 3)]
    one = photos.open_photo(restorer(*crowd), path, LIMITS)
    assert one.faces == crowd[:2:-1]
    assert one.notices == [f"3 of {len(crowd)} faces left out: 3 beyond the {MOST_FACES} largest"]


def test_what_is_painted_is_redrawn_and_nothing_else(path):
    networks, one = opened(path, *FACES)
    edited = np.zeros_like(one.shown)
    edited[40:60, 40:70] = True  # on skin that nothing covers
    result = restored(networks, one, {"mask": mask_url(edited)}, "none")
    assert ((np.asarray(result.mask) > 0) == edited).all()
    before, after = np.asarray(Image.open(path)), np.asarray(result.image)
    assert (before == after).all(-1)[~edited].all()
    assert (before != after).any(-1)[edited].mean() > 0.9


def test_painting_where_no_face_is_found(path):
    networks, one = opened(path)
    assert (one.faces, one.notices) == ([], ["no face found"])
    assert photos.restore(networks, one, None, "matched", unsure=False) is None
    edited = one.shown.copy()
    edited[50:90, 60:120] = True
    outcome = photos.restore(networks, one, {"mask": mask_url(edited)}, "none", unsure=False)
    wanted = networks.restore(path, Image.fromarray(edited.astype(np.uint8) * 255), blend="none")
    assert same(outcome.restored.image, wanted.image)
    assert outcome.restored.changed == wanted.changed


def test_erasing_everything_marks_nothing(path):
    networks, one = opened(path, *FACES)
    value = {"mask": mask_url(np.zeros_like(one.shown))}
    assert photos.restore(networks, one, value, "matched", unsure=False) is None


def test_painting_all_leaves_no_edge_of_what_was_found(path):
    networks, one = opened(path, *FACES)
    levels = photos.levels_of(networks, one, np.ones(SHAPE, bool))
    assert (np.asarray(levels) == 255).all()
    with pytest.raises(ValueError, match="mask"):
        restored(networks, one, {"mask": mask_url(np.ones_like(one.shown))})


def test_a_mask_file_takes_the_place_of_what_was_found(path, tmp_path):
    networks, one = opened(path, *FACES)
    mask = np.zeros(SHAPE, np.uint8)
    mask[40:60, 40:70] = 255
    file = tmp_path / "my mask.png"
    Image.fromarray(mask).save(file)
    assert photos.take_mask(one, file, LIMITS) == []
    assert not one.found
    assert same(one.mask, mask > 0)
    wanted = networks.restore(path, file)
    assert same(restored(networks, one).mask, wanted.mask)
    Image.fromarray(mask).resize((115, 75), Image.Resampling.NEAREST).save(file)
    (notice,) = photos.take_mask(one, file, LIMITS)
    assert "my mask.png" in notice
    assert str(tmp_path) not in notice
    photos.find(networks, one, one.chosen, None)
    assert one.found


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (draw_photo(SHAPE, *FACES), "is no mask"),
        (np.zeros((90, 90), np.uint8), "90 x 90"),
        (np.zeros(SHAPE, np.uint8), "black"),
        (None, "is no picture that can be read"),
    ],
)
def test_what_is_no_mask_of_the_photo_leaves_the_mask_as_it_was(path, tmp_path, mask, said):
    _, one = opened(path, *FACES)
    before, file = one.mask.copy(), tmp_path / "mask.png"
    if mask is None:
        file.write_bytes(b"GIF89a and no more")
    else:
        Image.fromarray(mask).save(file)
    with pytest.raises(ValueError, match=said) as caught:
        photos.take_mask(one, file, LIMITS)
    assert str(tmp_path) not in str(caught.value)
    assert same(one.mask, before)
    assert one.found


def test_a_photo_that_exif_turns_lies_upright(tmp_path):
    upright = draw_photo(SHAPE, *FACES)
    path = tmp_path / "turned.png"
    exif = Image.Exif()
    exif[0x0112] = 6  # the file is turned by a quarter
    Image.fromarray(np.rot90(upright).copy()).save(path, exif=exif)
    networks, one = opened(path, *FACES)
    assert (one.shape, one.orientation) == (SHAPE, 6)
    assert same(one.small, upright)
    wanted = networks.restore(path)
    assert wanted.changed
    assert same(restored(networks, one).image, wanted.image)
    edited = np.zeros_like(one.shown)
    edited[40:60, 40:70] = True
    result = restored(networks, one, {"mask": mask_url(edited)}, "none")
    assert same(np.asarray(result.mask) > 0, edited)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "I;16", "CMYK"])
def test_every_mode_gives_what_python_gives(path, tmp_path, mode):
    picture = Image.open(path)
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    else:
        picture = picture.convert(mode)
    if mode in ("LA", "RGBA"):
        picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    file = tmp_path / ("x.tif" if mode == "CMYK" else "x.png")
    picture.save(file)
    networks, one = opened(file, *FACES)
    edited = np.zeros_like(one.shown)
    edited[40:60, 40:70] = True
    result = restored(networks, one, {"mask": mask_url(edited)}, "none")
    wanted = networks.restore(file, Image.fromarray(edited.astype(np.uint8) * 255), faces=FACES,
                              blend="none")  # fmt: skip
    assert result.image.mode == wanted.image.mode
    assert same(result.image, wanted.image)
    assert result.changed


def test_a_large_photo_is_shown_small_and_restored_whole(tmp_path):
    big = [face_at(40, 70, 600)]
    path = tmp_path / "big.png"
    Image.fromarray(draw_photo((900, 1500), *big)).save(path)
    networks, one = opened(path, *big)
    assert one.small.shape == (614, 1024, 3)
    assert one.shown.shape == (614, 1024)
    assert one.mask.shape == (900, 1500)
    edited = one.shown.copy()
    edited[:20, 900:] = True
    result = restored(networks, one, {"mask": mask_url(edited)})
    marked = np.asarray(result.mask) > 0
    assert same(marked[:, :1200], one.mask[:, :1200])
    assert marked[:25, 1330:].all()


def test_how_unsure_the_network_is_comes_as_a_picture(path):
    networks, one = opened(path, *FACES)
    outcome = photos.restore(networks, one, None, "matched", unsure=True)
    drawn = np.asarray(photos.doubt_picture(outcome.restored))
    assert drawn.shape == (*SHAPE, 3)
    outside = np.asarray(outcome.restored.mask) == 0
    assert (drawn[outside].std(-1) == 0).all()  # in grey


@pytest.mark.parametrize("name", ["a`b`.jpg", "[x](y).jpg", "&lt;b&gt;.jpg", "upload.jpg"])
def test_a_visitors_name_of_the_file_is_what_is_said(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"no picture")
    with pytest.raises(ImageReadError) as caught:
        photos.open_photo(restorer(), path, LIMITS)
    assert str(caught.value) == f"{name}: is no picture that can be read"


def test_a_damaged_photo_is_said_by_its_name(path, tmp_path):
    cut = tmp_path / "mine.png"
    cut.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ImageReadError, match=r"^mine.png: cannot be read") as caught:
        photos.open_photo(restorer(), cut, LIMITS)
    assert str(tmp_path) not in str(caught.value)


def test_what_is_too_large_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("decoded"))
    file = tmp_path / "giant.png"
    file.write_bytes(giant_png(60000, 60000))
    with pytest.raises(ImageReadError, match=r"60000 x 60000 are 3600 million pixels.* at most 4"):
        photos.open_photo(restorer(), file, LIMITS)
    with pytest.raises(ImageReadError, match=r"giant.png: 60000 x 60000"):
        photos.take_mask(None, file, LIMITS)
    long = tmp_path / "long.png"
    long.write_bytes(bytes(11_000_000))
    with pytest.raises(ImageReadError, match=r"long.png: 11 MB; this page takes at most 10"):
        photos.check_file(long, LIMITS)


def test_as_many_pixels_as_the_page_takes(path):
    pixels = SHAPE[0] * SHAPE[1]
    photos.open_photo(restorer(), path, Limits(pixels=pixels))
    with pytest.raises(ImageReadError, match=r"photo.png: 230 x 150"):
        photos.open_photo(restorer(), path, Limits(pixels=pixels - 1))


def test_formats_that_start_other_programs_are_refused(path, tmp_path):
    file = tmp_path / "a.jpg"
    Image.open(path).save(file, "EPS")
    with pytest.raises(ImageReadError, match=r"a.jpg: EPS is not taken"):
        photos.open_photo(restorer(), file, LIMITS)
