"""Whose an instance is, without a question to the database for each update."""

import time
from collections.abc import Callable
from typing import Protocol

from worker.model.ids import InstanceId
from worker.persistence.fleet import Server

KEPT = 30.0
"""Seconds after which it is asked anew: an instance may be given to another project."""

MOST = 10_000


class Servers(Protocol):
    """Instances, as the fleet has them."""

    def server(self, instance: InstanceId, /) -> Server | None:
        """Return one, one that is gone too."""


class Owners:
    """The projects of instances, deleted ones too; may be shared by threads."""

    def __init__(self, fleet: Servers, clock: Callable[[], float] = time.monotonic) -> None:
        self._fleet = fleet
        self._clock = clock
        self._known: dict[str, tuple[str, float]] = {}

    def project(self, instance: str) -> str | None:
        """Return the project, None where there is none or not yet; raises DatabaseUnavailable."""
        known, now = self._known.get(instance), self._clock()
        if known is not None and known[1] > now:
            return known[0]
        found = self._fleet.server(InstanceId(instance)) if instance else None
        project = None if found is None else found.instance.project_id
        if project is not None:
            self._keep(instance, project, now)
        return project

    def _keep(self, instance: str, project: str, now: float) -> None:
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[instance] = (project, now + KEPT)
