"""Guests to be rescued and images to rescue them with: named ones, and any there could be."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from tests.unit.scenes import INSTANCE, OPERATION
from worker.model.block_device import BlockDevice, Bus, DeviceStatus, DeviceType
from worker.model.guest import Guest, GuestDisk, Layout
from worker.model.identity.alias import config_drive_alias
from worker.model.ids import BlockDeviceId, ImageId, VolumeId
from worker.model.image import Image
from worker.model.instance import Instance, VmState
from worker.model.places.address import Address, place_of
from worker.model.places.controllers import empty_layout
from worker.model.places.fits import fits
from worker.model.places.names import PREFIXES, letters
from worker.model.rescue.known import Known
from worker.model.rescue.words import RescueSettings
from worker.model.specification import Shape, Specification

RESCUE_IMAGE = ImageId("5e5c0000-0000-4000-8000-000000000001")
OWN_IMAGE = ImageId("5e5c0000-0000-4000-8000-000000000002")
KERNEL = ImageId("5e5c0000-0000-4000-8000-000000000003")
RAMDISK = ImageId("5e5c0000-0000-4000-8000-000000000004")

PC, Q35 = "pc-i440fx-7.2", "pc-q35-7.2"
EVERYTHING = Shape(floppy=True)


def machine(name: str = Q35, shape: Shape = EVERYTHING) -> Layout:
    """Return a machine without disks."""
    return empty_layout(replace(shape, machine_type=name), 0)


def place(layout: Layout, bus: Bus, number: int = 0) -> Address:
    """Return one of the places that are not taken by what the machine itself is made of."""
    return [each for each in layout.places[bus] if each not in layout.taken][number]


def disk(target: str, bus: Bus, address: Address | None, **more: Any) -> GuestDisk:  # noqa: ANN401
    serial = f"serial-{target}"
    more = {"alias": f"ua-{target}", "serial": serial, "source": f"/dev/of/{target}"} | more
    return GuestDisk(target=target, bus=bus.value, address=address, **more)


def with_disks(layout: Layout, *disks: GuestDisk) -> Layout:
    held = {each.address for each in disks if each.address is not None}
    return replace(layout, disks=disks, taken=layout.taken | held)


def row(shown: GuestDisk, number: int = 1, **more: Any) -> BlockDevice:  # noqa: ANN401
    """Return the row of a disk that is shown; that of a volume."""
    kept: dict[str, Any] = {
        "uuid": BlockDeviceId(f"c0ffee00-0000-4000-8000-{number:012d}"),
        "instance": INSTANCE,
        "volume": VolumeId(f"2b1c8a52-0a52-4c8c-8f5b-{number:012d}"),
        "device_name": f"/dev/{shown.target}",
        "bus": Bus(shown.bus),
        "device_type": DeviceType(shown.device),
        "alias": shown.alias or f"ua-{number}",
        "serial": shown.serial,
        "address": shown.address,
        "status": DeviceStatus.ATTACHED,
    }
    return BlockDevice(**kept | more)


def guest(persistent: Layout | None, live: Layout | None = None) -> Guest:
    state = VmState.STOPPED if live is None else VmState.ACTIVE
    return Guest(
        instance=INSTANCE, name="guest-1", vm_state=state, live=live, persistent=persistent
    )


def instance(specification: Specification | None = None) -> Instance:
    """Return one that was adopted, unless it is said what it was built as."""
    return Instance(
        uuid=INSTANCE,
        host="host-1",
        name="guest-1",
        vm_state=VmState.ACTIVE,
        specification=specification,
    )


def built(**more: Any) -> Specification:  # noqa: ANN401
    return Specification(vcpus=1, memory=128, **{"image": OWN_IMAGE} | more)


def image(**properties: str) -> Image:
    return Image(id=RESCUE_IMAGE, name="rescue", format="raw", properties=properties)


def known(
    persistent: Layout | None,
    rescue_image: Image,
    *rows: BlockDevice,
    **more: Any,  # noqa: ANN401
) -> Known:
    kept: dict[str, Any] = {
        "operation": OPERATION,
        "instance": instance(built()),
        "guest": guest(persistent, persistent),
        "rows": rows,
        "peripherals": (),
        "image": rescue_image,
        "settings": RescueSettings(),
    }
    return Known(**kept | more)


def usual(name: str = Q35) -> tuple[Layout, list[BlockDevice]]:
    """A root and a volume on virtio, and a config drive where the machine has its CDs."""
    empty = machine(name)
    cdrom = Bus.SATA if name == Q35 else Bus.IDE
    root = disk("vda", Bus.VIRTIO, place(empty, Bus.VIRTIO), boot_order=1)
    data = disk("vdb", Bus.VIRTIO, place(empty, Bus.VIRTIO, 1))
    config = disk(
        f"{PREFIXES[cdrom]}a",
        cdrom,
        place(empty, cdrom),
        device="cdrom",
        serial=None,
        alias=config_drive_alias(INSTANCE),
    )
    rows = [row(root, 1, boot_index=0, volume=None), row(data, 2)]
    return with_disks(empty, root, data, config), rows


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Where a disk is drawn to be: a kind on a bus, a place of it, a name's position."""

    kind: DeviceType
    bus: Bus
    place: int
    name: int
    boot_order: int | None
    has_alias: bool
    has_row: bool


def _drawn(name: str) -> st.SearchStrategy[Drawn]:
    kinds = (DeviceType.DISK, DeviceType.CDROM, DeviceType.FLOPPY)
    pairs = [(kind, bus) for kind in kinds for bus in Bus if fits(kind, bus, name)]
    return st.builds(
        lambda pair, **more: Drawn(kind=pair[0], bus=pair[1], **more),
        st.sampled_from(pairs),
        place=st.integers(0, 30),
        name=st.integers(0, 30),
        boot_order=st.none() | st.integers(1, 5),
        has_alias=st.booleans(),
        has_row=st.booleans(),
    )


def _shown(drawn: Sequence[Drawn], empty: Layout) -> list[tuple[GuestDisk, Drawn]]:
    """Return those of the drawn that are no clash."""
    found: list[tuple[GuestDisk, Drawn]] = []
    held = set(map(place_of, empty.taken))
    for each in drawn:
        offered = empty.places.get(each.bus, ())
        target = PREFIXES[each.bus] + letters(each.name)
        address = offered[each.place % len(offered)] if offered else None
        clash = target in {one.target for one, _ in found}
        if address is None or clash or place_of(address) in held:
            continue
        held.add(place_of(address))
        alias = f"ua-{target}" if each.has_alias else None
        more = {"device": each.kind.value, "boot_order": each.boot_order, "alias": alias}
        found.append((disk(target, each.bus, address, **more), each))
    return found


def shapes() -> st.SearchStrategy[Shape]:
    return st.builds(
        Shape,
        machine_type=st.sampled_from([PC, Q35]),
        scsi_model=st.sampled_from(["virtio-scsi", "lsilogic", None]),
        usb=st.booleans(),
        floppy=st.booleans(),
        pcie_ports=st.integers(2, 12),
    )


PROPERTIES: dict[str, list[str]] = {
    "hw_rescue_device": ["disk", "cdrom", "floppy", "lun"],
    "hw_rescue_bus": [*Bus, "xen"],
    "hw_disk_bus": ["virtio", "scsi", "ide"],
    "hw_cdrom_bus": ["sata", "scsi", "ide"],
}


def images(*certain: str) -> st.SearchStrategy[Image]:
    """Any image; with the certain properties, if they are named."""
    chosen = {name: st.sampled_from(PROPERTIES[name]) for name in PROPERTIES}
    always = {name: chosen[name] for name in certain}
    others = {name: chosen[name] for name in PROPERTIES if name not in certain}
    found = st.fixed_dictionaries(always, optional=others)
    return found.map(lambda properties: image(**properties))


@st.composite
def anything(draw: st.DrawFn, images_: st.SearchStrategy[Image]) -> Known:
    """Any guest, of ours or adopted, and any of the images."""
    shape = draw(shapes())
    empty = empty_layout(shape, 0)
    shown = _shown(draw(st.lists(_drawn(shape.machine_type), min_size=1, max_size=8)), empty)
    rows = [
        row(one, number, boot_index=0 if number == 1 else None)
        for number, (one, drawn) in enumerate(shown)
        if drawn.has_row
    ]
    specification = draw(st.sampled_from([None, built()]))
    layout = with_disks(empty, *(one for one, _ in shown))
    return known(layout, draw(images_), *rows, instance=instance(specification))
