"""Networks that change while they train: who looks, who decides, who learns, and in what order."""

from structure_net.evolution.acceptance import Acceptance, Always, Tournament, Trial, Verdict
from structure_net.evolution.analysis import Analysis, Lazy
from structure_net.evolution.batches import Batch, Loss
from structure_net.evolution.context import NetworkContext, TrainingHooks
from structure_net.evolution.editing import Proposal
from structure_net.evolution.events import Event, EventKind, Observer
from structure_net.evolution.history import EpochRecord, TrainingHistory
from structure_net.evolution.interfaces import (
    Analyzer,
    Component,
    EditingStrategy,
    GrowthStrategy,
    Trainer,
)
from structure_net.evolution.losses import OtherLossWarning
from structure_net.evolution.observation import LayerObservation, Need, Observation, observe
from structure_net.evolution.serialising import part_from_dict, part_to_dict
from structure_net.evolution.session import EvolutionSession
from structure_net.evolution.system import ComposableEvolutionSystem
from structure_net.evolution.triggers import (
    All,
    Any,
    Cooldown,
    EfficiencyDrop,
    EveryNEpochs,
    EveryNSteps,
    MaxEvents,
    MaxParameters,
    MetricAbove,
    MetricBelow,
    Not,
    Plateau,
    Progress,
    Trigger,
)

__all__ = [
    "Acceptance",
    "All",
    "Always",
    "Analysis",
    "Analyzer",
    "Any",
    "Batch",
    "Component",
    "ComposableEvolutionSystem",
    "Cooldown",
    "EditingStrategy",
    "EfficiencyDrop",
    "EpochRecord",
    "Event",
    "EventKind",
    "EveryNEpochs",
    "EveryNSteps",
    "EvolutionSession",
    "GrowthStrategy",
    "LayerObservation",
    "Lazy",
    "Loss",
    "MaxEvents",
    "MaxParameters",
    "MetricAbove",
    "MetricBelow",
    "Need",
    "NetworkContext",
    "Not",
    "Observation",
    "Observer",
    "OtherLossWarning",
    "Plateau",
    "Progress",
    "Proposal",
    "Tournament",
    "Trainer",
    "TrainingHistory",
    "TrainingHooks",
    "Trial",
    "Trigger",
    "Verdict",
    "observe",
    "part_from_dict",
    "part_to_dict",
]
