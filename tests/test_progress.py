"""Bars at a terminal, lines in a file: both say the time left."""

import io
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from tqdm import tqdm

from deocclude import progress
from deocclude.progress import Bar, libraries_bars

ROOT = Path(__file__).resolve().parent.parent


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when a test adds some."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_file_gets_a_line_now_and_then_with_the_time_left(clock):
    file = io.StringIO()
    seen = []
    for number in Bar(range(100), "photos", unit="photo", file=file):
        seen.append(number)
        clock[0] += 4
    assert seen == list(range(100))
    lines = file.getvalue().splitlines()
    assert "\r" not in file.getvalue()
    assert lines[0] == "photos: 8 of 100 (8 %), 4.0 s/photo, 06:08 left"
    assert len(lines) == 12
    assert lines[-1] == "photos: 96 of 100 (96 %), 4.0 s/photo, 00:16 left"


def test_work_that_is_done_within_half_a_minute_says_nothing_in_a_file(clock):
    file = io.StringIO()
    with Bar(total=10, desc="photos", file=file) as bar:
        for _ in range(10):
            clock[0] += 2
            bar.update()
    assert file.getvalue() == ""


def test_what_was_done_before_does_not_count_as_fast(clock):
    file = io.StringIO()
    with Bar(desc="epoch 1.00", total=2000, initial=1000, unit=" images", file=file) as bar:
        clock[0] += 50
        bar.set_description("epoch 1.10", refresh=False)
        bar.set_postfix({"loss": "0.5"})
        bar.update(100)
    line = "epoch 1.10: 1100 of 2000 (55 %), 2.0 images/s, 07:30 left, loss=0.5\n"
    assert file.getvalue() == line


def test_without_a_total_there_is_a_pace_and_who_is_not_to_speak_does_not(clock):
    file, quiet = io.StringIO(), io.StringIO()
    with Bar(desc="clip", unit="frame", file=file) as bar, Bar(file=quiet, seen=False) as other:
        clock[0] += 40
        bar.update(80)
        other.update(80)
    assert (file.getvalue(), quiet.getvalue()) == ("clip: 80, 2.0 frame/s\n", "")


def test_lines_between_are_whole(clock, capsys):
    """What commands say while a bar is there goes through `tqdm.write`."""
    for _ in Bar(range(10), "photos", unit="photo"):
        tqdm.write("one line")
        clock[0] += 31
    captured = capsys.readouterr()
    assert captured.out == "one line\n" * 10
    assert len(captured.err.splitlines()) == 9 + 1
    assert "\r" not in captured.out + captured.err


def test_a_terminal_gets_a_bar_with_the_time_left():
    file = Terminal()
    with Bar(total=4, desc="photos", unit="photo", file=file, mininterval=0) as bar:
        bar.update(2)
    states = file.getvalue().split("\r")
    assert re.search(r"photos:  50%\|.*\| 2/4 \[00:00<00:00,.*photo/s\]", states[-2] + states[-1])
    file = Terminal()
    assert list(Bar(range(3), file=file)) == [0, 1, 2]
    assert "3/3" in file.getvalue()


def test_the_bars_of_libraries_are_lines_in_a_file_too(clock, capsys):
    with libraries_bars():
        bar = tqdm(total=100, mininterval=0, miniters=1)
        for _ in range(100):
            clock[0] += 1
            bar.update()
        bar.close()
        print("warning: something else", file=sys.stderr)
        sys.stderr.write("and its end\r\n")
    text = capsys.readouterr().err
    assert "\r" not in text.replace("\r\n", "")
    *states, last, end = text.splitlines()
    assert (last, end) == ("warning: something else", "and its end")
    assert 3 <= len(states) <= 4
    assert re.match(r"\s*\d+%\|", states[0])


def test_nobody_else_draws_bars():
    """One place decides what a terminal and a file get."""
    others = []
    for folder in ("data", "engines", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            if re.search(r"\btqdm\(", path.read_text(encoding="utf-8")):
                others.append(path.name)
    assert others == []


@pytest.mark.parametrize(("rows", "columns"), [(24, 100), (24, 0), (0, 0)])  # 0: it does not say
def test_at_a_pseudo_terminal_and_in_a_pipe(rows, columns):
    words = "from deocclude.progress import Bar\nfor _ in Bar(range(5), 'work'): pass"
    command = [sys.executable, "-c", words]
    fcntl, termios = (pytest.importorskip(name) for name in ("fcntl", "termios"))
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    subprocess.run(command, cwd=ROOT, stderr=theirs, check=True)
    os.close(theirs)
    shown = os.read(ours, 4096).decode()
    os.close(ours)
    assert re.search(r"\rwork: 100%\|.*5/5 \[\d\d:\d\d<\d\d:\d\d", shown)
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
