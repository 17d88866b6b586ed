"""The look-up: which device of a guest is a row's. Whatever looks for a device, looks here.

By alias; where no device bears it (a guest from before it was given, or one whose running part
knows libvirt's own aliases only), by two facts that agree. Never by a device name alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from worker.errors import DeviceAmbiguous, DeviceWrongState
from worker.model.alias import PREFIX
from worker.model.block_device import BlockDevice
from worker.model.guest import (
    Guest,
    GuestDevice,
    GuestDisk,
    GuestHostDevice,
    GuestInterface,
    Layout,
)
from worker.model.host_device import HostDevice
from worker.model.peripheral import Peripheral
from worker.model.specification import Interface


class DeviceKind(StrEnum):
    """What is looked for."""

    DISK = "disk"
    INTERFACE = "interface"
    HOST_DEVICE = "host_device"


PAIRS: Mapping[DeviceKind, tuple[frozenset[str], ...]] = {
    DeviceKind.DISK: (frozenset({"serial", "source"}), frozenset({"source", "target"})),
    DeviceKind.INTERFACE: (frozenset({"mac", "address"}),),
    DeviceKind.HOST_DEVICE: (frozenset({"source", "address"}),),
}
"""The facts that suffice together."""

NAMING: Mapping[DeviceKind, frozenset[str]] = {
    DeviceKind.DISK: frozenset({"serial"}),
    DeviceKind.INTERFACE: frozenset(),
    DeviceKind.HOST_DEVICE: frozenset({"source"}),
}
"""The facts that no two devices of a guest should share: one alone is no find, but a doubt."""

PLACE = frozenset({"target", "address"})
"""Where a device is: what bears our alias elsewhere is not ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """A device that is looked for: the alias of its row, and what else is known of it.

    ``former`` is an alias of our form that it had before it got the row's.
    """

    kind: DeviceKind
    alias: str
    facts: Mapping[str, str]
    former: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The device, and whether it was the alias by which it was found."""

    device: GuestDevice
    by_alias: bool


def sought_disk(row: BlockDevice, source: str | None = None) -> Sought:
    """Return what is known of a row's disk; ``source`` is where its content is on this host."""
    known = {
        "serial": row.serial,
        "source": source,
        "target": row.target,
        "address": None if row.address is None else str(row.address),
    }
    facts = {name: fact for name, fact in known.items() if fact}
    return Sought(kind=DeviceKind.DISK, alias=row.alias, facts=facts)


def sought_peripheral(row: Peripheral) -> Sought:
    """Return what is known of a row's interface or host device."""
    facts = {} if row.address is None else {"address": str(row.address)}
    match row.what:
        case Interface() as interface:
            facts["mac"] = interface.mac
            kind = DeviceKind.INTERFACE
        case HostDevice() as device:
            facts["source"] = str(device)
            kind = DeviceKind.HOST_DEVICE
        case _:
            assert_never(row.what)
    return Sought(kind=kind, alias=row.alias, facts=facts, former=row.former)


def find(layout: Layout | None, sought: Sought) -> Found | None:
    """Return the device in a layout; None where it is not.

    Raises DeviceAmbiguous when what bears the alias is in another place, when the facts fit two
    devices, or contradict one another.
    """
    devices = () if layout is None else _of_kind(layout, sought.kind)
    borne = next((device for device in devices if device.alias == sought.alias), None)
    if borne is None:
        return _by_facts(devices, sought)
    if _differing(borne, sought) & PLACE:
        message = f"alias {sought.alias} is borne by {borne}, where {_said(sought)} is reserved"
        raise DeviceAmbiguous(message)
    return Found(device=borne, by_alias=True)


def find_live(guest: Guest, sought: Sought) -> Found | None:
    """Return the device in the running guest; raises DeviceAmbiguous.

    What the persistent layout says of it fills what the row does not know: where its content is.
    """
    kept = find(guest.persistent, sought)
    if kept is None:
        return find(guest.live, sought)
    return find(guest.live, replace(sought, facts={**kept.device.facts, **sought.facts}))


def find_by_alias(layout: Layout | None, alias: str) -> GuestDevice | None:
    """Return what bears the alias, of whatever kind; libvirt gives no alias twice."""
    devices = () if layout is None else layout.devices
    return next((device for device in devices if device.alias == alias), None)


def _of_kind(
    layout: Layout, kind: DeviceKind
) -> Sequence[GuestDisk | GuestInterface | GuestHostDevice]:
    match kind:
        case DeviceKind.DISK:
            return layout.disks
        case DeviceKind.INTERFACE:
            return layout.interfaces
        case DeviceKind.HOST_DEVICE:
            return layout.host_devices
        case _:
            assert_never(kind)


def _by_facts(all_devices: Sequence[GuestDevice], sought: Sought) -> Found | None:
    devices = [device for device in all_devices if _free(device, sought)]
    fitting = [device for device in devices if _fits(device, sought)]
    doubtful = [
        device
        for device in devices
        if device not in fitting and _agreeing(device, sought) & NAMING[sought.kind]
    ]
    if not fitting and not doubtful:
        return None
    if doubtful or len(fitting) > 1 or _differing(fitting[0], sought):
        both = " and ".join(str(device) for device in [*fitting, *doubtful])
        message = f"{_said(sought)} is looked for without an alias, and {both} may be it"
        raise DeviceAmbiguous(message)
    return Found(device=fitting[0], by_alias=False)


def _free(device: GuestDevice, sought: Sought) -> bool:
    """What bears another alias of our form is another row's, a newer one's say, whatever fits."""
    alias = device.alias
    return alias is None or alias == sought.former or not alias.startswith(PREFIX)


def _fits(device: GuestDevice, sought: Sought) -> bool:
    agreeing = _agreeing(device, sought)
    return any(pair <= agreeing for pair in PAIRS[sought.kind])


def _agreeing(device: GuestDevice, sought: Sought) -> set[str]:
    return {name for name, fact in device.facts.items() if sought.facts.get(name) == fact}


def _differing(device: GuestDevice, sought: Sought) -> set[str]:
    return {name for name, fact in device.facts.items() if sought.facts.get(name, fact) != fact}


def _said(sought: Sought) -> str:
    facts = ", ".join(f"{name} {fact}" for name, fact in sorted(sought.facts.items()))
    return f"{sought.kind.replace('_', ' ')} {sought.alias} ({facts})"


def disk_in(layout: Layout | None, row: BlockDevice) -> GuestDisk | None:
    """Return the disk that bears the row's alias; raises DeviceAmbiguous for one elsewhere."""
    borne = [disk for disk in layout.disks if disk.alias == row.alias] if layout else []
    for disk in borne:
        if (disk.target, disk.address) != (row.target, row.address):
            message = (
                f"alias {row.alias} is borne by {disk.target} at {disk.address}, reserved are"
                f" {row.target} at {row.address}"
            )
            raise DeviceAmbiguous(message)
    return borne[0] if borne else None


def unmarked(guest: Guest, row: BlockDevice) -> GuestDisk | None:
    """Return the row's disk of a running guest that has not had a cold start since it was adopted.

    It is where the row says, is what the next start has there, and bears an older alias.
    """
    kept = () if guest.persistent is None else guest.persistent.disks
    sources = {disk.source for disk in kept if disk.alias == row.alias}
    for disk in () if guest.live is None else guest.live.disks:
        placed = (disk.target, disk.address) == (row.target, row.address)
        same = guest.persistent is None or disk.source in sources
        if placed and same and disk.alias != row.alias:
            return disk
    return None


def check_marked(guest: Guest, row: BlockDevice) -> None:
    """Raise DeviceWrongState when the running guest has the disk, and not by the row's alias.

    It would not be found there, and be taken for gone.
    """
    disk = unmarked(guest, row)
    if disk is not None:
        message = (
            f"the running guest has {row.target} as {disk.alias}, and as {row.alias} from its"
            " next cold start on; stop it first"
        )
        raise DeviceWrongState(message)


def check_not_anothers(guest: Guest, row: BlockDevice) -> None:
    """Raise DeviceAmbiguous when a disk in another place bears the row's alias.

    It is not ours, and must not go with ours.
    """
    for layout in guest.layouts:
        disk_in(layout, row)
