"""A volume marked as detaching, so that nobody else takes it meanwhile.

A volume service that is away is no reason to wait: the attachment's end will tell it.
"""

from worker.errors import DatabaseUnavailable, Unavailable
from worker.model.block_device import BlockDevice
from worker.ports import Ports


def begin_detaching(device: BlockDevice, ports: Ports) -> None:
    """Mark the row's volume as detaching, if its service answers."""
    try:
        ports.volumes.begin_detaching(device.its_volume)
    except DatabaseUnavailable:
        raise
    except Unavailable:
        return


def roll_detaching(device: BlockDevice, ports: Ports) -> None:
    """Mark the row's volume as in use again, if its service answers."""
    try:
        ports.volumes.roll_detaching(device.its_volume)
    except DatabaseUnavailable:
        raise
    except Unavailable:
        return
