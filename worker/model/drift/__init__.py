"""Drift: where the views of a block device say different things, and what would mend it."""

from worker.model.drift.compare import compare
from worker.model.drift.words import Difference, Drift, DriftKind, Mend, Views

__all__ = ["Difference", "Drift", "DriftKind", "Mend", "Views", "compare"]
