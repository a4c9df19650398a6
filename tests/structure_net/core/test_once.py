"""What is done once is done once, whoever comes first."""

from __future__ import annotations

from threading import Barrier, Thread

import pytest

from structure_net.core.once import Once


def test_threads_that_come_at_once_do_it_once_and_find_it_done() -> None:
    done: list[int] = []
    started, seen = Barrier(8), []

    def slow() -> None:
        for number in range(2000):
            done.append(number)

    once = Once(slow)

    def come() -> None:
        started.wait()
        once()
        seen.append(len(done))

    threads = [Thread(target=come) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [2000] * 8


def test_what_raised_is_tried_again_and_what_comes_back_within_is_not_repeated() -> None:
    calls: list[str] = []

    def action() -> None:
        calls.append("begun")
        if len(calls) == 1:
            raise OSError("not yet")
        once()

    once = Once(action)
    with pytest.raises(OSError, match="not yet"):
        once()
    once()
    once()
    assert calls == ["begun", "begun"]
