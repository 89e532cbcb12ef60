"""The faces of examples/, restored by the weights that ship."""

from pathlib import Path

import numpy as np
import pytest

from deocclude.data.images import load_image
from deocclude.data.mask_files.reading import load_mask
from deocclude.engines.api import restore
from deocclude.engines.inference.hole_mask import DILATION, dilate
from deocclude.engines.runs.released import FILES, FOLDER

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
PICTURES = sorted(EXAMPLES.glob("*.jpg"))
LEAST_IOU = 0.75  # of masks with their dilation, which agree a little more easily


def psnr(picture: np.ndarray, original: np.ndarray, mask: np.ndarray) -> float:
    """In dB, over the masked pixels of two uint8 pictures."""
    error = picture[mask > 0].astype(np.float64) - original[mask > 0]
    return float(10 * np.log10(255**2 / np.square(error).mean()))


@pytest.fixture(scope="module")
def weights():
    """Skips while there are none; those that are there must work."""
    missing = [name for name in FILES.values() if not (FOLDER / name).is_file()]
    if missing:
        pytest.skip(f"{FOLDER.name}/ lacks {', '.join(missing)}")


def test_there_are_six_with_originals_and_masks():
    assert len(PICTURES) == 6
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for path in PICTURES:
        occluded, original = load_image(path), load_image(EXAMPLES / "originals" / path.name)
        mask = load_mask(EXAMPLES / "masks" / f"{path.stem}.png")
        assert occluded.shape == original.shape == (256, 256, 3)
        change = np.abs(occluded.astype(int) - original).mean(axis=2)
        assert change[mask > 0].mean() > 10 * change[mask == 0].mean()  # but for JPEG and a shadow
        assert path.name in readme
    for folder in ("originals", "masks"):
        assert {p.stem for p in (EXAMPLES / folder).iterdir()} == {p.stem for p in PICTURES}


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_restoring_an_example(path, weights):
    occluded, original = load_image(path), load_image(EXAMPLES / "originals" / path.name)
    true = load_mask(EXAMPLES / "masks" / f"{path.stem}.png")
    restored = restore(path, device="cpu")
    assert [face.face.source for face in restored.faces] == ["mediapipe"], restored.notices
    assert restored.changed
    image, redrawn = np.asarray(restored.image), np.asarray(restored.mask) > 0
    grown = dilate(true, DILATION * len(true)) > 0  # as a mask that was found is
    assert (redrawn & grown).sum() / (redrawn | grown).sum() >= LEAST_IOU
    assert np.array_equal(image[~redrawn], occluded[~redrawn])
    assert psnr(image, original, true) > psnr(occluded, original, true)
