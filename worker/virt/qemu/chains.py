"""What QEMU's answers say of its disks: which block nodes hang together, and from which device.

libvirt numbers what it opens, once in a guest's life: the nodes of one image are
``libvirt-2-format`` and ``libvirt-2-storage``, its secrets ``libvirt-2-storage-auth-secret0``, and
its XML has ``index='2'``.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from worker.model.identity.alias import alias_of

Json = Mapping[str, Any]

_NUMBERED = re.compile(r"libvirt-(\d+)-")
_PERIPHERAL = re.compile(r"/machine/peripheral/([^/]+)")
_ISCSI = "iscsi://"
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Block nodes, the guest's end first, with the objects that were made for them.

    ``device`` is the alias of the device that they end in; None where nothing is plugged in.
    ``files`` are what the nodes have open, the guest's end first.
    """

    device: str | None
    nodes: tuple[str, ...]
    objects: tuple[str, ...]
    files: tuple[str, ...]

    @property
    def alias(self) -> str | None:
        """The device's alias, or the one that its volume would have: by the id in the file."""
        if self.device is not None:
            return self.device
        ids = [found for file in self.files for found in _UUID.findall(file)]
        return alias_of(ids[-1]) if ids else None

    @property
    def numbers(self) -> frozenset[int]:
        """The numbers that libvirt gave to nodes and objects."""
        found = (number_of(name) for name in (*self.nodes, *self.objects))
        return frozenset(number for number in found if number is not None)

    def opens(self, source: str) -> bool:
        """Tell whether it has that file, device or network volume open."""
        if source.startswith("/"):
            return source in self.files
        if source.startswith(_ISCSI):
            return source in {_lun_of(file) for file in self.files}
        return any(source in file for file in self.files)


def _lun_of(file: str) -> str | None:
    """Name the LUN that a node has open; QEMU calls such a node by its description in JSON."""
    kind, _, text = file.partition(":")
    said = json.loads(text) if kind == "json" else {}
    said = said.get("file", said)
    if not isinstance(said, dict) or said.get("driver") != "iscsi":
        return None
    return f"{_ISCSI}{said.get('portal')}/{said.get('target')}/{said.get('lun', 0)}"


def number_of(name: str) -> int | None:
    """Return libvirt's number of a node or object that it named."""
    found = _NUMBERED.match(name)
    return None if found is None else int(found.group(1))


def numbers_in(text: str) -> frozenset[int]:
    """Return the numbers of the nodes and objects that a message names."""
    return frozenset(int(found) for found in _NUMBERED.findall(text))


def devices(blocks: Sequence[Json]) -> Iterator[tuple[str, Json]]:
    """Return the alias of each device in an answer to ``query-block``, with its entry.

    One that QEMU is just letting go of has no name any more.
    """
    for block in blocks:
        path = str(block.get("qdev") or block.get("device") or "")
        found = _PERIPHERAL.match(path)
        if path:
            yield (path if found is None else found.group(1)), block


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """QEMU's answers to ``query-block``, ``query-named-block-nodes`` and ``qom-list /objects``.

    ``known`` are the numbers that libvirt's XML has: a chain is libvirt's, or libvirt denies it.
    """

    blocks: Sequence[Json]
    nodes: Sequence[Json]
    objects: Sequence[Json]
    known: frozenset[int]

    def chains(self) -> tuple[Chain, ...]:
        """Return the chain of each device, then those that libvirt denies and nobody plugged in."""
        plugged = tuple(
            self._chain(device, self._nodes_below(block.get("inserted") or {}))
            for device, block in devices(self.blocks)
        )
        claimed = self.known.union(*(chain.numbers for chain in plugged))
        named = {number_of(name) for name in (*self._files, *self._objects)}
        loose = sorted(number for number in named - claimed if number is not None)
        return (*plugged, *(self._chain(None, self._numbered({each}), each) for each in loose))

    @property
    def _files(self) -> dict[str, str]:
        return {str(node["node-name"]): str(node.get("file", "")) for node in self.nodes}

    @property
    def _objects(self) -> list[str]:
        names = [str(each["name"]) for each in self.objects]
        return [name for name in names if number_of(name) is not None]

    def _nodes_below(self, inserted: Json) -> tuple[str, ...]:
        """Return the node that the device ends in, and those that it stands on.

        QEMU does not say what stands on what: they share the number, or are what a backing image
        is called.
        """
        root = str(inserted.get("node-name", ""))
        files = set(_images(inserted.get("image") or {}))
        own = number_of(root)
        numbers = {number_of(name) for name, file in self._files.items() if file in files} | {own}
        alike = {each for each in numbers if (each in self.known) == (own in self.known)}
        return tuple(dict.fromkeys((root, *self._numbered(alike)))) if root else ()

    def _numbered(self, numbers: AbstractSet[int | None]) -> tuple[str, ...]:
        """Return the nodes of those numbers, the upper ones first: format before storage."""
        found = ((number_of(name), name) for name in self._files)
        return tuple(
            name
            for number, name in sorted((n, name) for n, name in found if n is not None)
            if number in numbers
        )

    def _chain(
        self, device: str | None, nodes: tuple[str, ...], number: int | None = None
    ) -> Chain:
        numbers = {number_of(name) for name in nodes} | {number}
        files = self._files
        return Chain(
            device=device,
            nodes=nodes,
            objects=tuple(each for each in self._objects if number_of(each) in numbers),
            files=tuple(dict.fromkeys(files[name] for name in nodes if name in files)),
        )


def _images(image: Json) -> Iterator[str]:
    yield str(image.get("filename", ""))
    if image.get("backing-image"):
        yield from _images(image["backing-image"])
