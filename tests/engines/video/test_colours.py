"""A patch of a known colour, however a video stores it, comes out as that colour."""

import av
import numpy as np
import pytest
from video_stubs import write_clip

from deocclude.engines.video import colours
from deocclude.engines.video.files import open_reader, open_writer
from deocclude.engines.video.reading import VideoReader

PATCH = np.array([198, 117, 79])
SKIN = np.array([224, 172, 138])
SHARES = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}  # of red and blue in luma


def planes(signal, matrix, bits=10, full=False):
    """Y'CbCr code values of R'G'B' in [0, 1] (Rec. ITU-R BT.709, 601, 2020, 2100)."""
    (red, green, blue), (kr, kb) = signal, SHARES[matrix]
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    chroma = (blue - luma) / (2 * (1 - kb)), (red - luma) / (2 * (1 - kr))
    top, step = 2**bits - 1, 2 ** (bits - 8)
    if full:
        return [round(luma * top), *(round(c * top + 128 * step) for c in chroma)]
    return [round((219 * luma + 16) * step), *(round((224 * c + 128) * step) for c in chroma)]


def shown(path, values, pix_fmt, tags):
    write_clip(path, [values] * 2, codec="ffv1", pix_fmt=pix_fmt, tags=tags)
    reader = VideoReader(path)
    frame, _ = reader
    reader.close()
    return frame.rgb[20, 20].astype(int), str(reader.notices)


def in_bt2020(patch):
    """Linear light in BT.2020, 1 = white, of an sRGB patch."""
    linear = colours.srgb_to_linear(patch / 255)
    return np.linalg.solve(colours.to_bt709(colours.WIDE[9]), linear)


@pytest.mark.parametrize("matrix", [1, 6, 9])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(("bits", "pix_fmt"), [(8, "yuv444p"), (10, "yuv420p10le")])
def test_sdr_is_exact_whatever_matrix_range_and_depth(tmp_path, matrix, full, bits, pix_fmt):
    tags = (1, 1, matrix, 2 if full else 1)
    values = planes(PATCH / 255, matrix, bits, full)
    seen, notices = shown(tmp_path / "in.mkv", values, pix_fmt, tags)
    np.testing.assert_allclose(seen, PATCH, atol=1)
    assert ("10 bits a colour are rounded to 8" in notices) == (bits == 10)


def test_a_matrix_that_is_not_given_is_guessed_as_players_do_and_said(tmp_path):
    values = planes(PATCH / 255, 6, 8)
    seen, notices = shown(tmp_path / "in.mkv", values, "yuv444p", (2, 2, 2, 1))
    np.testing.assert_allclose(seen, PATCH, atol=1)
    assert "taken as BT.601" in notices
    assert colours.guessed_matrix(av.VideoFrame(1280, 720, "yuv420p")) == "bt709"


@pytest.mark.parametrize("patch", [PATCH, SKIN])
def test_pq_comes_out_near_what_the_same_picture_in_sdr_is(tmp_path, patch):
    """BT.2408: white of 203 cd/m². What is bright makes room for what is brighter."""
    signal = colours.nits_to_pq(colours.WHITE * in_bt2020(patch))
    seen, notices = shown(tmp_path / "in.mkv", planes(signal, 9), "yuv420p10le", (9, 16, 9, 1))
    np.testing.assert_allclose(seen, patch, atol=14)
    if patch is PATCH:
        np.testing.assert_allclose(seen, [193, 115, 78], atol=2)
    assert "high dynamic range (PQ, BT.2020, 10 bits)" in notices


def test_hlg_comes_out_near_what_the_same_picture_in_sdr_is(tmp_path):
    """BT.2100: on a display of 1000 cd/m² with system gamma 1.2, 75 % is white of 203 cd/m²."""
    light = colours.WHITE / 1000 * in_bt2020(PATCH)
    luma = light @ [0.2627, 0.6780, 0.0593]
    scene = light * luma ** (1 / 1.2 - 1)
    high = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    signal = np.where(scene <= 1 / 12, np.sqrt(3 * scene), high)
    seen, notices = shown(tmp_path / "in.mkv", planes(signal, 9), "yuv420p10le", (9, 18, 9, 1))
    np.testing.assert_allclose(seen, PATCH, atol=5)
    assert "HLG" in notices


def test_a_wide_gamut_is_converted(tmp_path):
    """Display P3, as telephones record it, with the curve of BT.709."""
    linear = np.linalg.solve(
        colours.to_bt709(colours.WIDE[12]), colours.srgb_to_linear(PATCH / 255)
    )
    signal = colours.linear_to_srgb(linear)
    seen, notices = shown(tmp_path / "in.mkv", planes(signal, 1), "yuv420p10le", (12, 1, 1, 1))
    np.testing.assert_allclose(seen, PATCH, atol=1)
    assert "Display P3, 10 bits" in notices


def test_the_tone_curve_is_that_of_bt2390():
    """Below the knee nothing changes; it rises all the way, to white."""
    nits = np.linspace(0, 1000, 2001)
    curve = colours.tone_curve(nits, 1000)
    np.testing.assert_allclose(curve[nits < 85], nits[nits < 85], atol=0.01)
    assert (np.diff(curve) > 0).all()
    np.testing.assert_allclose(curve[-1], colours.WHITE, rtol=1e-3)
    np.testing.assert_allclose(
        colours.pq_to_nits(np.array([0.5081, 0.7518])), [100, 1000], rtol=5e-3
    )
    np.testing.assert_allclose(
        colours.nits_to_pq(colours.pq_to_nits(nits / 1000)), nits / 1000, atol=1e-6
    )


def test_what_is_written_says_its_colours_and_is_what_players_take_it_for(tmp_path):
    """BT.709 and 4:2:0, as browsers play it."""
    patches = [(200, 40, 40), (40, 60, 200), (230, 180, 30)]
    picture = np.concatenate([np.full((96, 64, 3), patch, np.uint8) for patch in patches], 1)
    write_clip(tmp_path / "in.mkv", [picture], codec="ffv1", pix_fmt="bgr0")
    reader = open_reader(tmp_path / "in.mkv", animated=False)
    writer = open_writer(tmp_path / "out.mp4", reader, picture.shape[:2])
    for frame in reader:
        writer.write(frame.rgb, frame)
    writer.close()
    reader.close()
    with av.open(str(tmp_path / "out.mp4")) as file:
        stream = file.streams.video[0]
        frame = next(file.decode(stream))
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert (frame.colorspace, frame.color_range) == (1, 1)
        assert (frame.color_primaries, frame.color_trc) == (1, 1)
    luma, blue, red = (
        np.frombuffer(bytes(plane), np.uint8).reshape(plane.height, plane.line_size)
        for plane in frame.planes
    )
    values = [luma[48, 32:192:64], blue[24, 16:96:32], red[24, 16:96:32]]
    expected = np.transpose([planes(np.array(patch) / 255, 1, 8) for patch in patches])
    np.testing.assert_allclose(np.array(values, int), expected, atol=2)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "options"),
    [("in.webm", "libvpx-vp9", "yuva420p", {}), ("in.mov", "prores_ks", "yuva444p10le",
     {"alpha_bits": "16"}), ("qt.mov", "qtrle", "argb", {})],
)  # fmt: skip
def test_transparency_is_laid_over_white(tmp_path, name, codec, pix_fmt, options):
    picture = np.full((48, 64, 4), (60, 120, 90, 255), np.uint8)
    picture[:, :32, 3] = 0
    write_clip(tmp_path / name, [picture], codec=codec, pix_fmt=pix_fmt, options=options)
    reader = VideoReader(tmp_path / name)
    (frame,) = reader
    writer = open_writer(tmp_path / "out.mp4", reader, frame.rgb.shape[:2])
    writer.write(frame.rgb, frame)
    assert "laid over white" in str(writer.close())
    reader.close()
    assert (frame.rgb[20, 5] == 255).all()
    np.testing.assert_allclose(frame.rgb[20, -5].astype(int), (60, 120, 90), atol=3)
