"""Which worker is asked for a volume: a file of the pool is on one host."""

from worker.api.asked import Asked, Refused
from worker.api.faults import AWAY
from worker.api.services import Services
from worker.api.volume.pooled import pool_of
from worker.persistence.fleet.pool import Pooled

ZONE = "nova"
"""The one availability zone, by the name that Cinder's is born with."""


def host_for(zone: str | None, asked: Asked, services: Services) -> str:
    """Return the host that is to make a volume: the first that lives, or the one that is named.

    Only an administrator may name one, as ``nova:HOST``. Raises Refused.
    """
    name, _, host = (zone or ZONE).partition(":")
    if name != ZONE:
        raise Refused(400, f"Availability zone '{name}' is invalid: there is {ZONE} alone")
    living = _living(services)
    if not host:
        return living[0]
    if not asked.who.is_admin:
        raise Refused(403, f"only an administrator names a host; ask for zone {ZONE}")
    if host not in living:
        raise Refused(400, f"no worker lives on host {host}; there are {', '.join(living)}")
    return host


def host_of(seen: Pooled, services: Services) -> str:
    """Return the host that has the volume's file.

    One of an older release does not say; who has it attached reaches it, or else any may.
    """
    if seen.host is not None:
        return seen.host
    holders = pool_of(services).holders([seen.volume.id])
    return holders[0].host if holders else _living(services)[0]


def _living(services: Services) -> list[str]:
    living = [host.name for host in services.fleet.living(services.clock())]
    if not living:
        message = "no worker lives: start one with `blockworker serve`, then ask again"
        raise Refused(AWAY, message)
    return living
