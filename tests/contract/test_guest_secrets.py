"""Secrets at the hypervisor's hand: the same promises of the fake and of libvirt's."""

from collections.abc import Iterator

import libvirt as library
import pytest

from tests.fakes.hypervisor import FakeGuestSecrets
from tests.fakes.world import World
from worker.errors import ConnectFailed, MachineUnsupported
from worker.model.guest_secret import GuestSecret, SecretUse, usage_of
from worker.model.ids import BlockDeviceId, InstanceId, new_uuid
from worker.model.secret import Secret
from worker.ports import GuestSecrets
from worker.virt.guest_secrets import LibvirtGuestSecrets
from worker.virt.libvirtd.connection import LibvirtConnection
from worker.virt.xml.capabilities import check_accepted

PASSWORD = "sesame-open-7391"
CHAP = GuestSecret(use=SecretUse.ISCSI, value=Secret(PASSWORD))
LUKS = GuestSecret(use=SecretUse.VOLUME, value=Secret(PASSWORD))
CEPH = GuestSecret(use=SecretUse.CEPH, value=Secret("AQBvaBZn8fG0NhAAyU8d2l0YHqTkVx9Wq1mP5A=="))


@pytest.fixture
def connection(libvirtd: str) -> Iterator[LibvirtConnection]:
    opened = LibvirtConnection(libvirtd)
    yield opened
    opened.close()


@pytest.fixture(params=["fake", "libvirt"])
def secrets(request: pytest.FixtureRequest) -> GuestSecrets:
    if request.param == "fake":
        return FakeGuestSecrets(World())
    return LibvirtGuestSecrets(request.getfixturevalue("connection"))


@pytest.fixture
def instance(secrets: GuestSecrets) -> Iterator[InstanceId]:
    mine = InstanceId(new_uuid())
    yield mine
    secrets.drop(mine)


@pytest.fixture
def row() -> BlockDeviceId:
    return BlockDeviceId(new_uuid())


def of(instance: InstanceId, secrets: GuestSecrets) -> list[BlockDeviceId]:
    return [row for owner, row in secrets.list() if owner == instance]


def test_what_was_put_is_at_hand_until_it_is_dropped(
    secrets: GuestSecrets, instance: InstanceId, row: BlockDeviceId
) -> None:
    for secret in (CHAP, LUKS, CEPH, CHAP):
        secrets.put(instance, row, secret)
    assert of(instance, secrets) == [row]
    secrets.drop(instance)
    assert of(instance, secrets) == []
    secrets.drop(instance)


def test_another_instances_secrets_stay(
    secrets: GuestSecrets, instance: InstanceId, row: BlockDeviceId
) -> None:
    other = InstanceId(new_uuid())
    secrets.put(instance, row, CHAP)
    secrets.drop(other)
    assert of(instance, secrets) == [row]


def test_a_secret_is_in_memory_only_and_given_out_to_nobody(
    connection: LibvirtConnection, row: BlockDeviceId
) -> None:
    secrets, instance = LibvirtGuestSecrets(connection), InstanceId(new_uuid())
    secrets.put(instance, row, CHAP)
    with connection.use() as opened:
        found = opened.secretLookupByUsage(
            library.VIR_SECRET_USAGE_TYPE_ISCSI, usage_of(instance, row)
        )
        assert "ephemeral='yes' private='yes'" in found.XMLDesc()
        with pytest.raises(library.libvirtError, match="private"):
            found.value()
    secrets.drop(instance)


def test_secrets_of_other_hands_are_left_alone(
    connection: LibvirtConnection, row: BlockDeviceId
) -> None:
    text = "<secret ephemeral='yes'><usage type='ceph'><name>theirs</name></usage></secret>"
    secrets, instance = LibvirtGuestSecrets(connection), InstanceId(new_uuid())
    with connection.use() as opened:
        theirs = opened.secretDefineXML(text)
        secrets.put(instance, row, CEPH)
        secrets.drop(instance)
        assert theirs.UUIDString() in opened.listSecrets()
        theirs.undefine()
    assert of(instance, secrets) == []


def test_a_key_of_ceph_that_is_none_is_refused_and_not_shown(
    connection: LibvirtConnection, row: BlockDeviceId
) -> None:
    secrets = LibvirtGuestSecrets(connection)
    wrong = GuestSecret(use=SecretUse.CEPH, value=Secret("sesame open!"))
    with pytest.raises(ConnectFailed, match="no base64") as refused:
        secrets.put(InstanceId(new_uuid()), row, wrong)
    assert "sesame" not in str(refused.value)
    assert refused.value.__cause__ is None


OPENED = """<domain type='qemu'><name>opened</name><memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os><devices>
  <disk type='network' device='disk'><driver name='qemu' type='raw'/>
    <source protocol='iscsi' name='iqn.2026-11.org.example:a/1'><host name='192.0.2.7' port='3260'/>
      <auth username='them'><secret type='iscsi' usage='blockworker/a/b'/></auth>
      <encryption format='luks'><secret type='passphrase' usage='blockworker/a/b'/></encryption>
    </source><target dev='vda' bus='virtio'/></disk></devices></domain>"""


def test_whether_a_domain_is_accepted_is_asked_without_its_secrets(
    connection: LibvirtConnection,
) -> None:
    with connection.use() as opened:
        check_accepted(opened, OPENED)
        with pytest.raises(MachineUnsupported):
            check_accepted(opened, OPENED.replace("'virtio'", "'carrier'"))
