"""The pool's volumes as LUNs of a tgtd: a target for each volume, a login for each attachment.

What the rows say is what tgtd is made to have; so a call that was cut off is finished by the next
one, and a tgtd that was started anew is given all of it again.
"""

import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from worker.errors import RequestMalformed
from worker.model.connection import Connection
from worker.model.ids import AttachmentId, VolumeId
from worker.model.volume import Attachment, PoolVolume
from worker.volume.pool.chap import ChapLogins
from worker.volume.pool.examine import unusable
from worker.volume.pool.faces import Face, treatment
from worker.volume.pool.targets import Export, Targets
from worker.volume.pool.tgt import LUN
from worker.volume.pool.tgt_show import Target
from worker.volume.pool.tgtd import Daemon
from worker.volume.protocols import ISCSI_NAME

PROTOCOL = "iscsi"

_INITIATOR = "initiator"
"""The property of a kept connection that says who logs in; nobody is told it."""

_LONGEST_NAME = 223
"""Bytes of a name (RFC 7143, 4.2.7.1)."""


class IscsiFace(Face):
    """LUNs of the daemon's, the targets named by ``prefix`` and the volume."""

    def __init__(self, daemon: Daemon, logins: ChapLogins, *, prefix: str) -> None:
        self._daemon = daemon
        self._logins = logins
        self._prefix = prefix
        self._lock = threading.RLock()
        self._wanted: set[str] = set()
        self._targets = Targets(daemon.tgt)

    def iqn(self, volume: VolumeId) -> str:
        """Return what the volume's target is called."""
        return f"{self._prefix}volume-{volume}"

    def alone(self) -> AbstractContextManager[object]:
        """Keep rows and exports from being changed by other lanes."""
        return self._lock

    def validate(self, connector: Mapping[str, Any]) -> None:
        """Raise RequestMalformed for a connector without the name of an initiator."""
        name = connector.get("initiator")
        if not isinstance(name, str) or not ISCSI_NAME.fullmatch(name):
            raise RequestMalformed(
                f"a connector with initiator {name!r}, for a volume over iscsi: the host has no"
                " initiator of that protocol, or says none"
            )
        if len(name) > _LONGEST_NAME:
            raise RequestMalformed(f"an initiator's name has {_LONGEST_NAME} bytes at most")

    def connection(self, record: PoolVolume, connector: Mapping[str, Any]) -> Connection:
        """Return how the target is reached, as Cinder says it, and by whom."""
        properties = {
            "target_discovered": False,
            "target_portal": self._daemon.ensure(),
            "target_iqn": self.iqn(record.volume.id),
            "target_lun": LUN,
            "volume_id": record.volume.id,
            "auth_method": "CHAP",
            "access_mode": "rw",
            "encrypted": record.volume.encrypted,
            "qos_specs": None,
            _INITIATOR: connector["initiator"],
        }
        return Connection(protocol=PROTOCOL, properties=properties | treatment(record))

    def export(self, record: PoolVolume, held: Sequence[Attachment]) -> None:
        """Have exactly those log in to the volume's target."""
        let_in = _let_in(held)
        if not let_in:
            # They are reached by another face: that of before the configuration was changed.
            return
        self._wanted.add(self.iqn(record.volume.id))
        self._daemon.ensure()
        self._targets.have(self._export_of(record, let_in))

    def withdraw(
        self, record: PoolVolume, leaving: AttachmentId, held: Sequence[Attachment]
    ) -> None:
        """Have one log in no more; the last takes the target with it."""
        iqn, users = self.iqn(record.volume.id), (self._logins.of(leaving).user,)
        staying = _let_in(held)
        if staying:
            self._daemon.ensure()
            self._targets.have(self._export_of(record, staying))
            self._targets.forget_users(users)
            return
        self._wanted.discard(iqn)
        self._targets.drop(iqn, users)

    def grown(self, record: PoolVolume, held: Sequence[Attachment]) -> None:
        """Have the target show the volume's new size."""
        self._targets.renew(self._export_of(record, _let_in(held)))

    def opened(self, attachment: AttachmentId, kept: Connection) -> Connection:
        """Return the connection with its login, drawn again; without who logs in."""
        if kept.protocol != PROTOCOL:
            return kept
        login = self._logins.of(attachment)
        secrets = {"auth_username": login.user, "auth_password": login.password.reveal()}
        told = {name: value for name, value in kept.properties.items() if name != _INITIATOR}
        return Connection(protocol=PROTOCOL, properties=told | secrets)

    def all(self) -> tuple[Target, ...]:
        """Return every target that is there, whosever it is; raises VolumeServiceUnavailable."""
        return self._targets.all()

    def drop(self, iqn: str) -> None:
        """Have no such target, and none of its users."""
        self._targets.drop(iqn)

    def missing(self) -> frozenset[str]:
        """Return the targets that were exported since the start, and are not there."""
        with self._lock:
            return frozenset(self._wanted) - self._targets.names()

    def _export_of(self, record: PoolVolume, let_in: Mapping[AttachmentId, str]) -> Export:
        return Export(
            iqn=self.iqn(record.volume.id),
            path=_plain(record.path),
            serial=record.volume.id,
            thin=record.options.get("discard") is True,
            logins=tuple(self._logins.of(attachment) for attachment in let_in),
            initiators=frozenset(let_in.values()),
        )


def _let_in(held: Sequence[Attachment]) -> dict[AttachmentId, str]:
    """Return who is to log in for each attachment that is connected."""
    ways = {each.id: each.connection.properties for each in held if each.connection is not None}
    return {each: str(said[_INITIATOR]) for each, said in ways.items() if _INITIATOR in said}


def _plain(path: str) -> str:
    """Return the path; raises VolumeFileUnusable for one that tgtd would read as more words."""
    if "," in path or not path.isprintable():
        raise unusable(path, "tgtd takes no comma in a name, and no control character; rename it")
    return path
