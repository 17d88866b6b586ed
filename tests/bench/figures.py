"""Figures: sorted samples, the percentiles that are quoted of them, and what was asked."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One row: what was measured, in which unit; ``most`` and ``least`` are asked of its p50."""

    name: str
    unit: str
    p50: float
    p99: float
    samples: int
    most: float | None = None
    least: float | None = None

    def row(self) -> dict[str, str | float | int]:
        """Return the row as it is printed."""
        return {
            "what": self.name,
            "p50": round(self.p50, 2),
            "p99": round(self.p99, 2),
            "unit": self.unit,
            "samples": self.samples,
            "asked": self._asked(),
            "reached": self._reached(),
        }

    def _asked(self) -> str:
        if self.most is not None:
            return f"<= {self.most:.4g}"
        return "" if self.least is None else f">= {self.least:.4g}"

    def _reached(self) -> str:
        if self.most is None and self.least is None:
            return ""
        low = -math.inf if self.least is None else self.least
        high = math.inf if self.most is None else self.most
        return "reached" if low <= self.p50 <= high else "MISSED"


def milliseconds(name: str, seconds: Sequence[float], *, most: float | None = None) -> Figure:
    """Return the figure of a series of times; at most ``most`` ms are asked of its p50."""
    return Figure(
        name=name,
        unit="ms",
        p50=percentile(seconds, 50) * 1000,
        p99=percentile(seconds, 99) * 1000,
        samples=len(seconds),
        most=most,
    )


def single(
    name: str, value: float, unit: str, *, most: float | None = None, least: float | None = None
) -> Figure:
    """Return the figure of something that was measured once."""
    return Figure(name=name, unit=unit, p50=value, p99=value, samples=1, most=most, least=least)


def percentile(samples: Sequence[float], percent: float) -> float:
    """Return the smallest sample that so many percent do not exceed (nearest rank)."""
    ranked = sorted(samples)
    return ranked[max(0, math.ceil(percent / 100 * len(ranked)) - 1)]
