"""A real Chromium without a window, driven through chromedriver's W3C protocol."""

import base64
import json
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key of an element in the W3C protocol
KEYS = {
    "Tab": "\ue004", "Enter": "\ue007", "Space": " ", "End": "\ue010", "Home": "\ue011",
    "Left": "\ue012", "Up": "\ue013", "Right": "\ue014", "Down": "\ue015",
    "Shift": "\ue008", "Control": "\ue009",
}  # fmt: skip
FLAGS = ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "no-first-run")


def missing() -> str | None:
    """Why no browser can be driven here; None if one can."""
    if not any(map(shutil.which, NAMES)):
        return f"no Chromium is installed (looked for {', '.join(NAMES)})"
    if shutil.which("chromedriver") is None:
        return "chromedriver is not installed"
    return None


def free_port() -> int:
    """One that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Chromium:
    """One window; leave the `with` block to end browser and driver."""

    def __init__(
        self,
        width: int = 1440,
        height: int = 1000,
        dark: bool = False,
        language: str = "en",
        camera: Path | None = None,
        downloads: Path | None = None,
    ):
        """`camera`: a file of Y4M or MJPEG that is shown as if a camera saw it, with leave given.
        `downloads`: the folder of files that pages offer."""
        self.width, self.height, self.dark = width, height, dark
        self.language, self.camera, self.downloads = language, camera, downloads

    def __enter__(self) -> "Chromium":
        port = free_port()
        self._address = f"http://127.0.0.1:{port}"
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._driver = subprocess.Popen(
            ["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            self._session = self._start()
        except BaseException:
            self._end()
            raise
        return self

    def _start(self) -> str:
        for _ in range(100):
            try:
                if self._ask("GET", "/status")["ready"]:
                    break
            except OSError:
                time.sleep(0.1)
        flags = [*FLAGS, f"window-size={self.width},{self.height}"]
        flags += [f"user-data-dir={self._profile.name}"]
        flags += ["force-dark-mode"] if self.dark else []
        if self.camera is not None:
            flags += ["use-fake-device-for-media-stream", "use-fake-ui-for-media-stream"]
            flags += [f"use-file-for-fake-video-capture={self.camera}"]
        kept: dict = {"intl.accept_languages": self.language}
        if self.downloads is not None:
            kept["download.default_directory"] = str(self.downloads)
        options = {"binary": next(filter(None, map(shutil.which, NAMES))), "args": flags}
        options["prefs"] = kept
        wanted = {"browserName": "chrome", "goog:chromeOptions": options}
        wanted["goog:loggingPrefs"] = {"browser": "ALL"}
        return self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def __exit__(self, *error) -> None:
        try:
            self._ask("DELETE", f"/session/{self._session}")
        finally:
            self._end()

    def _end(self) -> None:
        self._driver.terminate()
        self._driver.wait(10)
        self._profile.cleanup()

    def _ask(self, method: str, path: str, body: dict | None = None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._address + path, data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"]) from error

    def _call(self, path: str, body: dict | None = None):
        return self._ask("POST", f"/session/{self._session}/{path}", body or {})

    def open(self, page: Path | str) -> None:
        """Load a file or an address and wait until it is there."""
        address = page.resolve().as_uri() if isinstance(page, Path) else page
        self._call("url", {"url": address})

    def wait(self, script: str, *arguments, seconds: float = 30):
        """What a function body returns in the page, as soon as that is true. TimeoutError."""
        end = time.monotonic() + seconds
        while not (answer := self.run(script, *arguments)):
            if time.monotonic() > end:
                raise TimeoutError(f"not within {seconds} s: {script}")
            time.sleep(0.1)
        return answer

    def upload(self, selector: str, *files: Path) -> None:
        """Give files to an input, whether it is seen or not."""
        self.type(selector, "\n".join(str(file.resolve()) for file in files))

    def tab(self, kind: str = "tab") -> str:
        """Open another tab, or a "window", and go there; its handle."""
        handle = self._call("window/new", {"type": kind})["handle"]
        self.switch(handle)
        return handle

    def switch(self, handle: str) -> None:
        self._call("window", {"handle": handle})

    def handle(self) -> str:
        """The tab that is driven."""
        return self._ask("GET", f"/session/{self._session}/window")

    def close_tab(self) -> None:
        self._ask("DELETE", f"/session/{self._session}/window")

    def press(self, *keys: str) -> None:
        """Press and let go keys, by their names in KEYS or as they are, where the focus is; those
        with a plus between them together."""
        actions = []
        for key in keys:
            values = [KEYS.get(each, each) for each in key.split("+")]
            actions += [{"type": "keyDown", "value": value} for value in values]
            actions += [{"type": "keyUp", "value": value} for value in reversed(values)]
        source = {"type": "key", "id": "keys", "actions": actions}
        self._call("actions", {"actions": [source]})

    def run(self, script: str, *arguments):
        """What a function body returns in the page."""
        return self._call("execute/sync", {"script": script, "args": arguments})

    def find(self, selector: str) -> str:
        """The element of a CSS selector. RuntimeError without one."""
        return self._call("element", {"using": "css selector", "value": selector})[ELEMENT]

    def click(self, selector: str) -> None:
        self._call(f"element/{self.find(selector)}/click")

    def type(self, selector: str, text: str) -> None:
        self._call(f"element/{self.find(selector)}/value", {"text": text})

    def drag(self, selector: str, start: float, end: float, touch: bool = False) -> None:
        """Press on an element at `start` of its width, move to `end`, let go."""
        self.run("document.querySelector(arguments[0]).scrollIntoView({block: 'center'})", selector)
        box = self.run(
            "const b = document.querySelector(arguments[0]).getBoundingClientRect();"
            "return [b.left, b.top, b.width, b.height]",
            selector,
        )
        left, top, width, height = box
        y = round(top + height / 2)

        def move(share: float) -> dict:
            x = round(left + share * width)
            return {"type": "pointerMove", "duration": 50, "x": x, "y": y, "origin": "viewport"}

        button = {"button": 0}
        actions = [
            move(start),
            {"type": "pointerDown"} | button,
            move((start + end) / 2),
            move(end),
        ]
        actions.append({"type": "pointerUp"} | button)
        kind = "touch" if touch else "mouse"
        source = {"type": "pointer", "id": kind, "parameters": {"pointerType": kind}}
        self._call("actions", {"actions": [source | {"actions": actions}]})

    def errors(self) -> list[str]:
        """What the page complained about since the last call."""
        return [line["message"] for line in self._call("se/log", {"type": "browser"})]

    def devtools(self, command: str, **parameters):
        """A command of the Chrome DevTools Protocol to the tab that is driven."""
        return self._call("goog/cdp/execute", {"cmd": command, "params": parameters})

    def phone(self, width: int = 400, height: int = 850, dark: bool = False) -> None:
        """Look like a phone's browser, in this tab, until `desk`."""
        size = {"width": width, "height": height, "deviceScaleFactor": 2, "mobile": True}
        self.devtools("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", features=[scheme])

    def desk(self) -> None:
        self.devtools("Emulation.clearDeviceMetricsOverride")
        self.devtools("Emulation.setEmulatedMedia", features=[])

    def resize(self, width: int, height: int) -> None:
        self._call("window/rect", {"width": width, "height": height})

    def screenshot(self, path: Path) -> Path:
        """The visible part of the page as PNG."""
        data = self._ask("GET", f"/session/{self._session}/screenshot")
        path.write_bytes(base64.b64decode(data))
        return path
