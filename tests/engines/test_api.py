"""`from deocclude import restore, find_mask, load`: what they take, give back, keep and refuse."""

import inspect
import io
import subprocess
import sys
import typing
from pathlib import Path

import numpy as np
import pytest
import torch
from api_stubs import FACE, SHAPE, ship_stand_ins, write_weights
from photo_stubs import (
    GREEN,
    Constant,
    draw_photo,
    is_green,
    write_release,
)
from PIL import Image
from release_stubs import write_sums

import deocclude
from deocclude import find_faces, find_mask, load, models, restore
from deocclude.engines import api
from deocclude.engines.photos.detection import FaceDetector
from deocclude.engines.runs import released

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def weights(tmp_path, monkeypatch):
    return ship_stand_ins(tmp_path, monkeypatch)


def photo_as(kind):
    """The same covered face, as something that `restore` takes."""
    photo = draw_photo(SHAPE, FACE)
    picture = Image.fromarray(photo)
    picture.save("photo.png")
    if kind == "array with transparency":
        return np.dstack([photo, np.full(SHAPE, 200, np.uint8)])
    return {
        "name": "photo.png",
        "path": Path("photo.png"),
        "picture": picture,
        "palette": picture.quantize(256),
        "array": photo,
    }[kind]


@pytest.mark.parametrize(
    "kind", ["name", "path", "picture", "palette", "array", "array with transparency"]
)
def test_three_lines_restore_a_photo_of_any_kind(kind):
    photo = photo_as(kind)
    restored = restore(photo, device="cpu")
    assert restored.changed
    assert restored.image.mode == ("RGBA" if "transparency" in kind else "RGB")
    assert restored.image.size == restored.mask.size == SHAPE[::-1]
    mask = np.asarray(restored.mask)
    assert restored.mask.mode == "L"
    assert set(np.unique(mask)) == {0, 255}
    after = np.asarray(restored.image)
    before = np.asarray(Image.open("photo.png") if kind in ("name", "path") else photo_rgb(photo))
    np.testing.assert_array_equal(after[mask == 0][:, :3], before[mask == 0][:, :3])
    assert not is_green(after[..., :3]).any()
    assert len(restored.faces) == 1
    restored.save("restored.png")
    np.testing.assert_array_equal(np.asarray(Image.open("restored.png")), after)
    shown = Image.open(io.BytesIO(restored._repr_png_()))
    assert shown.size == restored.image.size


def photo_rgb(photo):
    return photo if isinstance(photo, np.ndarray) else photo.convert("RGB")


def test_a_grey_picture_stays_grey_and_keeps_its_transparency():
    colour = draw_photo(SHAPE, FACE)
    mask = is_green(colour)
    grey = Image.fromarray(colour).convert("LA")
    restored = restore(grey, mask, device="cpu")
    assert restored.image.mode == "LA"
    assert restore(np.asarray(grey)[..., 0], mask, device="cpu").image.mode == "L"
    np.testing.assert_array_equal(np.asarray(restored.mask) > 0, mask)
    np.testing.assert_array_equal(np.asarray(restored.image)[~mask], np.asarray(grey)[~mask])


def test_exif_turns_a_picture_and_its_mask_is_upright():
    upright = Image.fromarray(draw_photo(SHAPE, FACE))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = upright.rotate(90, expand=True)
    turned.getexif()[0x0112] = 6
    for photo in (turned, "turned.png"):
        turned.save("turned.png", exif=exif)
        restored = restore(photo, device="cpu")
        assert restored.image.size == upright.size
        assert not is_green(np.asarray(restored.image)).any()


@pytest.mark.parametrize("kind", ["bool", "levels", "0 and 1", "picture", "file"])
def test_a_mask_of_any_kind(kind):
    photo = draw_photo(SHAPE, FACE)
    hole = np.zeros(SHAPE, bool)
    hole[60:90, 60:100] = True
    levels = hole * np.uint8(255)
    Image.fromarray(levels).save("mask.png")
    mask = {
        "bool": hole,
        "levels": levels,
        "0 and 1": hole.astype(np.uint8),
        "picture": Image.fromarray(levels),
        "file": "mask.png",
    }[kind]
    (released.FOLDER / released.FILES["segmentation"]).unlink()  # not needed
    restored = restore(photo, mask, device="cpu")
    np.testing.assert_array_equal(np.asarray(restored.mask), levels)
    classical = restore(photo, mask, method="telea")
    np.testing.assert_array_equal(np.asarray(classical.mask), levels)
    assert (np.asarray(classical.image)[hole] != np.asarray(restored.image)[hole]).any()


def test_find_mask_needs_no_inpainter_and_is_what_restore_redraws():
    photo = draw_photo(SHAPE, FACE)
    redrawn = restore(photo, device="cpu").mask
    (released.FOLDER / released.FILES["inpainting"]).unlink()
    found = find_mask(photo, device="cpu")
    np.testing.assert_array_equal(np.asarray(found), np.asarray(redrawn))
    own = np.asarray(find_mask(photo, device="cpu", dilate=0)) > 0
    assert own.sum() < (np.asarray(found) > 0).sum()
    assert (own & is_green(photo)).sum() > 0.95 * is_green(photo).sum()
    assert not np.asarray(find_mask(draw_photo(SHAPE, FACE, covered=False), device="cpu")).any()


def test_networks_are_loaded_once_and_anew_when_their_file_is_another(weights):
    photo = draw_photo(SHAPE, FACE)
    for options in ({}, {}, {"flip": True}, {"blend": "none"}, {"dilate": 1}):
        restore(photo, device="cpu", **options)
    assert len(weights) == 1
    before = np.asarray(restore(photo, device="cpu", blend="feather").image)
    path = released.FOLDER / released.FILES["inpainting"]
    write_release(path, "inpainting", "constant", Constant(0.9), size=64)
    write_sums(released.FOLDER)
    after = np.asarray(restore(photo, device="cpu", blend="feather").image)
    assert len(weights) == 2
    assert after.mean() > before.mean() + 1


def test_loaded_networks_do_what_the_functions_do_and_stay_as_they_were_loaded(weights):
    photo = draw_photo(SHAPE, FACE)
    restorer = load(device="cpu")
    mask = is_green(photo)
    for name in released.FILES.values():
        (released.FOLDER / name).unlink()  # not looked at again
    found = restorer.find_mask(photo)
    restored = [
        restorer.restore(photo, **given)
        for given in ({}, {"mask": mask}, {"flip": True}, {"grain": False})
    ]
    own = restorer.find_mask(photo, dilate=0)
    assert len(weights) == 1
    write_weights()
    np.testing.assert_array_equal(found, find_mask(photo, device="cpu"))
    np.testing.assert_array_equal(own, find_mask(photo, device="cpu", dilate=0))
    for given, one in zip(
        ({}, {"mask": mask}, {"flip": True}, {"grain": False}), restored, strict=True
    ):
        np.testing.assert_array_equal(one.image, restore(photo, device="cpu", **given).image)
    np.testing.assert_array_equal(restorer.restore(photo).image, restored[0].image)


def test_the_api_is_typed_and_documented():
    for name in deocclude.__all__:
        thing = getattr(deocclude, name)
        assert thing.__doc__
        assert name in dir(deocclude)
    methods = [getattr(api.Restorer, n) for n in ("restore", "find_mask", "find_faces", "apart")]
    for function in (restore, find_mask, find_faces, load, *methods, api.Restored.save):
        parameters = inspect.signature(function).parameters
        hints = typing.get_type_hints(function)
        assert set(hints) == {*parameters, "return"} - {"self"}, function
        assert function.__doc__


def test_saving_refuses_what_would_be_lost():
    restored = restore(draw_photo(SHAPE, FACE), device="cpu")
    assert restored.save("a.png") == Path("a.png")
    with pytest.raises(FileExistsError, match=r"a\.png: exists already; overwrite=True"):
        restored.save("a.png")
    restored.save("a.png", overwrite=True)
    with pytest.raises(ValueError, match=r"a\.gif: cannot write"):
        restored.save("a.gif")
    assert Image.open(restored.save("a.jpg")).mode == "RGB"


@pytest.mark.parametrize(
    ("photo", "options", "error", "message"),
    [
        ("none.jpg", {}, FileNotFoundError, "none.jpg"),
        (np.zeros((4, 4, 2), np.uint8), {}, ValueError, r"array must be uint8 .*\(4, 4, 2\)"),
        (np.zeros((4, 4, 3), float), {}, ValueError, r"array must be uint8 .*float64"),
        (7, {}, ValueError, "found int"),
        (np.zeros((4, 4, 3), np.uint8), {"mask": np.ones((3, 4))}, ValueError, r"\(4, 4\)"),
        (np.zeros((4, 4, 3), np.uint8), {"method": "telea"}, ValueError, "a mask is needed"),
        (np.zeros((4, 4, 3), np.uint8), {"method": "x"}, ValueError, "'x' is not one of telea"),
        (np.zeros((4, 4, 3), np.uint8), {"checkpoint": "x"}, FileNotFoundError, "x: no finished"),
        (np.zeros((4, 4, 3), np.uint8), {"dilate": "5"}, ValueError, "or '0%' to '100%' .* '5'"),
        (np.zeros((4, 4, 3), np.uint8), {"faces": 1.5}, ValueError, "list of faces, found 1.5"),
    ],
)
def test_bad_arguments_are_named(photo, options, error, message):
    with pytest.raises(error, match=message):
        restore(photo, **options)


def test_an_unknown_name_is_an_import_error():
    with pytest.raises(AttributeError, match="'nothing'"):
        _ = deocclude.nothing


def test_it_is_imported_from_any_folder(tmp_path):
    """The three lines in a process of their own; only the landmarker lies in the checkout."""
    code = "import sys; sys.path.insert(0, sys.argv[1])\nfrom deocclude import restore, find_mask\n"
    code += "print(restore.__module__, find_mask.__name__)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT)], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.split() == ["deocclude.engines.api", "find_mask"], done.stderr


def test_whole_takes_the_middle_where_no_face_is_found_and_only_then(monkeypatch):
    monkeypatch.setattr(
        api, "FaceDetector", lambda *a, **k: FaceDetector(kinds=("haar",), template=k["template"])
    )
    covered = np.full((96, 96, 3), 90, np.uint8)
    covered[40:60, 30:60] = GREEN
    plain = restore(covered)
    assert not plain.changed
    assert any(notice.startswith("no face found") for notice in plain.notices)
    assert restore(covered, whole=True).changed
    assert not restore(covered).changed  # the networks that are kept forget it


def test_a_percentage_of_the_square_is_refused_where_there_is_none():
    photo = draw_photo(SHAPE, FACE)
    for options in ({"device": "cpu"}, {"method": "telea"}):
        with pytest.raises(ValueError, match="dilate '5%': a percentage is one of each face"):
            restore(photo, is_green(photo), dilate="5%", **options)


class Slanted(Constant):
    """Darker on the left, whichever way round its input is."""

    def forward(self, occluded, mask, features=None):
        return super().forward(occluded, mask) * torch.linspace(0, 1, occluded.shape[-1])


def test_how_unsure_the_inpainter_is_is_said_when_asked(monkeypatch):
    photo = draw_photo(SHAPE, FACE)
    path = released.FOLDER / released.FILES["inpainting"]
    monkeypatch.setitem(models.INPAINTERS, "constant", Slanted)
    write_release(path, "inpainting", "constant", Slanted(), size=64)
    write_sums(released.FOLDER)
    plain = restore(photo, device="cpu")
    assert plain.uncertainty is None
    for mask in (None, is_green(photo)):
        told = restore(photo, mask, device="cpu", uncertainty=True)
        hole = np.asarray(told.mask) > 0
        assert (told.uncertainty.shape, told.uncertainty.dtype) == (SHAPE, np.float32)
        assert 0.01 < told.uncertainty[hole].max() <= 1
        assert not told.uncertainty[~hole].any()
    told = restore(photo, device="cpu", uncertainty=True)
    np.testing.assert_array_equal(told.image, plain.image)
    np.testing.assert_array_equal(
        load(device="cpu").restore(photo, uncertainty=True).uncertainty, told.uncertainty
    )
    with pytest.raises(ValueError, match="uncertainty: telea does not say"):
        restore(photo, is_green(photo), method="telea", uncertainty=True)
