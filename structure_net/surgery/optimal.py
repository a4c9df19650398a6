r"""Optimal new units, as TINY has them: those that present weights can replace the least.

From one pass over the probe: the update that the loss asks of what reads the layer, minus what
present weights can make of it, is approached by few new units. Their incoming weights solve that
to first order; their outgoing weights are fitted to what the units really compute then, behind
activation, normalisation and pooling; a line search on the probe sets their size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from structure_net.core.expansion import DAMPING, PlaceMoments
from structure_net.core.joint_expansion import joint_incoming, joint_outgoing, unmade
from structure_net.core.place_sums import PlaceAccumulator
from structure_net.core.running import call, preserve
from structure_net.core.undoing import Undoing, set_gradients
from structure_net.surgery.initialisers import (
    Initialiser,
    Newborn,
    Probe,
    needed,
    refuse_read,
)
from structure_net.surgery.places import (
    Pair,
    Place,
    Reader,
    Samples,
    pairs_at,
    place_of,
    seen_again,
    taken,
    worthwhile_of,
)

SIZES: Final = (0.0, *(2.0**power for power in range(-5, 3)))
"""What the line search multiplies the fitted outgoing weights by."""

LONGEST: Final = 1.25
"""How many times as long as the longest old incoming weights new ones may be."""

_ITERATIONS: Final = 20
_SEARCHED: Final = 256
"""The samples of the line search."""


@dataclass(frozen=True, slots=True)
class OptimalUnits(Initialiser):
    r"""New units that lower the loss most beyond what present weights could, on the probe.

    The layer and what reads it must be linear layers or ungrouped convolutions of up to two
    dimensions, called once; between them may stand activations, batch normalisation (as it is in
    evaluation mode), pooling, and a flattening. Of a unit and its opposite, equal to first order,
    the one that explains more behind its activation is taken.

    What a new unit gives in front of its activation is as large, in root mean square over the
    probe, as what old units give; outgoing weights make up for it. Weights as large as the old ones
    would give much more where the inputs vary most in few directions, and learn too fast. But no
    new unit's incoming weights are longer than `LONGEST` times the longest of the old ones:
    whitening turns to directions in which the probe hardly varies, and along these a unit that
    gives as much there gives far more elsewhere, so that training diverges.

    Args:
        amplitude: What the fitted outgoing weights are multiplied by. None: at most so much that
            none are longer than the longest of the old ones, times the best of `SIZES` on the
            probe, where 0 is among them, so that the loss there never rises. With 0 the function
            stays.
        damping: See `structure_net.core.expansion.DAMPING`; above 0. None: that, but for the second
            moment of the layer's inputs its largest eigenvalue, so that no unit turns to where the
            inputs vary little for its sake. A small one is TINY to the letter, for probes that tell
            all directions.
        probe_size: Samples, where growth by a strategy takes them from the training data. Fewer
            than a few for each incoming weight tell little.

    Raises:
        ValueError: ``damping`` is not positive.

    References:
        Verbockhaven et al., "Growing Tiny Networks: Spotting Expressivity Bottlenecks and Fixing
        Them Optimally", TMLR 2024 (arXiv 2405.19816).
    """

    amplitude: float | None = None
    damping: float | None = None
    probe_size: int = 512

    def __post_init__(self) -> None:
        if self.damping is not None and not self.damping > 0:
            raise ValueError(f"damping must be positive; got {self.damping}.")

    @property
    def preserves(self) -> bool:
        """True with an amplitude of 0."""
        return self.amplitude == 0.0

    def refine(self, model: nn.Module, newborn: Newborn, probe: Probe | None, seed: int) -> None:
        """Writes the new rows and columns.

        Raises:
            SurgeryError: There is no probe, the layers are of another kind, or the new units are
                read at birth.
        """
        del seed
        inputs, targets, loss = needed(probe, "OptimalUnits")
        refuse_read(newborn, "OptimalUnits")
        place = place_of(model, newborn, "OptimalUnits")
        seen, wanted = worthwhile_of(model, place, inputs, targets)
        pairs = pairs_at(model, place, seen, lambda output: loss(output, wanted))
        moments = tuple(_moments(pair) for pair in pairs)
        live = _live(place, moments[0].inputs.shape[0])
        whitening = _flat(moments[0].inputs) if self.damping is None else self.damping
        incoming = joint_incoming(moments, place.units, damping=whitening, live=live)
        if not bool(incoming.any()):
            return
        _write_incoming(place, _sized(place, incoming, moments[0].inputs))
        fit = _Fit(model, seen, moments, DAMPING if self.damping is None else self.damping)
        pairs = fit.better_side(pairs)
        if self.amplitude != 0.0:
            outgoing = [fit.outgoing(pair, one) for pair, one in zip(pairs, moments, strict=True)]
            _write_outgoing(place, outgoing, 1.0)
            size = self.amplitude
            if size is None:
                outgoing = _bounded(place, outgoing)
                size = _best_size(model, place, outgoing, (inputs, targets, loss))
            _write_outgoing(place, outgoing, size)


@dataclass(frozen=True, slots=True)
class _Fit:
    """Fits to what new units compute.

    Args:
        model: The model.
        inputs: Of the probe.
        moments: One for each reader.
        damping: Of the fits.
    """

    model: nn.Module
    inputs: Any
    moments: Sequence[PlaceMoments]
    damping: float

    def better_side(self, pairs: tuple[Pair, ...]) -> tuple[Pair, ...]:
        """Turns each unit about whose opposite explains more of what the readers lack."""
        place = pairs[0].place
        plain = seen_again(self.model, pairs, self.inputs)
        _turn(place, torch.ones(place.units, dtype=torch.bool))
        opposite = seen_again(self.model, pairs, self.inputs)
        back = self._gains(plain) >= self._gains(opposite)
        _turn(place, back)
        return tuple(
            replace(one, features=_either(back, one.features, other.features))
            for one, other in zip(plain, opposite, strict=True)
        )

    def outgoing(self, pair: Pair, moments: PlaceMoments) -> Tensor:
        """Outgoing weights for one reader, as rows of its slot."""
        units, live = pair.place.units, _by_output(pair.reader, pair.place.units)
        solved = joint_outgoing(_products(pair), moments, damping=self.damping, live=live)
        rows = solved.view(len(solved), units, -1)
        if pair.reader.grid:
            return rows.permute(1, 2, 0).flatten(0, 1)
        return rows.permute(1, 0, 2).flatten(1)

    def _gains(self, pairs: Sequence[Pair]) -> Tensor:
        """What each unit by itself explains, over all readers. Shape ``(units,)``."""
        total = torch.zeros(pairs[0].place.units, dtype=torch.float64)
        for pair, place in zip(pairs, self.moments, strict=True):
            gradient, cross, moment = _products(pair)
            lacking = unmade(gradient[None], cross[None], place, self.damping)[0]
            size = moment.diagonal()
            each = torch.where(size > 0, lacking.square().sum(0) / size, 0.0)
            total += each.view(len(total), -1).sum(1)
        return total


def _either(which: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """By channel the first image or the second. Shape ``(N, C, H, W)``."""
    return torch.where(which.to(first.device).view(-1, 1, 1), first, second)


def _live(place: Place, inputs: int) -> Tensor | None:
    """Which incoming weights exist, biases too, where not all. Shape ``(units, p)``."""
    if not place.slot.sparse:
        return None
    exist = place.slot.existing().cpu()
    return F.pad(exist, (0, inputs - exist.shape[1]), value=True)


def _by_output(reader: Reader, units: int) -> Tensor | None:
    """Which outgoing weights exist, where not all do. Shape ``(outputs, units * kernel)``."""
    if not reader.slot.sparse:
        return None
    existing = reader.slot.existing().cpu()
    if reader.grid:
        return existing.T
    outputs = reader.slot.shape[0]
    return existing.view(units, outputs, -1).permute(1, 0, 2).flatten(1)


def _moments(pair: Pair) -> PlaceMoments:
    sums = PlaceAccumulator(pair.writer, pair.taker)
    sums.add(pair.writer, pair.taker)
    return sums.moments(pair.place.layer, pair.reader.name)


def _products(pair: Pair) -> tuple[Tensor, Tensor, Tensor]:
    """Moments of new features with the gradient, with present features, and with themselves."""
    delta, present = pair.present()
    new, samples = pair.new(), len(pair.taker.inputs)
    products = (delta.T @ new, present.T @ new, new.T @ new)
    gradient, cross, moment = ((one / samples).to("cpu", torch.float64) for one in products)
    return gradient, cross, moment


def _write_incoming(place: Place, incoming: Tensor) -> None:
    """Rows as large as the old ones, each with its bias. Shape ``(r, p)``."""
    old = place.slot.rows(place.slot.tensor).detach()
    rows = old.clone()
    rows[: len(incoming)] = incoming[:, : rows.shape[1]].to(rows)
    place.slot.write(rows)
    if place.bias is not None:
        with torch.no_grad():
            value = incoming[:, -1].to(place.bias)
            place.bias[list(place.channels[: len(incoming)])] = value


def _sized(place: Place, incoming: Tensor, moment: Tensor) -> Tensor:
    """Incoming weights whose outputs are as large as the mean of the old units', as far as they are
    not too long.

    Args:
        place: The layer.
        incoming: Shape ``(r, p)``.
        moment: Second moment of the inputs. Shape ``(p, p)``.
    """
    weight = place.slot.whole().flatten(1).to("cpu", torch.float64)
    old = torch.ones(len(weight), dtype=torch.bool)
    old[list(place.channels)] = False
    rows = weight[old]
    longest = _longest(rows)
    if place.bias is not None:
        rows = torch.cat([rows, place.bias.detach().to(rows)[old][:, None]], 1)
    size = _root_mean_square(rows, moment).mean() if len(rows) else torch.ones(())
    own = _root_mean_square(incoming, moment)
    scale = torch.where(own > 0, (size if size > 0 else 1.0) / own, 1.0)
    length = incoming[:, : weight.shape[1]].norm(dim=1)
    return incoming * torch.minimum(scale, LONGEST * longest / length)[:, None]


def _flat(moment: Tensor) -> float:
    """The damping that adds the largest eigenvalue of ``moment``, up to a few percent: the share of
    it in the mean one, by power iteration."""
    size = moment.diagonal().mean()
    if not size > 0:
        return DAMPING
    vector = moment.diagonal().clone()
    for _ in range(_ITERATIONS):
        vector = moment @ vector
        vector /= vector.norm()
    return float(vector @ moment @ vector / size)


def _bounded(place: Place, outgoing: Sequence[Tensor]) -> list[Tensor]:
    """Outgoing weights, those of each reader scaled until none are longer than the longest of its
    old ones.

    Args:
        place: The layer.
        outgoing: For each reader its new columns as rows.
    """
    found: list[Tensor] = []
    for reader, rows in zip(place.readers, outgoing, strict=True):
        weight = reader.slot.whole().transpose(0, 1).flatten(1).to("cpu", torch.float64)
        old = torch.ones(len(weight), dtype=torch.bool)
        old[reader.slot.new.cpu()] = False
        scale = _longest(weight[old]) / rows.norm(dim=1).max()
        found.append(rows * scale.clamp(max=1.0))
    return found


def _longest(vectors: Tensor) -> Tensor:
    """The largest norm of a row; infinite where there is none but zeros, which bound nothing."""
    norms = vectors.norm(dim=1)
    largest = norms.max() if len(norms) else norms.new_zeros(())
    return torch.where(largest > 0, largest, torch.inf)


def _root_mean_square(rows: Tensor, moment: Tensor) -> Tensor:
    return torch.einsum("ri,ij,rj->r", rows, moment, rows).clamp_min(0).sqrt()


def _turn(place: Place, which: Tensor) -> None:
    sign = torch.where(which, -1.0, 1.0).to(place.slot.tensor)
    place.slot.write(place.slot.rows(place.slot.tensor).detach() * sign[:, None])
    if place.bias is not None:
        with torch.no_grad():
            place.bias[list(place.channels)] *= sign


def _write_outgoing(place: Place, outgoing: Sequence[Tensor], size: float) -> None:
    for reader, rows in zip(place.readers, outgoing, strict=True):
        reader.slot.write(rows * size)


def _best_size(model: nn.Module, place: Place, outgoing: Sequence[Tensor], probe: Probe) -> float:
    """The one of `SIZES` with the smallest loss on some of the probe, as far as the loss on all of
    it does not rise; else the largest below it for which that holds."""
    inputs, targets, loss = probe
    few = inputs, targets
    if isinstance(targets, Tensor) and targets.dim():
        few = taken(inputs, targets, _SEARCHED)

    def at(size: float, samples: Samples) -> float:
        _write_outgoing(place, outgoing, size)
        value = float(loss(call(model, samples[0]), samples[1]))
        return value if math.isfinite(value) else math.inf

    undo = Undoing()
    with undo, undo:
        preserve(model, undo)
        set_gradients(undo, on=False)
        model.eval()
        found = [at(size, few) for size in SIZES]
        best = found.index(min(found))
        before = at(0.0, (inputs, targets)) if best else math.inf
        while best and at(SIZES[best], (inputs, targets)) > before:
            best -= 1
    return SIZES[best]
