"""Video clips whose every property is known, made with PyAV, and what a file holds."""

from fractions import Fraction

import av
import numpy as np

ASS = """[Script Info]
ScriptType: v4.00+
[V4+ Styles]
Format: Name
Style: Default
[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""
MS = Fraction(1, 1000)


def write_clip(
    path,
    pictures,
    times=None,
    codec="libx264",
    pix_fmt="yuv420p",
    tags=None,
    pixel=None,
    turned=None,
    sounds=(),
    subtitles="",
    chapters=(),
    metadata=(),
    options=None,
    kind=None,
    field_order=None,
):
    """Pictures, uint8 (H, W, 3 or 4) or lists of planes' values, shown at `times` in milliseconds
    (default 25 a second). `tags`: primaries, transfer, matrix, range. `turned`: arguments of
    set_display_rotation. `sounds`: (codec, seconds, language). `chapters`: titles, a second each.
    """
    times = times or [40 * number for number in range(len(pictures))]
    with av.open(str(path), "w", format=kind, container_options={"movflags": "faststart"}) as file:
        picture = pictures[0]
        height, width = picture.shape[:2] if isinstance(picture, np.ndarray) else (48, 64)
        video = file.add_stream(codec, rate=25, options=options or {})
        video.width, video.height, video.pix_fmt = width, height, pix_fmt
        video.codec_context.time_base = MS
        if pixel:
            video.codec_context.sample_aspect_ratio = pixel
        if turned:
            video.set_display_rotation(*turned)
        for holder in [video.codec_context] if tags else []:
            set_tags(holder, tags)
        tracks = [add_sound(file, *sound) for sound in sounds]
        text = file.add_stream(subtitles) if subtitles else None
        if text:
            text.codec_context.subtitle_header = ASS.encode()
            text.metadata["language"] = "fre"
        file.metadata.update(dict(metadata))
        file.set_chapters(
            [{"id": n + 1, "start": 1000 * n, "end": 1000 * n + 1000, "time_base": MS,
              "metadata": {"title": title}} for n, title in enumerate(chapters)]
        )  # fmt: skip
        for time, picture in zip(times, pictures, strict=True):
            frame = make_frame(picture, pix_fmt, tags)
            frame.pts, frame.time_base = time, MS
            file.mux(video.encode(frame))
        if text:
            words = "0,0,Default,,0,0,0,,{\\i1}Bonjour" if subtitles == "ass" else "Bonjour"
            packet = av.Packet(words.encode())
            packet.pts = packet.dts = 500
            packet.duration, packet.time_base, packet.stream = 700, MS, text
            file.mux(packet)
        for track, seconds in tracks:
            write_sound(file, track, seconds)
        file.mux(video.encode(None))


def set_tags(holder, tags):
    holder.color_primaries, holder.color_trc, holder.colorspace, holder.color_range = tags


def make_frame(picture, pix_fmt, tags):
    """Of a picture, or of the values of its planes."""
    if isinstance(picture, np.ndarray):
        form = {3: "rgb24", 4: "rgba"}[picture.shape[2]]
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), form)
        return frame if pix_fmt == form else frame.reformat(format=pix_fmt)
    frame = av.VideoFrame(64, 48, pix_fmt)
    for plane, value in zip(frame.planes, picture, strict=True):
        kind = np.uint16 if "10" in pix_fmt else np.uint8
        plane.update(np.full(plane.buffer_size // kind(0).nbytes, value, kind).tobytes())
    if tags:
        set_tags(frame, tags)
    return frame


def add_sound(file, codec, seconds, language="und", layout="stereo"):
    track = file.add_stream(codec, rate=44100, layout=layout)
    track.metadata["language"] = language
    return track, seconds


def write_sound(file, track, seconds):
    noise = np.random.default_rng(0)
    channels = len(track.layout.channels)
    for start in range(0, round(44100 * seconds), 1024):
        values = noise.integers(-3000, 3000, (1, 1024 * channels), np.int16)
        frame = av.AudioFrame.from_ndarray(values, "s16", track.layout.name)
        frame.sample_rate, frame.pts, frame.time_base = 44100, start, Fraction(1, 44100)
        file.mux(track.encode(frame))
    file.mux(track.encode(None))


def times_of(path):
    """Seconds at which the frames of a video begin."""
    with av.open(str(path)) as file:
        return [frame.pts * frame.time_base for frame in file.decode(video=0)]


def packets_of(path, kind="audio", number=0):
    """(seconds, bytes) of each packet of a stream."""
    with av.open(str(path)) as file:
        stream = getattr(file.streams, kind)[number]
        return [(p.pts * p.time_base, bytes(p)) for p in file.demux(stream) if p.size]


def boxes_of(path):
    """The names of an MP4's outermost boxes."""
    data, start, names = path.read_bytes(), 0, []
    while start < len(data):
        names.append(data[start + 4 : start + 8].decode())
        start += int.from_bytes(data[start : start + 4], "big")
    return names
