"""Host devices that are there: given to a guest, seen in it, taken back."""

from collections.abc import Iterator
from pathlib import Path

import libvirt_qemu
import pytest

from tests.contract.daemons import Ear
from tests.fakes.peripherals import shown_peripheral
from tests.guests import GuestMaker, guest_maker
from worker.cmd.demo.guest_image import GuestImage
from worker.errors import HypervisorRefused
from worker.model.guest import DeviceRemoved
from worker.model.host_device import HostDevice, parse_host_device
from worker.model.ids import InstanceId, PeripheralId, new_uuid
from worker.model.peripheral import Peripheral
from worker.model.places.placement import place_peripheral
from worker.virt.guests import LibvirtGuests
from worker.virt.libvirtd.connection import LibvirtConnection
from worker.virt.peripherals import LibvirtGuestPeripherals

KEYBOARD = "0627:0001"
CARD = parse_host_device("pci:0000:00:10.0")
USB = Path("/sys/bus/usb/devices")


class Host:
    """This machine, with a guest that runs on it."""

    def __init__(self, make: GuestMaker, connection: LibvirtConnection) -> None:
        self.connection = connection
        self.guests = LibvirtGuests(connection)
        self.peripherals = LibvirtGuestPeripherals(
            connection, detach_retry_interval=60, detach_attempts=3
        )
        self.ear = Ear()
        connection.subscribe(self.ear.events.put)
        self.guest = make(ports=6, usb=True, booted=False)
        self.instance = InstanceId(self.guest.uuid)
        self.guest.domain.create()

    def wanted(self, device: HostDevice) -> Peripheral:
        uuid = PeripheralId(new_uuid())
        return Peripheral(
            uuid=uuid,
            instance=self.instance,
            what=device,
            alias=f"ua-{uuid}",
            address=place_peripheral(self.guests.describe(self.instance), [], [], device),
        )

    def shown(self) -> list[tuple[object, ...]]:
        return [layout.host_devices for layout in self.guests.describe(self.instance).layouts]

    def inside(self) -> str:
        """What QEMU says of the USB devices that it has."""
        return str(libvirt_qemu.qemuMonitorCommand(self.guest.domain, "info usb", 1))

    def check(self, wanted: Peripheral) -> None:
        """Fail unless it comes, stays when it is asked for again, and goes by its alias."""
        shown = (shown_peripheral(wanted),)
        self.peripherals.attach(self.instance, wanted)
        self.peripherals.attach(self.instance, wanted)
        assert self.shown() == [shown, shown]
        self.peripherals.unplug(self.instance, wanted.alias)
        self.ear.until(DeviceRemoved(instance=self.instance, alias=wanted.alias))
        assert self.shown() == [(), shown]
        self.peripherals.forget(self.instance, wanted.alias)
        assert self.shown() == [(), ()]


@pytest.fixture(scope="module")
def host(
    libvirtd: str, guest_image: GuestImage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Host]:
    connection = LibvirtConnection(libvirtd, patience=60)
    with guest_maker(libvirtd, guest_image, tmp_path_factory.mktemp("guests")) as make:
        yield Host(make, connection)
    connection.close()


def keyboard() -> Path:
    """The keyboard as the kernel has it."""
    vendors = {path: (path / "idVendor", path / "idProduct") for path in USB.glob("*-*")}
    ids = {
        path: ":".join(file.read_text().strip() for file in files)
        for path, files in vendors.items()
        if all(file.exists() for file in files)
    }
    return next(path for path, found in ids.items() if found == KEYBOARD)


def names() -> dict[str, HostDevice]:
    path = keyboard()
    place = ".".join((path / file).read_text().strip() for file in ("busnum", "devnum"))
    return {name: parse_host_device(f"usb:{name}") for name in (KEYBOARD, place)}


def test_a_usb_device_comes_and_goes_by_its_alias_however_it_is_named(host: Host) -> None:
    assert len(names()) == 2
    for device in names().values():
        wanted = host.wanted(device)
        host.peripherals.attach(host.instance, wanted)
        assert f"ID: {wanted.alias}" in host.inside()
        host.check(wanted)
        assert wanted.alias not in host.inside()


def test_a_usb_device_that_is_not_there_is_refused_and_nothing_changes(host: Host) -> None:
    for name in ("dead:beef", "1.99"):
        with pytest.raises(HypervisorRefused):
            host.peripherals.attach(host.instance, host.wanted(parse_host_device(f"usb:{name}")))
    assert host.shown() == [(), ()]


def test_a_pci_device_is_taken_from_its_driver_and_goes_by_its_alias(host: Host) -> None:
    device = Path("/sys/bus/pci/devices", CARD.name)
    wanted = host.wanted(CARD)
    host.peripherals.attach(host.instance, wanted)
    assert (device / "driver").resolve().name == "vfio-pci"
    # It lets go of a PCI device only once its system is up.
    host.guest.console.wait_for(lambda _disks: True, 600)
    host.check(wanted)
    assert not (device / "driver").exists()
