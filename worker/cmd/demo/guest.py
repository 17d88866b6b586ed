"""The small guest: the domain it runs in, and what it says on its console."""

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lxml import etree

from worker.cmd.demo.guest_image import GuestImage

_MARK = b"BLOCKWORKER-SEES "
# Far more than the longest report, so that a whole one is always in it.
_TAIL = 64 * 1024
_POLL = 0.02
_MEMORY_MIB = 160
# The second half saves a fifth of the boot under emulation: no self-tests, no second kernel copy,
# no search for ports and timers that are known.
KERNEL_ARGUMENTS = (
    "console=ttyS0 quiet loglevel=0 panic=1 "
    "cryptomgr.notests nokaslr 8250.nr_uarts=1 tsc=reliable no_timer_check"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestReport:
    """A disk as the guest sees it.

    The size is in bytes. The serial is empty where the guest sees none; of a virtio disk's it sees
    the first 20 characters. Vendor and model are what the device says of itself. The path is the
    one of sysfs: each bus from the root's to the disk's, and the address on it.
    """

    device: str
    size: int
    serial: str
    vendor: str = ""
    model: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleReport:
    """All that the guest sees at one moment, ``uptime`` seconds after it booted.

    Disks and interfaces by the guest's names for them; of an interface it tells the MAC. The
    command line is its kernel's, and so tells what it was booted from.
    """

    sequence: int
    uptime: float
    disks: Mapping[str, GuestReport]
    interfaces: Mapping[str, str]
    command_line: str = ""


class GuestSilent(Exception):
    """The guest did not report in time what was waited for; the message has its last words."""


class GuestConsole:
    """What a guest says it sees, read from the file that its serial console is written to.

    The guest reports within 0.3 s of a change, and each second in any case.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def last(self) -> ConsoleReport | None:
        """The newest report; none if the guest is not up yet."""
        if not self._path.exists():
            return None
        for line in reversed(self._tail().split(b"\n")[:-1]):
            report = _parse(line)
            if report is not None:
                return report
        return None

    def disks(self) -> dict[str, GuestReport]:
        """The disks of the newest report, by device name; none if the guest is not up yet."""
        report = self.last()
        return dict(report.disks) if report is not None else {}

    def wait_for(
        self, predicate: Callable[[Mapping[str, GuestReport]], bool], timeout: float
    ) -> dict[str, GuestReport]:
        """The disks as soon as they satisfy ``predicate``; the newest report counts at once.

        Raises ``GuestSilent`` after ``timeout`` seconds.
        """
        return dict(self.wait_for_report(lambda report: predicate(report.disks), timeout).disks)

    def wait_for_interfaces(
        self, predicate: Callable[[Mapping[str, str]], bool], timeout: float
    ) -> dict[str, str]:
        """The MACs of the interfaces, by name, as ``wait_for`` does with disks."""
        return dict(
            self.wait_for_report(lambda report: predicate(report.interfaces), timeout).interfaces
        )

    def fresh(self, timeout: float) -> dict[str, GuestReport]:
        """The disks by a report that is newer than this call: proof that the guest is alive."""
        before = self.last()
        return dict(self.wait_for_report(lambda report: report != before, timeout).disks)

    def wait_for_report(
        self, accept: Callable[[ConsoleReport], bool], timeout: float
    ) -> ConsoleReport:
        """The newest report as soon as it is acceptable, as ``wait_for`` does with its disks."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            report = self.last()
            if report is not None and accept(report):
                return report
            time.sleep(_POLL)
        raise GuestSilent(f"not told within {timeout} s; {self._last_words()}")

    def _last_words(self) -> str:
        if not self._path.exists():
            return f"{self._path} does not exist"
        return f"last in {self._path}: {self._tail()[-500:].decode(errors='replace')!r}"

    def _tail(self) -> bytes:
        with self._path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            return file.read()


def _parse(line: bytes) -> ConsoleReport | None:
    # The kernel may have written into the middle of a line: such a line is no report.
    _, mark, text = line.partition(_MARK)
    if not mark:
        return None
    try:
        told = json.loads(text)
        disks = {
            name: GuestReport(
                device=name,
                size=disk["size"],
                serial=disk["serial"],
                vendor=disk.get("vendor", ""),
                model=disk.get("model", ""),
                path=disk.get("path", ""),
            )
            for name, disk in told["disks"].items()
        }
        interfaces = {name: str(mac) for name, mac in told["interfaces"].items()}
        return ConsoleReport(
            sequence=told["sequence"],
            uptime=told["uptime"],
            disks=disks,
            interfaces=interfaces,
            command_line=told.get("command_line", ""),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def domain_xml(  # noqa: PLR0913 - the knobs of a guest, each with its default
    name: str,
    uuid: str,
    image: GuestImage,
    console_log: Path,
    *,
    domain_type: Literal["kvm", "qemu"] = "qemu",
    machine: str = "q35",
    ports: int = 10,
    scsi: bool = True,
    usb: bool = False,
    extra_disks: Iterable[str] = (),
) -> str:
    """The domain of a small guest that boots ``image`` and talks into ``console_log``.

    It has ``ports`` PCIe ports (q35 only), one of which the scsi controller takes. ``extra_disks``
    are ``<disk>`` elements as text. An ACPI shutdown powers it off.
    """
    domain = etree.Element("domain", type=domain_type)
    _text(domain, "name", name)
    _text(domain, "uuid", uuid)
    _text(domain, "memory", str(_MEMORY_MIB), unit="MiB")
    _text(domain, "vcpu", "1")
    _boot(domain, image, machine)
    _text(domain, "on_poweroff", "destroy")
    _text(domain, "on_reboot", "restart")
    _text(domain, "on_crash", "destroy")
    devices = etree.SubElement(domain, "devices")
    _controllers(devices, machine, ports, scsi=scsi, usb=usb)
    _console(devices, console_log)
    devices.extend(etree.fromstring(disk) for disk in extra_disks)
    return etree.tostring(domain, pretty_print=True, encoding="unicode")


def _text(parent: etree._Element, tag: str, text: str, **attributes: str) -> None:
    etree.SubElement(parent, tag, attributes).text = text


def _boot(domain: etree._Element, image: GuestImage, machine: str) -> None:
    boot = etree.SubElement(domain, "os")
    _text(boot, "type", "hvm", arch="x86_64", machine=machine)
    _text(boot, "kernel", str(image.kernel))
    _text(boot, "initrd", str(image.initrd))
    _text(boot, "cmdline", KERNEL_ARGUMENTS)
    # Without ACPI the guest would hear neither of a new disk nor of the power button.
    etree.SubElement(etree.SubElement(domain, "features"), "acpi")
    etree.SubElement(domain, "cpu", mode="maximum")


def _controllers(
    devices: etree._Element, machine: str, ports: int, *, scsi: bool, usb: bool
) -> None:
    if machine.startswith(("q35", "pc-q35")):
        # libvirt takes a first root port for index 0 unless the root itself is named.
        etree.SubElement(devices, "controller", type="pci", index="0", model="pcie-root")
        for index in range(1, ports + 1):
            port = {"type": "pci", "index": str(index), "model": "pcie-root-port"}
            etree.SubElement(devices, "controller", port)
    # Said in any case: libvirt adds a controller, and takes a port for it, where nothing is said.
    model = "qemu-xhci" if usb else "none"
    etree.SubElement(devices, "controller", type="usb", index="0", model=model)
    if scsi:
        etree.SubElement(devices, "controller", type="scsi", index="0", model="virtio-scsi")


def _console(devices: etree._Element, console_log: Path) -> None:
    serial = etree.SubElement(devices, "serial", type="file")
    etree.SubElement(serial, "source", path=str(console_log))
    etree.SubElement(serial, "target", port="0")
    etree.SubElement(devices, "memballoon", model="none")
