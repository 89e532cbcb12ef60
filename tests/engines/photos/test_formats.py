"""What a result's file says beside its pixels, and what each format cannot hold."""

import numpy as np
import pytest
from photo_stubs import Detector, draw_photo, face_at, stub_deoccluder
from PIL import Image, ImageCms, PngImagePlugin, features

from deocclude.engines.jobs.plan import Choices, Job
from deocclude.engines.photos.files import read_photo, restore_file
from deocclude.engines.photos.formats import PNG_XMP, Metadata, check_suffix, save_options

FACE = face_at(20, 10, 120)
SHAPE = (150, 170)
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
needs_avif = pytest.mark.skipif(not features.check("avif"), reason="this Pillow writes no AVIF")


@pytest.fixture
def restore(tmp_path, monkeypatch):
    """Restore a file of an empty folder: the result, loaded, and what is said of it."""
    monkeypatch.chdir(tmp_path)

    def run(source, output="out.png", **choices):
        job = Job(tmp_path / source, None, tmp_path / output)
        row = restore_file(
            stub_deoccluder(Detector([FACE])), job, Choices(overwrite=True, **choices)
        )
        assert row.status == "restored"
        with Image.open(output) as image:
            image.load()
        return image, " | ".join(row.warnings)

    return run


def save(name, **options):
    Image.fromarray(draw_photo(SHAPE, FACE)).save(name, **options)


def test_a_png_keeps_its_resolution_text_xmp_and_gamma(restore):
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "Grüße")
    text.add_itxt(PNG_XMP, XMP.decode())
    text.add(b"gAMA", (50000).to_bytes(4, "big"))
    save("photo.png", dpi=(300, 150), pnginfo=text)
    image, said = restore("photo.png")
    assert image.text == {"Title": "Grüße", PNG_XMP: XMP.decode()}
    assert image.info["dpi"] == pytest.approx((300, 150), abs=0.1)
    assert image.info["gamma"] == 0.5
    assert "not kept" not in said
    image, said = restore("photo.png", "out.jpg")
    assert (image.info["dpi"], image.info["xmp"]) == ((300, 150), XMP)
    assert "not kept in a .jpg file: the text of the PNG file, the gamma of the PNG file" in said
    image, _ = restore("photo.png", "out.tif")
    assert image.info["dpi"] == pytest.approx((300, 150), abs=0.1)
    assert image.tag_v2[700] == XMP


def test_a_jpeg_says_one_resolution_in_both_headers_and_keeps_its_comment(restore):
    exif = Image.Exif()
    exif[0x011A], exif[0x011B], exif[0x0128] = 300.0, 300.0, 2
    save("photo.jpg", exif=exif, comment=b"of 1999", xmp=XMP)  # its JFIF header says nothing
    image, said = restore("photo.jpg", "out.jpg")
    assert image.info["jfif_density"] == (300, 300)
    assert image.info["jfif_unit"] == 1
    assert image.getexif()[0x011A] == 300
    assert (image.info["comment"], image.info["xmp"]) == (b"of 1999", XMP)
    image, said = restore("photo.jpg", "out.png")
    assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    assert "not kept in a .png file: the comment of the JPEG file" in said


def test_a_turned_photo_has_its_resolution_and_size_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0xA002], exif.get_ifd(0x8769)[0xA003] = SHAPE[::-1]
    save(tmp_path / "photo.jpg", exif=exif, dpi=(300, 100))
    metadata = read_photo(tmp_path / "photo.jpg").metadata
    assert metadata.dpi == (100, 300)
    written = Image.Exif()
    written.load(metadata.exif)
    assert 0x0112 not in written
    assert (written.get_ifd(0x8769)[0xA002], written.get_ifd(0x8769)[0xA003]) == SHAPE


@needs_avif
@pytest.mark.parametrize(("suffix", "quality"), [(".jpg", None), (".avif", None), (".webp", 80)])
def test_lossy_results_say_so_and_heed_the_quality(restore, suffix, quality):
    save(
        "photo.png", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    )
    image, said = restore("photo.png", f"fine{suffix}", quality=quality)
    assert f"{suffix} is lossy" in said
    assert image.info["icc_profile"]
    restore("photo.png", f"coarse{suffix}", quality=10)
    photo = draw_photo(SHAPE, FACE).astype(int)
    errors = [
        np.abs(np.asarray(Image.open(f"{name}{suffix}").convert("RGB"), int) - photo)[-20:].mean()
        for name in ("fine", "coarse")
    ]
    assert errors[0] < errors[1]


def test_webp_is_lossless_unless_a_quality_is_asked_for(restore):
    save("photo.png")
    image, said = restore("photo.png", "out.webp")
    assert "lossy" not in said
    np.testing.assert_array_equal(np.asarray(image)[-20:], draw_photo(SHAPE, FACE)[-20:])


def test_what_a_bmp_cannot_hold_is_said():
    _, lost = save_options(".bmp", Metadata(exif=b"x", icc_profile=b"y", dpi=(300, 300)))
    assert lost == ["not kept in a .bmp file: EXIF, the colour profile"]


@pytest.mark.parametrize(("kind", "said"), [("mpo", "further pictures"), ("tif", "first of 2")])
def test_further_pictures_of_a_file_are_said(tmp_path, kind, said):
    path, first = tmp_path / f"photo.{kind}", Image.fromarray(draw_photo(SHAPE, FACE))
    first.save(path, save_all=True, append_images=[first.resize((80, 60))])
    assert any(said in notice for notice in read_photo(path).notices)


@pytest.mark.parametrize("bits", [8, 12])
def test_deep_colour_of_jpeg_2000_is_said(tmp_path, bits):
    path = tmp_path / "photo.j2k"
    Image.fromarray(draw_photo(SHAPE, FACE)).save(path)
    data = bytearray(path.read_bytes())
    place = data.find(b"\xff\x51") + 40
    assert data[place] == 7  # eight bits
    data[place : place + 9 : 3] = bytes([bits - 1] * 3)
    path.write_bytes(data)
    notices = " ".join(read_photo(path).notices)
    assert (f"{bits}-bit colour is cut" in notices) == (bits > 8)


def test_an_ending_that_is_not_written_names_those_that_are(tmp_path):
    with pytest.raises(ValueError, match=r"x\.heic: cannot write '\.heic'; use one of \.png"):
        check_suffix(tmp_path / "x.heic")
    with pytest.raises(ValueError, match="a name without suffix"):
        check_suffix(tmp_path / "x")
    assert check_suffix(tmp_path / "x.JPG") == ".jpg"
