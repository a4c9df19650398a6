"""A lab for architectural hypotheses: predictions first, paired trials, statistics that hold."""

from neural_architecture_lab.configuration import LabConfig
from neural_architecture_lab.errors import LabError
from neural_architecture_lab.hypothesis import (
    Arm,
    Hypothesis,
    HypothesisCategory,
    Prediction,
    Stopping,
)
from neural_architecture_lab.insights import Insight
from neural_architecture_lab.judgement import Verdict
from neural_architecture_lab.lab import HypothesisResult, NeuralArchitectureLab
from neural_architecture_lab.levels import Range
from neural_architecture_lab.outcomes import Outcome
from neural_architecture_lab.replicas import ReplicaExperiment, ReplicaPlan
from neural_architecture_lab.report import Report
from neural_architecture_lab.trials import Trial

__all__ = [
    "Arm",
    "Hypothesis",
    "HypothesisCategory",
    "HypothesisResult",
    "Insight",
    "LabConfig",
    "LabError",
    "NeuralArchitectureLab",
    "Outcome",
    "Prediction",
    "Range",
    "ReplicaExperiment",
    "ReplicaPlan",
    "Report",
    "Stopping",
    "Trial",
    "Verdict",
]
