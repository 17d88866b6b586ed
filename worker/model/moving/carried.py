"""An instance as it is carried to another host: all its marks, and no secret.

The document is plain JSON. Connections are not in it: the volume service is asked anew.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from worker.errors import RequestMalformed
from worker.model.block_device import BlockDevice, Bus, DeviceStatus, DeviceType, SourceType
from worker.model.identity.alias import is_kept
from worker.model.ids import (
    AttachmentId,
    BlockDeviceId,
    ImageId,
    InstanceId,
    PeripheralId,
    PortId,
    is_uuid,
)
from worker.model.instance import Instance, TaskState, VmState
from worker.model.peripheral import Peripheral
from worker.model.places.address import parse_address
from worker.model.source import DiskFormat
from worker.model.specification import Interface, InterfaceKind, LocalDisk
from worker.model.specification_plain import adoption_in, json_of, specification_in

FORMAT = "blockworker instance 1"

_UNREADABLE = (KeyError, TypeError, ValueError, AttributeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What a copy-on-write disk is made over, as its host had it; ``digest`` is its SHA-256."""

    image: ImageId
    path: str
    format: DiskFormat
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """By which host an instance was let go, and when, in ISO 8601."""

    host: str
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What a document holds.

    ``sources`` are the paths that local disks and config drive had, by alias; ``held`` are the
    attachments that the old host had; ``nvram`` is where the variables of the guest's UEFI were.
    Without a ``release`` the old host may still have the instance. ``older`` is the document of a
    release that wrote down neither of ``bases``, ``nvram`` and ``release``.
    """

    instance: Instance
    rows: tuple[BlockDevice, ...]
    text: str
    peripherals: tuple[Peripheral, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    held: Mapping[BlockDeviceId, AttachmentId] = field(default_factory=dict)
    bases: Mapping[BlockDeviceId, Base] = field(default_factory=dict)
    nvram: str | None = None
    release: Release | None = None
    older: bool = False

    @property
    def disks(self) -> tuple[LocalDisk, ...]:
        """The local disks of an instance that was built; those of an adopted one are not ours."""
        made_as, rows = self.instance.specification, {row.uuid for row in self.rows}
        return () if made_as is None else tuple(d for d in made_as.disks if d.uuid in rows)


def written(carried: Carried) -> dict[str, Any]:
    """Return the document as plain JSON."""
    instance = carried.instance
    return {
        "format": FORMAT,
        "instance": {
            "uuid": instance.uuid,
            "name": instance.name,
            "project_id": instance.project_id,
            "user_id": instance.user_id,
            "specification": json_of(instance.specification, instance.adoption),
        },
        "block_devices": [row.public() | {"volume_type": row.volume_type} for row in carried.rows],
        "peripherals": [{**row.public(), "former": row.former} for row in carried.peripherals],
        "sources": dict(carried.sources),
        "bases": {row: asdict(base) for row, base in carried.bases.items()},
        "nvram": carried.nvram,
        "released": None if carried.release is None else asdict(carried.release),
        "domain_xml": carried.text,
    }


def read(document: str, host: str) -> Carried:
    """Read a document as an instance of this host; raises RequestMalformed.

    That of an older release is read too: an instance that it let go is in no other.
    """
    try:
        found = json.loads(document)
        if found["format"] != FORMAT:
            message = f"the document is of format {found['format']!r}; {FORMAT!r} is read here"
            raise RequestMalformed(message)
        instance = _instance(found["instance"], host)
        rows = tuple(_row(row, instance.uuid) for row in found["block_devices"])
        held = {row["uuid"]: row["attachment_id"] for row in found["block_devices"]}
        return Carried(
            instance=instance,
            rows=rows,
            text=_string(found["domain_xml"]),
            peripherals=tuple(
                _peripheral(row, instance.uuid) for row in found.get("peripherals", [])
            ),
            sources={_string(key): _string(path) for key, path in found["sources"].items()},
            held={key: AttachmentId(_uuid(one)) for key, one in held.items() if one is not None},
            **_since(found),
        )
    except _UNREADABLE as error:
        message = f"the document is no export of an instance: {type(error).__name__} {error}"
        raise RequestMalformed(message) from error


def _instance(kept: Mapping[str, Any], host: str) -> Instance:
    return Instance(
        uuid=InstanceId(_uuid(kept["uuid"])),
        host=host,
        name=_string(kept["name"]),
        vm_state=VmState.STOPPED,
        task_state=TaskState.IMPORTING,
        project_id=_maybe(kept["project_id"]),
        user_id=_maybe(kept["user_id"]),
        specification=specification_in(kept["specification"]),
        adoption=adoption_in(kept["specification"]),
    )


def _row(kept: Mapping[str, Any], instance: InstanceId) -> BlockDevice:
    """A volume is missing until it is connected to this host."""
    volume, alias = kept["volume_id"], _string(kept["alias"])
    if kept["instance_uuid"] != instance or not is_kept(alias):
        message = f"block device {kept['uuid']} is of another instance, or its alias is no alias"
        raise ValueError(message)
    address = kept["address"]
    return BlockDevice(
        uuid=BlockDeviceId(_uuid(kept["uuid"])),
        instance=instance,
        volume=None if volume is None else _uuid(volume),
        device_name=_string(kept["device_name"]),
        bus=Bus(kept["disk_bus"]),
        device_type=DeviceType(kept["device_type"]),
        alias=alias,
        serial=_maybe(kept["serial"]),
        address=None if address is None else parse_address(address),
        unit=_number(kept["unit"]),
        status=DeviceStatus.ATTACHED if volume is None else DeviceStatus.MISSING,
        source_type=SourceType(kept["source_type"]),
        image=_maybe(kept["image_id"]),
        guest_format=_maybe(kept["guest_format"]),
        volume_size=_number(kept["volume_size"]),
        volume_type=_maybe(kept.get("volume_type")),
        boot_index=_number(kept["boot_index"]),
        tag=_maybe(kept["tag"]),
        multiattach=bool(kept["multiattach"]),
        encrypted=bool(kept["encrypted"]),
        delete_on_termination=bool(kept["delete_on_termination"]),
    )


def _peripheral(kept: Mapping[str, Any], instance: InstanceId) -> Peripheral:
    """An interface: a device of the host stays there. An older release kept rows of neither."""
    alias, port, address = _string(kept["alias"]), kept["port_id"], kept["address"]
    if kept["instance_uuid"] != instance or not is_kept(alias):
        message = f"interface {kept['uuid']} is of another instance, or its alias is no alias"
        raise ValueError(message)
    return Peripheral(
        uuid=PeripheralId(_uuid(kept["uuid"])),
        instance=instance,
        what=Interface(
            port=None if port is None else PortId(_uuid(port)),
            kind=InterfaceKind(kept["network"]),
            mac=_string(kept["mac_address"]),
            target=_maybe(kept["target"]),
            model=_string(kept["model"]),
        ),
        alias=alias,
        former=_maybe(kept["former"]),
        address=None if address is None else parse_address(address),
        status=DeviceStatus.ATTACHED,
    )


def _since(found: Mapping[str, Any]) -> dict[str, Any]:
    """Read what the first documents had none of."""
    if not {"bases", "nvram", "released"} & found.keys():
        return {"older": True}
    return {
        "bases": {_uuid(key): _base(base) for key, base in found["bases"].items()},
        "nvram": _maybe(found["nvram"]),
        "release": _release(found["released"]),
    }


def _base(kept: Mapping[str, Any]) -> Base:
    return Base(
        image=ImageId(_string(kept["image"])),
        path=_string(kept["path"]),
        format=DiskFormat(kept["format"]),
        digest=_string(kept["digest"]),
    )


def _release(kept: Mapping[str, Any] | None) -> Release | None:
    return None if kept is None else Release(host=_string(kept["host"]), at=_string(kept["at"]))


def _uuid(value: Any) -> Any:  # noqa: ANN401 - one of the ids
    if not isinstance(value, str) or not is_uuid(value):
        raise TypeError("an id is no UUID")
    return value


def _string(value: Any) -> str:  # noqa: ANN401 - any JSON
    if not isinstance(value, str):
        raise TypeError("a text is no text")
    return value


def _maybe(value: Any) -> Any:  # noqa: ANN401 - a text of whatever meaning
    return None if value is None else _string(value)


def _number(value: Any) -> int | None:  # noqa: ANN401 - any JSON
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise TypeError("a number is no number")
    return value
