"""Guests of other hands, and what an adoption or a move makes of them."""

import json
from dataclasses import replace
from typing import Any

from tests import fakes
from tests.fakes.volume_service import connection_of
from tests.fakes.world import PLACES, World
from tests.unit import scenes
from tests.unit.scenes import INSTANCE, VOLUME, operation, run
from worker.handlers.adopt_instance import AdoptInstance, adopt_instance
from worker.handlers.export_instance import ExportInstance, export_instance
from worker.model.block_device import Bus, DeviceType
from worker.model.disk import Disk
from worker.model.guest import GuestInterface
from worker.model.identity.alias import alias_of
from worker.model.ids import AttachmentId, PeripheralId
from worker.model.instance import VmState
from worker.model.method import Method
from worker.model.operation import Operation
from worker.model.source import BlockSource, DiskOptions, FileSource
from worker.model.volume import Attachment, AttachmentStatus, VolumeStatus

HELD = AttachmentId("a77ac4ed-0000-4000-8000-000000000011")
ROOT = "/images/root.qcow2"


def foreign(target: str, source: str, place: int, **facts: Any) -> Disk:  # noqa: ANN401
    """Return a disk as other hands have made it; nothing marks it unless said."""
    bus = facts.pop("bus", Bus.VIRTIO)
    return Disk(
        alias=facts.pop("alias", ""),
        target=target,
        bus=bus,
        device_type=facts.pop("device_type", DeviceType.DISK),
        serial=facts.pop("serial", None),
        address=facts.pop("address", PLACES.get(bus, PLACES[Bus.VIRTIO])[place]),
        source=BlockSource(path=source) if source.startswith("/dev/") else FileSource(path=source),
        options=DiskOptions(),
        **facts,
    )


def give(world: World, *disks: Disk) -> None:
    """Let the guest have these disks, in its persistent layout and, if it runs, live."""
    guest = world.guests[INSTANCE]
    guest.persistent = {disk.alias or f"?{disk.target}": disk for disk in disks}
    world.other_files |= {disk.source.name for disk in disks}
    if guest.running:
        guest.live = dict(guest.persistent)


def give_twins(world: World) -> None:
    """Let the guest have two interfaces with one MAC; a running one knows libvirt's aliases."""
    guest = world.guests[INSTANCE]
    first = GuestInterface(
        mac="52:54:00:0a:0b:0c",
        alias=None,
        address=PLACES[Bus.VIRTIO][5],
        kind="user",
        model="e1000",
    )
    second = replace(first, alias="ua-their-net", address=PLACES[Bus.VIRTIO][6], kind="network")
    guest.persistent_peripherals = {f"?{first.address}": first, "ua-their-net": second}
    if guest.running:
        guest.live_peripherals = {"net0": replace(first, alias="net0"), "ua-their-net": second}


def hold(world: World) -> None:
    """Let the volume service have the volume as the guest's, and the host be connected to it."""
    world.attachments[HELD] = Attachment(
        id=HELD,
        volume=VOLUME,
        instance=INSTANCE,
        status=AttachmentStatus.ATTACHED,
        connection=connection_of(VOLUME),
    )
    world.volumes[VOLUME] = replace(world.volumes[VOLUME], status=VolumeStatus.IN_USE)
    world.connected.add(VOLUME)


def guest_of_others(vm_state: VmState = VmState.STOPPED) -> World:
    """A root that nothing marks, a disk with a serial of its own, and a volume that is held.

    And two interfaces with one MAC, one of which others have marked. Its hypervisor starts it by
    itself.
    """
    world = scenes.world(vm_state)
    world.instances.clear()
    world.guests[INSTANCE].autostart = True
    give(
        world,
        foreign("vda", ROOT, 0),
        foreign("vdc", "/images/data.raw", 1, alias="ua-theirs", serial="DATA-1"),
        foreign("vdb", f"/dev/{VOLUME}", 2, serial=VOLUME),
    )
    give_twins(world)
    hold(world)
    return world


def adopt(world: World) -> dict[str, Any]:
    """Adopt the guest; return the answer. Its disks are not marked yet."""
    begun = adopt_instance(AdoptInstance(domain=INSTANCE), fakes.ports(world))
    world.commit()
    return dict(begun.answer)


def settle(world: World) -> None:
    """Run what waits in the journal."""
    for waiting in fakes.ports(world).operations.unfinished():
        assert run(world, waiting).fault is None


def adopting(vm_state: VmState = VmState.STOPPED) -> World:
    """A guest that was adopted this moment."""
    world = guest_of_others(vm_state)
    adopt(world)
    _same_ids(world)
    return world


def adopted(vm_state: VmState = VmState.STOPPED) -> World:
    """A guest that was adopted, its disks marked."""
    world = adopting(vm_state)
    assert run(world, marking()).fault is None
    return world


def marking() -> Operation:
    return replace(operation(Method.COMPLETE_ADOPTION, number=61, instance_uuid=INSTANCE), own=True)


def _same_ids(world: World) -> None:
    """What is drawn at random would keep two worlds from being compared."""
    world.operations.clear()
    ids = {
        uuid: type(uuid)(f"{number:08d}-ad0b-4000-8000-000000000001")
        for number, uuid in enumerate(sorted(world.rows, key=lambda one: world.rows[one].target))
    }
    for old, new in ids.items():
        row = world.rows.pop(old)
        world.rows[new] = replace(
            row,
            uuid=new,
            alias=row.alias.replace(old, new),
            serial=(row.serial or "").replace(old, new),
        )
        if old in world.connections:
            world.connections[new] = world.connections.pop(old)
    for number, old_row in enumerate(list(world.peripherals.values())):
        same = PeripheralId(f"{number:08d}-ad0c-4000-8000-000000000001")
        del world.peripherals[old_row.uuid]
        world.peripherals[same] = replace(old_row, uuid=same, alias=alias_of(same))
    instance = world.instances[INSTANCE]
    assert instance.adoption is not None
    former = tuple(replace(one, device=ids[one.device]) for one in instance.adoption.former)
    kept_adoption = replace(instance.adoption, former=former)
    world.instances[INSTANCE] = replace(instance, adoption=kept_adoption)


def export(world: World) -> str:
    """Export the instance; return the document."""
    found = export_instance(ExportInstance(instance_uuid=INSTANCE), fakes.ports(world))
    return json.dumps(found)


def release(world: World) -> None:
    asked = operation("release_instance", number=62, instance_uuid=INSTANCE)
    assert run(world, asked).fault is None


def let_go(world: World) -> str:
    """Release the instance; return its document, which says so."""
    release(world)
    return export(world)


def other_host(document: str, source: World) -> World:
    """A host with the same volume service and copies of the files, without rows or guests."""
    world = scenes.world()
    world.instances.clear()
    world.guests.clear()
    world.texts = source.texts
    world.volumes, world.attachments = dict(source.volumes), dict(source.attachments)
    world.other_files = {
        path for path in json.loads(document)["sources"].values() if path is not None
    }
    return world


def to_import() -> tuple[World, str]:
    """A host that is about to import the guest with a volume, released elsewhere."""
    source = adopted()
    document = let_go(source)
    return other_host(document, source), document


def import_asked(number: int = 1) -> Operation:
    """Return the import of that guest."""
    _, document = to_import()
    return operation("import_instance", number=number, instance_uuid=INSTANCE, document=document)
