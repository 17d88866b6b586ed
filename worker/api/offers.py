"""What a server can be made as: flavors, and the network that ``auto`` stands for."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

from worker.errors import Invalid
from worker.model.specification import InterfaceKind, Specification
from worker.model.volume import GIB

MIB = 1 << 20

UNLISTED = "unlisted"
"""The id of what has the size of no flavor, or was made by other hands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavor:
    """How large a server is: ``root_gb`` and ``ephemeral`` in GiB, ``memory_mb``, ``swap`` in MiB.

    With a ``root_gb`` of 0 the root disk is as large as its image.
    """

    id: str
    name: str
    vcpus: int
    memory_mb: int
    root_gb: int = 0
    ephemeral: int = 0
    swap: int = 0
    description: str | None = None

    @property
    def size(self) -> tuple[int, ...]:
        """What of it can be told from a server that was made as one."""
        return self.vcpus, self.memory_mb, self.root_gb, self.ephemeral, self.swap


BUILT_IN: tuple[Flavor, ...] = (
    Flavor(id="1", name="m1.tiny", vcpus=1, memory_mb=256, root_gb=1),
    Flavor(id="2", name="m1.small", vcpus=1, memory_mb=1024, root_gb=10),
    Flavor(id="3", name="m1.medium", vcpus=2, memory_mb=2048, root_gb=20),
    Flavor(id="4", name="m1.large", vcpus=4, memory_mb=4096, root_gb=40),
    Flavor(id="5", name="m1.image", vcpus=1, memory_mb=512),
)
"""Without a file of them; the last has a root disk as large as its image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What an interface that nobody has described is joined to; ``target`` is the bridge."""

    kind: InterfaceKind
    target: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """The flavors, in the order of their file, and the network of ``auto``: None for none."""

    flavors: Sequence[Flavor] = field(default=BUILT_IN)
    network: Network | None = None

    def flavor(self, wanted: str) -> Flavor | None:
        """Return the flavor of that id, or the last part of a URL that ends in it."""
        id_ = wanted.rsplit("/", 1)[-1]
        return next((flavor for flavor in self.flavors if flavor.id == id_), None)

    def flavor_of(self, made_as: Specification, root_gb: int) -> Flavor:
        """Return the flavor nearest to what a server was made as.

        Processors and memory are as they are in it; where no flavor has them it is one of no file.
        """
        found = _size(made_as, root_gb)
        alike = [flavor for flavor in self.flavors if flavor.size[:2] == found.size[:2]]
        return min(alike, key=partial(_unlike, found), default=found)


def read_flavors(path: Path) -> tuple[Flavor, ...]:
    """Return the flavors of a TOML file, an array ``flavor`` of tables; raises Invalid."""
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        message = f"[api] flavors = {path} cannot be read: {error}"
        raise Invalid(message) from error
    tables = found.get("flavor")
    if not isinstance(tables, list) or not tables or set(found) != {"flavor"}:
        message = f"{path} has no flavors: a table [[flavor]] for each is meant, and nothing else"
        raise Invalid(message)
    flavors = tuple(_flavor(f"{path}, flavor {at}", each) for at, each in enumerate(tables, 1))
    _check_unlike(path, flavors)
    return flavors


def read_network(text: str | None) -> Network | None:
    """Return what ``user`` or ``bridge:<name>`` stands for; raises Invalid."""
    if not text or text == "none":
        return None
    kind, _, target = text.partition(":")
    if kind == InterfaceKind.USER and not target:
        return Network(kind=InterfaceKind.USER)
    if kind == InterfaceKind.BRIDGE and target:
        return Network(kind=InterfaceKind.BRIDGE, target=target)
    message = f"[api] network = {text} is none of: none, user, bridge:<name of a bridge>"
    raise Invalid(message)


_LEAST: Mapping[str, int] = {
    "vcpus": 1,
    "memory_mb": 1,
    "root_gb": 0,
    "ephemeral": 0,
    "swap": 0,
}
_TEXTS = ("id", "name", "description")
_NEEDED = ("id", "name", "vcpus", "memory_mb")


def _flavor(where: str, table: Any) -> Flavor:  # noqa: ANN401 - TOML
    known = {each.name for each in fields(Flavor)}
    if not isinstance(table, dict) or set(table) - known or set(_NEEDED) - set(table):
        message = f"{where}: {', '.join(_NEEDED)} are needed; known are {', '.join(sorted(known))}"
        raise Invalid(message)
    for name, value in table.items():
        _check_value(f"{where}: {name}", name, value)
    return Flavor(**table)


def _check_value(what: str, name: str, value: object) -> None:
    if name in _TEXTS:
        if not isinstance(value, str) or not value or (name == "id" and "/" in value):
            message = f"{what} is no text (an id has no slash)"
            raise Invalid(message)
    elif type(value) is not int or value < _LEAST[name]:
        message = f"{what} is no number from {_LEAST[name]} on"
        raise Invalid(message)


def _check_unlike(path: Path, flavors: Sequence[Flavor]) -> None:
    for what in ("id", "name"):
        values = [getattr(flavor, what) for flavor in flavors]
        if len(set(values)) < len(values):
            message = f"{path}: two flavors have the same {what}"
            raise Invalid(message)


def _size(made_as: Specification, root_gb: int) -> Flavor:
    blank = [disk for disk in made_as.disks if disk.image is None]
    swap = sum(disk.size for disk in blank if disk.filesystem == "swap")
    ephemeral = sum(disk.size for disk in blank if disk.filesystem != "swap")
    return Flavor(
        id=UNLISTED,
        name=f"{made_as.vcpus}-{made_as.memory}-{root_gb}",
        vcpus=made_as.vcpus,
        memory_mb=made_as.memory,
        root_gb=root_gb,
        ephemeral=-(-ephemeral // GIB),
        swap=-(-swap // MIB),
    )


def _unlike(found: Flavor, flavor: Flavor) -> tuple[bool, bool]:
    """A root may be as large as its image, or a volume; further disks may be asked for."""
    return flavor.size != found.size, flavor.root_gb != found.root_gb
