"""How far long work is, and how long it has to go: a bar at a terminal, else a line now and then.

Both are for stderr. A file or a pipe gets whole lines, at most one in SECONDS, so that the log of a
night's work can be read and short work says nothing.
"""

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

from tqdm import tqdm

SECONDS = 30.0  # between two lines


class Bar(tqdm):
    """tqdm's bar, at a terminal. Elsewhere lines such as

        photos: 120 of 1000 (12 %), 3.2 photo/s, 04:35 left

    `seen` False shows neither. Other options are tqdm's.
    """

    def __init__(
        self,
        iterable: Iterable | None = None,
        desc: str = "",
        total: float | None = None,
        unit: str = "it",
        seen: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(
            iterable, desc, total, unit=unit, disable=None if seen else True, **options
        )
        self._file = (options.get("file") or sys.stderr) if self.disable and seen else None
        if not self.disable:  # a terminal may not say how large it is
            self.ncols, self.nrows = (n if n and n > 0 else None for n in (self.ncols, self.nrows))
        if self.disable:  # then tqdm keeps little
            self.desc, self.unit, self.postfix, self._first = desc, unit, None, self.n
        self._began = self._spoke = time.monotonic()

    def __iter__(self) -> Iterator:
        if not self.disable:
            yield from super().__iter__()
            return
        for each in self.iterable:
            yield each
            self.update()

    def update(self, n: float | None = 1) -> bool | None:
        if not self.disable:
            return super().update(n)
        self.n += n or 0
        now = time.monotonic()
        if self._file is not None and now - self._spoke >= SECONDS:
            self._spoke = now
            print(self._line(now - self._began), file=self._file, flush=True)
        return None

    def _line(self, seconds: float) -> str:
        known = f" of {self.total} ({100 * self.n / self.total:.0f} %)" if self.total else ""
        rate = (self.n - self._first) / seconds
        unit = self.unit.strip()
        pace = f"{rate:.1f} {unit}/s" if rate >= 1 else f"{1 / max(rate, 1e-9):.1f} s/{unit}"
        parts = [f"{self.n}{known}", pace]
        if self.total and rate > 0:
            parts.append(f"{self.format_interval(max(0, self.total - self.n) / rate)} left")
        if self.postfix:
            parts.append(str(self.postfix))
        name = self.desc.rstrip(": ")
        return f"{name}: {', '.join(parts)}" if name else ", ".join(parts)


@contextlib.contextmanager
def libraries_bars() -> Iterator[None]:
    """Within it the bars that libraries draw on stderr are lines too where that is no terminal."""
    if sys.stderr.isatty():
        yield
        return
    with contextlib.redirect_stderr(_WholeLines(sys.stderr)):
        yield


class _WholeLines:
    """A file that takes the states of a bar, each of which begins with a carriage return, and
    passes one on now and then; what else is written passes."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._spoke, self._open = file, time.monotonic(), False

    def write(self, text: str) -> int:
        is_state = text.startswith("\r") and not text.startswith("\r\n")
        closes = self._open and text == "\n"  # of a bar
        self._open = is_state
        if not is_state and not closes:
            self._file.write(text)
        elif time.monotonic() - self._spoke >= SECONDS and (state := text.strip()):
            self._spoke = time.monotonic()
            self._file.write(f"{state}\n")
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
