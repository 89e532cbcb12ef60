import numpy as np
import pytest
from face_stubs import write_images

from deocclude.data.faces import cache as cache_module
from deocclude.data.faces.alignment import template_points
from deocclude.data.faces.cache import cache_faces
from deocclude.data.faces.files import (
    builtin_faces,
    folder_faces,
    join_faces,
    mixing_order,
)


@pytest.mark.parametrize("cache", ["ram", "disk", "none"])
def test_every_cache_gives_the_decoded_images(tmp_path, cache):
    folder = write_images(tmp_path / "faces", 12)
    faces = folder_faces(sorted(folder.iterdir()), folder, 32)
    cached = cache_faces(faces, cache, 1.0, tmp_path / "cache")
    assert cached.names == faces.names
    for i in range(12):
        assert np.array_equal(cached[i], faces[i])


def test_disk_cache_is_reused_and_follows_changed_files(tmp_path):
    folder = write_images(tmp_path / "faces", 3)
    files = sorted(folder.iterdir())
    cache_faces(folder_faces(files, folder, 32), "disk", 1.0, tmp_path / "cache")
    (stored,) = [p for p in (tmp_path / "cache").iterdir() if not p.stem.endswith("good")]
    stamp = stored.stat().st_mtime_ns
    cache_faces(folder_faces(files, folder, 32), "disk", 1.0, tmp_path / "cache")
    assert stored.stat().st_mtime_ns == stamp
    write_images(folder, 1, size=(60, 60))
    changed = cache_faces(folder_faces(files, folder, 32), "disk", 1.0, tmp_path / "cache")
    assert np.array_equal(changed[0], folder_faces(files, folder, 32)[0])


def test_over_the_budget_nothing_is_kept_and_that_is_said(tmp_path, caplog):
    folder = write_images(tmp_path / "faces", 3)
    faces = folder_faces(sorted(folder.iterdir()), folder, 32)
    cached = cache_faces(faces, "ram", 1e-6, tmp_path)
    assert cached is faces
    assert "data.cache_gib" in caplog.text


def test_without_room_in_shared_memory_the_cache_goes_to_disk(tmp_path, caplog, monkeypatch):
    faces = builtin_faces("train", 3, 32)
    monkeypatch.setattr(cache_module, "_free", lambda f: 0 if f.name == "shm" else float("inf"))
    cached = cache_faces(faces, "ram", 1.0, tmp_path / "cache")
    assert "no room" in caplog.text
    assert list((tmp_path / "cache").iterdir())
    assert np.array_equal(cached[1], faces[1])


@pytest.mark.parametrize("cache", ["ram", "disk", "none"])
def test_a_corrupt_image_is_named_and_skipped(tmp_path, caplog, cache):
    folder = write_images(tmp_path / "faces", 30)
    files = sorted(folder.iterdir())
    broken = files[7]
    broken.write_bytes(broken.read_bytes()[:60])
    for _ in range(2):  # the second time from the disk cache, if there is one
        cached = cache_faces(folder_faces(files, folder, 32), cache, 1.0, tmp_path / "cache")
        assert len(cached) == 29
        assert "0007.png" not in cached.names
        assert np.array_equal(cached[7], folder_faces(files, folder, 32)[8])
    assert "1 of 30" in caplog.text
    assert "0007.png" in caplog.text


def test_above_five_percent_corrupt_is_an_error(tmp_path):
    folder = write_images(tmp_path / "faces", 10)
    files = sorted(folder.iterdir())
    files[3].write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"1 of 10.*0003\.png"):
        cache_faces(folder_faces(files, folder, 32), "ram", 1.0, tmp_path)


def test_builtin_splits_share_no_face():
    train, test = builtin_faces("train", 3, 32), builtin_faces("test", 3, 32)
    assert not any(np.array_equal(train[i], test[j]) for i in range(3) for j in range(3))
    assert np.array_equal(train.subset([2])[0], train[2])


def test_joined_faces_keep_their_pictures_names_and_landmarks(tmp_path):
    one, other = (write_images(tmp_path / name, count) for name, count in (("a", 3), ("b", 4)))
    first = folder_faces(sorted(one.iterdir()), one, 32).placed("ffhq")
    second = folder_faces(sorted(other.iterdir()), other, 32).placed("utkface")
    both = cache_faces(join_faces(first, second), "ram", 1.0, tmp_path)
    assert len(both) == 7
    assert np.array_equal(both[5], second[2])
    assert both.names[5] == second.names[2]
    assert both.points_of(2) == template_points("ffhq", 32)
    assert both.points_of(3) == template_points("utkface", 32)
    built = builtin_faces("train", 2, 32)
    assert built.placed("utkface").points_of(0) == built.points_of(0)  # their own are better
    with pytest.raises(ValueError, match="32 and of 64 px"):
        join_faces(first, builtin_faces("train", 2, 64))


@pytest.mark.parametrize(("sizes", "share"), [((20, 100), 0.5), ((100, 20), 0.5), ((50, 50), 0.25)])
def test_mixing_repeats_the_rarer_part_to_its_share(sizes, share):
    order = mixing_order(*sizes, share)
    assert set(order) == set(range(sum(sizes)))
    assert np.mean(np.array(order) >= sizes[0]) == pytest.approx(share, abs=0.02)
    with pytest.raises(ValueError, match="share: 1 must lie between"):
        mixing_order(3, 4, 1)
