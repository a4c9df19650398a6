"""Edits of a network that trains: what they are, how they are planned, carried out and undone."""

from structure_net.surgery.applying import Applied, apply, edit, preview
from structure_net.surgery.checkpoint import (
    Checkpoint,
    CheckpointHeader,
    load_checkpoint,
    read_header,
    save_checkpoint,
)
from structure_net.surgery.committing import Undo
from structure_net.surgery.describing import Change, Preview
from structure_net.surgery.edits import (
    AddConnections,
    AddHeads,
    AddNeurons,
    AddResidualBlock,
    AddSkipConnection,
    DoubleWidth,
    Edit,
    InsertLayer,
    MaskHeads,
    MergeNeurons,
    MoveConnections,
    RemoveConnections,
    RemoveHeads,
    RemoveLayer,
    RemoveNeurons,
    RemoveSkipConnection,
    ResetNeurons,
    ReviveHeads,
    ShareNeurons,
    SplitNeurons,
)
from structure_net.surgery.entries import EditEntry, EventEntry, WidthChange
from structure_net.surgery.gradmax import GradMax
from structure_net.surgery.initialisers import (
    CopyUnits,
    Initialiser,
    Probe,
    RandomOutgoing,
    UnitVariance,
    ZeroOutgoing,
)
from structure_net.surgery.journal import Journal
from structure_net.surgery.lineage import JournalDiff, architecture, diff, trimmed
from structure_net.surgery.operating import operate
from structure_net.surgery.optimal import OptimalUnits
from structure_net.surgery.planning import plan
from structure_net.surgery.reindex import NEW, Reindex
from structure_net.surgery.replaying import replay
from structure_net.surgery.sparsifying import densify, sparsify
from structure_net.surgery.storing import set_storage

__all__ = [
    "NEW",
    "AddConnections",
    "AddHeads",
    "AddNeurons",
    "AddResidualBlock",
    "AddSkipConnection",
    "Applied",
    "Change",
    "Checkpoint",
    "CheckpointHeader",
    "CopyUnits",
    "DoubleWidth",
    "Edit",
    "EditEntry",
    "EventEntry",
    "GradMax",
    "Initialiser",
    "InsertLayer",
    "Journal",
    "JournalDiff",
    "MaskHeads",
    "MergeNeurons",
    "MoveConnections",
    "OptimalUnits",
    "Preview",
    "Probe",
    "RandomOutgoing",
    "Reindex",
    "RemoveConnections",
    "RemoveHeads",
    "RemoveLayer",
    "RemoveNeurons",
    "RemoveSkipConnection",
    "ResetNeurons",
    "ReviveHeads",
    "ShareNeurons",
    "SplitNeurons",
    "Undo",
    "UnitVariance",
    "WidthChange",
    "ZeroOutgoing",
    "apply",
    "architecture",
    "densify",
    "diff",
    "edit",
    "load_checkpoint",
    "operate",
    "plan",
    "preview",
    "read_header",
    "replay",
    "save_checkpoint",
    "set_storage",
    "sparsify",
    "trimmed",
]
