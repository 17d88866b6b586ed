"""On which host a server is built."""

from collections import Counter
from collections.abc import Sequence

from worker.api.asked import Asked, Json, Refused
from worker.api.compute.server_words import ZONE
from worker.api.faults import AWAY
from worker.api.services import Services
from worker.persistence.fleet import Host

FORCED = "os_compute_api:servers:create:forced_host"
NAMED = "compute:servers:create:requested_destination"


def host_for(server: Json, asked: Asked, services: Services) -> str:
    """Return the live host with the fewest instances, or the one that an administrator names.

    Builds that have made no row yet are counted. Raises Refused: 400 for a host or zone that is not
    there, 403 for who may not name one, 503 where no worker lives.
    """
    named = _named(server, asked, services)
    living = services.fleet.living(services.clock())
    if named is not None:
        if all(host.name != named for host in living):
            message = f"Compute host {named} could not be found, or no worker lives there"
            raise Refused(400, message)
        return named
    if not living:
        message = "No valid host was found: no worker lives; start one, then ask again"
        raise Refused(AWAY, message)
    return _least_busy(living, services)


def _least_busy(living: Sequence[Host], services: Services) -> str:
    coming = Counter(told.host for told in services.fleet.builds())
    least = min(living, key=lambda host: (host.instances + coming[host.name], host.name))
    return least.name


def _named(server: Json, asked: Asked, services: Services) -> str | None:
    zone, _, rest = server.get("availability_zone", ZONE).partition(":")
    forced = rest.split(":")
    if zone not in (ZONE, ""):
        message = f"The requested availability zone is not available: there is {ZONE} alone"
        raise Refused(400, message)
    named = {host for host in forced if host}
    if named:
        services.policy.check(FORCED, asked.who, asked.who.owner)
    wished = {server[name] for name in ("host", "hypervisor_hostname") if name in server}
    if wished:
        services.policy.check(NAMED, asked.who, asked.who.owner)
    if len(named | wished) > 1:
        message = f"one host is meant, and named are {', '.join(sorted(named | wished))}"
        raise Refused(400, message)
    return next(iter(named | wished), None)
