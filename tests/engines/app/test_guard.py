"""A real Gradio app behind the guard, and the same app without it: what only the second lets in."""

import asyncio
import base64
import http.client
import json
import os
import shutil
import time
from typing import NamedTuple

import numpy as np
import pytest
from chromium import free_port
from PIL import Image

gr = pytest.importorskip("gradio", reason='the page needs `pip install -e ".[app]"`')
gradio_client = pytest.importorskip("gradio_client")

from gradio import processing_utils  # noqa: E402
from starlette.middleware import Middleware  # noqa: E402

from deocclude.engines.app.file_objects import check_body  # noqa: E402
from deocclude.engines.app.guard import MOST_JSON, SPARE, Guard  # noqa: E402

MOST = 200_000
JSON = {"Content-Type": "application/json"}
META = {"_type": "gradio.FileData"}


class Site(NamedTuple):
    port: int
    uploads: str


def build():
    def count():
        for number in range(3):
            time.sleep(0.05)
            yield str(number)

    with gr.Blocks(analytics_enabled=False) as page:
        image = gr.Image(type="numpy")
        gr.Video()
        said = gr.Textbox()
        shape = gr.Button("shape")
        shape.click(lambda x: str(x.shape), image, said, queue=False, api_name="shape")
        gr.Button("count").click(count, None, said, api_name="count")
    return page.queue(api_open=False)


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    """The app behind the guard, and without it."""
    uploads = tmp_path_factory.mktemp("uploads")
    guard = Middleware(Guard, hosts=["localhost", "127.0.0.1", "::1"], most_bytes=MOST)
    pages = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(uploads))
        patch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
        try:
            for middleware in ([guard], []):
                port = free_port()
                pages.append(build())
                pages[-1].launch(
                    server_name="127.0.0.1", server_port=port, prevent_thread_lock=True,
                    quiet=True, ssr_mode=False, app_kwargs={"middleware": middleware},
                )  # fmt: skip
            yield [Site(page.server_port, str(uploads)) for page in pages]
        finally:
            for page in pages:
                page.close(verbose=False)


@pytest.fixture(scope="module")
def site(sites):
    return sites[0]


@pytest.fixture(scope="module")
def open_site(sites):
    return sites[1]


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def said(self):
        return json.loads(self.body)["detail"]


def ask(site, method, path, body=None, headers=(), read=True, **options):
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=20)
    try:
        connection.request(method, path, body, dict(headers), **options)
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read() if read else b"")
    finally:
        connection.close()


def post(site, path, value, headers=()):
    return ask(site, "POST", path, json.dumps(value), JSON | dict(headers))


def run_shape(site, file, **headers):
    return post(site, "/gradio_api/run/shape", {"data": [file], "session_hash": "s"}, headers)


def form(content, name="photo.png"):
    head = f'--edge\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    return head.encode() + content + b"\r\n--edge--\r\n"


def upload(site, content, body=None, **options):
    headers = {"Content-Type": "multipart/form-data; boundary=edge"}
    body = form(content) if body is None else body
    return ask(site, "POST", "/gradio_api/upload", body, headers, **options)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(path)
    return path


def lying(site):
    return sorted(os.path.join(top, n) for top, _, names in os.walk(site.uploads) for n in names)


def test_the_page_and_what_it_loads_are_served_with_the_headers(site):
    page = ask(site, "GET", "/")
    asset = page.body.decode().split('src="./assets/')[1].split('"')[0]
    addresses = ["/", "/config", "/theme.css", f"/assets/{asset}", "/gradio_api/info"]
    addresses += ["/manifest.json", "/gradio_api/app_id", "/static/img/logo_nosize.svg"]
    for address in (*addresses, "/nothing"):
        answer = ask(site, "GET", address)
        assert answer.status == (404 if address == "/nothing" else 200), address
        (policy,) = answer.headers.get_all("Content-Security-Policy")
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'self'" in policy
        assert "http" not in policy
        assert answer.headers.get_all("X-Content-Type-Options") == ["nosniff"]
        assert answer.headers.get_all("Referrer-Policy") == ["no-referrer"]


@pytest.mark.parametrize(
    "request_line",
    [
        "GET /gradio_api/proxy=https://a.hf.space/x",
        "HEAD /gradio_api/proxy=https://a.hf.space/x",
        "GET /gradio_api/dev/reload",
        "GET /gradio_api/deep_link?session_hash=a",
        "GET /gradio_api/token",
        "GET /gradio_api/user",
        "GET /gradio_api/openapi.json",
        "GET /gradio_api/runs",
        "GET /gradio_api/file/etc/passwd",
        "GET /gradio_api/custom_component/a/client/b/c",
        "POST /gradio_api/process_recording",
        "POST /gradio_api/component_server",
        "POST /gradio_api/vibe-edit",
        "POST /gradio_api/api/shape",
        "POST /gradio_api/cancel",
        "POST /login",
        "GET /login",
        "GET /logout",
        "GET /monitoring",
        "GET /monitoring/summary",
        "PUT /gradio_api/upload",
        "OPTIONS /config",
    ],
)
def test_everything_else_is_not_there(site, open_site, request_line):
    method, path = request_line.split()
    guarded = ask(site, method, path)
    assert guarded.status == 404
    assert guarded.headers["Location"] is None
    if method != "HEAD":
        assert guarded.said() == "there is nothing here"
    if "custom_component" not in path:
        assert ask(open_site, method, path, read=False).status != 404


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1/", "https://example.org/a.png", "HTTPS://example.org/",
        "http:%2F%2Fa.b/", "//example.org/a.png", "%5C%5Chost%5Cshare", "data:text/html,hello",
        "file:///etc/passwd",
    ],
)  # fmt: skip
def test_a_file_that_is_an_address_is_not_fetched(site, address):
    answer = ask(site, "GET", f"/gradio_api/file={address}")
    assert answer.status == 403
    assert answer.said() == "addresses are not fetched"
    assert answer.headers["Location"] is None


def test_files_outside_of_the_uploads_are_not_served(site):
    for path in (
        "/etc/passwd",
        f"{site.uploads}/../../../../etc/passwd",
        os.path.abspath(__file__),
    ):
        assert ask(site, "GET", f"/gradio_api/file={path}").status == 403


def test_an_upload_comes_back_whole_in_ranges_and_as_the_browser_names_it(site, photo):
    (path,) = json.loads(upload(site, photo.read_bytes()).body)
    assert os.path.dirname(os.path.dirname(path)) == site.uploads
    address = f"/gradio_api/file={path}"
    assert ask(site, "GET", address).body == photo.read_bytes()
    part = ask(site, "GET", address, headers={"Range": "bytes=2-5"})
    assert (part.status, part.body) == (206, photo.read_bytes()[2:6])
    for url in (address, f"http://127.0.0.1:{site.port}{address}", None, ""):
        answer = run_shape(site, {"path": path, "url": url, "meta": META})
        assert json.loads(answer.body)["data"] == ["(4, 6, 3)"], url


def test_a_cameras_frame_is_inline(site, photo):
    url = f"data:image/png;base64,{base64.b64encode(photo.read_bytes()).decode()}"
    answer = run_shape(site, {"path": None, "url": url, "meta": META})
    assert json.loads(answer.body)["data"] == ["(4, 6, 3)"]


@pytest.mark.parametrize(
    "file",
    [
        {"path": "http://example.org/a.png"},
        {"path": " HTTPS://example.org/a.png"},
        {"path": "file:///etc/passwd"},
        {"path": "//example.org/share/a.png"},
        {"path": "\\\\example.org\\share\\a.png"},
        {"path": "data:image/png;base64,AAAA"},
        {"path": None, "url": "http://example.org/a.png"},
        {"path": None, "url": "http://127.0.0.1:1/gradio_api/file=/a.png"},
        {"path": None, "url": "//example.org/gradio_api/file=/a.png"},
        {"path": None, "url": "/gradio_api/file=http://example.org/a.png"},
        {"path": None, "url": "http://user@HOST/gradio_api/file=/a.png"},
        {"path": None, "url": "http://HOST/gradio_api/proxy=http://example.org"},
        {"path": None, "url": "data:text/html,hello"},
        {"path": None, "url": "file:///etc/passwd"},
    ],
)
def test_a_file_object_that_names_an_address_is_refused_everywhere(site, file):
    file = {k: v and v.replace("HOST", f"127.0.0.1:{site.port}") for k, v in file.items()}
    body = {"data": [{"layers": [[file | {"meta": META}]]}], "fn_index": 0, "session_hash": "s"}
    for path in ("queue/join", "run/shape", "call/shape", "call/v2/shape", "stream/event"):
        answer = post(site, f"/gradio_api/{path}", body)
        assert answer.status == 400, path
        assert "not fetched" in answer.said() or "not a file of this server" in answer.said()


def test_the_server_fetches_addresses_without_the_guard_and_not_with_it(
    site, open_site, monkeypatch
):
    fetched = []

    async def get(url, **_):
        fetched.append(url)
        raise OSError("no network")

    monkeypatch.setattr(processing_utils.sh, "get", get)
    file = {"path": "http://example.org/a.png", "meta": META}
    run_shape(site, file)
    ask(site, "GET", "/gradio_api/file=http://example.org/b.png")
    assert fetched == []
    run_shape(open_site, file)
    assert fetched == ["http://example.org/a.png"]


def test_gradio_itself_refuses_paths_outside_of_the_uploads(site, photo):
    outside = os.path.relpath(photo, site.uploads)
    for path in (str(photo), f"{site.uploads}/{outside}", os.path.relpath(photo), "", "."):
        answer = run_shape(site, {"path": path, "meta": META})
        assert answer.status == 500, path
        assert json.loads(answer.body) == {"error": None}


def test_a_second_key_of_the_same_name_does_not_hide_the_first():
    for body in (
        b'{"path": "http://a.b", "path": "/a.png"}',
        b'{"path": "/a.png", "path": "http://a.b"}',
        b'{"p\\u0061th": "http://a.b"}',
        '{"path": "http://a.b"}'.encode("utf-16"),
    ):
        with pytest.raises(ValueError, match="not fetched"):
            check_body(body, ())
    check_body(b'{"text": "http://a.b", "path": 3, "url": ["x"]}', ())


def test_json_that_is_too_long_too_deep_or_none_is_refused(site):
    path = "/gradio_api/queue/join"
    long = json.dumps({"data": ["x" * MOST_JSON]})
    assert ask(site, "POST", path, iter([long.encode()]), JSON, encode_chunked=True).status == 413
    assert ask(site, "POST", path, "[" * 100_000 + "]" * 100_000, JSON).status == 400
    assert ask(site, "POST", path, "{", JSON).status == 400
    assert ask(site, "POST", path, form(b"x"), JSON).status == 400
    assert ask(site, "POST", path, b"\xff\xfe\xfd", JSON).status == 400


@pytest.mark.parametrize("chunked", [False, True])
def test_an_upload_that_is_too_long_is_refused_and_leaves_nothing(site, chunked):
    before = lying(site)
    body = form(bytes(MOST))
    if chunked:  # without a word of its length
        body = iter([body[start : start + 50_000] for start in range(0, len(body), 50_000)])
    answer = upload(site, b"", body, encode_chunked=chunked)
    assert answer.status == 413
    assert b"200,000 bytes" in answer.body
    assert lying(site) == before


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", ""]
)
def test_other_names_of_this_machine_are_refused(site, host):
    assert ask(site, "GET", "/config", headers={"Host": host}).status == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:7860", "127.0.0.1:1", "[::1]:7860"])
def test_its_own_names_are_answered_on_any_port(site, host):
    assert ask(site, "GET", "/config", headers={"Host": host}).status == 200


def test_another_sites_page_cannot_upload(site, photo):
    headers = {"Content-Type": "multipart/form-data; boundary=edge"}
    for origin, status in (
        ("http://evil.example", 403),
        ("null", 403),
        ("http://localhost:1", 200),
    ):
        answer = ask(site, "POST", "/gradio_api/upload", form(b"x"), headers | {"Origin": origin})
        assert answer.status == status, origin


def test_gradios_python_client_works_and_cannot_send_an_address(site, photo):
    client = gradio_client.Client(f"http://127.0.0.1:{site.port}", verbose=False)
    file = gradio_client.handle_file(str(photo))
    assert client.predict(file, api_name="/shape") == "(4, 6, 3)"
    job = client.submit(api_name="/count")
    assert job.result(timeout=20) == "2"
    assert job.outputs() == ["0", "1", "2"]
    assert client.view_api(return_format="dict")["named_endpoints"].keys() == {"/shape", "/count"}
    with pytest.raises(Exception, match="400"):
        client.predict({"path": "https://example.org/a.png", "meta": META}, api_name="/shape")
    client.close()


def through(guard, **scope):
    """The messages that a bare ASGI request gets: its status is in the first."""
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], **scope}
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    asyncio.run(guard(scope, receive, send))
    return sent


async def fine(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"fine"})


def test_behind_a_proxy_any_name_will_do_and_others_may_frame_the_page():
    guard = Guard(fine, hosts=None, most_bytes=MOST, framed=True)
    host = [(b"host", b"demo.example"), (b"origin", b"https://other.example")]
    start, _ = through(guard, headers=host)
    assert start["status"] == 200
    assert b"frame-ancestors" not in dict(start["headers"])[b"content-security-policy"]


def test_two_names_at_once_are_refused():
    guard = Guard(fine, hosts=["localhost"], most_bytes=MOST)
    host = (b"host", b"localhost")
    assert through(guard, headers=[host])[0]["status"] == 200
    assert through(guard, headers=[host, (b"host", b"evil.example")])[0]["status"] == 421
    assert through(guard)[0]["status"] == 421


def test_below_another_apps_folder_the_same_is_allowed():
    guard = Guard(fine, hosts=None, most_bytes=MOST)
    for path, status in (("/app/config", 200), ("/app/gradio_api/token", 404), ("/apple", 404)):
        assert through(guard, path=path, root_path="/app")[0]["status"] == status


def test_uploads_leave_room_on_the_disk(tmp_path, monkeypatch):
    guard = Guard(fine, hosts=None, most_bytes=MOST, folder=tmp_path)
    disk = shutil.disk_usage(tmp_path)
    for free, status in ((MOST + SPARE, 200), (MOST + SPARE - 1, 507)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: disk._replace(free=free))
        assert through(guard, method="POST", path="/gradio_api/upload")[0]["status"] == status
        assert through(guard, path="/config")[0]["status"] == 200


def test_websockets_are_closed():
    (sent,) = through(Guard(fine, hosts=None, most_bytes=MOST), type="websocket")
    assert sent["type"] == "websocket.close"
