"""What a request's JSON may say of files: nothing that would make the server fetch an address.

Gradio downloads a file object whose `path` is a URL, for the sake of its Python client. `url` is
what the browser shows the file by, and sends back; a camera's frame is in it, as inline data.
"""

import json
import re
from collections.abc import Collection
from typing import Any

# A scheme of two letters or more (one is a Windows drive), or a share of another machine.
ADDRESS = re.compile(r"[\s\0]*([a-z][a-z0-9+.-]+:|[/\\]{2})", re.IGNORECASE)
# What a page that Gradio made sends back as its own: a file, by its place on this server.
OWN_FILE = re.compile(r"(?:/[\w.~-]+)*/gradio_api/(?:file=|stream/)(.*)", re.DOTALL)
# An SVG comes with its text, as encodeURIComponent has it; handlers say that it is no photo.
INLINE = re.compile(
    r"data:image/((jpeg|png|webp);base64,[A-Za-z0-9+/=]*|svg\+xml,[\w.!~*'()%-]*)", re.ASCII
)
ORIGIN = re.compile(r"https?://([^/?#\\@]+)(?=/)", re.IGNORECASE)


def is_address(place: str) -> bool:
    """Whether a file's place is a URL of any kind or lies on another machine."""
    return ADDRESS.match(place) is not None


def check_body(body: bytes, hosts: Collection[str]) -> None:
    """Raise a ValueError where `body` is no JSON, or an object at any depth of it names a file that
    is not here. `hosts` are this server's own names, with their ports, as the request has them."""

    def check(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        for key, value in pairs:  # a key that is there twice is looked at twice
            if key == "path" and isinstance(value, str) and is_address(value):
                raise ValueError(f"path {_short(value)}: is not fetched; upload the file")
            if key == "url" and isinstance(value, str) and not _is_own(value, hosts):
                raise ValueError(f"url {_short(value)}: is not a file of this server")
        return dict(pairs)

    try:
        json.loads(body, object_pairs_hook=check)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"the body is no JSON ({error})") from None
    except RecursionError:
        raise ValueError("the body is nested too deeply") from None


def _is_own(url: str, hosts: Collection[str]) -> bool:
    if not url or INLINE.fullmatch(url):
        return True
    if (origin := ORIGIN.match(url)) and origin[1].lower() in hosts:
        url = url[origin.end() :]
    file = OWN_FILE.fullmatch(url)
    return file is not None and not is_address(file[1])


def _short(value: str) -> str:
    return repr(value if len(value) <= 80 else f"{value[:77]}...")
