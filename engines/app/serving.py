"""The page on the net: started behind its guard, swept now and then, ended with all its files."""

import threading
from pathlib import Path

from starlette.middleware import Middleware

from deocclude.engines.app import page
from deocclude.engines.app.guard import Guard
from deocclude.engines.app.handlers import Handlers
from deocclude.engines.app.limits import LOCAL, Limits
from deocclude.engines.app.models import Models
from deocclude.engines.app.sessions import Sessions

UNUSED = 3600.0  # seconds after which an upload that nobody has used is deleted
IDLE = 600.0  # seconds after which what a program sent and got is deleted
WAITING = 32  # visitors in a queue, beyond whom one is told that the page is busy


class Server:
    """Serves the page while its `with` block lasts, for this machine alone (`local`) where `host`
    is a name of LOCAL. `folder`: the page's own, GRADIO_TEMP_DIR of this process. Raises OSError
    where the port is taken."""

    def __init__(
        self,
        models: Models,
        folder: Path,
        limits: Limits,
        host: str = LOCAL[1],
        port: int | None = None,
    ) -> None:
        self.sessions = Sessions(folder)
        self.host, self.port, self.local = host, port, host in LOCAL
        self.limits = limits
        self.address = ""
        self._blocks = page.build(Handlers(models, self.sessions, limits))
        self._ended = threading.Event()

    def __enter__(self) -> "Server":
        guard = Middleware(
            Guard,
            hosts=LOCAL if self.local else None,
            most_bytes=self.limits.bytes + 1_000_000,  # with the form around the file
            folder=self.sessions.folder,
            framed=not self.local,
        )
        self._blocks.queue(max_size=WAITING, default_concurrency_limit=4, api_open=False)
        _, self.address, _ = self._blocks.launch(
            server_name=f"[{self.host}]" if ":" in self.host else self.host,
            server_port=self.port, prevent_thread_lock=True, quiet=True, share=False,
            inbrowser=False, show_error=False, ssr_mode=False, pwa=False,
            mcp_server=False, enable_monitoring=False, run_history=False, strict_cors=True,
            max_file_size=self.limits.bytes, footer_links=["api"],
            theme=page.THEME, css=page.CSS, i18n=page.I18N, app_kwargs={"middleware": [guard]},
        )  # fmt: skip
        self.sessions.keep()  # the examples
        threading.Thread(target=self._sweep, daemon=True).start()
        return self

    def wait(self) -> None:
        """Until Ctrl-C, or SIGTERM."""
        self._ended.wait()

    def _sweep(self) -> None:
        while not self._ended.wait(60):
            self.sessions.end_idle(IDLE)
            self.sessions.sweep(UNUSED)

    def __exit__(self, *raised: object) -> None:
        self._ended.set()
        self._blocks.close(verbose=False)
        self.sessions.close_all()
