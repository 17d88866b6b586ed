"""What the requests are answered from: the workers, the shared database, the volume service."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from worker.api.asked import Who
from worker.api.offers import Offers
from worker.api.own.looks import Looks
from worker.api.streams.opening import Streams
from worker.model.block_device import BlockDevice
from worker.persistence.fleet import Fleet
from worker.persistence.fleet.pool import FleetPool
from worker.ports import Attachments, ImageListing, ProjectImages, Volumes
from worker.rpc.client import Client


class Policy(Protocol):
    """The operator's word on who may ask what."""

    def check(self, rule: str, who: Who, target: Mapping[str, str | None]) -> None:
        """Raise Refused (403) unless the rule lets them, on a thing with those owners."""

    def allows(self, rule: str, who: Who, target: Mapping[str, str | None]) -> bool:
        """Tell whether the rule lets them."""


class Figures(Protocol):
    """What is counted of requests."""

    def meter(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count one."""

    def text(self, workers: float) -> bytes:
        """Return all of it as Prometheus reads it; ``workers`` are those seen now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of anything: times in seconds.

    ``accepting`` is how long after its request an attach may begin; later it is given up by the
    worker itself, so that nobody is surprised by it.
    """

    page: int = 1000
    accepting: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What a request may use; shared by all threads.

    ``release`` gives a reservation back in the database, by a compare-and-swap from ``reserved``,
    and tells whether it did; its worker need not be there. ``callers`` tells for whom a token
    stands; there is none where Keystone has the tokens. ``pool`` and ``images`` are None where
    Cinder and Glance have them; then ``cinder`` and ``glance`` say where those are, if that is
    known, and ``project_images`` are Glance's, as far as a project may use them.
    """

    workers: Client
    fleet: Fleet
    release: Callable[[str, BlockDevice], bool]
    volumes: Volumes
    attachments: Attachments
    policy: Policy
    clock: Callable[[], datetime]
    limits: Limits
    streams: Streams
    health: Looks
    metrics: Figures
    callers: Callable[[str], Who | None] | None = None
    offers: Offers = field(default_factory=Offers)
    pool: FleetPool | None = None
    cinder: str | None = None
    images: ImageListing | None = None
    glance: str | None = None
    project_images: ProjectImages | None = None
