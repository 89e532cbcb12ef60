"""One mask of your own for a video: turned like it, weighed in every frame."""

import numpy as np
import pytest
from mask_stubs import photograph
from photo_stubs import stub_deoccluder
from PIL import Image
from video_stubs import write_clip

from deocclude.data.mask_files.reading import MaskError
from deocclude.engines.jobs.plan import Choices, Job
from deocclude.engines.moving.video import restore_video
from deocclude.engines.photos.deoccluder import Deoccluder
from deocclude.engines.video.reading import VideoReader

SHAPE = (48, 64)  # as stored; shown 64 high and 48 wide


@pytest.mark.parametrize("degrees", [90, -90])
def test_a_mask_of_a_rotated_video(tmp_path, degrees, monkeypatch):
    stored = np.zeros((*SHAPE, 3), np.uint8)
    stored[:, :] = photograph(64)[:48]
    write_clip(tmp_path / "v.mp4", [stored] * 2, turned=(degrees,))
    levels = np.zeros(SHAPE, np.uint8)
    levels[8:16, 40:60] = 255
    Image.fromarray(levels).save(tmp_path / "raw.png")
    job = Job(tmp_path / "v.mp4", tmp_path / "raw.png", tmp_path / "out.mp4")
    deoccluder = stub_deoccluder()
    seen = []
    restore = Deoccluder.restore
    monkeypatch.setattr(
        Deoccluder,
        "restore",
        lambda self, image, mask, *a, **k: (
            seen.append((image, mask)) or restore(self, image, mask, *a, **k)
        ),
    )
    row = restore_video(deoccluder, job, Choices())
    assert "raw.png: is 64 x 48, as its picture is stored: turned like it" in str(row.warnings)
    reader = VideoReader(tmp_path / "v.mp4")
    next(iter(reader))
    back = {8: -1, 6: 1}[reader.orientation]
    np.testing.assert_array_equal(np.rot90(seen[0][1], back) > 0, levels > 0)
    difference = np.abs(np.rot90(seen[0][0], back).astype(int) - stored)
    assert difference.mean() < 12
    Image.fromarray(levels[:, :40]).save(tmp_path / "raw.png")
    with pytest.raises(MaskError, match=r"raw\.png: is 40 x 48, its picture 48 x 64"):
        restore_video(deoccluder, job, Choices(overwrite=True))
    with pytest.raises(ValueError, match=r"v\.mp4: --mask alpha"):
        restore_video(deoccluder, job, Choices(overwrite=True, erased=True))
