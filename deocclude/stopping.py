"""Ctrl-C and SIGTERM end a command with one line and exit code 130 or 143, never with a traceback.

What is run as a command calls `watch()` before its imports and hands its `main` to `run`. Python
sessions (Spyder, notebooks) keep their own handling.
"""

import contextlib
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, ParamSpec

Given = ParamSpec("Given")
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
AGAIN = "the same command goes on from here"


class Stopped(KeyboardInterrupt):
    """Raised where the command is when it is asked to stop. `code`: 128 + the signal's number."""

    folder: Path | None = None  # of the run that was being trained, where one was

    def __init__(self, number: int = signal.SIGINT) -> None:
        self.code = 128 + number


_works = _asked = False


def watch() -> None:
    """From now on a signal ends the process at once, with a line: nothing is begun yet."""
    session = hasattr(sys, "ps1") or "ipykernel" in sys.modules
    if session or threading.current_thread() is not threading.main_thread():
        return
    for name in SIGNALS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, ask)


def run(main: Callable[[], int | None]) -> int:
    """The exit code of `main`. The first signal raises Stopped in it, so that what it holds is
    closed, or ends the process where it imports; the second ends it at once."""
    global _works
    _works, sys.unraisablehook = True, _ask_again
    try:
        return main() or 0
    except KeyboardInterrupt as stop:
        return say_stopped(stop, AGAIN)
    finally:
        _works = False
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        for name in SIGNALS:  # the interpreter's own end has nothing to close
            if signal.getsignal(number := getattr(signal, name, signal.SIGTERM)) is ask:
                signal.signal(number, signal.SIG_DFL)


def answering(words: str = AGAIN) -> Callable[[Callable[Given, int | None]], Callable[Given, int]]:
    """A decorator of a command, which then answers with its exit code: 1 after one line about an
    error that the user can mend, that of a signal after one line with `words`."""

    def decorate(main: Callable[Given, int | None]) -> Callable[Given, int]:
        @functools.wraps(main)
        def answer(*given: Given.args, **named: Given.kwargs) -> int:
            try:
                return main(*given, **named) or 0
            except (ValueError, OSError) as error:
                print(f"error: {error}", file=sys.stderr)
                return 1
            except KeyboardInterrupt as stop:
                return say_stopped(stop, words)

        return answer

    return decorate


def ask(number: int, frame: FrameType | None) -> None:
    """The handler of `watch`; others may hand a signal on to it."""
    global _asked
    if _works and not _asked and not _imports(frame):
        _asked = True
        raise Stopped(number)
    text = "stopped at once" if _asked else f"stopped; {AGAIN}"
    with contextlib.suppress(OSError):  # not `print`, which a signal may have found at work
        os.write(2, f"{text}\n".encode())
    os._exit(128 + number)


def _ask_again(lost: Any) -> None:
    """A Stopped raised in a destructor, where Python can but report it, is raised once more."""
    global _asked
    if not isinstance(lost.exc_value, Stopped):
        sys.__unraisablehook__(lost)
        return
    _asked = False
    threading.Timer(0.01, _signal_main, (lost.exc_value.code - 128,)).start()


def _signal_main(number: int) -> None:
    """Signal the main thread, so that it wakes where it waits."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:  # Windows
        signal.raise_signal(number)


def _imports(frame: FrameType | None) -> bool:
    """Whether a module is being imported. Libraries do not all survive an exception there, and have
    much to say at their end."""
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Signals wait until the block is left. For processes that are started in it they wait until
    these call `leave_to_parent`: Ctrl-C in a terminal goes to all of a command's processes."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_to_parent() -> None:
    """In a process that works for another: that one ends it when a signal comes. SIGTERM asked
    twice ends it all the same."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))


def say_stopped(stop: KeyboardInterrupt, words: str) -> int:
    """Say that the command was stopped, and what of it; its exit code."""
    with contextlib.suppress(OSError):  # the terminal may be gone
        print(f"stopped; {words}", file=sys.stderr, flush=True)
    return stop.code if isinstance(stop, Stopped) else 128 + signal.SIGINT
