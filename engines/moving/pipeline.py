"""Work that comes before and after the networks, done beside them in threads of its own: decoding,
encoding and what a camera sees meanwhile."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
DEPTH = 4  # items that wait between two stages, at most
PATIENCE = 2.0  # seconds until a thread that hangs, such as one at a camera, is left behind
_END: Any = object()


def ahead(items: Iterable[Item], depth: int = DEPTH) -> Generator[Item, None, None]:
    """The same items in the same order, each taken by a thread of its own up to `depth` before it
    is asked for. Its errors are raised here; `close()` ends the thread."""
    source = iter(items)
    with ThreadPoolExecutor(1, "ahead") as thread:
        waiting = deque(thread.submit(next, source, _END) for _ in range(depth))
        try:
            while (item := waiting.popleft().result()) is not _END:
                waiting.append(thread.submit(next, source, _END))
                yield item
        finally:
            for each in waiting:
                each.cancel()


class Behind:
    """Calls made in order by a thread of its own, at most `depth` of them waiting. The error of one
    is raised by a later call or `finish`."""

    def __init__(self, depth: int = DEPTH) -> None:
        self._thread, self.depth = ThreadPoolExecutor(1, "behind"), depth
        self._waiting: deque[Future] = deque()

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Have it called; waits while too many others wait."""
        if len(self._waiting) >= self.depth:
            self._waiting.popleft().result()
        self._waiting.append(self._thread.submit(function, *arguments))

    def finish(self) -> None:
        """Wait until all is done."""
        while self._waiting:
            self._waiting.popleft().result()

    def close(self) -> None:
        """End the thread; what waits is not done."""
        self._thread.shutdown(cancel_futures=True)


class Newest(Generic[Item]):
    """What `read` answers last, asked again and again by a thread: what is slower than a camera
    misses pictures but never sees old ones. `read` answers None at the end; its error is raised by
    `take`."""

    def __init__(self, read: Callable[[], Item | None]) -> None:
        self._read = read
        self._item: Item | None = None
        self._error: BaseException | None = None
        self._ended = self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="newest", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended:
            item, error = None, None
            try:
                item = None if self._closed else self._read()
            except Exception as wrong:
                error = wrong
            with self._changed:
                self._error, self._ended = error, item is None
                self._item = item if item is not None else self._item
                self._changed.notify()

    def take(self) -> Item | None:
        """The newest that was not taken yet, waiting for it; None at the end."""
        with self._changed:
            while self._item is None and not self._ended:
                self._changed.wait(0.1)  # so that Ctrl-C is heard
            item, self._item = self._item, None
            if item is None and self._error is not None:
                raise self._error
            return item

    def close(self) -> None:
        """End the thread, once what it reads has come, and wait some seconds for that; whoever
        waits for more is told the end."""
        self._closed = True
        self._thread.join(PATIENCE)
