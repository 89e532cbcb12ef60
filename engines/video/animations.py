"""Animated pictures: every frame as it is shown, with its duration; GIF, WebP, APNG and AVIF."""

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from deocclude.data.images import DAMAGE as PILLOW_DAMAGE
from deocclude.engines.video.frames import Frame, FrameReader, VideoError

FORMATS = ("GIF", "WEBP", "PNG", "AVIF")
QUICK, QUICK_IS = 10, 100  # milliseconds: a GIF's frame of less than 11 is shown for 100
COLOURS = 256  # of a GIF's frame, one of them transparency where there is any
HELD = {  # what each format can hold of what is said about a picture
    "GIF": ("comment",), "WEBP": ("icc_profile", "exif", "xmp"),
    "PNG": ("icc_profile", "exif", "text", "dpi"),
}  # fmt: skip
KEPT = ("icc_profile", "exif", "xmp", "comment", "dpi")
# Shown in full each time: nothing of one frame shows through the next.
OPTIONS: dict[str, dict[str, Any]] = {
    ".gif": {"optimize": False},
    ".webp": {"lossless": True, "exact": True, "quality": 100},
    ".png": {},
    ".apng": {},
}
DAMAGE = (*PILLOW_DAMAGE, Image.DecompressionBombError)


class AnimationReader(FrameReader):
    """The frames of an animated picture, each as it is shown; times are thousandths of a second.
    Raises VideoError for what Pillow cannot open."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        text: dict[str, str] = {}
        try:
            with Image.open(path, formats=FORMATS) as file, suppress(*DAMAGE):
                counted: Any = file  # Pillow 12 and 13 name its fields differently
                self.expected = counted.n_frames  # not of one that is cut off
                text = getattr(counted, "text", {})  # may stand behind the last frame
            self._picture: Any = Image.open(path, formats=FORMATS)
        except DAMAGE as error:
            raise VideoError(f"{path}: cannot be read as an animated picture ({error})") from None
        info = self._picture.info
        self.info = {key: info[key] for key in KEPT if info.get(key)}
        once = 1 if self._picture.format == "GIF" else 0  # a GIF that does not say plays once
        self.loops = int(info.get("loop", once))
        if self._picture.format == "GIF" and "loop" in info and self.loops:
            self.loops += 1  # how often it is repeated
        self.first_hidden = bool(info.get("default_image", False))
        if text:
            self.info["text"] = text
        self.tags = (1, 13)  # BT.709's primaries, sRGB's curve
        if self._picture.format == "AVIF":
            self.notices.append("AVIF is read with 8 bits a colour, whatever it has")
        elif any(str(tile[3]).endswith("16B") for tile in self._picture.tile if len(tile) > 3):
            self.notices.append("warning: 16 bits a colour are cut to 8")

    def __iter__(self) -> Iterator[Frame]:
        start, quick = Fraction(0), 0
        for number in count():
            if number == self.expected:
                break
            try:
                self._picture.seek(number)
                shown = np.asarray(self._picture.convert("RGBA"))
            except DAMAGE as error:
                if number == 0:
                    raise VideoError(
                        f"{self.path}: holds no frame that can be read ({error})"
                    ) from None
                of = f" of {self.expected}" if self.expected else ""
                self.damage = f"frame {number + 1}{of} cannot be read ({error})"
                break
            hidden = number == 0 and self.first_hidden
            given = Fraction(self._picture.info.get("duration") or 0).limit_denominator(1000)
            quick += given <= QUICK and not hidden
            duration = given / 1000
            self.read += 1
            yield Frame.of(shown, start, duration, hidden)
            if not hidden:
                start += duration if given > QUICK else Fraction(QUICK_IS, 1000)
        if quick:
            self.notices.append(
                f"{quick} frames are to last {QUICK} ms or less, which browsers show for "
                f"{QUICK_IS} ms: so would an .mp4"
            )

    def close(self) -> None:
        self._picture.close()


class AnimationWriter:
    """GIF, lossless WebP or APNG, by the path's suffix (`frames.FrameWriter`); `loops` and `info`
    as of `frames.FrameReader`. In a GIF pixels outside of a frame's mask keep their colours, and
    what was redrawn gets those that are left of 256."""

    def __init__(self, path: Path, loops: int, info: dict[str, Any]) -> None:
        self.path, self.suffix, self.loops, self.info = path, path.suffix.lower(), loops, info
        self._frames: list[Image.Image] = []
        self._durations: list[float] = []
        self._hidden = self._reduced = self._clear = self._halved = False

    def write(self, picture: np.ndarray, frame: Frame, mask: np.ndarray | None = None) -> None:
        if frame.hidden and self.suffix not in (".png", ".apng"):
            return
        hole = np.ones(picture.shape[:2], bool) if mask is None else mask.astype(bool)
        if frame.pixels is not None and mask is not None:
            picture = np.where(hole[..., None], picture, frame.pixels)
        if self.suffix == ".gif":
            image = self._indexed(picture, hole, frame.alpha)
        else:
            image = Image.fromarray(picture)
            if frame.alpha is not None:
                image.putalpha(Image.fromarray(frame.alpha))
        self._hidden |= frame.hidden
        self._frames.append(image)
        self._durations.append(float(frame.duration * 1000))

    def _indexed(
        self, picture: np.ndarray, hole: np.ndarray, alpha: np.ndarray | None
    ) -> Image.Image:
        """A picture of at most 256 colours: exact outside of the hole if that has few enough."""
        clear = np.zeros(hole.shape, bool) if alpha is None else alpha < 128
        if alpha is not None:
            self._clear |= bool(clear.any())
            self._halved |= bool(((alpha > 0) & (alpha < 255)).any())
        room = COLOURS - bool(clear.any())
        codes = picture.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
        outside, inside = ~hole & ~clear, hole & ~clear
        kept = np.unique(codes[outside])
        new = np.unique(codes[inside])
        if len(both := np.union1d(kept, new)) <= room:
            palette = both
        else:
            self._reduced = True
            if len(kept) <= room:
                more = _colours(picture[inside][None], room - len(kept))
                palette = np.union1d(kept, more)
            else:
                palette = np.unique(_colours(picture[~clear][None], room))
        palette = palette if len(palette) else np.zeros(1, np.uint32)
        table = np.stack([palette >> 16, palette >> 8 & 255, palette & 255], 1).astype(np.uint8)
        places = np.searchsorted(palette, codes).clip(0, len(palette) - 1)
        exact = palette[places] == codes
        if not exact.all():
            nearest = Image.new("P", (1, 1))
            nearest.putpalette(table.tobytes())
            drawn = Image.fromarray(picture).quantize(
                palette=nearest, dither=Image.Dither.FLOYDSTEINBERG
            )
            places = np.where(exact, places, np.asarray(drawn))
        table = np.concatenate([table, np.zeros((COLOURS - len(table), 3), np.uint8)])
        image = Image.fromarray(np.where(clear, room, places).astype(np.uint8), "P")
        image.putpalette(table.tobytes())
        if clear.any():
            image.info["transparency"] = room
        return image

    def close(self) -> list[str]:
        if not self._frames:
            raise VideoError(f"{self.path}: no frame was written")
        kind = {".gif": "GIF", ".webp": "WEBP"}.get(self.suffix, "PNG")
        options = dict(OPTIONS[self.suffix])
        if self.suffix == ".gif":
            options |= {"disposal": 2 if self._clear else 1}
            if self.loops != 1:
                options["loop"] = max(0, self.loops - 1)
        else:
            options["loop"] = self.loops
        kept = {key: value for key, value in self.info.items() if key in HELD[kind]}
        if kind == "PNG":
            options["default_image"] = self._hidden
            options["pnginfo"] = _text(kept.get("text", {}))
        options |= {key: value for key, value in kept.items() if key != "text"}
        unit = 10 if kind == "GIF" else 1
        durations = [unit * round(d / unit) for d in self._durations[self._hidden :]]
        first, *rest = self._frames
        self.path.parent.mkdir(parents=True, exist_ok=True)
        first.save(
            self.path, format=kind, save_all=True, append_images=rest, duration=durations, **options
        )
        notices = []
        if self._reduced:
            notices.append("warning: a .gif has 256 colours: those of what was redrawn are reduced")
        if self._halved and kind == "GIF":
            notices.append("warning: a .gif is transparent or not: what is half so is made either")
        if lost := [key for key in self.info if key not in kept]:
            notices.append(f"not kept in this format: {', '.join(lost)}")
        if any(d % unit for d in self._durations):
            notices.append(f"durations are rounded to {unit} ms, as the format has them")
        return notices

    def abort(self) -> None:
        self._frames.clear()


def _text(texts: dict[str, str]) -> PngInfo:
    info = PngInfo()
    for key, value in texts.items():
        info.add_text(key, value)
    return info


def _colours(pixels: np.ndarray, count: int) -> np.ndarray:
    """At most `count` colours that stand for those of pixels uint8 (1, N, 3), as 0xRRGGBB."""
    if not count:
        return np.zeros(0, np.uint32)
    image = Image.fromarray(pixels).quantize(colors=count, method=Image.Quantize.MEDIANCUT)
    table = np.array(image.getpalette(), np.uint32).reshape(-1, 3)[np.unique(np.asarray(image))]
    return table @ np.array([1 << 16, 1 << 8, 1], np.uint32)
