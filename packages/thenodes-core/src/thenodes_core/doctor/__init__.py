"""What is wrong with a node, whether it runs or not, and what to do about it."""

from .examination import Patient, examine
from .finding import Finding, Outcome, render
from .probe import Prober
from .stopped import stopped_patient

__all__ = ["Finding", "Outcome", "Patient", "Prober", "examine", "render", "stopped_patient"]
