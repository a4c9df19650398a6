"""Data sets by name, split, normalised and batched in memory."""

from structure_net.data.batches import TensorBatches
from structure_net.data.datasets import Dataset, DatasetDescriptor, RawDataset, TensorSplit
from structure_net.data.loading import load_dataset
from structure_net.data.registry import available_datasets, register_dataset
from structure_net.data.requests import DatasetRequest

__all__ = [
    "Dataset",
    "DatasetDescriptor",
    "DatasetRequest",
    "RawDataset",
    "TensorBatches",
    "TensorSplit",
    "available_datasets",
    "load_dataset",
    "register_dataset",
]
