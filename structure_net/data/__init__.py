"""Data sets by name, split, normalised and batched in memory."""

from structure_net.data.batches import TensorBatches
from structure_net.data.datasets import Dataset, DatasetDescriptor, RawDataset, Split, TensorSplit
from structure_net.data.loading import load_dataset
from structure_net.data.mapped import MappedBatches, MappedSplit
from structure_net.data.mapping import DatasetCacheWarning
from structure_net.data.registry import available_datasets, register_dataset
from structure_net.data.requests import DatasetRequest

__all__ = [
    "Dataset",
    "DatasetCacheWarning",
    "DatasetDescriptor",
    "DatasetRequest",
    "MappedBatches",
    "MappedSplit",
    "RawDataset",
    "Split",
    "TensorBatches",
    "TensorSplit",
    "available_datasets",
    "load_dataset",
    "register_dataset",
]
