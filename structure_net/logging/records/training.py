"""Records of a network that trains and grows."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from structure_net.logging.records.values import (
    Count,
    Free,
    FreeObject,
    NetworkFacts,
    Number,
    RecordModel,
    Value,
)


class Epoch(RecordModel):
    """One epoch of training.

    Version 1 had no ``samples``.

    Args:
        epoch: Counted from 1 over the whole life of the network.
        iteration: The iteration of the evolution that it belongs to, from 0.
        step: Optimizer steps taken so far, over the whole life of the network.
        metrics: What was measured, by name.
        parameters: Live parameters.
        connections: Live connections.
        seconds: Wall-clock time since the previous epoch, growth included.
        elapsed: Wall-clock time since the first epoch began.
        samples: Samples seen so far, over the whole life of the network; None where nobody told.
    """

    kind: Literal["epoch"] = "epoch"
    version: Literal[2] = 2
    epoch: Count
    iteration: Count = 0
    step: Count
    metrics: dict[str, Number]
    parameters: Count
    connections: Count
    seconds: Number = 0.0
    elapsed: Number = 0.0
    samples: Count | None = None


class Analysis(RecordModel):
    """What analyzers found.

    Args:
        iteration: In which iteration, from 0.
        epoch: After how many epochs.
        step: After how many steps.
        values: What was computed, by key.
        left_out: The keys whose values were not computed, or are too large for a record.
    """

    kind: Literal["analysis"] = "analysis"
    version: Literal[1] = 1
    iteration: Count = 0
    epoch: Count = 0
    step: Count = 0
    values: FreeObject = Field(default_factory=dict)
    left_out: tuple[str, ...] = ()


class Width(Value):
    """The output channels of one layer before and after an edit; None where it does not exist."""

    layer: str
    before: Count | None
    after: Count | None


class Edit(RecordModel):
    """An edit that was carried out and kept.

    Args:
        iteration: In which iteration, from 0.
        component: Who asked for it.
        edit: What was done, with its class under ``type``.
        text: The same in a few words.
        reason: Why.
        trigger: What said that it was time.
        seed: The seed that it was carried out with.
        changes: The widths that it changed.
    """

    kind: Literal["edit"] = "edit"
    version: Literal[1] = 1
    iteration: Count = 0
    component: str = ""
    edit: FreeObject
    text: str = ""
    reason: str = ""
    trigger: str = ""
    seed: Count = 0
    changes: tuple[Width, ...] = ()


class Growth(RecordModel):
    """A strategy wanted to change the network, and what came of it.

    Args:
        outcome: ``accepted``; ``refused``: not tried, or tried on a copy and not taken;
            ``rolled_back``: done and taken back; ``opaque``: done by hand, so that no edit tells.
        iteration: In which iteration, from 0.
        component: The strategy.
        trigger: What said that it was time.
        edits: In a few words each.
        reasons: Why each was wanted.
        measured: What the acceptance policy measured.
        before: The architecture before, where the outcome is ``opaque``.
        after: The architecture after it.
        network: The size of the network afterwards.
    """

    kind: Literal["growth"] = "growth"
    version: Literal[1] = 1
    outcome: Literal["accepted", "refused", "rolled_back", "opaque"]
    iteration: Count = 0
    component: str = ""
    trigger: str = ""
    edits: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    measured: FreeObject = Field(default_factory=dict)
    before: Free = None
    after: Free = None
    network: NetworkFacts | None = None


class Iteration(RecordModel):
    """One round of looking, growing and training is over and saved.

    Args:
        iteration: Which, from 0.
        network: The size of the network.
        metrics: Of its last epoch, by name.
        seconds: Wall-clock time.
        label: Its edits in a few words; empty without one.
    """

    kind: Literal["iteration"] = "iteration"
    version: Literal[1] = 1
    iteration: Count
    network: NetworkFacts
    metrics: dict[str, Number] = Field(default_factory=dict)
    seconds: Number = 0.0
    label: str = ""
