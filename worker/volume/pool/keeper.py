"""Sees that what the rows have is exported, whatever became of tgtd; and what else it exports."""

import logging

from worker.errors import ConnectFailed, Unavailable, WorkerError
from worker.model.ids import VolumeId
from worker.model.leftover import Leftover, LeftoverKind
from worker.model.source import ISCSI_PORT
from worker.model.volume import PoolVolume, VolumeStatus
from worker.ports import PoolRecords
from worker.volume.leftovers.names import lun_mark, target_mark
from worker.volume.pool.examine import check_present
from worker.volume.pool.exports import IscsiFace
from worker.volume.pool.tgt import LUN, TgtRefusal
from worker.volume.pool.tgt_show import Target
from worker.volume.pool.tgtd import Daemon

LOG = logging.getLogger(__name__)


class ExportKeeper:
    """All exports of a pool, beside the lanes that change one each."""

    def __init__(self, *, records: PoolRecords, face: IscsiFace, daemon: Daemon) -> None:
        self._records = records
        self._face = face
        self._daemon = daemon
        self._looked = False
        self._failed: dict[VolumeId, str] = {}

    def look(self) -> None:
        """Export again what is exported no more: tgtd keeps nothing, and may have been killed.

        The first look is at all that the rows have. Raises Unavailable.
        """
        missing = self._face.missing() if self._looked else None
        if missing is not None and not missing:
            return
        for record in self._records.volumes():
            held = record.volume.status is not VolumeStatus.AVAILABLE
            if held and (missing is None or self._face.iqn(record.volume.id) in missing):
                self._export(record)
        self._looked = True

    def leftovers(self) -> tuple[Leftover, ...]:
        """Return every target of the daemon, in use or not, whosever it is.

        Raises VolumeServiceUnavailable.
        """
        targets = self._face.all()
        if not targets:
            return ()
        portal = self._daemon.ensure()
        names = {self._face.iqn(each.volume.id): each for each in self._records.volumes()}
        return tuple(self._leftover(each, portal, names.get(each.iqn)) for each in targets)

    def remove(self, leftover: Leftover) -> None:
        """Withdraw the export; one that is gone is fine. Raises ConnectFailed for one in use."""
        with self._face.alone():
            now = {each.name: each for each in self.leftovers()}
            there = now.get(leftover.name)
            if there is None:
                return
            if there.used is not None:
                message = f"{there} is in use: {there.used}"
                raise ConnectFailed(message)
            self._face.drop(there.name)

    def close(self) -> None:
        """End the daemon, if it is ours and exports nothing."""
        self._daemon.end()

    def _export(self, record: PoolVolume) -> None:
        """One volume whose file is gone keeps no other from its guest."""
        volume = record.volume.id
        try:
            with self._face.alone():
                held = self._records.attachments(volume)
                if any(each.connection is not None for each in held):
                    check_present(record)
                    self._face.export(record, held)
        except TgtRefusal as error:
            self._note(volume, error)
        except Unavailable:
            raise
        except WorkerError as error:
            self._note(volume, error)
        else:
            self._failed.pop(volume, None)

    def _note(self, volume: VolumeId, error: WorkerError) -> None:
        """Say it once, however often it is tried."""
        if self._failed.get(volume) != str(error):
            LOG.warning("volume not exported: volume=%s error=%s", volume, error)
        self._failed[volume] = str(error)

    def _leftover(self, target: Target, portal: str, record: PoolVolume | None) -> Leftover:
        host, _, port = portal.rpartition(":")
        place = (host.strip("[]"), int(port or ISCSI_PORT), target.iqn)
        luns = (lun_mark(*place, lun.number) for lun in target.luns if lun.number == LUN)
        return Leftover(
            kind=LeftoverKind.EXPORT,
            name=target.iqn,
            about=f"target {target.number} of the tgtd at {portal}",
            marks=frozenset({target_mark(*place), *luns}),
            used=self._used(target, record),
        )

    def _used(self, target: Target, record: PoolVolume | None) -> str | None:
        """Say who has it: a row, or somebody who is logged in."""
        held = () if record is None else self._records.attachments(record.volume.id)
        connected = [each.id for each in held if each.connection is not None]
        if connected:
            return f"attachment {connected[0]} has the volume"
        if target.sessions:
            return f"{target.sessions[0].initiator} is logged in"
        return None
