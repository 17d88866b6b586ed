"""Whether a disk that libvirt shows is the one that was asked for."""

from worker.model.disk import Disk
from worker.model.guest import GuestDisk


def differences(shown: GuestDisk, disk: Disk) -> list[str]:
    """Return in words what is otherwise than asked for; nothing if it is that disk."""
    pairs = [
        ("target", shown.target, disk.target),
        ("serial", shown.serial, disk.given_serial),
        ("bus", shown.bus, disk.bus.value),
        ("source", shown.source, disk.source.path),
    ]
    if disk.address is not None:
        pairs.append(("address", str(shown.address), str(disk.address)))
    return [f"{name} {has}, not {wanted}" for name, has, wanted in pairs if has != wanted]
