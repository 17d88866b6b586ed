"""The config drive, kept to what the instance is by now."""

from worker.errors import DatabaseUnavailable, InstanceNotFound, WorkerError
from worker.model.block_device import BlockDevice
from worker.model.config_drive import config_drive_files
from worker.model.identity.alias import config_drive_alias
from worker.model.ids import InstanceId
from worker.model.instance import Instance
from worker.model.rescue.meanwhile import rows_in
from worker.model.source import HostVolume
from worker.ports import Ports


def write_config_drive(instance: Instance, ports: Ports) -> HostVolume | None:
    """Write the drive of an instance that has one, before there is a guest."""
    if not has_config_drive(instance):
        return None
    rows = ports.devices.of_instance(instance.uuid)
    return ports.config_drives.write(instance.uuid, config_drive_files(instance, rows))


def write_rescue_drive(instance: Instance, password: str | None, ports: Ports) -> HostVolume | None:
    """Write the drive that an instance has in rescue; None where it keeps its own, or has none.

    It tells of the disks as the guest finds them there.
    """
    if password is None or not has_config_drive(instance):
        return None
    rows = ports.devices.of_instance(instance.uuid)
    there = rows if instance.rescue is None else rows_in(instance.rescue, rows)
    files = config_drive_files(instance, there, password=password)
    return ports.config_drives.write(instance.uuid, files, rescue=True)


def has_config_drive(instance: Instance) -> bool:
    """Tell whether this worker made the instance with a config drive."""
    return instance.specification is not None and instance.specification.config_drive


def rowless_aliases(uuid: InstanceId, ports: Ports) -> frozenset[str]:
    """Return the aliases of the disks that this worker made an instance with and has no row of."""
    try:
        instance = ports.instances.get(uuid)
    except InstanceNotFound:
        return frozenset()
    return frozenset({config_drive_alias(uuid)} if has_config_drive(instance) else ())


def renew_after(device: BlockDevice, ports: Ports) -> None:
    """Write the drive anew when a disk that it tells of has come or gone."""
    if device.tag is not None:
        renew_config_drive(device.instance, ports)


def renew_config_drive(uuid: InstanceId, ports: Ports) -> None:
    """Write the drive anew, if that can be done: no guest and no disk waits for it.

    The next start writes it again.
    """
    try:
        write_config_drive(ports.instances.get(uuid), ports)
    except DatabaseUnavailable:
        raise
    except WorkerError:
        return
