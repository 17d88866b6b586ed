"""Device names: what the kernel of a guest would call the n-th disk of a bus, and back."""

import re
from collections.abc import Iterable, Iterator
from itertools import count
from string import ascii_lowercase

from worker.errors import BusUnsupported, DeviceNameMalformed, DeviceNameTaken, TooManyDevices
from worker.model.block_device import Bus

PREFIXES = {
    Bus.VIRTIO: "vd",
    Bus.SCSI: "sd",
    Bus.SATA: "sd",
    Bus.USB: "sd",
    Bus.IDE: "hd",
    Bus.FDC: "fd",
}
"""scsi, sata and usb share one prefix, and so one row of letters."""

LIMITS = {Bus.VIRTIO: None, Bus.SCSI: 256, Bus.SATA: 6, Bus.USB: None, Bus.IDE: 4, Bus.FDC: 2}
"""How many disks a bus may have: virtio-scsi units, ports of one AHCI, two IDE channels."""

_OWN_NAMES = {Bus.IDE: 4, Bus.FDC: 2}
"""How many names a bus has that shares its prefix with none, and has no more disks than these."""

_NAME = re.compile(r"(?:/dev/)?(?P<prefix>[vshf]d)(?P<letters>[a-z]{1,3})")


def letters(index: int) -> str:
    """Write a position as a disk's letters: 0 is a, 25 z, 26 aa, 701 zz, 702 aaa."""
    text = ""
    index += 1
    while index > 0:
        index, digit = divmod(index - 1, 26)
        text = ascii_lowercase[digit] + text
    return text


def _index(text: str) -> int:
    """Read a disk's letters back."""
    index = 0
    for letter in text:
        index = index * 26 + ascii_lowercase.index(letter) + 1
    return index - 1


def names(bus: Bus) -> Iterator[str]:
    """Yield the names of a bus in order: vda, vdb and so on."""
    return (PREFIXES[bus] + letters(index) for index in count())


def parse_bus(text: str) -> Bus:
    """Read a bus; raises BusUnsupported."""
    try:
        return Bus(text)
    except ValueError as error:
        known = ", ".join(sorted(Bus))
        message = f"bus {text!r} does not exist; one of {known}"
        raise BusUnsupported(message) from error


def parse_target(name: str, bus: Bus) -> str:
    """Return the bare name asked for; raises DeviceNameMalformed if it is none of this bus."""
    match = _NAME.fullmatch(name)
    if match is None:
        message = f"device name {name!r} is malformed; one like /dev/{PREFIXES[bus]}b is meant"
        raise DeviceNameMalformed(message)
    if match["prefix"] != PREFIXES[bus]:
        message = f"device name {name!r} does not fit bus {bus}, whose names begin {PREFIXES[bus]}"
        raise DeviceNameMalformed(message)
    return match["prefix"] + match["letters"]


def choose_target(bus: Bus, wanted: str | None, taken: Iterable[str]) -> str:
    """Return the wanted name, or else the first free one of the bus.

    ``wanted`` and ``taken`` may have ``/dev/`` in front. Raises DeviceNameMalformed,
    DeviceNameTaken.
    """
    occupied = {name.removeprefix("/dev/") for name in taken}
    if wanted is None:
        return next(name for name in names(bus) if name not in occupied)
    target = parse_target(wanted, bus)
    if target in occupied:
        message = f"device name /dev/{target} is taken on this instance"
        raise DeviceNameTaken(message)
    return target


def last_target(bus: Bus, taken: Iterable[str]) -> str:
    """Return the name behind every one that is taken with the prefix of the bus.

    Where the bus has no such name, the first that is free. ``taken`` may have ``/dev/`` in front.
    """
    occupied = list(taken)
    found = (_NAME.fullmatch(name) for name in occupied)
    used = (each["letters"] for each in found if each and each["prefix"] == PREFIXES[bus])
    index = max(map(_index, used), default=-1) + 1
    if index >= _OWN_NAMES.get(bus, index + 1):
        return choose_target(bus, None, occupied)
    return PREFIXES[bus] + letters(index)


def check_limits(bus: Bus, buses_in_use: Iterable[str], max_disk_devices: int) -> None:
    """Raise TooManyDevices if one disk more on the bus were too many; -1 is no limit."""
    used = list(buses_in_use)
    limit = LIMITS[bus]
    if limit is not None and used.count(bus) >= limit:
        message = f"bus {bus} has {limit} disks, the most it may have"
        raise TooManyDevices(message)
    if 0 <= max_disk_devices <= len(used):
        message = f"the instance has {len(used)} disks, max_disk_devices is {max_disk_devices}"
        raise TooManyDevices(message)
