"""`benchmarks/photo_sheets.py`: the face of each photo, numbered, outside of the project."""

import csv

import numpy as np
import pytest
from PIL import Image

from benchmarks import photo_sheets
from benchmarks.photo_sheets import ROOT, show, write_sheets
from deocclude.engines.photos.face import Face
from deocclude.engines.photos.restoration import FaceResult, Restoration

SIZE = 40


def photo():
    """Grey, with a green square of 80 px whose left upper corner is (100, 60)."""
    image = np.full((200, 300, 3), 90, np.uint8)
    image[60:140, 100:180] = (0, 255, 0)
    return image


def found(side, left, top, ratio=0.2):
    """A face in a square of the photo, as a network of 20 px sees it."""
    scale = 20 / side
    blank = np.zeros((20, 20, 3), np.uint8)
    matrix = np.array([[scale, 0, -scale * left], [0, scale, -scale * top]])
    face = Face((left, top, side, side), None, 1.0, "mediapipe")
    return FaceResult(face, blank, blank[..., 0], blank, ratio, matrix)


def restoration(*faces):
    mask = np.zeros((200, 300), np.uint8)
    mask[60:140, 140:180] = 1
    return Restoration(photo() // 2, mask, list(faces))


def test_a_tile_is_the_square_of_the_largest_face():
    shown = show("a.jpg", photo(), restoration(found(10, 0, 0), found(80, 100, 60)), SIZE, 1.0)
    before, tinted, after = shown.tiles
    assert (before == (0, 255, 0)).all()
    assert (after == (0, 127, 0)).all()
    assert (tinted[:, :19] == (0, 255, 0)).all()
    assert (tinted[:, 21:, 0] == 127).all()
    wide = show("a.jpg", photo(), restoration(found(80, 100, 60)), SIZE, 2.0).tiles[0]
    assert (wide[:9] == 90).all()
    assert (wide[11:29, 11:29] == (0, 255, 0)).all()


def test_without_a_face_the_whole_photo_is_shown():
    shown = show("a.jpg", photo(), restoration(), SIZE, 1.25)
    assert shown.faces == 0
    assert (shown.tiles[0][0] == 255).all()  # beside the photo
    assert (shown.tiles[0][20] == (0, 255, 0)).all(-1).sum() == pytest.approx(80 * 40 / 300, abs=2)


def test_sheets_number_their_photos(tmp_path):
    each = [show(f"{n}.jpg", photo(), restoration(found(80, 100, 60)), SIZE, 1) for n in range(5)]
    files = write_sheets(each, tmp_path, across=2, down=2)
    assert [file.name for file in files] == ["sheet-01.png", "sheet-02.png"]
    assert Image.open(files[0]).size[0] > 6 * SIZE
    rows = list(csv.DictReader((tmp_path / "photos.csv").open()))
    assert [(row["number"], row["file"]) for row in rows[::4]] == [("1", "0.jpg"), ("5", "4.jpg")]


def test_nothing_is_written_into_the_project(tmp_path, capsys):
    options = ["--photos", str(tmp_path), "--output"]
    assert photo_sheets.main([*options, str(ROOT / "runs" / "sheets")]) == 1
    assert "lies in the project" in capsys.readouterr().err
    assert photo_sheets.main([*options, str(tmp_path / "out")]) == 1
    assert "no images" in capsys.readouterr().err
