"""Files that a machine names beside its disks."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Paths of this host; None for what a machine lacks, or, of new ones, for one that stays.

    ``console`` is the file of ours that its first serial port is written to; ``nvram`` holds the
    variables of its UEFI.
    """

    console: str | None = None
    kernel: str | None = None
    ramdisk: str | None = None
    nvram: str | None = None
