from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from structure_net.core.network_factory import create_standard_network
from structure_net.evolution import ComposableEvolutionSystem, NetworkContext, OtherLossWarning
from structure_net.evolution.losses import loss_name
from structure_net.surgery import Journal, diff, load_checkpoint, save_checkpoint, trimmed
from structure_net.surgery.replaying import replay

DATA = [(torch.zeros(2, 4), torch.zeros(2, 2))]


class Scaled:
    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return 2 * F.mse_loss(outputs, targets)

    def bound(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self(outputs, targets)


def saved(folder: Path, loss: Any) -> NetworkContext:
    """The context of a network that was attached with ``loss``, saved, and loaded again."""
    network = create_standard_network([4, 8, 2], density=0.5, seed=0)
    session = ComposableEvolutionSystem().attach(network, data_loader=DATA, loss=loss)
    save_checkpoint(folder / "net.safetensors", network, journal=session.context.journal)
    found = load_checkpoint(folder / "net.safetensors")
    return NetworkContext(found.model, DATA, journal=found.journal)


def test_losses_are_named_by_what_computes_them() -> None:
    here = __name__
    assert loss_name(F.mse_loss) == "torch.nn.functional.mse_loss"
    assert loss_name(partial(F.mse_loss, reduction="sum")) == "torch.nn.functional.mse_loss"
    assert loss_name(nn.MSELoss()) == "torch.nn.modules.loss.MSELoss"
    assert loss_name(Scaled()) == f"{here}.Scaled"
    assert loss_name(Scaled().bound) == f"{here}.Scaled.bound"
    assert loss_name(lambda a, b: (a - b).sum()).startswith(f"{here}.test_losses_are_named")


@pytest.mark.parametrize(
    "loss", [F.mse_loss, nn.MSELoss(), Scaled(), lambda a, b: (a - b).square().sum()]
)
def test_a_resume_without_the_loss_of_the_past_says_so(tmp_path: Path, loss: Any) -> None:
    context, system = saved(tmp_path, loss), ComposableEvolutionSystem()
    with pytest.warns(
        OtherLossWarning, match=r"take 'torch\.nn\.functional\.cross_entropy'"
    ) as said:
        system.resume(context)
    assert said[0].filename == __file__
    assert repr(loss_name(loss)) in str(said[0].message)
    before = len(context.journal)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        system.resume(replace(context, loss=loss))
    assert len(context.journal) == before == 1
    replay(create_standard_network([4, 8, 2], density=0.5, seed=0), context.journal, DATA[0][0])


def test_a_trimmed_journal_keeps_the_loss(tmp_path: Path) -> None:
    context = saved(tmp_path, F.mse_loss)
    once = trimmed(context.journal, context.network)
    short = replace(context, journal=trimmed(once, context.network))
    with pytest.warns(OtherLossWarning, match="evolved by the loss 'torch.nn.functional.mse_loss'"):
        ComposableEvolutionSystem().resume(short)


def test_another_loss_is_no_other_start(tmp_path: Path) -> None:
    (one, other, silent) = (saved(tmp_path, loss).journal for loss in (F.mse_loss, None, None))
    assert diff(one, other).same
    (start,) = silent.events()
    without = {key: value for key, value in start.detail.items() if key != "loss"}
    assert diff(one, Journal([replace(start, detail=without)])).same


def test_a_resume_with_the_default_is_silent_where_it_was_the_default(tmp_path: Path) -> None:
    context = saved(tmp_path, None)
    ComposableEvolutionSystem().resume(context)
    with pytest.warns(OtherLossWarning, match="evolved by the loss 'torch.nn.functional.cross_e"):
        ComposableEvolutionSystem().resume(replace(context, loss=F.mse_loss))
