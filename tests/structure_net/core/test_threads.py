"""Blocks run side by side, once each, and tell of failures."""

from __future__ import annotations

import signal
import threading

import numpy as np
import pytest

from structure_net.core.threads import even_bounds, invite, run_blocks, uninterrupted


def test_every_block_runs_once() -> None:
    seen: list[tuple[int, int]] = []
    run_blocks(lambda first, last: seen.append((first, last)), [0, 3, 3, 5, 9])
    assert sorted(seen) == [(0, 3), (3, 5), (5, 9)]


def test_blocks_run_side_by_side() -> None:
    # Nobody passes the barrier unless three blocks run at once.
    barrier = threading.Barrier(3, timeout=250)
    run_blocks(lambda first, last: barrier.wait(), [0, 1, 2, 3])


def test_one_block_runs_in_the_calling_thread() -> None:
    seen: list[threading.Thread] = []
    run_blocks(lambda first, last: seen.append(threading.current_thread()), [0, 4])
    assert seen == [threading.current_thread()]


def test_a_failure_arrives_once_all_blocks_have_ended() -> None:
    ended: list[int] = []

    def block(first: int, last: int) -> None:
        if first == 1:
            raise ValueError("one failed")
        ended.append(first)

    with pytest.raises(ValueError, match="one failed"):
        run_blocks(block, [0, 1, 2, 3])
    assert sorted(ended) == [0, 2]
    run_blocks(block, [2, 3, 4])


def test_an_interrupt_arrives_once_all_blocks_have_ended() -> None:
    begun, goes_on, ended = threading.Event(), threading.Event(), []

    def block(first: int, last: int) -> None:
        if first == 0:  # by the main thread, while the other one works
            assert begun.wait(60)
            signal.raise_signal(signal.SIGALRM)
        else:
            begun.set()
            assert goes_on.wait(60)
            ended.append(first)

    def interrupt(*_: object) -> None:
        threading.Timer(0.01, goes_on.set).start()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_blocks(block, [0, 1, 2])
    finally:
        signal.signal(signal.SIGALRM, before)
    assert ended == [1]


def test_interrupts_at_any_moment_leave_no_block_behind() -> None:
    armed = False

    def interrupt(*_: object) -> None:
        if armed:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for turn in range(300):
            ended: list[int] = []
            try:
                armed = True
                signal.setitimer(signal.ITIMER_REAL, 1e-6 * (1 + turn % 60))
                run_blocks(lambda first, last, kept=ended: kept.append(first), [0, 1, 2, 3])  # type: ignore[misc]
                armed = False
            except KeyboardInterrupt:
                armed = False
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert len(ended) == len(set(ended))
    finally:
        signal.signal(signal.SIGALRM, before)
    seen: list[int] = []
    run_blocks(lambda first, last: seen.append(first), [0, 1, 2, 3])
    assert sorted(seen) == [0, 1, 2]


def test_nothing_to_do_is_nothing() -> None:
    run_blocks(lambda first, last: pytest.fail("no rows"), [0, 0])


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_bounds_cover_all_rows_with_even_work(parts: int) -> None:
    work = np.random.default_rng(0).integers(0, 9, 100)
    sums = np.concatenate([[0], np.cumsum(work)])
    bounds = even_bounds(sums, parts)
    assert bounds[0] == 0
    assert bounds[-1] == 100
    assert bounds == sorted(bounds)
    shares = np.diff(sums[bounds])
    assert shares.max() - shares.min() <= 2 * work.max()


def test_rows_without_work_are_covered() -> None:
    assert even_bounds(np.zeros(5, np.int32), 3) == [0, 0, 0, 4]


def test_who_is_invited_works_beside_the_caller() -> None:
    barrier = threading.Barrier(3, timeout=250)
    invite([barrier.wait, barrier.wait])
    barrier.wait()


def test_no_more_are_invited_than_are_free() -> None:
    begun, over, seen = threading.Barrier(2, timeout=250), threading.Event(), []

    def busy() -> None:
        begun.wait()
        over.wait(250)

    free: threading.Event = threading.Event()
    invite([free.set])
    free.wait(250)
    # All threads that there are.
    size = max(1, sum(one.name.startswith("structure-net-kernel") for one in threading.enumerate()))
    invite([busy] * size)
    for _ in range(size):
        begun.wait()
    for place in range(size + 2):
        invite([lambda place=place: seen.append(place)] * size)  # type: ignore[misc]
    over.set()
    done = threading.Event()
    run_blocks(lambda first, last: done.set(), [0, 1, 2])
    assert done.wait(250)
    assert len(seen) <= size


def test_an_interrupt_ends_the_wait_for_a_task_and_not_the_task() -> None:
    ended = threading.Event()

    def task() -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        ended.set()

    with pytest.raises(KeyboardInterrupt):
        uninterrupted(task)
    assert ended.wait(250)


def test_what_a_task_raises_is_raised() -> None:
    def task() -> None:
        raise KeyError("task")

    with pytest.raises(KeyError, match="task"):
        uninterrupted(task)
    seen: list[type[BaseException]] = []

    def elsewhere() -> None:
        try:
            uninterrupted(task)
        except KeyError as error:
            seen.append(type(error))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [KeyError]
