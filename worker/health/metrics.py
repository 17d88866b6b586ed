"""Numbers for Prometheus; a registry of our own, so that two workers in a process do not mix."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from worker.model.identity.lookup import DeviceKind
from worker.model.operation import Operation, StepOutcome
from worker.ports import Tally

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
"""Upper ends of the histogram's buckets: a look at a volume, and a guest that refuses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One number as it is at the moment, or one for each value of a label.

    ``values`` are by the label's value; without a label there is one, under ''.
    """

    name: str
    help: str
    values: Mapping[str, float]
    label: str | None = None


class Metrics(Tally):
    """What is counted as it happens, and what is read when somebody asks."""

    def __init__(self, version: str) -> None:
        """Nothing is counted yet; ``version`` is the worker's."""
        self._registry = CollectorRegistry()
        self._operations = Counter(
            "blockworker_operations",
            "Operations that came to an end, or became stuck, since the worker's start.",
            ["method", "state"],
            registry=self._registry,
        )
        self._steps = Histogram(
            "blockworker_step_seconds",
            "Outside calls made for operations.",
            ["step", "outcome"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self._fallbacks = Counter(
            "blockworker_fallback_lookups",
            "Devices that were found without their alias, since the worker's start.",
            ["kind"],
            registry=self._registry,
        )
        self._by_step: dict[str, Mapping[StepOutcome, Histogram]] = {}
        self._drift: int | None = None
        build = Gauge(
            "blockworker_build_info", "The worker's release.", ["version"], registry=self._registry
        )
        build.labels(version=version).set(1)
        ProcessCollector(registry=self._registry)

    def read_from(self, readings: Callable[[], Iterable[Reading]]) -> None:
        """Ask for readings at each scrape; whoever gives them must not block."""
        self._registry.register(_Readings(lambda: (*readings(), *self._drift_readings())))

    def ended(self, operation: Operation) -> None:
        """Count an operation that has its end."""
        self._operations.labels(method=operation.method, state=operation.state.value).inc()

    def found_by_facts(self, kind: DeviceKind) -> None:
        """Count a device that was found without its alias."""
        self._fallbacks.labels(kind=kind.value).inc()

    def drift(self, found: int) -> None:
        """Keep how many differences the last look for drift found on this host."""
        self._drift = found

    def step(self, name: str) -> AbstractContextManager[object]:
        """Time one outside call; a ``steps.Watch``."""
        return _Timed(self._steps_of(name))

    def _steps_of(self, name: str) -> Mapping[StepOutcome, Histogram]:
        """Return the histograms of a step: to find one by its labels takes longer than to count."""
        found = self._by_step.get(name)
        if found is None:
            found = self._by_step[name] = {
                outcome: self._steps.labels(step=name, outcome=outcome.value)
                for outcome in (StepOutcome.DONE, StepOutcome.FAILED)
            }
        return found

    def _drift_readings(self) -> Iterator[Reading]:
        if self._drift is not None:
            help_ = "Differences between views that the last look for drift found."
            yield Reading(name="blockworker_drift_found", help=help_, values={"": self._drift})

    def text(self) -> bytes:
        """Return all of it as Prometheus reads it."""
        return generate_latest(self._registry)


class _Timed:
    """Counts how long it was entered, and whether it ended well."""

    def __init__(self, histograms: Mapping[StepOutcome, Histogram]) -> None:
        self._histograms = histograms
        self._begun = 0.0

    def __enter__(self) -> None:
        self._begun = time.monotonic()

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        took = time.monotonic() - self._begun
        outcome = StepOutcome.DONE if kind is None else StepOutcome.FAILED
        self._histograms[outcome].observe(took)


class _Readings(Collector):
    def __init__(self, readings: Callable[[], Iterable[Reading]]) -> None:
        self._readings = readings

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Name nothing beforehand: the first reading may come before there is anything to read."""
        return ()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        for reading in self._readings():
            labels = [] if reading.label is None else [reading.label]
            family = GaugeMetricFamily(reading.name, reading.help, labels=labels)
            for value, number in reading.values.items():
                family.add_metric([value] if labels else [], number)
            yield family
