"""``/metrics``: the API's own figures, as Prometheus reads them."""

from collections.abc import Callable

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from worker.api.asked import Answer, Asked
from worker.api.route import Route, Service
from worker.api.services import Services

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """What is counted as it happens; a registry of its own, for a worker may be in the process."""

    def __init__(self, version: str, open_streams: Callable[[], int]) -> None:
        """Nothing is counted yet."""
        self._registry = CollectorRegistry()
        labels = ["method", "path"]
        self._requests = Counter(
            "blockworker_api_requests",
            "Requests answered; path is that of the table of requests.",
            [*labels, "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "blockworker_api_request_seconds",
            "Time until a request was answered; of a stream, until it began.",
            labels,
            buckets=SECONDS,
            registry=self._registry,
        )
        streams = self._gauge("blockworker_api_streams", "Streams of updates that are open.")
        streams.set_function(open_streams)
        self._workers = self._gauge("blockworker_api_workers", "Workers that hold a lease.")
        build = Gauge(
            "blockworker_api_build_info", "The API's release.", ["version"], registry=self._registry
        )
        build.labels(version=version).set(1)
        ProcessCollector(registry=self._registry)

    def meter(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count one request."""
        self._requests.labels(method=method, path=path, status=str(status)).inc()
        self._seconds.labels(method=method, path=path).observe(seconds)

    def text(self, workers: float) -> bytes:
        """Return all of it; ``workers`` are those seen now."""
        self._workers.set(workers)
        return generate_latest(self._registry)

    def _gauge(self, name: str, help_: str) -> Gauge:
        return Gauge(name, help_, registry=self._registry)


def show(_asked: Asked, services: Services) -> Answer:
    """Return the figures; the number of workers is none (NaN) while the database is away."""
    workers = services.health.seen()["database"].facts.get("workers", float("nan"))
    return Answer(content=services.metrics.text(workers), content_type=CONTENT_TYPE_LATEST)


ROUTES = (
    Route(
        method="GET",
        path="/metrics",
        act=show,
        does="Show the API's figures, as Prometheus reads them",
        rule="blockworker:metrics:show",
        service=Service.OWN,
        answers={200: {"type": "string"}},
        media=CONTENT_TYPE_LATEST,
    ),
)
