"""Weights back to where they began, on the architecture that there is now: lottery tickets."""

from __future__ import annotations

from copy import deepcopy

from torch import nn

from structure_net.core.network_factory import StandardNetwork
from structure_net.errors import StructureNetError
from structure_net.evolution.context import NetworkContext
from structure_net.evolution.interfaces import Trainer
from structure_net.surgery import load_checkpoint, replay
from structure_net.surgery.lineage import architecture


class LotteryRewind(Trainer):
    """Gives what is left of a network the weights that it had at the start of its journal.

    A pruned network with the weights of its birth is a lottery ticket. It is made from the journal:
    the network as it was born, with all edits carried out on it and no training in between. The
    optimizer forgets its moments. Behind a strategy that prunes and in front of a trainer, this is
    iterative pruning with rewinding.

    Args:
        birth: The network at the journal's start, with the weights to go back to: any module, of
            which a copy is kept; or the path of a checkpoint of a
            `structure_net.core.StandardNetwork`, which may have been trained a little. None: a
            `StandardNetwork` as its recipe tells. One that keeps a module cannot be stored as
            plain data.

    References:
        Frankle and Carbin, "The lottery ticket hypothesis", ICLR 2019. Frankle et al., "Linear mode
        connectivity and the lottery ticket hypothesis", ICML 2020 (rewinding to an early epoch).
    """

    def __init__(self, birth: nn.Module | str | None = None) -> None:
        self.birth = deepcopy(birth)

    def train(self, context: NetworkContext) -> NetworkContext:
        """See the class; there is no step and no epoch.

        Raises:
            StructureNetError: It is not known how the network was born, or the journal does not
                lead from there to what it is now.
            JournalError: The journal cannot be replayed on it.
        """
        context = context.with_example()
        network = context.network
        ticket = replay(self._born(network), context.journal, context.example)
        if architecture(ticket) != architecture(network):
            raise StructureNetError(
                "The journal does not lead from the network's birth to what it is now, so that its"
                " weights cannot go back. Give LotteryRewind the network at the journal's start."
            )
        network.load_state_dict(ticket.state_dict())
        if context.optimizer is not None:
            context.optimizer.state.clear()
        return context

    def _born(self, network: nn.Module) -> nn.Module:
        if isinstance(self.birth, str):
            return load_checkpoint(self.birth).model
        if self.birth is not None:
            return deepcopy(self.birth)
        if isinstance(network, StandardNetwork):
            return StandardNetwork.from_recipe(network.recipe).to(next(network.parameters()))
        raise StructureNetError(
            f"{type(network).__name__} has no recipe that tells how it was born. Give LotteryRewind"
            " a copy of it from before the first edit."
        )
