"""A volume from its targets, by two paths and a password, to a guest that says what it sees."""

from pathlib import Path

from tests.guests import GuestMaker
from tests.system.inside.storage.daemons import host_daemons, left, wait_for
from tests.system.inside.storage.targets import SIZE, by_both, new_file, tgtd
from worker.model.block_device import Bus, DeviceType
from worker.model.disk import Disk
from worker.model.ids import InstanceId, new_uuid
from worker.model.places.address import first_free
from worker.virt.disks import LibvirtGuestDisks
from worker.virt.guests import LibvirtGuests
from worker.virt.libvirtd.connection import LibvirtConnection
from worker.volume.brick import BrickConnector
from worker.volume.brick_setup import BrickOptions

BOOT = 900
"""Seconds that an emulated guest of an emulated machine may take."""


def test_a_guest_sees_the_volume_by_its_serial_and_nothing_is_left(
    libvirtd: str, make_guest: GuestMaker, tmp_path: Path
) -> None:
    volume_id = new_uuid()
    options = BrickOptions(lock_path=str(tmp_path), multipath=True, enforce_multipath=True)
    connector = BrickConnector(host="host-1", my_ip="127.0.0.1", options=options)
    guest = make_guest(ports=6, booted=False)
    guest.domain.create()
    libvirt = LibvirtConnection(libvirtd, patience=60)
    disks = LibvirtGuestDisks(libvirt, detach_retry_interval=60, detach_attempts=5)
    instance = InstanceId(guest.uuid)
    with host_daemons(), tgtd() as tgt:
        backing = new_file(tmp_path, volume_id)
        connection = by_both(tgt.add(volume_id, backing, password="sesame-open-7391"))
        volume = connector.connect(connection)
        assert connector.examine(volume).size == SIZE
        guest.console.wait_for(lambda _disks: True, BOOT)

        layout = LibvirtGuests(libvirt).describe(instance).layouts[0]
        disk = Disk(
            alias=f"ua-{volume_id}",
            target="vda",
            bus=Bus.VIRTIO,
            device_type=DeviceType.DISK,
            serial=volume_id,
            address=first_free(layout.places[Bus.VIRTIO], layout.taken),
            source=volume.source,
            options=volume.options,
        )
        disks.attach(instance, disk)
        seen = guest.console.wait_for(lambda found: "vda" in found, BOOT)["vda"]
        assert (seen.serial, seen.size) == (volume_id[:20], SIZE)

        disks.unplug(instance, disk.alias)
        disks.forget(instance, disk.alias)
        wait_for(lambda: "vda" not in guest.console.wait_for(lambda _: True, BOOT), "it stays")
        connector.disconnect(connection.without_secrets())
        assert left() == {}
    libvirt.close()
