"""Who visits the page with a real browser, and what he sees there."""

import base64
import io
import re
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from app_http import ROOT, Page
from chromium import Chromium
from PIL import Image

EXAMPLES = sorted((ROOT / "examples").glob("*.jpg"))
# The page, with English in brackets for German, which is no language of it yet.
GERMAN = f"""
import runpy
from deocclude.engines.app.texts import TEXTS
TEXTS["de"] = {{key: f"[{{text}}]" for key, text in TEXTS["en"].items()}}
runpy.run_path({str(ROOT / "app.py")!r}, run_name="__main__")
"""
ASKED = "return performance.getEntriesByType('resource').map((each) => each.name)"
TOAST = "document.querySelector('[data-testid=toast-text]')"
# Of Gradio's own: its streams cannot be closed, and an upload that is over has no progress.
NOISE = re.compile(r'"Method not implemented\."|/upload_progress\?.* 404 | Response$')
PARTS = {"Many photos": "#files", "Video": "#video", "Live": "#camera"}  # what is seen there
READY = """
return document.querySelector('#photo input[type=file]') &&
    document.querySelector('#brush .tools button') &&
    document.querySelector('#brush .hint').textContent"""


def until(true: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until something is true. AssertionError."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


class Visitor(Chromium):
    """A browser with one or more tabs at the page; selectors are the parts' `elem_id`."""

    page: Page
    examples: frozenset[Path]  # Gradio's copies, which stay

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.page.port}/"

    def files(self, ending: str = "") -> set[str]:
        """The visitors' files that the page has now, empty ones aside: Gradio leaves those of
        uploads that it refuses."""
        folder = self.page.folder
        found = set(folder.rglob(f"*{ending}")) - self.examples
        files = (each for each in found if each.is_file() and each.stat().st_size)
        return {str(each.relative_to(folder)) for each in files}

    def enter(self) -> None:
        """Open the page in this tab, as a new session."""
        self.open("about:blank")
        self.errors()  # of the page before, whose streams end
        self.open(self.address)
        self.wait(READY)

    def leave_it_clean(self) -> None:
        """Nothing was asked of any other server, and the console complains of nothing but NOISE."""
        asked = [name.split("?")[0] for name in self.run(ASKED)]
        local = (self.address, "data:", "blob:")
        assert asked
        assert [name for name in asked if not name.startswith(local)] == []
        errors = [line for line in self.errors() if not NOISE.search(line)]
        assert errors == [], errors

    def text(self, part: str = "#words") -> str:
        return self.run("return document.querySelector(arguments[0])?.innerText.trim()", part)

    def says(self, words: str, part: str = "#words", seconds: float = 30) -> str:
        """What a part says as soon as `words` are in it and no progress stands before them."""
        script = """const text = document.querySelector(arguments[0])?.innerText.trim() ?? "";
            const working = /^(processing|queue|[0-9.]+\\/[0-9.]+ )/.test(text);
            return text.includes(arguments[1]) && !working && text"""
        try:
            return self.wait(script, part, words, seconds=seconds)
        except TimeoutError:
            raise AssertionError(f"{words!r} is not in {self.text(part)!r}") from None

    def complaint(self) -> str:
        """The page's only complaint in its corner, which is closed then."""
        text = self.wait(f"return {TOAST}?.innerText")
        assert self.run(f"return {TOAST.replace('Selector', 'SelectorAll')}.length") == 1, text
        self.run("document.querySelectorAll('.toast-close').forEach((each) => each.click())")
        self.wait(f"return !{TOAST}")
        return text

    def give(self, photo: Path, words: str = "found") -> str:
        """Upload a photo where none was, or another one; what the page says of it."""
        if self.run("return !!document.querySelector('#photo [aria-label=\"Remove Image\"]')"):
            self.click("#photo [aria-label='Remove Image']")
            self.says("Choose a photo", "#brush .hint")
        self.upload("#photo input[type=file]", photo)
        return self.says(words)

    def mask(self) -> np.ndarray:
        """The mask that is shown, bool (h, w)."""
        url = self.run("return document.querySelector('#brush canvas').toDataURL()")
        return read_url(url)[..., 3] > 127

    def marked(self) -> int:
        """Pixels of the mask that is shown."""
        return int(self.mask().sum())

    def tool(self, name: str) -> None:
        self.click(f"#brush [data-tool={name}]")

    def restore(self, words: str = "Restored in") -> str:
        self.click("#restore")
        return self.says(words)

    def download(self, button: str) -> Path:
        """Press a button; the file that came."""
        return self.downloaded(lambda: self.click(button))

    def downloaded(self, press: Callable[[], None]) -> Path:
        """The file that comes after a press."""
        before = set(self.downloads.iterdir())
        press()
        for _ in range(100):
            new = set(self.downloads.iterdir()) - before
            for file in new:  # a browser writes into other names first
                kept = file.suffix in (".png", ".zip", ".mp4") and file.name[0] != "."
                if kept and file.stat().st_size:
                    return file
            time.sleep(0.05)
        raise AssertionError("nothing came")

    def open_part(self, name: str) -> None:
        """Go to a tab of PARTS, also where it is in the menu of a narrow screen."""
        script = """const found = [...document.querySelectorAll(arguments[1])].find((each) =>
            each.checkVisibility({visibilityProperty: true}) &&
            each.innerText.trim() === arguments[0]);
            found?.click();
            return !!found"""
        if not self.run(script, name, "button[role=tab]"):
            self.click(".overflow-menu > button")
            self.wait(script, name, ".overflow-dropdown button")
        self.wait(f"return document.querySelector('{PARTS[name]}')?.checkVisibility()")


def read_url(url: str) -> np.ndarray:
    """The picture of a data URL."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))


def write_camera(path: Path, photo: Path) -> Path:
    """640 x 480 pixels of Y4M: what a camera before this photo sees."""
    frame = np.zeros((480, 640, 3), np.uint8)
    frame[:, 80:560] = np.asarray(Image.open(photo).resize((480, 480)))
    planes = cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420).tobytes()
    header = b"YUV4MPEG2 W640 H480 F10:1 Ip A1:1 C420jpeg\n"
    path.write_bytes(header + (b"FRAME\n" + planes) * 5)
    return path


def pixels(file: Path) -> np.ndarray:
    return np.asarray(Image.open(file).convert("RGB"))
