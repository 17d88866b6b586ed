"""A server as each microversion of Nova shows it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from worker.api.asked import Asked, Json
from worker.api.compute.server_words import POWER, ZONE, host_id, hostname_of, status_of
from worker.api.offers import UNLISTED, Flavor
from worker.api.unplaced import fit_for
from worker.model.block_device import BlockDevice
from worker.model.instance import Instance, VmState
from worker.model.operation import Fault
from worker.persistence.fleet import Server


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What of a server is shown; ``extended`` and ``host_up`` are for those who may know its host.

    ``host_up`` is None where that is not to be told; ``launched`` is whether it ever ran.
    """

    server: Server
    flavor: Flavor
    devices: Sequence[BlockDevice] = ()
    fault: Fault | None = None
    extended: bool = False
    host_up: bool | None = None
    launched: bool = True

    @property
    def instance(self) -> Instance:
        """The instance that the server is."""
        return self.server.instance


_WITH_PROGRESS = frozenset({"ACTIVE", "BUILD"})
_DONE = 100


def brief(server: Server, asked: Asked) -> Json:
    """Return what a plain list has of it."""
    return {
        "id": server.instance.uuid,
        "name": server.instance.name,
        "links": links(asked, "servers", server.instance.uuid),
    }


def detailed(sight: Sight, asked: Asked) -> Json:
    """Return all that the caller's microversion knows of it."""
    shown = brief(sight.server, asked) | _plain(sight, asked) | _states(sight)
    shown["image"] = _image(sight, asked)
    shown["flavor"] = _flavor(sight.flavor, asked)
    shown["os-extended-volumes:volumes_attached"] = _volumes(sight, asked)
    if sight.extended:
        shown |= _of_host(sight.instance)
    for minor, more in _SINCE:
        if asked.at_least(minor):
            shown |= more(sight)
    return shown


def links(asked: Asked, kind: str, id_: str) -> list[Json]:
    """Return where it is asked for, with a version and without."""
    return [
        {"rel": "self", "href": f"{asked.base}/v2.1/{kind}/{id_}"},
        {"rel": "bookmark", "href": f"{asked.base}/{kind}/{id_}"},
    ]


def volume_backed(devices: Sequence[BlockDevice]) -> bool:
    """Tell whether a server boots from a volume."""
    return any(row.boot_index == 0 and row.volume is not None for row in devices)


def _plain(sight: Sight, asked: Asked) -> Json:
    instance, server, made_as = sight.instance, sight.server, sight.instance.specification
    return {
        "tenant_id": instance.project_id or "",
        "user_id": instance.user_id or "",
        "metadata": {} if made_as is None else dict(made_as.metadata),
        "hostId": host_id(instance.host, instance.project_id),
        "created": _seconds(server.created_at),
        "updated": _seconds(server.updated_at or server.created_at),
        "addresses": {},
        "accessIPv4": "",
        "accessIPv6": "",
        "OS-DCF:diskConfig": "MANUAL",
        "OS-EXT-AZ:availability_zone": ZONE,
        "config_drive": "True" if made_as is not None and made_as.config_drive else "",
        "key_name": None,
        "OS-SRV-USG:launched_at": _exact(server.created_at) if _ran(sight) else None,
        "OS-SRV-USG:terminated_at": _exact(server.deleted_at),
    } | _fault(sight, asked)


def _states(sight: Sight) -> Json:
    instance = sight.instance
    status = status_of(instance)
    shown: Json = {
        "status": status,
        "OS-EXT-STS:vm_state": instance.vm_state.value,
        "OS-EXT-STS:task_state": None if instance.task_state is None else str(instance.task_state),
        "OS-EXT-STS:power_state": POWER.get(instance.vm_state, 0),
    }
    if status in _WITH_PROGRESS:
        shown["progress"] = _DONE if status == "ACTIVE" else 0
    return shown


def _fault(sight: Sight, asked: Asked) -> Json:
    if sight.fault is None or sight.instance.vm_state is not VmState.ERROR:
        return {}
    server = sight.server
    fault: Json = {
        "code": 500,
        "message": fit_for(asked.who, sight.fault.message),
        "created": _seconds(server.updated_at or server.created_at),
    }
    return {"fault": fault | ({"details": sight.fault.code} if asked.who.is_admin else {})}


def _image(sight: Sight, asked: Asked) -> Json | str:
    """A server that boots from a volume has none."""
    made_as = sight.instance.specification
    if made_as is None or made_as.image is None or volume_backed(sight.devices):
        return ""
    bookmark = {"rel": "bookmark", "href": f"{asked.base}/images/{made_as.image}"}
    shown: Json = {"id": made_as.image, "links": [bookmark]}
    if asked.at_least(98):
        shown["properties"] = dict(made_as.image_properties)
    return shown


def _flavor(flavor: Flavor, asked: Asked) -> Json:
    if not asked.at_least(47):
        return {"id": flavor.id, "links": links(asked, "flavors", flavor.id)[1:]}
    return {
        "original_name": flavor.name,
        "vcpus": flavor.vcpus,
        "ram": flavor.memory_mb,
        "disk": flavor.root_gb,
        "ephemeral": flavor.ephemeral,
        "swap": flavor.swap,
        "extra_specs": {},
    }


def _volumes(sight: Sight, asked: Asked) -> list[Json]:
    rows = [row for row in sight.devices if row.volume is not None]
    if not asked.at_least(3):
        return [{"id": row.volume} for row in rows]
    return [{"id": row.volume, "delete_on_termination": row.delete_on_termination} for row in rows]


def _of_host(instance: Instance) -> Json:
    prefix = "OS-EXT-SRV-ATTR:"
    return {
        prefix + "host": instance.host,
        prefix + "hypervisor_hostname": instance.host,
        prefix + "instance_name": instance.name,
    }


def _of_host_since_3(sight: Sight) -> Json:
    if not sight.extended:
        return {}
    made_as = sight.instance.specification
    root = next((row.device_name for row in sight.devices if row.boot_index == 0), None)
    kernel = None if made_as is None else made_as.kernel
    ramdisk = None if made_as is None else made_as.ramdisk
    fields = {
        "reservation_id": None,
        "launch_index": 0,
        "hostname": hostname_of(sight.instance.name),
        "kernel_id": kernel or "",
        "ramdisk_id": ramdisk or "",
        "root_device_name": root,
        "user_data": None,
    }
    return {f"OS-EXT-SRV-ATTR:{name}": value for name, value in fields.items()}


def _host_status(sight: Sight) -> Json:
    if sight.host_up is None:
        return {}
    return {"host_status": "UP" if sight.host_up else "DOWN"}


_SINCE: tuple[tuple[int, Callable[[Sight], Json]], ...] = (
    (3, _of_host_since_3),
    (9, lambda _: {"locked": False}),
    (16, _host_status),
    (19, lambda _: {"description": None}),
    (26, lambda _: {"tags": []}),
    (63, lambda _: {"trusted_image_certificates": None}),
    (73, lambda _: {"locked_reason": None}),
    (90, lambda it: {"OS-EXT-SRV-ATTR:hostname": hostname_of(it.instance.name)}),
    (96, lambda _: {"pinned_availability_zone": None}),
    (100, lambda _: {"scheduler_hints": {}}),
)
"""What came later: its minor microversion, and what it adds."""


def unlisted(name: str) -> Flavor:
    """Return the flavor of a server that other hands made: its size is not known here."""
    return Flavor(id=UNLISTED, name=name, vcpus=0, memory_mb=0)


def _ran(sight: Sight) -> bool:
    return sight.launched and sight.instance.vm_state is not VmState.BUILDING


def _seconds(at: datetime | None) -> str | None:
    return None if at is None else at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _exact(at: datetime | None) -> str | None:
    return None if at is None else at.strftime("%Y-%m-%dT%H:%M:%S.%f")
