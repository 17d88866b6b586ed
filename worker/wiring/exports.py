"""The pool's volumes over iSCSI: the tgtd that has them, and who sees that it does."""

import logging
from functools import cache, partial
from pathlib import Path

from oslo_config import cfg

from worker.errors import Invalid, Unavailable
from worker.persistence.journal.seals import host_key
from worker.persistence.repositories import Repositories
from worker.volume.pool.chap import ChapLogins
from worker.volume.pool.exports import PROTOCOL, IscsiFace
from worker.volume.pool.keeper import ExportKeeper
from worker.volume.pool.tgtd import Daemon, GivenTgtd, PrivateTgtd
from worker.wiring.settings import state_path
from worker.wiring.sweep import Sweep

LOG = logging.getLogger(__name__)

_ANYWHERE = ("0.0.0.0", "[::]")  # noqa: S104 - what is refused

PAUSE = 2.0
"""Seconds in which a tgtd that was killed is noticed: its guests wait for their disks meanwhile."""


class Exports:
    """The pool's iSCSI face, and who keeps it; neither where nothing is exported."""

    def __init__(self, face: IscsiFace | None = None, keeper: ExportKeeper | None = None) -> None:
        """Nothing is started yet."""
        self.face = face
        self.keeper = keeper
        self._sweep: KeptExports | None = None

    def start(self) -> None:
        """Export what was exported, before anything else needs it; then see that it stays so."""
        if self.keeper is None:
            return
        try:
            self.keeper.look()
        except Unavailable as error:
            LOG.warning("volumes not exported yet: error=%s", error)
        self._sweep = KeptExports(self.keeper)
        self._sweep.start()

    def stop(self) -> None:
        """Look no more; what is exported stays, for guests run on."""
        if self._sweep is not None and self.keeper is not None:
            self._sweep.stop()
            self.keeper.close()


class KeptExports(Sweep):
    """Looks now and then whether tgtd still has what it was given."""

    def __init__(self, keeper: ExportKeeper) -> None:
        """Begin with nothing."""
        super().__init__("exports")
        self._keeper = keeper

    def look(self) -> None:
        """Export again what is gone; raises Unavailable."""
        self._keeper.look()

    def pause(self) -> float:
        """Return the seconds until the next look."""
        return PAUSE


def make_exports(conf: cfg.ConfigOpts, repositories: Repositories) -> Exports:
    """Return what exports the pool's volumes, as far as it is to; raises Invalid."""
    if (conf.volume.service, conf.volume.pool_protocol) != ("pool", PROTOCOL):
        return Exports()
    daemon = _daemon(conf)
    key = cache(partial(host_key, state_path(conf) / "host.key"))
    face = IscsiFace(daemon, ChapLogins(key), prefix=conf.volume.pool_iqn_prefix)
    return Exports(face, ExportKeeper(records=repositories.pool, face=face, daemon=daemon))


def check_exports(conf: cfg.ConfigOpts) -> None:
    """Raise Invalid where [volume] asks for a tgtd that cannot be; asks nobody."""
    portal = conf.volume.pool_portal
    if conf.volume.pool_tgt_socket is not None and portal is None:
        raise Invalid("[volume] pool_tgt_socket needs pool_portal: where that tgtd listens")
    if portal is not None and portal.rpartition(":")[0] in _ANYWHERE:
        raise Invalid(
            f"[volume] pool_portal = {portal} is no place that an initiator could be told; give an"
            " address of this host"
        )


def _daemon(conf: cfg.ConfigOpts) -> Daemon:
    check_exports(conf)
    given = conf.volume.pool_tgt_socket
    if given is None:
        return PrivateTgtd(state_path(conf) / "tgtd", conf.volume.pool_portal)
    return GivenTgtd(Path(given), conf.volume.pool_portal)
