"""A machine as the hypervisor is asked to keep it."""

from dataclasses import dataclass

from worker.model.disk import Disk
from worker.model.ids import InstanceId
from worker.model.peripheral import Peripheral
from worker.model.specification import Firmware, Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """Files of this host that a guest is started with, without firmware."""

    kernel: str
    ramdisk: str | None = None
    command_line: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Everything that a new domain is; ``memory`` is in MiB.

    Each disk and interface has its address. ``console`` is the file of this host into which the
    first serial port is written.
    """

    instance: InstanceId
    name: str
    vcpus: int
    memory: int
    shape: Shape
    firmware: Firmware
    disks: tuple[Disk, ...]
    interfaces: tuple[Peripheral, ...] = ()
    kernel: Kernel | None = None
    console: str | None = None
