"""A linear layer that can be given more outputs and inputs, and how its new units begin."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, get_args

import torch
from torch import Tensor, nn

from structure_net.core.arguments import check_whole
from structure_net.graph.channels import Fill, Role
from structure_net.surgery import NEW, Initialiser, Probe, operate
from structure_net.surgery.initialisers import Newborn
from structure_net.surgery.moves import MoveAxis, SetAttribute
from structure_net.surgery.tensors import draws

Scheme = Literal["kaiming", "xavier"]

_SATURATING: Final = (nn.Tanh, nn.Sigmoid, nn.Softsign, nn.Hardtanh)


class ExpandableLinear(nn.Linear):
    """`torch.nn.Linear` that grows in place: its parameters stay the same objects.

    Optimizers keep the moments of the old entries; one that is not told follows at its next step.

    Args:
        in_features: Inputs.
        out_features: Outputs.
        bias: Whether there is one.
        scheme: How weights are drawn, at birth and in growth; see `drawn`.
        generator: What they are drawn from at birth; torch's default one if None.

    Shape:
        ``(*, in_features)`` to ``(*, out_features)``.

    Raises:
        ValueError: A size is below 1, or the scheme unknown.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        scheme: Scheme = "kaiming",
        generator: torch.Generator | None = None,
    ) -> None:
        check_whole(1, in_features=in_features, out_features=out_features)
        if scheme not in get_args(Scheme):
            raise ValueError(f"scheme must be 'kaiming' or 'xavier'; got {scheme!r}.")
        self.scheme: Scheme = scheme
        self._drawn_from = generator
        super().__init__(in_features, out_features, bias)
        self._drawn_from = None

    def reset_parameters(self) -> None:
        """Draws all weights anew from torch's default generator; the bias is 0."""
        generator = self._drawn_from or torch.default_generator
        with torch.no_grad():
            self.weight.copy_(drawn(tuple(self.weight.shape), self.scheme, generator))
            if self.bias is not None:
                self.bias.zero_()

    def expand_output(self, num_neurons: int, *, seed: int = 0) -> None:
        """Adds outputs: freshly drawn rows with bias 0. The old outputs stay as they were.

        Args:
            num_neurons: How many.
            seed: What their weights are drawn from.

        Raises:
            ValueError: ``num_neurons`` is below 1.
        """
        check_whole(1, num_neurons=num_neurons)
        old, new = self.out_features, self.out_features + num_neurons
        source = (*range(old), *[NEW] * num_neurons)
        moves = [MoveAxis("weight", 0, Role.WRITES, source, Fill.RANDOM)]
        if self.bias is not None:
            moves.append(MoveAxis("bias", 0, Role.WRITES, source, Fill.ZERO))
        operate(self, (*moves, SetAttribute("", "out_features", None, new)), seed=seed)
        fresh = drawn((new, self.in_features), self.scheme, draws(seed, "weight"))
        with torch.no_grad():
            self.weight[old:] = fresh[old:].to(self.weight)

    def expand_input(self, num_features: int) -> None:
        """Adds inputs that nothing is read from yet: columns of zeros, so that the output stays.

        Raises:
            ValueError: ``num_features`` is below 1.
        """
        check_whole(1, num_features=num_features)
        source = (*range(self.in_features), *[NEW] * num_features)
        move = MoveAxis("weight", 1, Role.READS, source, Fill.ZERO)
        size = SetAttribute("", "in_features", None, self.in_features + num_features)
        operate(self, (move, size))


@dataclass(frozen=True, slots=True)
class DrawnIncoming(Initialiser):
    """Incoming weights by Kaiming's or Xavier's rule, outgoing ones zero: the function stays.

    Args:
        scheme: See `drawn`.
    """

    scheme: Scheme

    @property
    def preserves(self) -> bool:
        """True."""
        return True

    def refine(self, model: nn.Module, newborn: Newborn, probe: Probe | None, seed: int) -> None:
        """Draws the new rows of the layer that was grown."""
        del probe
        prefix = f"{newborn.layer}."
        own = {id(p): n for n, p in model.named_parameters() if n.startswith(prefix)}
        for slot in newborn.writers:
            name = own.get(id(slot.tensor))
            if name is not None and slot.dim == 0:
                shape = (slot.tensor.shape[0], slot.tensor.shape[1])
                fresh = drawn(shape, self.scheme, draws(seed, name))
                slot.write(fresh[slot.new.cpu()])


def drawn(shape: tuple[int, ...], scheme: Scheme, generator: torch.Generator) -> Tensor:
    r"""Normal weights of mean 0 and standard deviation :math:`\sigma`.

    Kaiming's :math:`\sigma = \sqrt{2 / n_{in}}` keeps the signal's size through a ReLU, Xavier's
    :math:`\sigma = \sqrt{2 / (n_{in} + n_{out})}` through an activation like the identity at 0.

    Args:
        shape: :math:`(n_{out}, n_{in})`.
        scheme: Whose rule.
        generator: What they are drawn from.

    References:
        He et al., "Delving Deep into Rectifiers", ICCV 2015. Glorot and Bengio, "Understanding the
        difficulty of training deep feedforward neural networks", AISTATS 2010.
    """
    outputs, inputs = shape
    variance = 2 / inputs if scheme == "kaiming" else 2 / (inputs + outputs)
    values = torch.randn(shape, generator=generator, dtype=torch.float64)
    return values * math.sqrt(variance)


def scheme_for(activation: nn.Module) -> Scheme:
    """Xavier's rule in front of what saturates on both sides, Kaiming's in front of the rest."""
    return "xavier" if isinstance(activation, _SATURATING) else "kaiming"
