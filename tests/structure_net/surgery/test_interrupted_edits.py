"""An edit is made wholly or not at all, wherever a Ctrl-C strikes."""

from __future__ import annotations

import signal
from typing import Any

import pytest
import torch

from structure_net.core import create_standard_network
from structure_net.core.optimizers import Adam
from structure_net.core.undoing import uninterrupted
from structure_net.surgery import AddConnections, apply
from tests.interrupting import interrupted_everywhere

INPUTS = torch.arange(24.0).reshape(4, 6) / 12 - 1


@pytest.mark.usefixtures("live_storage")
def test_an_interrupt_at_any_point_of_an_edit_leaves_the_network_before_or_after_it() -> None:
    """Beside one optimizer that is handed over, and one that is not."""
    before, after, made = set[int](), set[int](), list[Any]()

    def task() -> None:
        made.clear()
        network: Any = create_standard_network([6, 5, 3], density=0.4, seed=0)
        optimizers = [Adam(network.parameters(), lr=0.0) for _ in range(2)]
        made[:] = [network, *optimizers]
        for optimizer in optimizers:
            network(INPUTS).sum().backward()
            optimizer.step()
        free = (~network.layers[0].pattern.mask()).nonzero()[:2].tolist()
        change = AddConnections("layers.0", tuple((row, column) for row, column in free))
        before.add(network.layers[0].connections)
        done = apply(network, change, INPUTS, optimizer=optimizers[0])
        after.add(network.layers[0].connections)
        done.undo()

    files = ("surgery/committing.py", "surgery/operating.py", "surgery/applying.py")
    count = 0
    task()  # what is imported once is there
    for _held in interrupted_everywhere(task, files, every=13, by_signal=True):
        if not made:
            continue
        count += 1
        network, *optimizers = made
        assert network.layers[0].connections in before | after
        for optimizer in optimizers:
            network(INPUTS).sum().backward()
            optimizer.step()
    assert count > 10
    assert len(before) == len(after) == 1


def test_what_is_not_to_be_interrupted_is_interrupted_behind() -> None:
    done: list[int] = []

    def task() -> None:
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            done.append(1)

    with pytest.raises(KeyboardInterrupt):
        task()
    assert done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
