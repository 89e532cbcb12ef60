"""Weights and a detector that stand in for those that ship, for the tests of `engines.api`."""

from photo_stubs import Constant, Detector, GreenFinder, face_at, write_release
from release_stubs import write_sums

from deocclude import models
from deocclude.engines import api
from deocclude.engines.runs import released

FACE = face_at(30, 20, 110)
SHAPE = (150, 170)


def ship_stand_ins(tmp_path, monkeypatch, faces=(FACE,)) -> list[Detector]:
    """Stand-ins that ship, an empty working folder; the detectors that are made, which know
    `faces`."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setitem(models.INPAINTERS, "constant", Constant)
    monkeypatch.setitem(models.SEGMENTERS, "green", GreenFinder)
    made = []
    monkeypatch.setattr(
        api, "FaceDetector", lambda *a, **k: made.append(Detector(faces)) or made[-1]
    )
    monkeypatch.setattr(released, "FOLDER", tmp_path / "weights")
    write_weights()
    api._cached.cache_clear()
    api._kept_detector.cache_clear()
    return made


def write_weights() -> None:
    folder, names = released.FOLDER, released.FILES
    write_release(folder / names["inpainting"], "inpainting", "constant", Constant(), size=64)
    write_release(folder / names["segmentation"], "segmentation", "green", GreenFinder(), size=96)
    write_sums(folder)
