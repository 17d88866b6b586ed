"""How many bytes a guest sees of a volume: of an encrypted one less than there are."""

from dataclasses import replace

from worker.model.block_device import BlockDevice
from worker.model.connection import Connection
from worker.model.guest_secret import GuestSecret, SecretUse
from worker.model.secret import Secret
from worker.ports import Ports

_UNSAID = GuestSecret(use=SecretUse.VOLUME, value=Secret(""))
"""A header tells without its key how much lies behind it; a lost key must not stop what has one."""


def guest_size(device: BlockDevice, connection: Connection, size: int, ports: Ports) -> int:
    """Return how many of ``size`` bytes, which the host sees, the guest gets to see.

    The volume is connected; its connection has the secrets that the storage asks for.
    """
    if not device.encrypted:
        return size
    volume = ports.connector.connect(connection)
    seen = ports.connector.examine(replace(volume, secrets=(*volume.secrets, _UNSAID)))
    return size if seen.payload is None else seen.payload
