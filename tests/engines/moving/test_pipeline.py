"""Threads beside the networks: order, errors, and an end that waits for nobody."""

import threading
import time

import pytest

from deocclude.engines.moving.pipeline import Behind, Newest, ahead


def threads():
    return [t.name for t in threading.enumerate() if t.name.startswith(("ahead", "behind", "new"))]


def test_items_come_in_order_and_a_few_ahead():
    made = []

    def numbers():
        for number in range(20):
            made.append(number)
            yield number

    source = ahead(numbers(), depth=3)
    assert [next(source) for _ in range(5)] == [0, 1, 2, 3, 4]
    time.sleep(0.05)
    assert 5 <= len(made) <= 8
    assert list(source) == list(range(5, 20))
    assert threads() == []


def test_an_error_comes_in_its_place_and_an_early_end_ends_the_thread():
    def broken():
        yield 1
        raise ValueError("broken here")

    source = ahead(broken())
    assert next(source) == 1
    with pytest.raises(ValueError, match="broken here"):
        next(source)
    source = ahead(iter(range(100)))
    next(source)
    source.close()
    assert threads() == []


def test_calls_are_made_in_order_and_their_errors_are_told():
    done, behind = [], Behind(depth=2)
    for number in range(10):
        behind.call(done.append, number)
    behind.finish()
    assert done == list(range(10))

    def fail():
        raise OSError("disk full")

    behind.call(fail)
    with pytest.raises(OSError, match="disk full"):
        behind.finish()
    behind.close()
    assert threads() == []


def test_what_is_slower_sees_the_newest():
    answers = iter([*range(50), None])

    def read():
        time.sleep(0.002)
        return next(answers)

    newest, seen = Newest(read), []
    while (item := newest.take()) is not None:
        seen.append(item)
        time.sleep(0.02)
    assert seen == sorted(set(seen))
    assert 3 <= len(seen) < 25
    assert seen[-1] == 49  # the last one is not lost
    newest.close()
    assert threads() == []


def test_an_error_of_the_reader_is_raised_and_close_ends_it():
    def read():
        raise RuntimeError("unplugged")

    newest = Newest(read)
    with pytest.raises(RuntimeError, match="unplugged"):
        newest.take()
    endless = Newest(lambda: time.sleep(0.001) or 1)
    assert endless.take() == 1
    endless.close()
    assert endless.take() in (1, None)
    assert endless.take() is None
    assert threads() == []
