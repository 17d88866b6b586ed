"""The checks of `blockworker doctor`, in the order in which they are printed."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from oslo_config import cfg

from worker.health.checks.examine import Check, Found, examine
from worker.health.checks.masking import Mask
from worker.model.finding import Finding
from worker.wiring.doctor import host, services
from worker.wiring.doctor.surroundings import Surroundings

CHECKS: Mapping[str, Callable[[Surroundings], Iterable[Finding]]] = {
    "worker": services.worker,
    "broker": services.broker,
    "database": services.database,
    "libvirt": host.hypervisor,
    "confinement": host.confinement,
    "free places": host.places,
    "block drivers": host.block_drivers,
    "volume service": services.volume_service,
    "keys": services.keys,
    "tools": host.tools,
    "iscsi": host.iscsi,
    "multipath": host.multipath,
    "lock path": host.lock_path,
    "state folder": host.state_folder,
    "images": services.images,
    "api": services.api,
    "room": host.room,
}
"""A new check is a function in ``services`` or ``host``, and a line here and in docs/doctor.md."""


def look(
    conf: cfg.ConfigOpts,
    *,
    seconds: float,
    patience: float,
    tell: Callable[[tuple[str, ...]], object],
) -> Found:
    """Return what every check finds on this host; ``tell`` hears what takes long."""
    here = Surroundings(conf)
    return examine(
        [Check(name=name, look=partial(check, here)) for name, check in CHECKS.items()],
        seconds=seconds,
        patience=patience,
        tell=tell,
        mask=Mask(here.secrets()),
    )
