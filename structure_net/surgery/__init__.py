"""Edits of a network that trains: what they are, how they are planned, carried out and undone."""

from structure_net.surgery.applying import Applied, Change, Preview, apply, edit, preview
from structure_net.surgery.committing import Undo
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
    RemoveConnections,
    RemoveHeads,
    RemoveLayer,
    RemoveNeurons,
    RemoveSkipConnection,
    ResetNeurons,
    ReviveHeads,
    SplitNeurons,
)
from structure_net.surgery.operating import operate
from structure_net.surgery.planning import plan
from structure_net.surgery.reindex import NEW, Reindex

__all__ = [
    "NEW",
    "AddConnections",
    "AddHeads",
    "AddNeurons",
    "AddResidualBlock",
    "AddSkipConnection",
    "Applied",
    "Change",
    "DoubleWidth",
    "Edit",
    "InsertLayer",
    "MaskHeads",
    "MergeNeurons",
    "Preview",
    "Reindex",
    "RemoveConnections",
    "RemoveHeads",
    "RemoveLayer",
    "RemoveNeurons",
    "RemoveSkipConnection",
    "ResetNeurons",
    "ReviveHeads",
    "SplitNeurons",
    "Undo",
    "apply",
    "edit",
    "operate",
    "plan",
    "preview",
]
