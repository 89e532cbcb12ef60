"""`python deocclude.py` on many faces, tiny and huge ones, and without MediaPipe."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from photo_stubs import GREEN, Detector, call, draw_photo, face_at, is_green, stub_deoccluder
from PIL import Image

from deocclude.engines.cli import photos
from deocclude.engines.cli import restore as restore_command
from deocclude.engines.inference.baselines import RADIUS
from deocclude.engines.photos.detection import FaceDetector

ROOT = Path(__file__).resolve().parent.parent
MEMORY = 4096  # MiB


@pytest.fixture
def restore(tmp_path, monkeypatch, capsys):
    """Run the command in an empty folder with stub networks; (exit code, what was printed)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(restore_command, "choose_weights", lambda _, task, runs: (Path(task), task))
    monkeypatch.setattr(photos, "load_deoccluder", lambda *a, **k: stub_deoccluder())

    def run(*arguments, detector):
        monkeypatch.setattr(photos, "FaceDetector", lambda *a, **k: detector)
        return call(restore_command.main, capsys, *arguments)

    return run


def test_twenty_faces_are_all_restored(restore):
    faces = [
        face_at(10 + 100 * column, 10 + 100 * row, 90) for row in range(4) for column in range(5)
    ]
    photo = draw_photo((420, 520), *faces)
    Image.fromarray(photo).save("crowd.png")
    code, text = restore("crowd.png", "--batch", "3", "-o", "out.png", detector=Detector(faces))
    assert code == 0, text
    assert is_green(photo).sum() > 20 * 200
    assert not is_green(np.asarray(Image.open("out.png"))).any()


def test_a_face_of_30_pixels(restore):
    face = face_at(40, 40, 50)  # a square of 50, its face 30 wide
    photo = draw_photo((150, 170), face)
    Image.fromarray(photo).save("small.png")
    code, text = restore("small.png", "-o", "out.png", detector=Detector([face]))
    assert code == 0, text
    restored = np.asarray(Image.open("out.png"))
    assert is_green(restored).sum() < 0.1 * is_green(photo).sum()
    np.testing.assert_array_equal(restored[:, 110:], photo[:, 110:])


HUGE = """
import sys
import numpy as np
import torch
sys.path[:0] = sys.argv[1:3]
from deocclude.engines.runs.memory import peak_mib
from photo_stubs import Detector, GREEN, face_at, stub_deoccluder
side = 6000
face = face_at(0, 0, side / 0.6)._replace(box=(0, 0, side, side))
points = {name: (x - side / 3, y - side / 3) for name, (x, y) in face.points.items()}
photo = np.full((side, side, 3), 120, np.uint8)
photo[3500:4500, 2000:4500] = GREEN
result = stub_deoccluder(Detector([face._replace(points=points)])).restore(photo, grain=True)
assert result.changed
same = (result.restored == photo).all(axis=2) | (result.mask == 1)
assert same.all()
green = (result.restored[3500:4500, 2000:4500] == GREEN).all(axis=2)
assert green.mean() < 0.02, green.mean()
print(int(peak_mib(torch.device("cpu"))))
"""


@pytest.mark.slow
@pytest.mark.skipif(
    sys.platform != "linux",
    reason="elsewhere the peak of this process's parent counts, or none is known",
)
def test_a_face_of_6000_pixels_takes_less_than_4_gb():
    command = [sys.executable, "-c", HUGE, str(ROOT), str(ROOT / "tests")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < MEMORY


@pytest.mark.parametrize("covered", [True, False])
def test_without_mediapipe_the_photo_says_what_is_missing(restore, monkeypatch, covered):
    monkeypatch.setitem(sys.modules, "mediapipe", None)  # import raises ImportError
    face = face_at(30, 20, 110)
    photo = draw_photo((150, 170), face, covered=covered)
    Image.fromarray(photo).save("photo.png")
    code, text = restore("photo.png", "-o", "out.png", detector=FaceDetector())
    assert "MediaPipe is not installed" in text
    assert "Traceback" not in text
    assert code in (0, 1)


@pytest.mark.parametrize("method", ["telea", "biharmonic"])
def test_a_large_hole_without_a_network(restore, method, monkeypatch):
    """A photo of 12 megapixels; the biharmonic equation is solved on a smaller copy, and said."""
    ramp = np.linspace(60, 190, 4000).astype(np.uint8)
    photo = np.broadcast_to(ramp[None, :, None], (3000, 4000, 3)).copy()
    mask = np.zeros((3000, 4000), np.uint8)
    cv2.circle(mask, (1500, 1200), 130, 255, -1)
    mask[40:60, 3000:3040] = 255
    Image.fromarray(np.where(mask[..., None] > 0, np.uint8(GREEN), photo)).save("photo.bmp")
    Image.fromarray(mask).save("mask.png")
    words = ["photo.bmp", "--mask", "mask.png", "--method", method, "-o", "out.bmp"]
    code, text = restore(*words, detector=None)
    assert (code, "smaller copy" in text) == (0, method == "biharmonic"), text
    restored = np.asarray(Image.open("out.bmp"))
    np.testing.assert_array_equal(restored[mask == 0], photo[mask == 0])
    if method == "telea":  # as OpenCV fills it when it is shown more
        part = np.s_[900:1500, 1200:1800]
        filled = cv2.inpaint(photo[part], mask[part] // 255, RADIUS, cv2.INPAINT_TELEA)
        np.testing.assert_array_equal(restored[part], filled)
    difference = np.abs(restored.astype(int) - photo)[mask > 0]
    assert difference.mean() < (3 if method == "biharmonic" else 8)
