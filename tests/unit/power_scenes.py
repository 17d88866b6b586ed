"""Worlds in which a guest with a local disk and two volumes is off, runs, or lacks a volume."""

from dataclasses import replace

from tests import fakes
from tests.fakes.images import disk_path
from tests.fakes.volume_service import LOGIN, connection_of
from tests.fakes.world import World
from tests.unit import scenes
from tests.unit.scenes import DEVICE, INSTANCE, OTHER_DEVICE, OTHER_VOLUME, VOLUME
from worker.model.block_device import BlockDevice, Bus, DeviceStatus, SourceType
from worker.model.connection import Connection
from worker.model.disk import disk_of
from worker.model.ids import BlockDeviceId, VolumeId
from worker.model.instance import VmState
from worker.model.places.address import PciAddress
from worker.model.source import BlockSource, DiskOptions, FileSource, HostVolume
from worker.model.specification import LocalDisk, Specification
from worker.model.volume import GIB

LOCAL = BlockDeviceId("c0ffee00-0000-4000-8000-00000000000a")
ROOT, ROOT_VOLUME = DEVICE, VOLUME
DATA, DATA_VOLUME = OTHER_DEVICE, OTHER_VOLUME
ALIAS = f"ua-{DATA_VOLUME}"
SATA = Bus.SATA


def off() -> World:
    """A guest that was stopped: it boots from one volume and has another, and a local disk."""
    world = scenes.world(VmState.STOPPED)
    scenes.attach(world, ROOT_VOLUME, ROOT)
    scenes.attach(world, DATA_VOLUME, DATA)
    world.rows[ROOT] = replace(world.rows[ROOT], boot_index=0)
    guest = world.guests[INSTANCE]
    alias = world.rows[ROOT].alias
    guest.persistent[alias] = replace(guest.persistent[alias], boot_order=1)
    _add_local_disk(world)
    return world


def on() -> World:
    """The same guest, running."""
    world = off()
    guest = world.guests[INSTANCE]
    guest.vm_state, guest.live = VmState.ACTIVE, dict(guest.persistent)
    world.instances[INSTANCE] = replace(world.instances[INSTANCE], vm_state=VmState.ACTIVE)
    return world


def deaf() -> World:
    """It runs, and does not power off when it is asked."""
    world = on()
    world.guests[INSTANCE].deaf = True
    return world


def deaf_without_volumes() -> World:
    """A running guest that has a local disk only, and is deaf."""
    world = scenes.world()
    _add_local_disk(world)
    guest = world.guests[INSTANCE]
    guest.deaf, guest.live = True, dict(guest.persistent)
    return world


def ran_before_the_boot() -> World:
    """A guest that has a local disk only, and ran when its host went down."""
    world = deaf_without_volumes()
    guest = world.guests[INSTANCE]
    guest.vm_state, guest.live = VmState.STOPPED, {}
    return world


def host_booted() -> World:
    """The host went down under the running guest, and is back: nothing is connected."""
    world = off()
    world.instances[INSTANCE] = replace(world.instances[INSTANCE], vm_state=VmState.ACTIVE)
    world.connected.clear()
    return world


def booted_without_the_volume() -> World:
    """The same, and one volume that the guest does not boot from cannot be reached."""
    world = host_booted()
    world.unreachable.add(DATA_VOLUME)
    return world


def missing() -> World:
    """The guest is off, and its volume was missing when it was last started; it is back now."""
    return without(off())


def missing_while_it_runs() -> World:
    """The guest runs without the volume, which is back now."""
    return without(on())


def moved() -> World:
    """The guest is off, and the volume service says another way to its volume by now."""
    world = off()
    (held,) = [one for one in world.attachments.values() if one.volume == DATA_VOLUME]
    way = Connection(
        protocol="fake",
        properties={
            **connection_of(DATA_VOLUME).properties,
            "device_path": f"/dev/elsewhere/{DATA_VOLUME}",
        },
    )
    world.attachments[held.id] = replace(held, connection=way)
    return world


def without(world: World) -> World:
    """Return the world as it is when the volume could not be reached for a start."""
    found = world.copy()
    found.rows[DATA] = replace(found.rows[DATA], status=DeviceStatus.MISSING)
    guest = found.guests[INSTANCE]
    guest.live.pop(ALIAS, None)
    guest.persistent.pop(ALIAS, None)
    found.connected.discard(DATA_VOLUME)
    found.connections.pop(DATA, None)
    return found


def restored(world: World) -> World:
    """Return the world with each volume of the guest where a start would have it.

    What a start has restored stays so, should the guest not start in the end.
    """
    found = world.copy()
    for row in list(found.rows.values()):
        if row.status is DeviceStatus.ATTACHED and row.volume is not None:
            _restore(found, row, row.volume)
    data = found.rows.get(DATA)
    lacks = data is not None and data.status is DeviceStatus.MISSING
    return without(found) if lacks else found


def _restore(world: World, row: BlockDevice, volume: VolumeId) -> None:
    held = fakes.ports(world).attachments.find(volume, INSTANCE)
    assert held is not None
    assert held.connection is not None
    kept = held.connection.without_secrets()
    world.connected.add(volume)
    world.connections[row.uuid] = kept
    world.rows[row.uuid] = row = replace(row, connection=kept)
    source = BlockSource(path=kept.properties["device_path"])
    secrets = (LOGIN,) if volume in world.guarded else ()
    found = HostVolume(source=source, options=DiskOptions(io="native"), secrets=secrets)
    disk = disk_of(row, found)
    world.guests[INSTANCE].persistent[row.alias] = disk


def _add_local_disk(world: World) -> None:
    disk = LocalDisk(uuid=LOCAL, size=GIB)
    specification = Specification(vcpus=1, memory=128, disks=(disk,))
    kept = world.instances[INSTANCE]
    world.instances[INSTANCE] = replace(kept, specification=specification)
    row = BlockDevice(
        uuid=LOCAL,
        instance=INSTANCE,
        volume=None,
        device_name="/dev/vdz",
        bus=Bus.VIRTIO,
        alias=f"ua-{LOCAL}",
        serial=LOCAL,
        address=PciAddress(bus=8, slot=0),
        status=DeviceStatus.ATTACHED,
        source_type=SourceType.BLANK,
    )
    path = disk_path(INSTANCE, LOCAL)
    source = FileSource(path=path, format=disk.format)
    world.rows[LOCAL] = row
    world.files[path] = disk
    world.guests[INSTANCE].persistent[row.alias] = disk_of(
        row, HostVolume(source=source, options=DiskOptions())
    )
