"""Secrets that QEMU needs to open a disk: a login at the storage, a passphrase of its content.

libvirt has them for as long as it takes to hand them to QEMU, and finds each by a text that names
the row: no layout has more of a secret than that.
"""

from dataclasses import dataclass
from enum import StrEnum

from worker.model.ids import BlockDeviceId, InstanceId
from worker.model.secret import Secret

_OURS = "blockworker"


class SecretUse(StrEnum):
    """What a secret opens: libvirt's ``<usage type>`` (formatsecret.html)."""

    ISCSI = "iscsi"
    CEPH = "ceph"
    VOLUME = "volume"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestSecret:
    """A secret and its use. A key of Ceph is the text that a keyring has, base64."""

    use: SecretUse
    value: Secret


def usage_of(instance: InstanceId, device: BlockDeviceId) -> str:
    """Return the text by which the secrets of an instance's row are found."""
    return f"{_OURS}/{instance}/{device}"


def row_in(usage: str) -> tuple[InstanceId, BlockDeviceId] | None:
    """Return the instance and the row that the text names; None for a text of another form."""
    match usage.split("/"):
        case [owner, instance, device] if owner == _OURS:
            return InstanceId(instance), BlockDeviceId(device)
        case _:
            return None
