"""What belongs to one browser's visit: a folder, its uploads, its running work; all of it goes when
the visit ends."""

import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deocclude.engines.app.live import LivePicture
from deocclude.engines.app.names import free_name
from deocclude.engines.app.photo import OnePhoto

PREFIX = "session-"
DAY = 86400.0  # seconds
Seen = tuple[int, int]  # which file of a name it was: its number on the disk, its time


class Session:
    """What one browser's tab or one program has; only `Sessions` makes these.

    `folder`: where its results lie. `stop` ends its running task, and is set when the visit ends.
    `tab`: a tab says when it is closed, a program may not. `used`: when, by a clock. `source`: the
    photo's file as it was uploaded, readable or not; `photo`, `live`: what it works at."""

    def __init__(self, sessions: "Sessions", folder: Path):
        self.folder = folder
        self.stop = threading.Event()
        self.tab, self.used = False, 0.0
        self.source: Path | None = None
        self.photo: OnePhoto | None = None
        self.live: LivePicture | None = None
        self._sessions = sessions
        self._lock = sessions._lock
        self._seen: dict[Path, Seen] = {}
        self._names: set[str] = set()
        self._working = 0
        self._closed = False

    def place(self, name: str) -> Path:
        """Where a file may be written that a user calls `name`: each call another path in the
        folder. ValueError once the session is gone."""
        with self._lock:
            if self not in self._sessions._all:
                raise ValueError(f"the session of {self.folder} has ended; open another")
            free = free_name(name, lambda each: each.casefold() in self._names)
            self._names.add(free.casefold())
            return self.folder / free

    def saw(self, path: str | Path) -> Path:
        """Note a file that the user uploaded: it goes when this session does. Returns the real
        path; ValueError where that is none of the app's files or another session's."""
        path = Path(path).resolve()
        with self._lock:
            self._sessions._check(path, self)
            if not path.is_relative_to(self.folder) and (seen := _look(path)):
                self._seen[path] = seen
        return path

    @contextmanager
    def working(self) -> Iterator["Session"]:
        """Work of this session runs in the block: its files stay until the block ends, though the
        session may be closed meanwhile."""
        with self._lock:
            self._working += 1
        try:
            yield self
        finally:
            with self._lock:
                self._working -= 1
                self._sessions._remove_ended()


class Sessions:
    """`folder` is the app's own: uploads lie in it, and the sessions' folders. Nothing outside of
    it is ever removed. All methods may be called from any thread."""

    def __init__(self, folder: Path):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder.resolve()
        self._lock = threading.RLock()
        self._removed = threading.Condition(self._lock)
        self._open: dict[str, Session] = {}
        self._all: set[Session] = set()  # those too that are closed while work runs
        self._kept: set[Path] = set()

    def open(self, session_hash: str) -> Session:
        """The session of a browser, begun where there is none."""
        with self._lock:
            if session_hash not in self._open:
                folder = self.folder / f"{PREFIX}{secrets.token_urlsafe(16)}"
                folder.mkdir(mode=0o700)
                self._open[session_hash] = session = Session(self, folder)
                self._all.add(session)
            self._open[session_hash].used = time.monotonic()
            return self._open[session_hash]

    def __iter__(self) -> Iterator[Session]:
        with self._lock:
            return iter([*self._open.values()])

    def close(self, session_hash: str) -> None:
        """End a session, if there is one: tell its work to stop, and remove its files once no work
        runs any more."""
        with self._lock:
            if session := self._open.pop(session_hash, None):
                session.stop.set()
                session._closed = True
                self._remove_ended()

    def end_idle(self, seconds: float) -> None:
        """End the sessions of programs that have asked nothing for so long, and of tabs that have
        not for a day: they may never say that they are closed."""
        now = time.monotonic()
        with self._lock:
            for session_hash, session in list(self._open.items()):
                if now - session.used > (max(seconds, DAY) if session.tab else seconds):
                    self.close(session_hash)

    def close_all(self, patience: float = 10) -> None:
        """End every session; work that goes on after `patience` seconds loses its files."""
        with self._lock:
            for session_hash in list(self._open):
                self.close(session_hash)
            self._removed.wait_for(lambda: not self._all, patience)
            for session in list(self._all):
                self._remove(session)

    def keep(self) -> None:
        """What lies in the folder now is the page's own, and `sweep` leaves it."""
        with self._lock:
            self._kept.update(path for path in self.folder.rglob("*") if path.is_file())

    def sweep(self, older_than_seconds: float) -> list[Path]:
        """Remove the files that are older and no session has seen, as of visitors who left before
        they pressed a button; returns them. The page's own (`keep`) stay."""
        removed = []
        latest = time.time() - older_than_seconds
        with self._lock:
            folders = {session.folder for session in self._all}
            seen = self._kept.union(*(session._seen for session in self._all))
            for top, below, names in os.walk(self.folder):
                below[:] = [name for name in below if Path(top, name) not in folders]
                for path in (Path(top, name) for name in names):
                    if path not in seen and _age_mark(path) < latest and self._unlink(path):
                        removed.append(path)
        return sorted(removed)

    def _check(self, path: Path, session: Session) -> None:
        if not path.is_relative_to(self.folder) or path == self.folder:
            raise ValueError(f"{path}: was not uploaded here")
        owner = self.folder / path.relative_to(self.folder).parts[0]
        if owner.name.startswith(PREFIX) and owner != session.folder:
            raise ValueError(f"{path}: belongs to another session")

    def _remove_ended(self) -> None:
        for session in [s for s in self._all if s._closed and not s._working]:
            self._remove(session)

    def _remove(self, session: Session) -> None:
        self._all.discard(session)
        shutil.rmtree(session.folder, ignore_errors=True)
        others = {path for other in self._all for path in other._seen}
        for path, seen in session._seen.items():
            # Somebody may have uploaded the same content since, under the same name.
            if path not in others and path not in self._kept and _look(path) == seen:
                self._unlink(path)
        self._removed.notify_all()

    def _unlink(self, path: Path) -> bool:
        """Remove a file, and the folder that it leaves empty; whether it is gone now."""
        try:
            path.unlink()
        except OSError:  # Windows: somebody reads it; `sweep` comes again
            return not path.exists()
        with suppress(OSError):  # not empty
            if path.parent != self.folder:
                path.parent.rmdir()
        return True


def _look(path: Path) -> Seen | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _age_mark(path: Path) -> float:
    """When a file came or changed, in seconds; of one that is gone, never."""
    try:
        found = path.lstat()
    except OSError:
        return float("inf")
    return max(found.st_mtime, found.st_ctime)
