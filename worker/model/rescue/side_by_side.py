"""A rescue as it is shown before it is done: each disk as it is, and as it would be."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from worker.model.guest import GuestDisk
from worker.model.identity.alias import config_drive_alias
from worker.model.rescue.known import Known
from worker.model.rescue.spots import root_of, row_of_disk
from worker.model.rescue.words import Mode, Rescue, Spot, rescue_alias


class What(StrEnum):
    """What a disk of the guest is."""

    ROOT = "root"
    LOCAL = "local"
    VOLUME = "volume"
    CONFIG_DRIVE = "config drive"
    RESCUE_DISK = "rescue disk"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownDisk:
    """A disk of one of the two layouts.

    ``was`` is its bare name before the rescue, None for the rescue disk; ``moved`` tells whether
    it is elsewhere in rescue, ``in_rescue`` whether it is there at all.
    """

    what: What
    was: str | None
    spot: Spot
    bus: str
    alias: str | None
    serial: str | None
    device_type: str
    boot_order: int | None
    in_rescue: bool
    moved: bool

    def public(self) -> dict[str, Any]:
        """Return plain JSON."""
        address = self.spot.address
        return {
            "what": self.what.value,
            "was": None if self.was is None else f"/dev/{self.was}",
            "device_name": f"/dev/{self.spot.target}",
            "bus": self.bus,
            "address": None if address is None else str(address),
            "alias": self.alias,
            "serial": self.serial,
            "device_type": self.device_type,
            "boot_order": self.boot_order,
            "in_rescue": self.in_rescue,
            "moved": self.moved,
        }


def side_by_side(rescue: Rescue, known: Known) -> dict[str, Any]:
    """Return plain JSON: what was decided, and the disks ``before`` and ``in_rescue`` in order.

    The rescue disk's serial is drawn when the rescue is done.
    """
    before = [_before(disk, rescue, known) for disk in known.layout.disks]
    return {
        "instance_uuid": known.instance.uuid,
        "image": rescue.image,
        "mode": rescue.mode.value,
        "device_type": rescue.device_type.value,
        "bus": rescue.bus.value,
        "boot": "firmware" if rescue.kernel is None else "kernel",
        "before": [disk.public() for disk in before],
        "in_rescue": [disk.public() for disk in _in_rescue(before, rescue, known)],
    }


def _before(disk: GuestDisk, rescue: Rescue, known: Known) -> ShownDisk:
    return ShownDisk(
        what=_what(disk, known),
        was=disk.target,
        spot=Spot(target=disk.target, address=disk.address),
        bus=disk.bus,
        alias=disk.alias,
        serial=disk.serial,
        device_type=disk.device,
        boot_order=disk.boot_order,
        in_rescue=rescue.kept is None or disk.target in rescue.kept,
        moved=disk.target in (rescue.moved or {}),
    )


def _what(disk: GuestDisk, known: Known) -> What:
    row = row_of_disk(disk, known.rows)
    if disk == root_of(known.layout, known.rows):
        return What.ROOT
    if disk.alias == config_drive_alias(known.instance.uuid):
        return What.CONFIG_DRIVE
    if row is None:
        return What.OTHER
    return What.LOCAL if row.local else What.VOLUME


def _in_rescue(before: Sequence[ShownDisk], rescue: Rescue, known: Known) -> list[ShownDisk]:
    spots = rescue.moved or {}
    there = [
        replace(disk, boot_order=None, spot=spots.get(disk.spot.target, disk.spot))
        for disk in before
        if disk.in_rescue
    ]
    added = _rescue_disk(rescue, known)
    return [added, *there] if rescue.mode is Mode.LEGACY else [*there, added]


def _rescue_disk(rescue: Rescue, known: Known) -> ShownDisk:
    return ShownDisk(
        what=What.RESCUE_DISK,
        was=None,
        spot=rescue.spot,
        bus=rescue.bus.value,
        alias=rescue_alias(known.instance.uuid),
        serial=None,
        device_type=rescue.device_type.value,
        boot_order=1,
        in_rescue=True,
        moved=False,
    )
