"""Drift made by hand on the fakes: each kind, by what other hands or a crash leave."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from tests import fakes
from tests.fakes.hypervisor import FakeGuests
from tests.fakes.volume_service import connection_of
from tests.fakes.world import World
from tests.unit import scenes
from tests.unit.scenes import (
    DEVICE,
    INSTANCE,
    OTHER_DEVICE,
    OTHER_VOLUME,
    VOLUME,
    operation,
    run,
)
from worker.handlers.find_drift import FindDrift, find_drift
from worker.model.block_device import Bus, DeviceStatus, DeviceType
from worker.model.disk import Disk
from worker.model.drift import DriftKind
from worker.model.ids import AttachmentId, VolumeId
from worker.model.instance import VmState
from worker.model.operation import Operation, OperationState
from worker.model.places.address import PciAddress
from worker.model.source import BlockSource, DiskOptions
from worker.model.volume import Attachment, AttachmentStatus, VolumeStatus

ALIAS = f"ua-{VOLUME}"
FOREIGN = "ua-2b1c8a52-0a52-4c8c-8f5b-3d3e6d9effff"
"""An alias that looks like ours, on a disk that no row of ours names."""


def attached() -> World:
    """Return a world with a volume on the guest, and a disk of other hands beside it."""
    world = scenes.world()
    plant_foreign(world)
    scenes.attach(world)
    return world


def plant_foreign(world: World) -> None:
    guest = world.guests[INSTANCE]
    disk = Disk(
        alias=FOREIGN,
        target="vdz",
        bus=Bus.VIRTIO,
        device_type=DeviceType.DISK,
        serial="theirs",
        address=PciAddress(bus=8, slot=0),
        source=BlockSource(path="/dev/theirs"),
        options=DiskOptions(),
    )
    guest.live[FOREIGN] = guest.persistent[FOREIGN] = disk
    guest.ghosts.add(f"{FOREIGN}-ghost")


def detached_in_our_rows_only(*, live: bool = True, persistent: bool = True) -> World:
    """The row is removed, and all that the attach had made is still there."""
    world = attached()
    world.removed[DEVICE] = replace(world.rows.pop(DEVICE), deleted=True)
    guest = world.guests[INSTANCE]
    if not live:
        del guest.live[ALIAS]
    if not persistent:
        del guest.persistent[ALIAS]
    return world


def change_row(world: World, **fields: object) -> World:
    world.rows[DEVICE] = replace(world.rows[DEVICE], **fields)  # type: ignore[arg-type]
    return world


def change_volume(world: World, status: VolumeStatus) -> World:
    world.volumes[VOLUME] = replace(world.volumes[VOLUME], status=status)
    return world


def change_disk(world: World, layout: str, **fields: object) -> World:
    disks = getattr(world.guests[INSTANCE], layout)
    disks[ALIAS] = replace(disks[ALIAS], **fields)
    return world


def change_attachment(world: World, **fields: object) -> World:
    (held,) = world.attachments
    world.attachments[held] = replace(world.attachments[held], **fields)  # type: ignore[arg-type]
    return world


def without(world: World, *forget: Callable[[World], object]) -> World:
    for each in forget:
        each(world)
    return world


def stop(world: World) -> World:
    guest = world.guests[INSTANCE]
    guest.vm_state = VmState.STOPPED
    guest.live.clear()
    guest.ghosts.clear()
    world.instances[INSTANCE] = replace(world.instances[INSTANCE], vm_state=VmState.STOPPED)
    return world


def live_missing() -> World:
    return without(attached(), lambda world: world.guests[INSTANCE].live.pop(ALIAS))


def persistent_missing() -> World:
    return without(attached(), lambda world: world.guests[INSTANCE].persistent.pop(ALIAS))


def attachment_missing() -> World:
    world = change_volume(attached(), VolumeStatus.AVAILABLE)
    world.attachments.clear()
    return world


def attachment_incomplete() -> World:
    world = change_volume(attached(), VolumeStatus.ATTACHING)
    return change_attachment(world, status=AttachmentStatus.ATTACHING)


def attachment_reserved_only() -> World:
    world = change_volume(attached(), VolumeStatus.RESERVED)
    return change_attachment(world, status=AttachmentStatus.RESERVED, connection=None)


def connection_missing() -> World:
    return without(attached(), lambda world: world.connections.clear())


def device_missing() -> World:
    return without(stop(attached()), lambda world: world.connected.clear())


def all_missing() -> World:
    """What mends wait for each other for."""
    world = stop(attachment_missing())
    world.connections.clear()
    world.connected.clear()
    world.guests[INSTANCE].persistent.pop(ALIAS)
    return world


def ghost_left() -> World:
    world = detached_in_our_rows_only(live=False, persistent=False)
    world.guests[INSTANCE].ghosts.add(ALIAS)
    world.connections.clear()
    world.attachments.clear()
    return change_volume(world, VolumeStatus.AVAILABLE)


def ghost_of_an_attached_row() -> World:
    world = live_missing()
    world.guests[INSTANCE].ghosts.add(ALIAS)
    return world


def stuck_attach() -> World:
    world = change_row(attached(), status=DeviceStatus.ERROR)
    asked = operation("attach_volume", number=7, **scenes.attach_arguments())
    world.operations[asked.id] = replace(asked, state=OperationState.STUCK)
    return world


def attachment_of_another() -> World:
    return change_attachment(attached(), volume=OTHER_VOLUME)


def domain_gone() -> World:
    return without(attached(), lambda world: world.guests.clear())


def place_taken() -> World:
    world = live_missing()
    guest = world.guests[INSTANCE]
    row = world.rows[DEVICE]
    guest.live[FOREIGN] = replace(guest.live[FOREIGN], target=row.target)
    return world


def reserved_with_a_disk() -> World:
    return change_row(attached(), status=DeviceStatus.RESERVED)


def attached_anew() -> World:
    """The volume's older row left a record; its newer row has the volume and its alias."""
    world = attached()
    old = world.rows[DEVICE]
    world.removed[OTHER_DEVICE] = replace(
        old, uuid=OTHER_DEVICE, deleted=True, attachment=AttachmentId("of-old")
    )
    world.connections[OTHER_DEVICE] = connection_of(VOLUME).without_secrets()
    return world


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A drift, what is found of it in order, and whether a repair leaves nothing of it."""

    make: Callable[[], World]
    kinds: tuple[DriftKind, ...]
    mended: bool


K = DriftKind

MENDED = {
    "the running guest lost it": Case(make=live_missing, kinds=(K.LIVE_MISSING,), mended=True),
    "the persistent layout lost it": Case(
        make=persistent_missing, kinds=(K.PERSISTENT_MISSING,), mended=True
    ),
    "the attachment is gone": Case(
        make=attachment_missing, kinds=(K.ATTACHMENT_MISSING,), mended=True
    ),
    "the attachment was never completed": Case(
        make=attachment_incomplete, kinds=(K.ATTACHMENT_INCOMPLETE,), mended=True
    ),
    "the attachment is only reserved": Case(
        make=attachment_reserved_only, kinds=(K.ATTACHMENT_INCOMPLETE,), mended=True
    ),
    "the volume is detaching for nobody": Case(
        make=lambda: change_volume(attached(), VolumeStatus.DETACHING),
        kinds=(K.VOLUME_DETACHING,),
        mended=True,
    ),
    "the record of the connection is gone": Case(
        make=connection_missing, kinds=(K.CONNECTION_MISSING,), mended=True
    ),
    "the host lost the volume": Case(make=device_missing, kinds=(K.DEVICE_MISSING,), mended=True),
    "nothing is left but the row": Case(
        make=all_missing,
        kinds=(
            K.ATTACHMENT_MISSING,
            K.CONNECTION_MISSING,
            K.DEVICE_MISSING,
            K.PERSISTENT_MISSING,
        ),
        mended=True,
    ),
    "everything is left but the row": Case(
        make=detached_in_our_rows_only,
        kinds=(K.LIVE_LEFT, K.PERSISTENT_LEFT, K.CONNECTION_LEFT, K.ATTACHMENT_LEFT),
        mended=True,
    ),
    "a removed row's disk is in the persistent layout": Case(
        make=lambda: detached_in_our_rows_only(live=False),
        kinds=(K.PERSISTENT_LEFT, K.CONNECTION_LEFT, K.ATTACHMENT_LEFT),
        mended=True,
    ),
    "a connection and an attachment are left": Case(
        make=lambda: detached_in_our_rows_only(live=False, persistent=False),
        kinds=(K.CONNECTION_LEFT, K.ATTACHMENT_LEFT),
        mended=True,
    ),
    "a removed row's disk is a ghost": Case(make=ghost_left, kinds=(K.GHOST,), mended=True),
    "an older row's record is left": Case(
        make=attached_anew, kinds=(K.CONNECTION_LEFT,), mended=True
    ),
}

NOT_MENDED = {
    "an attached row's disk is a ghost": (ghost_of_an_attached_row, K.GHOST),
    "its operation is stuck": (stuck_attach, K.STUCK),
    "nobody is at work on it": (
        lambda: change_row(attached(), status=DeviceStatus.DETACHING),
        K.UNSETTLED,
    ),
    "its volume is missing": (
        lambda: change_row(attached(), status=DeviceStatus.MISSING),
        K.MISSING,
    ),
    "only reserved, and in the guest": (reserved_with_a_disk, K.UNSETTLED),
    "the domain is gone": (domain_gone, K.DOMAIN_GONE),
    "another serial, live": (
        lambda: change_disk(attached(), "live", serial="another"),
        K.LIVE_DIFFERS,
    ),
    "another target, persistent": (
        lambda: change_disk(attached(), "persistent", target="vdq"),
        K.PERSISTENT_DIFFERS,
    ),
    "its place is taken": (place_taken, K.LIVE_DIFFERS),
    "another's attachment": (attachment_of_another, K.ATTACHMENT_DIFFERS),
    "another's volume by now": (
        lambda: without(
            change_volume(attached(), VolumeStatus.IN_USE), lambda world: world.attachments.clear()
        ),
        K.ATTACHMENT_MISSING,
    ),
    "the volume is gone": (
        lambda: without(attached(), lambda world: world.volumes.pop(VOLUME)),
        K.VOLUME_MISSING,
    ),
    "the volume is said to be free": (
        lambda: change_volume(attached(), VolumeStatus.AVAILABLE),
        K.VOLUME_STATUS,
    ),
    "the device is gone under a running guest": (
        lambda: without(attached(), lambda world: world.connected.clear()),
        K.DEVICE_MISSING,
    ),
}


def found(world: World, *, qemu: bool = True) -> list[dict[str, object]]:
    """Return the differences that the call answers with."""
    answer = find_drift(FindDrift(qemu=qemu), fakes.ports(world))
    differences: list[dict[str, object]] = answer["differences"]
    return differences


def repair(world: World, *watches: object, number: int = 1, qemu: bool = True) -> Operation:
    asked = operation("repair_drift", number=number, instance_uuid=INSTANCE, qemu=qemu)
    return run(world, asked, *watches)


def foreign_is_untouched(world: World) -> bool:
    guest = FakeGuests(world).describe(INSTANCE)
    there = world.guests[INSTANCE]
    in_each = all(FOREIGN in {disk.alias for disk in layout.disks} for layout in guest.layouts)
    return in_each and (guest.live is None or f"{FOREIGN}-ghost" in there.ghosts)


def an_attachment(volume: VolumeId, status: AttachmentStatus) -> Attachment:
    return Attachment(
        id=AttachmentId("a77ac4ed-0000-4000-8000-000000000009"),
        volume=volume,
        instance=INSTANCE,
        status=status,
    )
