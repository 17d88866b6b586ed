"""The look-up: which device of a guest is a row's. Whatever looks for a device, looks here.

By alias; where no device bears it (a guest from before it was given, or one whose running part
knows libvirt's own aliases only), by two facts that agree. Never by a device name alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from worker.errors import DeviceAmbiguous
from worker.model.guest import Guest, GuestDevice, GuestDisk, Layout
from worker.model.identity.alias import is_ours


class DeviceKind(StrEnum):
    """What is looked for."""

    DISK = "disk"
    INTERFACE = "interface"
    HOST_DEVICE = "host_device"


SHARED = frozenset({"mac"})
"""Those that two devices share all the same: no doubt where one of them fits."""

PLACE = frozenset({"target", "address"})
"""Where a device is: what bears our alias elsewhere is not ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """A device that is looked for: the alias of its row, and what else is known of it.

    ``former`` is an alias of our form that it had before it got the row's. ``others`` are the
    addresses where other rows have a device of its name: what is there is theirs.
    """

    kind: DeviceKind
    alias: str
    facts: Mapping[str, str]
    former: str | None = None
    others: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The device, and whether it was the alias by which it was found."""

    device: GuestDevice
    by_alias: bool


class Why(StrEnum):
    """What a doubt is about.

    Elsewhere is what bears the alias, and is not ours; of a device in the place too few facts are
    known, for nobody has said a source; facts fit two devices, or contradict one another.
    """

    ELSEWHERE = "elsewhere"
    FEW = "few"
    FACTS = "facts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """That it cannot be told which device is meant; ``devices`` are those that may be it."""

    why: Why
    devices: tuple[GuestDevice, ...]
    said: str


def find(layout: Layout | None, sought: Sought) -> Found | None:
    """Return the device in a layout; None where it is not.

    Raises DeviceAmbiguous when what bears the alias is in another place, when the facts fit two
    devices, contradict one another, or are too few.
    """
    return _certain(look_up(layout, sought))


def find_live(guest: Guest, sought: Sought) -> Found | None:
    """Return the device in the running guest; raises DeviceAmbiguous."""
    return _certain(look_up_live(guest, sought))


def look_up(layout: Layout | None, sought: Sought) -> Found | Doubt | None:
    """Return what ``find`` does, and a doubt for what it raises."""
    devices = () if layout is None else _of_kind(layout, sought.kind)
    borne = next((device for device in devices if device.alias == sought.alias), None)
    if borne is None:
        return _by_facts(devices, sought)
    if _differing(borne, sought) & PLACE:
        said = f"alias {sought.alias} is borne by {borne}, where {_said(sought)} is reserved"
        return Doubt(why=Why.ELSEWHERE, devices=(borne,), said=said)
    return Found(device=borne, by_alias=True)


def look_up_live(guest: Guest, sought: Sought) -> Found | Doubt | None:
    """Return what ``find_live`` does, and a doubt for what it raises.

    The persistent layout fills what the row does not know: where its content is. Where both know
    it the row's word goes first, and what only the layout's fits is a doubt.
    """
    kept = look_up(guest.persistent, sought)
    if not isinstance(kept, Found) or find_by_alias(guest.live, sought.alias) is not None:
        return look_up(guest.live, sought)
    known = kept.device.facts
    found = look_up(guest.live, replace(sought, facts={**known, **sought.facts}))
    otherwise = look_up(guest.live, replace(sought, facts={**sought.facts, **known}))
    if found is None and isinstance(otherwise, Found):
        said = f"{otherwise.device} is what the next start has as {_said(sought)}"
        return Doubt(why=Why.FACTS, devices=(otherwise.device,), said=said)
    return found


def may_have(layout: Layout | None, sought: Sought) -> bool:
    """Tell whether a device could be the one, were more known of it than its alias."""
    devices = () if layout is None else _of_kind(layout, sought.kind)
    return any(_free(device, sought) and _agreeing(device, sought) for device in devices)


def find_by_alias(layout: Layout | None, alias: str) -> GuestDevice | None:
    """Return what bears the alias, of whatever kind; libvirt gives no alias twice."""
    devices = () if layout is None else layout.devices
    return next((device for device in devices if device.alias == alias), None)


def disk_by_alias(layout: Layout | None, alias: str) -> GuestDisk | None:
    """Return the disk that bears the alias."""
    disks = () if layout is None else layout.disks
    return next((disk for disk in disks if disk.alias == alias), None)


def _certain(found: Found | Doubt | None) -> Found | None:
    if isinstance(found, Doubt):
        raise DeviceAmbiguous(found.said)
    return found


def _of_kind(layout: Layout, kind: DeviceKind) -> Sequence[GuestDevice]:
    match kind:
        case DeviceKind.DISK:
            return layout.disks
        case DeviceKind.INTERFACE:
            return layout.interfaces
        case DeviceKind.HOST_DEVICE:
            return layout.host_devices
        case _:
            assert_never(kind)


def _pairs(kind: DeviceKind) -> tuple[frozenset[str], ...]:
    """Return the facts that suffice together."""
    match kind:
        case DeviceKind.DISK:
            return (frozenset({"serial", "source"}), frozenset({"source", "target"}))
        case DeviceKind.INTERFACE:
            return (frozenset({"mac", "address"}),)
        case DeviceKind.HOST_DEVICE:
            return (frozenset({"source", "address"}),)
        case _:
            assert_never(kind)


def _naming(kind: DeviceKind) -> frozenset[str]:
    """Return the facts that no two devices of a guest should share: one alone is a doubt."""
    match kind:
        case DeviceKind.DISK:
            return frozenset({"serial"})
        case DeviceKind.INTERFACE:
            return frozenset({"mac"})
        case DeviceKind.HOST_DEVICE:
            return frozenset({"source"})
        case _:
            assert_never(kind)


def _by_facts(all_devices: Sequence[GuestDevice], sought: Sought) -> Found | Doubt | None:
    devices = [device for device in all_devices if _free(device, sought)]
    fitting = [device for device in devices if _fits(device, sought)]
    telling = _naming(sought.kind) - (SHARED if fitting else frozenset())
    rest = (device for device in devices if device not in fitting)
    doubtful = [device for device in rest if _may_be(device, sought, telling)]
    if not fitting and not doubtful:
        return None
    if len(fitting) == 1 and not doubtful and not _differing(fitting[0], sought):
        return Found(device=fitting[0], by_alias=False)
    both = (*fitting, *doubtful)
    names = " and ".join(map(str, both))
    said = f"{_said(sought)} is looked for without an alias, and {names} may be it"
    return Doubt(why=_why(both, sought), devices=both, said=said)


def _may_be(device: GuestDevice, sought: Sought, telling: frozenset[str]) -> bool:
    """A name that no two devices share is one doubt; another is the place, where all agrees."""
    if device.facts.get("address") in sought.others:
        return False
    agreeing = _agreeing(device, sought)
    in_place = "target" in agreeing and not _differing(device, sought)
    return bool(agreeing & telling) or in_place


def _why(doubtful: Sequence[GuestDevice], sought: Sought) -> Why:
    """Without a source, which is of each pair, nothing fits."""
    alone = len(doubtful) == 1 and not _differing(doubtful[0], sought)
    return Why.FEW if alone and "source" not in sought.facts else Why.FACTS


def _free(device: GuestDevice, sought: Sought) -> bool:
    """What bears another alias of our form is another row's, a newer one's say, whatever fits."""
    return device.alias == sought.former or not is_ours(device.alias)


def _fits(device: GuestDevice, sought: Sought) -> bool:
    agreeing = _agreeing(device, sought)
    return any(pair <= agreeing for pair in _pairs(sought.kind))


def _agreeing(device: GuestDevice, sought: Sought) -> set[str]:
    return {name for name, fact in device.facts.items() if sought.facts.get(name) == fact}


def _differing(device: GuestDevice, sought: Sought) -> set[str]:
    return {name for name, fact in device.facts.items() if sought.facts.get(name, fact) != fact}


def _said(sought: Sought) -> str:
    facts = ", ".join(f"{name} {fact}" for name, fact in sorted(sought.facts.items()))
    return f"{sought.kind.replace('_', ' ')} {sought.alias} ({facts})"
