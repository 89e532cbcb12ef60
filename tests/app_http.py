"""`python app.py` in a process of its own, and who asks it by HTTP."""

import http.client
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chromium import free_port

ROOT = Path(__file__).resolve().parent.parent
PHOTO = ROOT / "examples" / "1_surgical_mask.jpg"
# One for all pages: with a home of its own each would list the machine's fonts anew, for seconds.
FONTS = Path(tempfile.gettempdir()) / "deocclude-tests-fonts"
JSON = {"Content-Type": "application/json"}
API = "/gradio_api"


class Page:
    """A page that was started, by `script`; `home`, `work`, `temporary` are its folders."""

    def __init__(self, folder: Path, *options: str, script: Path = ROOT / "app.py") -> None:
        self.home, self.work, self.temporary = (folder / n for n in ("home", "work", "temporary"))
        for place in (self.home, self.work, self.temporary):
            place.mkdir(parents=True)
        self.port, self.output = free_port(), folder / "output.txt"
        own = {"HOME": str(self.home), "TMPDIR": str(self.temporary), "PYTHONPATH": str(ROOT)}
        own["MPLCONFIGDIR"] = str(FONTS)
        words = [sys.executable, str(script), "--port", str(self.port), "--device", "cpu"]
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(
                [*words, *options], cwd=self.work, env=os.environ | own,
                stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip

    @property
    def said(self) -> str:
        """All that it printed."""
        return self.output.read_text()

    def wait(self, seconds: float = 120) -> "Page":
        """Until it is there. AssertionError where it ends before."""
        end = time.monotonic() + seconds
        while "Ctrl-C ends it" not in self.said:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < end, self.said
            time.sleep(0.05)
        return self

    def end(self, number: int = signal.SIGTERM, seconds: float = 60) -> int:
        """Its exit code once it was asked to end."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(seconds)

    @property
    def folder(self) -> Path:
        """Where it keeps what visitors give it."""
        (found,) = self.temporary.glob("deocclude-app-*")
        return found

    def outside(self) -> dict[str, int]:
        """Every file that lies outside of that, and its size."""
        own = set(self.temporary.glob("deocclude-app-*"))
        places = (self.home, self.work, *set(self.temporary.iterdir()) - own)
        files = (f for place in places for f in (place.rglob("*") if place.is_dir() else [place]))
        return {str(file): file.stat().st_size for file in files if file.is_file()}

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict | None = None,
        seconds: float = 60,
    ) -> tuple[int, http.client.HTTPMessage, bytes]:  # fmt: skip
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def post(self, path: str, value: Any) -> tuple[int, Any]:
        """The status, and the JSON that came or the text that is none."""
        status, _, body = self.ask("POST", API + path, json.dumps(value), JSON)
        try:
            return status, json.loads(body)
        except ValueError:
            return status, body.decode()

    def upload(self, content: bytes, name: str = "photo.jpg") -> str:
        """Where the file lies now."""
        status, body = self.try_upload(content, name)
        assert status == 200, body
        return json.loads(body)[0]

    def try_upload(self, content: bytes, name: str) -> tuple[int, bytes]:
        head = f'--edge\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
        body = head.encode() + content + b"\r\n--edge--\r\n"
        headers = {"Content-Type": "multipart/form-data; boundary=edge"}
        status, _, said = self.ask("POST", f"{API}/upload", body, headers)
        return status, said

    def file(self, path: str) -> bytes:
        status, _, body = self.ask("GET", f"{API}/file={path.replace(' ', '%20')}")
        assert status == 200, body
        return body

    def call(self, *data: Any, **more: Any) -> tuple[str, Any]:
        """What /restore answers: "complete" or "error", and the JSON with it."""
        status, said = self.post("/call/restore", {"data": data} | more)
        if status != 200:
            return str(status), said
        event = said["event_id"]
        body = self.ask("GET", f"{API}/call/restore/{event}")[2].decode()
        kind, data_line = body.strip().splitlines()[-2:]
        return kind.removeprefix("event: "), json.loads(data_line.removeprefix("data: "))

    def restore(self, photo: str, mask: str | None = None, model: Any = None) -> tuple[str, Any]:
        """As `call`, of files that were uploaded."""
        return self.call(given(photo), mask and given(mask), model, "matched")

    def press(self, function: int, data: Any, session: str) -> dict[str, Any] | None:
        """What a part of the page answers: `output` of the last message; None where it has none
        of that number."""
        asked = {"data": data, "fn_index": function, "session_hash": session}
        status, _ = self.post("/queue/join", asked)
        if status != 200:
            return None
        body = self.ask("GET", f"{API}/queue/data?session_hash={session}")[2].decode()
        lines = [line.removeprefix("data: ") for line in body.splitlines() if line]
        done = [m for m in map(json.loads, lines) if m["msg"] == "process_completed"]
        return done[-1]["output"]


def given(path: str) -> dict[str, Any]:
    """A file that lies there, as Gradio's JSON has it."""
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


@contextmanager
def serving(
    folder: Path, *options: str, script: Path = ROOT / "app.py", end: int = signal.SIGTERM
) -> Iterator[Page]:
    """The page until the block ends, by that signal; nothing of it is left then."""
    page = Page(folder, *options, script=script)
    try:
        yield page.wait()
        if os.name == "nt":  # where a process is ended at once
            return
        assert page.end(end) == 128 + end
        assert page.said.splitlines()[-1] == "stopped; the page is closed, every upload deleted"
        assert not list(page.temporary.glob("deocclude-app-*"))
        assert page.outside() == {}
    finally:
        page.process.kill()
        page.process.wait()


def giant_png(width: int, height: int) -> bytes:
    """A picture whose header says that it is so large; it holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b"")
