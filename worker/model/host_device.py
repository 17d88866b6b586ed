"""A device of the host that a guest is given: how it is named, here and in our rows."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from worker.errors import RequestMalformed


class HostDeviceKind(StrEnum):
    """What it is on the host (libvirt's ``<hostdev type>``; ``mdev`` is a mediated device)."""

    PCI = "pci"
    USB = "usb"
    MEDIATED = "mdev"


_FORMS: Mapping[HostDeviceKind, re.Pattern[str]] = {
    HostDeviceKind.PCI: re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]"),
    HostDeviceKind.USB: re.compile(r"[0-9a-f]{4}:[0-9a-f]{4}|[1-9][0-9]*\.[1-9][0-9]*"),
    HostDeviceKind.MEDIATED: re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
}
_EXAMPLES = "pci:0000:03:00.0, usb:046d:c52b (vendor and product), usb:1.4 (bus and device)"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostDevice:
    """A device of the host.

    ``name`` is a PCI address (``0000:03:00.0``, ``10000:e1:00.0``), vendor and product of a USB
    device (``046d:c52b``) or its bus and number (``1.4``), the uuid of a mediated device.
    """

    kind: HostDeviceKind
    name: str

    def __str__(self) -> str:
        """Write kind and name, as rows keep it and requests name it."""
        return f"{self.kind}:{self.name}"


def parse_host_device(text: str) -> HostDevice:
    """Read the text form back; raises RequestMalformed for anything else."""
    kind, _, name = text.partition(":")
    form = _FORMS.get(HostDeviceKind(kind)) if kind in set(HostDeviceKind) else None
    if form is None or form.fullmatch(name) is None:
        message = f"{text!r} names no host device; write {_EXAMPLES} or mdev:<uuid>"
        raise RequestMalformed(message)
    name = _shortest(name) if kind == HostDeviceKind.PCI else name
    return HostDevice(kind=HostDeviceKind(kind), name=name)


def _shortest(name: str) -> str:
    """A PCI domain has four digits, and more only where it needs them: one device has one name."""
    domain, _, rest = name.partition(":")
    return f"{int(domain, 16):04x}:{rest}"
