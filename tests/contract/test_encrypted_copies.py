"""Encrypted disks copied by QEMU, which opens both sides, on a real one."""

from dataclasses import replace
from pathlib import Path

from tests.contract.hypervisors import LibvirtLab
from tests.contract.test_block_copies import SIZE, copies_of
from tests.guests import GuestMaker
from tests.luks import encrypt
from worker.model.block_device import Bus, DeviceType
from worker.model.disk import Disk
from worker.model.guest_secret import GuestSecret, SecretUse, usage_of
from worker.model.ids import BlockDeviceId, InstanceId, new_uuid
from worker.model.places.address import first_free
from worker.model.secret import Secret
from worker.model.source import DiskOptions, FileSource
from worker.virt.guest_secrets import LibvirtGuestSecrets
from worker.virt.libvirtd.connection import LibvirtConnection


def encrypted(path: Path, passphrase: str) -> FileSource:
    encrypt(path, passphrase, SIZE)
    return FileSource(path=str(path))


def give(
    secrets: LibvirtGuestSecrets, instance: InstanceId, row: BlockDeviceId, passphrase: str
) -> None:
    secrets.put(instance, row, GuestSecret(use=SecretUse.VOLUME, value=Secret(passphrase)))


def test_a_guest_goes_over_to_another_encrypted_volume_with_a_key_of_its_own(
    libvirtd: str, make_guest: GuestMaker, tmp_path: Path
) -> None:
    connection = LibvirtConnection(libvirtd)
    lab = LibvirtLab(make_guest, connection)
    instance, _ = lab.running()
    row, volume = BlockDeviceId(new_uuid()), new_uuid()
    layout = lab.guests.describe(instance).layouts[0]
    disk = Disk(
        alias=f"ua-{volume}",
        target="vdb",
        bus=Bus.VIRTIO,
        device_type=DeviceType.DISK,
        serial=volume,
        address=first_free(layout.places[Bus.VIRTIO], layout.taken),
        source=encrypted(tmp_path / "old", "first"),
        options=DiskOptions(),
        secret_usage=usage_of(instance, row),
        encrypted=True,
    )
    new = replace(disk, source=encrypted(tmp_path / "new", "second"))
    secrets, copies = LibvirtGuestSecrets(connection), copies_of(lab)
    give(secrets, instance, row, "first")
    lab.disks.attach(instance, disk)
    secrets.drop(instance)
    give(secrets, instance, row, "second")
    size = Path(new.source.name).stat().st_size
    copies.begin(instance, new, size)
    while not copies.look(instance, disk.alias).ready:
        assert copies.look(instance, disk.alias).target is not None
    copies.pivot(instance, disk.alias, new.source.name)
    copies.settle(instance, new, size)
    lab.disks.attach(instance, new)
    secrets.drop(instance)
    assert copies.look(instance, disk.alias).source == new.source.name
    lab.stop(instance)
    give(secrets, instance, row, "second")
    lab.start(instance)
    lab.wait_until_seen(instance, disk)
    secrets.drop(instance)
    connection.close()
