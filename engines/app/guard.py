"""What strangers may ask of the page's server: a wall around Gradio's app.

Gradio serves far more than a page needs: it proxies, records, reloads, fetches URLs. `Guard` lets
through what the page and Gradio's documented clients use, and nothing else.
"""

import json
import re
import shutil
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.formparsers import MultiPartException

from deocclude.engines.app.file_objects import check_body, is_address

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
Refusal = tuple[int, str]  # HTTP status, reason

MOST_JSON = 8 << 20  # bytes of a request that is not an upload: frames and masks come inline
SPARE = 2 << 30  # bytes of the disk that are left to others
API = "/gradio_api/"
FILE = f"{API}file="
NAME = "[^/]+"
READ = re.compile(
    r"/|/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt|pwa_icon(/\d+)?)/?"
    r"|/(assets|static|svelte)/.+"
    rf"|{API}(info|app_id|startup-events|theme\.css|upload_progress|queue/(data|status))/?"
    rf"|{API}(heartbeat/{NAME}|call/(v2/)?{NAME}/{NAME}|file=.+)",
    re.DOTALL,
)
UPLOAD = f"{API}upload"
# No cancel: it frees a place in the queue while the work there goes on, so that any number of
# photos would be restored at once, by one face detector.
WRITE = re.compile(
    rf"{API}(upload|queue/join|reset|(run|call|call/v2)/{NAME}|stream/{NAME}(/close)?)/?"
)
POLICY = {
    "default-src": "'self'",
    "script-src": "'self' 'unsafe-inline' 'unsafe-eval' blob:",  # eval: pages' own `js`, shaders
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data: blob:",
    "media-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "connect-src": "'self' data: blob:",
    "worker-src": "'self' blob:",
    "object-src": "'none'",
    "frame-src": "'none'",
    "base-uri": "'self'",
    "form-action": "'self'",
}


class Guard:
    """ASGI middleware. `hosts`: the only names (without port) that a request may come in under, so
    that no web page gets in by a DNS name of its own; None where a proxy stands before the server.
    `most_bytes`: of one upload. `folder`: where uploads lie; none is taken where its disk would be
    left with less than SPARE. `framed`: other sites may show the page in a frame."""

    def __init__(
        self,
        app: App,
        *,
        hosts: Collection[str] | None,
        most_bytes: int,
        folder: Path | None = None,
        framed: bool = False,
    ):
        self.app, self.folder = app, folder
        self.hosts = None if hosts is None else {host.strip("[]").lower() for host in hosts}
        self.most_bytes = most_bytes
        policy = POLICY | ({} if framed else {"frame-ancestors": "'self'"})
        self.headers = [
            (b"content-security-policy", "; ".join(map(" ".join, policy.items())).encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
        ]

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":  # Gradio has no use for them
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "http":
            send = self._with_headers(send)
            if refusal := self._wrong_host(scope) or self._wrong_address(scope):
                await _refuse(send, *refusal)
                return
            if _path(scope).startswith(UPLOAD):
                receive = self._counted(receive)
            elif scope["method"] == "POST":
                try:
                    body = await _read(receive)
                    check_body(body, _own_names(scope))
                except _TooLarge:
                    await _refuse(send, *_too_large(MOST_JSON))
                    return
                except ValueError as error:
                    await _refuse(send, 400, str(error))
                    return
                receive = _again(body, receive)
        await self.app(scope, receive, send)

    def _wrong_host(self, scope: Message) -> Refusal | None:
        if self.hosts is None:
            return None
        names = _headers(scope, b"host")
        if len(names) != 1 or _hostname(f"//{names[0]}") not in self.hosts:
            return 421, f"this server is not {' or '.join(names) or 'nameless'}"
        for origin in _headers(scope, b"origin"):  # a page of another site, that may not read
            if _hostname(origin) not in self.hosts:  # what comes back, but could upload and run
                return 403, f"{origin} may not ask this server"
        return None

    def _wrong_address(self, scope: Message) -> Refusal | None:
        path = _path(scope)
        allowed = {"GET": READ, "HEAD": READ, "POST": WRITE}.get(scope["method"])
        if allowed is None or not allowed.fullmatch(path):
            return 404, "there is nothing here"
        if path.startswith(FILE) and is_address(path.removeprefix(FILE)):
            return 403, "addresses are not fetched"
        if path.startswith(UPLOAD) and self._full():
            return 507, "there is no room for more files; try again later"
        most = self.most_bytes if path.startswith(UPLOAD) else MOST_JSON
        lengths = [int(text) for text in _headers(scope, b"content-length") if text.isdecimal()]
        return _too_large(most) if max(lengths, default=0) > most else None

    def _full(self) -> bool:
        if self.folder is None:
            return False
        return shutil.disk_usage(self.folder).free < self.most_bytes + SPARE

    def _counted(self, receive: Receive) -> Receive:
        """`receive` until more than `most_bytes` came, whatever the request says of its length. The
        error is the one after which Gradio removes what it wrote and answers 413."""
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self.most_bytes:
                _, reason = _too_large(self.most_bytes)
                raise MultiPartException(f"maximum allowed size exceeded: {reason}")
            return message

        return counted

    def _with_headers(self, send: Send) -> Send:
        ours = {name for name, _ in self.headers}

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [pair for pair in message["headers"] if pair[0].lower() not in ours]
                message = {**message, "headers": [*headers, *self.headers]}
            await send(message)

        return sent


class _TooLarge(Exception):
    """More came than was asked for."""


async def _read(receive: Receive) -> bytes:
    """The whole body."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MOST_JSON:
            raise _TooLarge
        if not message.get("more_body", False):  # the end, or the client left
            return bytes(body)


def _again(body: bytes, receive: Receive) -> Receive:
    """Gives a body that was read already, then what else comes."""
    first = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return first.pop() if first else await receive()

    return again


def _too_large(most: int) -> Refusal:
    return 413, f"at most {most:,} bytes"


async def _refuse(send: Send, status: int, reason: str) -> None:
    text = json.dumps({"detail": reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(text))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})


def _path(scope: Message) -> str:
    """What is asked for, below the folder that the app may be mounted at."""
    path, root = scope["path"], scope.get("root_path", "").rstrip("/")
    return path.removeprefix(root) if path.startswith(f"{root}/") else path


def _headers(scope: Message, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def _own_names(scope: Message) -> set[str]:
    """Under which names, with ports, the browser knows this server."""
    names = [*_headers(scope, b"host"), *_headers(scope, b"x-forwarded-host")]
    return {part.strip().lower() for name in names for part in name.split(",")}


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
