"""What a connection calls the things that it leads to: one word for each, wherever it is read.

The same words are given to what is found on the host, so that to compare them is to compare sets.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from worker.model.connection import Connection
from worker.model.source import ISCSI_PORT, iscsi_name, iscsi_portal

FLAT = 1 << 14
"""What SCSI's flat addressing adds to the number of a LUN, as the kernel shows it."""

FLAT_FROM = {"SAM2": 256, "SAM3-flat": 0}
"""The first LUN that is so addressed (os-brick's ``addressing_mode``)."""

ISCSI = frozenset({"iscsi", "iser"})
NVME = frozenset({"nvmeof", "nvme", "lightos"})


def marks_of(connection: Connection, bases: Sequence[str]) -> frozenset[str]:
    """Return every word for what the connection leads to; ``bases`` are folders of mounts."""
    said = connection.properties
    protocol = connection.protocol.lower()
    if protocol in ISCSI:
        return frozenset(_iscsi(said))
    if protocol in NVME:
        return frozenset(_nvme(said))
    if "export" in said:
        return frozenset(_mounts(said, bases))
    return frozenset()


def target_mark(host: str, port: int | str, iqn: str) -> str:
    """Return the word for a session to a target."""
    return f"iscsi://{iscsi_portal(_plain_host(host), int(port))}/{iqn}"


def lun_mark(host: str, port: int | str, iqn: str, lun: int | str) -> str:
    """Return the word for a LUN seen through one portal."""
    return iscsi_name(_plain_host(host), int(port), f"{iqn}/{int(lun)}")


def controller_mark(host: str, port: str, nqn: str) -> str:
    """Return the word for a controller of an NVMe subsystem."""
    return f"nvme://{iscsi_portal(_plain_host(host), int(port))}/{nqn}"


def namespace_mark(nqn: str, kind: str, value: str) -> str:
    """Return the word for a namespace, by its ``uuid`` or ``nguid``."""
    return f"nvme:{nqn}/{kind}/{value.replace('-', '').lower()}"


def only_mark(nqn: str) -> str:
    """Return the word for the one namespace of a subsystem that has no other."""
    return f"nvme:{nqn}/only"


def mount_mark(point: str) -> str:
    """Return the word for a mount."""
    return f"mount:{point}"


def mount_point(base: str, export: str) -> str:
    """Return where os-brick mounts an export."""
    return str(Path(base) / hashlib.md5(export.encode(), usedforsecurity=False).hexdigest())


def _iscsi(said: Mapping[str, Any]) -> Iterator[str]:
    portals = said.get("target_portals") or [said.get("target_portal")]
    iqns = said.get("target_iqns") or [said.get("target_iqn")] * len(portals)
    luns = said.get("target_luns") or [said.get("target_lun")] * len(portals)
    for portal, iqn, lun in zip(portals, iqns, luns, strict=False):
        parted = _parted(str(portal), ISCSI_PORT)
        number = _addressed(lun, said.get("addressing_mode"))
        if parted is not None and iqn and number is not None:
            yield target_mark(*parted, iqn)
            yield lun_mark(*parted, iqn, number)


def _addressed(lun: object, mode: object) -> int | None:
    if not str(lun).isdecimal():
        return None
    number = int(str(lun))
    return number + FLAT if number >= FLAT_FROM.get(str(mode), number + 1) else number


def _nvme(said: Mapping[str, Any]) -> Iterator[str]:
    replicas = said.get("volume_replicas") or [said]
    for target in replicas:
        nqn = target.get("target_nqn") or target.get("nqn")
        if nqn:
            yield from (controller_mark(*portal, nqn) for portal in _nvme_portals(target))
            yield from _namespaces(target, str(nqn))


def _nvme_portals(target: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for portal in target.get("portals") or []:
        yield str(portal[0]), str(portal[1])
    host, port = target.get("target_portal"), target.get("target_port")
    if host and str(port).isdecimal():
        yield str(host), str(port)


def _namespaces(target: Mapping[str, Any], nqn: str) -> Iterator[str]:
    """One of which nothing is said must be the only one, to be told."""
    uuid = target.get("vol_uuid") or target.get("volume_uuid")
    nguid = target.get("volume_nguid")
    for kind, value in (("uuid", uuid), ("nguid", nguid)):
        if value:
            yield namespace_mark(nqn, kind, str(value))
    if not uuid and not nguid:
        yield only_mark(nqn)


def _mounts(said: Mapping[str, Any], bases: Sequence[str]) -> Iterator[str]:
    for base in bases:
        yield mount_mark(mount_point(base, str(said["export"])))


def _parted(portal: str, port: int) -> tuple[str, str] | None:
    """Part an address from its port; IPv6 stands in brackets."""
    host, colon, after = portal.rpartition(":")
    if colon and after.isdecimal() and (":" not in host or host.startswith("[")):
        return host, after
    return (portal, str(port)) if portal not in ("", "None") else None


def _plain_host(host: str) -> str:
    """Write an address in one way, for IPv6 knows several."""
    bare = host.strip("[]")
    try:
        return str(ip_address(bare))
    except ValueError:
        return bare.lower()
