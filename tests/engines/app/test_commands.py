"""`python app.py`: what it takes, what it says when that cannot be, and how it ends."""

import os
import re
import socket
import stat
from unittest.mock import patch
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from chromium import free_port

from deocclude.engines.app import commands
from deocclude.engines.app.limits import Limits


@pytest.fixture
def serve(monkeypatch, tmp_path):
    """Calls of `_serve`, which does not serve; the environment as it was after the test."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.setattr(commands.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(commands, "find_spec", lambda name: object())
    calls = []

    def serve(options, limits, folder):
        calls.append((options, limits, folder))
        (folder / "photo.jpg").write_text("of a visitor")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert os.environ["GRADIO_TEMP_DIR"] == str(folder)
        assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"

    monkeypatch.setattr(commands, "_serve", serve)
    return calls


def parsed(*words):
    return commands.build_parser().parse_args(words)


def test_defaults_are_for_this_machine_alone(monkeypatch):
    for name in ("GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT"):
        monkeypatch.delenv(name, raising=False)
    options = parsed()
    assert (options.host, options.port, options.open) == ("127.0.0.1", None, False)
    assert (options.checkpoint, options.segmenter) == (None, None)
    assert Limits() == Limits(
        options.max_megabytes * 10**6, options.max_megapixels * 10**6, options.max_seconds,
        options.max_files,
    )  # fmt: skip


def test_a_gradio_host_says_where_to_listen(monkeypatch):
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    monkeypatch.setenv("GRADIO_SERVER_PORT", "7861")
    assert (parsed().host, parsed().port) == ("0.0.0.0", 7861)
    assert (parsed("--host", "::1", "--port", "9").host, parsed("--port", "9").port) == ("::1", 9)
    assert parsed("--host", "[::1]").host == "::1"


@pytest.mark.parametrize("port", ["none", "0", "65536"])
def test_what_is_no_port_is_said(monkeypatch, capsys, port):
    with pytest.raises(SystemExit):
        parsed("--port", port)
    monkeypatch.setenv("GRADIO_SERVER_PORT", port)
    with pytest.raises(SystemExit):
        parsed()
    first, second = re.findall(r"argument --port: .*", capsys.readouterr().err)
    assert first == second
    assert port in first


def test_of_gradios_variables_none_opens_the_page(serve, monkeypatch):
    for name in ("ALLOWED_PATHS", "SHARE", "MCP_SERVER", "NUM_WORKERS", "ROOT_PATH"):
        monkeypatch.setenv(f"GRADIO_{name}", "/")
    commands.main([])
    left = {name for name in os.environ if name.startswith("GRADIO_")}
    assert left == {"GRADIO_ROOT_PATH", "GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED"}


@pytest.fixture
def visit(monkeypatch, capsys):
    """Serves without networks, and calls a function with the server meanwhile: what it printed."""
    pytest.importorskip("gradio", reason='the page needs `pip install -e ".[app]"`')
    from deocclude.engines.app.models import Models
    from deocclude.engines.app.serving import Server

    def visit(look, *words):
        seen = []
        monkeypatch.setattr(Models, "get", lambda *_: None)
        monkeypatch.setattr(Server, "wait", lambda server: seen.append(look(server)))
        with patch.dict(os.environ):
            commands.main(list(words))
        assert seen
        return capsys.readouterr().out

    return visit


def test_ipv6(visit):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    address = f"http://[::1]:{(port := free_port())}/"

    def look(server):
        with urlopen(f"{address}config") as answer:
            assert answer.status == 200
        with pytest.raises(HTTPError, match="421"):  # not open to others
            urlopen(Request(f"{address}config", headers={"Host": "evil.example"}))

    assert f"the page: {address}\n" in visit(look, "--host", "[::1]", "--port", str(port))


def test_a_page_for_others_answers_under_any_name_and_in_their_frames(visit):
    address = f"http://localhost:{(port := free_port())}/"

    def look(server):
        proxied = {"Host": "demo.example", "Origin": "https://demo.example"}
        with urlopen(Request(f"{address}config", headers=proxied)) as answer:
            assert answer.status == 200
            assert "frame-ancestors" not in answer.headers["Content-Security-Policy"]

    said = visit(look, "--host", "0.0.0.0", "--port", str(port))
    assert f"the page: {address}, open to others\n" in said


def test_limits_come_in_their_units_and_the_folder_goes(serve, capsys):
    commands.main(["--max-megabytes", "3", "--max-megapixels", "2", "--max-seconds", "5",
                   "--max-files", "7"])  # fmt: skip
    ((_, limits, folder),) = serve
    assert limits == Limits(3_000_000, 2_000_000, 5, 7)
    assert not folder.exists()
    said = capsys.readouterr().out
    assert "sharp, ships with the project" in said
    assert "segmenter.safetensors" in said


@pytest.mark.parametrize("error", [OSError("port 80: taken"), ValueError("no such device")])
def test_what_fails_is_said_in_a_line_and_the_folder_goes(serve, monkeypatch, tmp_path, error):
    def fail(*given):
        raise error

    monkeypatch.setattr(commands, "_serve", fail)
    with pytest.raises(SystemExit, match=f"^error: {error}$"):
        commands.main([])
    assert list(tmp_path.iterdir()) == []


def test_without_gradio_it_says_what_to_install(serve, monkeypatch):
    monkeypatch.setattr(commands, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"needs Gradio: pip install -e \"\.\[app\]\""):
        commands.main(["--checkpoint", "no.safetensors"])
    assert serve == []


@pytest.mark.parametrize("option", ["--checkpoint", "--segmenter"])
def test_wrong_weights_are_said_before_anything_is_made(serve, tmp_path, option):
    with pytest.raises(SystemExit, match=r"^error: no\.safetensors: no such weights file"):
        commands.main([option, "no.safetensors"])
    assert serve == []
    assert list(tmp_path.iterdir()) == []


def test_limits_are_above_nothing():
    for name in ("bytes", "pixels", "seconds", "files"):
        with pytest.raises(ValueError, match=f"{name}: must be above 0, found 0"):
            Limits(**{name: 0})


def test_a_taken_port_is_said(tmp_path, monkeypatch):
    pytest.importorskip("gradio", reason='the page needs `pip install -e ".[app]"`')
    from deocclude.engines.app.models import Models
    from deocclude.engines.app.serving import Server

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(Models, "names", lambda self: ["sharp"])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(OSError, match=str(port)),
            Server(Models(), tmp_path, Limits(), port=port),
        ):
            pass
