"""What an instance is made of, as JSON in its row."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from worker.model.source import DiskFormat
from worker.model.specification import (
    Firmware,
    Interface,
    InterfaceKind,
    LocalDisk,
    Shape,
    Specification,
)


def json_of(specification: Specification | None) -> dict[str, Any]:
    """Return plain JSON; an adopted instance has an empty one."""
    return {} if specification is None else asdict(specification)


def specification_of(kept: Mapping[str, Any]) -> Specification | None:
    """Read it back; what an older release did not know has its default."""
    if not kept:
        return None
    parts = {
        "shape": Shape(**kept["shape"]),
        "firmware": Firmware(kept["firmware"]),
        "disks": tuple(_disk(disk) for disk in kept["disks"]),
        "interfaces": tuple(_interface(interface) for interface in kept["interfaces"]),
    }
    return Specification(**{**kept, **parts})


def _disk(kept: Mapping[str, Any]) -> LocalDisk:
    return LocalDisk(**{**kept, "format": DiskFormat(kept["format"])})


def _interface(kept: Mapping[str, Any]) -> Interface:
    return Interface(**{**kept, "kind": InterfaceKind(kept["kind"])})
