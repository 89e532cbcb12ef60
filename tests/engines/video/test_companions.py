"""What goes with the picture: sound, subtitles, chapters, metadata; what is left out is said."""

from fractions import Fraction

import av
import numpy as np
import pytest
from video_stubs import packets_of, write_clip

from deocclude.engines.video.files import open_reader, open_writer

SCENE = [np.full((48, 64, 3), 8 * number, np.uint8) for number in range(30)]


def rewrite(path, target):
    """Every frame as it is into an .mp4; what was said."""
    reader, writer = open_reader(path, animated=False), None
    for frame in reader:
        writer = writer or open_writer(target, reader, frame.rgb.shape[:2])
        writer.write(frame.rgb, frame)
    notices = [*reader.notices, *writer.close()]
    reader.close()
    return notices


@pytest.mark.parametrize("codec", ["aac", "libmp3lame", "flac", "ac3"])
def test_sound_that_mp4_holds_is_copied_bit_for_bit(tmp_path, codec):
    write_clip(tmp_path / "in.mkv", SCENE, sounds=[(codec, 1.2)])
    notices = rewrite(tmp_path / "in.mkv", tmp_path / "out.mp4")
    before, after = packets_of(tmp_path / "in.mkv"), packets_of(tmp_path / "out.mp4")
    assert [data for _, data in after] == [data for _, data in before]
    apart = [float(abs(a - b)) for (a, _), (b, _) in zip(after, before, strict=True)]
    assert max(apart) < 0.002  # Matroska counts milliseconds
    assert "sound" not in str(notices)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("in.mkv", "pcm_s16le"), ("in.avi", "mp2"), ("in.ts", "mp2"), ("in.mov", "pcm_s24le")],
)
def test_other_sound_becomes_aac_of_the_same_length(tmp_path, name, codec):
    video = "mpeg4" if name == "in.avi" else "libx264"
    write_clip(tmp_path / name, SCENE, codec=video, sounds=[(codec, 1.2)])
    notices = rewrite(tmp_path / name, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as file:
        (track,) = file.streams.audio
        assert track.codec_context.name == "aac"
        heard = np.concatenate([f.to_ndarray() for f in file.decode(track)], axis=1)
        assert heard.shape[0] == 2
        assert heard.shape[1] / 44100 == pytest.approx(1.2, abs=0.06)
        assert 0.03 < heard.std() < 0.09  # noise of up to 3000 of 32768
    assert f"its sound ({codec}) is written as AAC" in str(notices)


def test_several_tracks_subtitles_chapters_and_metadata_are_kept(tmp_path):
    write_clip(
        tmp_path / "in.mkv", SCENE,
        sounds=[("aac", 1.2, "ger"), ("flac", 1.2, "eng")], subtitles="subrip",
        chapters=("First", "Second"),
        metadata={"title": "A title", "artist": "Somebody", "inventory": "7",
                  "creation_time": "2020-01-02T03:04:05.000000Z"},
    )  # fmt: skip
    notices = rewrite(tmp_path / "in.mkv", tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as file:
        assert [track.metadata["language"] for track in file.streams.audio] == ["ger", "eng"]
        assert file.streams.subtitles[0].metadata["language"] == "fre"
        assert [c["metadata"]["title"] for c in file.chapters()] == ["First", "Second"]
        assert [c["start"] * c["time_base"] for c in file.chapters()] == [0, 1]
        kept = {key: file.metadata[key] for key in ("title", "artist", "creation_time")}
    assert list(kept.values()) == ["A title", "Somebody", "2020-01-02T03:04:05.000000Z"]
    texts = [(time, data[2:]) for time, data in packets_of(tmp_path / "out.mp4", "subtitles")]
    assert (Fraction(1, 2), b"Bonjour") in texts
    assert notices[-1] == "metadata that .mp4 does not hold: INVENTORY"
    again = rewrite(tmp_path / "out.mp4", tmp_path / "again.mp4")  # mov_text is copied as text
    assert "left out" not in str(again)
    assert (Fraction(1, 2), b"\0\7Bonjour") in packets_of(tmp_path / "again.mp4", "subtitles")


def test_the_style_of_subtitles_is_lost_and_that_is_said(tmp_path):
    write_clip(tmp_path / "in.mkv", SCENE, subtitles="ass")
    notices = rewrite(tmp_path / "in.mkv", tmp_path / "out.mp4")
    assert (Fraction(1, 2), b"\0\7Bonjour") in packets_of(tmp_path / "out.mp4", "subtitles")
    assert "without their style" in str(notices)


def test_a_second_video_and_attachments_are_left_out_and_said(tmp_path):
    with av.open(str(tmp_path / "in.mkv"), "w") as file:
        streams = [file.add_stream("libx264", rate=25), file.add_stream("libx264", rate=25)]
        for stream in streams:
            stream.width, stream.height = 64, 48
        file.add_attachment("letters.ttf", "font/ttf", b"font")
        for picture in SCENE[:5]:
            for stream in streams:
                file.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        for stream in streams:
            file.mux(stream.encode(None))
    said = str(rewrite(tmp_path / "in.mkv", tmp_path / "out.mp4"))
    assert "only one of its 2 pictures" in said
    assert "attachment (1)" in said


def test_sound_and_picture_stay_together(tmp_path):
    """A transport stream begins at some second; the distance of its streams is what counts."""
    write_clip(tmp_path / "in.ts", SCENE, sounds=[("aac", 1.2)], times=list(range(300, 1500, 40)))
    rewrite(tmp_path / "in.ts", tmp_path / "out.mp4")
    apart = []
    for name in ("in.ts", "out.mp4"):
        video, audio = (packets_of(tmp_path / name, kind) for kind in ("video", "audio"))
        apart.append(float(min(t for t, _ in video) - min(t for t, _ in audio)))
    assert apart[0] == pytest.approx(0.323, abs=0.03)
    assert apart[1] == pytest.approx(apart[0], abs=0.001)
