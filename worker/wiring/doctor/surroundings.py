"""What the checks are given of this host: the configuration, and what it leads to.

Nothing is made by looking: no folder, no database, no daemon.
"""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from oslo_config import cfg

from worker import conf as all_options
from worker.errors import HypervisorUnavailable
from worker.health.checks.examine import within
from worker.model.ids import InstanceId
from worker.model.places.address import Address
from worker.persistence import migrate
from worker.persistence.repositories import Repositories
from worker.virt.libvirtd.connection import LibvirtConnection
from worker.virt.libvirtd.private import PrivateLibvirtd
from worker.wiring.core import SystemClock
from worker.wiring.settings import PRIVATE, make_database

ROWS_WITHIN = 2.0
"""Seconds for what a check would like to know of the rows; it can do without."""


class Surroundings:
    """One host's, for as long as the look takes; every check may use it at once."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self.conf = conf
        self.folder = Path(conf.state_path).absolute()

    @property
    def database_file(self) -> Path | None:
        """The file that the built-in database is, or would be; None with another database."""
        return None if self.conf.database.connection else self.folder / "blockworker.sqlite"

    def repositories(self) -> Repositories:
        """Return what the database has of this host, to be read."""
        return Repositories(make_database(self.conf), self.conf.host, SystemClock())

    def protocols(self) -> frozenset[str]:
        """Return the protocols over which volumes are attached here, as far as it can be told.

        Whether the database can be read is for its own check to say.
        """
        return within(ROWS_WITHIN, self._protocols) or frozenset()

    def _protocols(self) -> frozenset[str]:
        file = self.database_file
        if file is not None and not file.exists():
            return frozenset()
        if migrate.check(make_database(self.conf).engine) is not None:
            return frozenset()
        rows = self.repositories().for_call().devices.connected()
        ways = (row.connection for row in rows if not row.deleted)
        return frozenset(way.protocol for way in ways if way is not None)

    def reserved(self) -> Mapping[InstanceId, Collection[Address]]:
        """Return every instance of this host, with the addresses that its rows have."""
        rows = self.repositories().for_call()
        return {
            instance.uuid: [
                row.address
                for row in rows.devices.of_instance(instance.uuid)
                if row.address is not None
            ]
            for instance in rows.instances.list()
        }

    def private_libvirtd(self) -> PrivateLibvirtd | None:
        """Return the private libvirtd, up or not; None if another is meant."""
        return PrivateLibvirtd(self.folder / "libvirt") if self._is_private else None

    def libvirt(self, seconds: float) -> LibvirtConnection:
        """Return a way to libvirt that waits so long for it; raises HypervisorUnavailable."""
        private = self.private_libvirtd()
        if private is None:
            return LibvirtConnection(str(self.conf.hypervisor.uri), patience=seconds)
        if not private.running():
            message = "the private libvirtd does not run; `blockworker serve` starts it"
            raise HypervisorUnavailable(message)
        return LibvirtConnection(private.uri(), patience=seconds)

    @property
    def _is_private(self) -> bool:
        return bool(self.conf.hypervisor.uri == PRIVATE)

    def secrets(self) -> tuple[str, ...]:
        """Return every value of the configuration that nobody is to see."""
        found = []
        for group, options in all_options.list_opts():
            values: Any = self.conf if group is None else self.conf[group]
            found += [values[each.dest] for each in options if each.secret]
        return tuple(str(value) for value in found if value)

    @property
    def user(self) -> int:
        """Whose rights this process has."""
        return os.geteuid()
