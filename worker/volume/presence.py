"""Where os-brick's volumes are on this host, and whether they are gone, without connecting any.

os-brick's own ``get_volume_paths`` mounts file systems, names single paths of a multipath map, and
asks of some protocols for what only ``connect_volume`` has said. So each of its connectors is asked
in its own way, and what the kernel shows decides.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from os_brick.initiator.connectors.nvmeof import NVMeOFConnProps

from worker.errors import ConnectFailed

_BLOCK = Path("/sys/class/block")
_DEV = Path("/dev")
_BY_ID = Path("/dev/disk/by-id")
_MAP = "mpath-"
_STABLE = ("sd", "dm-", "nvme")
"""Devices that go by the kernel's name: what else has a link is known by its link."""

GONE_WITHIN = 15.0
_PAUSE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A device as the kernel has it now: another one later has the name and not the number."""

    name: str
    number: int


def paths_of(connector: Any, properties: dict[str, Any]) -> tuple[str, ...]:  # noqa: ANN401 - os-brick
    """Return the paths to the volume that there are; ``properties`` may be changed."""
    find = _FINDERS.get(type(connector).__name__, _as_it_says)
    return tuple(sorted(path for path in find(connector, properties) if Path(path).exists()))


def mounted_at(base: str, properties: Mapping[str, Any]) -> str:
    """Return where os-brick's remote file systems have the file of a volume."""
    share, name = str(properties["export"]), str(properties["name"])
    if name in ("", "..") or Path(name).name != name:
        raise ConnectFailed(f"a volume's file has a name without a folder, and not {name!r}")
    folder = hashlib.md5(share.encode(), usedforsecurity=False).hexdigest()
    return f"{base}/{folder}/{name}"


def settled(paths: Sequence[str]) -> str:
    """Return the device to use: the multipath map above any of the paths, else the first.

    A path that has just come is on the host before it is in its map.
    """
    names = [Path(path).resolve().name for path in paths]
    above = [found for name in names if (found := _map_above(name)) is not None]
    if above:
        return str(_DEV / above[0])
    return str(_DEV / names[0]) if names[0].startswith(_STABLE) else paths[0]


def nodes_of(paths: Iterable[str]) -> frozenset[Node]:
    """Return the devices of a volume: its paths, and the multipath maps above and below them."""
    names = {Path(path).resolve().name for path in paths}
    above = {found for name in names if (found := _map_above(name)) is not None}
    below = {found for name in names | above for found in _maps_paths(name)}
    return frozenset(node for name in names | above | below for node in _node(name))


def left_of(nodes: frozenset[Node]) -> tuple[str, ...]:
    """Return the names of those that are still there."""
    return tuple(sorted(node.name for node in nodes if node in _node(node.name)))


def wait_until_gone(nodes: frozenset[Node]) -> None:
    """Wait a while for the kernel and udev to see them off; raises ConnectFailed."""
    end = time.monotonic() + GONE_WITHIN
    while left := left_of(nodes):
        if time.monotonic() >= end:
            raise ConnectFailed(f"{', '.join(left)} is still on this host after the disconnect")
        time.sleep(_PAUSE)


def shares_subsystem(name: str) -> bool:
    """Tell whether an NVMe namespace is one of several: then os-brick leaves its controllers.

    The storage takes such a namespace away when the attachment is deleted.
    """
    folder = (_BLOCK / name / "device").resolve()
    spaces = {path.name for path in folder.glob("nvme*n*") if (path / "nsid").exists()}
    return name.startswith("nvme") and len(spaces) > 1


def drop_controllers(connector: Any, properties: dict[str, Any]) -> None:  # noqa: ANN401 - os-brick
    """Log out of an NVMe subsystem whose namespace is not there, unless others of it are used.

    os-brick logs out of those only whose device it has found.
    """
    if type(connector).__name__ == "NVMeOFConnector":
        connector._try_disconnect_all(NVMeOFConnProps(properties))  # noqa: SLF001


def _as_it_says(connector: Any, properties: dict[str, Any]) -> Iterable[str]:  # noqa: ANN401
    return list(connector.get_volume_paths(properties))


def _fibre_channel(connector: Any, properties: dict[str, Any]) -> Iterable[str]:  # noqa: ANN401
    # It numbers the targets for its own callers only.
    numbered = connector._add_targets_to_connection_properties(properties)  # noqa: SLF001
    return list(connector.get_volume_paths(numbered))


def _nvme(connector: Any, properties: dict[str, Any]) -> Iterable[str]:  # noqa: ANN401 - os-brick
    return list(connector.get_volume_paths(NVMeOFConnProps(properties, find_controllers=True)))


def _lightos(_connector: Any, properties: Mapping[str, Any]) -> Iterable[str]:  # noqa: ANN401
    # It wants to be told the path that it is to return.
    return [str(_BY_ID / f"nvme-uuid.{properties['uuid']}")]


def _scaleio(_connector: Any, properties: Mapping[str, Any]) -> Iterable[str]:  # noqa: ANN401
    # It waits a minute for one that is not there.
    volume = properties.get("scaleIO_volume_id")
    return [str(path) for path in _BY_ID.glob(f"emc-vol-*-{volume}")] if volume else []


_FINDERS: Mapping[str, Callable[[Any, dict[str, Any]], Iterable[str]]] = {
    "FibreChannelConnector": _fibre_channel,
    "FibreChannelConnectorPPC64": _fibre_channel,
    "FibreChannelConnectorS390X": _fibre_channel,
    "NVMeOFConnector": _nvme,
    "LightOSConnector": _lightos,
    "ScaleIOConnector": _scaleio,
}


def _map_above(name: str) -> str | None:
    holders = _BLOCK / name / "holders"
    names = sorted(path.name for path in holders.iterdir()) if holders.is_dir() else []
    return next((holder for holder in names if _is_map(holder)), None)


def _maps_paths(name: str) -> Iterator[str]:
    if _is_map(name):
        yield from (path.name for path in (_BLOCK / name / "slaves").iterdir())


def _is_map(name: str) -> bool:
    uuid = _BLOCK / name / "dm" / "uuid"
    return uuid.exists() and uuid.read_text(encoding="utf-8").startswith(_MAP)


def _node(name: str) -> tuple[Node, ...]:
    try:
        return (Node(name=name, number=(_BLOCK / name).stat().st_ino),)
    except FileNotFoundError:
        return ()
