"""What a lab's results show beyond its predictions, each finding with a test behind it."""

from neural_architecture_lab.insights.extraction import extract
from neural_architecture_lab.insights.insight import Insight, Insights

__all__ = ["Insight", "Insights", "extract"]
