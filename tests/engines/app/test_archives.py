"""A stranger's zip is unpacked whole, in part with reasons, or refused; nothing lands outside."""

import random
import stat
import warnings
import zipfile

import pytest

from deocclude.engines.app.archives import ZipLimits, pack, unpack

LIMITS = ZipLimits(files=20, bytes_each=10_000, bytes_all=30_000)


def zipped(path, entries, method=zipfile.ZIP_DEFLATED):
    """A zip of (name or ZipInfo, content)."""
    with zipfile.ZipFile(path, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in entries:
            archive.writestr(name, content)
    return path


def unpacked(tmp_path, entries, limits=LIMITS, **options):
    return unpack(zipped(tmp_path / "in.zip", entries, **options), tmp_path / "out", limits)


def everything(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def special(name, kind):
    info = zipfile.ZipInfo(name)
    info.external_attr = (kind | 0o777) << 16
    return info


def test_folders_are_mirrored_and_contents_kept(tmp_path):
    done = unpacked(tmp_path, [("b/c/é.jpg", b"1"), ("a.jpg", b"22"), ("b/", b"")])
    out = tmp_path / "out"
    assert done.files == [out / "b/c/é.jpg", out / "a.jpg"]
    assert [path.read_bytes() for path in done.files] == [b"1", b"22"]
    assert done.left_out == {}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../out.jpg", "outside"),
        ("a/../../out.jpg", "outside"),
        ("/etc/out.jpg", "outside"),
        ("C:\\out.jpg", "outside"),
        ("c:out.jpg", "outside"),
        ("..\\..\\out.jpg", "outside"),
        ("\\\\host\\share\\out.jpg", "outside"),
        ("__MACOSX/a.jpg", "system"),
        ("a/.DS_Store", "system"),
        ("a/._a.jpg", "system"),
        (special("link.jpg", stat.S_IFLNK), "link"),
        (special("pipe.jpg", stat.S_IFIFO), "link"),
        ("/".join("a" * 20), "deep"),
        ("inner.jpg", "zip itself"),
    ],
)
def test_what_is_not_safe_is_left_out_with_its_reason(tmp_path, name, reason):
    content = b"PK\x03\x04 and so on" if name == "inner.jpg" else b"/etc/passwd"
    done = unpacked(tmp_path, [(name, content), ("good.jpg", b"good")])
    (left,) = done.left_out.values()
    assert reason in left
    assert everything(tmp_path) == ["in.zip", "out/good.jpg"]


def test_backslashes_are_folders_and_names_fit_every_system(tmp_path):
    names = ["a\\b.jpg", "con.jpg", "x?<y>.jpg", "trailing. /e.jpg", "k" * 300 + ".jpg"]
    done = unpacked(tmp_path, [(name, b"1") for name in names])
    assert done.left_out == {}
    found = everything(tmp_path / "out")
    assert {"a/b.jpg", "_con.jpg", "x__y_.jpg", "trailing/e.jpg"} <= set(found)
    assert max(len(name) for name in found) == 120


def test_a_name_that_differs_in_case_alone_is_taken(tmp_path):
    entries = [("A.jpg", b"1"), ("a.JPG", b"2"), ("d/e.jpg", b"3"), ("D", b"4"), ("a.jpg/f", b"5")]
    done = unpacked(tmp_path, entries)
    assert list(done.left_out) == ["a.JPG", "D", "a.jpg/f"]
    assert all("taken" in reason for reason in done.left_out.values())
    assert everything(tmp_path / "out") == ["A.jpg", "d/e.jpg"]


def test_a_file_may_bear_the_name_of_one_that_was_left_out(tmp_path):
    done = unpacked(tmp_path, [("a/b.jpg", b"1" * 10_001), ("a", b"2"), ("a/b.jpg", b"3")])
    assert "longer" in done.left_out["a/b.jpg"]
    assert (tmp_path / "out/a/b.jpg").read_bytes() == b"3"


def test_names_that_are_utf8_without_saying_so(tmp_path):
    path = zipped(tmp_path / "in.zip", [("é1.jpg", b"1"), ("y.jpg", b"2")])
    data = path.read_bytes().replace("é1".encode(), b"\xff\xfe1")  # and no UTF-8 at all
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"in\.zip: is damaged"):
        unpack(path, tmp_path / "out", LIMITS)
    said = b"\x00\x08\x00\x00"  # flags of UTF-8, method stored
    path = zipped(tmp_path / "in.zip", [("é1.jpg", b"1")], method=zipfile.ZIP_STORED)
    data = path.read_bytes()
    assert data.count(said) == 2
    path.write_bytes(data.replace(said, bytes(4)))
    assert unpack(path, tmp_path / "out", LIMITS).files[0].name == "é1.jpg"
    path.write_bytes(data.replace(said, bytes(4)).replace("é".encode(), b"\x82\x82"))
    assert unpack(path, tmp_path / "more", LIMITS).files[0].name == "éé1.jpg"  # code page 437


def test_an_encrypted_entry_is_left_out(tmp_path):
    path = zipped(tmp_path / "in.zip", [("a.jpg", b"secret")], method=zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    done = unpack(path, tmp_path / "out", LIMITS)
    assert done.left_out == {"a.jpg": "it is encrypted"}


def test_methods_that_unpack_any_amount_at_one_go_are_left_out(tmp_path):
    done = unpacked(tmp_path, [("a.jpg", bytes(100))], method=zipfile.ZIP_BZIP2)
    assert "packed" in done.left_out["a.jpg"]


def test_one_long_entry_is_left_out_and_the_rest_is_not(tmp_path):
    done = unpacked(tmp_path, [("bomb.jpg", bytes(20_000)), ("a.jpg", b"1")])
    assert "longer than 10,000 bytes" in done.left_out["bomb.jpg"]
    assert everything(tmp_path / "out") == ["a.jpg"]


def test_sizes_are_counted_not_believed(tmp_path):
    """Two long entries whose table says one byte each: damaged, and not unpacked."""
    path = zipped(tmp_path / "in.zip", [("a.jpg", bytes(9_000))])
    path.write_bytes(path.read_bytes().replace((9_000).to_bytes(4, "little"), b"\1\0\0\0"))
    done = unpack(path, tmp_path / "out", LIMITS)
    assert "damaged" in done.left_out["a.jpg"]
    assert everything(tmp_path / "out") == []


@pytest.mark.parametrize(
    "entries",
    [
        [(f"{i}.jpg", bytes(9_000)) for i in range(4)],
        [(f"{i}.jpg", bytes(20_000)) for i in range(4)],  # each left out, but read in part
    ],
)
def test_more_bytes_than_all_may_have_leave_nothing(tmp_path, entries):
    with pytest.raises(ValueError, match=r"in\.zip: holds more than 30,000 bytes"):
        unpacked(tmp_path, entries)
    assert everything(tmp_path) == ["in.zip"]


@pytest.mark.parametrize("count", [21, 1_000])  # the second is told before the table is read
def test_more_files_than_allowed_leave_nothing(tmp_path, count, monkeypatch):
    path = zipped(tmp_path / "in.zip", [(f"{i}.jpg", b"") for i in range(count)])
    if count > 100:
        monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(ValueError, match="more than 20 files"):
        unpack(path, tmp_path / "out", LIMITS)
    assert everything(tmp_path) == ["in.zip"]


def test_what_systems_add_does_not_count_as_files(tmp_path):
    entries = [(f"{folder}{i}.jpg", b"1") for i in range(20) for folder in ("", "__MACOSX/._")]
    done = unpacked(tmp_path, entries)
    assert (len(done.files), len(done.left_out)) == (20, 20)


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x05\x06" + b"\xff" * 18])
def test_what_is_no_zip_is_said(tmp_path, content):
    path = tmp_path / "in.zip"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"in\.zip: is damaged, or no zip"):
        unpack(path, tmp_path / "out", LIMITS)


def test_a_cut_zip_is_said_and_a_folder_that_is_there_is_kept(tmp_path):
    path = zipped(tmp_path / "in.zip", [("a.jpg", b"1" * 5_000)], method=zipfile.ZIP_STORED)
    (tmp_path / "there").mkdir()
    with pytest.raises(FileExistsError):
        unpack(path, tmp_path / "there", LIMITS)
    assert (tmp_path / "there").is_dir()
    path.write_bytes(path.read_bytes()[:3_000])
    with pytest.raises(ValueError, match="damaged"):
        unpack(path, tmp_path / "out", LIMITS)


def test_damage_anywhere_ends_in_a_refusal_or_a_reason(tmp_path):
    whole = zipped(tmp_path / "in.zip", [(f"{i}/a.jpg", b"content" * 50) for i in range(5)])
    data = whole.read_bytes()
    dice = random.Random(0)
    refused = left = 0
    for turn in range(300):
        broken = bytearray(data)
        for _ in range(dice.randint(1, 4)):
            broken[dice.randrange(len(data))] = dice.randrange(256)
        whole.write_bytes(broken)
        out = tmp_path / f"out{turn}"
        try:
            done = unpack(whole, out, LIMITS)
        except ValueError:
            refused += 1
            assert not out.exists()
        else:
            left += bool(done.left_out)
            assert sorted(done.files) == sorted(p for p in out.rglob("*") if p.is_file())
    assert refused > 20
    assert left > 20
    inside = {f"out{turn}" for turn in range(300)}
    assert {p.name for p in tmp_path.iterdir()} <= {"in.zip", *inside}


def test_a_folder_is_packed_in_order_and_small_files_as_they_are(tmp_path):
    folder = tmp_path / "results"
    (folder / "b").mkdir(parents=True)
    for name in ("z.csv", "b/a.png", "a.png"):
        (folder / name).write_text(name * 100)
    (folder / "link.png").symlink_to(tmp_path / "elsewhere")
    path = pack(folder, tmp_path / "out.zip")
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["a.png", "b/a.png", "z.csv"]
        methods = {info.filename: info.compress_type for info in archive.infolist()}
        assert archive.read("b/a.png").decode() == "b/a.png" * 100
    assert methods["a.png"] == zipfile.ZIP_STORED
    assert methods["z.csv"] == zipfile.ZIP_DEFLATED
    assert everything(tmp_path) == ["out.zip", "results/a.png", "results/b/a.png", "results/z.csv"]


def test_packing_leaves_nothing_where_it_fails(tmp_path, monkeypatch):
    (tmp_path / "results").mkdir()
    with pytest.raises(ValueError, match="no file"):
        pack(tmp_path / "results", tmp_path / "out.zip")
    (tmp_path / "results" / "a.png").write_bytes(b"1")
    monkeypatch.setattr(zipfile.ZipFile, "write", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        pack(tmp_path / "results", tmp_path / "out.zip")
    assert everything(tmp_path) == ["results/a.png"]
