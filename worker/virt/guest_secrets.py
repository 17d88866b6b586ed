"""Secrets in libvirt: in its memory only, and read back by nobody but QEMU's driver.

https://libvirt.org/formatsecret.html: ``ephemeral`` ones are never written to disk, the value of a
``private`` one is never given out again.
"""

import base64
import binascii
from typing import assert_never

import libvirt
from lxml import etree

from worker.errors import ConnectFailed
from worker.model.guest_secret import GuestSecret, SecretUse, row_in, usage_of
from worker.model.ids import BlockDeviceId, InstanceId
from worker.ports import GuestSecrets
from worker.virt.libvirtd.connection import LibvirtConnection

_USAGE = {
    SecretUse.ISCSI: (libvirt.VIR_SECRET_USAGE_TYPE_ISCSI, "target"),
    SecretUse.CEPH: (libvirt.VIR_SECRET_USAGE_TYPE_CEPH, "name"),
    SecretUse.VOLUME: (libvirt.VIR_SECRET_USAGE_TYPE_VOLUME, "volume"),
}
"""libvirt's number of each use, and the element in which its text stands."""


class LibvirtGuestSecrets(GuestSecrets):
    """Secrets by their usage text."""

    def __init__(self, connection: LibvirtConnection) -> None:
        self._connection = connection

    def put(self, instance: InstanceId, device: BlockDeviceId, secret: GuestSecret) -> None:
        """Have the row's secret at hand; raises ConnectFailed for a key that is none."""
        value = _bytes(secret)
        usage = usage_of(instance, device)
        with self._connection.use() as connection:
            found = _found(connection, secret.use, usage)
            if found is None:
                found = connection.secretDefineXML(_element(secret.use, usage))
            found.setValue(value)

    def drop(self, instance: InstanceId) -> None:
        """Forget every secret of the instance's rows."""
        with self._connection.use() as connection:
            for secret in connection.listAllSecrets():
                row = row_in(secret.usageID())
                if row is not None and row[0] == instance:
                    _forget(secret)

    def list(self) -> tuple[tuple[InstanceId, BlockDeviceId], ...]:
        """Return whose secrets are at hand, as their usage says."""
        with self._connection.use() as connection:
            found = (row_in(secret.usageID()) for secret in connection.listAllSecrets())
            return tuple(sorted({row for row in found if row is not None}))


def _found(connection: libvirt.virConnect, use: SecretUse, usage: str) -> libvirt.virSecret | None:
    try:
        return connection.secretLookupByUsage(_USAGE[use][0], usage)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_SECRET:
            return None
        raise


def _forget(secret: libvirt.virSecret) -> None:
    try:
        secret.undefine()
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_SECRET:
            raise


def _element(use: SecretUse, usage: str) -> str:
    element = etree.Element("secret", {"ephemeral": "yes", "private": "yes"})
    said = etree.SubElement(element, "usage", {"type": use.value})
    etree.SubElement(said, _USAGE[use][1]).text = usage
    return etree.tostring(element, encoding="unicode")


def _bytes(secret: GuestSecret) -> bytes:
    text = secret.value.reveal()
    match secret.use:
        case SecretUse.CEPH:
            return _decoded(text)
        case SecretUse.ISCSI | SecretUse.VOLUME:
            return text.encode()
        case _:
            assert_never(secret.use)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        # What it complains of may be the key's own letters.
        message = "the key of Ceph is no base64"
        raise ConnectFailed(message) from None
