"""Layers are watched for as long as they are to be, wherever interrupts strike."""

from __future__ import annotations

import torch

from structure_net.core.undoing import Undoing
from structure_net.den import DynamicExpandableNetwork
from structure_net.den.watching import LayerWatch
from tests.interrupting import left_alone

INPUTS = torch.arange(12.0).reshape(4, 3) / 6 - 1


def network() -> DynamicExpandableNetwork:
    return DynamicExpandableNetwork(3, 2, [4, 5], dropout=0.5, seed=0)


def test_what_is_closed_sees_nothing_more_and_keeps_what_it_saw() -> None:
    model, undo = network(), Undoing()
    with undo, undo:
        watch = LayerWatch(model, undo)
        watch.open()
        model(INPUTS)
        watch.close()
        seen = watch.magnitudes()
        model(INPUTS * 9)
        assert watch.magnitudes() == seen
        assert len(seen) == 2
        watch.open()
        assert watch.magnitudes() == {}


def test_an_interrupt_while_layers_are_watched_leaves_no_hook_and_no_mode() -> None:
    model = network()

    def task() -> None:
        undo = Undoing()
        with undo, undo:
            watch = LayerWatch(model, undo, training=False)
            watch.open()
            model(INPUTS)

    assert left_alone(model, task, ("den/watching.py", "core/running.py"), every=3) > 10


def test_an_answer_leaves_each_part_of_a_network_in_its_own_mode() -> None:
    from structure_net.den import DENTrainer

    model = network()
    trainer = DENTrainer(model, verbose=False)
    frozen = next(module for module in model.modules() if isinstance(module, torch.nn.Dropout))
    frozen.eval()
    trainer.predict(INPUTS)
    assert model.training
    assert not frozen.training
