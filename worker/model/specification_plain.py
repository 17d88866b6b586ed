"""What an instance is made of, or was before it was adopted, as plain JSON."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from worker.model.identity.marks import Adoption, Former, Marks
from worker.model.source import DiskFormat
from worker.model.specification import (
    Firmware,
    Interface,
    InterfaceKind,
    LocalDisk,
    Shape,
    Specification,
)

ADOPTED = "adopted"
"""The key under which an adopted instance has what it was; a specification has no such."""


def json_of(
    specification: Specification | None, adoption: Adoption | None = None
) -> dict[str, Any]:
    """Return plain JSON; that of an instance which an older release adopted is empty."""
    if specification is not None:
        return asdict(specification)
    return {} if adoption is None else {ADOPTED: asdict(adoption)}


def adoption_in(kept: Mapping[str, Any]) -> Adoption | None:
    """Read back what an adopted instance was; an older release did not look at its autostart."""
    if ADOPTED not in kept:
        return None
    former = kept[ADOPTED]["former"]
    return Adoption(
        former=tuple(Former(device=one["device"], marks=Marks(**one["marks"])) for one in former),
        autostart=bool(kept[ADOPTED].get("autostart", False)),
        peripherals=bool(kept[ADOPTED].get("peripherals", False)),
        awaited=tuple(kept[ADOPTED].get("awaited", ())),
    )


def specification_in(kept: Mapping[str, Any]) -> Specification | None:
    """Read it back; what an older release did not know has its default."""
    if not kept or ADOPTED in kept:
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
