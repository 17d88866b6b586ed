"""What a rescue is, from its plan to its end."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from worker.model.block_device import Bus, DeviceType
from worker.model.disk import Disk
from worker.model.identity.alias import alias_of
from worker.model.ids import ImageId, InstanceId, OperationId
from worker.model.machine import Kernel
from worker.model.places.address import Address
from worker.model.source import DiskSource
from worker.model.specification import LocalDisk


class Mode(StrEnum):
    """How a rescue treats the instance's own disks.

    Stable: all of them stay as they are, the rescue disk is the last. Legacy: the rescue disk is
    the first, the root the second; there is no other but the config drive.
    """

    STABLE = "stable"
    LEGACY = "legacy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """Where a disk is in rescue; ``target`` is its bare name."""

    target: str
    address: Address | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RescueSettings:
    """What the host's operator has chosen.

    ``image`` is the one for a rescue that names none, ``kernel`` and ``ramdisk`` are its own.
    """

    image: ImageId | None = None
    kernel: ImageId | None = None
    ramdisk: ImageId | None = None
    device_operations: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescue:
    """A rescue as it was decided, kept with its instance until it has ended.

    ``disk`` is the file that the rescue disk is; its uuid is the disk's serial. ``kept`` names the
    disks of the persistent layout that are there in rescue, None for all; ``moved`` those that are
    elsewhere, by name. ``runs`` is whether the guest ran before, and is to run again after.
    ``config_drive`` is whether the rescue has one of its own. ``since`` is None until the guest
    was seen in rescue.
    """

    operation: OperationId
    image: ImageId
    mode: Mode
    disk: LocalDisk
    device_type: DeviceType
    bus: Bus
    spot: Spot
    runs: bool
    kept: tuple[str, ...] | None = None
    moved: Mapping[str, Spot] | None = None
    kernel: ImageId | None = None
    ramdisk: ImageId | None = None
    command_line: str = ""
    config_drive: bool = False
    since: datetime | None = None

    def public(self) -> dict[str, Any]:
        """Return the fields that may leave the worker."""
        return {
            "image": self.image,
            "mode": self.mode.value,
            "device_name": f"/dev/{self.spot.target}",
            "since": None if self.since is None else self.since.isoformat(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RescueLayout:
    """The live layout of a guest in rescue: its persistent one, and what is otherwise.

    ``disk`` is the last device in stable mode, and the first disk in legacy; alone of all it has a
    boot order. ``kept`` and ``moved`` as in ``Rescue``. The guest is started with ``kernel``, or
    by its firmware; its config drive shows ``config`` where that is given.
    """

    disk: Disk
    first: bool = False
    kept: tuple[str, ...] | None = None
    moved: Mapping[str, Spot] | None = None
    kernel: Kernel | None = None
    config: DiskSource | None = None


def rescue_alias(instance: InstanceId) -> str:
    """Return the alias of an instance's rescue disk, which has no row."""
    return alias_of(f"rescue-{instance}")
