"""Reductions: what a pass over a few batches makes of what it sees, one file for each need."""

from structure_net.evolution.reductions.coactivation import Covariances
from structure_net.evolution.reductions.connection_gradients import (
    ConnectionGradient,
    ConnectionGradients,
)
from structure_net.evolution.reductions.connection_samples import (
    ConnectionSample,
    ConnectionSamples,
    drawn_absent,
)
from structure_net.evolution.reductions.expansion import PlaceSums
from structure_net.evolution.reductions.inputs import InputCovariances
from structure_net.evolution.reductions.parameter_gradients import (
    ParameterGradient,
    ParameterGradients,
)
from structure_net.evolution.reductions.passing import Pass
from structure_net.evolution.reductions.probing import Probe, Reservoir
from structure_net.evolution.reductions.reduction import Reduction, With
from structure_net.evolution.reductions.sample_gradients import SampleGradientNorms, SampleGradients
from structure_net.evolution.reductions.values import BatchSeen, Gradients, Samples, Values

__all__ = [
    "BatchSeen",
    "ConnectionGradient",
    "ConnectionGradients",
    "ConnectionSample",
    "ConnectionSamples",
    "Covariances",
    "Gradients",
    "InputCovariances",
    "ParameterGradient",
    "ParameterGradients",
    "Pass",
    "PlaceSums",
    "Probe",
    "Reduction",
    "Reservoir",
    "SampleGradientNorms",
    "SampleGradients",
    "Samples",
    "Values",
    "With",
    "drawn_absent",
]
