"""What QEMU needs to open a volume, at the hypervisor's hand from the connect to the end.

Whatever an operation does with a volume, its end takes the secrets away again: by then QEMU has
them, or will never ask. So no handler has to, and none can forget to.
"""

import logging

from worker.errors import DatabaseUnavailable, Unavailable
from worker.model.block_device import BlockDevice
from worker.model.source import HostVolume
from worker.ports import Ports

LOG = logging.getLogger(__name__)

_TRIES = 2
"""Each waits for a hypervisor that is away as long as any call does; one may break off midway."""


def give_secrets(device: BlockDevice, volume: HostVolume, ports: Ports) -> None:
    """Have at hand what QEMU needs to open the row's volume."""
    for secret in volume.secrets:
        ports.guest_secrets.put(device.instance, device.uuid, secret)


def take_secrets(ports: Ports) -> None:
    """Take away what any run of the operation at hand has given for its instance.

    A hypervisor that is away keeps them in memory only, and drift finds them: no reason for an
    operation to end otherwise than it did.
    """
    operation = ports.progress.operation
    if operation is None or operation.instance is None:
        return
    if not ports.progress.reached("guest_secrets.put"):
        return
    for _try in range(_TRIES):
        try:
            ports.guest_secrets.drop(operation.instance)
        except DatabaseUnavailable:
            raise
        except Unavailable as error:
            LOG.warning("secrets not taken: instance=%s: %s", operation.instance, error)
        else:
            return
