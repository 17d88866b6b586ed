"""Figures: sorted samples, and the percentiles that are quoted of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row: what was measured, in which unit, and what was asked of it, if anything."""

    name: str
    unit: str
    p50: float
    p99: float
    samples: int
    asked: str = ""

    def row(self) -> dict[str, str | float | int]:
        """Return the row as it is printed."""
        return {
            "what": self.name,
            "p50": round(self.p50, 2),
            "p99": round(self.p99, 2),
            "unit": self.unit,
            "samples": self.samples,
            "asked": self.asked,
        }


def milliseconds(name: str, seconds: Sequence[float], asked: str = "") -> Figure:
    """Return the figure of a series of times."""
    return Figure(
        name=name,
        unit="ms",
        p50=percentile(seconds, 50) * 1000,
        p99=percentile(seconds, 99) * 1000,
        samples=len(seconds),
        asked=asked,
    )


def percentile(samples: Sequence[float], percent: float) -> float:
    """Return the smallest sample that so many percent do not exceed (nearest rank)."""
    ranked = sorted(samples)
    return ranked[max(0, math.ceil(percent / 100 * len(ranked)) - 1)]
